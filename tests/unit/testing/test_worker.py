"""The workers of a fake environment: they die, are replaced, and say what the test wants."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
from reactivex.testing import TestScheduler

from wetlands_rx.environment import WorkerEventType, WorkerMessage
from wetlands_rx.exceptions import WorkerDiedError, WorkerPoolBroken
from wetlands_rx.task import RemoteTaskHandle, TaskEventType, TaskStatus
from wetlands_rx.testing import (
    CancelAcknowledged,
    FakeEnvironment,
    FakeWorker,
    Finished,
    Logged,
    OutputSet,
    Raised,
    Updated,
)

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
Steps = Generator[float | None, None, Any]


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


@pytest.fixture
def env(clock: TestScheduler) -> FakeEnvironment:
    env = FakeEnvironment(clock)

    @env.function("work.py")
    def slow(item: int) -> Steps:
        yield 10
        return item

    @env.function("work.py")
    def endless() -> Steps:
        yield

    env.launch()
    return env


@pytest.mark.parametrize(
    ("end", "exit_code", "signal"),
    [
        (FakeWorker.kill, None, 9),
        (partial(FakeWorker.kill, signal=11), None, 11),
        (FakeWorker.exit, 1, None),
        (partial(FakeWorker.exit, code=3), 3, None),
    ],
)
def test_a_worker_that_dies_fails_its_task_and_another_one_goes_on(
    env: FakeEnvironment,
    clock: TestScheduler,
    end: Callable[[FakeWorker], None],
    exit_code: int | None,
    signal: int | None,
) -> None:
    first, second = env.map_tasks("work.py", "slow", [1, 2])
    clock.advance_to(5)
    worker = env.worker()
    end(worker)
    assert isinstance(first.exception, WorkerDiedError)
    assert (first.exception.exit_code, first.exception.signal) == (exit_code, signal)
    assert (worker.exit_code, worker.signal, worker.alive) == (exit_code, signal, False)
    assert second.status is RUNNING
    assert second.worker is not None
    assert (second.worker.index, second.worker) == (0, env.worker().info)
    assert second.worker != worker.info
    clock.advance_to(15)
    assert second.result == 2
    assert first.finished_at == 5


def test_a_dead_worker_dies_no_second_time(env: FakeEnvironment) -> None:
    worker = env.worker()
    env.submit("work.py", "slow", (1,))
    worker.kill()
    worker.exit(3)
    worker.send(Finished(1, None))
    assert (worker.exit_code, worker.signal) == (None, 9)
    assert env.worker() is not worker


def test_what_a_dead_worker_s_function_would_do_is_not_done(env: FakeEnvironment, clock: TestScheduler) -> None:
    done: list[str] = []

    @env.function("work.py")
    def two_steps() -> Steps:
        done.append("first")
        try:
            yield 5
            done.append("second")
        finally:
            done.append("closed")

    env.submit("work.py", "two_steps")
    clock.advance_to(1)
    env.worker().kill()
    clock.advance_to(100)
    assert done == ["first", "closed"]


def test_a_function_may_kill_its_own_worker(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def suicidal(after: float) -> Steps:
        yield after
        env.worker().exit(7)
        yield 1

    task = env.submit("work.py", "suicidal", (2,))
    with pytest.raises(WorkerDiedError, match="exit code 7"):
        task.wait_for()
    assert env.execute("work.py", "slow", (1,)) == 1


def test_an_idle_worker_that_keeps_dying_breaks_the_pool(env: FakeEnvironment, clock: TestScheduler) -> None:
    lives = 0
    while env.launched():
        if env.worker_count:
            env.worker().kill()
            lives += 1
        clock.advance_by(1)
    assert lives == 5
    with pytest.raises(WorkerPoolBroken, match="SIGKILL"):
        env.submit("work.py", "slow", (1,))
    env.launch()
    assert env.execute("work.py", "slow", (1,)) == 1


def test_who_breaks_the_pool_leaves_the_others_their_last_call(env: FakeEnvironment, clock: TestScheduler) -> None:
    env.exit()
    env.launch(max_workers=2)
    last = env.submit("work.py", "slow", (1,))
    for _ in range(5):
        env.worker(1).kill()
        clock.advance_by(1)
    assert not env.launched()
    assert (env.worker_count, last.status) == (1, RUNNING)
    assert last.wait_for().result == 1
    assert env.worker_count == 0


def test_there_is_no_worker_before_launch_and_none_beyond_the_last(env: FakeEnvironment) -> None:
    with pytest.raises(LookupError, match=r"'fake' has no worker 1 now; it has \[0\]"):
        env.worker(1)
    env.exit()
    with pytest.raises(LookupError):
        env.worker()


# --- Scripted messages


def number(env: FakeEnvironment) -> int:
    call = env.worker().call
    assert call is not None
    return call.number


def test_the_test_may_say_all_that_a_worker_says(env: FakeEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    task = env.submit("work.py", "endless", start=False)
    heard: list[tuple[TaskEventType, int | None]] = []
    task.listen(lambda event: heard.append((event.type, event.current))).start()
    this = number(env)
    with caplog.at_level("INFO", logger="wetlands_rx"):
        env.worker().send(
            Updated(this, None, 1, 2), OutputSet(this, "key", "value"), Logged(this, 20, "a line"), Finished(this, 42)
        )
    assert (task.result, task.outputs) == (42, {"key": "value"})
    assert [record.getMessage() for record in caplog.records] == ["a line"]
    assert heard == [
        (TaskEventType.STARTED, None),
        (TaskEventType.UPDATE, 1),
        (TaskEventType.UPDATE, 1),
        (TaskEventType.COMPLETION, 1),
    ]


ENDS: list[tuple[Callable[[int], Any], TaskStatus]] = [
    (lambda this: Finished(this, 1), COMPLETED),
    (lambda this: Raised(this, "ValueError: no", (), "", "raised"), FAILED),
    (CancelAcknowledged, CANCELED),
]


@pytest.mark.parametrize(("last", "status"), ENDS)
def test_a_scripted_end_ends_the_function_and_frees_the_worker(
    env: FakeEnvironment, clock: TestScheduler, last: Callable[[int], Any], status: TaskStatus
) -> None:
    first, second = env.map_tasks("work.py", "slow", [1, 2])
    clock.advance_to(4)
    env.worker().send(last(number(env)))
    assert (first.status, second.status) == (status, RUNNING)
    clock.advance_to(12)
    assert second.status is RUNNING  # what the first function would have said at 10 is not said for it
    clock.advance_to(14)
    assert second.result == 2


def test_late_news_changes_nothing(env: FakeEnvironment) -> None:
    task = env.submit("work.py", "slow", (1,))
    this = number(env)
    task.wait_for()
    env.worker().send(Updated(this, "late", None, None), Finished(this, "late"))
    assert (task.result, task.message, env.worker().answered) == (1, None, 1)


# --- Streams


def test_the_streams_show_the_life_of_a_worker(clock: TestScheduler) -> None:
    env = FakeEnvironment(clock)
    env.function("work.py", "f")(lambda: "result")
    lives: list[Any] = []
    messages: list[WorkerMessage] = []
    events: list[TaskEventType] = []
    ends: list[str] = []
    env.workers.subscribe(
        lambda event: lives.append((event.time, event.type, event.exit_code, event.signal)),
        on_completed=lambda: ends.append("workers"),
    )
    env.messages.subscribe(messages.append)
    env.events.subscribe(lambda event: events.append(event.type))
    env.launch()
    task = env.submit("work.py", "f").wait_for()
    clock.advance_to(5)
    env.worker().kill()
    clock.advance_to(9)
    env.exit()
    assert lives == [
        (0, WorkerEventType.STARTED, None, None),
        (0, WorkerEventType.READY, None, None),
        (5, WorkerEventType.LOST, None, 9),
        (5, WorkerEventType.STARTED, None, None),
        (5, WorkerEventType.READY, None, None),
        (9, WorkerEventType.EXITED, 0, None),
    ]
    assert [type(message.message).__name__ for message in messages] == ["Hello", "Finished", "Hello"]
    assert messages[1].worker == task.worker
    assert events == [TaskEventType.STARTED, TaskEventType.COMPLETION]
    assert ends == ["workers"]


def test_an_observer_that_kills_a_worker_as_it_gets_ready_loses_no_call(env: FakeEnvironment) -> None:
    killed: list[FakeWorker] = []

    def kill_the_second(event: Any) -> None:
        if event.type is WorkerEventType.READY and not killed:
            killed.append(env.worker())
            killed[0].kill()

    env.workers.subscribe(kill_the_second)
    first, second = env.map_tasks("work.py", "slow", [1, 2])
    env.worker().kill()
    assert (first.status, len(killed)) == (FAILED, 1)
    assert second.wait_for().result == 2


def test_a_made_up_pid_is_that_of_no_process(env: FakeEnvironment) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(env.worker().info.pid, 0)


def test_how_a_worker_looks(env: FakeEnvironment) -> None:
    worker = env.worker()
    assert repr(worker) == "<FakeWorker 0 of fake: idle>"
    env.submit("work.py", "slow", (1,))
    assert repr(worker) == "<FakeWorker 0 of fake: runs work.py:slow>"
    env.exit()
    assert repr(worker) == "<FakeWorker 0 of fake: ended>"


def test_a_task_may_be_canceled_by_who_hears_that_it_starts(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def obedient(*, task: RemoteTaskHandle) -> Steps:
        task.raise_if_canceled()
        yield 1

    task = env.submit("work.py", "obedient", start=False)
    task.listen(lambda event: event.task.cancel()).start()
    assert task.wait_for().status is CANCELED
