"""conflate, serialize, buffer_bounded and timeout_total."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from reactivex import Observable
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from tests.unit.operators.by_hand import SOON, Log, seen
from wetlands_rx._operators.paced import open_source
from wetlands_rx.operators import buffer_bounded, conflate, from_items, serialize, timeout_total

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


def steady(clock: TestScheduler, *times: int, end: int) -> Observable[int]:
    return clock.create_hot_observable(*(on_next(time, time) for time in times), on_completed(end))


# --- conflate


def test_the_first_goes_on_at_once_then_the_newest_of_each_period(clock: TestScheduler) -> None:
    source = steady(clock, 210, 220, 230, 240, 300, 900, end=950)
    told = seen(clock.start(lambda: source.pipe(conflate(25, scheduler=clock))))
    assert told == [(210, "210"), (235, "230"), (260, "240"), (300, "300"), (900, "900"), (950, "|")]


def test_what_waits_goes_on_before_the_end_does(clock: TestScheduler) -> None:
    source = steady(clock, 210, 220, end=221)
    told = seen(clock.start(lambda: source.pipe(conflate(100, scheduler=clock))))
    assert told == [(210, "210"), (221, "220"), (221, "|")]


def test_what_waits_goes_on_before_an_error_does(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 2), on_error(221, OSError()))
    told = seen(clock.start(lambda: source.pipe(conflate(100, scheduler=clock))))
    assert told == [(210, "1"), (221, "2"), (221, "# OSError")]


def test_the_newest_of_each_key_goes_on(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(
        on_next(210, "a1"), on_next(211, "b1"), on_next(212, "a2"), on_next(213, "b2"), on_completed(500)
    )
    told = seen(clock.start(lambda: source.pipe(conflate(50, lambda value: value[0], scheduler=clock))))
    assert told == [(210, "a1"), (260, "b2"), (260, "a2"), (500, "|")]


def test_a_key_that_raises_is_the_streams_error(clock: TestScheduler) -> None:
    def key(value: int) -> int:
        return 1 // (value - 220)

    told = seen(clock.start(lambda: steady(clock, 210, 220, end=500).pipe(conflate(50, key, scheduler=clock))))
    assert told == [(210, "210"), (220, "# ZeroDivisionError")]


def test_nothing_comes_after_disposal(clock: TestScheduler) -> None:
    source = steady(clock, 210, 220, end=500)
    told = seen(clock.start(lambda: source.pipe(conflate(50, scheduler=clock)), disposed=230))
    assert told == [(210, "210")]


def test_the_subscribers_scheduler_serves_when_none_is_given(clock: TestScheduler) -> None:
    assert seen(clock.start(lambda: steady(clock, 210, 220, end=500).pipe(conflate(50)))) == [
        (210, "210"),
        (260, "220"),
        (500, "|"),
    ]


def test_a_flood_costs_a_timer_a_period(clock: TestScheduler) -> None:
    source: Subject[int] = Subject()
    log = Log(source.pipe(conflate(1000, scheduler=clock)))
    for value in range(20_000):
        source.on_next(value)
    assert log == ["0"]
    source.on_completed()
    assert log == ["0", "19999", "|"]


def test_without_a_scheduler_the_librarys_threads_keep_time() -> None:
    source: Subject[int] = Subject()
    kept = threading.Event()

    def on_value(_value: int) -> None:
        if threading.current_thread().name.startswith("wetlands-delivery"):
            kept.set()

    subscription = source.pipe(conflate(0.02)).subscribe(on_value)
    for value in range(500):  # on a busy machine the second of two may come after the period: it is told at once then
        source.on_next(value)
        source.on_next(value)
        if kept.wait(SOON / 500):
            break
    subscription.dispose()
    assert kept.is_set()


@pytest.mark.parametrize("period", [0, -1.0, float("nan")])
def test_times_are_positive(period: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        conflate(period)
    with pytest.raises(ValueError, match="positive"):
        timeout_total(period)


# --- timeout_total


def test_a_source_that_ends_in_time_is_left_alone(clock: TestScheduler) -> None:
    source = steady(clock, 210, 220, end=299)
    told = seen(clock.start(lambda: source.pipe(timeout_total(100, scheduler=clock))))
    assert told == [(210, "210"), (220, "220"), (299, "|")]


def test_the_time_is_for_all_of_it_however_often_values_come(clock: TestScheduler) -> None:
    source: Any = clock.create_hot_observable(*(on_next(time, time) for time in range(210, 400, 40)))
    told = seen(clock.start(lambda: source.pipe(timeout_total(100, scheduler=clock))))
    assert told == [(210, "210"), (250, "250"), (290, "290"), (300, "# TimeoutError")]
    assert source.subscriptions == [ReactiveTest.subscribe(200, 300)]


def test_the_time_ends_without_a_scheduler_too() -> None:
    ended = threading.Event()
    Subject[int]().pipe(timeout_total(0.001)).subscribe(on_error=lambda _error: ended.set())
    assert ended.wait(SOON)


def test_a_timeout_that_nobody_needs_any_more_keeps_nothing() -> None:
    log = Log(from_items([1]).pipe(timeout_total(3600)))
    assert log == ["1", "|"]  # the leak check sees that the threads have gone


# --- serialize


def test_one_thread_at_a_time_calls_and_the_others_do_not_wait() -> None:
    source: Subject[str] = Subject()
    log, inside = Log(), list[int]()

    def on_value(value: str) -> None:
        inside.append(1)
        assert len(inside) == 1
        if value == "a":
            other = threading.Thread(target=source.on_next, args=("b",))
            other.start()
            other.join(SOON)
            assert not other.is_alive()
            source.on_next("c")
        log.on_next(value)
        inside.pop()

    source.pipe(serialize()).subscribe(on_value, log.on_error, log.on_completed)
    source.on_next("a")
    source.on_completed()
    assert log == ["a", "b", "c", "|"]


def test_nothing_comes_after_the_end() -> None:
    source: Subject[int] = Subject()
    log = Log()

    def on_value(value: int) -> None:
        if value == 1:
            source.on_completed()
            source.on_next(2)
        log.on_next(value)

    source.pipe(serialize()).subscribe(on_value, log.on_error, log.on_completed)
    source.on_next(1)
    assert log == ["1", "|"]


def test_an_observer_that_raises_harms_no_producer(caplog: pytest.LogCaptureFixture) -> None:
    source: Subject[int] = Subject()
    log = Log()

    def picky(value: int) -> None:
        if value == 1:
            raise ValueError(value)
        log.on_next(value)

    source.pipe(serialize()).subscribe(picky, log.on_error, log.on_completed)
    for value in range(3):
        source.on_next(value)
    source.on_completed()
    assert log == ["0", "2", "|"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


# --- buffer_bounded


def fed(overflow: Any, values: int = 6) -> tuple[Log, Any, Subject[int]]:
    """A buffer for two, of which one value is asked before it is fed."""
    source: Subject[int] = Subject()
    log = Log()
    flow = open_source(source.pipe(buffer_bounded(2, overflow)), log, None)
    flow.request(1)
    for value in range(values):
        source.on_next(value)
    return log, flow, source


@pytest.mark.parametrize(
    ("overflow", "told"),
    [
        ("drop_oldest", ["0", "4", "5", "|"]),
        ("latest", ["0", "5", "|"]),
        ("error", ["0", "1", "2", "# BufferError"]),
    ],
)
def test_one_value_too_many(overflow: str, told: list[str]) -> None:
    log, flow, source = fed(overflow)
    source.on_completed()
    assert log == ["0"]
    flow.request(10)
    assert log == told


def test_an_overflow_that_is_an_error_leaves_the_source() -> None:
    _, flow, source = fed("error")
    assert not source.observers
    flow.dispose()


def test_a_producer_waits_for_room() -> None:
    log, flow, source = fed("block", 3)
    other = threading.Thread(target=source.on_next, args=(3,))
    other.start()
    assert log == ["0"]
    flow.request(1)
    other.join(SOON)
    assert not other.is_alive()
    flow.request(9)
    source.on_completed()
    assert log == ["0", "1", "2", "3", "|"]


def test_disposing_lets_a_waiting_producer_go() -> None:
    log, flow, source = fed("block", 3)
    other = threading.Thread(target=source.on_next, args=(3,))
    other.start()
    flow.dispose()
    other.join(SOON)
    assert not other.is_alive()
    assert log == ["0"]


def test_the_thread_inside_the_consumer_does_not_wait_for_itself() -> None:
    source: Subject[int] = Subject()
    log = Log()

    def on_value(value: int) -> None:
        log.on_next(value)
        if value == 0:
            for more in range(1, 6):
                source.on_next(more)

    source.pipe(buffer_bounded(2)).subscribe(on_value)
    source.on_next(0)
    assert log == [*map(str, range(6))]


def test_a_consumer_without_a_pace_gets_everything_at_once() -> None:
    source: Subject[int] = Subject()
    log = Log(source.pipe(buffer_bounded(1, "error")))
    for value in range(5):
        source.on_next(value)
    source.on_error(OSError())
    assert log == ["0", "1", "2", "3", "4", "# OSError"]


def test_a_source_with_a_pace_is_asked_for_what_there_is_room_for() -> None:
    pulled: list[int] = []
    log = Log()
    items = (pulled.append(item) or item for item in range(100))
    flow = open_source(from_items(items).pipe(buffer_bounded(3, "error")), log, None)
    flow.request(2)
    assert log == ["0", "1"]
    assert len(pulled) == 2 + 3
    flow.dispose()


def test_a_buffer_has_room_and_a_known_policy() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        buffer_bounded(0)
    wrong: Any = "drop_newest"
    with pytest.raises(ValueError, match="drop_newest"):
        buffer_bounded(1, wrong)
