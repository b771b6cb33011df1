"""The guest: runs under the image's own Python (3.6 or newer) beside the module, and needs nothing of ours.

Started as `python -u worker.py REQUESTS REPLIES BIN`: two inherited pipes and the folder of DEEPaaS' programs. One
JSON request a line comes in, one JSON reply a line goes out, each reply under its request's id. What the module
prints goes to stdout and stderr, which are the log and never a data channel.

Works with DEEPaaS 1.0 to 2.6 and marshmallow 3; deepaas.model.loading has had one signature in all of them.
"""

import base64
import copy
import errno
import fcntl
import json
import mimetypes
import os
import runpy
import sys
import traceback
from typing import Any, Dict, List, Optional, Tuple

ENTRY_POINTS = "deepaas.v2.model"
# A module that closes or writes to the low descriptors does not meet our pipes here.
HIGH_DESCRIPTOR = 512
# Characters up to which an answer travels in the reply: a file costs more than all else about it.
SMALL = 32 * 1024


def beside(name: str) -> Dict[str, Any]:
    """A file of ours. Not imported: no import system of ours comes near the module's, and no bytecode is left in the
    image."""
    return runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), name))


RULES = beside("answer_rules.py")
disguised_error, finite, LARGEST = RULES["disguised_error"], RULES["finite"], RULES["LARGEST"]
TemporaryFolder = beside("temporary_folder.py")["TemporaryFolder"]
remove_tree = beside(os.path.join(os.pardir, "machine", "tree_removal.py"))["remove_tree"]
lacking = beside("lacking.py")["lacking"]
FIRST_BYTES = beside("first_bytes.py")


class Refused(Exception):
    """A request that cannot be carried out; `kind` tells the supervisor which failure it is."""

    def __init__(self, kind: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.kind, self.details = kind, details


def main() -> None:
    requests, replies = (own_descriptor(int(number)) for number in sys.argv[1:3])
    # Imports then search what they would search under deepaas-cli, not the folder of this file.
    sys.path[0] = sys.argv[3]
    guest, process = Guest(sys.argv[3]), os.getpid()
    temporary = TemporaryFolder(os.environ.get("TMPDIR"), remove_tree)
    with os.fdopen(requests, "r", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            reply = reply_to(guest, request)
            reply["id"], reply["held"] = request["id"], temporary.held
            flush_prints()
            if os.getpid() != process:
                # A child that the module forked, as daemons are made, left predict() by sys.exit or came back from it.
                os._exit(reply["exit"] if isinstance(reply.get("exit"), int) else 0)
            os_write_all(replies, json.dumps(reply).encode("ascii") + b"\n")
            if request["do"] == "predict":  # while the reply is on its way
                temporary.after_prediction(request["with"]["arguments"], reply["ok"])


def own_descriptor(number: int) -> int:
    """Moves a pipe out of the way, and keeps it from the module's children."""
    try:
        moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
    except (OSError, ValueError):
        os.set_inheritable(number, False)
        return number
    os.close(number)
    return moved


def os_write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def flush_prints() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the module may have closed or replaced it
            pass


def reply_to(guest: "Guest", request: Dict[str, Any]) -> Dict[str, Any]:
    try:
        return dict(getattr(guest, request["do"])(**request.get("with", {})), ok=True)
    except Refused as refused:
        return dict(refused.details, ok=False, kind=refused.kind, message=str(refused))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the module must not end us
        traceback.print_exc()
        status = error.code if isinstance(error, SystemExit) else 1
        return {"ok": False, "kind": "raised", "message": described(error), "lacks": lacking(error), "exit": status}


def described(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "the module ended the interpreter, sys.exit(%r), instead of answering" % (error.code,)
    text = str(error).strip()
    return type(error).__name__ + (": " + text[:2000] if text else "")


class Guest:
    """What is known of the module between requests."""

    def __init__(self, programs: str) -> None:
        self.programs = programs
        self.module = None  # type: Any
        self.fields = {}  # type: Dict[str, Any]

    # requests

    def describe(self, wanted: Optional[str]) -> Dict[str, Any]:
        """Imports the module and says what it is and which arguments it takes."""
        name, distribution, self.module = find_module(wanted)
        try:
            self.fields = dict(self.module.get_predict_args())
        except Exception as error:
            traceback.print_exc()
            raise Refused(
                "unfit",
                "get_predict_args() of %s fails: %s" % (name, described(error)),
                lacks=lacking(error),
            ) from None
        return {
            "name": name,
            "version": distribution_version(distribution),
            "deepaas": distribution_version("deepaas"),
            "python": "%d.%d.%d" % sys.version_info[:3],
            "fields": [describe_field(key, field) for key, field in self.fields.items()],
            "train_described": train_described(self.module),
            "has_predict": callable(getattr(self.module, "predict", None)),
            "has_predict_data": callable(getattr(self.module, "predict_data", None)),
        }

    def check(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Deserialises and validates arguments as the REST API would; files apart."""
        problems = {}
        for name, value in arguments.items():
            try:
                self.fields[name].deserialize(value)
            except Exception as error:
                problems[name] = problem(error)
        return {"problems": problems}

    def warm(self) -> Dict[str, Any]:
        warm = getattr(self.module, "warm", None)
        if warm is not None:
            warm()
        return {}

    def predict(self, files: Dict[str, Dict[str, Any]], arguments: Dict[str, Any], output: str) -> Dict[str, Any]:
        """Predicts on one item as the REST API would; the answer goes to the file `output`.

        files: by the argument that takes it, each file's path and, where it is known, media type.
        """
        given = self.arguments(files, arguments)
        accept = given.get("accept")
        result = self.module.predict(**given)
        return write_result(result, accept if isinstance(accept, str) else None, output)

    def program(self, name: str, argv: List[str], folder: Optional[str]) -> Dict[str, Any]:
        """Runs one of DEEPaaS' own programs in this process, where the module is already imported: a second
        import is 0.5 s for a small module and 7 s for a TensorFlow one."""
        sys.argv = [os.path.join(self.programs, name), *map(local, argv)]
        if folder:
            os.chdir(folder)
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            # Releases 1.3.0 to 2.5.1 exit with the answer itself, which is no exit status.
            return {"exit": ended.code if ended.code is None or isinstance(ended.code, int) else "other"}
        return {"exit": 0}

    # their parts

    def arguments(self, files: Dict[str, Dict[str, Any]], arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Fresh for every item: modules change what they are given."""
        given = {}
        for name, field in self.fields.items():
            if name in files:
                given[name] = uploads(name, field, **files[name])
            elif name in arguments:
                given[name] = field.deserialize(copy.deepcopy(arguments[name]))
            else:
                default = default_of(name, field)
                if default is not MISSING:
                    given[name] = copy.deepcopy(default)
        return given


def missing_marker() -> Any:
    try:
        from marshmallow import missing
    except Exception:  # no marshmallow, no DEEPaaS: find_module says so
        return object()
    return missing


MISSING = None  # type: Any


# the module


def find_module(wanted: Optional[str]) -> Tuple[str, str, Any]:
    """(name, distribution, module): the one that is installed, or the one that `wanted` names."""
    global MISSING
    try:
        from deepaas.model import loading
    except Exception as error:
        traceback.print_exc()
        raise Refused("unfit", "DEEPaaS cannot be imported: %s" % described(error), lacks=lacking(error)) from None
    if not hasattr(loading, "get_available_models"):
        raise Refused("unfit", "this DEEPaaS is older than 1.0 and has no V2 model API")
    MISSING = missing_marker()
    declared = entry_points()
    if not declared:
        raise Refused("unfit", "no DEEPaaS module is installed (no entry point in %s)" % ENTRY_POINTS)
    name = wanted or (next(iter(declared)) if len(declared) == 1 else None)
    if name is None:
        raise Refused("unfit", "several modules are installed: " + ", ".join(sorted(declared)), several=True)
    if name not in declared:
        raise Refused(
            "unfit",
            "there is no module %r; installed: %s" % (name, ", ".join(sorted(declared))),
            several=True,
        )
    distribution, load = declared[name]
    try:
        # Not loading.get_available_models(): it imports every module there is, and hides why one fails.
        return name, distribution, load()
    except BaseException as error:
        traceback.print_exc()
        raise Refused(
            "unfit",
            "the module %s fails to import: %s" % (name, described(error)),
            lacks=lacking(error),
        ) from None


def entry_points() -> Dict[str, Tuple[str, Any]]:
    """Name -> (distribution, load) of every DEEPaaS module that is installed."""
    try:
        from importlib import metadata
    except ImportError:  # before 3.8
        import pkg_resources

        return {
            point.name: (point.dist.project_name, point.resolve)
            for point in pkg_resources.iter_entry_points(ENTRY_POINTS)
        }
    found = {}  # type: Dict[str, Tuple[str, Any]]
    for distribution in metadata.distributions():
        for point in distribution.entry_points:
            if point.group == ENTRY_POINTS and point.name not in found:
                found[point.name] = (distribution.metadata["Name"], point.load)
    return found


def distribution_version(name: str) -> Optional[str]:
    try:
        try:
            from importlib import metadata
        except ImportError:
            import pkg_resources

            return str(pkg_resources.get_distribution(name).version)
        return metadata.version(name)
    except Exception:
        return None


def train_described(module: Any) -> Optional[bool]:
    """Whether deepaas-cli could read the training arguments, which it does even to predict."""
    try:
        return all("description" in field.metadata for field in module.get_train_args().values())
    except Exception:
        return None


# its arguments


def declared_default(field: Any) -> Any:
    return field.load_default if hasattr(field, "load_default") else field.missing


def default_of(name: str, field: Any) -> Any:
    """What the module gets where the job says nothing; MISSING where it gets nothing."""
    default = declared_default(field)
    if default is MISSING and name == "accept":  # the REST API takes the first media type on offer
        return next(iter(choices_of(field) or ()), MISSING)
    return default() if callable(default) and default is not MISSING else default


def choices_of(field: Any) -> Any:
    for validator in getattr(field, "validators", []):
        if getattr(validator, "choices", None):
            return validator.choices
    return None


def is_file(field: Any) -> bool:
    inner = getattr(field, "inner", None) or getattr(field, "container", None)
    return field.metadata.get("type") == "file" or (inner is not None and inner.metadata.get("type") == "file")


def describe_field(name: str, field: Any) -> Dict[str, Any]:
    from marshmallow import fields

    declared = declared_default(field)
    default = default_of(name, field)
    choices = field.metadata.get("enum") or choices_of(field)
    return {
        "name": name,
        "type": type(field).__name__,
        "plain": type(field) in (fields.Field, fields.Raw),
        "exact_field": type(field) is fields.Field,
        "file": is_file(field),
        "data_key": getattr(field, "data_key", None),
        "required": bool(field.required),
        "has_default": declared is not MISSING,
        "default_called": callable(declared) and declared is not MISSING,
        "default": repr(default)[:200] if default is not MISSING else None,
        "default_type": type(default).__name__ if default is not MISSING else None,
        "default_text": default if isinstance(default, str) else None,
        "choices": [str(choice) for choice in choices] if choices else None,
        "described": "description" in field.metadata,
        "help": str(field.metadata.get("description") or field.metadata.get("help") or "")[:10000],
    }


def problem(error: Exception) -> str:
    """What is wrong with a value, in one line."""
    messages = getattr(error, "messages", None)
    if isinstance(messages, list):
        return " ".join(str(message) for message in messages)
    return str(messages) if messages else described(error)


def local(text: str) -> str:
    """A path or argument of the supervisor's, which are UTF-8, as this Python spells it: Python 3.6 in the C locale
    takes file names for ASCII and would refuse one that is not."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def content_type(path: str, said: Optional[str]) -> str:
    """As a client of the REST API would name it: by the file's name, then as its storage says, then by its first
    bytes. Some modules split the type and crash on None."""
    said = (said or "").partition(";")[0].strip().lower() or None
    named = mimetypes.guess_type(path)[0]
    if named is None and said in FIRST_BYTES["SAYS_NOTHING"] | {None}:
        named = FIRST_BYTES["media_type_of"](path)
    return named or said or "application/octet-stream"


def uploads(name: str, field: Any, path: str, media_type: Optional[str]) -> Any:
    """What the REST API hands over for an uploaded file."""
    from deepaas.model.v2.wrapper import UploadedFile

    values = {
        "name": name,
        "filename": local(path),
        "content_type": content_type(path, media_type),
        "original_filename": os.path.basename(path),
    }
    upload = UploadedFile(**{key: values[key] for key in UploadedFile._fields})
    return [upload] if getattr(field, "inner", None) or getattr(field, "container", None) else upload


# its answer


def write_result(result: Any, accept: Optional[str], output: str) -> Dict[str, Any]:
    """An answer as the REST API would send it: JSON, which may be in what is returned, or the bytes of a file."""
    try:
        return write_any(result, accept, output)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused("disk", "the answer cannot be written to the local disk: %s" % error.strerror) from None


def write_any(result: Any, accept: Optional[str], output: str) -> Dict[str, Any]:
    if hasattr(result, "read"):
        name = getattr(result, "name", None)
        rewind(result)
        if isinstance(name, str) and name.endswith(".json"):
            return write_json(parsed(result.read()), output)
        with open(output, "wb") as target:
            piece = result.read(1 << 20)
            while piece:
                target.write(piece.encode("utf-8") if isinstance(piece, str) else piece)
                piece = result.read(1 << 20)
        return {"form": "bytes", "media_type": accept, "name": name if isinstance(name, str) else None}
    if isinstance(result, (bytes, bytearray, memoryview)):
        with open(output, "wb") as target:
            target.write(result)
        return {"form": "bytes", "media_type": accept, "name": None}
    if isinstance(result, str) and accept and accept.startswith("text/"):
        with open(output, "w", encoding="utf-8", errors="backslashreplace") as target:
            target.write(result)
        return {"form": "bytes", "media_type": accept, "name": None}
    return write_json(result, output)


def write_json(result: Any, output: str) -> Dict[str, Any]:
    """Strict JSON. A large answer is checked here, where it is an object anyway: parsed it takes ten times its text."""
    try:
        value = plain_keys(result)
        try:
            small = dump(value, output)
        except ValueError:  # NaN or an infinity: rare, so looked for only now
            small = dump(finite(value), output)
    except (TypeError, ValueError) as error:
        raise Refused("answer", "the module's answer cannot be JSON: %s" % described(error)) from None
    if small is not None:
        return {"form": "json", "answer": small}
    if os.path.getsize(output) > LARGEST:
        fault = disguised_error(value)
        if fault is not None:
            raise Refused("answer", fault)
    return {"form": "json"}


def dump(value: Any, output: str) -> Optional[str]:
    """Returns a small answer's text; a larger one's goes to the file as it is made."""
    encoder = json.JSONEncoder(default=lambda item: finite(plain_keys(plain(item))), allow_nan=False)
    made, length = [], 0
    pieces = encoder.iterencode(value)
    for piece in pieces:
        made.append(piece)
        length += len(piece)
        if length > SMALL:
            break
    else:
        return "".join(made)
    with open(output, "w", encoding="ascii") as target:
        target.writelines(made)
        target.writelines(pieces)
    return None


def parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("answer", "the module's answer is not JSON (%s): %r" % (error, text[:80])) from None


def rewind(stream: Any) -> None:
    """A BytesIO that was just written stands at its end."""
    try:
        if stream.seekable():
            stream.seek(0)
    except Exception:
        pass


def plain_keys(value: Any) -> Any:
    """Dictionaries under keys that JSON has no word for: NumPy integers become numbers, the rest its text."""
    if isinstance(value, dict):
        return {plain_key(key): plain_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_keys(item) for item in value]
    return value


def plain_key(key: Any) -> Any:
    if key is None or isinstance(key, (str, int, float, bool)):
        return key
    return plain_key(key.item()) if hasattr(key, "item") else str(key)


def plain(value: Any) -> Any:
    """What JSON has no word for: arrays and scalars of NumPy and its like, dates, sets, bytes, paths."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(bytes(value)).decode("ascii")
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError("a value of type %s" % type(value).__name__)


if __name__ == "__main__":
    main()
