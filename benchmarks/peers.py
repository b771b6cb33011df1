"""What people use today, a process or more for each file: the bare deepaas-cli in a shell loop, and faas-supervisor."""

import base64
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks import process
from benchmarks.jobs import Bench, Image
from scripts.environments import DEFAULT_ROOT

# 1.5.8 asks for webdavclient3==3.14.6requests, which is no version and on no index: its requirements are given here.
_FAAS_SUPERVISOR = ("faas-supervisor==1.5.8",)
_ITS_REQUIREMENTS = ("boto3", "pyyaml", "requests", "setuptools<81", "webdavclient3==3.14.6")
_CLI_LOOP = """
answers=$1; shift
for file; do deepaas-cli --deepaas_method_output="$answers/${file##*/}.json" predict --files="$file"; done
exit 0
"""
_FAAS_SCRIPT = """
deepaas-cli --deepaas_method_output="$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.json" predict --files="$INPUT_FILE_PATH"
"""


def cli_loop(bench: Bench, image: Image, files: Sequence[Path]) -> float:
    """Items a second of deepaas-cli on local files. Raises RuntimeError where an answer is missing."""
    answers = bench.folder / f"cli-{time.monotonic_ns()}"
    answers.mkdir()
    ran = process.run(["sh", "-c", _CLI_LOOP, "sh", str(answers), *map(str, files)], bench.surroundings(image))
    _demand(len(list(answers.iterdir())), len(files), "deepaas-cli")
    return len(files) / ran.seconds


def faas_supervisor(bench: Bench, image: Image, source: str, names: Sequence[str]) -> float:
    """Items a second of faas-supervisor, from S3 to S3, driving deepaas-cli: one event, and so one process, a file.

    Raises RuntimeError where it cannot be installed or an answer is missing.
    """
    python = _installed() / "bin" / "python"
    target = f"faas-{time.monotonic_ns()}"
    environment = {
        **bench.surroundings(image),
        "FUNCTION_CONFIG": base64.b64encode(json.dumps(_configuration(bench, source, target)).encode()).decode(),
        "SCRIPT": base64.b64encode(_FAAS_SCRIPT.encode()).decode(),
    }
    began = time.perf_counter()
    for name in names:
        event = json.dumps(_event(bench.bucket, f"{source}/{name}"))
        process.run([str(python), "-m", "faassupervisor.supervisor"], environment, stdin=event)
    seconds = time.perf_counter() - began
    _demand(len(bench.results(target)), len(names), "faas-supervisor")
    return len(names) / seconds


def _configuration(bench: Bench, source: str, target: str) -> object:
    """YAML is asked for, of which JSON is a part."""
    credentials = bench.server.credentials
    minio = {
        "endpoint": bench.server.endpoint,
        "region": credentials["AWS_DEFAULT_REGION"],
        "access_key": credentials["AWS_ACCESS_KEY_ID"],
        "secret_key": credentials["AWS_SECRET_ACCESS_KEY"],
    }
    return {
        "input": [{"storage_provider": "minio.default", "path": f"{bench.bucket}/{source}"}],
        "output": [{"storage_provider": "minio.default", "path": f"{bench.bucket}/{target}"}],
        "storage_providers": {"minio": {"default": minio}},
    }


def _event(bucket: str, key: str) -> object:
    """The notification of one new object, as MinIO sends it."""
    s3 = {"bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"}, "object": {"key": key}}
    return {"Records": [{"eventSource": "minio:s3", "eventTime": "2026-01-01T00:00:00Z", "s3": s3}]}


def _installed() -> Path:
    folder = DEFAULT_ROOT / "faas-supervisor-1.5.8"
    if not (folder / "ready").exists():
        print(f"faas-supervisor 1.5.8: building in {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        environment = dict(os.environ)
        try:
            for requirements in (("--no-deps", *_FAAS_SUPERVISOR), _ITS_REQUIREMENTS):
                subprocess.run([*pip, *requirements], check=True, capture_output=True, env=environment)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"faas-supervisor cannot be installed: {error.stderr.decode()[-500:]}") from None
        (folder / "ready").touch()
    return folder


def _demand(there: int, wanted: int, program: str) -> None:
    if there != wanted:
        raise RuntimeError(f"{program}: {there} answers instead of {wanted}")
