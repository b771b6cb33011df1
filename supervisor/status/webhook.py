"""The status as an event to a web address: a CloudEvents body with a Standard Webhooks signature.

Sources: CloudEvents 1.0, JSON format, structured mode; Standard Webhooks 1.0. The receiver may be dead, slow or
lying: it is told in threads of its own, and the job waits for none of them longer than it says.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import random
import secrets
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import requests

from supervisor import __version__
from supervisor.machine import signals
from supervisor.storage.uri import shown

# Seconds to connect, and between two bytes of the answer's head.
_TIMEOUT = (3, 5)
# Seconds before the second try, doubled for each further one, and the most of them.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
# The share of the last event's time that an earlier event, still under way, is waited for: it should not come after.
_EARLIER_SHARE = 0.25


class Webhook:
    """One receiver of a job's status."""

    def __init__(self, url: str, key: bytes | None, job: str) -> None:
        """key: the Standard Webhooks secret's bytes; without one, events go unsigned. job: names the source."""
        self._url = url
        self._key = key
        self._job = job
        self._under_way: threading.Thread | None = None
        self.has_answered = False  # whatever it said

    def tell(self, document: dict[str, Any]) -> bool:
        """Sends one event and forgets it; returns False, and sends none, while an earlier one is still under way."""
        if self._under_way is not None and self._under_way.is_alive():
            return False
        event, body = self._event(document)
        self._under_way = _in_background(lambda: self._send(event, body))
        return True

    def tell_last(self, document: dict[str, Any], until: Callable[[], float]) -> "LastWord":
        """Begins to send the final event, again and again until then at most: a moment of time.monotonic, which may
        come closer meanwhile."""
        event, body = self._event(document)
        return LastWord(shown(self._url), lambda: self._send(event, body), self._under_way, until)

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
                self.has_answered = True
                status, wanted = answer.status_code, answer.headers.get("Retry-After", "")
        except requests.RequestException as error:
            raise _TryAgain(type(error).__name__) from None
        if status in (408, 425, 429) or status >= 500:
            raise _TryAgain(f"it answers {status}", after=float(wanted) if wanted.isdecimal() else 0.0)
        if not 200 <= status < 300:
            raise _Refused(f"it answers {status}")


class LastWord:
    """The final event on its way."""

    def __init__(
        self, receiver: str, send: Callable[[], None], earlier: threading.Thread | None, until: Callable[[], float]
    ) -> None:
        self._receiver = receiver
        self._send = send
        self._earlier = earlier
        self._until = until
        self._problem = "no answer"
        self._ended: SimpleQueue[None] = SimpleQueue()
        _in_background(self._insist)

    def wait(self, warn: Callable[[str], None]) -> None:
        """Until it has been taken or given up, and not beyond its time; warns where it was in vain."""
        with contextlib.suppress(Empty):
            signals.get_until(self._ended, self._until)
        if self._problem:
            warn(f"the webhook {self._receiver} was not told the end of the job: {self._problem}")

    def _insist(self) -> None:
        try:
            if self._earlier:
                self._earlier.join(max(0.0, self._until() - time.monotonic()) * _EARLIER_SHARE)
            self._problem = self._tried_again_and_again()
        finally:
            self._ended.put(None)

    def _tried_again_and_again(self) -> str:
        """Why it was in vain; nothing where it was not."""
        longest = _FIRST_WAIT
        while True:
            try:
                self._send()
            except _Refused as refusal:
                return str(refusal)
            except _TryAgain as trouble:
                self._problem = str(trouble)
                left = self._until() - time.monotonic()
                # Jittered. A receiver may ask for more, but for no more than there is.
                wait = longest * random.uniform(0.5, 1.0)  # noqa: S311
                wait = trouble.after if wait < trouble.after < left else wait
                if wait >= left:
                    return str(trouble)
                time.sleep(wait)
                longest = min(2 * longest, _LONGEST_WAIT)
            else:
                return ""


class _TryAgain(Exception):
    """The receiver may take the event later: `after` so many seconds, as it says."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class _Refused(Exception):
    """The receiver will never take the event."""


def _in_background(work: Callable[[], None]) -> threading.Thread:
    def quietly() -> None:
        with contextlib.suppress(Exception):  # nobody waits for this event
            work()

    thread = threading.Thread(target=quietly, name="webhook", daemon=True)
    thread.start()
    return thread
