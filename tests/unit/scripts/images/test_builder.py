"""What goes into an image; the builds themselves need an engine."""

from __future__ import annotations

import re

import pytest

from scripts.checkout import ROOT
from scripts.images import builder, catalogue
from scripts.images.plan import Order
from scripts.images.plan import plan as make_plan
from supervisor.failures import BadUsage

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

MODULES = catalogue.load()


def plan(*models: str, variant: str) -> list[Order | BadUsage]:
    return make_plan(MODULES, models, variant)


BASE = builder.Base(name="mine:1", id="sha256:1", digest="sha256:2", size=1)


@pytest.mark.parametrize(
    ("model", "copies", "network", "results"),
    [
        ("voice-activity", "many", "none", "application/json"),
        ("ai4os-obj-detection", "1", "at start", "image/png,application/json"),
    ],
)
def test_the_image_is_told_what_the_catalogue_knows_of_its_module(
    model: str, copies: str, network: str, results: str
) -> None:
    [order] = plan(model, variant="cpu")

    assert isinstance(order, Order)
    arguments = builder._build_arguments(order, BASE)
    assert (arguments["MODULE_COPIES"], arguments["MODULE_NETWORK"], arguments["MODULE_RESULTS"]) == (
        copies,
        network,
        results,
    )


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_every_build_argument_is_one_that_the_dockerfiles_take(variant: str) -> None:
    [order] = plan("yolov8", variant=variant)

    assert isinstance(order, Order)
    taken = set(re.findall(r"^ARG (\w+)", (ROOT / f"Dockerfile.{variant}").read_text(), re.MULTILINE))
    assert builder._build_arguments(order, BASE).keys() == taken
