"""The module's answer as a result: strict JSON, and never an error in disguise (answer_rules.py)."""

import ast
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supervisor.failures import DiskTrouble, ItemFailed
from supervisor.model.answer_rules import LARGEST, disguised_error, finite

# A parsed document takes about ten times its text: larger ones are handled in a process of their own, so that
# the supervisor stays as small as it is.
_IN_PROCESS = 2 * 1024 * 1024
# What that process takes is the job's memory, beside the model: about 300 MB for LARGEST. Beyond it an answer is
# checked by the worker, where it is an object anyway, or not at all, and refused.
_FAULT, _DISK = 3, 4
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def of(raw: bytes, form: str = "json", results: Sequence[str] = ()) -> bytes:
    """What the module's runner wrote as a result, strict JSON in UTF-8.

    form: "json", or "repr" for deepaas-predict's Python literal; results: the media types that the module is declared
    to answer with. Raises ItemFailed where the answer is an error in disguise, or no JSON."""
    answer = _parsed(raw, form)
    if (fault := disguised_error(answer, results)) is not None:
        raise ItemFailed(fault.message, fault.hint)
    try:
        text = _encode(answer)
    except ValueError:  # NaN or an infinity: rare, so looked for only now
        text = _encode(finite(answer))
    return text.encode(errors="backslashreplace")


def rewrite(written: Path, form: str = "json", results: Sequence[str] = ()) -> None:
    """Makes a result of a file, in its place, as `of` does; a large one in a process of its own.

    Raises ItemFailed also where it is larger than can be told, DiskTrouble where the result cannot be written.
    """
    size = written.stat().st_size
    if size > LARGEST:
        raise ItemFailed(
            f"the answer of {size // 1_000_000:,} MB is too large for a command line's: at most "
            f"{LARGEST // 1_000_000} MB can be checked",
            "use JOB_RUNNER=worker, which has no such limit",
        )
    if size <= _IN_PROCESS:
        try:
            written.write_bytes(of(written.read_bytes(), form, results))
        except OSError as error:
            raise _unwritten(error.strerror) from None
        return
    code = "import sys; sys.path.insert(0, sys.argv[1]); from supervisor.model.strict_json import main; main()"
    place = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code, place, str(written), form, *results],
        capture_output=True,
        check=False,
        env={},  # this process can be looked into by the model's, unlike ours: nothing of the job's goes there
    )
    if ended.returncode == _FAULT:
        raise ItemFailed(*json.loads(ended.stdout))
    if ended.returncode == _DISK:
        raise _unwritten(ended.stdout.decode())
    if ended.returncode:
        raise ItemFailed(
            f"the module's answer of {size // 1_000_000} MB could not be read as JSON (exit {ended.returncode})"
        )


def main() -> None:
    """The process for large answers: its arguments after the first are rewrite's."""
    try:
        written, form, *results = sys.argv[2:]
        Path(written).write_bytes(of(Path(written).read_bytes(), form, results))
    except ItemFailed as fault:
        sys.stdout.write(json.dumps([fault.message, fault.hint]))
        sys.exit(_FAULT)
    except OSError as error:
        sys.stdout.write(str(error.strerror))
        sys.exit(_DISK)


def _unwritten(why: str | None) -> DiskTrouble:
    return DiskTrouble(f"the result cannot be written to the local disk: {why}")


def _parsed(raw: bytes, form: str) -> Any:
    try:
        text = raw.decode("utf-8", "surrogatepass")
        return json.loads(text) if form == "json" else _literal(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        start = repr(raw[:80].decode("utf-8", "replace"))
        if form == "repr":
            raise ItemFailed(
                f"deepaas-predict wrote an answer that is no Python literal: {start}",
                "use JOB_RUNNER=worker, which needs none",
            ) from None
        raise ItemFailed(f"the module's answer is not JSON ({error}): {start}") from None


def _literal(text: str) -> Any:
    """A Python repr as values; `nan` and `inf` are what repr makes of such floats."""

    class Floats(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return ast.Constant(math.nan) if node.id in ("nan", "inf") else node

        def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
            operand = self.visit(node.operand)
            if isinstance(operand, ast.Constant) and operand.value != operand.value:
                return operand
            return ast.UnaryOp(node.op, operand)

    value = ast.literal_eval(Floats().visit(ast.parse(text.strip(), mode="eval")))
    return json.loads(json.dumps(value))
