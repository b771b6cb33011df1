"""The command line: run a job, check that one could run, say the version."""

import argparse
import contextlib
import difflib
import json
import platform
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

from supervisor import __version__, job, storage
from supervisor.failures import SUCCESS, TABLE, BadUsage, Bug, DiskTrouble, Failure, Stopped
from supervisor.job import VARIABLES, JobSpec, Variable
from supervisor.machine import console, process, signals
from supervisor.status.redaction import redacted
from supervisor.storage.uri import shown
from supervisor.work.plan import plan_work

_COMMANDS = {
    "run": "run the job that the environment and the flags describe (the default)",
    "check": "say what is here and whether the job could run, before anything is spent",
    "version": "say the version",
}
_DRY_RUN_SHOWS = 1000
_ABOUT = """\
Runs DEEPaaS predictions unattended: downloads each input, runs the image's module on it, uploads the answer as
JSON, reports status, and exits with a code that a scheduler can act on.
"""
_EXAMPLES = """\
examples:
  supervisor run --input recording.wav --output results
  supervisor run --input s3://bucket/a.wav --output s3://bucket/results/ --predict-args '{"threshold": 0.6}'
  JOB_INPUT=s3://bucket/a.wav JOB_OUTPUT=s3://bucket/results/ supervisor run
  supervisor check --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The `supervisor` command; returns the exit code."""
    process.make_undumpable()
    console.open_missing()
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        try:
            arguments = _parse(words)
        except BadUsage as failure:
            return _refuse_flags(failure) if words[0] == "run" else _told(failure)
        match arguments.command:
            case "version":
                return _version(arguments.json)
            case "check":
                return _check(arguments)
            case _:
                return _run(arguments)
    except Failure as failure:
        return _told(failure)
    except KeyboardInterrupt:
        return 130
    except Exception as unknown:
        console.say(redacted(traceback.format_exc()))
        return _told(Bug(f"{type(unknown).__name__}: {unknown}"))


def _run(arguments: argparse.Namespace) -> int:
    from supervisor import run
    from supervisor.status import reporters

    environ, reporter = job.environment(), reporters.for_stdout()
    try:
        signals.handle_stop_signals()
        spec = job.read(environ, vars(arguments))
        storage.set_up(storage.Settings(request_payer=spec.request_payer))
        spec.require_complete()
        if arguments.dry_run:
            return _dry_run(spec)
        process.become_subreaper()
        signals.note_stops()
        record = run.run(spec, reporter)
    except (BadUsage, Stopped) as failure:
        signals.note_stops()
        if not arguments.dry_run:
            run.refuse(job.salvage(environ, vars(arguments)), failure, reporter)
        raise
    return SUCCESS if record.failure is None else _told(record.failure)


def _refuse_flags(failure: BadUsage) -> int:
    """A job whose command line cannot be read is told where its environment says."""
    from supervisor import run
    from supervisor.status import reporters

    run.refuse(job.salvage(job.environment(), {}), failure, reporters.for_stdout())
    return _told(failure)


def _dry_run(spec: JobSpec) -> int:
    """What the job would do, item by item; no input is read, and nothing is run or written."""
    from supervisor.status.reporters import printable

    work, count = plan_work(spec), 0
    for count, item in enumerate(work, start=1):
        line = printable(f"{item.shown} -> {shown(item.result_uri())}")
        if count <= _DRY_RUN_SHOWS and not console.put(line):
            return SUCCESS
    more = f"… and {count - _DRY_RUN_SHOWS:,} more\n" if count > _DRY_RUN_SHOWS else ""
    left_out = f" ({work.placeholders:,} folder placeholders left out)" if work.placeholders else ""
    console.put(f"{more}{count:,} to do{left_out}; status in {printable(spec.status_uri or '')}")
    return SUCCESS


def _check(arguments: argparse.Namespace) -> int:
    from supervisor import check

    signals.handle_stop_signals()
    process.become_subreaper()
    spec = job.read(job.environment(), vars(arguments))
    storage.set_up(storage.Settings(request_payer=spec.request_payer))
    report = check.run(spec, check.LOADED if arguments.load else check.MODULE)
    with contextlib.suppress(DiskTrouble):  # what it found stands, told or not
        console.put(json.dumps(report.as_dict(), indent=2) if arguments.json else report.as_text())
    return report.exit_code


def _version(as_json: bool) -> int:
    from importlib.metadata import version  # boto3 itself takes 0.2 s to import

    versions = {"supervisor": __version__, "python": platform.python_version(), "boto3": version("boto3")}
    text = f"supervisor {__version__} (Python {versions['python']}, boto3 {versions['boto3']})"
    console.put(json.dumps(versions) if as_json else text)
    return SUCCESS


def _told(failure: Failure) -> int:
    """Says the one line that a person reads when a job fails; the code is what it is, read or not."""
    console.say(
        redacted(f"supervisor: {failure.message} (exit {failure.code}, {failure.category}). To do: {failure.hint}")
    )
    return failure.code


class _Parser(argparse.ArgumentParser):
    """Bad usage is exit 64 in one line, with a guess at what was meant."""

    def error(self, message: str) -> NoReturn:
        known = ["--dry-run", "--load", "--json", "--help", *(v.flag for v in VARIABLES if not v.secret)]
        wrong = re.search(r"unrecognized arguments: (-[^\s=]+)", message)
        if wrong:  # without its value, which may be a secret given to a flag that is none
            message = wrong[0]
        close = difflib.get_close_matches(wrong[1], known, n=1) if wrong else []
        guess = f": did you mean {close[0]}?" if close else ""
        raise BadUsage(message + guess, f"`{self.prog} --help` lists what there is")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="supervisor",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"supervisor {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, help_text in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            epilog=_exit_codes() if name == "run" else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name != "version":
            for variable in VARIABLES:
                _add_flag(command, variable)
        if name == "check":
            command.add_argument("--load", action="store_true", help="load the model as well: call its warm()")
        if name == "run":
            command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        else:
            command.add_argument("--json", action="store_true", help="for machines")
    if argv and argv[0] not in _COMMANDS and not argv[0].startswith("-"):
        close = difflib.get_close_matches(argv[0], _COMMANDS, n=1)
        guess = f": did you mean {close[0]}?" if close else ""
        raise BadUsage(f"there is no command {argv[0]!r}{guess}", f"use one of {', '.join(_COMMANDS)}")
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv = ["run", *argv]
    return parser.parse_args(argv)


def _add_flag(command: argparse.ArgumentParser, variable: Variable) -> None:
    """A flag for each variable, but for secrets: every process can read a command line."""
    if variable.secret:
        return
    facts = [variable.meaning]
    if variable.choices:
        default = f"; default {variable.default}" if variable.default else ""
        facts.append(f"({'|'.join(variable.choices)}{default})")
    elif variable.default:
        facts.append(f"(default {variable.default})")
    command.add_argument(
        variable.flag,
        dest=variable.member,
        metavar=("|".join(variable.choices) and "WORD") or variable.metavar,
        help=" ".join(facts).replace("%", "%%") + f" [{variable.name}]",
    )


def _exit_codes() -> str:
    rows: Mapping[int, str] = {SUCCESS: "every item done or already up to date"} | {f.code: f.meaning for f in TABLE}
    return "exit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in rows.items())


def program() -> NoReturn:
    """The `supervisor` command as a process of its own."""
    try:
        code = main()
    except SystemExit as said:  # --help and --version have printed what they know
        code = said.code if isinstance(said.code, int) else SUCCESS
    process.exit_with(code)
