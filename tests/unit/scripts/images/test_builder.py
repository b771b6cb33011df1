"""Which images are built for the words of a person, and how it is told; the builds themselves need an engine."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path

import pytest

from scripts.images import builder, catalogue
from scripts.images.builder import JsonProgress, Order, OrderFailed, Outcome, Runtime, TerminalProgress
from scripts.images.derived import ROOT, Name
from tests.unit.scripts.images.test_derived import BUILT

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

MODULES = catalogue.load()


def plan(*models: str, variant: str = "all", base: str | None = None) -> list[Order | str]:
    return builder.plan(MODULES, models, variant, base=base)


def names(orders: list[Order | str]) -> list[str]:
    return [str(order.name) for order in orders if isinstance(order, Order)]


def complaints(orders: list[Order | str]) -> list[str]:
    return [order for order in orders if isinstance(order, str)]


# Planning.


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

    assert complaints(plan(module.name, variant="gpu")) == [f"{module.name} has no gpu image; it has cpu"]


def test_another_base_serves_every_variant() -> None:
    orders = plan("audio-classification", base="mine:1")

    assert [order.base for order in orders if isinstance(order, Order)] == ["mine:1", "mine:1"]


def test_another_base_is_for_one_module() -> None:
    with pytest.raises(OrderFailed, match="BASE"):
        plan("yolov8", "voice-activity", base="mine:1")


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(OrderFailed, match="use cpu, gpu or all"):
        plan("yolov8", variant="tpu")


def test_only_a_base_of_this_project_is_built_rather_than_pulled() -> None:
    [ours] = plan("voice-activity", variant="cpu")
    [pulled] = plan("yolov8", variant="cpu")
    [replaced] = plan("voice-activity", variant="cpu", base="mine:1")

    found = [order.base_is_ours for order in (ours, pulled, replaced) if isinstance(order, Order)]
    assert found == [True, False, False]


def test_a_runtime_that_is_not_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(OrderFailed, match="make runtime"):
        Runtime.pack(tmp_path / "runtime.tar", tmp_path / "context.tar")


# What goes into an image.

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


# The command.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["yolov8", "--variant", "tpu"], "VARIANT is 'tpu'"),
        (["yolov8", "--registry", "Not/Lower"], "REGISTRY is 'Not/Lower'"),
        (["yolov8", "--push"], "give REGISTRY="),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert builder.main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_no_engine_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    assert builder.main(["yolov8"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "no Docker engine answers" in line


def test_the_number_of_jobs_must_be_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        builder.main(["yolov8", "--jobs", "0"])
    assert "'0' is not a number from 1 up" in capsys.readouterr().err


# Side by side.


def order(number: int) -> Order:
    return Order(module=MODULES["voice-activity"], name=Name(module=f"module-{number}", variant="cpu"), base="base")


def test_orders_run_side_by_side_and_answer_in_their_order() -> None:
    both_here = threading.Barrier(2, timeout=30)

    def work(order: Order) -> Outcome:
        both_here.wait()
        return Outcome(name=str(order.name), state="built")

    outcomes = builder.side_by_side(work, [order(1), order(2)], jobs=2)

    assert [outcome.name for outcome in outcomes] == ["deepaas-batch/module-1:cpu", "deepaas-batch/module-2:cpu"]


def test_no_more_orders_run_at_once_than_jobs() -> None:
    threads = set()

    def work(order: Order) -> Outcome:
        threads.add(threading.get_ident())
        return Outcome(name=str(order.name), state="built")

    builder.side_by_side(work, [order(number) for number in range(9)], jobs=1)

    assert len(threads) == 1


def test_a_bug_in_one_order_is_raised_and_does_not_hang() -> None:
    def work(order: Order) -> Outcome:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        builder.side_by_side(work, [order(1)], jobs=1)


# Telling.

FAILED = Outcome(name="deepaas-batch/yolov8:cpu", state="failed", seconds=1.26, error="no base")


def test_progress_elsewhere_than_on_a_terminal_is_json_lines_one_for_each_stage() -> None:
    out = io.StringIO()
    progress = JsonProgress(out)
    for detail in ("1 of 9 MB", "2 of 9 MB"):
        progress.stage("a", "pull", detail)
    progress.stage("a", "build")
    progress.ended(FAILED)

    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line.get("stage")) for line in told] == [
        ("stage", "pull"),
        ("stage", "build"),
        ("ended", None),
    ]


def test_progress_on_a_terminal_is_one_line_written_over() -> None:
    out = io.StringIO()
    progress = TerminalProgress(2, out)
    progress.stage("deepaas-batch/yolov8:cpu", "build", "step 3/9")

    assert out.getvalue() == "\r\x1b[K[..........] 0/2 yolov8:cpu: build step 3/9"


def test_the_table_tells_of_each_image_what_became_of_it() -> None:
    built = Outcome(name=BUILT.name, state="built", seconds=8.54, built=BUILT)

    assert builder.table([built, FAILED]).splitlines() == [
        "image                             state   digest                base           MB  added MB  seconds  check",
        "deepaas-batch/voice-activity:cpu  built   111111111111 (local)  222222222222  472        48      8.5  ok",
        "deepaas-batch/yolov8:cpu          failed  -                     -               -         -      1.3  -",
    ]
