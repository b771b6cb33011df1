"""What make's targets run: `make images MODEL=yolov8 PUSH=yes` is `deepaas-batch images --push -- yolov8`.

    python -m scripts.make_target images

Each argument and flag of the command is a variable of make: --execution-role is EXECUTION_ROLE, the argument FILE is
FILE. Their values come through the environment, literally (the Makefile sees to it), and not through a shell. A flag
without a value takes yes or no. GIVEN names the variables on make's command line and GOALS the targets there, so that
a variable which none of them takes is told, with a guess.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterator, Mapping

from scripts import cli, terminal
from supervisor.failures import BadUsage

# Where target and command have different names.
COMMANDS = {"submit-one": "submit"}
# The Makefile's own.
OF_MAKE = ("PYTHON", "VENV", "BIN", "PYTEST", "SHELL")
# Means something else to sh: the file that it reads as it starts.
_COMMAND_LINE_ALONE = ("ENV",)
YES, NO = ("1", "yes", "y", "true", "on"), ("", "0", "no", "n", "false", "off")


def variable(action: argparse.Action) -> tuple[str, ...]:
    """The names of make's variables for an argument or flag: OUT and OUTPUT for --out and --output; PULL for --no-pull,
    which turns off what is on by default."""
    names = action.option_strings or [action.dest]
    if action.const is False:
        names = [name.removeprefix("--no-") for name in names]
    return tuple(name.lstrip("-").replace("-", "_").upper() for name in names)


def variables(target: str) -> dict[str, argparse.Action]:
    """All variables that a target takes. Raises BadUsage."""
    parser = _parser(target)
    return {name: action for action in parser._actions if action.dest != "help" for name in variable(action)}


def require_known(target: str, environ: Mapping[str, str]) -> None:
    """Refuses what nothing takes that make was asked for. Raises BadUsage."""
    goals = environ.get("GOALS", "").split() or [target]
    unknown = [name for name in environ.get("GIVEN", "").split() if name not in (*variables(target), *OF_MAKE)]
    if not unknown or not all(_is_alias(goal) for goal in goals):
        return
    known = {name: None for goal in goals for name in variables(goal)}
    for name in (each for each in unknown if each not in known):
        close = difflib.get_close_matches(name, known, n=1)
        guess = f": did you mean {close[0]}?" if close else ""
        raise BadUsage(f"make {' '.join(goals)} takes no {name}{guess}", f"it takes {', '.join(known)}")


def arguments(target: str, environ: Mapping[str, str]) -> list[str]:
    """The command line that make's variables come to. Raises BadUsage."""
    given = environ.get("GIVEN", "").split()
    flags: list[str] = []
    positional: list[str] = []
    for name, action in variables(target).items():
        value = "" if name in _COMMAND_LINE_ALONE and name not in given else environ.get(name, "")
        if action.option_strings:
            flags += _flag(name, action, value)
        elif value:
            positional.append(value)
        elif action.nargs != "*":
            raise BadUsage(f"{name} is not given", f"make {target} {name}=…; `{_parser(target).prog} --help` says it")
    return [*flags, "--", *positional]


def _flag(name: str, action: argparse.Action, value: str) -> Iterator[str]:
    long = action.option_strings[-1]
    if action.nargs == 0:
        if _yes(name, value, default=action.default) == action.const:
            yield long
    elif value:
        # With its sign of equality, so that a value may begin with a hyphen.
        yield f"{long}={value}"


def _yes(name: str, value: str, *, default: bool) -> bool:
    word = value.strip().lower()
    if word not in (*YES, *NO):
        raise BadUsage(f"{name} is {value!r}, neither yes nor no", f"use {name}=yes, or leave it out")
    return word in YES if word else default


def main(target: str, environ: Mapping[str, str]) -> int:
    """Runs the command behind a target; returns its exit code, of which make lets through 0 or not alone."""
    name = COMMANDS.get(target, target)
    try:
        require_known(target, environ)
        words = arguments(target, environ)
    except BadUsage as failure:
        terminal.tell(name, failure)
        return failure.code
    return cli.main([name, *words])


def _is_alias(target: str) -> bool:
    return COMMANDS.get(target, target) in (command.name for command in cli.COMMANDS)


def _parser(target: str) -> argparse.ArgumentParser:
    name = COMMANDS.get(target, target)
    command = next(command for command in cli.COMMANDS if command.name == name)
    return cli.command_parser(command, command.load())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ))
