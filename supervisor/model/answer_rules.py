"""What a module's answer may be: no error in disguise, no text in an answer's place, nothing that JSON has no word for.

An answer is an error in disguise where it is null, empty, or an object that says (its keys in any case)
- `"status"`: "error", "fail", "failed" or "failure" (in any case), or
- `"error"` with something behind it: true, a text, an object, or a list that holds one of these; or a text under
  `"error_message"`, `"exception"` or `"traceback"`; or
- `"success"`: false, and a `"message"`; or
- nothing but texts, of which one under a name that fits any answer (`"result"`, `"message"`, ...) reads as an error:
  "Error occurred. No folder", "ValueError: no sound", "Failed to open x". A module may that is declared to answer
  texts.
This is asked of the answer itself, of the elements of a list, of what lies under such a name (`predictions`) and of
its elements; and of what a text holds that is JSON itself, for some modules encode their answer. Elements of what lies
under any other name are asked too (`multi-image`), where they have a text that explains: `"status": "failed"` alone may
be what a module says of a part that it inspects. Innocent are `"error_rate": 0.1`, `"errors": []`, `"error": null`,
`"error": ""`, `"error": "none"`, `"error": false`, `"error": 0.03`, `[0.1, 0.2]` and `{"mean": 0.1}`, measures, and
`"result": "Error"`, a label.

A text is no answer (`"Model not found."`, `"/tmp/result.png"`) where JSON was due, unless it is JSON itself or the
module is declared to answer texts: `text/plain` among its results. Neither is a list that holds one sentence, or one
file's name, and nothing else. Labels are answers, in a list or under a key. Where a picture, a recording or an
archive was due, nothing but texts is never the answer, be it in a file or in JSON.

The supervisor and the worker both load this file, the worker under Python 3.6 or newer: it needs nothing but the
standard library.
"""

import codecs
import itertools
import json
import math
import re
from typing import Any, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

# Bytes from which on the supervisor does not look into an answer any more; the worker has it in memory anyway.
LARGEST = 32 * 1024 * 1024
# Bytes from the beginning of a file by which it is known for a text.
LOOKED_AT = 8 * 1024
SAID_FAILED = frozenset({"error", "fail", "failed", "failure"})
SAID_NOTHING = frozenset({"", "0", "false", "n/a", "nan", "no", "no error", "none", "null", "ok"})
# Names that say of what lies under them no more than that it is the answer.
ANSWERS = frozenset({"answer", "answers", "detail", "message", "msg", "output", "outputs", "response", "responses"})
ANSWERS |= {"content", "data", "prediction", "predictions", "result", "results"}
# Names under which a text is an error; "errors" may be what a module finds in its input.
ERRORS = ("error_message", "error_msg", "errormessage", "exception", "traceback")
SAID = frozenset({"status", "error", "success", "message", "detail"}.union(ERRORS))
TEXTS = "text/plain"

# Media types beside text/… whose files are text, and those whose files never are. Of others nothing is known.
_TEXT = re.compile(
    r"(text/|image/(svg\+xml|x-xbitmap|x-xpixmap|x-portable-)|audio/(x-)?mpegurl|video/vnd\.mpegurl"
    r"|.+\+(xml|yaml)$|application/(xml|(x-)?yaml|(x-)?javascript|toml|sql|rtf|postscript|x-(sh|tex|latex|subrip)|csv)$)"
)
_BINARY = re.compile(
    r"((image|audio|video|font)/|application/((x-)?(zip|gzip|tar|bzip2?|xz|7z|rar|lzip|zstd|npy|numpy|npz|hdf5?|netcdf"
    r"|parquet|sqlite3|protobuf|msgpack|zip-compressed|7z-compressed|rar-compressed)$|pdf$|dicom$|msword$"
    r"|vnd\.(openxmlformats|oasis|ms-|apache\.parquet|apache\.arrow|sqlite3|rar)|java-archive$|wasm$))"
)
_PAGE = re.compile(r"\s*(<!doctype\s+html|<html[\s>])", re.IGNORECASE)
_FILE_NAME = re.compile(r"\s*/\S*\.\w{1,5}\s*$")
# How texts begin that a module puts where its answer would be. "Error" alone may be a label, "Failed" a verdict, "Mean
# error: 0.3" a measure, "heart failure: acute" a finding, and "No error occurred" is none.
_READS_AS_ERROR = re.compile(
    r"\s*(oops\W+)?("
    r"traceback \(most recent call last\)"
    r"|((an?|some|the|unexpected|unknown|internal|fatal|critical|runtime|server|prediction|inference|processing) )*"
    r"(error|exception)"
    r"(\s*[:!.,;]+\s+\S|:\S|\s+[-\u2013\u2014]+\s+\S|(s|\(s\))?( has| have| was| were)? (occurred|raised)\b)"
    r"|(error|exception|failed|failure) (while|during|when) "
    r"|(error|failed) ([a-z]+ing|to [a-z]+) \S"
    r"|(?-i:([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception))(: |\())",
    re.IGNORECASE,
)
_QUOTED = 500

_SEE_LOG = "the module reports this itself: see its log, and whether the input is what it takes"
_DECLARE = (
    "where texts are what this module answers, say so: text/plain among `results` in images/<module>.yaml, or the "
    "variable SUPERVISOR_RESULTS=text/plain; else see its log"
)
_LEFT = "the file stayed in the container: the module must return what it holds, open or as bytes, or JSON"
_EMPTY = "see the module's log: it has written nothing, or answered before it had"

Fault = NamedTuple("Fault", [("message", str), ("hint", str)])


def disguised_error(answer: Any, results: Iterable[str] = ()) -> Optional[Fault]:
    """What is wrong with an answer in JSON; None for a true one. results: the media types that the module declares."""
    if answer is None:
        return Fault("the module answered nothing (null)", _SEE_LOG)
    said = decoded(answer)
    if said is None or (isinstance(said, str) and not said.strip()):
        return Fault("the module answered nothing (an empty text)", _EMPTY)
    if TEXTS not in results:
        text = said[0] if is_lone_text(said) else said
        if isinstance(text, str):
            return text_fault(text)
    for place, told in itertools.chain(
        ((place, fault_in(part) or (None if TEXTS in results else error_text(part))) for place, part in parts_of(said)),
        ((place, explained_fault(part)) for place, part in other_elements(said)),
    ):
        if told is not None:
            return Fault("the module answered with an error%s: %s" % (place, told), _SEE_LOG)
    return None


def text_fault(text: str, due: Optional[str] = None) -> Fault:
    """A text in the place of an answer: its cause. due: the media type that was asked for, where it was no JSON."""
    where = " where %s was due" % due if due else ""
    told = " ".join(text[: 2 * _QUOTED].split())[:_QUOTED]
    if _PAGE.match(text):
        return Fault("the module answered with an HTML page%s: %s" % (where, told[:200]), _SEE_LOG)
    if _FILE_NAME.match(text):
        return Fault("the module answered with the name of a file%s: %s" % (where, told), _LEFT)
    return Fault("the module answered with a text%s: %s" % (where, told), _SEE_LOG if due else _DECLARE)


def file_fault(beginning: bytes, media_type: Optional[str]) -> Optional[Fault]:
    """What is wrong with an answer that is a file; None for a true one. beginning: its first LOOKED_AT bytes."""
    if not beginning:
        return Fault("the module answered with an empty file", _EMPTY)
    text = text_in(beginning) if is_binary(media_type) and not beginning.startswith(b"%PDF-") else None
    return None if text is None else text_fault(text, media_type)


def missing_file(answer: Any, media_type: Optional[str]) -> Optional[Fault]:
    """What is wrong with an object or a list that comes where a file was due; None where it holds more than texts, as
    of a module that answers JSON whatever it is asked for."""
    if not is_binary(media_type):
        return None
    texts = list(leaves_of(answer))
    if texts and all(isinstance(text, str) and isinstance(decoded(text), str) for text in texts):
        return text_fault("; ".join(texts), media_type)
    return None


def is_binary(media_type: Optional[str]) -> bool:
    """Whether files of this media type can be no text."""
    plain = plain_type(media_type)
    return bool(_BINARY.match(plain)) and not _TEXT.match(plain)


def is_text(media_type: Optional[str]) -> bool:
    """Whether files of this media type are text, JSON apart."""
    return bool(_TEXT.match(plain_type(media_type)))


def plain_type(media_type: Optional[str]) -> str:
    return (media_type or "").partition(";")[0].strip().lower()


def text_in(beginning: bytes) -> Optional[str]:
    """The text that bytes are, in UTF-8 or else in Latin-1; None where they are none: all binary formats have control
    characters in their headers."""
    try:
        # Where there is more of it, a character may be cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning, len(beginning) < LOOKED_AT)
    except UnicodeDecodeError:
        text = beginning.decode("latin-1")
    return None if any(c < " " and c not in "\t\n\r\f\x1b" for c in text) else text


def is_lone_text(answer: Any) -> bool:
    """Whether it is a list that holds one sentence, error or file's name, and nothing else; a label is none of them."""
    if not (isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], str)):
        return False
    return is_sentence(answer[0]) or reads_as_error(answer[0]) or bool(_FILE_NAME.match(answer[0]))


def is_sentence(text: str) -> bool:
    """Not "Quercus robur L." or "Gadus sp.", which are labels."""
    words = text.split()
    if len(words) < 2 or words[-1].rstrip("\"')")[-1:] not in (".", "!"):
        return False
    last = words[-1].rstrip("\"').!")
    return len(words) > 4 or (len(last) > 3 and last[-4:].isalpha())


def decoded(answer: Any) -> Any:
    if not isinstance(answer, str):
        return answer
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer


def leaves_of(answer: Any) -> Iterator[Any]:
    """What an answer holds at its ends, in whatever depth."""
    waiting = [answer]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        else:
            yield part


def parts_of(answer: Any) -> Iterator[Tuple[str, Any]]:
    """What an answer consists of, each with its place: itself, the elements of a list, what lies under a name that fits
    any answer, and the elements of that."""
    yield "", answer
    if isinstance(answer, list):
        yield from elements_of(answer, "")
    for name, value in answer.items() if isinstance(answer, dict) else ():
        if fits_any_answer(name):
            yield " under %s" % name, value
            yield from elements_of(value, " under %s" % name)


def other_elements(answer: Any) -> Iterator[Tuple[str, Any]]:
    """The elements of what an answer has under other names."""
    for name, value in answer.items() if isinstance(answer, dict) else ():
        if not fits_any_answer(name):
            yield from elements_of(value, " under %s" % str(name)[:_QUOTED])


def elements_of(value: Any, place: str) -> Iterator[Tuple[str, Any]]:
    """Those that are objects: others say nothing, and may be millions of numbers."""
    elements = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    for number, element in enumerate(elements):
        if isinstance(element, dict):
            yield "%s at %d" % (place, number), element


def fits_any_answer(name: Any) -> bool:
    return isinstance(name, str) and name.lower() in ANSWERS


def fault_in(part: Any) -> Optional[str]:
    """What an object says that calls itself an error; None for any other part."""
    found = members(part) if isinstance(part, dict) else {}
    return _told(found) if found else None


def explained_fault(part: Any) -> Optional[str]:
    """The same for an object that says why."""
    found = members(part) if isinstance(part, dict) else {}
    error = found.get("error")
    explained = explanation(found) is not None or (error is not True and says_something(error))
    return _told(found) if explained else None


def _told(found: Dict[str, Any]) -> Optional[str]:
    status, error, why = found.get("status"), found.get("error"), explanation(found)
    said = isinstance(status, str) and (status.strip().lower() in SAID_FAILED or reads_as_error(status))
    unsuccessful = found.get("success") is False and why is not None
    if not (said or unsuccessful or says_something(error)):
        return None
    told = error if says_something(error) and error is not True else why or status or error
    return (told if isinstance(told, str) else json.dumps(told))[:_QUOTED]


def members(part: Dict[str, Any]) -> Dict[str, Any]:
    """What an object says of its success, under lower-case names: the old template of the catalogue's modules writes
    "Error". What is told of an error under a name like that is under "error"."""
    found = {name.lower(): value for name, value in part.items() if isinstance(name, str) and name.lower() in SAID}
    if found and not says_something(found.get("error")):
        told = (found[name] for name in ERRORS if isinstance(found.get(name), str))
        found["error"] = next(filter(says_something, told), found.get("error"))
    return found


def explanation(found: Dict[str, Any]) -> Optional[str]:
    told = found.get("message") or found.get("detail")
    return told if isinstance(told, str) else None


def says_something(error: Any) -> bool:
    """Whether there is an error under that name: numbers are measures."""
    if isinstance(error, str):
        return error.strip().lower() not in SAID_NOTHING and not is_number(error)
    if isinstance(error, list):
        return any(says_something(each) for each in error)
    if isinstance(error, dict):
        return len(error) > 0 and not all(isinstance(leaf, float) for leaf in leaves_of(error))
    return error is True


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def error_text(part: Any) -> Optional[str]:
    """The text of an object of nothing but texts that reads as an error, under a name that fits any answer."""
    if not isinstance(part, dict) or any(leaf and not isinstance(leaf, str) for leaf in leaves_of(part)):
        return None
    told = (lone(value) for name, value in part.items() if fits_any_answer(name))
    found = next((text for text in told if isinstance(text, str) and reads_as_error(text)), None)
    return None if found is None else " ".join(found[: 2 * _QUOTED].split())[:_QUOTED]


def lone(value: Any) -> Any:
    """What a list holds that holds nothing else."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def reads_as_error(text: str) -> bool:
    return bool(_READS_AS_ERROR.match(text[: 2 * _QUOTED]))


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
