"""Whether EC2 is taking the machine back: its Spot notice, two minutes ahead, from the instance metadata service (v2).

Source: "Spot Instance interruption notices" and "Use the Instance Metadata Service" in the EC2 user guide. A rebalance
recommendation is none: the machine may run on for hours.
"""

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from supervisor import job

_ADDRESS = "http://169.254.169.254"
_EVERY = 5.0  # seconds, as AWS recommends
# The service answers within milliseconds, or never: where a container is one hop too far, answers are dropped.
_TIMEOUT = 1.0
_TOKEN_SECONDS = 21600
# Seconds that a notice comes ahead of the end.
_AHEAD = 120.0
# Polls without a single answer after which there is none to be had here: Fargate, or that hop.
_GIVE_UP = 12
# What tells a machine of EC2's before it has been asked anything.
_VENDORS = ("class/dmi/id/board_vendor", "class/dmi/id/sys_vendor")
_XEN = "hypervisor/uuid"


class Notice:
    """Polls until there is a notice, then waits until the time is short, in a daemon thread. Call watch for one."""

    def __init__(
        self, address: str | None, on_notice: Callable[[str], None], on_short: Callable[[], None], needed: float
    ) -> None:
        """address: the service's, None where there is none to ask; on_notice: given the time of the end, ISO 8601;
        on_short: the end is no more than `needed` seconds away. Each is called once, in the thread."""
        self.time: str | None = None
        self._service = _Service(address) if address else None
        self._on_notice, self._on_short, self._needed = on_notice, on_short, needed
        self._over = threading.Event()
        if self._service:
            threading.Thread(target=self._follow, name="spot-notice", daemon=True).start()

    def seen(self) -> bool:
        """Whether the machine is being taken back. SIGTERM may outrun the next poll, so this asks once more."""
        if self.time is None and self._service and not self._over.is_set():
            self.time = self._service.notice()
        return self.time is not None

    def stop(self) -> None:
        """No more polls."""
        self._over.set()

    def _follow(self) -> None:
        service = self._service
        while service and not self._over.is_set() and service.failures < _GIVE_UP:
            if (time := self.time or service.notice()) is not None:
                self.time = time
                self._on_notice(time)
                if not self._over.wait(max(0.0, seconds_until(time) - self._needed)):
                    self._on_short()
                return
            self._over.wait(_EVERY)


def watch(on_notice: Callable[[str], None], on_short: Callable[[], None], needed: float) -> Notice:
    """A watch on the machine that this runs on, as Notice says. Off EC2 it asks nobody."""
    return Notice(address(job.environment()), on_notice, on_short, needed)


def seconds_until(time: str) -> float:
    """How far away the end is: two minutes at most, whatever this machine's clock says, and none where the time is not
    known."""
    try:
        end = datetime.fromisoformat(time)
    except ValueError:
        return 0.0
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    return min(_AHEAD, (end - datetime.now(UTC)).total_seconds())


def address(environment: Mapping[str, str], sys: Path = Path("/sys")) -> str | None:
    """Where this machine's metadata service is, by AWS's own variables; None off EC2 or where it is switched off."""
    if environment.get("AWS_EC2_METADATA_DISABLED", "").strip().lower() == "true":
        return None
    named = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").strip()
    if named:
        return named if urlsplit(named).scheme == "http" else None
    return _ADDRESS if _is_ec2(sys) else None


def _is_ec2(sys: Path) -> bool:
    if any(_read(sys / vendor).startswith("Amazon EC2") for vendor in _VENDORS):
        return True
    return _read(sys / _XEN).startswith("ec2")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


class _Service:
    """The metadata service. Never raises: not to reach it means no notice. failures: polls so far without an answer,
    while there has been none with one."""

    def __init__(self, address: str) -> None:
        self._host = urlsplit(address).netloc
        self._token: str | None = None
        self._lock = threading.Lock()
        self._answered = False
        self.failures = 0

    def notice(self) -> str | None:
        """The time of the end, where one is set."""
        with self._lock:
            try:
                return self._ask()
            except (OSError, http.client.HTTPException, ValueError):
                self.failures += not self._answered
                return None

    def _ask(self) -> str | None:
        if self._token is None:
            status, body = self._request(
                "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
            )
            if status != http.client.OK:
                raise OSError(f"no token: status {status}")
            self._token = body.decode("ascii").strip()
        headers = {"X-aws-ec2-metadata-token": self._token}
        status, body = self._request("GET", "/latest/meta-data/spot/instance-action", headers)
        self._answered, self.failures = True, 0
        if status == http.client.UNAUTHORIZED:
            self._token = None  # it has run out: the next poll gets a new one
        return _time_in(body) if status == http.client.OK else None

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Straight to the service: a proxy is another machine, with a notice of its own."""
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(64 * 1024)
        finally:
            connection.close()


def _time_in(body: bytes) -> str | None:
    """`{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`; any action ends the job."""
    told = json.loads(body)
    if not (isinstance(told, dict) and isinstance(told.get("action"), str)):
        return None
    return str(told.get("time") or "unknown")
