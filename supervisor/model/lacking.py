"""What an error says is missing: a file, a package, a library, a variable or the network. For a hint that names it.

The worker loads this file under Python 3.6 or newer, beside libraries of which none needs to be there: theirs are known
by the names of their classes.
"""

import errno
import os
import re
import socket
from typing import Dict, Iterator, Optional

_LIBRARY = re.compile(r"(\S*\.so[.0-9]*): cannot open shared object file")
_NOT_THERE = re.compile(
    r"no such file|does ?n[o']t exist|not exist|not found|cannot find|can't find|could ?n[o']t find|missing"
    r"|unable to open|cannot open|can't open",
    re.IGNORECASE,
)
_QUOTED_PATH = re.compile(r"""['"`](/[^'"`]+)['"`]""")
_PATH = re.compile(r"""(?<![\w/.:])(/[^\s'"`:;,()\[\]<>]+)""")
_VARIABLE = re.compile(r"environ|\benv\b|\bexport ", re.IGNORECASE)
_VARIABLE_NAME = re.compile(r"\b([A-Z][A-Z0-9]*_[A-Z0-9_]+)\b")
# Of requests, urllib3, urllib, httpx, aiohttp, botocore and huggingface_hub.
_NETWORK = frozenset(
    [
        "ClientConnectorError", "ConnectError", "ConnectTimeout", "ConnectTimeoutError", "ConnectionError",
        "EndpointConnectionError", "LocalEntryNotFoundError", "MaxRetryError", "NameResolutionError",
        "NewConnectionError", "OfflineModeIsEnabled", "ProxyError", "ReadTimeout", "ReadTimeoutError",
        "ServerDisconnectedError", "URLError",
    ]
)  # fmt: skip
_NO_NETWORK = re.compile(
    r"name resolution|name or service not known|network is unreachable|no route to host|couldn't connect to"
    r"|failed to establish a new connection|connection refused|connection timed out",
    re.IGNORECASE,
)
_HOST = re.compile(r"""host=['"]([^'"]+)['"]|https?://([^/\s'":?#)\]]+)|host (\S+?):\d+""")


def lacking(error: BaseException) -> Optional[Dict[str, str]]:
    """What is missing, by the error or one of which it came; None where none says so.

    kind: file, access, package, library, variable or network; name: what of it, "" where that is not known.
    """
    try:
        errors = list(_chain(error))
        found = next((found for found in map(_lack, errors) if found), None)
        if found and found["kind"] == "network" and not found["name"]:
            found["name"] = next((host for host in map(_host, errors) if host), "")
        return found
    except Exception:  # a module's own exceptions may do anything
        return None


def _chain(error: Optional[BaseException]) -> Iterator[BaseException]:
    """The error, and those of which it came."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _lack(error: BaseException) -> Optional[Dict[str, str]]:
    text = str(error)
    if isinstance(error, ImportError):
        library = _LIBRARY.search(text)
        if library:
            return {"kind": "library", "name": library.group(1)}
        package = error.name if isinstance(error, ModuleNotFoundError) else None
        return {"kind": "package", "name": package} if package else None
    if isinstance(error, KeyError):
        return {"kind": "variable", "name": str(error.args[0])} if _is_of_environ(error) else None
    if isinstance(error, OSError) and isinstance(error.filename, (str, bytes)) and error.errno is not None:
        kind = {errno.ENOENT: "file", errno.EACCES: "access", errno.EPERM: "access"}.get(error.errno)
        return {"kind": kind, "name": os.fsdecode(error.filename)} if kind else None
    if _is_of_network(error, text):
        return {"kind": "network", "name": _host(error)}
    if _VARIABLE.search(text):
        name = _VARIABLE_NAME.search(text)
        if name:
            return {"kind": "variable", "name": name.group(1)}
    if _LIBRARY.search(text):  # of ctypes
        return {"kind": "library", "name": _LIBRARY.findall(text)[0]}
    if _NOT_THERE.search(text):
        paths = _QUOTED_PATH.findall(text) or _PATH.findall(text)
        if paths:
            return {"kind": "file", "name": paths[0].rstrip(".")}
    return None


def _is_of_environ(error: BaseException) -> bool:
    """Whether os.environ raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "os"


def _is_of_network(error: BaseException, text: str) -> bool:
    if isinstance(error, (ConnectionError, socket.timeout, socket.gaierror)):
        return True
    names = {each.__name__ for each in type(error).__mro__}
    if "HTTPError" in names:  # an answer
        return False
    return bool(names & _NETWORK) or bool(_NO_NETWORK.search(text))


def _host(error: BaseException) -> str:
    found = _HOST.search(str(error))
    return next((group for group in found.groups() if group), "") if found else ""
