"""A TensorFlow module, whose model takes long to load: 50 recordings in one job against a bare loop in one process."""

from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.jobs import Image, bench, cut
from benchmarks.many_items import against_the_loop
from scripts import environments
from scripts.demo import DEEPAAS, RECORDING

INA_SPEECH = Path(__file__).parent / "modules" / "ina_speech"
NEWEST_PYTHON = "python3.11"  # for which there is a TensorFlow 2.15


def measure(pairs: int = 3) -> list[Figure]:
    """pairs: how many counted runs each of the two gets, in turn."""
    image = Image(
        environment=environments.ensure(DEEPAAS, python=NEWEST_PYTHON, extra=(str(INA_SPEECH),)),
        # Both say far more than they mean, on every prediction.
        variables={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    with bench() as here:
        found = against_the_loop(here, image, cut(RECORDING, here.folder / "recordings", 50, seconds=2), pairs)
    return [
        found.figure(
            "50 recordings of 2 s, inaSpeechSegmenter 0.6.8 (TensorFlow): throughput of the bare in-process loop", 0.95
        )
    ]
