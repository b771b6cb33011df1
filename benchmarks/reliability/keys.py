"""Keys that no file should have."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from benchmarks.reliability.row import Row
from benchmarks.reliability.scene import Scene
from tests.conftest import BUCKET, CREDENTIALS, S3Server, image
from tests.faults.traces import count_and_end_survivors, secrets_in

_NO_PATHS = ("../../outside.wav", "..", "a/../../b.wav", "/absolute.wav", "a//empty.wav", "./here.wav")
_ODD_PATHS = (
    "new\nline.wav", "tab\t\x1b[31m.wav", "-rf", "--input", "space and+plus 100%.wav", "%2e%2e%2f.wav", "e\u0301.wav",
    "é.wav", "🎙/grabación.wav", "$(touch pwned).wav", "C:x.wav", "a/" * 400 + "deep.wav", "x" * 200 + ".wav",
    "nothing.wav", "bomb.zip", "evil.tar",
)  # fmt: skip


def hostile_keys(scene: Scene) -> Iterator[Row]:
    """To a bucket and to a folder. SeaweedFS keeps its keys in a tree; moto takes those that have no place in one."""
    row = Row(fault="input: hostile keys (`..`, `//`, newlines, emoji, options, empty objects, archives)")
    with _moto() as dictionary:
        for bucket, keys in ((scene.bucket, _ODD_PATHS), (dictionary, _NO_PATHS)):
            for to_folder in (False, True):
                _on_hostile_keys(scene, row, bucket, keys, to_folder)
    yield row


def _on_hostile_keys(scene: Scene, row: Row, bucket: S3Server, keys: Sequence[str], to_folder: bool) -> None:
    home = scene.home()
    place = f"s3://{bucket.bucket}/keys-{home.name}"
    inputs = {bucket.put(f"keys-{home.name}/in/{key}", _content(key)): _content(key) for key in keys}
    supervisor = image(home, "plain")
    before = _files(home)
    ended = supervisor(
        "run",
        JOB_INPUT=f"{place}/in/",
        JOB_OUTPUT=str(home / "out") if to_folder else f"{place}/out/",
        JOB_STATUS=str(home / "status" / "status.json"),
        **bucket.variables,
    )
    row.cases += len(keys)
    row.ended(ended, {0})
    told = [event["item"] for event in ended.events if event["event"] == "item"]
    results = {each["input"]: each["result"] for each in told if each["state"] == "done"}
    for uri, body in inputs.items():
        row.spoilt += uri not in results
        row.wrong += uri in results and not _is_right(_read(bucket, results[uri]), body)
    row.spoilt += len([p for p in _files(home) - before if p.relative_to(home).parts[0] not in ("out", "status")])
    row.processes += count_and_end_survivors(home)
    row.secrets += secrets_in(ended, [], [home], [bucket.variables["AWS_SECRET_ACCESS_KEY"]])


def _content(key: str) -> bytes:
    return b"" if key == "nothing.wav" else key.encode()


def _is_right(result: bytes, content: bytes) -> bool:
    return bool(json.loads(result)["sha256"] == hashlib.sha256(content).hexdigest())


def _read(bucket: S3Server, result: str) -> bytes:
    prefix = f"s3://{bucket.bucket}/"
    return bucket.get(result.removeprefix(prefix)) if result.startswith(prefix) else Path(result).read_bytes()


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@contextmanager
def _moto() -> Iterator[S3Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield S3Server(endpoint=endpoint, client=client)
    finally:
        server.stop()
