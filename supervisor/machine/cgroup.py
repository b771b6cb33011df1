"""The control groups that this process is in, in version 2 and 1: what bounds it beside the machine."""

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as the largest multiple of a page in 63 bits.
_NO_LIMIT = 1 << 62


def groups(controller: str, cgroups: Path = CGROUPS, own: Path = OWN) -> tuple[int, list[Path]]:
    """The version that has this controller, and the folders of our group and those above it, the own first."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    paths = {controllers: path for _, controllers, path in lines}
    v1 = next((path for controllers, path in paths.items() if controller in controllers.split(",")), None)
    top = cgroups / controller if v1 is not None else cgroups
    # A container's view may begin at its own group while the path still is the host's.
    path = v1 if v1 is not None else paths.get("", "/")
    group = top / path.lstrip("/")
    if ".." in group.parts or not group.is_dir():
        group = top
    above = [parent for parent in group.parents if parent.is_relative_to(top)]
    return (1 if v1 is not None else 2), [group, *above]


def number(file: Path) -> int | None:
    """The number in a file; None where there is no such file or it means no limit."""
    try:
        found = int(file.read_text())
    except (OSError, ValueError):  # ValueError: "max"
        return None
    return found if found < _NO_LIMIT else None
