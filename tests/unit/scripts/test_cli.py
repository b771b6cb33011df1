"""The command `deepaas-batch`: its help, its exit codes, and what it says of a mistake."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import checkout, cli
from scripts.cli import COMMANDS, Command
from supervisor.failures import TABLE
from tests.conftest import REPOSITORY


def deepaas_batch(*arguments: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """The console script, as it is installed."""
    program = Path(sys.executable).with_name("deepaas-batch")
    return subprocess.run([program, *arguments], cwd=folder, check=False, capture_output=True, text=True)


def test_the_installed_command_works_from_any_folder(tmp_path: Path) -> None:
    ended = deepaas_batch("catalogue", "yolov8", folder=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "deephdc/deep-oc-yolov8_api" in ended.stdout


def test_help_names_every_command_and_every_exit_code() -> None:
    ended = deepaas_batch("--help")

    assert ended.returncode == 0
    assert re.findall(r"^  ([a-z][a-z-]+)  +[a-z]", ended.stdout, re.MULTILINE) == [each.name for each in COMMANDS]
    codes = re.findall(r"^ +(\d+)  \S", ended.stdout, re.MULTILINE)
    assert codes == [str(code) for code in sorted([0, 130, *(each.code for each in TABLE)])]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_help_with_examples_of_its_own(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command.name, "--help"])

    shown = capsys.readouterr().out
    assert f"\n  deepaas-batch {command.name}" in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_examples_in_the_helps_are_ones_that_the_command_takes(command: Command) -> None:
    parser = cli.command_parser(command, command.load())
    examples = re.findall(
        rf"^  deepaas-batch {command.name}(.*)$", f"{command.load().EPILOG}\n{cli.EXAMPLES}", re.MULTILINE
    )

    assert examples
    for example in examples:
        words = ["deepaas-batch", *re.findall(r"'[^']*'|\S+", example)][1:]
        parser.parse_args([word.strip("'") for word in words])


def test_a_command_that_there_is_not_is_one_line_with_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["job-defintions"]) == 64
    [line] = capsys.readouterr().err.splitlines()
    assert "there is no command 'job-defintions': did you mean job-definitions? (exit 64, bad-usage)" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["images", "yolov8", "--pusch"], "unrecognized arguments: --pusch: did you mean --push?"),
        (["images"], "the following arguments are required: model"),
        (["submit", "yolov8", "s3://b/a", "s3://b/", "--envv=TOKEN=secret"], "--envv: did you mean --env?"),
        (["job-definitions", "all", "--platform", "lambda"], "invalid choice: 'lambda'"),
        (["job-definitions", "all", "--timeout", "5"], "'5': Batch wants 60 seconds or more"),
        (["--verson"], "did you mean --version?"),
    ],
)
def test_a_flag_or_an_argument_that_is_wrong_is_one_line_and_exit_64(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 64
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert "secret" not in line


def test_no_command_shows_the_help_and_is_exit_64() -> None:
    ended = deepaas_batch()

    assert (ended.returncode, ended.stdout) == (64, "")
    assert "commands:" in ended.stderr


def test_a_library_that_is_not_installed_is_said_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "scripts.images.catalogue", raising=False)
    monkeypatch.setitem(sys.modules, "yaml", None)

    assert cli.main(["catalogue"]) == 64
    [line] = capsys.readouterr().err.splitlines()
    assert "the library yaml is not installed" in line
    assert "pip install -e '.[host]'" in line


def test_a_copy_apart_from_its_checkout_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)

    assert cli.main(["catalogue"]) == 64
    assert "install it from a checkout" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    program = Path(sys.executable).with_name("deepaas-batch")
    with subprocess.Popen(
        [program, "catalogue", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert (process.returncode, said) == (74, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stdout_that_cannot_be_written_is_one_line_and_exit_74() -> None:
    with Path("/dev/full").open("w") as full:
        program = Path(sys.executable).with_name("deepaas-batch")
        ended = subprocess.run(
            [program, "catalogue", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
    assert ended.returncode == 74
    [line] = ended.stderr.splitlines()
    assert os.strerror(28) in line


def test_the_code_of_a_failure_stands_whether_or_not_its_answer_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("scripts.images.catalogue.main", lambda options: 78)
    monkeypatch.setattr(sys, "stdout", Closed())

    assert cli.main(["catalogue"]) == 78


def test_a_bug_is_exit_70_with_its_trace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(options: object) -> int:
        raise RuntimeError("never thought of")

    monkeypatch.setattr("scripts.images.catalogue.main", broken)

    assert cli.main(["catalogue"]) == 70
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("deepaas-batch catalogue: RuntimeError: never thought of (exit 70, bug)")
