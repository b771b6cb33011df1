"""The command `deepaas-batch run`: a derived image on one test file, as a Batch job would run it."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from docker.types import DeviceRequest, Mount

from scripts.checkout import ROOT
from scripts.images import catalogue, derived, engine
from scripts.images.arguments import job_variables, predict_args
from scripts.images.derived import Name
from scripts.images.engine import connect, explanation, find_image
from supervisor.failures import SUCCESS, BadUsage, DeviceMissing, InputMissing, OutputUnwritable, Stopped

OUT = ROOT / "build" / "out"
_INPUT, _OUTPUT = "/job/input", "/job/output"
_GRACE_SECONDS = 30  # the supervisor's own grace for the model is 25


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one image on one file. file: where its bytes are; name: what it is called, as a link to them says."""

    image: Name
    file: Path
    name: str
    out: Path
    environment: Mapping[str, str]
    network: str = "none"
    user: str = field(default_factory=lambda: f"{os.getuid()}:{os.getgid()}")


def read(options: argparse.Namespace) -> Run:
    """The run that a person asked for. Raises Failure."""
    module = catalogue.find(options.model)
    variant = catalogue.variant(options.variant)
    file = Path(options.file)
    if not file.exists():
        raise InputMissing(f"there is no {file}", "check its path")
    if not file.is_file():
        raise InputMissing(f"{file} is not a file", "name one file")
    if not os.access(file, os.R_OK):
        raise InputMissing(f"{file} cannot be read by you", "check its permissions")
    return Run(
        image=Name(module=module.name, variant=variant, registry=options.registry, tag=options.tag),
        file=file.resolve(),
        # A module looks at the ending, and DVC, git-annex and Hugging Face keep the bytes under their hash.
        name=(Path.cwd() / file).name,
        out=_folder(options.out),
        environment=job_variables(module, predict_args(options.args)),
        network=options.network,
    )


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"{out} cannot be made: {error.strerror}", "name another folder") from None
    if not os.access(out, os.W_OK):
        raise OutputUnwritable(f"you cannot write to {out}", "name another folder")
    return out.resolve()


def run(client: DockerClient, what: Run) -> int:
    """Runs it to its end with its log on this terminal; returns the container's exit code. Raises Failure."""
    if find_image(client, str(what.image)) is None:
        name = what.image
        build = derived.build_command(name.module, name.variant, registry=name.registry, tag=name.tag)
        raise BadUsage(f"there is no image {name} here", f"build it: {build}")
    container = _create(client, what)
    try:
        return _follow(container)
    finally:
        with suppress(DockerException):
            container.remove(force=True, v=True)


def _create(client: DockerClient, what: Run) -> Container:
    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if what.image.variant == "gpu" else None
    # A file by itself, so that nothing beside it is seen; a terminal, so that the supervisor writes for people.
    given = f"{_INPUT}/{what.name}"
    # Whoever tries a file again wants to see it run, not that its result is up to date.
    job = {"JOB_INPUT": given, "JOB_OUTPUT": _OUTPUT, "JOB_OVERWRITE": "always", **what.environment}
    return client.containers.create(
        str(what.image),
        ["run"],
        environment={"HOME": "/tmp", **job},  # noqa: S108 - the container's, where this user has no home
        mounts=[
            Mount(given, str(what.file), type="bind", read_only=True),
            Mount(_OUTPUT, str(what.out), type="bind"),
        ],
        user=what.user,
        network_mode=what.network,
        tty=sys.stdout.isatty(),
        device_requests=gpus,
        security_opt=["no-new-privileges"],
    )


def _follow(container: Container) -> int:
    """Shows the log as it is written. The first Ctrl-C or SIGTERM asks the container to stop, and its last words still
    come."""
    log = container.attach(stream=True, logs=True, demux=True, stdout=True, stderr=True)
    try:
        container.start()
    except APIError as error:
        said = explanation(error)
        if "device driver" in said or "nvidia" in said.lower():
            raise DeviceMissing(
                f"the Docker engine gives no GPU: {said}",
                "install the NVIDIA driver and container toolkit, or take --variant cpu",
            ) from None
        raise BadUsage(f"the container does not start: {said}", "see the engine's words") from None
    shown = threading.Thread(target=_show, args=(log,), daemon=True)
    shown.start()
    try:
        code = int(container.wait()["StatusCode"])
    except (KeyboardInterrupt, Stopped):
        print("\nstopping ... (Ctrl-C: at once)", file=sys.stderr)
        container.stop(timeout=_GRACE_SECONDS)
        code = int(container.wait()["StatusCode"])
    shown.join(timeout=5)
    return code


def _show(log: Iterator[tuple[bytes | None, bytes | None]]) -> None:
    for written, complained in log:
        for stream, data in ((sys.stdout, written), (sys.stderr, complained)):
            if data:
                with suppress(OSError, ValueError):  # its reader may have gone; the container goes on, and so does this
                    stream.buffer.write(data)
                    stream.flush()


# The command.

DESCRIPTION = """\
Runs a derived image on one test file, as a Batch job would: as you (uid and gid), the file mounted read-only, result
and status in the folder --out, the log on this terminal, and the container's exit code."""
EPILOG = """\
Build the image first: `deepaas-batch images MODEL`. Ctrl-C stops the container.

examples:
  deepaas-batch run voice-activity images/voice-activity/recording.wav
  deepaas-batch run voice-activity x.wav --out results --args '{"threshold": 0.6}'
  deepaas-batch run fasterrcnn x.jpg --variant gpu --network bridge"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the module, by its own name or its image repository")
    parser.add_argument("file", help="the file to predict on")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FOLDER", help="for result and status (default: build/out)"
    )
    parser.add_argument(
        "--variant", default="cpu", metavar="cpu|gpu", help="gpu hands the container every GPU (--gpus all)"
    )
    parser.add_argument("--args", metavar="JSON", help="further arguments of the module, over the catalogue's defaults")
    derived.add_name_flags(parser)
    parser.add_argument(
        "--network",
        default="none",
        metavar="NAME",
        help="bridge, for a module that fetches its weights (default: none)",
    )


def main(options: argparse.Namespace) -> int:
    """The container's exit code. Raises Failure."""
    what = read(options)
    try:
        code = run(connect(), what)
    except (DockerException, OSError) as error:
        raise engine.failure(f"{what.image} was not run to its end", error) from None
    result, status = what.out / f"{what.name}.json", what.out / "_status"
    said = f"result in {result if result.exists() else what.out}" if code == SUCCESS else f"exit code {code}"
    print(f"{said}; status in {status}", file=sys.stderr)
    return code
