"""Which images are built for the words of a person."""

from __future__ import annotations

import pytest

from scripts.images import catalogue
from scripts.images.plan import Order
from scripts.images.plan import plan as make_plan
from supervisor.failures import BadUsage

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

MODULES = catalogue.load()


def plan(*models: str, variant: str = "all", base: str | None = None) -> list[Order | BadUsage]:
    return make_plan(MODULES, models, variant, base=base)


def names(orders: list[Order | BadUsage]) -> list[str]:
    return [str(order.name) for order in orders if isinstance(order, Order)]


def complaints(orders: list[Order | BadUsage]) -> list[str]:
    return [order.message for order in orders if isinstance(order, BadUsage)]


def test_every_variant_of_a_module_is_built_unless_told() -> None:
    assert names(plan("yolov8")) == ["deepaas-batch/yolov8:cpu", "deepaas-batch/yolov8:gpu"]


def test_the_base_is_the_catalogues_image_of_the_variant() -> None:
    [order] = plan("deep-oc-audio-classification-tf", variant="gpu")

    assert isinstance(order, Order)
    assert order.base == "deephdc/deep-oc-audio-classification-tf:gpu"


def test_an_unknown_module_gets_a_suggestion_and_the_others_are_built() -> None:
    orders = plan("audio-clasification", "yolov8", variant="cpu")

    assert "did you mean audio-classification" in complaints(orders)[0]
    assert names(orders) == ["deepaas-batch/yolov8:cpu"]


def test_a_module_named_twice_is_built_once() -> None:
    assert len(plan("yolov8", "deephdc/deep-oc-yolov8_api", variant="cpu")) == 1


def test_all_is_every_module_that_has_a_known_and_fit_image() -> None:
    expected = [f"deepaas-batch/{m.name}:cpu" for m in MODULES.values() if m.tags["cpu"] and not m.unfit]
    assert names(plan("all", variant="cpu")) == expected


def test_a_variant_that_the_module_lacks_is_said() -> None:
    module = next(m for m in MODULES.values() if m.tags["cpu"] and not m.tags["gpu"])

    assert complaints(plan(module.name, variant="gpu")) == [f"{module.name} has no gpu image"]


def test_another_base_serves_every_variant() -> None:
    orders = plan("audio-classification", base="mine:1")

    assert [order.base for order in orders if isinstance(order, Order)] == ["mine:1", "mine:1"]


def test_another_base_is_for_one_module() -> None:
    with pytest.raises(BadUsage, match="--base"):
        plan("yolov8", "voice-activity", base="mine:1")


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(BadUsage, match="there is no variant 'tpu'"):
        plan("yolov8", variant="tpu")


def test_only_a_base_of_this_project_is_built_rather_than_pulled() -> None:
    [ours] = plan("voice-activity", variant="cpu")
    [pulled] = plan("yolov8", variant="cpu")
    [replaced] = plan("voice-activity", variant="cpu", base="mine:1")

    found = [order.base_is_ours for order in (ours, pulled, replaced) if isinstance(order, Order)]
    assert found == [True, False, False]
