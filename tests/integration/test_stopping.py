"""SIGTERM is heard wherever the job stands."""

import signal
import threading
from pathlib import Path

from tests.conftest import Supervisor
from tests.integration.gate import Gate, Refusal, Request


def test_a_stop_in_the_middle_of_a_request_to_s3_is_not_taken_for_a_broken_connection(
    plain: Supervisor, tmp_path: Path
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def hold(_: Request) -> Refusal:
        asked.set()
        ended.wait(30)
        return Refusal(status=404, code="NoSuchKey")

    with (
        Gate("127.0.0.1:1", hold) as gate,
        plain.start("run", JOB_INPUT="s3://recordings/a.wav", JOB_OUTPUT=str(tmp_path / "out"),
                    AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y", AWS_ENDPOINT_URL=gate.endpoint) as process,
    ):  # fmt: skip
        assert asked.wait(60)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
        ended.set()
    assert process.returncode == 143, stderr
    assert len(stderr.splitlines()) == 1
    assert len(gate.requests) == 1
