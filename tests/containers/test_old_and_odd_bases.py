"""Jobs on images of every age and shape: the same answer, the same status and the same exit codes on all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import S3Server
from tests.containers.jobs import ID, RECORDING, Jobs
from tests.containers.tracked import Containers

pytestmark = pytest.mark.containers
Derived = Callable[..., str]

# image: (Python, DEEPaaS, its interpreter)
BASES = {
    "python36": ("3.6.15", "1.3.0", "/opt/python3.6/bin/python3.6"),
    "python311": ("3.11", "2.6.0", "/usr/bin/python3"),
    "conda": ("3.11", "2.6.0", "/srv/conda/envs/model/bin/python3"),
    "odd": ("3.11", "2.6.0", "/usr/bin/python3"),
}
USERS = {"root": "0:0", "another user": "12345:12345"}
LOCKED_DOWN: dict[str, Any] = {
    "network_mode": "none",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
ANSWER = {
    "name": "recording.wav",
    "size": len(RECORDING),
    "sha256": hashlib.sha256(RECORDING).hexdigest(),
    "arguments": {"label": "speech", "top": 3, "threshold": 0.5, "detailed": False},
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("runner", ["cli", "worker"])
@pytest.mark.parametrize("image", BASES)
def test_the_answer_is_the_same_by_both_runners_as_any_user_on_a_read_only_root(
    image: str, runner: str, user: str, jobs: Jobs, derived: Derived
) -> None:
    finished = jobs.run(derived(image), environment={"JOB_RUNNER": runner}, user=USERS[user], **LOCKED_DOWN)

    assert finished.code == 0, finished.stderr
    assert jobs.answer == ANSWER


@pytest.mark.parametrize("image", BASES)
def test_the_status_says_what_the_image_holds(image: str, jobs: Jobs, derived: Derived) -> None:
    jobs.run(derived(image), environment={"JOB_RUNNER": "cli"})

    status, (python, deepaas, _) = jobs.status, BASES[image]
    assert (status["state"], status["exit_code"], status["job"]["id"]) == ("SUCCEEDED", 0, ID)
    assert status["versions"]["deepaas"] == deepaas
    assert status["versions"]["python"].startswith(python)
    assert (status["module"]["name"], status["image"]["variant"], status["runner"]["name"]) == (
        "plain",
        "cpu",
        "deepaas-cli",
    )


@pytest.mark.parametrize("image", BASES)
def test_check_finds_the_images_own_deepaas(image: str, containers: Containers, derived: Derived) -> None:
    checks = containers.run(derived(image), "check", "--json", **LOCKED_DOWN).json()["checks"]

    python, deepaas, interpreter = BASES[image]
    assert (checks["module"]["deepaas"], checks["module"]["interpreter"]) == (deepaas, interpreter)
    assert checks["module"]["python"].startswith(python)
    assert checks["device"]["found"] == "CPU: JOB_DEVICE is cpu"


def test_a_job_may_be_told_by_flags(jobs: Jobs, derived: Derived) -> None:
    flags = ("--predict-args", '{"top": 5}', "--output", "/job/out/by-flags")
    finished = jobs.run(derived("python311"), "run", *flags)

    assert finished.code == 0, finished.stderr
    assert (jobs.folder / "out/by-flags/recording.wav.json").is_file()


# an image without any Python


@pytest.mark.parametrize("options", [{}, {**LOCKED_DOWN, "user": "12345:12345"}], ids=["root", "locked down"])
def test_an_image_without_deepaas_is_unfit_in_one_line(options: dict[str, Any], jobs: Jobs, derived: Derived) -> None:
    finished = jobs.run(derived("scratch"), **options)

    assert finished.code == 78
    assert finished.stderr.startswith("supervisor: no DEEPaaS in this image: ")
    assert finished.stderr.count("\n") == 1
    assert (jobs.status["state"], jobs.status["error"]["category"]) == ("FAILED", "image-unfit")


def test_check_on_an_image_without_deepaas_says_what_to_do(containers: Containers, derived: Derived) -> None:
    finished = containers.run(derived("scratch"), "check")

    assert finished.code == 78
    assert "FAIL module" in finished.stdout
    assert "to do: build on a DEEP Open Catalog image" in finished.stdout


# an image whose own settings would get in the way


def test_the_images_user_is_who_writes_the_result(jobs: Jobs, derived: Derived) -> None:
    jobs.run(derived("odd"))

    owner = (jobs.folder / "out/recording.wav.json").stat()
    assert (owner.st_uid, owner.st_gid) == (4321, 4321)


def test_the_model_works_in_the_images_own_folder(jobs: Jobs, derived: Derived) -> None:
    running = jobs.start(derived("odd"), module="slow")
    running.wait_for("model")

    assert "/srv/app" in running.shell("readlink /proc/[0-9]*/cwd", user="4321:4321").splitlines()


def test_no_health_check_of_the_images_runs(jobs: Jobs, derived: Derived) -> None:
    running = jobs.start(derived("odd"), module="slow")
    running.wait_for("model")

    running.container.reload()
    assert "Health" not in running.container.attrs["State"]


# what goes wrong


@dataclass(frozen=True, kw_only=True)
class Mistake:
    code: int
    says: str
    module: str = "plain"
    variable: tuple[str, str] = ("JOB_RUNNER", "auto")


MISTAKES = {
    "an unknown variable": Mistake(code=64, variable=("JOB_INPTU", "x.wav"), says="did you mean JOB_INPUT?"),
    "an argument that the module has not": Mistake(
        code=64, variable=("JOB_PREDICT_ARGS", '{"treshold": 0.6}'), says="threshold"
    ),
    "a module that raises": Mistake(code=65, module="raises", says="the recording is silent: 0 of 16000 samples"),
    "an input that is not there": Mistake(code=66, variable=("JOB_INPUT", "/job/in/none.wav"), says="/job/in/none.wav"),
    "an output that cannot be written": Mistake(
        code=73, variable=("JOB_OUTPUT", "/proc/results"), says="/proc/results"
    ),
    "a module that needs what the image lacks": Mistake(code=78, module="broken_import", says="No module named"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_it_fails_with_its_own_code_and_one_line_that_names_the_cause(name: str, jobs: Jobs, derived: Derived) -> None:
    mistake = MISTAKES[name]
    finished = jobs.run(derived("python36"), module=mistake.module, environment=dict([mistake.variable]))

    assert finished.code == mistake.code, finished.stderr
    assert mistake.says in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert jobs.results == []


def test_a_failed_job_is_told_in_its_status(jobs: Jobs, derived: Derived) -> None:
    jobs.run(derived("python36"), module="raises")

    status = jobs.status
    assert (status["state"], status["exit_code"], status["error"]["category"]) == ("FAILED", 65, "item-failed")
    assert "ValueError: the recording is silent: 0 of 16000 samples" in status["error"]["log"]


@pytest.mark.parametrize("image", ["python311", "scratch"])
def test_without_any_folder_for_temporary_files_it_says_what_to_mount(image: str, jobs: Jobs, derived: Derived) -> None:
    finished = jobs.run(derived(image), read_only=True)

    assert finished.code == 74
    assert "give the container a writable /tmp (--tmpfs /tmp)" in finished.stderr
    assert finished.stderr.count("\n") == 1


# objects in S3


@pytest.mark.parametrize("image", ["python36", "python311"])
def test_an_object_becomes_its_answer_with_its_provenance(
    image: str, jobs: Jobs, derived: Derived, s3: S3Server
) -> None:
    job = {"JOB_INPUT": s3.put("incoming/a b+c.wav", RECORDING), "JOB_OUTPUT": f"s3://{s3.bucket}/results/"}
    finished = jobs.run(derived(image), environment={**s3.variables, **job}, **{**LOCKED_DOWN, "network_mode": "host"})

    assert finished.code == 0, finished.stderr
    assert s3.json("results/a b+c.wav.json") == {**ANSWER, "name": "a b+c.wav"}
    assert s3.json(f"results/_status/{ID}.json")["state"] == "SUCCEEDED"
    provenance = s3.client.head_object(Bucket=s3.bucket, Key="results/a b+c.wav.json")["Metadata"]
    assert provenance["deepaas"] == BASES[image][1]


def test_an_object_that_is_not_there_has_a_code_of_its_own(jobs: Jobs, derived: Derived, s3: S3Server) -> None:
    job = {"JOB_INPUT": f"s3://{s3.bucket}/none.wav", "JOB_OUTPUT": f"s3://{s3.bucket}/results/"}
    finished = jobs.run(derived("python311"), environment={**s3.variables, **job}, network_mode="host")

    assert finished.code == 66
    assert f"s3://{s3.bucket}/none.wav" in finished.stderr
    assert s3.keys() == [f"results/_status/{ID}.json"]
