"""The job as its environment and flags describe it: read once, checked, frozen.

This is the only reader of the environment. AWS's own variables (region, endpoint, credentials) are boto3's.
"""

import base64
import binascii
import difflib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from supervisor.failures import BadUsage
from supervisor.machine import scheduler
from supervisor.machine.scheduler import Identity, Slice, is_whole_number
from supervisor.machine.secret_names import is_aws_credential

MOST_WORKERS = 64
AUTO: Literal["auto"] = "auto"
MANY = "many"  # what an image says of a module whose copies may predict side by side
# S3:// and s3:// are one scheme, and what lies below the one lies below the other.
_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"[0-9]{1,9}(:[0-9]{1,9})?|[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")


# How a variable's text is read: (name, text) -> value, or BadUsage that names both.


def _text(_: str, text: str) -> str:
    return text


def _uri(name: str, text: str) -> str:
    if "\0" in text or text.strip() == "":
        raise BadUsage(f"{name} is {text!r}: not a URI or path")
    return _SCHEME.sub(lambda scheme: scheme[0].lower(), text)


def _folder(name: str, text: str) -> str:
    """A prefix ends in a slash: s3://bucket/out and s3://bucket/out/ mean the same."""
    uri = _uri(name, text)
    return uri if uri.endswith("/") else uri + "/"


def _one_of(*choices: str) -> Callable[[str, str], str]:
    def parse(name: str, text: str) -> str:
        if text in choices:
            return text
        close = difflib.get_close_matches(text.lower(), choices, n=1)
        guess = f": did you mean {close[0]}?" if close else ""
        one_of = "one of " if len(choices) > 1 else ""
        raise BadUsage(f"{name} is {text!r}{guess}", f"use {one_of}{', '.join(choices)}")

    return parse


def _count(name: str, text: str) -> int:
    if not is_whole_number(text):
        raise BadUsage(f"{name} is {text!r}, not a number of items", "use a whole number from 0 up")
    return int(text)


def _workers(name: str, text: str) -> int | Literal["auto"]:
    if text == AUTO:
        return AUTO
    if not (is_whole_number(text) and 1 <= int(text) <= MOST_WORKERS):
        raise BadUsage(f"{name} is {text!r}", f"use a whole number from 1 to {MOST_WORKERS}, or auto")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise BadUsage(f"{name} is {text!r}, not a number of seconds", "use a number above 0, such as 600")
    return seconds


def _user(name: str, text: str) -> str:
    if not _USER.fullmatch(text):
        raise BadUsage(f"{name} is {text!r}, not a user", "use a uid, uid:gid or a name, such as 1000:1000")
    return text


def _variable_names(name: str, text: str) -> tuple[str, ...]:
    """What the model gets all the same. AWS's credentials, and what is ours, is nobody's to give to a model."""
    names = tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))
    for each in names or ("",):
        known, equals, _ = each.partition("=")  # a value is not to be shown
        if equals or not re.fullmatch(r"[^\s*?]+", known):
            what = f"gives {known} a value" if equals else f"is {text!r}"
            raise BadUsage(f"{name} {what}, and takes names of variables alone", "write names: HF_TOKEN,PGPASSWORD")
        if is_aws_credential(each) or each.startswith("SUPERVISOR_") or each in {v.name for v in VARIABLES}:
            raise BadUsage(
                f"{name} names {each}, which the model never gets",
                "leave it out: neither AWS's credentials nor the job's own variables are given to a model",
            )
    return names


def _globs(name: str, text: str) -> tuple[str, ...]:
    globs = tuple(glob for part in re.split(r"[,\r\n]", text) if (glob := part.strip()))
    if not globs:
        raise BadUsage(f"{name} is {text!r}, which holds no glob", "use globs such as *.wav,*.flac, or unset it")
    return globs


def _json_object(name: str, text: str) -> Mapping[str, Any]:
    example = 'use a JSON object, such as {"threshold": 0.6}'

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        parsed = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadUsage(f"{name} is not JSON: {error}", example) from None
    if not isinstance(parsed, dict):
        raise BadUsage(f"{name} is a JSON {type(parsed).__name__}, not an object", example)
    return parsed


def _webhook(name: str, text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise BadUsage(f"{name} is not an http(s) URL", "use https://host/path")
    return text


def _signing_key(name: str, text: str) -> bytes:
    """The key in a Standard Webhooks secret: base64 after an optional `whsec_`. Never echoed."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise BadUsage(f"{name} is not a Standard Webhooks secret", "use whsec_ and base64") from None
    if not key:
        raise BadUsage(f"{name} holds no key", "use whsec_ and base64")
    return key


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable of the container's contract, and the flag of `supervisor run` that wins over it.

    parse: from (name, text) to the value of the JobSpec's member; default: the text that stands for none; unset: the
    value where there is no text at all.
    """

    name: str
    meaning: str
    parse: Callable[[str, str], Any] = _text
    metavar: str = "TEXT"
    default: str | None = None
    unset: Any = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.member.replace("_", "-")

    @property
    def member(self) -> str:
        """What JobSpec, and argparse, call it."""
        return self.name.removeprefix("JOB_").lower()

    def value(self, text: str | None) -> Any:
        """The parsed value; an empty text counts as none. Raises BadUsage."""
        text = text or self.default
        return self.unset if text is None else self.parse(self.name, text)


def _choice(*choices: str) -> dict[str, Any]:
    return {"choices": choices, "parse": _one_of(*choices)}


VARIABLES: tuple[Variable, ...] = (
    Variable(
        name="JOB_INPUT",
        metavar="URI",
        parse=_uri,
        meaning="one input: s3://bucket/key, https://…, file:///… or a path; with a trailing / everything below it",
    ),
    Variable(
        name="JOB_EVENT",
        metavar="JSON",
        meaning="instead: an S3 event, as S3 or EventBridge sends it, also wrapped in SQS or SNS; all records count",
    ),
    Variable(
        name="JOB_MANIFEST",
        metavar="URI",
        parse=_uri,
        meaning="instead: the URI of a list: a URI a line, or JSON Lines "
        '{"input": …, "files": {…}, "output": …, "args": {…}}',
    ),
    Variable(
        name="JOB_INCLUDE",
        metavar="GLOBS",
        parse=_globs,
        unset=(),
        meaning="of what is below a prefix only this: globs, separated by commas; * crosses slashes",
    ),
    Variable(
        name="JOB_EXCLUDE",
        metavar="GLOBS",
        parse=_globs,
        unset=(),
        meaning="of what is below a prefix all but this: globs, separated by commas; * crosses slashes",
    ),
    Variable(
        name="JOB_OUTPUT",
        metavar="URI",
        parse=_folder,
        meaning="where results go: s3://bucket/prefix/ or a folder; the result of x.wav is x.wav.json",
    ),
    Variable(
        name="JOB_INPUT_ROOT",
        metavar="URI",
        parse=_folder,
        meaning="results keep the path of their input below this prefix; default: JOB_INPUT where that is a prefix, "
        "else their base name alone",
    ),
    Variable(
        name="JOB_PREDICT_ARGS",
        metavar="JSON",
        parse=_json_object,
        unset={},
        meaning='further arguments of the module, a JSON object: {"threshold": 0.6}',
    ),
    Variable(
        name="JOB_INPUT_FIELD",
        metavar="NAME",
        meaning="the module argument that takes the file; default: its only file argument, else `files`",
    ),
    Variable(
        name="JOB_RUNNER",
        default="auto",
        **_choice("auto", "cli", "worker"),
        meaning="how DEEPaaS is run: its command line, a process that keeps the model, or whichever fits",
    ),
    Variable(
        name="JOB_DEVICE",
        default="auto",
        **_choice("cpu", "cuda", "auto"),
        meaning="what the model may run on; the images set it",
    ),
    Variable(
        name="JOB_WORKERS",
        metavar="N|auto",
        default="1",
        parse=_workers,
        meaning="how many copies of the model run side by side, on GPUs one a device, or auto: as many as the machine "
        "carries; more than one where the module is declared safe for it",
    ),
    Variable(
        name="JOB_PREDICT_TIMEOUT",
        metavar="SECONDS",
        parse=_seconds,
        meaning="the longest that one prediction may take; none by default",
    ),
    Variable(
        name="JOB_OVERWRITE",
        default="changed",
        **_choice("changed", "always", "never"),
        meaning="changed: leave a result that is made of this input by this model with these arguments; always: leave "
        "only what an earlier attempt of this very job has made; never: leave whatever is there",
    ),
    Variable(
        name="JOB_MAX_FAILURES",
        metavar="N",
        default="0",
        parse=_count,
        meaning="how many items may fail before the job does; every item is tried either way",
    ),
    Variable(
        name="JOB_GIVE_UP_AFTER",
        metavar="N",
        default="20",
        parse=_count,
        meaning="end the job when so many of its first items fail with one and the same cause and none has succeeded; "
        "0: never",
    ),
    Variable(
        name="JOB_STATUS",
        metavar="URI",
        parse=_uri,
        meaning="where the status document goes; default: <JOB_OUTPUT>_status/<job id>[-<index>].json",
    ),
    Variable(
        name="JOB_RESULTS_TABLE",
        metavar="URI",
        parse=_folder,
        meaning="beside a result an item, one table of all: a prefix or folder that gets a file for each array child",
    ),
    Variable(
        name="JOB_GRACE",
        metavar="SECONDS",
        default="25",
        parse=_seconds,
        meaning="what predictions and uploads under way get to end in after SIGTERM",
    ),
    Variable(
        name="JOB_RUN_AS",
        metavar="USER",
        parse=_user,
        meaning="the user that the model runs as: a name, a uid or uid:gid; default: the supervisor's own",
    ),
    Variable(
        name="JOB_REQUEST_PAYER",
        **_choice("requester"),
        meaning="who pays for requests to S3, where buckets want their readers to",
    ),
    Variable(
        name="JOB_GUEST_ENV",
        metavar="NAMES",
        parse=_variable_names,
        unset=(),
        meaning="variables that the model gets although they look like secrets: names, separated by commas",
    ),
    Variable(
        name="JOB_STATUS_URL",
        metavar="URL",
        parse=_webhook,
        meaning="webhook that is told the status: CloudEvents body, Standard Webhooks signature",
    ),
    Variable(
        name="JOB_STATUS_SECRET",
        metavar="SECRET",
        secret=True,
        parse=_signing_key,
        meaning="the webhook's signing secret (whsec_…)",
    ),
)
_SOURCES = ("JOB_INPUT", "JOB_EVENT", "JOB_MANIFEST")
# Enough to tell a status where a job's other variables cannot be read.
_OF_STATUS = ("JOB_OUTPUT", "JOB_STATUS", "JOB_STATUS_URL", "JOB_STATUS_SECRET")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The derived image this runs in, as its build recorded it; all None outside of one.

    copies: "many" where several copies of the module may predict side by side; network: when it needs one; results: the
    media types that it answers with. Outside of an image, and over what it says, whoever starts the job may say these.
    """

    name: str | None = None
    base: str | None = None
    module: str | None = None
    variant: str | None = None
    copies: str | None = None
    network: str | None = None
    results: tuple[str, ...] = ()

    @property
    def identity(self) -> str | None:
        """What tells one image from another for JOB_OVERWRITE=changed."""
        return self.name or self.base

    @property
    def is_pinned(self) -> bool:
        """Whether its identity is of its content: a tag may be another image tomorrow."""
        return "@sha256:" in (self.identity or "")


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One job, whole: a member for each of VARIABLES, and what the scheduler and the image say. Times are in seconds.

    environment: what all of it was read from, for the guest's; it holds secrets.
    """

    input: str | None = None
    event: str | None = None
    manifest: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    output: str | None = None
    input_root: str | None = None
    predict_args: Mapping[str, Any] = field(default_factory=dict)
    input_field: str | None = None
    runner: str = "auto"
    device: str = "auto"
    workers: int | Literal["auto"] = 1
    predict_timeout: float | None = None
    overwrite: str = "changed"
    max_failures: int = 0
    give_up_after: int = 20
    status: str | None = None
    results_table: str | None = None
    grace: float = 25.0
    run_as: str | None = None
    request_payer: str | None = None
    guest_env: tuple[str, ...] = ()
    status_url: str | None = None
    status_secret: bytes | None = field(default=None, repr=False)
    slice: Slice | None = None
    identity: Identity
    image: Image = field(default_factory=Image)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def require_complete(self) -> None:
        """Raises BadUsage unless the job says what to read and where to write, and asks for no more than may be."""
        if not (self.input or self.event or self.manifest):
            raise BadUsage(
                "no input: none of JOB_INPUT, JOB_EVENT and JOB_MANIFEST is set",
                "name one: JOB_INPUT=s3://bucket/key, or `supervisor run --input FILE --output DIR`",
            )
        if not self.output:
            raise BadUsage(
                "no output: JOB_OUTPUT is not set", "name a prefix or folder: JOB_OUTPUT=s3://bucket/results/"
            )

        self.require_safe_copies()

    def require_safe_copies(self) -> None:
        """Raises BadUsage for several copies of a module that nothing says may have any: two that write to one fixed
        file gave each other's answers, 20 of 400, with exit code 0."""
        if self.workers in (AUTO, 1) or self.image.copies == MANY:
            return
        said = f"says {self.image.copies!r}" if self.image.copies else "is not set"
        raise BadUsage(
            f"JOB_WORKERS is {self.workers}, but nothing says that copies of the module do not mix up their items: "
            f"SUPERVISOR_COPIES {said}",
            "leave JOB_WORKERS out; or, where two copies share no file (docs/images.md says how to tell), declare it: "
            f"`copies: {MANY}` in images/<module>.yaml and a new image, or outside of one SUPERVISOR_COPIES={MANY}",
        )

    @property
    def items_uri(self) -> str | None:
        """Where the list of all items goes, beside the status document."""
        return f"{self.status_uri.removesuffix('.json')}.items.jsonl" if self.status_uri else None

    @property
    def status_uri(self) -> str | None:
        """Where this job's status document goes: no two children of an array share one."""
        if not self.status:
            return f"{self.output}_status/{self.identity.name}.json" if self.output else None
        if self.status.endswith("/"):
            return f"{self.status}{self.identity.name}.json"
        return self.status if self.identity.array_index is None else _of_child(self.status, self.identity.array_index)


def read(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> JobSpec:
    """Reads a job from the environment and the flags given (by Variable.member); flags win.

    An empty value counts as unset. Raises BadUsage for a value that does not fit, naming it.
    """
    _refuse_near_misses(environ)
    from_flags = {v.name: flags[v.member] for v in VARIABLES if flags.get(v.member)}
    hidden = _SOURCES if any(name in from_flags for name in _SOURCES) else ()
    given = {v.name: environ.get(v.name) for v in VARIABLES if v.name not in hidden} | from_flags
    _refuse_two_sources(given)
    members = {v.member: v.value(given.get(v.name)) for v in VARIABLES}
    return JobSpec(
        **members,
        slice=scheduler.array_slice(environ) if _is_divided(members) else None,
        identity=scheduler.identity(environ),
        image=_image(environ),
        environment=environ,
    )


def salvage(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> JobSpec:
    """What can be read of a job that `read` refused: where its status goes, so that the refusal is told there."""
    members: dict[str, Any] = {}
    for variable in (v for v in VARIABLES if v.name in _OF_STATUS):
        try:
            members[variable.member] = variable.value(flags.get(variable.member) or environ.get(variable.name))
        except BadUsage:
            continue
    if len({"status_url", "status_secret"} & members.keys()) == 1:  # nothing unsigned for want of a sound secret
        members.pop("status_url", None)
    return JobSpec(**members, identity=scheduler.salvaged_identity(environ))


def environment() -> Mapping[str, str]:
    """The process's own environment, the one place it is taken from."""
    return os.environ


def _image(environ: Mapping[str, str]) -> Image:
    return Image(
        name=environ.get("SUPERVISOR_IMAGE") or None,
        base=environ.get("SUPERVISOR_BASE") or None,
        module=environ.get("SUPERVISOR_MODULE") or None,
        variant=environ.get("SUPERVISOR_VARIANT") or None,
        copies=environ.get("SUPERVISOR_COPIES") or None,
        network=environ.get("SUPERVISOR_NETWORK") or None,
        results=tuple(
            each for part in environ.get("SUPERVISOR_RESULTS", "").lower().split(",") if (each := part.strip())
        ),
    )


def _refuse_near_misses(environ: Mapping[str, str]) -> None:
    """JOB_INPTU is a slip of ours to catch; JOB_NAME or JOB_QUEUE is somebody else's."""
    known = {name.removeprefix("JOB_") for name in (*(v.name for v in VARIABLES), *scheduler.ARRAY_VARIABLES)}
    for name in sorted(environ):
        tail = name.removeprefix("JOB_")
        if not name.startswith("JOB_") or tail in known:
            continue
        alike = difflib.get_close_matches(tail.upper(), known, cutoff=0.8)
        # Nobody's slip puts another letter in front: JOB_TRACE is not JOB_GRACE.
        close = [k for k in alike if abs(len(k) - len(tail)) <= 2 and (len(k) != len(tail) or k[0] == tail[0].upper())]
        if close:
            raise BadUsage(
                f"the variable {name} is not known: did you mean JOB_{close[0]}?",
                "correct its name, or unset it",
            )


def _refuse_two_sources(given: Mapping[str, str | None]) -> None:
    named = [name for name in _SOURCES if given.get(name)]
    if len(named) > 1:
        raise BadUsage(f"{' and '.join(named)} are both set", "set exactly one of JOB_INPUT, JOB_EVENT, JOB_MANIFEST")


def _is_divided(members: Mapping[str, Any]) -> bool:
    """Whether the children of an array share this work. An object or an event is each child's own."""
    prefix = members["input"] or ""
    return bool(members["manifest"]) or (
        prefix.endswith("/") and not prefix.lower().startswith(("http://", "https://"))
    )


def _of_child(uri: str, index: int) -> str:
    """`status.json` as `status-3.json`, unless the name ends in the child's index already."""
    folder, slash, name = uri.rpartition("/")
    stem, dot, extension = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
    if re.search(rf"(^|[^0-9])0*{index}$", stem):
        return uri
    return f"{folder}{slash}{stem}-{index}{dot}{extension}"
