"""The supervisor's own memory is the same for a small object and for a large one."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from mypy_boto3_s3.type_defs import CompletedPartTypeDef

from tests.conftest import S3Server, Supervisor

MIB = 1024 * 1024
LARGE = 2048 * MIB
AT_MOST = 100_000_000
# Four requests and 16 MiB on their way to the disk: what a transfer in parts holds, however long it is.
NEARLY = 32 * MIB


def peak(process: "subprocess.Popen[str]") -> int:
    """The highest resident memory of this process alone (VmHWM), in bytes, while it runs.

    wait4 would tell the same of a process that has ended, but with its children's children mixed in.
    """
    highest = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                highest = int(line.split()[1]) * 1024
        time.sleep(0.05)
    return highest


def run(plain: Supervisor, seaweedfs: S3Server, key: str) -> int:
    """The peak of one job, which must succeed."""
    with plain.start(
        "run", JOB_INPUT=f"s3://{seaweedfs.bucket}/{key}", JOB_OUTPUT=f"s3://{seaweedfs.bucket}/out/",
        JOB_RUNNER="worker", **seaweedfs.variables,
    ) as process:  # fmt: skip
        highest = peak(process)
        _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return highest


@pytest.fixture
def large(seaweedfs: S3Server) -> str:
    """An object of 2 GiB, sent in parts from one block of zeros."""
    client, bucket, key, block = seaweedfs.client, seaweedfs.bucket, "large.wav", bytes(64 * MIB)
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts: list[CompletedPartTypeDef] = []
    for number in range(1, LARGE // len(block) + 1):
        sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=block)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    return key


@pytest.mark.slow
def test_peak_memory_is_at_most_100_mb_for_10_kb_and_for_2_gib(
    plain: Supervisor, seaweedfs: S3Server, large: str
) -> None:
    seaweedfs.put("small.wav", os.urandom(10_000))
    small_peak = run(plain, seaweedfs, "small.wav")
    large_peak = run(plain, seaweedfs, large)
    print(f"peak: {small_peak / MIB:.1f} MiB for 10 KB, {large_peak / MIB:.1f} MiB for 2 GiB")
    assert small_peak <= AT_MOST
    assert large_peak <= AT_MOST
    assert large_peak - small_peak <= NEARLY
