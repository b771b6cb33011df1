"""The supervisor's command with the waits of its S3 clients cut short: python -m tests.faults.impatient STALL run …

The number of tries stays as it is; the pauses between them, and how long a silent server is waited for (STALL, in
seconds), are what a test has no time for.
"""

import sys

from botocore.retries import standard
from botocore.utils import ContainerMetadataFetcher

from supervisor import cli
from supervisor.storage.s3 import boto3_client, credentials, obstore_client, place

_PAUSE = 0.01  # seconds


def main() -> None:
    stall = float(sys.argv.pop(1))
    for module in (place, obstore_client):
        vars(module)["READ_SECONDS"] = stall
    vars(boto3_client)["_PAUSE"] = _PAUSE
    vars(credentials).update(PATIENCE=2.0, _PAUSE=0.2, _BELIEVED=0.5)
    ContainerMetadataFetcher.SLEEP_TIME = 0
    standard.ExponentialBackoff.delay_amount = lambda self, context: _PAUSE  # type: ignore[method-assign]
    cli.program()


if __name__ == "__main__":
    main()
