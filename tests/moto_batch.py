"""What moto's Batch leaves out and jobs that are followed need, added to the moto of this process."""

from __future__ import annotations

from typing import Any

import pytest
from moto.batch import models


def tell_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """DescribeJobs says what a container exited with, as Batch does; moto says it in ListJobs alone."""
    describe = models.Job.describe

    def with_exit_code(job: models.Job) -> dict[str, Any]:
        described = describe(job)
        if job.exit_code is not None and "container" in described:
            described["container"]["exitCode"] = job.exit_code
        return described

    monkeypatch.setattr(models.Job, "describe", with_exit_code)
