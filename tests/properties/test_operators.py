"""Whatever the items cost: limits hold, nothing is lost, order is kept."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from reactivex import Observable
from reactivex.testing import ReactiveTest, TestScheduler

from wetlands_rx._operators.paced import open_source
from wetlands_rx.operators import buffer_bounded, concat_map_eager, conflate, from_items, merge_map

costs_of_items = some.lists(some.integers(1, 30), max_size=12)
limits = some.integers(1, 5)


class Lab:
    """Inner streams that send their number once, after the time it costs, and keep count."""

    def __init__(self, costs: list[int], failing: int | None = None) -> None:
        self.clock = TestScheduler()
        self.costs = costs
        self.failing = failing
        self.inner: list[Any] = []
        self.most_ahead = self.pulled = self.delivered = 0

    def items(self) -> Any:
        for number in range(len(self.costs)):
            self.pulled += 1
            self.most_ahead = max(self.most_ahead, self.pulled - self.delivered)
            yield number

    def begin(self, number: int) -> Observable[int]:
        cost = self.costs[number]
        if number == self.failing:
            made = self.clock.create_cold_observable(ReactiveTest.on_error(cost, ValueError(number)))
        else:
            made = self.clock.create_cold_observable(
                ReactiveTest.on_next(cost, number), ReactiveTest.on_completed(cost)
            )
        self.inner.append(made)
        return made

    def run(self, operator: Any) -> list[Any]:
        told: list[Any] = []

        def on_value(number: int) -> None:
            self.delivered += 1
            told.append(number)

        source = from_items(self.items()).pipe(operator)
        source.subscribe(on_value, told.append, lambda: told.append("|"), scheduler=self.clock)
        self.clock.start()
        return told

    def most_at_once(self) -> int:
        spans = [subscription for inner in self.inner for subscription in inner.subscriptions]
        return max((sum(a.subscribe <= b.subscribe < a.unsubscribe for a in spans) for b in spans), default=0)


@given(costs_of_items, limits, limits)
def test_in_order_nothing_is_lost_and_the_limits_hold(costs: list[int], running: int, window: int) -> None:
    lab = Lab(costs)
    assert lab.run(concat_map_eager(lab.begin, running, window)) == [*range(len(costs)), "|"]
    assert lab.most_at_once() <= min(running, window)
    assert lab.most_ahead <= window + 1


@given(costs_of_items, limits, limits)
def test_as_they_come_nothing_is_lost_and_the_limits_hold(costs: list[int], running: int, window: int) -> None:
    lab = Lab(costs)
    told = lab.run(merge_map(lab.begin, running, window))
    assert told.pop() == "|"
    assert sorted(told) == list(range(len(costs)))
    assert lab.most_at_once() <= min(running, window)
    assert lab.most_ahead <= window + 1


@given(some.lists(some.integers(1, 30), min_size=1, max_size=12), limits, limits, some.data())
def test_in_order_an_error_comes_after_exactly_what_was_before_it(
    costs: list[int], running: int, window: int, data: some.DataObject
) -> None:
    failing = data.draw(some.integers(0, len(costs) - 1))
    lab = Lab(costs, failing)
    *values, error = lab.run(concat_map_eager(lab.begin, running, window))
    assert values == list(range(failing))
    assert isinstance(error, ValueError)
    assert all(span.unsubscribe <= lab.clock.clock for inner in lab.inner for span in inner.subscriptions)


@given(some.lists(some.integers(1, 30), min_size=1, max_size=12), limits, some.data())
def test_as_they_come_there_is_one_end_and_nothing_runs_after_it(
    costs: list[int], running: int, data: some.DataObject
) -> None:
    lab = Lab(costs, data.draw(some.integers(0, len(costs) - 1)))
    told = lab.run(merge_map(lab.begin, running))
    assert [isinstance(value, ValueError) for value in told].count(True) == 1
    assert isinstance(told[-1], ValueError)
    assert all(span.unsubscribe <= lab.clock.clock for inner in lab.inner for span in inner.subscriptions)


@given(some.lists(some.tuples(some.integers(1, 40), some.sampled_from("abc")), max_size=20), some.integers(1, 50))
def test_conflating_keeps_the_last_of_each_key_and_the_pace(gaps: list[tuple[int, str]], period: int) -> None:
    clock = TestScheduler()
    times: list[tuple[int, str]] = []
    for gap, key in gaps:
        times.append(((times[-1][0] if times else 200) + gap, key))
    end = (times[-1][0] if times else 200) + 1
    messages = [ReactiveTest.on_next(time, (key, time)) for time, key in times]
    source: Any = clock.create_hot_observable(*messages, ReactiveTest.on_completed(end))

    def key_of(value: tuple[str, int]) -> str:
        return value[0]

    observer = clock.start(lambda: source.pipe(conflate(period, key_of, scheduler=clock)), disposed=2000)
    seen: list[Any] = list(observer.messages)
    values = [(message.time, message.value.value) for message in seen[:-1]]
    assert {key: time for _, (key, time) in values} == {key: time for time, key in times}
    moments = sorted({time for time, _ in values if time != end})
    assert all(later - earlier >= period for earlier, later in pairwise(moments))
    assert (seen[-1].time, seen[-1].value.kind) == (end, "C")


@given(some.lists(some.booleans(), max_size=40), limits)
def test_a_buffer_that_drops_keeps_the_newest_in_order(story: list[bool], size: int) -> None:
    """True: a value comes; False: one is asked for."""
    from reactivex.subject import Subject

    source, told = Subject[int](), list[int]()

    class Consumer:
        def on_next(self, value: int, /) -> None:
            told.append(value)

        def on_error(self, error: Exception, /) -> None:
            raise error

        def on_completed(self) -> None:
            told.append(-1)

    flow = open_source(source.pipe(buffer_bounded(size, "drop_oldest")), Consumer(), None)
    model: list[int] = []
    expected: list[int] = []
    wanted = sent = 0
    for comes in story:
        if comes:
            model = [*model, sent][-size:]
            source.on_next(sent)
            sent += 1
        else:
            wanted += 1
            flow.request(1)
        while wanted and model:
            wanted -= 1
            expected.append(model.pop(0))
        assert told == expected
    flow.dispose()
