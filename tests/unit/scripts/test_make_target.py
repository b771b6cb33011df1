"""make's targets as aliases of the command: values arrive as they were typed, in the target that they are meant for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.make_target import arguments, require_known
from supervisor.failures import BadUsage
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")

ODD = [
    "s3://bucket/in/cost$5 ü.wav",
    "$(shell touch made-by-make)",
    "$(error no)",
    "${HOME}$$HOME",
    "`touch made-by-sh`",
    '"; touch made-by-sh; "',
    "it's a \\ 'quote'",
    "a#b=c:=d",
    "-x.wav",
    "two\nlines",
    "$(MODEL)",
    "*",
    "~",
]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A python for make to run, which writes down its environment and its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(tmp_path / 'told.json')!r}, 'w').write(json.dumps([dict(os.environ), sys.argv[1:]]))\n"
    )
    program.chmod(0o755)
    return folder


def told(bin_folder: Path, target: str, *given: str) -> tuple[dict[str, str], list[str]]:
    """The environment and the arguments that `make target` gives to what it runs."""
    # What an outer make, that runs these tests, has put there.
    environ = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "GIVEN")}
    ready = ("-o", ".venv/ready")
    subprocess.run(
        ["make", "-C", str(REPOSITORY), *ready, target, f"BIN={bin_folder}", *given],
        check=True,
        capture_output=True,
        env=environ,
    )
    environment, words = json.loads((bin_folder.parent / "told.json").read_text())
    return environment, words


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(("target", "name"), [("submit-one", "INPUT"), ("images", "MODEL"), ("report", "STATUS")])
def test_a_value_given_to_make_arrives_as_it_was_typed(target: str, name: str, value: str, bin_folder: Path) -> None:
    environment, words = told(bin_folder, target, f"{name}={value}")

    assert environment[name] == value
    assert words == ["-m", "scripts.make_target", target]
    assert not list(REPOSITORY.glob("made-by-*"))


@pytest.mark.parametrize("value", ODD)
def test_a_demo_file_arrives_as_it_was_typed(value: str, bin_folder: Path) -> None:
    _, words = told(bin_folder, "demo", f"FILE={value}")

    assert words == ["-m", "scripts.demo", "--", value]


def test_what_was_given_on_the_command_line_is_told_apart_from_the_environment(bin_folder: Path) -> None:
    environment, _ = told(bin_folder, "images", "MODEL=yolov8", "TAG=v2")

    assert set(environment["GIVEN"].split()) == {"BIN", "MODEL", "TAG"}


def words(target: str, **given: str) -> list[str]:
    """What the variables on make's command line come to."""
    environ = {"GIVEN": " ".join(given), "GOALS": target, **given}
    require_known(target, environ)
    return arguments(target, environ)


def test_variables_become_the_commands_flags_and_arguments() -> None:
    job = {"MODEL": "yolov8", "INPUT": "s3://b/a b", "OUTPUT": "s3://b/", "ARGS": '{"conf": 0.5}', "WAIT": "1"}

    assert words("submit-one", **job) == [
        '--args={"conf": 0.5}',
        "--wait",
        "--",
        "yolov8",
        "s3://b/a b",
        "s3://b/",
    ]


@pytest.mark.parametrize("yes", ["1", "yes", "True", "TRUE", "on", "Y"])
def test_a_flag_without_a_value_is_set_by_any_yes(yes: str) -> None:
    assert words("images", MODEL="yolov8", PUSH=yes) == ["--push", "--", "yolov8"]


@pytest.mark.parametrize("no", ["", "0", "no", "False", "OFF", "n"])
def test_a_flag_without_a_value_is_left_out_by_any_no(no: str) -> None:
    assert words("images", MODEL="yolov8", PUSH=no) == ["--", "yolov8"]


@pytest.mark.parametrize("neither", ["2", "Ture", "push", "yes please"])
def test_what_is_neither_yes_nor_no_is_refused(neither: str) -> None:
    with pytest.raises(BadUsage, match="neither yes nor no"):
        words("images", MODEL="yolov8", PUSH=neither)


def test_what_is_on_by_default_is_turned_off_by_no() -> None:
    assert words("images", MODEL="yolov8", PULL="no") == ["--no-pull", "--", "yolov8"]
    assert words("images", MODEL="yolov8", PULL="yes") == ["--", "yolov8"]
    assert words("images", MODEL="yolov8", PULL="") == ["--", "yolov8"]


def test_a_flag_whose_name_says_no_is_set_by_yes() -> None:
    assert words("runtime", NO_CACHE="yes") == ["--no-cache", "--"]
    assert words("runtime") == ["--"]


def test_a_flag_of_two_spellings_is_set_by_either() -> None:
    assert words("report", STATUS="s", OUT="a.html") == ["--output=a.html", "--", "s"]
    assert words("report", STATUS="s", OUTPUT="a.html") == ["--output=a.html", "--", "s"]


def test_an_argument_that_is_not_given_is_said() -> None:
    with pytest.raises(BadUsage, match="MODEL is not given"):
        words("images", VARIANT="cpu")


@pytest.mark.parametrize(("wrong", "meant"), [("REGISTERY", "REGISTRY"), ("VARIENT", "VARIANT")])
def test_a_misspelt_variable_is_refused_with_a_guess(wrong: str, meant: str) -> None:
    with pytest.raises(BadUsage, match=f"takes no {wrong}: did you mean {meant}?"):
        words("images", MODEL="yolov8", **{wrong: "x"})


def test_a_value_of_another_target_is_refused_on_the_command_line_and_left_alone_in_the_environment() -> None:
    with pytest.raises(BadUsage, match="make images takes no INPUT"):
        words("images", MODEL="yolov8", INPUT="s3://b/x")
    environ = {"GIVEN": "MODEL", "MODEL": "yolov8", "INPUT": "s3://b/x", "FILE": "x"}
    assert arguments("images", environ) == ["--", "yolov8"]


def test_targets_of_one_call_may_take_different_variables() -> None:
    given = {"MODEL": "yolov8", "FILE": "x.jpg", "VARIANT": "cpu"}
    environ = {"GIVEN": " ".join(given), "GOALS": "images run", **given}

    require_known("images", environ)
    assert arguments("images", environ) == ["--variant=cpu", "--", "yolov8"]
    assert arguments("run", environ) == ["--variant=cpu", "--", "yolov8", "x.jpg"]
    with pytest.raises(BadUsage, match="make images run takes no FIEL: did you mean FILE"):
        require_known("images", environ | {"GIVEN": "MODEL FIEL"})


def test_the_file_that_sh_reads_is_not_taken_for_a_jobs_variable() -> None:
    environ = {"GIVEN": "MODEL INPUT OUTPUT", "MODEL": "m", "INPUT": "i", "OUTPUT": "o", "ENV": "/etc/profile"}

    assert arguments("submit-one", environ) == ["--", "m", "i", "o"]
