"""More updates than a listener can take: bounded, in order, with the newest one and the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wetlands_rx._streams import mailbox
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.mailbox import MOST_WAITING, Mailbox
from wetlands_rx._wire.messages import Finished, OutputSet, Updated
from wetlands_rx._worker.supervisor import Supervisor
from wetlands_rx.task import Task, TaskEvent, TaskEventType
from wetlands_rx.testing import FakeRunner, ManualDelivery

SOON = 20.0
STARTED, UPDATE, COMPLETION, *_ = TaskEventType


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner(ManualDelivery())


@pytest.fixture
def threaded() -> Iterator[FakeRunner]:
    """With delivery threads that consider a listener slow very soon."""
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later, stall_s=0.001, held_back_s=0.02)
    yield FakeRunner(delivery)
    delivery.close(SOON)
    supervisor.close()


def currents(events: list[TaskEvent[Any]]) -> list[int | None]:
    return [event.current for event in events if event.type is UPDATE and event.output is None]


def test_65536_waiting_events_are_told_complete_and_in_order() -> None:
    delivery = ManualDelivery()
    runner = FakeRunner(delivery)
    task = runner.task()
    events: list[TaskEvent[Any]] = []
    task.listen(events.append)
    runner.dispatch(task)
    post = runner.call(task).post
    for number in range(MOST_WAITING):
        post(Updated(1, None, number, None))
    delivery.run()
    assert currents(events) == list(range(MOST_WAITING))
    assert task.dropped_updates == 0


def test_beyond_that_the_newest_update_replaces_the_last_one_and_nothing_else_is_lost(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MOST_WAITING", 4)
    task = runner.task()
    events: list[TaskEvent[Any]] = []
    task.listen(events.append)
    runner.dispatch(task)
    post = runner.call(task).post
    for number in range(10):
        post(Updated(1, f"at {number}" if number < 8 else None, number, None))
    post(OutputSet(1, "half", 5))
    for number in range(10, 13):
        post(Updated(1, None, number, 100))
    post(Finished(1, "the result"))
    assert isinstance(runner.delivery, ManualDelivery)
    runner.delivery.run()
    assert [event.type for event in events] == [STARTED, UPDATE, UPDATE, UPDATE, UPDATE, UPDATE, UPDATE, COMPLETION]
    assert currents(events) == [0, 1, 2, 9, 12]
    assert events[4].message == "at 7"  # what the newest one left open
    assert events[5].output is not None
    assert events[5].output.value == 5
    assert task.dropped_updates == 6 + 2
    assert len(currents(events)) + task.dropped_updates == 13


def test_an_unobserved_task_drops_nothing(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    for number in range(10):
        runner.update(task, current=number)
    assert (task.current, task.dropped_updates) == (9, 0)


def test_a_listener_that_is_always_behind_keeps_neither_the_end_nor_its_neighbour(threaded: FakeRunner) -> None:
    """Each of its calls is short: together they would hold the end back for ever."""
    task = threaded.task()
    told, released = threading.Event(), threading.Event()
    slow: list[TaskEvent[Any]] = []
    quick: list[TaskEvent[Any]] = []

    def on_event(event: TaskEvent[Any]) -> None:
        slow.append(event)
        if not told.is_set():
            released.wait(0.001)

    def on_event_too(event: TaskEvent[Any]) -> None:
        quick.append(event)
        if event.type is COMPLETION:
            told.set()

    task.listen(on_event).listen(on_event_too)
    threaded.dispatch(task)
    post = threaded.call(task).post
    post(*(Updated(1, None, number, None) for number in range(20_000)))
    post(Finished(1, "the result"))
    assert task.wait_for(SOON).result == "the result"
    assert told.wait(SOON)
    assert currents(quick) == list(range(20_000))
    threaded.delivery.close(SOON)
    assert slow[-1].type is COMPLETION
    seen = currents(slow)
    assert seen == sorted(seen, key=lambda number: number or 0)
    assert seen[-1] == 19_999
    assert len(seen) + task.dropped_updates == 20_000


def test_what_is_kept_for_a_listener_that_does_not_come_back_is_bounded(
    threaded: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MOST_WAITING", 50)
    monkeypatch.setattr(mailbox, "FAST_S", 0.0)
    task = threaded.task()
    entered, released, ended = threading.Event(), threading.Event(), threading.Event()
    heard: list[TaskEvent[Any]] = []

    def on_event(event: TaskEvent[Any]) -> None:
        heard.append(event)
        if event.type is STARTED:
            entered.set()
            assert released.wait(SOON)
        if event.type is COMPLETION:
            ended.set()

    task.listen(on_event)
    threaded.dispatch(task)
    assert entered.wait(SOON)
    progress = threading.Semaphore(0)
    task.listen(lambda event: progress.release())
    post = threaded.call(task).post
    for number in range(500):
        post(Updated(1, None, number, None))
        assert progress.acquire(timeout=SOON)
    post(Finished(1, None))
    task.wait_for(SOON)
    released.set()
    assert ended.wait(SOON)
    assert len(heard) <= 1 + 50 + 1
    assert currents(heard)[-1] == 499
    assert len(currents(heard)) + task.dropped_updates == 500


def test_a_producer_gives_way_to_a_listener_that_is_fast() -> None:
    """Without it a reader that decodes faster than a listener is called would drop what could have been told."""
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later)
    runner = FakeRunner(delivery)
    task: Task[Any] = runner.task()
    events: list[TaskEvent[Any]] = []
    task.listen(events.append)
    runner.dispatch(task)
    post = runner.call(task).post
    for start in range(0, 200_000, 1000):
        post(*(Updated(1, None, number, None) for number in range(start, start + 1000)))
    post(Finished(1, None))
    task.wait_for(SOON)
    delivery.close(SOON)
    supervisor.close()
    assert currents(events) == list(range(200_000))
    assert task.dropped_updates == 0


def test_a_producer_does_not_wait_for_nobody() -> None:
    delivery = ManualDelivery()
    box = Mailbox[int](lambda _item, _number: [], delivery)
    box.post(*range(50_000))
    box.give_way()  # nobody empties it: comes back
    assert box.pending == 50_000
