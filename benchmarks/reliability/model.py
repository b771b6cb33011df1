"""The model as a bad guest: it crashes, floods, hangs, leaves things behind, and looks for credentials."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.reliability.row import Row
from benchmarks.reliability.scene import Scene
from scripts import environments
from tests.conftest import NEWEST, REPOSITORY, Ended, Supervisor, image
from tests.faults.traces import count_and_end_survivors, secrets_in
from tests.integration.cases import CASES, CONTENT, SECRETS
from tests.modules.install import lay_out

# Of tests/modules: those that misbehave. What must come of each is in tests/integration/cases.py.
_MODULES = (
    "segfault", "os_exit0", "os_exit7", "raises", "raises_system_exit0", "exits_on_import", "broken_import",
    "warm_raises", "floods_stdout", "floods_stderr", "prints_bad_bytes", "prints_like_us", "lone_surrogate",
    "nan_values", "not_jsonable", "answers_none", "says_error", "per_file_error", "big_json", "closes_stdio",
    "closes_fds", "forks_daemon", "leaves_children", "leaves_threads", "sets_signal_handlers", "changes_directory",
    "mutates_arguments", "removes_upload", "renames_upload", "writes_to_upload",
)  # fmt: skip
# What Docker and containerd leave to a container's root.
_DEFAULT_CAPABILITIES = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,"
    "+mknod,+audit_write,+setfcap"
)


def misbehaving_models(scene: Scene) -> Iterator[Row]:
    """Each of the test modules that misbehave, by either runner."""
    for case in (case for case in CASES if case.module in _MODULES):
        row = Row(fault=f"model: `{case.module}`")
        for runner in ("auto", "worker"):
            variables = {
                "JOB_RUNNER": runner,
                "JOB_PREDICT_ARGS": json.dumps(case.arguments),
                "JOB_INPUT_FIELD": case.input_field or "",
            }
            ended, results = _on_one_file(scene, row, case.module, {case.outcome.code}, file=case.file, **variables)
            row.cases += 1
            if not _as_promised(case.outcome.require, ended, results):
                # A failure told in other words is no lie; an answer that is not the module's own is.
                row.wrong += ended.code == 0
                row.other_endings += ended.code != 0
        yield row


def hanging_model(scene: Scene) -> Iterator[Row]:
    row = Row(fault="model: hangs (`slow`, JOB_PREDICT_TIMEOUT)")
    for runner in ("auto", "worker"):
        _, results = _on_one_file(scene, row, "slow", {124}, JOB_PREDICT_TIMEOUT="1", JOB_RUNNER=runner)
        row.cases += 1
        row.wrong += len(results)
    yield row


def curious_model(scene: Scene) -> Iterator[Row]:
    """The model reads its environment, and its ancestors' environment, memory and open files."""
    asked = ",".join(secret[::-1] for secret in SECRETS.values())  # reversed: the question is no find
    ways: dict[str, dict[str, str]] = {"as the supervisor's own user": {}}
    if os.geteuid() == 0 and _everybody_may_run(environments.ensure(NEWEST)):
        ways["with JOB_RUN_AS"] = {"JOB_RUN_AS": "65534:65534"}
    for how, variables in ways.items():
        row = Row(fault=f"model: looks for credentials, {how} (`dumps_environment`)")
        for runner in ("cli", "worker"):
            arguments = json.dumps({"backwards": asked})
            _, results = _on_one_file(
                scene, row, "dumps_environment", {0}, JOB_RUNNER=runner, JOB_PREDICT_ARGS=arguments, **variables
            )
            row.cases += 1
            row.wrong += not any(json.loads(result.read_bytes())["ancestors"] for result in results)
        yield row


def crashing_items(scene: Scene) -> Iterator[Row]:
    """Items that kill the model, once or always, among others: theirs alone is the failure."""
    home, bucket = scene.home(), scene.bucket
    place = f"crashes-{home.name}"
    texts = {
        f"{number:02}.txt": {3: f"crash-once {home}/crashed", 5: "crash", 9: "crash"}.get(number, f"item {number}")
        for number in range(16)
    }
    for name, text in texts.items():
        bucket.put(f"{place}/in/{name}", text.encode())
    row = Row(fault="model: some items of many kill it (`does_as_told`)", cases=3)
    lay_out(REPOSITORY / "tests" / "integration" / "does_as_told.py", home / "site")
    ended = image(home, ())(
        "run",
        JOB_INPUT=f"s3://{bucket.bucket}/{place}/in/",
        JOB_OUTPUT=f"s3://{bucket.bucket}/{place}/out/",
        JOB_WORKERS="2",
        SUPERVISOR_COPIES="many",
        **bucket.variables,
    )
    row.ended(ended, {65})
    told = {
        each["input"].rpartition("/")[2]: each for e in ended.events if e["event"] == "item" for each in [e["item"]]
    }
    for name, text in texts.items():
        done = name in told and told[name]["state"] == "done"
        row.spoilt += done == (text == "crash")
        row.wrong += done and bucket.json(f"{place}/out/{name}.json")["told"] != text
    row.processes += count_and_end_survivors(home)
    row.secrets += secrets_in(ended, [], [home / "tmp"], bucket.secrets)
    yield row


def _everybody_may_run(environment: Path) -> bool:
    """Whether the image's Python lies where another user may go; one from root's own home does not."""
    python = (environment / "bin" / "python").resolve()
    return all(folder.stat().st_mode & 0o001 for folder in python.parents)


def _on_one_file(
    scene: Scene, row: Row, module: str, promised: set[int], file: str = "recording.wav", **variables: str
) -> tuple[Ended, list[Path]]:
    """Runs a module on a local file, with secrets in the supervisor's environment; how it ended, and its results."""
    home = scene.home()
    home.chmod(0o755)
    source, out = home / file, home / "out"
    source.write_bytes(CONTENT)
    supervisor = _as_in_a_container(image(home, module))
    ended = supervisor("run", JOB_INPUT=str(source), JOB_OUTPUT=str(out), **SECRETS, **variables)
    row.ended(ended, promised)
    row.spoilt += source.read_bytes() != CONTENT
    row.processes += count_and_end_survivors(home)
    row.secrets += secrets_in(ended, [], [out, home / "tmp"], SECRETS.values())
    results = [path for path in out.glob("*") if path.is_file() and not path.name.startswith(".")]
    row.spoilt += len(results) if ended.code else 0
    return ended, results


def _as_in_a_container(supervisor: Supervisor) -> Supervisor:
    """Root here may look into any process (CAP_SYS_PTRACE, CAP_PERFMON); in a default container it may not."""
    if os.geteuid() != 0 or not (setpriv := shutil.which("setpriv")):
        return supervisor
    step_down = (setpriv, f"--bounding-set={_DEFAULT_CAPABILITIES}", f"--inh-caps={_DEFAULT_CAPABILITIES}")
    execute = ("-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])")
    return replace(supervisor, command=(*execute, *step_down, sys.executable, *supervisor.command))


def _as_promised(require: Callable[[Ended, Sequence[Path]], None], ended: Ended, results: Sequence[Path]) -> bool:
    try:
        require(ended, results)
    except (AssertionError, ValueError):
        return False
    return True
