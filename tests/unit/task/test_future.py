"""A task as a standard Future."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable
from typing import Any

import pytest

from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import FakeRunner

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
End = Callable[[FakeRunner, Task[Any]], None]


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


def running(runner: FakeRunner) -> Task[Any]:
    task = runner.task()
    runner.dispatch(task)
    return task


def complete(runner: FakeRunner, task: Task[Any]) -> None:
    runner.finish(task, 42)


def fail(runner: FakeRunner, task: Task[Any]) -> None:
    runner.fail(task)


def cancel(runner: FakeRunner, task: Task[Any]) -> None:
    runner.acknowledge(task)


def outcome(future: concurrent.futures.Future[Any]) -> object:
    try:
        return future.result(0)
    except ExecutionException:
        return "failed"
    except concurrent.futures.CancelledError:
        return "canceled"


ENDS = [(complete, 42), (fail, "failed"), (cancel, "canceled")]


@pytest.mark.parametrize(("end", "expected"), ENDS)
@pytest.mark.parametrize("late", [False, True])
def test_it_resolves_with_the_task(runner: FakeRunner, end: End, expected: object, *, late: bool) -> None:
    task = running(runner)
    if not late:
        assert not task.future.done()
    end(runner, task)
    assert outcome(task.future) == expected
    assert task.future is task.future


@pytest.mark.parametrize(("end", "expected"), ENDS)
def test_it_is_resolved_before_the_listeners_are_told(runner: FakeRunner, end: End, expected: object) -> None:
    task = running(runner)
    future = task.future
    seen: list[object] = []
    task.listen(lambda _event: seen.append(outcome(future)))
    end(runner, task)
    assert seen == [expected]


@pytest.mark.parametrize(("end", "expected"), ENDS)
def test_a_terminal_listener_that_asks_for_it_first_finds_it_resolved(
    runner: FakeRunner, end: End, expected: object
) -> None:
    task = running(runner)
    seen: list[object] = []
    task.listen(lambda event: seen.append(outcome(event.task.future)))
    end(runner, task)
    assert seen == [expected]


@pytest.mark.parametrize(("end", "expected"), ENDS)
def test_its_callbacks_are_called_once(runner: FakeRunner, end: End, expected: object) -> None:
    task = running(runner)
    seen: list[object] = []
    task.future.add_done_callback(lambda future: seen.append(outcome(future)))
    end(runner, task)
    task.future.add_done_callback(lambda future: seen.append(outcome(future)))
    assert seen == [expected, expected]


@pytest.mark.parametrize(("end", "expected"), ENDS)
def test_waiting_for_futures_sees_every_kind_of_end(runner: FakeRunner, end: End, expected: object) -> None:
    task, open_task = running(runner), running(runner)
    futures = [task.future, open_task.future]
    end(runner, task)
    done, not_done = concurrent.futures.wait(futures, timeout=0)
    assert (done, not_done) == ({task.future}, {open_task.future})
    assert next(concurrent.futures.as_completed(futures, timeout=0)) is task.future


def test_canceling_it_cancels_a_waiting_task(runner: FakeRunner) -> None:
    task = runner.task()
    future = task.future
    assert future.cancel()
    runner.happen(task)
    assert (task.status, future.cancelled(), future.done()) == (CANCELED, True, True)
    assert future.cancel()


def test_canceling_it_asks_a_running_task(runner: FakeRunner) -> None:
    task = running(runner)
    future = task.future
    assert future.running()
    assert not future.cancel()
    assert runner.asked == [runner.call(task)]
    assert not future.done()
    runner.finish(task, 42)
    assert future.result(0) == 42
    assert not future.running()
    assert not future.cancel()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_a_callback_that_raises_disturbs_nobody(
    runner: FakeRunner, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    task = running(runner)
    events: list[TaskEvent[Any]] = []
    task.listen(events.append)

    def broken(_future: object) -> None:
        raise error

    told: list[object] = []
    task.future.add_done_callback(broken)
    task.future.add_done_callback(lambda future: told.append(future.result(0)))
    with caplog.at_level(logging.ERROR):
        runner.finish(task, 42)
    assert task.wait_for(0).result == 42
    assert [event.type for event in events] == [TaskEventType.COMPLETION]
    assert told == [42]
    assert "broken" in caplog.text


def test_a_future_that_the_user_resolved_does_not_stop_the_task(
    runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    task = running(runner)
    task.future.set_result("mine")
    runner.finish(task, 42)
    assert task.wait_for(0).result == 42
    assert "InvalidStateError" in caplog.text
