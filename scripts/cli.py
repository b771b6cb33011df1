"""deepaas-batch: what a platform operator does, a subcommand each."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, cast

from scripts import checkout, terminal
from supervisor import __version__
from supervisor.failures import SUCCESS, TABLE, BadUsage, Bug, DiskTrouble, Failure, Stopped
from supervisor.machine import console, process
from supervisor.status.redaction import redacted

INTERRUPTED = 130  # Ctrl-C, as shells tell of it


class Subcommand(Protocol):
    """The module behind a subcommand."""

    DESCRIPTION: str
    EPILOG: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Adds its arguments."""

    def main(self, options: argparse.Namespace) -> int:
        """Does it; returns the exit code. Raises Failure."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand. module: imported where it is asked for, since Docker's client and boto3 take a second."""

    name: str
    module: str
    does: str

    def load(self) -> Subcommand:
        """Raises BadUsage where a library of the extra `host` is missing."""
        try:
            return cast("Subcommand", importlib.import_module(self.module))
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] in ("scripts", "supervisor"):
                raise
            raise BadUsage(f"the library {missing.name} is not installed", "pip install -e '.[host]'") from None


COMMANDS = (
    Command(name="catalogue", module="scripts.images.catalogue", does="show the modules that images can be built from"),
    Command(
        name="images",
        module="scripts.images.build",
        does="bake the supervisor on catalogue images, check them, push them",
    ),
    Command(name="run", module="scripts.images.run", does="run a derived image on a file, here, as Batch would"),
    Command(
        name="job-definitions", module="scripts.batch.register", does="render and register AWS Batch job definitions"
    ),
    Command(name="submit", module="scripts.batch.submit", does="submit one job, and follow it to its end"),
    Command(name="report", module="scripts.report.command", does="merge the status documents of a run into one page"),
    Command(name="audit", module="scripts.images.audit", does="known vulnerabilities of the runtime layer"),
    Command(name="runtime", module="scripts.images.runtime", does="build the private runtime layer alone"),
)
_BY_NAME = {command.name: command for command in COMMANDS}
_ABOUT = "Turns modules of the DEEP Open Catalog into AWS Batch workers, and runs them."
EXAMPLES = """\
from a module to its results, first here, then on AWS:
  deepaas-batch catalogue voice-activity
  deepaas-batch images voice-activity --variant cpu
  deepaas-batch run voice-activity images/voice-activity/recording.wav --out results
  deepaas-batch images voice-activity --registry registry.example.org/batch --push
  deepaas-batch job-definitions voice-activity --registry registry.example.org/batch --role arn:aws:iam::… --register
  deepaas-batch submit voice-activity s3://bucket/x.wav s3://bucket/results/ --wait
  deepaas-batch report s3://bucket/results/_status/

`deepaas-batch COMMAND --help` says the rest of each. make's targets are aliases; make exits 2 for every failure."""


def main(argv: Sequence[str] | None = None) -> int:
    """The `deepaas-batch` command; returns the exit code, one of the table of failures."""
    words = sys.argv[1:] if argv is None else list(argv)
    console.open_missing()
    name = words[0] if words and words[0] in _BY_NAME else ""
    try:
        return _run(words) or _flushed()
    except Failure as failure:
        terminal.tell(name, failure)
        return failure.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read, `head` perhaps, has seen enough
        return DiskTrouble.code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        trouble = DiskTrouble(f"{where}{error.strerror or error}", "look at the disk, and at who may read and write")
        terminal.tell(name, trouble)
        return trouble.code
    except Exception as unknown:
        console.say(redacted(traceback.format_exc()))
        terminal.tell(name, Bug(f"{type(unknown).__name__}: {unknown}"))
        return Bug.code


def _flushed() -> int:
    """Success, once the whole answer is written. Raises OSError; the code of a failure is settled without this."""
    sys.stdout.flush()
    return SUCCESS


def _run(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        return _overview(words)
    command = _BY_NAME.get(words[0])
    if command is None:
        close = difflib.get_close_matches(words[0], _BY_NAME, n=1)
        guess = f": did you mean {close[0]}?" if close else ""
        raise BadUsage(f"there is no command {words[0]!r}{guess}", f"use one of {', '.join(_BY_NAME)}")
    subcommand = command.load()
    parser = command_parser(command, subcommand)
    options = parser.parse_args([_as_path(word, parser) for word in words[1:]])
    checkout.require()
    return subcommand.main(options)


def _as_path(word: str, parser: Parser) -> str:
    """A file whose name begins with a hyphen is no flag: -x.wav."""
    is_flag = word.partition("=")[0] in parser._option_string_actions
    return f"./{word}" if word.startswith("-") and not is_flag and Path(word).is_file() else word


def _overview(words: list[str]) -> int:
    """--help, --version, or what is neither."""
    width = max(map(len, _BY_NAME))
    listed = "\n".join(f"  {command.name:{width}}  {command.does}" for command in COMMANDS)
    parser = Parser(
        prog="deepaas-batch",
        usage="deepaas-batch COMMAND [arguments]",
        description=f"{_ABOUT}\n\ncommands:\n{listed}",
        epilog=f"{EXAMPLES}\n\n{_exit_codes()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"deepaas-batch {__version__}")
    parser.parse_args(words)
    parser.print_help(sys.stderr)
    return BadUsage.code


def _exit_codes() -> str:
    meanings = {SUCCESS: "done"} | {each.code: each.meaning for each in TABLE} | {INTERRUPTED: "Ctrl-C"}
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in sorted(meanings.items()))
    return f"exit codes, the supervisor's own; `run` and `submit --wait` pass on the container's:\n{rows}"


def command_parser(command: Command, subcommand: Subcommand) -> Parser:
    """The parser of one subcommand's arguments."""
    parser = Parser(
        prog=f"deepaas-batch {command.name}",
        description=subcommand.DESCRIPTION,
        epilog=subcommand.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subcommand.configure(parser)
    return parser


class Parser(argparse.ArgumentParser):
    """Bad usage is exit 64 in one line, with a guess at what was meant."""

    def error(self, message: str) -> NoReturn:
        guess = ""
        if wrong := re.search(r"unrecognized arguments: (-[^\s=]+)", message):
            message = wrong[0]  # without its value, which may be a secret
            close = difflib.get_close_matches(wrong[1], self._option_string_actions, n=1)
            guess = f": did you mean {close[0]}?" if close else ""
        raise BadUsage(message + guess, f"`{self.prog} --help` lists what there is")


def _stopped(number: int, _frame: object) -> NoReturn:
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.SIG_IGN)  # what is under way is ended in order, once
    raise Stopped(f"stopped by {signal.Signals(number).name}", "run the command again: what was done is kept")


def program() -> NoReturn:
    """The `deepaas-batch` command as a process of its own."""
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is not signal.SIG_IGN:  # nohup
            signal.signal(stop, _stopped)
    try:
        code = main()
    except SystemExit as said:  # --help and --version have printed what they know
        code = said.code if isinstance(said.code, int) else SUCCESS
    process.exit_with(code)


if __name__ == "__main__":
    program()
