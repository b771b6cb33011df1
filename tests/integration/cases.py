"""What each test module is asked, and how that must end: the same in every DEEPaaS release, by every runner.

Where a release's command line cannot carry a case, `cli` says so, and what the supervisor then says of it.
"""

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import NEWEST, OLD, Ended

CONTENT = b"RIFF" * 25
PIXEL = (  # the PNG that the modules answer with
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\b\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cch\0\0\0\x82\0\x81w\xcdr\xb6\0\0\0\0IEND\xaeB`\x82"
)
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDTHATNOBODYSEES",
    "AWS_SECRET_ACCESS_KEY": "secret-key-that-nobody-sees",
    "AWS_SESSION_TOKEN": "session-token-that-nobody-sees",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/credentials-that-nobody-sees",
    "JOB_STATUS_SECRET": "whsec_dGhhdC1ub2JvZHktc2Vlcw==",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A DEEPaaS release on a Python: a command, by default the one that runs the tests."""

    release: str
    python: str | None = None

    def __str__(self) -> str:
        return f"{self.release}-{self.python_name}"

    @property
    def python_name(self) -> str:
        return self.python or f"python3.{sys.version_info.minor}"

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(int, self.release.split(".")))


RELEASES = ("1.2.1", OLD, "2.1.0", "2.2.0", "2.3.1", "2.3.2", "2.5.1", "2.5.2", NEWEST)
COLUMNS = (
    *(Column(release=release) for release in RELEASES),
    *(Column(release=release, python="python3.6") for release in (OLD, NEWEST)),
)
QUICK = (Column(release=OLD), Column(release=NEWEST))


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Exit 0, and one result in JSON: these values, or values of which `holds` is true."""

    values: Any = None
    holds: Callable[[Any], bool] | None = None

    code = 0

    def require(self, ended: Ended, results: Sequence[Path]) -> None:
        assert ended.code == 0, ended.stderr
        assert ended.stderr == ""
        assert [path.suffix for path in results] == [".json"]
        answer = json.loads(results[0].read_bytes(), parse_constant=_refuse)
        if self.holds is None:
            assert answer == self.values
        else:
            assert self.holds(answer), answer


@dataclass(frozen=True, kw_only=True)
class Gives:
    """Exit 0, and one result of another type than JSON, of whose bytes `holds` is true."""

    suffix: str
    holds: Callable[[bytes], bool]

    code = 0

    def require(self, ended: Ended, results: Sequence[Path]) -> None:
        assert ended.code == 0, ended.stderr
        assert [path.suffix for path in results] == [self.suffix]
        assert self.holds(results[0].read_bytes())


@dataclass(frozen=True, kw_only=True)
class Fails:
    """That exit code, one line that names the cause, and no result."""

    code: int
    says: str

    def require(self, ended: Ended, results: Sequence[Path]) -> None:
        assert ended.code == self.code, ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert re.search(self.says, ended.stderr), ended.stderr
        assert not results


@dataclass(frozen=True, kw_only=True)
class FailsFirst(Fails):
    """The same, before it is known which runner there will be."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The command line cannot carry it, which is known before it runs: JOB_RUNNER=cli is exit 64."""

    says: str
    since: tuple[int, ...] = (0,)
    before: tuple[int, ...] = (99,)

    @property
    def outcome(self) -> Fails:
        return Fails(code=64, says=f"JOB_RUNNER is cli, but .*{self.says}")


@dataclass(frozen=True, kw_only=True)
class Tried(Refused):
    """The command line runs and fails, which only shows then: auto takes the worker. code: of JOB_RUNNER=cli, 78 where
    it ends before it calls the module."""

    code: int = 65

    @property
    def outcome(self) -> Fails:
        return Fails(code=self.code, says=self.says)


@dataclass(frozen=True, kw_only=True)
class Other(Refused):
    """deepaas-cli cannot carry it, but deepaas-predict can, which JOB_RUNNER=cli takes: the right answer."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One module with one input. arguments: JOB_PREDICT_ARGS; input_field: JOB_INPUT_FIELD; cli: where it is no way."""

    module: str
    outcome: Answers | Gives | Fails
    file: str = "recording.wav"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input_field: str | None = None
    cli: tuple[Refused, ...] = ()

    def not_by_cli(self, column: Column) -> Refused | None:
        """Why that release's command line is no way; None where it is one."""
        if column.release in NO_CLI:
            kind = Other if self.module == "predict_data" else Refused
            return kind(says=NO_CLI[column.release])
        return next((each for each in self.cli if each.since <= column.numbers < each.before), None)

    def choice(self, column: Column) -> str | None:
        """The runner that auto takes; None where it does not come to that."""
        if isinstance(self.outcome, FailsFirst):
            return None
        limit = self.not_by_cli(column)
        return "deepaas-cli" if limit is None or isinstance(limit, Tried) else "worker"


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a result")


def _same_members(body: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return archive.read("upload") == CONTENT and archive.read("answer.json") == b"{}"


def _no_secret(answer: Any) -> bool:
    text = json.dumps(answer)
    return not any(secret in text for secret in SECRETS.values())


def _keeps_secrets(answer: Any) -> bool:
    """Sees the image's environment; of ours neither a variable nor, in its own, any value."""
    return _no_secret(answer["environment"]) and "TMPDIR" in answer["environment"]


def _has_every_type(answer: Any) -> bool:
    """Python 3.6 has no order in a box."""
    box = answer["given"].pop("box")
    right = {"upload": "UploadedFile", "given": EVERY_VALUE, "absent": []}
    return box in (["dict", "{'x': 3, 'y': 0}"], ["dict", "{'y': 0, 'x': 3}"]) and answer == right


NO_CLI = {"1.2.1": "DEEPaaS 1.2.1 has no deepaas-cli", "2.3.1": "deepaas-cli 2.3.1 cannot start"}
NAMED = Answers(values={"name": "recording.wav"})
CLASH = Refused(says="clashes with deepaas-cli's own option")
OTHER_TYPE = "writes {} in some releases only"
NOT_JSON = "is not JSON serializable"
EVERY_TYPE = {
    "name": "-$HOME 50%\nñ",
    "count": 7,
    "ratio": 1,
    "flag": False,
    "thresholds": [0.25, 1],
    "labels": ["a", "b,c"],
    "options": {"a": True, "b": None, "c": [1, {"d": 2}]},
    "day": "2020-02-29",
    "moment": "2020-02-29T12:30:00",
    "at": "12:30:15",
    "token": "12345678-1234-5678-1234-567812345678",
    "link": "https://example.org/a?b=c",
    "contact": "someone@example.org",
    "price": "12.50",
    "box": {"x": 3},
    "anything": {"x": [None, 1]},
    "choice": "good",
    "code": "abc",
    "maybe": None,
    "number": -2,
}
EVERY_VALUE = {
    "anything": ["dict", "{'x': [None, 1]}"],
    "at": ["time", "12:30:15"],
    "choice": ["str", "good"],
    "code": ["str", "abc"],
    "contact": ["str", "someone@example.org"],
    "count": ["int", "7"],
    "day": ["date", "2020-02-29"],
    "flag": ["bool", "False"],
    "labels": ["list", "['a', 'b,c']"],
    "link": ["str", "https://example.org/a?b=c"],
    "maybe": ["NoneType", "None"],
    "moment": ["datetime", "2020-02-29 12:30:00"],
    "name": ["str", "-$HOME 50%\nñ"],
    "number": ["int", "-2"],
    "options": ["dict", "{'a': True, 'b': None, 'c': [1, {'d': 2}]}"],
    "price": ["Decimal", "12.50"],
    "ratio": ["float", "1.0"],
    "thresholds": ["list", "[0.25, 1.0]"],
    "token": ["UUID", "12345678-1234-5678-1234-567812345678"],
}
PLAIN_ARGUMENTS = {"label": "-$HOME 50%\nñ", "top": -7, "threshold": 0.25}
ARRAY = [[1.5, 2.0], [3.0, 4.0]]

CASES = (
    Case(module="accept_json_only", outcome=Answers(values={"accept": "application/json"})),
    Case(
        module="accept_without_default",
        outcome=Answers(values={"accept": "application/json"}),
        cli=(Refused(says="would give accept, which has no default"),),
    ),
    Case(module="answers_none", outcome=Fails(code=65, says=r"the module answered nothing \(null\)")),
    Case(module="arg_named_debug", outcome=Answers(values={"debug": False}), cli=(CLASH,)),
    Case(module="arg_named_workers", outcome=Answers(values={"workers": "auto"}), cli=(CLASH,)),
    # More than is parsed in the supervisor's own process.
    Case(
        module="big_json",
        arguments={"n": 3000000},
        outcome=Answers(values={"rows": ["x" * 996] * 3000}),
        cli=(Refused(says="takes n for the beginning of several options of its own"),),
    ),
    Case(
        module="broken_import",
        outcome=FailsFirst(
            code=78,
            says="broken_import fails to import: ModuleNotFoundError: No module named 'no_such_package_for_tests'",
        ),
    ),
    Case(
        module="broken_predict_args",
        outcome=FailsFirst(
            code=78,
            says=r"get_predict_args\(\) of broken_predict_args fails: RuntimeError: the list of trained models cannot",
        ),
    ),
    Case(
        module="bytes_inside",
        outcome=Answers(values={"label": "speech", "raw": "/wA="}),
        cli=(Tried(says=NOT_JSON),),
    ),
    Case(
        module="bytes_io",
        arguments={"accept": "image/png"},
        outcome=Gives(suffix=".png", holds=PIXEL.__eq__),
        cli=(Refused(says=OTHER_TYPE.format("image/png")),),
    ),
    Case(module="changes_directory", outcome=Answers(holds=lambda answer: not Path(answer["folder"]).exists())),
    Case(module="checks_extension", outcome=NAMED, cli=(Tried(says="Only WAV files are taken, not /"),)),
    Case(module="class_based", outcome=NAMED),
    Case(module="closes_fds", outcome=Answers(values={"closed": True})),
    Case(module="closes_stdio", outcome=Answers(values={"closed": True})),
    Case(module="counts_calls", outcome=Answers(values={"warmed": 1, "calls": 1})),
    Case(
        module="crashes_on_no_type",
        file="recording.no-such-type",
        outcome=Answers(values={"major": "text", "minor": "plain"}),
        cli=(Refused(says="no content type for this file's name"),),
    ),
    Case(module="data_key", outcome=Answers(values={"files": "recording.wav"})),
    Case(module="dumps_environment", outcome=Answers(holds=_keeps_secrets)),
    Case(module="eats_memory", arguments={"megabytes": 64}, outcome=Answers(values={"megabytes": 64})),
    Case(
        module="empty_file",
        outcome=Fails(code=65, says="the module answered with an empty file"),
        cli=(Refused(says=OTHER_TYPE.format("image/png")),),
    ),
    Case(module="encoded_twice", outcome=Answers(values='{"label": "speech"}')),
    Case(
        module="every_type",
        arguments=EVERY_TYPE,
        outcome=Answers(holds=_has_every_type),
        cli=(Refused(says="types name by its default", before=(2, 2)), Refused(says="does not carry flag")),
    ),
    Case(
        module="exits_on_import", outcome=FailsFirst(code=78, says=r"exits_on_import fails to import: .*sys.exit\(0\)")
    ),
    Case(
        module="fixed_file",
        outcome=Gives(suffix=".bin", holds=(b"made of " + CONTENT).__eq__),
        cli=(Refused(says=OTHER_TYPE.format("application/octet-stream")),),
    ),
    Case(module="fixed_scratch", outcome=Answers(values={"made_of": CONTENT.decode()})),
    Case(module="floods_stderr", outcome=Answers(values={"written": 13000000})),
    Case(module="floods_stdout", outcome=Answers(values={"printed": 13000000})),
    Case(module="forks_daemon", outcome=Answers(holds=lambda answer: answer["daemon"] > 1)),
    Case(
        module="hyphenated",
        arguments={"my-threshold": 0.75},
        outcome=Answers(values={"my-threshold": 0.75}),
        cli=(Refused(says="loses the argument my-threshold"),),
    ),
    Case(module="ignores_term", arguments={"seconds": 0.1}, outcome=Answers(values={"slept": 0.1})),
    Case(module="innocent_errors", outcome=Answers(values={"error_rate": 0.1, "errors": [], "error": None})),
    Case(
        module="joins_original_name", outcome=Answers(holds=lambda answer: answer["wrote"].endswith("/recording.wav"))
    ),
    Case(module="json_strings", arguments={"top": "5"}, outcome=Answers(values={"timestamp": "default", "top": 5})),
    Case(
        module="leaves_children",
        outcome=Answers(holds=lambda answer: set(answer) == {"same_session", "own_session"}),
    ),
    Case(module="leaves_threads", outcome=Answers(holds=lambda answer: answer["threads"] > 1)),
    Case(module="logs_cuda_fallback", outcome=Answers(values={"device": "cpu"})),
    Case(module="lone_surrogate", outcome=Answers(values={"name": "caf\udce9.wav"})),
    Case(
        module="many_files",
        input_field="demo-audio",
        outcome=Answers(values={"demo-audio": "recording.wav"}),
        cli=(Refused(says="loses the argument demo-image"),),
    ),
    Case(module="mutates_arguments", outcome=Answers(values={"sizes": [1, 2, 3], "options": {"a": 1}})),
    Case(
        module="nan_values",
        outcome=Answers(values={"probability": None, "high": None, "low": None, "scores": [0.5, None]}),
    ),
    Case(
        module="no_description",
        outcome=Answers(values={"top": 3}),
        cli=(Refused(says="needs a description on every argument", before=(2, 5)),),
    ),
    Case(module="no_file", outcome=FailsFirst(code=64, says=r"no_file takes no file: its arguments are text \(")),
    Case(module="no_metadata", outcome=NAMED),
    Case(module="no_train_args", outcome=NAMED, cli=(Refused(says=r"needs get_train_args\(\)"),)),
    Case(
        module="not_jsonable",
        outcome=Fails(code=65, says="the module's answer cannot be JSON: TypeError: a value of type object"),
        cli=(Tried(says=NOT_JSON),),
    ),
    Case(
        module="numpy_values",
        outcome=Answers(
            values={
                "array": ARRAY,
                "float32": 0.5,
                "int64": 7,
                "bool": True,
                "nested": [{"scores": [0.25, 0.75], "best": 1}],
            }
        ),
        cli=(Tried(says=NOT_JSON),),
    ),
    Case(
        module="odd_keys",
        outcome=Answers(values={"1": "int", "null": "none", "(1, 2)": "tuple"}),
        cli=(Tried(says="TypeError: keys must be"),),
    ),
    Case(
        module="one_named_input",
        outcome=Answers(values={"input": "recording.wav"}),
        cli=(Refused(says="takes a file only as `files`, not as input", before=(2, 5)),),
    ),
    Case(
        module="open_file",
        arguments={"accept": "application/zip"},
        outcome=Gives(suffix=".zip", holds=_same_members),
        cli=(Refused(says=OTHER_TYPE.format("application/zip")),),
    ),
    Case(module="os_exit0", outcome=Fails(code=65, says="ended with exit status 0 in the middle of a prediction")),
    Case(module="os_exit7", outcome=Fails(code=65, says="ended with exit status 7 in the middle of a prediction")),
    Case(
        module="per_file_error",
        outcome=Fails(code=65, says="answered with an error under predictions at 0: the image cannot be decoded"),
    ),
    Case(
        module="plain",
        arguments=PLAIN_ARGUMENTS,
        outcome=Answers(
            values={
                "name": "recording.wav",
                "size": 100,
                "sha256": "a6df260d4574525e7d850b5ad241cd13a7b528d7a6027905fc5137d3eded22e7",
                "arguments": {**PLAIN_ARGUMENTS, "detailed": False},
            }
        ),
    ),
    Case(
        module="plain_field",
        outcome=Answers(values={"note": "none", "upload": "UploadedFile"}),
        cli=(Tried(says="FileNotFoundError: .*'none'", code=78, since=(2, 5), before=(2, 5, 2)),),
    ),
    Case(
        module="predict_data",
        outcome=Answers(
            holds=lambda answer: (
                answer["size"] == len(CONTENT) and answer["content_type"] in ("audio/x-wav", "audio/vnd.wave")
            )  # as Python calls WAV up to 3.13, and since
        ),
    ),
    Case(module="prints_bad_bytes", outcome=Answers(values={"printed": True})),
    Case(module="prints_like_us", outcome=Answers(values={"name": "the real answer"})),
    # By command line it is the name of DEEPaaS' temporary file, which the module itself puts there.
    Case(module="puts_temp_name_in_answer", outcome=Answers(holds=lambda answer: list(answer) == ["title"])),
    Case(module="raises", outcome=Fails(code=65, says="ValueError: the recording is silent: 0 of 16000 samples")),
    Case(
        module="raises_system_exit0",
        outcome=Fails(code=65, says=r"the module failed: the module ended the interpreter, sys.exit\(0\)"),
    ),
    Case(
        module="raw_bytes",
        arguments={"accept": "image/png"},
        outcome=Gives(suffix=".png", holds=PIXEL.__eq__),
        cli=(Refused(says=OTHER_TYPE.format("image/png")),),
    ),
    Case(module="removes_upload", outcome=NAMED),
    Case(module="renames_upload", outcome=Answers(values={"size": 100})),
    Case(module="says_error", outcome=Fails(code=65, says="answered with an error: the recording cannot be decoded")),
    Case(
        module="says_sentence", outcome=Fails(code=65, says="the module answered with a text: Invalid crop coordinates")
    ),
    Case(module="segfault", outcome=Fails(code=65, says="killed by SIGSEGV in the middle of a prediction")),
    Case(module="sets_signal_handlers", outcome=Answers(values={"ignored": 5})),
    Case(module="slow", arguments={"seconds": 0.1}, outcome=Answers(values={"slept": 0.1})),
    Case(module="slow_warm", outcome=Answers(values={"warmed": [True]})),
    Case(
        module="text_answer",
        arguments={"accept": "text/csv"},
        outcome=Gives(suffix=".csv", holds=b"start,end\n0.1,0.9\n".__eq__),
        cli=(Refused(says=OTHER_TYPE.format("text/csv")),),
    ),
    Case(
        module="text_for_picture",
        arguments={"accept": "image/png"},
        outcome=Fails(code=65, says="answered with a text where image/png was due: Model not found."),
        cli=(Refused(says=OTHER_TYPE.format("image/png")),),
    ),
    Case(
        module="two_files",
        input_field="image",
        outcome=FailsFirst(code=64, says=r"two_files needs further files beside image: mask"),
    ),
    Case(module="urls_too", outcome=NAMED),
    Case(module="uses_multiprocessing", outcome=Answers(values={"squares": [1, 4, 9]})),
    Case(module="wants_content_type", file="photo.png", outcome=Answers(values={"content_type": "image/png"})),
    Case(module="warm_raises", outcome=Fails(code=78, says="the module failed in warm: OSError: weights.h5: no such")),
    Case(
        module="wraps_errors",
        outcome=Fails(code=65, says="the module failed: OSError: models/weights.h5: no such file"),
    ),
    Case(module="writes_to_upload", outcome=Answers(values={"size": 121})),
)
