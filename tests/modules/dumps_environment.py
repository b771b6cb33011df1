"""Answers with all it finds about its surroundings: environment, open files, ancestors."""

import os
from typing import Any

from marshmallow import fields


def ancestors() -> Any:
    pid = os.getppid()
    while pid:
        yield pid
        try:
            with open(f"/proc/{pid}/status") as status:
                pid = int(next(line.split()[1] for line in status if line.startswith("PPid:")))
        except OSError:
            return


def ancestor(pid: int, wanted: Any) -> Any:
    folder = f"/proc/{pid}/"
    return {
        "pid": pid,
        "environ": read(folder + "environ"),
        "cmdline": read(folder + "cmdline"),
        "maps": read(folder + "maps"),
        "memory": memory(folder, wanted),
        "open_files": descriptors(folder),
    }


def read(path: str) -> str:
    try:
        with open(path, errors="backslashreplace") as opened:
            return opened.read()
    except OSError as error:
        return f"refused: {error.strerror}"


def memory(folder: str, wanted: Any) -> Any:
    """What of the wanted the ancestor's writable memory holds, and how much of it we were let read."""
    size, found = 0, set()
    try:
        with open(folder + "maps") as maps, open(folder + "mem", "rb", buffering=0) as content:
            for line in maps:
                first, last = (int(edge, 16) for edge in line.split()[0].split("-"))
                if line.split()[1].startswith("rw"):
                    held = region(content, first, last - first)
                    size += len(held)
                    found |= {text for text in wanted if text.encode() in held}
    except OSError as error:
        return f"refused: {error.strerror}"
    return {"size": size, "found": sorted(found)}


def region(content: Any, start: int, size: int) -> bytes:
    try:
        content.seek(start)
        return bytes(content.read(size))
    except OSError:  # unmapped meanwhile
        return b""


def descriptors(folder: str) -> Any:
    try:
        return {number: target(folder + "fd/" + number) for number in os.listdir(folder + "fd")}
    except OSError as error:
        return f"refused: {error.strerror}"


def target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError as error:
        return f"refused: {error.strerror}"


def get_metadata() -> Any:
    return {"name": "dumps_environment"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "backwards": fields.Str(
            load_default="",
            metadata={"description": "Texts to find in memory, by comma, reversed lest we find the question"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    wanted = [text[::-1] for text in kwargs["backwards"].split(",") if text]
    return {
        "environment": dict(os.environ),
        "user": [os.getuid(), os.getgid(), os.getgroups()],
        "open_files": {number: target("/proc/self/fd/" + number) for number in os.listdir("/proc/self/fd")},
        "ancestors": [ancestor(pid, wanted) for pid in ancestors()],
    }
