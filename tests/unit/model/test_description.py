"""What a module says of itself, and how a job's arguments are held against it."""

from typing import Any

import pytest

from supervisor.failures import BadUsage
from supervisor.model.description import Field, Module


def argument(name: str, **facts: Any) -> Field:
    """A text argument unless told otherwise."""
    ordinary = {
        "type": "String", "plain": False, "exact_field": False, "file": False, "data_key": None, "required": False,
        "has_default": False, "default_called": False, "default": None, "default_type": None, "default_text": None,
        "choices": (), "described": True, "help": "",
    }  # fmt: skip
    return Field(name=name, **{**ordinary, **facts})


def file(name: str, **facts: Any) -> Field:
    return argument(name, **{"type": "Field", "plain": True, "exact_field": True, "file": True, **facts})


def module(*fields: Field, **facts: Any) -> Module:
    ordinary: dict[str, Any] = {
        "name": "birds", "version": "1.0", "deepaas": "2.6.0", "python": "3.11.7", "train_described": True,
        "has_predict": True, "has_predict_data": False,
    }  # fmt: skip
    return Module(fields=fields, **{**ordinary, **facts})


@pytest.mark.parametrize(
    ("deepaas", "release"),
    [("2.6.0", (2, 6, 0)), ("2.5.2.dev3", (2, 5, 2)), ("1.3", (1, 3)), (None, (0,)), ("dev", ())],
)
def test_releases_are_compared_as_numbers(deepaas: str | None, release: tuple[int, ...]) -> None:
    assert module(deepaas=deepaas).release == release


@pytest.mark.parametrize(
    ("fields", "wanted", "chosen"),
    [
        ([file("files")], None, "files"),
        ([file("image"), argument("top")], None, "image"),
        ([file("files"), file("mask")], None, "files"),
        ([file("image"), file("audio")], "audio", "audio"),
        ([file("files", data_key="data")], "data", "files"),
        ([argument("blob", type="Raw", plain=True)], "blob", "blob"),
        ([argument("files", type="Field", plain=True)], None, "files"),
    ],
)
def test_the_argument_that_takes_the_file_is_found(fields: list[Field], wanted: str | None, chosen: str) -> None:
    assert [field.name for field in module(*fields).file_fields([None], wanted)] == [chosen]


@pytest.mark.parametrize(
    ("fields", "wanted", "says"),
    [
        ([], None, "takes no file: its arguments are none"),
        ([argument("top")], None, r"takes no file: its arguments are top \(String\)"),
        ([file("image"), file("audio")], None, r"several file arguments: image \(file\), audio \(file\)"),
        ([file("image")], "imgae", "no such argument: did you mean image?"),
        ([file("image"), argument("top")], "top", r"the argument top \(String\) of the module birds takes no file"),
        ([file("image", required=True), file("mask", required=True)], "image", "further files beside image: mask"),
    ],
)
def test_a_file_argument_that_cannot_be_is_refused(fields: list[Field], wanted: str | None, says: str) -> None:
    with pytest.raises(BadUsage, match=says):
        module(*fields).file_fields([None], wanted)


@pytest.mark.parametrize(
    ("named", "default", "taken"),
    [
        (["image", "audio"], None, ["image", "audio"]),
        (["audio", "image"], None, ["audio", "image"]),
        ([None, "image"], None, ["audio", "image"]),
        ([None, "audio"], "image", ["image", "audio"]),
        (["the-image", None], None, ["image", "audio"]),
    ],
)
def test_the_arguments_that_take_several_files_are_found(
    named: list[str | None], default: str | None, taken: list[str]
) -> None:
    birds = module(file("image", data_key="the-image", required=True), file("audio", required=True), argument("top"))
    assert [field.name for field in birds.file_fields(named, default)] == taken


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (["image", "imgae"], "the line's field is 'imgae': the module birds has no such argument: did you mean image?"),
        (["image", "top"], r"the argument top \(String\) of the module birds takes no file"),
        (["image", "the-image"], "the argument image of the module birds is given two files"),
        (["image", None, None], "the argument audio of the module birds is given two files"),
        (["image"], r"needs further files beside image: audio \(file, required\)"),
    ],
)
def test_several_files_that_do_not_fit_are_refused(named: list[str | None], says: str) -> None:
    birds = module(file("image", data_key="the-image", required=True), file("audio", required=True), argument("top"))
    with pytest.raises(BadUsage, match=says) as refused:
        birds.file_fields(named, None)
    if "beside" in says:
        assert '{"files": {"image": "s3://…", "audio": "s3://…"}}' in refused.value.hint


@pytest.mark.parametrize(
    ("fields", "possible"),
    [
        ([file("image")], (None,)),
        ([file("image", required=True), file("audio", required=True), file("mask")], ("image", "audio")),
        ([file("image", required=True), file("mask")], ("image",)),
        ([file("image"), file("zip")], ("image",)),
        ([file("files"), file("zip")], (None,)),
        ([argument("top")], (None,)),
    ],
)
def test_the_fields_of_a_call_that_can_be_made_are_known(fields: list[Field], possible: tuple[str | None, ...]) -> None:
    assert module(*fields).possible_fields == possible


def test_arguments_come_back_under_the_names_that_predict_knows() -> None:
    birds = module(file("files"), argument("top", data_key="top-n"), argument("label"))
    assert birds.require_known({"top-n": 3, "label": "a"}, birds.fields[:1]) == {"top": 3, "label": "a"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"treshold": 1}, "no argument 'treshold': did you mean threshold?"),
        ({"zzz": 1}, "the module birds has no argument 'zzz'$"),
        ({"files": "x", "threshold": 1}, "files takes a file, which JOB_INPUT names"),
        ({"mask": "x", "threshold": 1}, "mask takes a file"),
        ({}, r"requires the argument threshold \(Float, required\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given: dict[str, Any], says: str) -> None:
    birds = module(file("files"), file("mask"), argument("threshold", type="Float", required=True))
    with pytest.raises(BadUsage, match=says):
        birds.require_known(given, birds.fields[:1])


@pytest.mark.parametrize(
    ("asked", "default", "accept"),
    [
        (None, None, "application/json"),
        (None, "image/png", "image/png"),
        ("text/csv", "image/png", "text/csv"),
        ("*/*", None, "application/json"),
        (7, "image/png", "application/json"),
    ],
)
def test_the_type_of_the_answer_follows_accept(asked: Any, default: str | None, accept: str) -> None:
    birds = module(file("files"), argument("accept", has_default=True, default_text=default))
    assert birds.accept_for({} if asked is None else {"accept": asked}) == accept


def test_an_argument_is_listed_with_what_it_wants() -> None:
    listed = argument("mode", has_default=True, default="'fast'", choices=("fast", "good")).summary
    assert listed == "mode (String, default 'fast', one of fast|good)"
