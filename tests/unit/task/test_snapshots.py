"""Tasks and batches at one moment."""

from __future__ import annotations

from typing import Any

import pytest

from wetlands_rx._task.snapshots import Tally, eta
from wetlands_rx.progress import BatchSnapshot, TaskSnapshot
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskList, TaskStatus
from wetlands_rx.testing import WORKER, FakeRunner

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def mixed(runner: FakeRunner) -> TaskList[Any]:
    """Of each status one, in that order; the running one is half through."""
    tasks = TaskList(runner.task(f"{status.value}.py:work") for status in TaskStatus)
    for task in tasks[1:]:
        runner.dispatch(task)
    runner.update(tasks[1], "tile 2", current=2, maximum=4)
    runner.finish(tasks[2])
    runner.fail(tasks[3], "ValueError: no\nand more")
    runner.acknowledge(tasks[4])
    return tasks


def counts(snapshot: BatchSnapshot) -> tuple[int, ...]:
    return (
        snapshot.total,
        snapshot.pending,
        snapshot.running,
        snapshot.completed,
        snapshot.failed,
        snapshot.canceled,
    )


def test_a_task_at_one_moment_stays_as_it_was(runner: FakeRunner, mixed: TaskList[Any]) -> None:
    pending, running, _, failed, _ = map(TaskSnapshot.of, mixed)
    runner.update(mixed[1], "tile 3", current=3)
    assert (running.id, running.name, running.status) == (mixed[1].id, "running.py:work", RUNNING)
    assert (running.message, running.current, running.maximum, running.progress) == ("tile 2", 2, 4, 0.5)
    assert running.worker == WORKER
    assert running.elapsed is not None
    assert (pending.progress, pending.elapsed, pending.worker) == (None, None, None)
    assert failed.error == mixed[3].error
    assert str(running) == "running.py:work running 2/4 tile 2"
    assert str(failed) == "failed.py:work failed ValueError: no"


def test_a_batch_at_one_moment(mixed: TaskList[Any]) -> None:
    began = mixed[1].started_at
    assert began is not None
    snapshot = BatchSnapshot.of(mixed, began + 10)
    assert counts(snapshot) == (5, 1, 1, 1, 1, 1)
    assert (snapshot.finished, snapshot.done) == (3, False)
    assert snapshot.progress == pytest.approx(3.5 / 5)
    assert snapshot.elapsed == pytest.approx(10)
    assert snapshot.eta == pytest.approx(10 * 1.5 / 2.5)
    assert [task.id for task in snapshot.running_tasks] == [mixed[1].id]
    assert snapshot.running_tasks[0].elapsed == pytest.approx(10)
    assert str(snapshot) == "3 of 5 done, 1 failed, 1 canceled, 1 running, 70%, 6 s left"


def test_a_batch_that_has_ended_stands_still(runner: FakeRunner, mixed: TaskList[Any]) -> None:
    mixed[0].cancel()
    runner.finish(mixed[1])
    snapshot = BatchSnapshot.of(mixed, 1e12)
    assert counts(snapshot) == (5, 0, 0, 2, 1, 2)
    assert (snapshot.done, snapshot.progress, snapshot.eta, snapshot.running_tasks) == (True, 1.0, 0.0, ())
    assert snapshot.elapsed < 60
    assert str(snapshot) == "5 of 5 done, 1 failed, 2 canceled"


def test_nothing_to_do_is_done() -> None:
    snapshot = BatchSnapshot.of([], 0.0)
    assert (snapshot.total, snapshot.done, snapshot.progress, snapshot.elapsed) == (0, True, 1.0, 0.0)


def test_a_task_that_comes_twice_counts_once(mixed: TaskList[Any]) -> None:
    assert BatchSnapshot.of([*mixed, *mixed], 0.0).total == 5


def test_events_count_as_the_tasks_themselves(runner: FakeRunner) -> None:
    tasks = [runner.task() for _ in range(4)]
    tally = Tally(tasks)
    for task in tasks:
        task.listen(tally.take)
    drive(runner, tasks)
    by_events, by_state = tally.snapshot(1e12), BatchSnapshot.of(tasks, 1e12)
    assert by_events == by_state
    assert counts(by_events) == (4, 0, 1, 1, 1, 1)


def test_late_news_and_what_is_seen_twice_change_nothing(runner: FakeRunner) -> None:
    tasks = [runner.task() for _ in range(4)]
    events: list[TaskEvent[Any]] = []
    for task in tasks:
        task.listen(events.append)
    drive(runner, tasks)
    tally = Tally(tasks)
    tally.begin()
    before = tally.snapshot(1e12)
    for event in events:
        tally.take(event)
    assert tally.snapshot(1e12) == before


def drive(runner: FakeRunner, tasks: list[Task[Any]]) -> None:
    """One runs, one completes, one fails, one is canceled before it starts."""
    for task in tasks[:3]:
        runner.dispatch(task)
    runner.update(tasks[0], current=1, maximum=3)
    runner.finish(tasks[1])
    runner.fail(tasks[2])
    tasks[3].cancel()
    runner.happen(tasks[0])  # lets the listeners be told


@pytest.mark.parametrize(
    ("ended", "done", "left", "elapsed", "expected"),
    [
        (0, 0.0, 10.0, 60.0, None),  # nothing is done: no pace
        (2, 2.0, 8.0, 4.0, None),  # too early to say
        (3, 3.0, 7.0, 3.0, 7.0),
        (1, 1.0, 9.0, 5.0, 45.0),
        (0, 0.5, 0.5, 20.0, 20.0),  # by the share of one that runs
        (10, 10.0, 0.0, 3.0, 0.0),
    ],
)
def test_the_rest_takes_as_long_as_the_pace_so_far_says(
    ended: int, done: float, left: float, elapsed: float, expected: float | None
) -> None:
    assert eta(ended, done, left, elapsed) == expected


@pytest.mark.parametrize(("current", "maximum"), [(7, 4), (-1, 4), (1, 0), (1, None), (None, 4), (10**400, 10**401)])
def test_odd_progress_of_a_task_leaves_that_of_the_batch_between_its_ends(
    runner: FakeRunner, current: Any, maximum: Any
) -> None:
    tasks = [runner.task() for _ in range(2)]
    runner.dispatch(tasks[0])
    runner.update(tasks[0], current=current, maximum=maximum)
    assert 0.0 <= BatchSnapshot.of(tasks, 0.0).progress <= 0.5
