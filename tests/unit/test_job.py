"""The job as the environment and the flags describe it."""

import base64
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor import job
from supervisor.failures import BadUsage
from supervisor.job import VARIABLES, JobSpec
from supervisor.machine.scheduler import Slice

INPUT = {"JOB_INPUT": "s3://recordings/a.wav", "JOB_OUTPUT": "s3://recordings/out/"}
SECRET = "whsec_" + base64.b64encode(b"a signing key of some length").decode()


def read(flags: Mapping[str, str | None] | None = None, /, **environ: str) -> JobSpec:
    return job.read(environ, flags or {})


def test_what_is_not_said_has_its_default() -> None:
    spec = read(**INPUT)
    assert (spec.input, spec.output) == ("s3://recordings/a.wav", "s3://recordings/out/")
    assert (spec.event, spec.manifest, spec.input_root, spec.input_field) == (None, None, None, None)
    assert (spec.runner, spec.device, spec.overwrite) == ("auto", "auto", "changed")
    assert (spec.predict_args, spec.predict_timeout, spec.max_failures) == ({}, None, 0)
    assert (spec.status, spec.status_url, spec.status_secret) == (None, None, None)
    assert (spec.include, spec.exclude, spec.workers, spec.slice) == ((), (), 1, None)
    assert (spec.results_table, spec.grace, spec.run_as) == (None, 25.0, None)


@pytest.mark.parametrize(
    ("name", "value", "member", "read_as"),
    [
        ("JOB_INPUT_ROOT", "s3://recordings", "input_root", "s3://recordings/"),
        ("JOB_OUTPUT", "results", "output", "results/"),
        ("JOB_PREDICT_ARGS", '{"threshold": 0.6, "a": [null]}', "predict_args", {"threshold": 0.6, "a": [None]}),
        ("JOB_INCLUDE", "*.wav, day 1/*.mp3,\n*.flac\r\n", "include", ("*.wav", "day 1/*.mp3", "*.flac")),
        ("JOB_EXCLUDE", "old/*", "exclude", ("old/*",)),
        ("JOB_WORKERS", "64", "workers", 64),
        ("JOB_WORKERS", "auto", "workers", "auto"),
        ("JOB_GIVE_UP_AFTER", "0", "give_up_after", 0),
        ("JOB_RESULTS_TABLE", "s3://recordings/tables", "results_table", "s3://recordings/tables/"),
        ("JOB_GRACE", "5", "grace", 5.0),
        ("JOB_RUN_AS", "1000:100", "run_as", "1000:100"),
        ("JOB_RUN_AS", "nobody", "run_as", "nobody"),
        ("JOB_REQUEST_PAYER", "requester", "request_payer", "requester"),
        ("JOB_GUEST_ENV", "HF_TOKEN, pg-password,,HF_TOKEN", "guest_env", ("HF_TOKEN", "pg-password")),
        ("JOB_INPUT_FIELD", "audio", "input_field", "audio"),
        ("JOB_RUNNER", "worker", "runner", "worker"),
        ("JOB_DEVICE", "cuda", "device", "cuda"),
        ("JOB_PREDICT_TIMEOUT", "0.5", "predict_timeout", 0.5),
        ("JOB_PREDICT_TIMEOUT", "600", "predict_timeout", 600.0),
        ("JOB_OVERWRITE", "never", "overwrite", "never"),
        ("JOB_MAX_FAILURES", "17", "max_failures", 17),
        ("JOB_STATUS", "s3://other/status.json", "status", "s3://other/status.json"),
        ("JOB_STATUS_URL", "https://example.org/hook", "status_url", "https://example.org/hook"),
        ("JOB_STATUS_SECRET", SECRET, "status_secret", b"a signing key of some length"),
    ],
)
def test_each_variable_is_read(name: str, value: str, member: str, read_as: object) -> None:
    assert getattr(read(**INPUT | {name: value}), member) == read_as


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda v: v.name)
def test_an_empty_variable_counts_as_unset(variable: job.Variable) -> None:
    assert read(**{variable.name: "", "AWS_BATCH_JOB_ID": "1"}) == read(AWS_BATCH_JOB_ID="1")


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("JOB_RUNNER", "wroker", "did you mean worker"),
        ("JOB_DEVICE", "GPU0", "cpu, cuda, auto"),
        ("JOB_DEVICE", "CUDA", "did you mean cuda"),
        ("JOB_OVERWRITE", "yes", "changed, always, never"),
        ("JOB_MAX_FAILURES", "-1", "whole number"),
        ("JOB_MAX_FAILURES", "1.5", "whole number"),
        ("JOB_MAX_FAILURES", "²", "whole number"),
        ("JOB_PREDICT_TIMEOUT", "0", "above 0"),
        ("JOB_PREDICT_TIMEOUT", "10s", "above 0"),
        ("JOB_PREDICT_TIMEOUT", "nan", "above 0"),
        ("JOB_PREDICT_TIMEOUT", "inf", "above 0"),
        ("JOB_WORKERS", "0", "1 to 64"),
        ("JOB_WORKERS", "65", "1 to 64"),
        ("JOB_WORKERS", "two", "1 to 64, or auto"),
        ("JOB_GIVE_UP_AFTER", "never", "whole number"),
        ("JOB_GRACE", "-1", "above 0"),
        ("JOB_RUN_AS", "1000:1000:1", "a uid"),
        ("JOB_REQUEST_PAYER", "Requester", "did you mean requester"),
        ("JOB_REQUEST_PAYER", "requestor", "did you mean requester"),
        ("JOB_REQUEST_PAYER", "true", "use requester"),
        ("JOB_RUN_AS", "no body", "a uid"),
        ("JOB_INCLUDE", " , ", "no glob"),
        ("JOB_GUEST_ENV", " , ", "takes names of variables alone"),
        ("JOB_GUEST_ENV", "HF_*", "takes names of variables alone"),
        ("JOB_GUEST_ENV", "HF_TOKEN PGPASSWORD", "write names"),
        ("JOB_INPUT", "  ", "not a URI"),
        ("JOB_OUTPUT", " ", "not a URI"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_value_with_advice(name: str, value: str, advice: str) -> None:
    with pytest.raises(BadUsage) as refused:
        read(**INPUT | {name: value})
    told = f"{refused.value.message} {refused.value.hint}"
    assert name in told
    assert repr(value) in told
    assert advice in told
    assert refused.value.code == 64


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "aws_session_token", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_PROFILE",
     "AWS_WEB_IDENTITY_TOKEN_FILE", "JOB_STATUS_SECRET", "JOB_STATUS_URL", "SUPERVISOR_IMAGE"],
)  # fmt: skip
def test_nobody_gives_the_model_awss_credentials_or_what_is_ours(name: str) -> None:
    with pytest.raises(BadUsage, match=f"JOB_GUEST_ENV names {name}, which the model never gets"):
        read(**INPUT, JOB_GUEST_ENV=f"HF_TOKEN,{name}")


def test_a_value_where_a_name_belongs_is_refused_and_not_shown() -> None:
    with pytest.raises(BadUsage, match="JOB_GUEST_ENV gives HF_TOKEN a value") as refused:
        read(**INPUT, JOB_GUEST_ENV="HF_TOKEN=hunter2")
    assert "hunter2" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("threshold=0.6", "is not JSON"),
        ("{'threshold': 0.6}", "is not JSON"),
        ('{"a": NaN}', "is not JSON: NaN is not JSON"),
        ("[1]", "a JSON list"),
        ("null", "a JSON NoneType"),
        ("[" * 50_000, "is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
    ],
)
def test_predict_args_that_are_no_object_are_refused(value: str, told: str) -> None:
    with pytest.raises(BadUsage, match=f"JOB_PREDICT_ARGS (is )?{told}") as refused:
        read(**INPUT, JOB_PREDICT_ARGS=value)
    assert '{"threshold": 0.6}' in refused.value.hint


@pytest.mark.parametrize("value", ["whsec_not base64!", "hunter2 is my secret", "whsec_", "whsec_\u00e9"])
def test_a_bad_secret_is_refused_and_never_shown(value: str) -> None:
    with pytest.raises(BadUsage, match="JOB_STATUS_SECRET") as refused:
        read(**INPUT, JOB_STATUS_SECRET=value)
    assert value.removeprefix("whsec_") == "" or value.removeprefix("whsec_") not in str(refused.value)


def test_a_webhook_that_is_no_web_address_is_refused_without_showing_its_token() -> None:
    with pytest.raises(BadUsage, match="JOB_STATUS_URL") as refused:
        read(**INPUT, JOB_STATUS_URL="htps://example.org/?token=hunter2")
    assert "hunter2" not in f"{refused.value.message}{refused.value.hint}"


def test_the_secret_and_the_guests_environment_stay_out_of_the_specs_text() -> None:
    text = repr(read(**INPUT, JOB_STATUS_SECRET=SECRET, DATABASE_PASSWORD="hunter2"))
    assert "signing key" not in text
    assert "hunter2" not in text


# flags


def test_a_flag_wins_over_its_variable() -> None:
    spec = read({"device": "cpu", "output": "here"}, **INPUT, JOB_DEVICE="cuda")
    assert (spec.device, spec.output) == ("cpu", "here/")


def test_an_input_flag_wins_over_every_source_in_the_environment() -> None:
    spec = read({"input": "a.wav"}, JOB_EVENT="{}", JOB_MANIFEST="s3://recordings/list")
    assert (spec.input, spec.event, spec.manifest) == ("a.wav", None, None)


def test_every_variable_but_the_secret_has_a_flag_named_after_it() -> None:
    assert {v.name: v.flag for v in VARIABLES}["JOB_PREDICT_ARGS"] == "--predict-args"
    assert [v.name for v in VARIABLES if v.secret] == ["JOB_STATUS_SECRET"]


# exactly one source


@pytest.mark.parametrize(
    "names", [("JOB_INPUT", "JOB_EVENT"), ("JOB_EVENT", "JOB_MANIFEST"), ("JOB_INPUT", "JOB_EVENT", "JOB_MANIFEST")]
)
def test_two_sources_are_refused_by_name(names: tuple[str, ...]) -> None:
    with pytest.raises(BadUsage, match=" and ".join(names)):
        read(**dict.fromkeys(names, "x"))


def test_two_sources_by_flag_are_refused_too() -> None:
    with pytest.raises(BadUsage, match="JOB_INPUT and JOB_EVENT"):
        read({"input": "a", "event": "{}"})


def test_no_source_is_refused_by_the_names_of_all() -> None:
    with pytest.raises(BadUsage, match="JOB_INPUT, JOB_EVENT and JOB_MANIFEST"):
        read(JOB_OUTPUT="out").require_complete()


def test_no_output_is_refused() -> None:
    with pytest.raises(BadUsage, match="JOB_OUTPUT"):
        read(JOB_INPUT="a.wav").require_complete()


# names


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("JOB_INPTU", "JOB_INPUT"),
        ("JOB_INPUTS", "JOB_INPUT"),
        ("JOB_Input", "JOB_INPUT"),
        ("JOB_OUTPT", "JOB_OUTPUT"),
        ("JOB_OUPUT", "JOB_OUTPUT"),
        ("JOB_EVENTS", "JOB_EVENT"),
        ("JOB_MANIFST", "JOB_MANIFEST"),
        ("JOB_PREDICTARGS", "JOB_PREDICT_ARGS"),
        ("JOB_PREDICT_ARG", "JOB_PREDICT_ARGS"),
        ("JOB_MAX_FAILURE", "JOB_MAX_FAILURES"),
        ("JOB_RUNER", "JOB_RUNNER"),
        ("JOB_DEVICES", "JOB_DEVICE"),
        ("JOB_OVERWRTE", "JOB_OVERWRITE"),
        ("JOB_STATUS_URI", "JOB_STATUS_URL"),
        ("JOB_STATUS_SECRETS", "JOB_STATUS_SECRET"),
        ("JOB_INPUTROOT", "JOB_INPUT_ROOT"),
        ("JOB_INPUT_FEILD", "JOB_INPUT_FIELD"),
        ("JOB_INCLUDES", "JOB_INCLUDE"),
        ("JOB_WORKER", "JOB_WORKERS"),
        ("JOB_RUNAS", "JOB_RUN_AS"),
        ("JOB_REQUESTER_PAYS", "JOB_REQUEST_PAYER"),
        ("JOB_ARRAY_INDX", "JOB_ARRAY_INDEX"),
    ],
)
def test_a_near_miss_is_refused_with_what_was_meant(wrong: str, meant: str) -> None:
    with pytest.raises(BadUsage, match=f"{wrong} is not known: did you mean {meant}\\?"):
        read(**INPUT | {wrong: "x"})


@pytest.mark.parametrize(
    "name",
    ["JOB_NAME", "JOB_ID", "JOB_QUEUE", "JOB_DEFINITION", "JOB_TMPDIR", "JOB_URL", "JOB_BASE_NAME",
     "JOB_DISPLAY_URL", "JOB_COMPLETION_INDEX", "JOB_ATTEMPT", "JOB_STATE", "JOB_USER", "JOB_ROLE", "JOB_TYPE",
     "JOB_HOME", "JOB_SCRIPT", "JOB_PARTITION", "JOB_NODELIST", "JOB_START_TIME", "JOB_LOG", "JOB_TRACE", "JOB_",
     "JOBS", "JOB", "MY_JOB_INPTU", "LOADL_JOB_NAME"],
)  # fmt: skip
def test_other_peoples_names_are_left_alone(name: str) -> None:
    environ = {**INPUT, "AWS_BATCH_JOB_ID": "1", "JOB_ARRAY_INDEX": "0", name: "5"}
    assert name in read(**environ).environment


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda v: v.name)
def test_no_known_name_is_taken_for_a_near_miss_of_another(variable: job.Variable) -> None:
    read(**{variable.name: ""})


# identity


@pytest.mark.parametrize(
    ("environ", "id", "attempt", "index", "name"),
    [
        ({"AWS_BATCH_JOB_ID": "5f2e-1", "AWS_BATCH_JOB_ATTEMPT": "2"}, "5f2e-1", 2, None, "5f2e-1"),
        (
            {"AWS_BATCH_JOB_ID": "5f2e-1:3", "AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ATTEMPT": "1"},
            "5f2e-1", 1, 3, "5f2e-1-3",
        ),
        ({"AWS_BATCH_JOB_ID": "5f2e-1:3"}, "5f2e-1", 1, 3, "5f2e-1-3"),
        ({"AWS_BATCH_JOB_ID": "5f2e-1#0"}, "5f2e-1_0", 1, None, "5f2e-1_0"),
        ({"SLURM_JOB_ID": "71", "SLURM_RESTART_COUNT": "1"}, "71", 2, None, "71"),
        (
            {"SLURM_JOB_ID": "73", "SLURM_ARRAY_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": "12"},
            "71", 1, 12, "71-12",
        ),
        ({"AWS_BATCH_JOB_ID": "x", "JOB_COMPLETION_INDEX": "0"}, "x", 1, 0, "x-0"),
        ({"AWS_BATCH_JOB_ID": "x", "JOB_ARRAY_INDEX": "4"}, "x", 1, 4, "x-4"),
        ({"AWS_BATCH_JOB_ID": "x", "AWS_BATCH_JOB_ATTEMPT": "²"}, "x", 1, None, "x"),
        ({"AWS_BATCH_JOB_ID": "../../etc/x"}, "_.._etc_x", 1, None, "_.._etc_x"),
    ],
)  # fmt: skip
def test_the_scheduler_names_the_job(
    environ: dict[str, str], id: str, attempt: int, index: int | None, name: str
) -> None:
    identity = read(**INPUT, **environ).identity
    assert (identity.id, identity.attempt, identity.array_index, identity.name) == (id, attempt, index, name)


def test_batchs_queue_is_known() -> None:
    assert read(**INPUT, AWS_BATCH_JQ_NAME="spot").identity.queue == "spot"


def test_a_job_of_no_scheduler_gets_a_name_of_its_own() -> None:
    first, second = read(**INPUT).identity, read(**INPUT).identity
    assert first.id.startswith("local-")
    assert first.id != second.id


@pytest.mark.parametrize(
    "name", ["AWS_BATCH_JOB_ARRAY_INDEX", "JOB_ARRAY_INDEX", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"]
)
@pytest.mark.parametrize("value", ["three", "-1", "1" * 5000])
def test_an_index_that_is_no_number_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadUsage, match=f"{name} is '{value}'"):
        read(**INPUT, **{name: value})


def test_the_status_document_lies_beside_the_results_under_the_jobs_name() -> None:
    spec = read(JOB_INPUT="a", JOB_OUTPUT="s3://b/out", AWS_BATCH_JOB_ID="j:2", AWS_BATCH_JOB_ARRAY_INDEX="2")
    assert spec.status_uri == "s3://b/out/_status/j-2.json"


@pytest.mark.parametrize(
    ("status", "index", "uri"),
    [
        ("s3://b/status.json", None, "s3://b/status.json"),
        ("s3://b/status.json", "3", "s3://b/status-3.json"),
        ("s3://b.c/status", "3", "s3://b.c/status-3"),
        ("s3://b/status-3.json", "3", "s3://b/status-3.json"),
        ("s3://b/3.json", "3", "s3://b/3.json"),
        ("s3://b/status_003.json", "3", "s3://b/status_003.json"),
        ("s3://b/status-13.json", "3", "s3://b/status-13-3.json"),
        ("s3://b/3/status.json", "3", "s3://b/3/status-3.json"),
        ("s3://b/statuses/", "3", "s3://b/statuses/j-3.json"),
        ("s3://b/statuses/", None, "s3://b/statuses/j.json"),
    ],
)
def test_the_children_of_an_array_share_no_status_document(status: str, index: str | None, uri: str) -> None:
    more = {} if index is None else {"JOB_ARRAY_INDEX": index}
    assert read(**INPUT, JOB_STATUS=status, AWS_BATCH_JOB_ID="j", **more).status_uri == uri


# slices


MANIFEST = {"JOB_MANIFEST": "s3://recordings/list", "JOB_OUTPUT": "s3://recordings/out/"}


def slurm(id: int, low: int, high: int, count: int, step: int | None = None) -> dict[str, str]:
    facts = {"ID": id, "MIN": low, "MAX": high, "COUNT": count, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in facts.items() if value is not None}


@pytest.mark.parametrize(
    ("environ", "index", "count"),
    [
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "3"}, 0, 3),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "2", "JOB_ARRAY_SIZE": "3"}, 2, 3),
        ({"JOB_ARRAY_INDEX": "2", "JOB_ARRAY_SIZE": "3"}, 2, 3),
        ({"JOB_COMPLETION_INDEX": "1", "JOB_ARRAY_SIZE": "2"}, 1, 2),
        ({"JOB_ARRAY_INDEX": "1", "JOB_ARRAY_SIZE": "2"} | slurm(9, 1, 9, 3), 1, 2),
        (slurm(0, 0, 3, 4, 1), 0, 4),
        (slurm(5, 5, 7, 3), 0, 3),
        (slurm(20, 0, 30, 4, 10), 2, 4),
        (slurm(7, 1, 7, 4, 2), 3, 4),
        (slurm(4, 4, 4, 1, 1), 0, 1),
    ],
)
def test_a_scheduler_says_which_slice_is_this_childs(environ: dict[str, str], index: int, count: int) -> None:
    assert read(**MANIFEST, **environ).slice == Slice(index=index, count=count)


def test_without_an_array_there_is_no_slice() -> None:
    assert read(**MANIFEST).slice is None


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "1"}, "AWS_BATCH_JOB_ARRAY_INDEX is 1"),
        ({"JOB_COMPLETION_INDEX": "1"}, "JOB_ARRAY_SIZE is not set"),
        ({"JOB_ARRAY_INDEX": "3", "JOB_ARRAY_SIZE": "3"}, "JOB_ARRAY_INDEX is 3, but JOB_ARRAY_SIZE is 3"),
        ({"JOB_ARRAY_INDEX": "0", "JOB_ARRAY_SIZE": "0"}, "JOB_ARRAY_SIZE is '0'"),
        ({"JOB_ARRAY_INDEX": "0", "JOB_ARRAY_SIZE": "many"}, "JOB_ARRAY_SIZE is 'many'"),
        ({"JOB_ARRAY_SIZE": "3"}, "JOB_ARRAY_SIZE is set without an index"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "does not say which child of how many"),
        (slurm(5, 1, 9, 3, 1), "not evenly spaced"),  # --array=1,5,9
        (slurm(3, 1, 3, 2, 1), "not evenly spaced"),  # --array=1,3
        (slurm(0, 1, 3, 3, 1), "not evenly spaced"),
        (slurm(5, 0, 30, 4, 10), "not evenly spaced"),
    ],
)
@pytest.mark.parametrize("source", [MANIFEST, INPUT | {"JOB_INPUT": "s3://recordings/in/"}])
def test_an_array_that_does_not_say_the_slice_is_refused(
    environ: dict[str, str], told: str, source: dict[str, str]
) -> None:
    with pytest.raises(BadUsage, match=re.escape(told)):
        read(**source, **environ)


@pytest.mark.parametrize("uri", ["s3://recordings/a.wav", "https://example.org/a.wav?path=x/"])
def test_one_input_is_each_childs_own_and_needs_no_size(uri: str) -> None:
    spec = read(**INPUT | {"JOB_INPUT": uri}, AWS_BATCH_JOB_ARRAY_INDEX="7")
    assert (spec.slice, spec.identity.array_index) == (None, 7)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 10**7), st.integers(1, 10_000))
@example(0, 1)
@example(3, 10)
def test_slices_are_contiguous_disjoint_complete_and_even(total: int, count: int) -> None:
    slices = [Slice(index=index, count=count).of(total) for index in range(count)]
    assert (slices[0].start, slices[-1].stop) == (0, total)
    assert all(one.stop == other.start for one, other in pairwise(slices))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_the_image_is_what_its_build_recorded() -> None:
    image = read(**INPUT, SUPERVISOR_IMAGE="r/m@sha256:1", SUPERVISOR_BASE="b@sha256:2", SUPERVISOR_VARIANT="cpu").image
    assert (image.name, image.base, image.module, image.variant) == ("r/m@sha256:1", "b@sha256:2", None, "cpu")


# anything


NAMES = [v.name for v in VARIABLES] + [
    "AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JOB_ARRAY_INDEX", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT", "JOB_COMPLETION_INDEX", "JOB_ARRAY_INDEX", "JOB_ARRAY_SIZE",
    "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP",
    "SUPERVISOR_IMAGE", "JOB_INPTU",
]  # fmt: skip
# What os.environ can hold: any bytes but zero, the undecodable ones as lone surrogates.
VALUES = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")) | (
    st.sampled_from(
        ["auto", "0", "1e400", "²", "٣", "9" * 4400, "{}", '{"a": 1}', "s3://b/", "whsec_AAAA", "https://["]
    )
)


@settings(max_examples=600, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.dictionaries(st.sampled_from(NAMES[:14]), VALUES))
@example({"AWS_BATCH_JOB_ID": "x:y", "JOB_ARRAY_INDEX": "z"}, {})
def test_any_environment_is_a_job_or_bad_usage(environ: dict[str, str], flags: dict[str, str]) -> None:
    by_dest: dict[str, Any] = {name.removeprefix("JOB_").lower(): value for name, value in flags.items()}
    try:
        spec = job.read(environ, by_dest)
        spec.require_complete()
    except BadUsage:
        spec = job.salvage(environ, by_dest)
    assert "/" not in spec.identity.name
    assert spec.status_uri is None or spec.status_uri


# what the image says of its module


def test_what_an_image_says_of_its_module_is_read() -> None:
    image = read(
        SUPERVISOR_COPIES="many", SUPERVISOR_NETWORK="at start", SUPERVISOR_RESULTS="application/json, Text/Plain,"
    ).image
    assert (image.copies, image.network, image.results) == ("many", "at start", ("application/json", "text/plain"))
    nothing = read(SUPERVISOR_COPIES="", SUPERVISOR_NETWORK="", SUPERVISOR_RESULTS="").image
    assert (nothing.copies, nothing.network, nothing.results) == (None, None, ())


@pytest.mark.parametrize("workers", ["2", "64"])
@pytest.mark.parametrize(("copies", "says"), [("", "is not set"), ("1", "says '1'"), ("Many", "says 'Many'")])
def test_several_copies_need_the_modules_word(workers: str, copies: str, says: str) -> None:
    spec = read(**INPUT, JOB_WORKERS=workers, SUPERVISOR_COPIES=copies)
    with pytest.raises(BadUsage, match=f"JOB_WORKERS is {workers}, but .* SUPERVISOR_COPIES {says}") as refused:
        spec.require_complete()
    assert "`copies: many`" in refused.value.hint


@pytest.mark.parametrize(
    ("workers", "copies"), [("1", ""), ("auto", ""), ("auto", "1"), ("2", "many"), ("auto", "many")]
)
def test_other_numbers_need_none(workers: str, copies: str) -> None:
    read(**INPUT, JOB_WORKERS=workers, SUPERVISOR_COPIES=copies).require_complete()
