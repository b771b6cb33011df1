"""What a module's error says is missing: real errors where the libraries are here, their texts where not."""

import ctypes
import importlib
import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from supervisor.model.lacking import lacking


def closed_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environ() -> None:
    os.environ["MODEL_DIRECTORY"]


def environ_in_its_words() -> None:
    try:
        environ()
    except KeyError as error:
        raise RuntimeError("not configured") from error


def wrapped_by_a_bug_of_its_own() -> None:
    """As the AI4OS template raises HTTPBadRequest(reason=error), on which aiohttp fails."""
    try:
        Path("/srv/weights.h5").read_bytes()
    except OSError as error:
        "\n" in error  # type: ignore[operator] # noqa: B015


def falls_back_on_the_network() -> None:
    try:
        Path("/srv/cache").read_bytes()
    except OSError:
        requests.get(f"http://127.0.0.1:{closed_port()}/weights", timeout=5)


CASES: dict[str, tuple[Callable[[], object], str, str]] = {
    "a file": (lambda: Path("/srv/weights.h5").read_bytes(), "file", "/srv/weights.h5"),
    "a relative file": (lambda: Path("weights.h5").read_bytes(), "file", "weights.h5"),
    "a folder": (lambda: os.listdir(b"/srv/nothing"), "file", "/srv/nothing"),  # noqa: PTH208
    "a package": (lambda: importlib.import_module("no_such_package"), "package", "no_such_package"),
    "a library": (lambda: ctypes.CDLL("libnothing.so.1"), "library", "libnothing.so.1"),
    "a variable": (environ, "variable", "MODEL_DIRECTORY"),
    "a variable, told in other words": (environ_in_its_words, "variable", "MODEL_DIRECTORY"),
    "what a bug hides": (wrapped_by_a_bug_of_its_own, "file", "/srv/weights.h5"),
    "a connection": (lambda: socket.create_connection(("127.0.0.1", closed_port()), 5), "network", ""),
    "urllib's": (lambda: urllib.request.urlopen(f"http://127.0.0.1:{closed_port()}/", timeout=5), "network", ""),
    "requests'": (lambda: requests.get(f"http://127.0.0.1:{closed_port()}/", timeout=5), "network", "127.0.0.1"),
    "the network in a cache's place": (falls_back_on_the_network, "network", "127.0.0.1"),
}


@pytest.mark.parametrize(("raises", "kind", "name"), CASES.values(), ids=CASES)
def test_an_error_says_what_is_missing(raises: Callable[[], object], kind: str, name: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        raises()
    assert lacking(raised.value) == {"kind": kind, "name": name}


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("Unable to open file (unable to open file: name = '/srv/m/w.h5', errno = 2, error message = 'No", "file",
         "/srv/m/w.h5"),
        ("NotFoundError: Failed to find any matching files for /srv/m/x.ckpt: Not found", "file", "/srv/m/x.ckpt"),
        ("SavedModel file does not exist at: /srv/m/saved_model.pb.", "file", "/srv/m/saved_model.pb"),
        ("HF_TOKEN environment variable is not set", "variable", "HF_TOKEN"),
        ("Please export RSHARE_USER before you start", "variable", "RSHARE_USER"),
        ("HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /x (Caused by Failed to "
         "resolve 'huggingface.co' ([Errno -3] Temporary failure in name resolution)", "network", "huggingface.co"),
        ("We couldn't connect to 'https://huggingface.co' to load the files", "network", "huggingface.co"),
        ("libGL.so.1: cannot open shared object file: No such file or directory", "library", "libGL.so.1"),
    ],
)  # fmt: skip
def test_the_text_of_an_error_says_what_is_missing(text: str, kind: str, name: str) -> None:
    assert lacking(RuntimeError(text)) == {"kind": kind, "name": name}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shape (3, 4) does not match"),
        KeyError("SOME_KEY"),
        UnboundLocalError("local variable 'MODEL_DIR' referenced before assignment"),
        RuntimeError("CUDA out of memory"),
        ImportError("cannot import name 'x' from 'y'"),
        OSError("read failed"),
        SystemExit(1),
    ],
)
def test_an_error_that_does_not_say_is_left_alone(error: BaseException) -> None:
    assert lacking(error) is None


def test_an_error_that_fails_when_it_is_asked_is_left_alone() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert lacking(Odd()) is None
