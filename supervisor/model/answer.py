"""The module's answer as a result: strict JSON, and never an error in disguise.

An answer is an error in disguise where it is null, or an object that says
- `"status"`: "error", "fail", "failed" or "failure" (in any case), or
- `"error"` with something behind it: true, a text, a list or an object that is not empty.
This is asked of the answer itself, of the elements of a list, and of what lies under `predictions`; and of what a text
holds that is JSON itself, for some modules encode their answer. Innocent are
`"error_rate": 0.1`, `"errors": []`, `"error": null`, `"error": ""`, `"error": false` and `"error": 0.03`, a measure.
"""

import ast
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from supervisor.failures import ItemFailed

# A parsed document takes about ten times its text: larger ones are handled in a process of their own, so that
# the supervisor stays as small as it is.
_IN_PROCESS = 2 * 1024 * 1024
_SAID_FAILED = frozenset({"error", "fail", "failed", "failure"})
_FAULT = 3


def settle(written: Path, result: Path, form: str = "json") -> None:
    """Turns what the module's runner wrote into a result: strict JSON in UTF-8.

    form: "json", or "repr" for deepaas-predict's Python literal. Raises ItemFailed where the answer is an error in
    disguise or no JSON.
    """
    if written.stat().st_size <= _IN_PROCESS:
        _settle(written, result, form)
        return
    code = "import sys; sys.path.insert(0, sys.argv[1]); from supervisor.model.answer import main; main()"
    place = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code, place, str(written), str(result), form],
        capture_output=True,
        check=False,
        env={},  # this process can be looked into by the model's, unlike ours: nothing of the job's goes there
    )
    if ended.returncode == _FAULT:
        raise ItemFailed(ended.stdout.decode())
    if ended.returncode:
        size = written.stat().st_size // 1_000_000
        raise ItemFailed(f"the module's answer of {size} MB could not be read as JSON (exit {ended.returncode})")


def main() -> None:
    """The process for large answers: its last three arguments are settle's."""
    try:
        _settle(Path(sys.argv[-3]), Path(sys.argv[-2]), sys.argv[-1])
    except ItemFailed as fault:
        sys.stdout.buffer.write(fault.message.encode(errors="backslashreplace"))
        sys.exit(_FAULT)


def _settle(written: Path, result: Path, form: str) -> None:
    answer = _parsed(written, form)
    if (fault := disguised_error(answer)) is not None:
        raise ItemFailed(fault, "the module reports this itself: see its log, and whether the input is what it takes")
    with result.open("w", encoding="utf-8", errors="backslashreplace", newline="") as target:
        try:
            target.write(json.dumps(answer, ensure_ascii=False, allow_nan=False))
        except ValueError:  # NaN or an infinity: rare, so looked for only now
            target.seek(0)
            target.write(json.dumps(_finite(answer), ensure_ascii=False, allow_nan=False))
            target.truncate()


def _parsed(written: Path, form: str) -> Any:
    try:
        text = written.read_bytes().decode("utf-8", "surrogatepass")
        return json.loads(text) if form == "json" else _literal(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        if form == "repr":
            raise ItemFailed(
                f"deepaas-predict wrote an answer that is no Python literal: {_start_of(written)}",
                "use JOB_RUNNER=worker, which needs none",
            ) from None
        raise ItemFailed(f"the module's answer is not JSON ({error}): {_start_of(written)}") from None


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


def _start_of(written: Path) -> str:
    with written.open("rb") as file:
        return repr(file.read(80).decode("utf-8", "replace"))


def disguised_error(answer: Any) -> str | None:
    """What the answer says went wrong, in one line; None for an answer."""
    if answer is None:
        return "the module answered nothing (null)"
    for place, part in _parts(_decoded(answer)):
        if isinstance(part, dict) and (fault := _fault_in(part)) is not None:
            return f"the module answered with an error{place}: {fault}"
    return None


def _decoded(answer: Any) -> Any:
    if not isinstance(answer, str):
        return answer
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer


def _parts(answer: Any) -> Iterator[tuple[str, Any]]:
    yield "", answer
    within, where = (answer, "") if isinstance(answer, list) else (None, "")
    if isinstance(answer, dict):
        within, where = answer.get("predictions"), " under predictions"
        yield where, within
    elements = within if isinstance(within, list) else list(within.values()) if isinstance(within, dict) else []
    for number, element in enumerate(elements):
        yield f"{where} at {number}", element


def _fault_in(part: dict[str, Any]) -> str | None:
    status, error = part.get("status"), part.get("error")
    said = isinstance(status, str) and status.strip().lower() in _SAID_FAILED
    found = error is True or (isinstance(error, (str, list, dict)) and len(error) > 0)
    if not (said or found):
        return None
    told = error if found and error is not True else part.get("message") or part.get("detail") or status or error
    return (told if isinstance(told, str) else json.dumps(told))[:500]


def _finite(value: Any) -> Any:
    """The value with null for NaN and the infinities, for which JSON has no word."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
