"""The guest: runs under the image's own Python (3.6 or newer) beside the module, and needs nothing of ours.

Started as `python -u worker.py REQUESTS REPLIES LIFELINE BIN`: three inherited pipes and the folder of DEEPaaS'
programs. One JSON request a line comes in, one JSON reply a line goes out, each reply under its request's id; the
lifeline ends with the supervisor. What the module prints goes to stdout and stderr, which are the log and never a
data channel.

Works with DEEPaaS 1.0 to 2.6 and marshmallow 3; deepaas.model.loading has had one signature in all of them.
"""

import base64
import copy
import errno
import fcntl
import functools
import json
import mimetypes
import os
import runpy
import signal
import sys
import time
import traceback
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

ENTRY_POINTS = "deepaas.v2.model"
# A module that closes or writes to the low descriptors does not meet our pipes here.
HIGH_DESCRIPTOR = 512
# Characters up to which an answer travels in the reply: a file costs more than all else about it.
SMALL = 32 * 1024
# The mark in the environment of all that belongs to this guest, and how long the watcher tries to end it.
MARK, ENDED_WITHIN = "SUPERVISOR_GUEST", 10.0


def beside(name: str) -> Dict[str, Any]:
    """A file of ours. Not imported: no import system of ours comes near the module's, and no bytecode is left in the
    image."""
    return runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), name))


RULES = beside("answer_rules.py")
disguised_error, file_fault, missing_file = RULES["disguised_error"], RULES["file_fault"], RULES["missing_file"]
is_binary, is_text, finite = RULES["is_binary"], RULES["is_text"], RULES["finite"]
LARGEST, LOOKED_AT = RULES["LARGEST"], RULES["LOOKED_AT"]
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
    leave_watcher(*(int(number) for number in sys.argv[1:4]))
    requests, replies = (own_descriptor(int(number)) for number in sys.argv[1:3])
    # Imports then search what they would search under deepaas-cli, not the folder of this file.
    sys.path[0] = sys.argv[4]
    guest, process = Guest(sys.argv[4]), os.getpid()
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
    """The first error and, where others came of it, the last: modules that wrap theirs in aiohttp's
    HTTPBadRequest(reason=e) end in "argument of type 'ValueError' is not iterable", which says nothing."""
    first = first_cause(error)
    told = named(first)[:2000]
    return told if first is error or named(error) in told else "%s (then %s)" % (told, named(error)[:500])


def named(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "the module ended the interpreter, sys.exit(%r), instead of answering" % (error.code,)
    try:
        text = str(error).strip()
    except Exception:  # a module's own exceptions may do anything
        text = ""
    return type(error).__name__ + (": " + text if text else "")


def first_cause(error: BaseException) -> BaseException:
    """The error that an error came of, by its cause or its context, or as the first of a group; whoever raises
    `from None` hides the context."""
    seen = set()  # type: Set[int]
    while id(error) not in seen:
        seen.add(id(error))
        grouped = getattr(error, "exceptions", None)  # of ExceptionGroup, whose own text is a count
        earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if isinstance(grouped, tuple) and grouped and isinstance(grouped[0], BaseException):
            earlier = grouped[0]
        # The traceback of another process rides as a cause, of no use as a message.
        if earlier is None or type(earlier).__name__.endswith("RemoteTraceback"):
            break
        error = earlier
    return error


# its end


def leave_watcher(requests: int, replies: int, lifeline: int) -> None:
    """Leaves a process behind that ends this one, and all that it starts, as soon as the supervisor is gone, be it
    killed outright. A thread could not: a module that sleeps in C code may hold the interpreter's lock.
    PR_SET_PDEATHSIG neither: it comes when the thread ends that started us, and reaches no offspring."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(lifeline)
        return
    try:
        if not os.fork():  # nobody's child: a module may wait for all of its own
            watch(requests, replies, lifeline)
    finally:
        os._exit(0)


def watch(requests: int, replies: int, lifeline: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    for descriptor in (requests, replies, nowhere):
        os.close(descriptor)
    session, mark = os.getsid(0), ("%s=%s" % (MARK, os.environ.get(MARK, ""))).encode()
    while os.read(lifeline, 1):
        pass
    deadline = time.monotonic() + ENDED_WITHIN
    while time.monotonic() < deadline:
        left = belonging(session, mark)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.02)


def belonging(session: int, mark: bytes) -> Set[int]:
    """What lives of the session, carries the mark, or descends from what does; not this process."""
    found, parents = set(), {}  # type: Set[int], Dict[int, int]
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open("/proc/%d/stat" % pid, "rb") as stat:
                state, parent, _, its_session = stat.read().rpartition(b")")[2].split()[:4]
            if state in (b"Z", b"X") or pid == os.getpid():
                continue
            parents[pid] = int(parent)
            if int(its_session) == session or carries(pid, mark):
                found.add(pid)
        except (OSError, ValueError):  # it has just ended
            continue
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found} - found
        found |= children
        grown = bool(children)
    return found


def maps_driver(pid: int) -> Optional[bool]:
    try:
        with open("/proc/%d/maps" % pid, "rb") as maps:
            return any(b"/libcuda.so" in line for line in maps)
    except OSError as error:
        return False if error.errno in (errno.ENOENT, errno.ESRCH) else None


def carries(pid: int, mark: bytes) -> bool:
    try:
        with open("/proc/%d/environ" % pid, "rb") as environment:
            return mark in environment.read().split(b"\0")
    except OSError:  # another user's
        return False


class Guest:
    """What is known of the module between requests."""

    def __init__(self, programs: str) -> None:
        self.programs = programs
        self.scratch = os.path.realpath(os.environ.get("TMPDIR") or os.curdir)
        self.module = None  # type: Any
        self.fields = {}  # type: Dict[str, Any]
        self.results = []  # type: List[str]

    # requests

    def describe(self, wanted: Optional[str], results: List[str]) -> Dict[str, Any]:
        """Imports the module and says what it is and which arguments it takes. results: the media types that it is
        declared to answer with."""
        self.results = results
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
        began = time.time()
        result = self.module.predict(**given)
        try:
            reply = write_result(result, accept if isinstance(accept, str) else None, output, self.results)
        except Refused as refused:
            refused.details["source"] = file_behind(result, began, self.scratch, output)
            raise
        source = file_behind(result, began, self.scratch, output)
        return dict(reply, source=source) if source else reply

    def program(self, name: str, argv: List[str], folder: Optional[str]) -> Dict[str, Any]:
        """Runs one of DEEPaaS' own programs in this process, where the module is already imported: a second
        import is 0.5 s for a small module and 7 s for a TensorFlow one."""
        with Calls(self.module) as calls:
            status, failed = self.run(name, argv, folder)
        return {
            "exit": status,
            "called": calls.called,
            "raised": calls.raised or failed,
            "lacks": calls.lacks,
            "by_module": bool(calls.raised),
        }

    def driver(self) -> Dict[str, Any]:
        """Whether one of this guest's processes has the CUDA driver library in its memory; None where that is not
        known."""
        mark = ("%s=%s" % (MARK, os.environ.get(MARK, ""))).encode()
        known = [maps_driver(pid) for pid in belonging(os.getsid(0), mark) | {os.getpid()}]
        return {"loaded": True if True in known else None if None in known else False}

    def reach(self, name: str, argv: List[str], folder: Optional[str]) -> Dict[str, Any]:
        """Whether such a program comes as far as to call the module, which does not happen."""
        with Calls(self.module, instead=not_called) as calls:
            self.run(name, argv, folder)
        return {"called": calls.called}

    # their parts

    def run(self, name: str, argv: List[str], folder: Optional[str]) -> Tuple[Any, Optional[str]]:
        """A program's exit status, and what it failed of."""
        sys.argv = [os.path.join(self.programs, name), *map(local, argv)]
        if folder:
            os.chdir(folder)
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            # Releases 1.3.0 to 2.5.1 exit with the answer itself, which is no exit status.
            return ended.code if ended.code is None or isinstance(ended.code, int) else "other", None
        except BaseException as error:
            traceback.print_exc()
            return 1, described(error)
        return 0, None

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


class Calls:
    """Sees whether the module is called meanwhile, and what it raises: a program of DEEPaaS' may fail before and
    after."""

    METHODS = ("predict", "predict_data")

    def __init__(self, module: Any, instead: Optional[Callable[..., Any]] = None) -> None:
        """instead: what is called in the module's place."""
        self.module, self.instead = module, instead
        self.own = {}  # type: Dict[str, Any]
        self.called = False
        self.raised = None  # type: Optional[str]
        self.lacks = None  # type: Optional[Dict[str, str]]

    def __enter__(self) -> "Calls":
        for name in self.METHODS:
            method = getattr(self.module, name, None)
            if callable(method):
                own = getattr(self.module, "__dict__", {}).get(name, MISSING)
                setattr(self.module, name, self.seen(method))
                self.own[name] = own
        return self

    def __exit__(self, *_: Any) -> None:
        for name, own in self.own.items():
            if own is MISSING:
                delattr(self.module, name)
            else:
                setattr(self.module, name, own)

    def seen(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.called = True
            try:
                return (self.instead or method)(*args, **kwargs)
            except BaseException as error:
                self.raised, self.lacks = described(error), lacking(error)
                raise

        return call


def not_called(*_: Any, **__: Any) -> None:
    raise SystemExit(0)


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


def write_result(result: Any, accept: Optional[str], output: str, results: List[str]) -> Dict[str, Any]:
    """An answer as the REST API would send it: JSON, which may be in what is returned, or the bytes of a file."""
    try:
        return write_any(result, accept, output, results)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused("disk", "the answer cannot be written to the local disk: %s" % error.strerror) from None


def write_any(result: Any, accept: Optional[str], output: str, results: List[str]) -> Dict[str, Any]:
    if hasattr(result, "read"):
        name = getattr(result, "name", None)
        rewind(result)
        if not isinstance(name, str):
            return write_file(pieces_of(result), accept, None, output)
        if name.endswith(".json"):
            return write_json(parsed(result.read()), output, results)
        return write_file(pieces_of(result), accept, name, output)
    if isinstance(result, (bytes, bytearray, memoryview)):
        return write_file([result], accept, None, output)
    if isinstance(result, str) and is_text(accept):
        return write_file([result.encode("utf-8", "backslashreplace")], accept, None, output)
    refuse(missing_file(result, accept))
    return write_json(result, output, results)


def pieces_of(stream: Any) -> Iterator[bytes]:
    piece = stream.read(1 << 20)
    while piece:
        yield piece.encode("utf-8") if isinstance(piece, str) else piece
        piece = stream.read(1 << 20)


def write_file(pieces: Iterable[Any], accept: Optional[str], name: Optional[str], output: str) -> Dict[str, Any]:
    beginning = b""
    with open(output, "wb") as target:
        for piece in pieces:
            beginning = beginning or bytes(piece[:LOOKED_AT])
            target.write(piece)
    refuse(file_fault(beginning, accept if is_binary(accept) or not name else mimetypes.guess_type(name)[0]))
    return {"form": "bytes", "media_type": accept, "name": name}


def refuse(fault: Any) -> None:
    if fault is not None:
        raise Refused("answer", fault.message, hint=fault.hint)


def file_behind(result: Any, since: float, scratch: str, output: str) -> Optional[Dict[str, Any]]:
    """Path, device and inode of the file that an answer was read from, where another process may have written to it
    since the prediction began; None where it has not changed, or lies in a folder that is this process's own."""
    name = getattr(result, "name", None)
    if not (hasattr(result, "read") and isinstance(name, (str, bytes))):
        return None
    path = os.path.realpath(os.fsdecode(name))
    private = scratch, os.path.dirname(os.path.realpath(output))
    if any(path.startswith(folder + os.sep) for folder in private):
        return None
    try:
        found = os.fstat(result.fileno())
    except Exception:  # it is closed, or only looks like a file
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return None
    # The kernel stamps files by a clock that is some milliseconds behind.
    changed = found.st_ctime > since - 0.1
    return {"path": path, "device": found.st_dev, "inode": found.st_ino} if changed else None


def write_json(result: Any, output: str, results: List[str]) -> Dict[str, Any]:
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
        refuse(disguised_error(value, results))
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
        told = "%s): %r" % (error, text[:80]) if text.strip() else "it is an empty file)"
        raise Refused("answer", "the module's answer is not JSON (" + told) from None


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
