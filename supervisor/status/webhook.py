"""The status as an event to a web address: a CloudEvents body with a Standard Webhooks signature.

Sources: CloudEvents 1.0, JSON format, structured mode; Standard Webhooks 1.0. The receiver may be dead, slow or
lying: it is told in threads of its own, and the job waits for none of them longer than it says.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import requests
import tenacity

from supervisor import __version__
from supervisor.storage.uri import shown

# Seconds to connect, and between two bytes of the answer's head.
_TIMEOUT = (3, 5)
# Seconds after the end of the work that the last event is tried for.
LAST_PATIENCE = 60.0


class Webhook:
    """One receiver of a job's status."""

    def __init__(self, url: str, key: bytes | None, job: str) -> None:
        """key: the Standard Webhooks secret's bytes; without one, events go unsigned. job: names the source."""
        self._url = url
        self._key = key
        self._job = job
        self._under_way: threading.Thread | None = None

    def tell(self, document: dict[str, Any]) -> None:
        """Sends one event and forgets it; leaves it out while an earlier one is still under way."""
        if self._under_way is None or not self._under_way.is_alive():
            event, body = self._event(document)
            self._under_way = _in_background(lambda: self._send(event, body))

    def tell_last(self, document: dict[str, Any], patience: float, warn: Callable[[str], None]) -> None:
        """Sends the final event, again and again for at most `patience` seconds; then says that it was in vain."""
        event, body = self._event(document)
        problem: list[str] = ["no answer"]
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgain),
            stop=tenacity.stop_after_delay(patience),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            reraise=True,
        )

        def send() -> None:
            try:
                retrying(self._send, event, body)
                problem.clear()
            except (_TryAgain, _Refused) as error:
                problem[:] = [str(error)]

        _in_background(send).join(patience)
        if problem:
            warn(f"the webhook {shown(self._url)} was not told the end of the job: {problem[0]}")

    def _event(self, document: dict[str, Any]) -> tuple[str, bytes]:
        """(id, body) of an event. The id stays the same however often it is sent."""
        event = f"msg_{secrets.token_hex(16)}"
        envelope = {
            "specversion": "1.0",
            "id": event,
            "source": f"/deepaas-batch/jobs/{self._job}",
            "type": f"deepaas-batch.job.{document['state'].lower()}",
            "subject": self._job,
            "time": document["updated"],
            "datacontenttype": "application/json",
            "data": document,
        }
        return event, json.dumps(envelope).encode()

    def _send(self, event: str, body: bytes) -> None:
        now = str(int(time.time()))
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": f"deepaas-batch/{__version__}",
            "webhook-id": event,
            "webhook-timestamp": now,
        }
        if self._key:
            signature = hmac.new(self._key, b".".join([event.encode(), now.encode(), body]), hashlib.sha256)
            headers["webhook-signature"] = f"v1,{base64.b64encode(signature.digest()).decode()}"
        try:
            # Not followed: a redirect could take the status elsewhere. The answer's body is never read.
            with requests.post(
                self._url, data=body, headers=headers, timeout=_TIMEOUT, stream=True, allow_redirects=False
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            raise _TryAgain(type(error).__name__) from None
        if status in (408, 425, 429) or status >= 500:
            raise _TryAgain(f"it answers {status}")
        if not 200 <= status < 300:
            raise _Refused(f"it answers {status}")


class _TryAgain(Exception):
    """The receiver may take the event later."""


class _Refused(Exception):
    """The receiver will never take the event."""


def _in_background(work: Callable[[], None]) -> threading.Thread:
    def quietly() -> None:
        with contextlib.suppress(Exception):  # nobody waits for this event
            work()

    thread = threading.Thread(target=quietly, name="webhook", daemon=True)
    thread.start()
    return thread
