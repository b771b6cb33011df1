"""A job that is killed (-9) at random moments and run again gives what one undisturbed run gives."""

import pytest

from benchmarks.jobs import Bench
from benchmarks.kills import Tally, killed_and_resumed
from benchmarks.s3_server import S3Server
from supervisor.pipeline import Bounds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tally(seaweedfs_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Tally:
    """Of six kills."""
    here = Bench(server=seaweedfs_server, folder=tmp_path_factory.mktemp("kills"), bucket="kills")
    seaweedfs_server.client().create_bucket(Bucket=here.bucket)
    return killed_and_resumed(here, items=200, kills=6, seed=11)


def test_no_item_is_lost(tally: Tally) -> None:
    assert tally.jobs
    assert tally.lost == 0


def test_no_result_is_wrong(tally: Tally) -> None:
    assert tally.wrong == 0


def test_no_result_is_there_in_part(tally: Tally) -> None:
    assert tally.half_written == 0


def test_a_kill_costs_what_was_in_flight_and_no_more(tally: Tally) -> None:
    assert len(tally.redone) == 6
    assert max(tally.redone) <= Bounds.items
    assert tally.redone_though_stored == 0
