"""JOB_WORKERS=auto: when there is another copy, and when there is not. With a clock that does not run by itself."""

from collections.abc import Callable

import pytest

from supervisor.model.growth import Growth


class Machine:
    """Copies that predict at such rates: rates(copies) is items a second, of all together."""

    def __init__(
        self, most: int, rates: Callable[[int], float], carried: Callable[[], int] = lambda: 64, loading: float = 1.0
    ) -> None:
        self.now = 0.0
        self.growth = Growth(most, carried, lambda: self.now)
        self.copies, self.most_seen = 1, 1
        self._rates, self._loading = rates, loading

    def run(self, items: int) -> int:
        """How many copies there are after so many items."""
        arrives: float | None = None
        for _ in range(items):
            self.now += 1 / self._rates(min(self.copies, self.growth.wanted))
            self.growth.ended()
            if self.growth.wanted > self.copies and arrives is None:
                arrives = self.now + self._loading
            if arrives is not None and self.now >= arrives:
                for _ in range(self.growth.wanted - self.copies):
                    self.growth.arrived()
                self.copies, arrives = self.growth.wanted, None
                self.most_seen = max(self.most_seen, self.copies)
        return min(self.copies, self.growth.wanted)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 11, 16, 64])
@pytest.mark.parametrize("rate", [0.01, 1.0, 200.0])
def test_where_each_copy_brings_its_share_there_are_as_many_as_may_be(most: int, rate: float) -> None:
    assert Machine(most, lambda copies: rate * copies).run(30_000) == most


def test_a_last_step_of_one_copy_is_part_of_the_one_before() -> None:
    growth = Growth(3, lambda: 64, lambda: 0.0)
    growth.ended()
    assert growth.wanted == 3
    assert Machine(5, lambda copies: 10.0 * copies).run(3000) == 5


def test_the_first_step_is_taken_with_the_first_item() -> None:
    growth = Growth(8, lambda: 64, lambda: 0.0)
    assert growth.wanted == 1
    growth.ended()
    assert growth.wanted == 2


@pytest.mark.parametrize("limit", [1, 2, 4, 8])
def test_where_more_bring_nothing_it_goes_one_step_back(limit: int) -> None:
    """As where a disk, a network or the supervisor itself is what the rate hangs on."""
    machine = Machine(16, lambda copies: 50.0 * min(copies, limit))
    assert machine.run(30_000) == limit
    assert machine.most_seen == 2 * limit


def test_copies_that_harm_are_given_up() -> None:
    assert Machine(4, lambda copies: 50.0 / copies).run(1000) == 1


def test_a_rate_that_wavers_by_a_tenth_is_no_reason_to_go_back() -> None:
    wavering = [0.9, 1.1, 1.0]
    assert Machine(16, lambda copies: 20.0 * copies * wavering[copies % 3]).run(3000) == 16


def test_two_seconds_of_trouble_are_no_reason_either() -> None:
    machine = Machine(4, lambda copies: 5.0 if 2.0 < machine.now < 4.0 else 50.0 * copies)
    assert machine.run(3000) == 4


@pytest.mark.parametrize("carried", [1, 2, 3, 7])
def test_there_are_no_more_than_find_room(carried: int) -> None:
    machine = Machine(16, lambda copies: 10.0 * copies, lambda: carried)
    assert machine.run(3000) == carried
    assert machine.growth.most == carried


def test_room_is_asked_for_before_each_step() -> None:
    rooms = iter([16, 4, 4, 4])
    assert Machine(16, lambda copies: 10.0 * copies, lambda: next(rooms)).run(3000) == 4


@pytest.mark.parametrize(("failing", "left"), [([1], 1), ([2], 2), ([2, 1], 1), ([1, 2], 1)])
def test_a_copy_that_cannot_be_had_leaves_those_before_it(failing: list[int], left: int) -> None:
    growth = Growth(3, lambda: 64, lambda: 0.0)
    growth.ended()
    for copy in failing:
        growth.not_loaded(copy)
    for _ in range(100):
        growth.ended()
    assert growth.wanted == left


def test_a_copy_that_dies_of_its_memory_leaves_the_step_before() -> None:
    machine = Machine(8, lambda copies: 10.0 * copies)
    machine.run(3000)
    machine.growth.lost()
    assert machine.run(100) == 4


def test_a_job_that_ends_before_the_first_copy_has_shown_a_rate_keeps_both() -> None:
    """Items of an hour each, and a model that is loaded in a second."""
    assert Machine(2, lambda copies: copies / 3600, loading=1.0).run(20) == 2
