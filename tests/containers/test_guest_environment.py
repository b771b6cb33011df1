"""What of an image's environment, and of its files of credentials, the model in it can see."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from scripts import cli
from tests.containers import images
from tests.containers.jobs import Jobs
from tests.containers.tracked import Containers
from tests.modules.install import install

pytestmark = pytest.mark.containers

REGISTRY = f"deepaas-batch-test/environment-{os.getpid()}"
DOCKERFILE = """
FROM {base}
ENV MODEL_TOKEN=of-the-image BROKER=amqp://guest:guest@mq/ GREETING="a b=c" AWS_SECRET_ACCESS_KEY=of-the-image
"""


@pytest.fixture
def made(runtime: Path, engine: DockerClient, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """`deepaas-batch images yolov8` from such a base: its exit code. Its images are removed after the test."""

    def make(base: str, *options: str) -> int:
        common = ("yolov8", "--variant", "cpu", "--registry", REGISTRY, "--record", str(tmp_path / "build.json"))
        return cli.main(["images", *common, "--base", base, "--no-pull", "--runtime", str(runtime), *options])

    yield make
    # By name: the same image may be another test's, too.
    for tag in [tag for image in engine.images.list(name=f"{REGISTRY}/*") for tag in image.tags]:
        if tag.startswith(f"{REGISTRY}/"):
            engine.images.remove(tag, force=True)


@pytest.fixture
def public(made: Callable[..., int], base: Callable[[str], str], engine: DockerClient, tmp_path: Path) -> str:
    """A derived image whose base sets what looks like secrets."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=base("python311")))
    images.build(engine, context, f"{REGISTRY}/base:public", {})
    assert made(f"{REGISTRY}/base:public") == 0
    return f"{REGISTRY}/yolov8:cpu"


def seen(jobs: Jobs, image: str, **environment: str) -> dict[str, str]:
    """The environment that the model has."""
    finished = jobs.run(image, module="dumps_environment", environment=environment)
    assert finished.code == 0, finished.stderr
    found: dict[str, str] = jobs.answer["environment"]
    return found


def test_what_the_image_itself_sets_is_public(public: str, jobs: Jobs) -> None:
    found = seen(jobs, public, HF_TOKEN="of-the-job", http_proxy="http://user:of-the-job@proxy:3128")

    assert (found["MODEL_TOKEN"], found["BROKER"], found["GREETING"]) == (
        "of-the-image",
        "amqp://guest:guest@mq/",
        "a b=c",
    )
    assert found["http_proxy"] == "http://proxy:3128"
    assert "AWS_SECRET_ACCESS_KEY" not in found
    assert "of-the-job" not in json.dumps(found)


def test_what_the_job_puts_in_its_place_is_not(public: str, jobs: Jobs) -> None:
    found = seen(jobs, public, MODEL_TOKEN="of-the-job", BROKER="amqp://user:of-the-job@mq/", HF_TOKEN="needed",
                 JOB_GUEST_ENV="HF_TOKEN")  # fmt: skip

    assert (found.get("MODEL_TOKEN"), found["BROKER"], found["HF_TOKEN"]) == (None, "amqp://mq/", "needed")


def test_no_value_is_in_what_the_build_records(public: str, engine: DockerClient) -> None:
    config = engine.images.get(public).attrs["Config"]
    [recorded] = [each for each in config["Env"] if each.startswith("SUPERVISOR_IMAGE_ENV=")]

    assert {"MODEL_TOKEN", "BROKER", "GREETING", "PATH"} <= {pair.partition("=")[0] for pair in recorded.split()}
    assert "of-the-image" not in recorded


@pytest.mark.parametrize(("run_as", "reached"), [("", True), ("12345:12345", False)])
def test_files_of_credentials_are_out_of_another_users_reach(
    run_as: str, reached: bool, derived: Callable[..., str], containers: Containers, tmp_path: Path
) -> None:
    secret = tmp_path / "credentials"
    secret.write_text("[default]\n")
    secret.chmod(0o600)
    mounted = {str(secret): {"bind": "/root/.aws/credentials", "mode": "ro"}}
    finished = containers.run(
        derived("python311"), "check", "--json", environment={"JOB_RUN_AS": run_as}, volumes=mounted
    )

    assert finished.json()["checks"]["secrets"]["files"] == (["/root/.aws/credentials"] if reached else [])


def test_the_supervisors_environment_is_no_input(derived: Callable[..., str], jobs: Jobs) -> None:
    finished = jobs.run(derived("python36"), environment={"JOB_INPUT": "/proc/self/environ"})

    assert finished.code == 64
    assert "input /proc/self/environ: lies in /proc, where there are no inputs" in finished.stderr
    assert jobs.results == []


def test_another_users_leftovers_are_removed_too(derived: Callable[..., str], jobs: Jobs) -> None:
    """As that user, whom root without CAP_DAC_OVERRIDE could not tidy up after."""
    many = jobs.folder / "many"
    many.mkdir()
    for number in range(12):
        (many / f"{number:02}.wav").write_bytes(b"RIFF")
    site = install("plain", jobs.folder / "modules")
    leaves = (Path(__file__).parents[1] / "integration" / "modules" / "leaves_temp.py").read_text()
    (site / "plain.py").write_text(leaves)
    environment = {"JOB_INPUT": "/job/many/", "JOB_RUN_AS": "12345", "PYTHONPATH": "/modules"}
    volumes = {str(site): {"bind": "/modules", "mode": "ro"}}
    finished = jobs.run(derived("python311"), environment=environment, volumes=volumes, cap_drop=["DAC_OVERRIDE"])

    assert finished.code == 0, finished.stderr
    found: list[Any] = [json.loads(path.read_text())["found"] for path in (jobs.folder / "out").glob("*.json")]
    assert len(found) == 12
    assert max(found) <= 300_000


def with_weights_missing(folder: Path) -> None:
    install("warm_raises", folder / "module")


def test_a_model_that_does_not_load_is_told_where_that_is_asked_for(
    made: Callable[..., int], engine: DockerClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = images.build_base(engine, images.Base(name="python311", context=with_weights_missing))
    assert made(base) == 0
    assert json.loads((tmp_path / "build.json").read_text())["images"][0]["check"]["loaded"] is False
    capsys.readouterr()

    assert made(base, "--check", "load") == 78
    assert "its check fails with 78: load: the module failed in warm: OSError: weights.h5" in capsys.readouterr().err


def test_a_model_that_loads_is_loaded_once(
    made: Callable[..., int], base: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (made(base("python311")), made(base("python311"), "--check", "load")) == (0, 0)
    first = json.loads((tmp_path / "build.json").read_text())
    assert first["images"][0]["check"]["loaded"] is True
    assert made(base("python311")) == 0
    assert json.loads((tmp_path / "build.json").read_text()) == first
