"""Containers that a test starts: always removed, and their logs are shown where the test failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from docker import DockerClient
from docker.models.containers import Container


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A container that has come to its end."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """What a container that succeeded wrote, parsed."""
        assert self.code == 0, f"exit {self.code}: {self.stderr}"
        return json.loads(self.stdout)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The job's log, JSON Lines; fails where a line is not."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process as /proc shows it inside a container. state: R, S, Z, ..."""

    pid: int
    parent: int
    state: str
    name: str


class TrackedContainer:
    """One running container. What it wrote is printed on removal, and pytest shows that for failed tests alone."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def wait(self, seconds: int = 120) -> Finished:
        code: int = self.container.wait(timeout=seconds)["StatusCode"]
        return Finished(code=code, stdout=self._written(stdout=True), stderr=self._written(stderr=True))

    def events(self) -> Iterator[dict[str, Any]]:
        """The job's events as they happen, from the first to the last."""
        rest = b""
        for piece in self.container.logs(stream=True, follow=True, stdout=True, stderr=False):
            *lines, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, lines)

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first event of that kind, as soon as it has happened."""
        return next(each for each in self.events() if each["event"] == event)

    def shell(self, command: str, user: str = "0:0") -> str:
        """What a command prints that is run beside the job."""
        output = self.container.exec_run(["sh", "-c", command], user=user, workdir="/").output
        assert isinstance(output, bytes)
        return output.decode()

    def processes(self) -> list[Process]:
        """PID 1 and all that descends from it; what looks at them is left out."""
        lines = self.shell("cat /proc/[0-9]*/stat 2>/dev/null").splitlines()
        found = {process.pid: process for process in map(_process, lines)}

        def ours(process: Process | None) -> bool:
            return process is not None and (process.pid == 1 or ours(found.get(process.parent)))

        return [process for process in found.values() if ours(process)]

    def remove(self) -> None:
        self.container.reload()
        print(f"--- {self.container.name} ({self.container.status})\n{self._written(stdout=True, stderr=True)}")
        self.container.remove(force=True, v=True)

    def _written(self, *, stdout: bool = False, stderr: bool = False) -> str:
        written: bytes = self.container.logs(stdout=stdout, stderr=stderr)
        return written.decode(errors="replace")


def _process(stat: str) -> Process:
    before, _, after = stat.rpartition(")")
    pid, _, name = before.partition(" (")
    state, parent = after.split()[:2]
    return Process(pid=int(pid), parent=int(parent), state=state, name=name)


class Containers:
    """Starts containers for one test and removes them all after it."""

    def __init__(self, engine: DockerClient) -> None:
        self._engine = engine
        self._started: list[TrackedContainer] = []

    def start(
        self, image: str, *command: str, environment: Mapping[str, str] | None = None, **options: Any
    ) -> TrackedContainer:
        """Options are docker-py's for containers.run."""
        container = self._engine.containers.create(
            image, list(command) or None, environment=dict(environment or {}), **options
        )
        tracked = self.track(container)
        container.start()
        return tracked

    def track(self, container: Container) -> TrackedContainer:
        """One that was created already."""
        tracked = TrackedContainer(container)
        self._started.append(tracked)
        return tracked

    def run(self, image: str, *command: str, environment: Mapping[str, str] | None = None, **options: Any) -> Finished:
        return self.start(image, *command, environment=environment, **options).wait()

    def remove_all(self) -> None:
        for tracked in reversed(self._started):
            tracked.remove()
        self._started.clear()
