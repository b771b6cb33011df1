"""What a module's answer may be: no error in disguise, and nothing that JSON has no word for.

An answer is an error in disguise where it is null, or an object that says
- `"status"`: "error", "fail", "failed" or "failure" (in any case), or
- `"error"` with something behind it: true, a text, a list or an object that is not empty.
This is asked of the answer itself, of the elements of a list, and of what lies under `predictions`; and of what a text
holds that is JSON itself, for some modules encode their answer. Innocent are
`"error_rate": 0.1`, `"errors": []`, `"error": null`, `"error": ""`, `"error": false` and `"error": 0.03`, a measure.

The supervisor and the worker both load this file, the worker under Python 3.6 or newer: it needs nothing but the
standard library.
"""

import json
import math
from typing import Any, Dict, Iterator, Optional, Tuple

# Bytes from which on the supervisor does not look into an answer any more; the worker has it in memory anyway.
LARGEST = 32 * 1024 * 1024
SAID_FAILED = frozenset({"error", "fail", "failed", "failure"})


def disguised_error(answer: Any) -> Optional[str]:
    """What the answer says went wrong, in one line; None for an answer."""
    if answer is None:
        return "the module answered nothing (null)"
    for place, part in parts_of(decoded(answer)):
        fault = fault_in(part) if isinstance(part, dict) else None
        if fault is not None:
            return "the module answered with an error%s: %s" % (place, fault)
    return None


def decoded(answer: Any) -> Any:
    if not isinstance(answer, str):
        return answer
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer


def parts_of(answer: Any) -> Iterator[Tuple[str, Any]]:
    yield "", answer
    within, where = (answer, "") if isinstance(answer, list) else (None, "")
    if isinstance(answer, dict):
        within, where = answer.get("predictions"), " under predictions"
        yield where, within
    elements = within if isinstance(within, list) else list(within.values()) if isinstance(within, dict) else []
    for number, element in enumerate(elements):
        yield "%s at %d" % (where, number), element


def fault_in(part: Dict[str, Any]) -> Optional[str]:
    status, error = part.get("status"), part.get("error")
    said = isinstance(status, str) and status.strip().lower() in SAID_FAILED
    found = error is True or (isinstance(error, (str, list, dict)) and len(error) > 0)
    if not (said or found):
        return None
    told = error if found and error is not True else part.get("message") or part.get("detail") or status or error
    return (told if isinstance(told, str) else json.dumps(told))[:500]


def finite(value: Any) -> Any:
    """The value with null for NaN and the infinities, for which JSON has no word."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {finite_key(key): finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value


def finite_key(key: Any) -> Any:
    return json.dumps(key) if isinstance(key, float) and not math.isfinite(key) else key
