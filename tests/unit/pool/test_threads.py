"""The threads of an environment: which call runs when, and how all ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wetlands_rx._pool.local_calls import LocalFunction
from wetlands_rx._pool.threads import ThreadPool
from wetlands_rx._task.call import Call, WorkerInfo
from wetlands_rx._task.lifecycle import Dispatched, EnvironmentExited, Happening, PoolBroken
from wetlands_rx._task.streams import Streams
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, Raised, Updated
from wetlands_rx.exceptions import NotLaunchedError
from wetlands_rx.testing import ManualDelivery

SOON = 30.0
_ENDS = (Finished, Raised, CancelAcknowledged, EnvironmentExited, PoolBroken)


class Story:
    """A call, and what happened to it."""

    def __init__(self, number: int, function: Callable[..., Any], *args: Any) -> None:
        self.happenings: list[Happening] = []
        self._ended = threading.Event()
        self.call = Call(number, LocalFunction(function, args, {}), "test.py:function", self._post)

    def _post(self, *happenings: Happening) -> None:
        self.happenings.extend(happenings)
        if any(isinstance(happening, _ENDS) for happening in happenings):
            self._ended.set()

    def end(self) -> Happening:
        assert self._ended.wait(SOON)
        return next(happening for happening in self.happenings if isinstance(happening, _ENDS))


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool("test", ManualDelivery(), Streams("test"))
    yield pool
    pool.close(0.0)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def started(pool: ThreadPool, *stories: Story) -> None:
    for story in stories:
        pool.start(story.call)


def test_the_first_call_starts_the_first_thread(pool: ThreadPool) -> None:
    assert pool.size == 0
    story = Story(1, threading.current_thread)
    started(pool, story)
    end = story.end()
    assert isinstance(end, Finished)
    assert end.value.name == "wetlands-test-0"
    assert pool.size == 1


def test_a_call_is_dispatched_when_start_returns_and_told_so_before_all_else(
    pool: ThreadPool, gate: threading.Event
) -> None:
    pool.grow(1)
    story = Story(1, gate.wait)
    started(pool, story)
    assert isinstance(story.happenings[0], Dispatched)
    assert isinstance(story.happenings[0].worker, WorkerInfo)
    gate.set()
    assert story.end() == Finished(1, True)


def test_calls_run_in_the_order_of_their_start(pool: ThreadPool) -> None:
    ran: list[int] = []
    stories = [Story(number, ran.append, number) for number in range(100)]
    started(pool, *stories)
    for story in stories:
        story.end()
    assert ran == list(range(100))


def test_a_call_that_waits_is_given_back_and_never_runs(pool: ThreadPool, gate: threading.Event) -> None:
    first, second, third = (Story(number, gate.wait) for number in range(3))
    started(pool, first, second, third)
    assert pool.withdraw(second.call) is True
    assert pool.withdraw(first.call) is False
    gate.set()
    third.end()
    assert second.happenings == []


def test_the_close_cancels_what_waits_and_asks_what_runs(pool: ThreadPool) -> None:
    running = threading.Event()

    def until_canceled(task: Any) -> None:
        running.set()
        while not task.cancel_requested:
            threading.Event().wait(0.001)
        task.cancel()

    first, second = Story(1, until_canceled), Story(2, until_canceled)
    started(pool, first, second)
    assert running.wait(SOON)
    pool.close(SOON)
    assert first.end() == CancelAcknowledged(1)
    assert second.happenings == [EnvironmentExited()]
    with pytest.raises(NotLaunchedError):
        started(pool, Story(3, until_canceled))


def test_nothing_is_heard_from_what_outlives_the_close(pool: ThreadPool, gate: threading.Event) -> None:
    running, threads = threading.Event(), list[threading.Thread]()

    def stubborn(task: Any) -> None:
        threads.append(threading.current_thread())
        running.set()
        gate.wait()
        task.update("late")

    story = Story(1, stubborn)
    started(pool, story)
    assert running.wait(SOON)
    pool.close(0.0)
    assert story.end() == EnvironmentExited()
    gate.set()
    threads[0].join(SOON)
    assert not threads[0].is_alive()
    assert not any(isinstance(happening, (Updated, Finished)) for happening in story.happenings)


def test_a_thread_that_the_system_refuses_fails_the_start_and_what_waited_for_it(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Story(1, int)

    def refuse(thread: threading.Thread) -> None:
        monkeypatch.undo()
        started(pool, waiting)  # meanwhile another thread submits
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        started(pool, Story(2, int))
    assert isinstance(waiting.end(), PoolBroken)
    after = Story(3, int)
    started(pool, after)
    assert after.end() == Finished(3, 0)
