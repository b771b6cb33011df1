"""The three stages by themselves: what overlaps, what holds back what, and in which order it is told."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from supervisor.failures import Bug, ItemFailed, Stopped
from supervisor.pipeline import Bounds, Pipeline, Room
from supervisor.status.document import DONE, ITEM_FAILED, Outcome
from supervisor.work.plan import Item

_PATIENCE = 30


def item(index: int) -> Item:
    return Item(index=index, uri=f"s3://bucket/{index}.wav", relative=f"{index}.wav", output="s3://bucket/out/")


def items(count: int) -> Iterator[Item]:
    return map(item, range(count))


@dataclass
class Recorded:
    """Steps that do nothing but keep what was asked of them. during: called with the stage's name and the item."""

    during: Callable[[str, Item], None] = lambda _, __: None
    sizes: Callable[[int], int] = lambda _: 1
    log: list[tuple[str, int]] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    cut: threading.Event = field(default_factory=threading.Event)

    def fetch(self, item: Item, room: Room) -> Item | Outcome:
        room.admit(item.index, self.sizes(item.index))
        return self._step("fetch", item)

    def predict(self, predictor: int, fetched: Item) -> Item | Outcome:
        return self._step("predict", fetched)

    def store(self, predicted: Item) -> Outcome:
        self._step("store", predicted)
        return Outcome(item=predicted, state=DONE)

    def no_more(self, predictor: int) -> None:
        self.finished.append(predictor)

    def cut_off(self) -> None:
        self.cut.set()

    def _step(self, stage: str, item: Item) -> Item:
        self.log.append((stage, item.index))
        self.during(stage, item)
        return item

    def seen(self, stage: str) -> list[int]:
        return [index for name, index in self.log if name == stage]


def test_outcomes_are_told_in_the_order_of_the_work_whatever_order_they_end_in() -> None:
    told: list[Outcome] = []
    later = threading.Event()

    def during(stage: str, item: Item) -> None:
        if stage == "store" and item.index == 0:
            assert later.wait(_PATIENCE)
        if stage == "store" and item.index == 5:
            later.set()

    steps = Recorded(during)
    Pipeline(steps, told.append, Bounds()).run(items(10))
    assert [outcome.item.index for outcome in told] == list(range(10))


def test_the_next_input_comes_while_the_model_runs() -> None:
    next_came = threading.Event()

    def during(stage: str, item: Item) -> None:
        if stage == "fetch" and item.index == 1:
            next_came.set()
        if stage == "predict" and item.index == 0:
            assert next_came.wait(_PATIENCE)

    Pipeline(Recorded(during), lambda _: None, Bounds(fetchers=1)).run(items(2))


def test_the_model_runs_while_a_result_is_stored() -> None:
    next_predicted = threading.Event()

    def during(stage: str, item: Item) -> None:
        if stage == "predict" and item.index == 1:
            next_predicted.set()
        if stage == "store" and item.index == 0:
            assert next_predicted.wait(_PATIENCE)

    Pipeline(Recorded(during), lambda _: None, Bounds(storers=1)).run(items(2))


def test_a_slow_model_holds_the_downloads_back() -> None:
    ahead: list[int] = []

    def during(stage: str, item: Item) -> None:
        if stage == "predict" and item.index == 0:
            # The bound is 5: once 5 are fetched nothing more can come, however long this takes.
            deadline = time.monotonic() + _PATIENCE
            while len(steps.seen("fetch")) < 5 and time.monotonic() < deadline:
                time.sleep(0.001)
            ahead.append(len(steps.seen("fetch")))

    steps = Recorded(during)
    Pipeline(steps, lambda _: None, Bounds(items=5)).run(items(50))
    assert ahead == [5]
    assert len(steps.seen("store")) == 50


def test_a_slow_upload_holds_the_model_back() -> None:
    most = 0
    in_hand = 0
    lock = threading.Lock()

    def during(stage: str, item: Item) -> None:
        nonlocal most, in_hand
        with lock:
            in_hand += {"fetch": 1, "predict": 0, "store": -1}[stage]
            most = max(most, in_hand)

    Pipeline(Recorded(during), lambda _: None, Bounds(items=7, storers=1)).run(items(200))
    assert most <= 7


def test_the_bytes_on_the_disk_stay_below_the_bound() -> None:
    sizes = [30, 90, 10, 60, 100, 5, 50] * 20
    on_disk: dict[int, int] = {}
    most: list[int] = []
    lock = threading.Lock()

    def during(stage: str, item: Item) -> None:
        with lock:
            if stage == "fetch":
                on_disk[item.index] = sizes[item.index]
            most.append(sum(on_disk.values()))
            if stage == "store":
                del on_disk[item.index]

    Pipeline(Recorded(during, sizes.__getitem__), lambda _: None, Bounds(size=100)).run(items(len(sizes)))
    assert max(most) <= 100


def test_an_item_larger_than_the_bound_has_the_room_for_itself() -> None:
    told: list[int] = []
    sizes = [1, 500, 1]
    Pipeline(Recorded(sizes=sizes.__getitem__), lambda o: told.append(o.item.index), Bounds(size=100)).run(items(3))
    assert told == [0, 1, 2]


def test_items_that_turn_out_larger_are_let_in_again_within_the_bound_and_none_waits_for_ever() -> None:
    sizes = [5, 70, 20, 400, 90, 35, 5, 101] * 10
    on_disk: dict[int, int] = {}
    most: list[int] = []
    lock = threading.Lock()

    class Growing(Recorded):
        def fetch(self, item: Item, room: Room) -> Item | Outcome:
            guess, size = 10, sizes[item.index]
            while True:
                room.admit(item.index, guess)
                with lock:
                    on_disk[item.index] = min(guess, size)
                    most.append(sum(on_disk.values()) if max(on_disk.values()) <= 100 else 1000 * (len(on_disk) - 1))
                if size <= guess:
                    room.settle(item.index, size)
                    return item
                with lock:
                    del on_disk[item.index]
                guess *= 4

        def store(self, predicted: Item) -> Outcome:
            with lock:
                del on_disk[predicted.index]
            return super().store(predicted)

    told: list[Outcome] = []
    Pipeline(Growing(), told.append, Bounds(size=100)).run(items(len(sizes)))
    assert len(told) == len(sizes)
    assert max(most) <= 100


@pytest.mark.parametrize("stage", ["fetch", "predict", "store"])
def test_an_item_that_fails_in_a_stage_does_not_stop_the_others(stage: str) -> None:
    class Failing(Recorded):
        def _step(self, name: str, item: Item) -> Item:
            super()._step(name, item)
            return self.failed(item) if name == stage and item.index == 3 else item  # type: ignore[return-value]

        def failed(self, item: Item) -> Outcome:
            return Outcome(item=item, state=ITEM_FAILED, failure=ItemFailed("no"))

        def store(self, predicted: Item) -> Outcome:
            ended = self._step("store", predicted)
            return ended if isinstance(ended, Outcome) else Outcome(item=predicted, state=DONE)

    told: list[Outcome] = []
    Pipeline(Failing(), told.append, Bounds(items=4)).run(items(20))
    assert [outcome.item.index for outcome in told if outcome.failure] == [3]
    assert len(told) == 20


@pytest.mark.parametrize("stage", ["fetch", "predict", "store"])
def test_what_a_stage_raises_is_raised_in_the_main_thread(stage: str) -> None:
    def during(name: str, item: Item) -> None:
        if name == stage and item.index == 2:
            raise Bug("at last")

    with pytest.raises(Bug, match="at last"):
        Pipeline(Recorded(during), lambda _: None, Bounds()).run(items(20))


def test_trouble_in_the_listing_is_raised_in_the_main_thread() -> None:
    def broken() -> Iterator[Item]:
        yield item(0)
        raise ItemFailed("the listing broke off")

    with pytest.raises(ItemFailed, match="broke off"):
        Pipeline(Recorded(), lambda _: None, Bounds()).run(broken())


def test_every_predictor_hears_that_no_more_comes() -> None:
    steps = Recorded()
    Pipeline(steps, lambda _: None, Bounds(predictors=3)).run(items(5))
    assert sorted(steps.finished) == [0, 1, 2]


def test_no_work_is_no_trouble() -> None:
    Pipeline(Recorded(), lambda _: None, Bounds()).run(items(0))


def test_a_listing_without_end_is_read_no_further_than_there_is_room() -> None:
    read: list[int] = []

    def endless() -> Iterator[Item]:
        for index in range(10**9):
            read.append(index)
            yield item(index)

    def during(stage: str, item: Item) -> None:
        if stage == "predict" and item.index == 10:
            raise Bug("enough")

    with pytest.raises(Bug):
        Pipeline(Recorded(during), lambda _: None, Bounds(items=8)).run(endless())
    assert len(read) < 10 + 8 + 2


def wind_down(pipeline: Pipeline[Any, Any], grace: float) -> None:
    until = time.monotonic() + grace
    pipeline.wind_down(predictions_until=lambda: until, uploads_until=lambda: until)


class _Stopping:
    """A job that is told to stop while item 3 is being predicted; `release` lets that prediction end."""

    def __init__(self) -> None:
        self.told: list[Outcome] = []
        self.release = threading.Event()
        self.steps = Recorded(self._during)
        self.steps.cut_off = self._cut  # type: ignore[method-assign]
        self.pipeline = Pipeline(self.steps, self._tell, Bounds(items=10))

    def _during(self, stage: str, item: Item) -> None:
        if stage == "predict" and item.index == 3:
            assert self.release.wait(_PATIENCE)

    def _tell(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        if outcome.item.index == 2:  # as a signal's handler would, in the main thread
            raise Stopped("stopped by SIGTERM")

    def _cut(self) -> None:
        self.steps.cut.set()
        self.release.set()

    def run(self, grace: float) -> list[int]:
        with pytest.raises(Stopped):
            self.pipeline.run(items(100))
        wind_down(self.pipeline, grace)
        return [outcome.item.index for outcome in self.told]


def test_a_prediction_that_ends_within_the_grace_is_stored_and_told_of_and_no_other_begins() -> None:
    job = _Stopping()
    threading.Timer(0.2, job.release.set).start()
    assert job.run(grace=_PATIENCE) == [0, 1, 2, 3]
    assert job.steps.seen("predict") == [0, 1, 2, 3]


def test_a_prediction_that_outlasts_the_grace_is_cut_off() -> None:
    job = _Stopping()
    job.run(grace=0.05)
    assert job.steps.cut.is_set()


@pytest.mark.parametrize("stage", ["fetch", "predict", "store"])
def test_an_item_whose_model_was_ended_under_it_has_not_failed(stage: str) -> None:
    """Also where it asked the model what it is, to know whether a result stands, or was to be done again."""
    begun = threading.Event()

    class Waiting(Recorded):
        def fetch(self, item: Item, room: Room) -> Item | Outcome:
            return self.waited("fetch", item) or super().fetch(item, room)

        def predict(self, predictor: int, fetched: Item) -> Item | Outcome:
            return self.waited("predict", fetched) or super().predict(predictor, fetched)

        def store(self, predicted: Item) -> Outcome:
            return self.waited("store", predicted) or super().store(predicted)

        def cut_off(self) -> None:
            super().cut_off()
            time.sleep(0.2)  # models take a while to end, and what waited for them does not

        def waited(self, name: str, item: Item) -> Outcome | None:
            if name != stage:
                return None
            begun.set()
            assert self.cut.wait(_PATIENCE)
            return Outcome(item=item, state=ITEM_FAILED, failure=Stopped("the model was ended"))

    told: list[Outcome] = []
    pipeline = Pipeline(Waiting(), told.append, Bounds())

    def stop() -> None:
        assert begun.wait(_PATIENCE)
        pipeline.stop(Stopped("stopped by SIGTERM"))

    threading.Thread(target=stop).start()
    with pytest.raises(Stopped):
        pipeline.run(items(3))
    wind_down(pipeline, 0.1)
    assert told == []


def test_a_teller_that_hangs_holds_no_stop_up() -> None:
    hangs, over = threading.Event(), threading.Event()

    def tell(outcome: Outcome) -> None:
        hangs.set()
        over.wait(_PATIENCE)

    pipeline = Pipeline(Recorded(), tell, Bounds(items=10))

    def stop() -> None:
        assert hangs.wait(_PATIENCE)
        pipeline.stop(Stopped("stopped by SIGTERM"))

    threading.Thread(target=stop).start()
    with pytest.raises(Stopped):
        pipeline.run(items(100))
    wind_down(pipeline, 0.1)
    assert not over.is_set()
    over.set()


def test_nothing_is_told_once_the_rest_was() -> None:
    told: list[int] = []
    late = threading.Event()

    def during(stage: str, item: Item) -> None:
        if stage != "store":
            return
        if len(steps.seen("store")) == 3:
            pipeline.stop(Stopped("stopped by SIGTERM"))
        if item.index == 0:
            assert late.wait(_PATIENCE)

    steps = Recorded(during)
    pipeline = Pipeline(steps, lambda outcome: told.append(outcome.item.index), Bounds(items=3))
    with pytest.raises(Stopped):
        pipeline.run(items(3))
    wind_down(pipeline, 0.1)
    assert told == [1, 2]
    late.set()
    time.sleep(0.2)
    assert told == [1, 2]


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_more_fetchers_than_places_all_come_to_their_end(count: int) -> None:
    told: list[Outcome] = []
    Pipeline(Recorded(), told.append, Bounds(fetchers=4, items=1)).run(items(count))
    assert len(told) == count
