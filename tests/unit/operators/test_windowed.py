"""merge_map and concat_map_eager, in virtual time."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from tests.unit.operators.by_hand import SOON, Log, at, seen
from wetlands_rx._operators.paced import Paced, open_source
from wetlands_rx.operators import concat_map_eager, from_items, merge_map

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error
Operator = Callable[[Callable[[Any], Observable[Any]], int, int | None], Callable[[Observable[Any]], Observable[Any]]]
both = pytest.mark.parametrize("operator", [merge_map, concat_map_eager])


class Lab:
    """Inner streams of one value, which take the time that their item says."""

    def __init__(self, **costs: int) -> None:
        self.clock = TestScheduler()
        self.costs = costs
        self.begun: list[tuple[float, str]] = []
        self.pulled: list[tuple[float, str]] = []
        self.closed_at: float | None = None
        self.inner: dict[str, Any] = {}

    def run(self, item: str) -> Observable[str]:
        self.begun.append((self.now, item))
        cost = self.costs[item]
        self.inner[item] = self.clock.create_cold_observable(on_next(cost, item.upper()), on_completed(cost))
        return self.inner[item]

    @property
    def now(self) -> float:
        return self.clock.to_seconds(self.clock.now)

    def items(self) -> Generator[str]:
        try:
            for item in self.costs:
                self.pulled.append((self.now, item))
                yield item
        finally:
            self.closed_at = self.now

    def seen(self, operator: Callable[[Observable[Any]], Observable[Any]], disposed: float = 1000) -> list[Any]:
        return seen(self.clock.start(lambda: from_items(self.items()).pipe(operator), disposed=disposed))


def test_merge_map_sends_values_as_they_come() -> None:
    lab = Lab(a=30, b=10, c=10)
    assert lab.seen(merge_map(lab.run, 2)) == [(210, "B"), (220, "C"), (230, "A"), (230, "|")]


def test_concat_map_eager_sends_values_in_the_order_of_the_items() -> None:
    lab = Lab(a=30, b=10, c=10)
    assert lab.seen(concat_map_eager(lab.run, 2)) == [(230, "A"), (230, "B"), (230, "C"), (230, "|")]


@both
def test_an_inner_stream_begins_when_another_has_ended(operator: Operator) -> None:
    lab = Lab(a=30, b=10, c=10, d=5)
    lab.seen(operator(lab.run, 2, None))
    assert lab.begun == [(200, "a"), (200, "b"), (210, "c"), (220, "d")]


@both
def test_an_item_is_pulled_when_there_is_room_for_it_and_not_before(operator: Operator) -> None:
    lab = Lab(a=30, b=10, c=10, d=5)
    lab.seen(operator(lab.run, 2, None))
    assert lab.pulled == lab.begun


def test_ended_items_that_wait_for_an_earlier_one_fill_the_window() -> None:
    lab = Lab(a=100, b=10, c=10, d=10, e=10)
    lab.seen(concat_map_eager(lab.run, 2, 3))
    assert lab.begun == [(200, "a"), (200, "b"), (210, "c"), (300, "d"), (300, "e")]


@both
def test_disposing_stops_what_runs_and_closes_the_generator(operator: Operator) -> None:
    lab = Lab(a=100, b=100, c=100)
    assert lab.seen(operator(lab.run, 2, None), disposed=250) == []
    assert lab.closed_at == 250
    assert [inner.subscriptions for inner in lab.inner.values()] == [[ReactiveTest.subscribe(200, 250)]] * 2


def test_an_error_comes_at_its_position_when_ordered() -> None:
    lab = Lab(a=50, b=10, c=20, d=10)

    def run(item: str) -> Observable[str]:
        made = lab.run(item)
        if item == "b":
            return lab.clock.create_cold_observable(on_next(5, "B"), on_error(10, ValueError("b")))
        return made

    assert lab.seen(concat_map_eager(run, 2)) == [(250, "A"), (250, "B"), (250, "# ValueError")]
    assert lab.begun == [(200, "a"), (200, "b")], "nothing is begun once the error is known"
    assert lab.closed_at == 250


def test_an_error_ends_all_at_once_when_unordered() -> None:
    lab = Lab(a=50, b=10, c=20)

    def run(item: str) -> Observable[str]:
        made = lab.run(item)
        return lab.clock.create_cold_observable(on_error(10, ValueError("b"))) if item == "b" else made

    assert lab.seen(merge_map(run, 2)) == [(210, "# ValueError")]
    assert lab.inner["a"].subscriptions == [ReactiveTest.subscribe(200, 210)]
    assert lab.closed_at == 210


@both
def test_what_project_raises_is_an_error_of_its_item(operator: Operator) -> None:
    def run(item: int) -> Observable[int]:
        if item == 2:
            raise LookupError("two")
        return reactivex.of(item)

    log = Log(from_items(range(5)).pipe(operator(run, 1, None)))
    assert log == ["0", "1", "# LookupError"]


def test_an_error_of_the_iterable_comes_after_the_items_before_it_when_ordered() -> None:
    lab = Lab(a=30, b=10)

    def items() -> Generator[str]:
        yield from "ab"
        raise OSError("unreadable")

    told = seen(lab.clock.start(lambda: from_items(items()).pipe(concat_map_eager(lab.run, 3))))
    assert told == [(230, "A"), (230, "B"), (230, "# OSError")]


def test_an_error_of_the_source_ends_all_at_once_when_unordered() -> None:
    lab = Lab(a=30)
    source = lab.clock.create_hot_observable(on_next(210, "a"), on_error(220, OSError()))
    assert seen(lab.clock.start(lambda: source.pipe(merge_map(lab.run, 2)))) == [(220, "# OSError")]
    assert lab.inner["a"].subscriptions == [ReactiveTest.subscribe(210, 220)]


@both
def test_a_source_that_pushes_is_not_lost_and_not_outrun(operator: Operator) -> None:
    lab = Lab(a=30, b=30, c=30)
    source = lab.clock.create_hot_observable(on_next(205, "a"), on_next(206, "b"), on_next(207, "c"), on_completed(208))
    told = seen(lab.clock.start(lambda: source.pipe(operator(lab.run, 1, None))))
    assert told == [(235, "A"), (265, "B"), (295, "C"), (295, "|")]


@both
def test_inner_streams_of_many_values(operator: Operator) -> None:
    log = Log(from_items("ab").pipe(operator(lambda item: reactivex.of(item, item.upper()), 1, None)))
    assert log == ["a", "A", "b", "B", "|"]


@both
def test_no_items_no_values(operator: Operator) -> None:
    assert Log(from_items(()).pipe(operator(reactivex.of, 2, None))) == ["|"]


@both
def test_an_endless_generator_is_left_when_enough_was_taken(operator: Operator) -> None:
    state = {"pulled": 0, "closed": False}

    def endless() -> Generator[int]:
        try:
            while True:
                state["pulled"] += 1
                yield state["pulled"]
        finally:
            state["closed"] = True

    log = Log(from_items(endless()).pipe(operator(reactivex.of, 2, 4), ops.take(10)))
    assert log == [*map(str, range(1, 11)), "|"]
    assert state["pulled"] <= 10 + 4 + 1
    assert state["closed"]


@both
def test_an_observer_that_raises_is_reported_and_hears_the_rest(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def picky(value: int) -> None:
        if value == 1:
            raise ValueError("not one")
        log.on_next(value)

    from_items(range(4)).pipe(operator(reactivex.of, 2, None)).subscribe(picky, log.on_error, log.on_completed)
    assert log == ["0", "2", "3", "|"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@both
def test_the_next_operator_sets_the_pace(operator: Operator) -> None:
    """Values that it has not asked for fill the window, and nothing more is pulled."""
    pulled: list[int] = []

    def items() -> Generator[int]:
        for item in range(100):
            pulled.append(item)
            yield item

    log = Log()
    flow = open_source(from_items(items()).pipe(operator(reactivex.of, 2, 4)), log, None)
    flow.request(3)
    assert log == ["0", "1", "2"]
    assert len(pulled) == 3 + 4
    flow.request(1)
    assert len(pulled) == 4 + 4
    flow.dispose()


@both
def test_no_lock_is_held_while_the_observer_is_called(operator: Operator) -> None:
    inner: dict[str, Subject[str]] = {"a": Subject(), "b": Subject()}
    log = Log()

    def on_value(value: str) -> None:
        log.on_next(value)
        if value == "a1":
            other = threading.Thread(target=inner["b"].on_next, args=("b1",))
            other.start()
            other.join(SOON)
            assert not other.is_alive()

    subscription = from_items("ab").pipe(operator(inner.__getitem__, 2, None)).subscribe(on_value)
    inner["a"].on_next("a1")
    inner["a"].on_completed()
    assert log == ["a1", "b1"]
    subscription.dispose()


@both
def test_disposing_inside_the_observer_is_the_end(operator: Operator) -> None:
    source: Subject[int] = Subject()
    log = Log()

    def once(value: int) -> None:
        log.on_next(value)
        subscription.dispose()

    subscription = source.pipe(operator(reactivex.of, 2, None)).subscribe(once)
    source.on_next(1)
    source.on_next(2)
    assert log == ["1"]
    assert not source.observers


@both
def test_an_inner_stream_that_ends_after_disposal_is_not_heard(operator: Operator) -> None:
    lab = Lab(a=30)
    observer = lab.clock.create_observer()
    flow = open_source(from_items("a").pipe(operator(lab.run, 1, None)), observer, lab.clock)
    at(lab.clock, 10, lambda: flow.request(1))
    at(lab.clock, 20, flow.dispose)
    at(lab.clock, 25, lambda: flow.request(1))
    lab.clock.start()
    assert observer.messages == []


@both
@pytest.mark.parametrize(("running", "window"), [(0, None), (1, 0), (-1, 3)])
def test_limits_are_positive(operator: Operator, running: int, window: int | None) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        operator(reactivex.of, running, window)


def test_from_items_pushes_to_those_who_do_not_set_the_pace() -> None:
    assert Log(from_items("abc").pipe(ops.map(str.upper))) == ["A", "B", "C", "|"]


def test_from_items_is_left_when_enough_was_taken() -> None:
    assert Log(from_items(itertools.count()).pipe(ops.take(3))) == ["0", "1", "2", "|"]


def test_an_error_overtakes_values_that_were_not_asked_for_when_order_is_free() -> None:
    inner: dict[str, Subject[str]] = {"a": Subject(), "b": Subject()}
    log = Log()
    flow = open_source(from_items("ab").pipe(merge_map(inner.__getitem__, 2)), log, None)
    flow.request(1)
    for value in ("1", "2", "3"):
        inner["a"].on_next(value)
    inner["b"].on_error(OSError())
    assert log == ["1", "# OSError"]
    assert not inner["a"].observers


@both
def test_an_inner_stream_that_is_made_while_all_is_disposed_of_is_disposed_of_too(operator: Operator) -> None:
    inner, source = Subject[int](), Subject[int]()

    def run(_item: int) -> Observable[int]:
        subscription.dispose()
        return inner

    subscription = source.pipe(operator(run, 1, None)).subscribe()
    source.on_next(1)
    assert not inner.observers


@both
def test_a_source_that_sends_while_it_is_subscribed_to_is_left_when_all_has_ended(operator: Operator) -> None:
    left: list[bool] = []

    def subscribe(observer: Any, _scheduler: Any = None) -> Any:
        observer.on_next(1)
        observer.on_next(2)
        return lambda: left.append(True)

    def run(item: int) -> Observable[int]:
        raise LookupError(item)

    source: Observable[int] = reactivex.create(subscribe)
    assert Log(source.pipe(operator(run, 1, None))) == ["# LookupError"]
    assert left


def test_from_items_begins_anew_for_each_subscription() -> None:
    items = from_items([1, 2])
    assert Log(items) == Log(items) == ["1", "2", "|"]
    assert isinstance(items, Paced)


def test_what_the_close_of_a_generator_raises_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    def stubborn() -> Generator[int]:
        try:
            yield 1
        finally:
            raise RuntimeError("never")

    flow = open_source(from_items(stubborn()), Log(), None)
    flow.request(1)
    flow.dispose()
    assert len(caplog.records) == 1
