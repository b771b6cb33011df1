"""S3 on a bad day: whole jobs through a proxy that spoils a share of the requests to a real S3 server.

Whatever it does to them: what is told as done is there and right, nothing half written is to be seen, the exit code
says whether another run is worth it, and that run leaves what an undisturbed one would have.
"""

from pathlib import Path

import pytest

from tests.conftest import S3Server, Supervisor, image
from tests.faults.jobs import Batch, impatient
from tests.faults.proxy import Fault, FaultProxy, Kind, Request, Trouble

# Tries of one request. boto3 makes 6, and begins a download that broke off anew 5 times.
_MOST_TRIES = 6
_READS, _WRITES = frozenset({Kind.HEAD, Kind.GET, Kind.LIST}), frozenset({Kind.PUT, Kind.REST})
# S3 sends a checksum with an object and checks one sent to it; with a listing or an error it sends none.
_CHECKED = frozenset({Kind.GET, Kind.PUT})
_PASSING = (
    Fault.INTERNAL_ERROR,
    Fault.SLOW_DOWN,
    Fault.RESET,
    Fault.ANSWER_LOST,
    Fault.RESET_IN_BODY,
    Fault.TRUNCATED,
    Fault.STALL,
    Fault.FLIPPED,
    Fault.CLOCK_SKEW,
)
_LASTING = (Fault.EXPIRED, Fault.DENIED)


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return impatient(image(tmp_path, "plain"))


def kinds(fault: Fault) -> frozenset[Kind]:
    """The requests that a fault is tried on."""
    return _CHECKED if fault is Fault.FLIPPED else frozenset(Kind)


def assert_truthful_and_resumed(supervisor: Supervisor, batch: Batch, trouble: Trouble, codes: set[int]) -> None:
    """One run under that trouble, and one after it."""
    with FaultProxy(batch.server.endpoint, trouble) as proxy:
        ended = supervisor("run", **batch.job(proxy.endpoint))
    verdict = batch.judge(ended)
    assert verdict.clean, (verdict, ended.stderr)
    assert proxy.struck or not trouble.share
    assert ended.code in codes, ended.stderr
    assert len(ended.stderr.splitlines()) == (ended.code != 0)

    again = supervisor("run", **batch.job())
    assert again.code == 0, again.stderr
    assert again.status["counts"]["skipped"] >= len(verdict.right)
    assert batch.judge(again, verdict.right).clean
    assert len(batch.results()) == batch.count


@pytest.mark.parametrize("fault", _PASSING, ids=lambda fault: fault.name.lower())
def test_half_of_the_requests_failing_costs_another_run_at_most(
    supervisor: Supervisor, seaweedfs: S3Server, fault: Fault
) -> None:
    batch = Batch(server=seaweedfs, count=8).put()
    trouble = Trouble(fault=fault, share=0.5, kinds=kinds(fault))
    assert_truthful_and_resumed(supervisor, batch, trouble, {0, 75})


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("fault", _PASSING, ids=lambda fault: fault.name.lower())
def test_any_share_of_the_requests_failing_costs_another_run_at_most(
    supervisor: Supervisor, seaweedfs: S3Server, fault: Fault, share: float
) -> None:
    batch = Batch(server=seaweedfs, count=20).put()
    trouble = Trouble(fault=fault, share=share, seed=1, kinds=kinds(fault))
    assert_truthful_and_resumed(supervisor, batch, trouble, {0, 75} if share else {0})


@pytest.mark.parametrize("fault", _LASTING, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize(("refused", "code"), [(_READS, 77), (_WRITES, 73)], ids=["reading", "writing"])
def test_being_denied_half_of_the_objects_is_told_as_such(
    supervisor: Supervisor, seaweedfs: S3Server, fault: Fault, refused: frozenset[Kind], code: int
) -> None:
    batch = Batch(server=seaweedfs, count=8).put()
    assert_truthful_and_resumed(supervisor, batch, Trouble(fault=fault, share=0.5, kinds=refused), {code})


@pytest.mark.parametrize("fault", _LASTING, ids=lambda fault: fault.name.lower())
def test_what_is_denied_is_not_tried_again(supervisor: Supervisor, seaweedfs: S3Server, fault: Fault) -> None:
    batch = Batch(server=seaweedfs, count=3).put()
    with FaultProxy(seaweedfs.endpoint, Trouble(fault=fault, share=1)) as proxy:
        ended = supervisor("run", **batch.job(proxy.endpoint))
    assert ended.code == 77
    assert max(proxy.tries(Kind.HEAD).values(), default=0) <= 1
    assert max(proxy.tries(Kind.GET).values(), default=0) <= 1


@pytest.mark.parametrize(
    ("kind", "key", "overwrite"),
    [
        (Kind.LIST, "", "always"),
        (Kind.GET, "in/000.wav", "always"),
        (Kind.PUT, "out/000.wav.json", "always"),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
@pytest.mark.parametrize(
    "fault",
    [pytest.param(Fault.INTERNAL_ERROR, marks=pytest.mark.slow), Fault.SLOW_DOWN,
     pytest.param(Fault.RESET, marks=pytest.mark.slow), Fault.RESET_IN_BODY],
    ids=lambda fault: fault.name,
)  # fmt: skip
def test_a_request_that_always_fails_is_given_up_after_so_many_tries(
    supervisor: Supervisor, seaweedfs: S3Server, fault: Fault, kind: Kind, key: str, overwrite: str
) -> None:
    batch = Batch(server=seaweedfs, count=1).put()
    with FaultProxy(seaweedfs.endpoint, Trouble(fault=fault, share=1, kinds=frozenset({kind}))) as proxy:
        ended = supervisor("run", **batch.job(proxy.endpoint), JOB_OVERWRITE=overwrite)
    assert ended.code == 75
    assert 2 <= proxy.tries(kind)[key] <= _MOST_TRIES


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET_IN_BODY], ids=lambda fault: fault.name)
def test_a_head_that_always_fails_is_made_good_by_a_get(
    supervisor: Supervisor, seaweedfs: S3Server, fault: Fault
) -> None:
    batch = Batch(server=seaweedfs, count=1).put()
    with FaultProxy(seaweedfs.endpoint, Trouble(fault=fault, share=1, kinds=frozenset({Kind.HEAD}))) as proxy:
        job = batch.job(proxy.endpoint)  # of one object: below a prefix, the listing tells it all
        ended = supervisor("run", **{**job, "JOB_INPUT": job["JOB_INPUT"] + "000.wav"})
    assert ended.code == 0
    assert proxy.tries(Kind.HEAD) == {"in/000.wav": 1}
    assert batch.judge(ended).clean


def test_an_object_replaced_before_it_is_read_is_noticed(supervisor: Supervisor, seaweedfs: S3Server) -> None:
    batch = Batch(server=seaweedfs, count=4).put()
    replaced = "in/002.wav"

    def replace(request: Request) -> None:
        if request.kind is Kind.GET and request.key == replaced and request.attempt == 0:
            seaweedfs.put(replaced, b"another recording")

    with FaultProxy(seaweedfs.endpoint, before=replace) as proxy:
        ended = supervisor("run", **batch.job(proxy.endpoint))
    assert ended.code == 75
    assert "in/002.wav: the object was replaced while it was being read" in ended.stderr
    assert sorted(batch.judge(ended).right) == [f"out/{number:03}.wav.json" for number in (0, 1, 3)]
    assert supervisor("run", **batch.job()).code == 0
    assert seaweedfs.json("out/002.wav.json")["size"] == len(b"another recording")
