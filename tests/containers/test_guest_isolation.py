"""The model is a guest: what a module finds that looks everywhere it can, as root in a container with no options."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.containers.jobs import Jobs

pytestmark = pytest.mark.containers
Derived = Callable[..., str]

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDLOOKEDFOR",
    "AWS_SECRET_ACCESS_KEY": "a-key-that-is-looked-for",
    "AWS_SESSION_TOKEN": "a-token-that-is-looked-for",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/looked-for",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "an-authorization-that-is-looked-for",
    "JOB_STATUS_SECRET": "whsec_bG9va2VkLWZvcg==",
}
IMAGES = ["python36", "python311"]


def looked_around(jobs: Jobs, image: str, runner: str = "worker", run_as: str = "", **options: Any) -> dict[str, Any]:
    """The answer of the module that looks. It is told what to look for in reverse, lest it find the question."""
    arguments = json.dumps({"backwards": ",".join(secret[::-1] for secret in SECRETS.values())})
    job = {**SECRETS, "JOB_PREDICT_ARGS": arguments, "JOB_RUNNER": runner, "JOB_RUN_AS": run_as}
    job |= {"AWS_REGION": "eu-west-1"}
    finished = jobs.run(image, module="dumps_environment", environment=job, **options)
    assert finished.code == 0, finished.stderr
    answer: dict[str, Any] = jobs.answer
    return answer


@pytest.mark.parametrize("runner", ["cli", "worker"])
@pytest.mark.parametrize("image", IMAGES)
def test_the_model_finds_no_secret_anywhere(image: str, runner: str, jobs: Jobs, derived: Derived) -> None:
    found = json.dumps(looked_around(jobs, derived(image), runner))

    assert [name for name, secret in SECRETS.items() if secret in found] == []


@pytest.mark.parametrize("user", ["0:0", "12345:12345"])
def test_the_supervisor_is_the_only_ancestor_and_is_closed(user: str, jobs: Jobs, derived: Derived) -> None:
    [supervisor] = looked_around(jobs, derived("python311"), user=user)["ancestors"]

    refused = "refused: Permission denied"
    assert (supervisor["pid"], supervisor["environ"], supervisor["memory"]) == (1, refused, refused)
    # Root may see which numbers are open, and no more than that.
    open_files = supervisor["open_files"]
    assert {refused} == (set(open_files.values()) if isinstance(open_files, dict) else {open_files})


def test_the_model_holds_no_file_of_the_supervisors(jobs: Jobs, derived: Derived) -> None:
    held = looked_around(jobs, derived("python311"))["open_files"].values()

    # stdin; its log as stdout and stderr; requests and replies.
    assert sorted(target.partition(":")[0] for target in held if not target.startswith("refused: No such file")) == [
        "/dev/null",
        "pipe",
        "pipe",
        "pipe",
        "pipe",
    ]


def test_the_model_keeps_what_is_no_secret(jobs: Jobs, derived: Derived) -> None:
    environment = looked_around(jobs, derived("python36"))["environment"]

    assert environment["AWS_REGION"] == "eu-west-1"
    assert environment["LD_LIBRARY_PATH"] == "/opt/python3.6/lib"
    # A random word, by which the guest's processes are known.
    assert [name for name in environment if name.startswith(("JOB_", "SUPERVISOR_"))] == ["SUPERVISOR_GUEST"]


@pytest.mark.parametrize("user", ["12345", "12345:54321", "nobody"])
def test_run_as_makes_the_model_another_user(user: str, jobs: Jobs, derived: Derived) -> None:
    found = looked_around(jobs, derived("python311"), run_as=user)
    uid, _, gid = "65534:65534".partition(":") if user == "nobody" else user.partition(":")

    assert found["user"] == [int(uid), int(gid or uid), []]
    [supervisor] = found["ancestors"]
    refused = "refused: Permission denied"
    assert (supervisor["environ"], supervisor["memory"]) == (refused, refused)
    assert supervisor["open_files"] == refused
    assert [name for name, secret in SECRETS.items() if secret in json.dumps(found)] == []
    assert jobs.status["counts"]["done"] == 1


def test_a_supervisor_that_is_not_root_cannot_make_the_model_another_user(jobs: Jobs, derived: Derived) -> None:
    finished = jobs.run(derived("python311"), user="12345:12345", environment={"JOB_RUN_AS": "1000"})

    assert finished.code == 64
    assert "JOB_RUN_AS is '1000', but the supervisor runs as user 12345" in finished.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_the_supervisors_command_line_and_maps_hold_no_secret(image: str, jobs: Jobs, derived: Derived) -> None:
    [supervisor] = looked_around(jobs, derived(image))["ancestors"]

    assert supervisor["maps"] == "refused: Permission denied"
    assert [name for name, secret in SECRETS.items() if secret in supervisor["cmdline"]] == []


def test_a_container_that_may_trace_processes_is_open_to_the_model(jobs: Jobs, derived: Derived) -> None:
    """What nothing can prevent; it also shows that the module does find what there is to find."""
    [supervisor] = looked_around(jobs, derived("python311"), cap_add=["SYS_PTRACE"])["ancestors"]

    assert SECRETS["AWS_SECRET_ACCESS_KEY"] in supervisor["environ"]
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] in supervisor["memory"]["found"]
