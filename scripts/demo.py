"""`make demo`: the main job, on a bundled recording, with nothing but this checkout.

Starts an S3 server on a free loopback port, puts the recording there, sets the job's environment as AWS Batch
would, and runs the supervisor as the container does: real DEEPaaS, a real model. Then shows what came out.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from moto.server import ThreadedMotoServer

from scripts import environments

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODULE = Path(__file__).resolve().parents[1] / "images" / "voice-activity"
RECORDING = MODULE / "recording.wav"
DEEPAAS = "2.6.0"
BUCKET = "demo"
# The S3 server takes any; they are made up so that the supervisor can keep them from the model.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_DEFAULT_REGION": "us-east-1"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=RECORDING, help="another recording (WAV, FLAC, OGG, MP3)")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability from which sound is speech")
    options = parser.parse_args(argv)
    if not options.file.is_file():
        print(f"demo: {options.file}: no such file", file=sys.stderr)
        return 66
    try:
        image = environments.ensure(DEEPAAS, extra=(str(MODULE),))
    except environments.EnvironmentFailed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        return _show(image, f"http://{host}:{port}", options.file, options.threshold)
    except KeyboardInterrupt:
        return 130
    finally:
        server.stop()


def _show(image: Path, endpoint: str, recording: Path, threshold: float) -> int:
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    s3.create_bucket(Bucket=BUCKET)
    key = f"incoming/{recording.name}"
    s3.upload_file(str(recording), BUCKET, key)
    job = {
        "JOB_INPUT": f"s3://{BUCKET}/{key}",
        "JOB_OUTPUT": f"s3://{BUCKET}/results/",
        "JOB_PREDICT_ARGS": json.dumps({"threshold": threshold}),
        "AWS_BATCH_JOB_ID": "demo-job",
        "AWS_BATCH_JOB_ATTEMPT": "1",
    }
    _title("The job's environment, as AWS Batch sets it")
    for name, value in job.items():
        print(f"{name}={value}")
    _title("supervisor run")
    with tempfile.TemporaryDirectory(prefix="demo-") as home:
        ended = subprocess.run(
            [sys.executable, "-m", "supervisor", "run"],
            env={
                **job,
                **CREDENTIALS,
                "AWS_ENDPOINT_URL": endpoint,
                "PATH": f"{image}/bin:{os.defpath}",
                "HOME": home,
                "LANG": "C.UTF-8",
            },
            check=False,
        )
    status = _stored(s3, "results/_status/demo-job.json")
    if ended.returncode == 0:
        result = f"results/{recording.name}.json"
        answer = _stored(s3, result)
        _title(f"The result, s3://{BUCKET}/{result}")
        print(json.dumps(answer, indent=2))
    _title(f"The status document, s3://{BUCKET}/results/_status/demo-job.json")
    print(json.dumps(status, indent=2))
    if ended.returncode == 0:
        _title("Where speech was found")
        print(picture(answer["segments"], answer["duration"], shutil.get_terminal_size().columns))
    print(f"\nexit code {ended.returncode}")
    return ended.returncode


def _stored(s3: "S3Client", key: str) -> Any:
    return json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def _title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def picture(segments: Sequence[dict[str, float]], duration: float, columns: int) -> str:
    """Speech along a line of time. segments: start and end in seconds; duration: seconds."""
    width = max(20, min(columns, 100) - 2)
    line = ["\N{MIDDLE DOT}"] * width
    for segment in segments:
        first = int(segment["start"] / duration * width)
        last = max(first + 1, round(segment["end"] / duration * width))
        line[first:last] = "\N{FULL BLOCK}" * (min(last, width) - first)
    end = f"{duration:.1f} s"
    return f" {''.join(line)}\n 0{end:>{width - 1}}"


if __name__ == "__main__":
    sys.exit(main())
