"""The Spot notice, from a stand-in for the instance metadata service on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervisor.machine import spot
from supervisor.machine.spot import Notice
from tests.metadata import NOTICE, TIME, Metadata


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    monkeypatch.setattr(spot, "_EVERY", 0.01)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    served = Metadata()
    yield served
    served.close()


@pytest.fixture
def watch() -> Iterator[Callable[..., tuple[Notice, "Told"]]]:
    """Starts a watch on an address; gives it and what it calls back."""
    notices = []

    def start(address: str, needed: float = 30.0) -> tuple[Notice, Told]:
        told = Told()
        notices.append(Notice(address, told, told.short.set, needed))
        return notices[-1], told

    yield start
    for notice in notices:
        notice.stop()


class Told:
    """The calls back."""

    def __init__(self) -> None:
        self.times: list[str] = []
        self.first = threading.Event()
        self.short = threading.Event()

    def __call__(self, time: str) -> None:
        self.times.append(time)
        self.first.set()


Watch = Callable[..., tuple[Notice, Told]]


def test_a_notice_is_told_once_with_its_time(metadata: Metadata, watch: Watch) -> None:
    notice, told = watch(metadata.address)
    metadata.wait_for(lambda asked: len(asked) > 4)
    assert told.times == []
    metadata.answer = (200, NOTICE)
    assert told.first.wait(30)
    assert (notice.seen(), notice.time, told.times) == (True, TIME, [TIME])
    asked = list(metadata.asked)
    assert notice.seen()
    assert metadata.asked == asked


def test_one_token_serves_many_polls_and_a_new_one_is_got_when_it_has_run_out(metadata: Metadata, watch: Watch) -> None:
    _, told = watch(metadata.address)
    metadata.wait_for(lambda asked: len(asked) > 4)
    assert sum(request.startswith("PUT") for request in metadata.asked) == 1
    metadata.answer = (200, NOTICE)
    metadata.token = "second"
    assert told.first.wait(30)


def test_a_signal_that_outran_the_next_poll_is_explained(
    metadata: Metadata, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spot, "_EVERY", 600)
    notice, _ = watch(metadata.address)
    metadata.wait_for(lambda asked: len(asked) == 2)
    assert not notice.seen()
    metadata.answer = (200, NOTICE)
    assert notice.seen()


@pytest.mark.parametrize(
    "answer",
    [(200, b""), (200, b"{"), (200, b"[]"), (200, b"null"), (200, b"\xff"), (200, b'{"time": "x"}'), (500, NOTICE),
     (302, NOTICE)],
)  # fmt: skip
def test_what_is_no_notice_is_none(answer: tuple[int, bytes], metadata: Metadata, watch: Watch) -> None:
    metadata.answer = answer
    notice, told = watch(metadata.address)
    metadata.wait_for(lambda asked: len(asked) > 4)
    assert not notice.seen()
    assert told.times == []


def test_without_a_token_it_gives_up_in_silence(metadata: Metadata, watch: Watch) -> None:
    """As where the service is a hop too far away, or this is no EC2 at all."""
    metadata.gives_tokens = False
    notice, _ = watch(metadata.address)
    metadata.wait_for(lambda asked: len(asked) >= 12)
    assert set(metadata.asked) == {"PUT /latest/api/token 403"}
    for thread in threading.enumerate():
        if thread.name == "spot-notice":
            thread.join(30)
    assert len(metadata.asked) == 12
    assert not notice.seen()


def test_a_service_that_is_not_there_is_no_notice(watch: Watch) -> None:
    notice, _ = watch("http://127.0.0.1:1")
    assert not notice.seen()


def machine(folder: Path, **files: str) -> Path:
    """A /sys that says so."""
    for name, text in files.items():
        path = folder / {"uuid": "hypervisor/uuid"}.get(name, f"class/dmi/id/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "environment", "address"),
    [
        ({}, {}, None),
        ({"sys_vendor": "QEMU\n", "board_vendor": "\n"}, {}, None),
        ({"sys_vendor": "Amazon EC2\n"}, {}, "http://169.254.169.254"),
        ({"sys_vendor": "Xen\n", "board_vendor": "Amazon EC2\n"}, {}, "http://169.254.169.254"),
        ({"sys_vendor": "Xen\n", "uuid": "ec2d7a3b-0000\n"}, {}, "http://169.254.169.254"),
        ({"sys_vendor": "Amazon EC2\n"}, {"AWS_EC2_METADATA_DISABLED": "TRUE"}, None),
        ({"sys_vendor": "Amazon EC2\n"}, {"AWS_EC2_METADATA_DISABLED": "false"}, "http://169.254.169.254"),
        ({}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[fd00:ec2::254]"}, "http://[fd00:ec2::254]"),
        ({}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "nonsense"}, None),
        ({}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://h", "AWS_EC2_METADATA_DISABLED": "true"}, None),
    ],
)
def test_only_ec2_is_asked(
    files: dict[str, str], environment: dict[str, str], address: str | None, tmp_path: Path
) -> None:
    assert spot.address(environment, machine(tmp_path, **files)) == address


def test_off_ec2_there_is_no_traffic_and_no_thread() -> None:
    notice = Notice(None, lambda _: None, lambda: None, needed=0.0)
    assert not notice.seen()
    assert "spot-notice" not in {thread.name for thread in threading.enumerate()}


def notice_in(seconds: float) -> tuple[int, bytes]:
    """A notice of an end that far away, as the service writes it."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return 200, json.dumps({"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()


def test_the_time_is_short_only_when_no_more_is_left_than_what_is_needed(metadata: Metadata, watch: Watch) -> None:
    metadata.answer = notice_in(100)
    _, told = watch(metadata.address, needed=97.0)
    assert told.first.wait(30)
    assert not told.short.is_set()
    assert told.short.wait(30)


def test_a_job_that_ends_in_time_is_not_told_that_time_is_short(metadata: Metadata, watch: Watch) -> None:
    metadata.answer = notice_in(100)
    notice, told = watch(metadata.address, needed=97.0)
    assert told.first.wait(30)
    notice.stop()
    assert not told.short.wait(5)


@pytest.mark.parametrize(
    ("time", "seconds"), [("soon", 0.0), ("9999-01-02T03:04:05Z", 120.0), ("9999-01-02T03:04:05", 120.0)]
)
def test_no_more_than_two_minutes_are_left_and_none_where_the_time_is_unknown(time: str, seconds: float) -> None:
    assert spot.seconds_until(time) == seconds


def test_an_end_that_has_passed_leaves_no_time() -> None:
    assert spot.seconds_until("2017-09-18T08:22:00Z") < 0
