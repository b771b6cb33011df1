"""S3 on a bad day."""

from collections.abc import Iterator

from benchmarks.reliability.row import Row
from benchmarks.reliability.scene import Scene, examine, finish
from tests.conftest import image
from tests.faults.jobs import impatient
from tests.faults.proxy import LASTING, Fault, FaultProxy, Kind, Request, Trouble

SHARES = (0.1, 0.5, 0.9)  # of the requests
# What S3 vouches for by a checksum, in either direction.
_CHECKED = frozenset({Kind.GET, Kind.PUT})


def s3_faults(scene: Scene) -> Iterator[Row]:
    """Each fault at each share of the requests, and each time a run after it that has to finish the work."""
    for fault in Fault:
        row = Row(fault=f"S3: {fault.value}")
        kinds = _CHECKED if fault is Fault.FLIPPED else frozenset(Kind)
        promised = {73, 77} if fault in LASTING else {0, 75}
        for share in SHARES:
            home, batch = scene.home(), scene.batch(8)
            supervisor = impatient(image(home, "plain"))
            trouble = Trouble(fault=fault, share=share, seed=5, kinds=kinds)
            with FaultProxy(scene.bucket.endpoint, trouble) as proxy:
                ended = supervisor("run", **batch.job(proxy.endpoint))
            row.cases += proxy.struck
            row.ended(ended, promised if proxy.struck else {0})
            examine(scene, row, ended, home, batch)
            finish(scene, row, supervisor, home, batch)
        yield row


def replaced_objects(scene: Scene) -> Iterator[Row]:
    """Each object of a job is replaced between the moment it is looked at and its download."""
    row = Row(fault="S3: object replaced before it is read")
    home, batch = scene.home(), scene.batch(8)
    supervisor = impatient(image(home, "plain"))

    def replace(request: Request) -> None:
        if request.kind is Kind.GET and "/in/" in request.key and not request.attempt:
            row.cases += 1
            scene.bucket.put(request.key, b"another recording")

    with FaultProxy(scene.bucket.endpoint, before=replace) as proxy:
        ended = supervisor("run", **batch.job(proxy.endpoint), JOB_OVERWRITE="always")
    row.ended(ended, {75})
    examine(scene, row, ended, home, batch)
    yield row
