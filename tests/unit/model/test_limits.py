"""Which items each release's command line can carry, and how it is called."""

from pathlib import Path
from typing import Any

import pytest

from supervisor.model.find import Installation
from supervisor.model.releases import cli_arguments, cli_limit, predict_limit
from tests.unit.model.test_description import argument, file, module

EVERY_RELEASE = ("1.3.0", "2.0.0", "2.1.0", "2.2.0", "2.3.2", "2.4.0", "2.5.0", "2.5.1", "2.5.2", "2.6.0")
UPLOAD = file("files", required=True)
TOP = argument("top", type="Integer", has_default=True, default="3", default_type="int")


def installed(*programs: str) -> Installation:
    return Installation(python=Path("/python"), programs_folder=Path("/bin"), programs=programs, on_path=True)


def limit(
    release: str, *fields: Any, arguments: dict[str, Any] | None = None, name: str = "a.wav", **facts: Any
) -> str:
    """Why deepaas-cli of that release cannot carry a.wav; empty where it can."""
    birds = module(UPLOAD, *fields, deepaas=release, **facts)
    return cli_limit(birds, installed("deepaas-cli"), UPLOAD, arguments or {}, name) or ""


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_every_release_carries_a_file_with_simple_arguments(release: str) -> None:
    assert limit(release, TOP) == ""
    assert limit(release, TOP, arguments={"top": 7}) == ""


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ("2.3.0", "cannot start"),
        ("2.3.1", "cannot start"),
        ("1.2.1", "is not known here"),
        ("2.7.0", "is not known here"),
        ("3.0.0", "is not known here"),
        ("3.1.0.dev12", "is not known here"),
        ("2.6.1.dev3", "is not known here"),
        ("2.6.0rc1", "is not known here"),
        ("0.0.0", "is not known here"),
        ("dev", "is not known here"),
    ],
)
def test_a_release_whose_program_does_not_work_carries_nothing(release: str, says: str) -> None:
    assert says in limit(release)


@pytest.mark.parametrize("release", ["2.7.0", "3.0.0", "2.6.1.dev3"])
def test_the_older_program_of_such_a_release_carries_nothing_either(release: str) -> None:
    birds = module(UPLOAD, deepaas=release, has_predict_data=True)
    assert "is not known here" in (predict_limit(birds, installed("deepaas-predict"), UPLOAD, {}) or "")


def test_without_the_program_there_is_no_way() -> None:
    birds = module(UPLOAD, deepaas="1.2.1")
    assert cli_limit(birds, installed("deepaas-run"), UPLOAD, {}, "a.wav") == "DEEPaaS 1.2.1 has no deepaas-cli"


@pytest.mark.parametrize("release", EVERY_RELEASE)
@pytest.mark.parametrize(
    ("field", "says"),
    [
        (argument("my-top", has_default=True), "its name is no identifier"),
        (argument("debug", has_default=True), "clashes with deepaas-cli's own option"),
        (argument("label"), "has no default"),
        (argument("label", has_default=True, default_called=True), "as a function"),
    ],
)
def test_an_argument_that_the_program_would_mangle_takes_the_worker(release: str, field: Any, says: str) -> None:
    assert says in limit(release, field)


@pytest.mark.parametrize("release", EVERY_RELEASE)
@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}, "7", 1.5])
def test_a_value_that_the_program_does_not_convert_takes_the_worker(release: str, value: Any) -> None:
    assert "does not carry top" in limit(release, TOP, arguments={"top": value})


@pytest.mark.parametrize("name", ["n", "no", "log", "use", "config"])
def test_a_name_that_begins_several_options_of_the_program_takes_the_worker(name: str) -> None:
    field = argument(name, type="Integer", has_default=True, default_type="int")
    assert limit("2.6.0", field) == ""
    assert "several options of its own" in limit("2.6.0", field, arguments={name: 1})


@pytest.mark.parametrize(("release", "carried"), [("1.3.0", False), ("2.4.0", False), ("2.5.0", True), ("2.6.0", True)])
def test_old_releases_need_descriptions(release: str, carried: bool) -> None:
    undescribed = argument("label", has_default=True, described=False, default_type="str")
    assert (limit(release, undescribed) == "") is carried


def test_what_cannot_be_trained_cannot_be_run_by_the_program() -> None:
    assert "get_train_args()" in limit("2.6.0", train_described=None)


@pytest.mark.parametrize(("release", "carried"), [("1.3.0", False), ("2.3.2", False), ("2.5.1", True), ("2.6.0", True)])
def test_old_releases_take_a_file_only_as_files(release: str, carried: bool) -> None:
    image = file("image", required=True)
    birds = module(image, deepaas=release)
    assert (cli_limit(birds, installed("deepaas-cli"), image, {}, "a.png") is None) is carried


def test_a_name_without_content_type_takes_the_worker() -> None:
    assert "no content type" in limit("2.6.0", name="a.no-such-type")


def test_another_type_of_answer_takes_the_worker() -> None:
    accept = argument("accept", has_default=True, default_text="application/json", default_type="str")
    assert limit("2.6.0", accept) == ""
    assert "writes image/png" in limit("2.6.0", accept, arguments={"accept": "image/png"})


def test_a_value_rides_with_its_name() -> None:
    argv = cli_arguments(UPLOAD, "/in/-a b.wav", {"top": -7, "label": "--x y"}, "/out/a.json")
    assert argv == [
        "--deepaas_method_output=/out/a.json",
        "predict",
        "--files=/in/-a b.wav",
        "--top=-7",
        "--label=--x y",
    ]


@pytest.mark.parametrize(
    ("programs", "has_predict_data", "arguments", "says"),
    [
        (("deepaas-predict",), True, {}, ""),
        ((), True, {}, "has no deepaas-predict"),
        (("deepaas-predict",), False, {}, "calls predict_data()"),
        (("deepaas-predict",), True, {"top": 3}, "carries no further arguments"),
    ],
)
def test_deepaas_predict_carries_a_file_and_nothing_else(
    programs: tuple[str, ...], has_predict_data: bool, arguments: dict[str, Any], says: str
) -> None:
    birds = module(UPLOAD, TOP, deepaas="1.2.1", has_predict_data=has_predict_data)
    found = predict_limit(birds, installed(*programs), UPLOAD, arguments) or ""
    assert says in found
    assert bool(says) == bool(found)
