"""Jobs in containers: one local file in a mounted folder, any test module, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.containers.tracked import Containers, Finished, TrackedContainer
from tests.modules.install import install

ID = "job-1"
RECORDING = b"RIFF" * 25


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The jobs of one test. `folder` on the host is /job inside: in/recording.wav, and out/ for results."""

    containers: Containers
    folder: Path

    def start(
        self, image: str, *command: str, module: str = "plain", environment: Mapping[str, str] | None = None,
        volumes: Mapping[str, Mapping[str, str]] | None = None, **options: Any,
    ) -> TrackedContainer:  # fmt: skip
        """A module other than the image's own comes in through PYTHONPATH. Options are docker-py's."""
        self._lay_out()
        job = {"JOB_INPUT": "/job/in/recording.wav", "JOB_OUTPUT": "/job/out/", "AWS_BATCH_JOB_ID": ID}
        mounted = {str(self.folder): {"bind": "/job", "mode": "rw"}}
        if module != "plain":
            job |= {"PYTHONPATH": "/modules", "DEEPAAS_V2_MODEL": module}
            mounted[str(install(module, self.folder / "modules"))] = {"bind": "/modules", "mode": "ro"}
        return self.containers.start(
            image,
            *command,
            environment={**job, **(environment or {})},
            volumes={**mounted, **(volumes or {})},
            **options,
        )

    def run(self, image: str, *command: str, **options: Any) -> Finished:
        return self.start(image, *command, **options).wait()

    @property
    def results(self) -> list[str]:
        """The names of all results."""
        return sorted(path.name for path in (self.folder / "out").glob("*") if path.is_file())

    @property
    def answer(self) -> Any:
        """The result of recording.wav."""
        return json.loads((self.folder / "out/recording.wav.json").read_text())

    @property
    def status(self) -> dict[str, Any]:
        """The status document."""
        status: dict[str, Any] = json.loads((self.folder / f"out/_status/{ID}.json").read_text())
        return status

    def _lay_out(self) -> None:
        """Readable and writable for whoever the container runs as."""
        for name in ("in", "out"):
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name).chmod(0o777)
        self.folder.chmod(0o755)
        (self.folder / "in/recording.wav").write_bytes(RECORDING)
