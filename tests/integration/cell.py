"""One cell of the release table: a case run on a release by a runner, with what must be true of every one."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Ended, Supervisor, image
from tests.integration.cases import CONTENT, SECRETS, Case, Column


@dataclass(frozen=True, kw_only=True)
class Run:
    """How the supervisor ended, and the results that it left."""

    ended: Ended
    results: tuple[Path, ...]

    @property
    def chosen(self) -> str | None:
        """The runner that was chosen; None where it ended before."""
        return next((str(e["runner"]["name"]) for e in self.ended.events if e["event"] == "model"), None)

    @property
    def ran(self) -> str | None:
        """The runner that the status names in the end."""
        name: str | None = self.ended.status.get("runner", {}).get("name")
        return name

    @property
    def used(self) -> str | None:
        """The runner that made the answer in the end."""
        items = self.ended.status["items"]
        return items[0].get("runner") if items else None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A case on a release, in a folder of its own."""

    case: Case
    folder: Path
    supervisor: Supervisor

    @classmethod
    def of(cls, case: Case, column: Column, folder: Path) -> "Cell":
        return cls(case=case, folder=folder, supervisor=image(folder, case.module, column.release, column.python))

    def run(self, runner: str) -> Run:
        """Whatever comes of it: the input stays, nothing lives on or lies about, and stdout is the supervisor's."""
        source, out = self.folder / self.case.file, self.folder / f"out-{runner}"
        source.write_bytes(CONTENT)
        ended = self.supervisor(
            "run",
            JOB_INPUT=str(source),
            JOB_OUTPUT=str(out),
            JOB_RUNNER=runner,
            JOB_PREDICT_ARGS=json.dumps(self.case.arguments),
            JOB_INPUT_FIELD=self.case.input_field or "",
            **SECRETS,
        )
        assert source.read_bytes() == CONTENT
        assert alive(self.folder) == []
        assert list((self.folder / "tmp").glob("supervisor-*")) == []
        last = "SUCCEEDED" if ended.code == 0 else "FAILED"
        states = [event["status"]["state"] for event in ended.events if event["event"] == "status"]
        assert states == ["RUNNING", last], ended
        assert ended.status["exit_code"] == ended.code
        results = tuple(path for path in out.glob("*") if path.is_file() and not path.name.startswith("."))
        return Run(ended=ended, results=results)


def alive(folder: Path) -> list[str]:
    """What still runs of the image in that folder: it is HOME to all that the supervisor and its guest start."""
    home = f"HOME={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has just ended
            continue
    return found
