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
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.failures import BadUsage

RUNNERS = ("auto", "cli", "worker")
DEVICES = ("cpu", "cuda", "auto")
OVERWRITES = ("changed", "always", "never")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable of the container's contract, and the flag of `supervisor run` that wins over it."""

    name: str
    meaning: str
    metavar: str = "TEXT"
    default: str | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.removeprefix("JOB_").lower().replace("_", "-")

    @property
    def dest(self) -> str:
        return self.name.removeprefix("JOB_").lower()


VARIABLES: tuple[Variable, ...] = (
    Variable(
        name="JOB_INPUT",
        metavar="URI",
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
        meaning='instead: the URI of a list: a URI a line, or JSON Lines {"input": …, "output": …, "args": {…}}',
    ),
    Variable(
        name="JOB_INCLUDE",
        metavar="GLOBS",
        meaning="of what is below a prefix only this: globs, separated by commas; * crosses slashes",
    ),
    Variable(
        name="JOB_EXCLUDE",
        metavar="GLOBS",
        meaning="of what is below a prefix all but this: globs, separated by commas; * crosses slashes",
    ),
    Variable(
        name="JOB_OUTPUT",
        metavar="URI",
        meaning="where results go: s3://bucket/prefix/ or a folder; the result of x.wav is x.wav.json",
    ),
    Variable(
        name="JOB_INPUT_ROOT",
        metavar="URI",
        meaning="results keep the path of their input below this prefix; default: JOB_INPUT where that is a prefix, "
        "else their base name alone",
    ),
    Variable(
        name="JOB_PREDICT_ARGS",
        metavar="JSON",
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
        choices=RUNNERS,
        meaning="how DEEPaaS is run: its command line, a process that keeps the model, or whichever fits",
    ),
    Variable(
        name="JOB_DEVICE",
        default="auto",
        choices=DEVICES,
        meaning="what the model may run on; the images set it",
    ),
    Variable(
        name="JOB_WORKERS",
        metavar="N",
        default="1",
        meaning="how many copies of the model run side by side; on GPUs one a device",
    ),
    Variable(
        name="JOB_PREDICT_TIMEOUT",
        metavar="SECONDS",
        meaning="the longest that one prediction may take; none by default",
    ),
    Variable(
        name="JOB_OVERWRITE",
        default="changed",
        choices=OVERWRITES,
        meaning="changed: leave a result that records the same input, image and arguments; always; never",
    ),
    Variable(
        name="JOB_MAX_FAILURES",
        metavar="N",
        default="0",
        meaning="how many items may fail before the job does; every item is tried either way",
    ),
    Variable(
        name="JOB_STATUS",
        metavar="URI",
        meaning="where the status document goes; default: <JOB_OUTPUT>_status/<job id>[-<index>].json",
    ),
    Variable(
        name="JOB_RESULTS_TABLE",
        metavar="URI",
        meaning="beside a result an item, one table of all: a prefix or folder that gets a file for each array child",
    ),
    Variable(
        name="JOB_GRACE",
        metavar="SECONDS",
        default="25",
        meaning="what the running items get to end in after SIGTERM",
    ),
    Variable(
        name="JOB_RUN_AS",
        metavar="USER",
        meaning="the user that the model runs as: a name, a uid or uid:gid; default: the supervisor's own",
    ),
    Variable(
        name="JOB_STATUS_URL",
        metavar="URL",
        meaning="webhook that is told the status: CloudEvents body, Standard Webhooks signature",
    ),
    Variable(
        name="JOB_STATUS_SECRET",
        metavar="SECRET",
        secret=True,
        meaning="the webhook's signing secret (whsec_…)",
    ),
)
# Read too, but set by schedulers rather than by people.
_ARRAY_VARIABLES = ("JOB_ARRAY_INDEX", "JOB_ARRAY_SIZE", "JOB_COMPLETION_INDEX")
_INDEX_VARIABLES = ("AWS_BATCH_JOB_ARRAY_INDEX", "JOB_ARRAY_INDEX", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")
_SOURCES = ("JOB_INPUT", "JOB_EVENT", "JOB_MANIFEST")
_MOST_WORKERS = 64
_USER = re.compile(r"[0-9]{1,9}(:[0-9]{1,9})?|[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")

# What boto3, the AWS CLI, older SDKs or s3fs take for a credential, or for the place of one: by the words in the
# name, since every SDK adds its own (AWS_SECRET_KEY, AWSACCESSKEYID, AWS_BEARER_TOKEN_BEDROCK). The guest gets none of
# it. Region, endpoint and Batch's own variables stay.
_CREDENTIAL = re.compile(
    r"(AWS|S3|MINIO)_?.*(ACCESS_?KEY|SECRET|TOKEN|CREDENTIAL|PASSW|PROFILE|ROLE|CONFIG_FILE|CONTAINER|LOGIN)"
    r"|ECS_CONTAINER_METADATA|BOTO_CONFIG|BOTO_PATH|MC_HOST_"
)
_OURS = "SUPERVISOR_"
# The launcher sets aside what would hurt our own Python or loader; the guest gets it back under its own name.
_SET_ASIDE = "SUPERVISOR_CHILD_"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which job this is, as its scheduler (AWS Batch, SLURM, Kubernetes) names it."""

    id: str
    attempt: int = 1
    array_index: int | None = None
    queue: str | None = None

    @property
    def name(self) -> str:
        """`<job id>[-<index>]`, as used in the status document's name."""
        return self.id if self.array_index is None else f"{self.id}-{self.array_index}"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One child's share of an array's work: the index-th, from 0, of count."""

    index: int
    count: int

    def of(self, total: int) -> range:
        """This child's positions among total: contiguous, and no child has more than one more than another."""
        return range(total * self.index // self.count, total * (self.index + 1) // self.count)


@dataclass(frozen=True, kw_only=True)
class Image:
    """The derived image this runs in, as its build recorded it; all None outside of one."""

    name: str | None = None
    base: str | None = None
    module: str | None = None
    variant: str | None = None

    @property
    def identity(self) -> str | None:
        """What tells one model from another for JOB_OVERWRITE=changed."""
        return self.name or self.base


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One job, whole. Times are in seconds."""

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
    workers: int = 1
    predict_timeout: float | None = None
    overwrite: str = "changed"
    max_failures: int = 0
    status: str | None = None
    status_url: str | None = None
    status_secret: bytes | None = field(default=None, repr=False)
    results_table: str | None = None
    grace: float = 25.0
    run_as: str | None = None
    slice: Slice | None = None
    identity: Identity
    image: Image = field(default_factory=Image)
    guest_environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def require_complete(self) -> None:
        """Raises BadUsage unless the job says what to read and where to write."""
        if not (self.input or self.event or self.manifest):
            raise BadUsage(
                "no input: none of JOB_INPUT, JOB_EVENT and JOB_MANIFEST is set",
                "name one: JOB_INPUT=s3://bucket/key, or `supervisor run --input FILE --output DIR`",
            )
        if not self.output:
            raise BadUsage(
                "no output: JOB_OUTPUT is not set", "name a prefix or folder: JOB_OUTPUT=s3://bucket/results/"
            )

    @property
    def status_uri(self) -> str | None:
        """Where this job's status document goes: no two children of an array share one."""
        if not self.status:
            return f"{self.output}_status/{self.identity.name}.json" if self.output else None
        if self.status.endswith("/"):
            return f"{self.status}{self.identity.name}.json"
        return self.status if self.identity.array_index is None else _of_child(self.status, self.identity.array_index)


def read(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> JobSpec:
    """Reads a job from the environment and the flags given (by Variable.dest); flags win.

    An empty value counts as unset. Raises BadUsage for a value that does not fit, naming it.
    """
    _refuse_near_misses(environ)
    given = {v.name: environ.get(v.name) or None for v in VARIABLES}
    from_flags = {v.name: flags[v.dest] for v in VARIABLES if flags.get(v.dest)}
    if any(name in from_flags for name in _SOURCES):
        given.update(dict.fromkeys(_SOURCES))
    given.update(from_flags)
    values = {v.name: given[v.name] or v.default for v in VARIABLES}
    _refuse_two_sources(values)
    return JobSpec(
        input=_text(values, "JOB_INPUT"),
        event=values["JOB_EVENT"],
        manifest=_text(values, "JOB_MANIFEST"),
        include=_globs(values, "JOB_INCLUDE"),
        exclude=_globs(values, "JOB_EXCLUDE"),
        output=_as_folder(_text(values, "JOB_OUTPUT")),
        input_root=_as_folder(_text(values, "JOB_INPUT_ROOT")),
        predict_args=_json_object(values, "JOB_PREDICT_ARGS"),
        input_field=values["JOB_INPUT_FIELD"],
        runner=_choice(values, "JOB_RUNNER", RUNNERS),
        device=_choice(values, "JOB_DEVICE", DEVICES),
        workers=_workers(values["JOB_WORKERS"] or "1"),
        predict_timeout=_seconds(values, "JOB_PREDICT_TIMEOUT"),
        overwrite=_choice(values, "JOB_OVERWRITE", OVERWRITES),
        max_failures=_count(values, "JOB_MAX_FAILURES"),
        status=_text(values, "JOB_STATUS"),
        status_url=_webhook(values["JOB_STATUS_URL"]),
        status_secret=_secret(values["JOB_STATUS_SECRET"]),
        results_table=_as_folder(_text(values, "JOB_RESULTS_TABLE")),
        grace=_seconds(values, "JOB_GRACE") or 0.0,
        run_as=_user(values["JOB_RUN_AS"]),
        slice=_slice(environ) if _is_divided(values) else None,
        identity=_identity(environ),
        image=Image(
            name=environ.get("SUPERVISOR_IMAGE") or None,
            base=environ.get("SUPERVISOR_BASE") or None,
            module=environ.get("SUPERVISOR_MODULE") or None,
            variant=environ.get("SUPERVISOR_VARIANT") or None,
        ),
        guest_environment=guest_environment(environ),
    )


def salvage(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> JobSpec:
    """What can be read of a job that `read` refused: where its status goes, so that the refusal is told there."""

    def text(name: str) -> str | None:
        value = flags.get(name.removeprefix("JOB_").lower()) or environ.get(name) or None
        return None if value is None or "\0" in value or not value.strip() else value

    try:
        identity = _identity(environ)
    except BadUsage:
        identity = _identity(
            {name: value for name, value in environ.items() if "ARRAY" not in name and "INDEX" not in name}
        )
    try:
        webhook, key = _webhook(text("JOB_STATUS_URL")), _secret(text("JOB_STATUS_SECRET"))
    except BadUsage:
        webhook, key = None, None
    return JobSpec(
        output=_as_folder(text("JOB_OUTPUT")),
        status=text("JOB_STATUS"),
        status_url=webhook,
        status_secret=key,
        identity=identity,
    )


def guest_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The image's own environment for the model: no credential, none of our own variables.

    Ours go as a whole because their values may carry secrets: a presigned URL, a webhook with a token.
    """
    ours = {v.name for v in VARIABLES}
    given_back = {
        name.removeprefix(_SET_ASIDE): value for name, value in environ.items() if name.startswith(_SET_ASIDE)
    }
    return {
        name: value
        for name, value in {**environ, **given_back}.items()
        if name and name not in ours and not name.startswith(_OURS) and not _CREDENTIAL.match(name)
    }


def _refuse_near_misses(environ: Mapping[str, str]) -> None:
    """JOB_INPTU is a slip of ours to catch; JOB_NAME or JOB_QUEUE is somebody else's."""
    known = {v.name.removeprefix("JOB_") for v in VARIABLES} | {n.removeprefix("JOB_") for n in _ARRAY_VARIABLES}
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


def _refuse_two_sources(values: Mapping[str, str | None]) -> None:
    named = [name for name in _SOURCES if values[name]]
    if len(named) > 1:
        raise BadUsage(f"{' and '.join(named)} are both set", "set exactly one of JOB_INPUT, JOB_EVENT, JOB_MANIFEST")


def _text(values: Mapping[str, str | None], name: str) -> str | None:
    value = values[name]
    if value is not None and ("\0" in value or value.strip() == ""):
        raise BadUsage(f"{name} is {value!r}: not a URI or path")
    return value


def _as_folder(uri: str | None) -> str | None:
    """A prefix ends in a slash: s3://bucket/out and s3://bucket/out/ mean the same."""
    return uri if uri is None or uri.endswith("/") else uri + "/"


def _choice(values: Mapping[str, str | None], name: str, choices: tuple[str, ...]) -> str:
    value = values[name] or ""
    if value in choices:
        return value
    close = difflib.get_close_matches(value.lower(), choices, n=1)
    guess = f": did you mean {close[0]}?" if close else ""
    raise BadUsage(f"{name} is {value!r}{guess}", f"use one of {', '.join(choices)}")


def _count(values: Mapping[str, str | None], name: str) -> int:
    value = values[name] or "0"
    if not _is_count(value):
        raise BadUsage(f"{name} is {value!r}, not a number of items", "use a whole number from 0 up")
    return int(value)


def _workers(value: str) -> int:
    if not (_is_count(value) and 1 <= int(value) <= _MOST_WORKERS):
        raise BadUsage(f"JOB_WORKERS is {value!r}", f"use a whole number from 1 to {_MOST_WORKERS}")
    return int(value)


def _user(value: str | None) -> str | None:
    if value is not None and not _USER.fullmatch(value):
        raise BadUsage(f"JOB_RUN_AS is {value!r}, not a user", "use a uid, uid:gid or a name, such as 1000:1000")
    return value


def _globs(values: Mapping[str, str | None], name: str) -> tuple[str, ...]:
    value = values[name]
    if value is None:
        return ()
    globs = tuple(glob for part in re.split(r"[,\r\n]", value) if (glob := part.strip()))
    if not globs:
        raise BadUsage(f"{name} is {value!r}, which holds no glob", "use globs such as *.wav,*.flac, or unset it")
    return globs


def _seconds(values: Mapping[str, str | None], name: str) -> float | None:
    value = values[name]
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise BadUsage(f"{name} is {value!r}, not a number of seconds", "use a number above 0, such as 600")
    return seconds


def _json_object(values: Mapping[str, str | None], name: str) -> Mapping[str, Any]:
    value = values[name]
    if value is None:
        return {}
    example = 'use a JSON object, such as {"threshold": 0.6}'

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        parsed = json.loads(value, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadUsage(f"{name} is not JSON: {error}", example) from None
    if not isinstance(parsed, dict):
        raise BadUsage(f"{name} is a JSON {type(parsed).__name__}, not an object", example)
    return parsed


def _webhook(url: str | None) -> str | None:
    if url is not None and not url.startswith(("https://", "http://")):
        raise BadUsage("JOB_STATUS_URL is not an http(s) URL", "use https://host/path")
    return url


def _secret(value: str | None) -> bytes | None:
    """The key in a Standard Webhooks secret: base64 after an optional `whsec_`. Never echoed."""
    if value is None:
        return None
    try:
        key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise BadUsage("JOB_STATUS_SECRET is not a Standard Webhooks secret", "use whsec_ and base64") from None
    if not key:
        raise BadUsage("JOB_STATUS_SECRET holds no key", "use whsec_ and base64")
    return key


def _identity(environ: Mapping[str, str]) -> Identity:
    # Batch names an array's child <parent>:<index>; the index has its own place in the name.
    batch, _, child = environ.get("AWS_BATCH_JOB_ID", "").partition(":")
    name = next((name for name in _INDEX_VARIABLES if environ.get(name)), None)
    index = environ[name] if name else child if _is_count(child) else None
    if index is not None and not _is_count(index):
        raise BadUsage(f"{name} is {index!r}, not an array index", "use a whole number from 0 up")
    slurm = environ.get("SLURM_ARRAY_JOB_ID") or environ.get("SLURM_JOB_ID")
    attempt = environ.get("AWS_BATCH_JOB_ATTEMPT", "")
    restarts = environ.get("SLURM_RESTART_COUNT", "")
    return Identity(
        id=_file_name(batch or slurm or "") or f"local-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}",
        attempt=int(attempt) if _is_count(attempt) else int(restarts) + 1 if _is_count(restarts) else 1,
        array_index=None if index is None else int(index),
        queue=environ.get("AWS_BATCH_JQ_NAME") or environ.get("SLURM_JOB_PARTITION"),
    )


def _of_child(uri: str, index: int) -> str:
    """`status.json` as `status-3.json`, unless the name ends in the child's index already."""
    folder, slash, name = uri.rpartition("/")
    stem, dot, extension = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
    if re.search(rf"(^|[^0-9])0*{index}$", stem):
        return uri
    return f"{folder}{slash}{stem}-{index}{dot}{extension}"


def _is_divided(values: Mapping[str, str | None]) -> bool:
    """Whether the children of an array share this work. An object or an event is each child's own."""
    prefix = values["JOB_INPUT"] or ""
    return bool(values["JOB_MANIFEST"]) or (
        prefix.endswith("/") and not prefix.lower().startswith(("http://", "https://"))
    )


def _slice(environ: Mapping[str, str]) -> Slice | None:
    """This child's share. Raises BadUsage where the array's variables do not say it."""
    name = next((name for name in _INDEX_VARIABLES if environ.get(name)), None)
    if name is None:
        if environ.get("JOB_ARRAY_SIZE"):
            raise BadUsage("JOB_ARRAY_SIZE is set without an index", "set JOB_ARRAY_INDEX too, or unset both")
        return None
    if name == "SLURM_ARRAY_TASK_ID" and not environ.get("JOB_ARRAY_SIZE"):
        return _slurm_slice(environ)
    size_name = "AWS_BATCH_JOB_ARRAY_SIZE" if name == "AWS_BATCH_JOB_ARRAY_INDEX" else "JOB_ARRAY_SIZE"
    size_name = size_name if environ.get(size_name) else "JOB_ARRAY_SIZE"
    index, size = environ[name], environ.get(size_name)
    advice = f"set {size_name} to the number of children, whose indices run from 0"
    if not size:
        raise BadUsage(f"{name} is {index}, but of how many is not said: {size_name} is not set", advice)
    if not (_is_count(size) and int(size) > 0):
        raise BadUsage(f"{size_name} is {size!r}, not a number of children", advice)
    if not _is_count(index):
        raise BadUsage(f"{name} is {index!r}, not an array index", "use a whole number from 0 up")
    if int(index) >= int(size):
        raise BadUsage(f"{name} is {index}, but {size_name} is {size}", advice)
    return Slice(index=int(index), count=int(size))


def _slurm_slice(environ: Mapping[str, str]) -> Slice:
    """SLURM's own ids start and step as --array says: 0-30:10 has the ids 0, 10, 20 and 30."""
    facts = {
        fact: environ[f"SLURM_ARRAY_TASK_{fact}"]
        for fact in ("ID", "MIN", "MAX", "STEP", "COUNT")
        if environ.get(f"SLURM_ARRAY_TASK_{fact}")
    }
    told = " ".join(f"SLURM_ARRAY_TASK_{fact}={value}" for fact, value in facts.items())
    advice = "use --array=0-N or an even step, or set JOB_ARRAY_INDEX and JOB_ARRAY_SIZE"
    if not all(_is_count(value) for value in facts.values()) or not {"MIN", "COUNT"} <= facts.keys():
        raise BadUsage(f"{told} does not say which child of how many this is", advice)
    number = {fact: int(value) for fact, value in facts.items()}
    step = number.get("STEP", 1) or 1
    index, beside = divmod(number["ID"] - number["MIN"], step)
    # A list such as --array=1,5,9 has gaps that no step describes, and its ids no place among COUNT.
    last = number["MIN"] + step * (number["COUNT"] - 1)
    if beside or not 0 <= index < number["COUNT"] or number.get("MAX", last) != last:
        raise BadUsage(f"{told}: the ids are not evenly spaced", advice)
    return Slice(index=index, count=number["COUNT"])


def _is_count(text: str) -> bool:
    """Whether int() can read it: str.isdigit alone says so of "²", and int() gives up at 4,300 digits."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text).lstrip(".")


def environment() -> Mapping[str, str]:
    """The process's own environment, the one place it is taken from."""
    return os.environ
