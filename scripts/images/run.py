"""Runs a derived image on one test file, as a Batch job would, as the calling user and without a network.

make run MODEL=voice-activity FILE=recording.wav
make run MODEL=voice-activity FILE=recording.wav OUT=results ARGS='{"threshold": 0.6}'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from docker.types import DeviceRequest, Mount

from scripts.images import catalogue, derived
from scripts.images.catalogue import VARIANTS, InvalidCatalogue, Module, UnknownModule
from scripts.images.derived import ROOT, BadName, Name
from scripts.images.engine import NoEngine, connect, find_image, in_words
from supervisor.failures import BadUsage, DeviceMissing, Failure, InputMissing, OutputUnwritable

OUT = ROOT / "build" / "out"
_INPUT, _OUTPUT = "/job/input", "/job/output"
_GRACE_SECONDS = 30  # the supervisor's own grace for the model is 25


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one image on one file."""

    image: Name
    file: Path
    out: Path
    environment: Mapping[str, str]
    network: str = "none"
    user: str = field(default_factory=lambda: f"{os.getuid()}:{os.getgid()}")


def job_variables(module: Module, arguments: Mapping[str, Any]) -> dict[str, str]:
    """What a job of this module is told beside its input and output; `arguments` win over the catalogue's defaults.

    The input's field is named where the supervisor would not find it by itself.
    """
    variables = {}
    if module.input.field != "files" or module.input.other_fields:
        variables["JOB_INPUT_FIELD"] = module.input.field
    if all_arguments := {**(module.default_args or {}), **arguments}:
        variables["JOB_PREDICT_ARGS"] = json.dumps(all_arguments)
    return variables


def predict_args(text: str | None) -> dict[str, Any]:
    """ARGS as an object. Raises BadUsage."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        raise BadUsage(f"ARGS is not JSON: {error}", "use an object: ARGS='{\"threshold\": 0.6}'") from None
    if not isinstance(arguments, dict):
        raise BadUsage(f"ARGS is {text}, not a JSON object", "use one: ARGS='{\"threshold\": 0.6}'")
    return arguments


def read(options: argparse.Namespace) -> Run:
    """The run that a person asked for. Raises Failure, UnknownModule, BadName, InvalidCatalogue."""
    module = catalogue.find(options.model)
    if options.variant not in VARIANTS:
        raise BadUsage(f"VARIANT is {options.variant!r}", "use cpu or gpu")
    file = Path(options.file)
    if not file.exists():
        raise InputMissing(f"FILE: there is no {file}", "check its path")
    if not file.is_file():
        raise InputMissing(f"FILE: {file} is not a file", "name one file")
    if not os.access(file, os.R_OK):
        raise InputMissing(f"FILE: {file} cannot be read by you", "check its permissions")
    return Run(
        image=Name(module=module.name, variant=options.variant, registry=options.registry, tag=options.tag),
        file=file.resolve(),
        out=_folder(options.out),
        environment=job_variables(module, predict_args(options.args)),
        network=options.network,
    )


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"OUT: {out} cannot be made: {error.strerror}", "name another folder") from None
    if not os.access(out, os.W_OK):
        raise OutputUnwritable(f"OUT: you cannot write to {out}", "name another folder")
    return out.resolve()


def run(engine: DockerClient, what: Run) -> int:
    """Runs it to its end with its log on this terminal; returns the container's exit code. Raises Failure."""
    if find_image(engine, str(what.image)) is None:
        raise BadUsage(f"there is no image {what.image} here", f"build it: {_make_images(what.image)}")
    container = _create(engine, what)
    try:
        return _follow(container)
    finally:
        with suppress(DockerException):
            container.remove(force=True, v=True)


def _create(engine: DockerClient, what: Run) -> Container:
    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if what.image.variant == "gpu" else None
    # A file by itself, so that nothing beside it is seen; a terminal, so that the supervisor writes for people.
    given = f"{_INPUT}/{what.file.name}"
    # Whoever tries a file again wants to see it run, not that its result is up to date.
    job = {"JOB_INPUT": given, "JOB_OUTPUT": _OUTPUT, "JOB_OVERWRITE": "always", **what.environment}
    return engine.containers.create(
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
    """Shows the log as it is written. The first Ctrl-C asks the container to stop, and its last words still come."""
    log = container.attach(stream=True, logs=True, demux=True, stdout=True, stderr=True)
    try:
        container.start()
    except APIError as error:
        said = in_words(error)
        if "device driver" in said or "nvidia" in said.lower():
            raise DeviceMissing(
                f"the Docker engine gives no GPU: {said}",
                "install the NVIDIA driver and container toolkit, or take VARIANT=cpu",
            ) from None
        raise BadUsage(f"the container does not start: {said}", "see the engine's words") from None
    shown = threading.Thread(target=_show, args=(log,), daemon=True)
    shown.start()
    try:
        code = int(container.wait()["StatusCode"])
    except KeyboardInterrupt:
        print("\nstopping ... (once more: at once)", file=sys.stderr)
        container.stop(timeout=_GRACE_SECONDS)
        code = int(container.wait()["StatusCode"])
    shown.join(timeout=5)
    return code


def _show(log: Iterator[tuple[bytes | None, bytes | None]]) -> None:
    for written, complained in log:
        for stream, data in ((sys.stdout, written), (sys.stderr, complained)):
            if data:
                stream.buffer.write(data)
                stream.flush()


def _make_images(image: Name) -> str:
    registry = f" REGISTRY={image.registry}" if image.registry != derived.REGISTRY else ""
    tag = f" TAG={image.tag}" if image.tag else ""
    return f"make images MODEL={image.module} VARIANT={image.variant}{registry}{tag}"


# The command line.


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the container's exit code, or the table's for what a person got wrong."""
    options = _parser().parse_args(argv)
    try:
        what = read(options)
        code = run(connect(), what)
    except Failure as failure:
        print(f"run: {failure.message}: {failure.hint}", file=sys.stderr)
        return failure.code
    except (UnknownModule, BadName, InvalidCatalogue) as error:
        print(f"run: {error}", file=sys.stderr)
        return BadUsage.code
    except (NoEngine, DockerException, OSError) as error:
        print(f"run: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    result = what.out / f"{what.file.name}.json"
    if code == 0:
        print(f"result in {result if result.exists() else what.out}, status in {what.out / '_status'}", file=sys.stderr)
    else:
        print(f"exit code {code}; status in {what.out / '_status'}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.images.run",
        description="Runs a derived image on one test file, as a Batch job would: as you (uid and gid), the file"
        " mounted read-only, result and status in OUT, the log on this terminal, and the container's exit code.",
        epilog="Build the image first: `make images MODEL=…`. Ctrl-C stops the container. Example:"
        " `make run MODEL=voice-activity FILE=images/voice-activity/recording.wav ARGS='{\"threshold\": 0.6}'`.",
    )
    parser.add_argument("model", help="the module, by its own name or its image repository")
    parser.add_argument("file", help="the file to predict on")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for result and status (default: build/out)")
    parser.add_argument(
        "--variant", default="cpu", metavar="cpu|gpu", help="gpu hands the container every GPU (--gpus all)"
    )
    parser.add_argument("--args", metavar="JSON", help="further arguments of the module, over the catalogue's defaults")
    parser.add_argument(
        "--registry", default=derived.REGISTRY, help="first part of the image's name (default: %(default)s)"
    )
    parser.add_argument("--tag", help="prefix of the image's tag")
    parser.add_argument(
        "--network",
        default="none",
        metavar="NAME",
        help="`bridge` for a module that fetches its weights (default: none)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
