"""A scheduler on delivery threads that a raising action does not end."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from reactivex import Subject
from reactivex import operators as ops
from reactivex.disposable import Disposable

from wetlands_rx._streams.schedulers import DeliveryScheduler
from wetlands_rx.operators import library_scheduler
from wetlands_rx.testing import ManualDelivery

SOON = 10.0


class Timed(ManualDelivery):
    """By hand: delivers, and lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[tuple[float, object]] = []
        self.leases = 0

    def call_later(self, delay: float, function: object) -> None:
        self.due.append((delay, function))

    def pass_time(self) -> None:
        due, self.due = sorted(self.due, key=lambda entry: entry[0]), []
        for _, function in due:
            assert callable(function)
            function()
        self.run()

    def acquire(self) -> Timed:
        self.leases += 1
        return self

    def release(self) -> None:
        self.leases -= 1


@pytest.fixture
def time() -> Timed:
    return Timed()


@pytest.fixture
def scheduler(time: Timed) -> DeliveryScheduler:
    return DeliveryScheduler(time.acquire, time.release)


def test_actions_run_in_the_order_in_which_they_are_due(scheduler: DeliveryScheduler, time: Timed) -> None:
    story: list[str | None] = []
    scheduler.schedule_relative(2.0, lambda _scheduler, state: story.append(state), "late")
    scheduler.schedule_relative(timedelta(seconds=1), lambda _scheduler, state: story.append(state), "later")
    scheduler.schedule(lambda _scheduler, state: story.append(state), "now")
    assert story == []
    time.run()
    assert story == ["now"]
    time.pass_time()
    assert story == ["now", "later", "late"]
    assert time.leases == 0


def test_an_action_that_raises_ends_nothing(
    scheduler: DeliveryScheduler, time: Timed, caplog: pytest.LogCaptureFixture
) -> None:
    story: list[int] = []

    def broken(_scheduler: object, _state: object) -> None:
        raise ValueError("no")

    scheduler.schedule(broken)
    scheduler.schedule(lambda _scheduler, _state: story.append(1))
    with caplog.at_level(logging.ERROR, "wetlands_rx"):
        time.run()
    assert story == [1]
    assert caplog.records[0].exc_info is not None
    assert time.leases == 0


def test_what_is_disposed_of_before_its_time_never_runs(scheduler: DeliveryScheduler, time: Timed) -> None:
    story: list[int] = []
    scheduler.schedule_relative(1.0, lambda _scheduler, _state: story.append(1)).dispose()
    assert time.leases == 0
    time.pass_time()
    assert story == []


def test_disposing_of_what_has_run_disposes_of_what_it_scheduled(scheduler: DeliveryScheduler, time: Timed) -> None:
    story: list[str] = []
    inner = Disposable(lambda: story.append("disposed"))
    action = scheduler.schedule(lambda _scheduler, _state: inner)
    time.run()
    action.dispose()
    action.dispose()
    assert story == ["disposed"]
    assert time.leases == 0


def test_one_thread_serves_many_items_of_a_timed_operator_and_is_gone_afterwards() -> None:
    threads: set[str] = set()
    seen: list[int] = []
    ended = threading.Event()
    source: Subject[int] = Subject()

    def on_next(item: int) -> None:
        threads.add(threading.current_thread().name)
        seen.append(item)

    source.pipe(ops.debounce(0.01, scheduler=library_scheduler())).subscribe(on_next, on_completed=ended.set)
    before = threading.active_count()
    for item in range(500):
        source.on_next(item)
    assert threading.active_count() <= before + 2
    source.on_completed()
    assert ended.wait(SOON)
    assert seen[-1] == 499


def test_a_timeout_without_a_thread_of_its_own() -> None:
    errors: list[Exception] = []
    raised = threading.Event()
    threads: list[str] = []

    def on_error(error: Exception) -> None:
        threads.append(threading.current_thread().name)
        errors.append(error)
        raised.set()

    source: Subject[int] = Subject()
    source.pipe(ops.timeout(0.01, scheduler=library_scheduler())).subscribe(on_error=on_error)
    assert raised.wait(SOON)
    assert threads[0].startswith("wetlands-delivery")
