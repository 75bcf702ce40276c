"""Views of task events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops

from tests.unit.operators.by_hand import Log
from wetlands_rx.operators import failures, outputs, progress, results, terminal, updates
from wetlands_rx.task import Task, TaskEvent
from wetlands_rx.testing import FakeRunner


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def task(runner: FakeRunner) -> Task[Any]:
    return runner.task()


def kinds(events: Observable[TaskEvent[Any]]) -> Log:
    return Log(events.pipe(ops.map(lambda event: event.type.value)))


def lived(runner: FakeRunner, task: Task[Any], *steps: int, maximum: int = 4) -> None:
    runner.dispatch(task)
    for current in steps:
        runner.update(task, current=current, maximum=maximum)


def test_updates_are_updates_alone(runner: FakeRunner, task: Task[Any]) -> None:
    log = kinds(task.pipe(updates()))
    lived(runner, task, 1, 2)
    runner.finish(task)
    assert log == ["update", "update", "|"]


@pytest.mark.parametrize(
    ("end", "kind"),
    [(FakeRunner.finish, "completion"), (FakeRunner.fail, "failure"), (FakeRunner.acknowledge, "cancelation")],
)
def test_terminal_is_the_last_event_alone_also_for_who_comes_late(
    runner: FakeRunner, task: Task[Any], end: Callable[[FakeRunner, Task[Any]], None], kind: str
) -> None:
    early = kinds(task.pipe(terminal()))
    lived(runner, task, 1)
    end(runner, task)
    assert early == kinds(task.pipe(terminal())) == [kind, "|"]


def test_progress_goes_from_0_to_1_without_repeating_itself(runner: FakeRunner, task: Task[Any]) -> None:
    log = Log(task.pipe(progress()))
    lived(runner, task, 0, 1, 1, 2, 9)
    runner.finish(task)
    assert log == ["0.0", "0.25", "0.5", "1.0", "|"]


def test_progress_leaves_small_steps_out_but_not_the_last(runner: FakeRunner, task: Task[Any]) -> None:
    log = Log(task.pipe(progress(0.5)))
    lived(runner, task, *range(1001), maximum=1000)
    runner.finish(task)
    assert log == ["0.0", "0.5", "1.0", "|"]


def test_progress_of_a_function_that_reports_none_is_its_end(runner: FakeRunner, task: Task[Any]) -> None:
    log = Log(task.pipe(progress()))
    runner.dispatch(task)
    runner.update(task, "working", current=3)
    runner.finish(task)
    assert log == ["1.0", "|"]


def test_progress_of_a_failed_task_does_not_reach_the_end(runner: FakeRunner, task: Task[Any]) -> None:
    log = Log(task.pipe(progress()))
    lived(runner, task, 1)
    runner.fail(task)
    assert log == ["0.25", "|"]


def test_progress_begins_anew_for_each_subscriber(runner: FakeRunner, task: Task[Any]) -> None:
    shares = task.pipe(progress())
    first, second = Log(shares), Log(shares)
    lived(runner, task, 2)
    assert first == second == ["0.5"]


def test_a_step_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        progress(-0.1)


def test_outputs_are_the_values_of_one_name(runner: FakeRunner, task: Task[Any]) -> None:
    log = Log(task.pipe(outputs("mask")))
    runner.dispatch(task)
    runner.set_output(task, "mask", 1)
    runner.set_output(task, "preview", 2)
    runner.update(task, "between")
    runner.set_output(task, "mask", None)
    runner.finish(task)
    assert log == ["1", "None", "|"]


def test_results_are_values_and_a_failure_is_an_error(runner: FakeRunner) -> None:
    good, bad = runner.task(), runner.task()
    log = Log(reactivex.merge(good, bad).pipe(results()))
    for task in (good, bad):
        runner.dispatch(task)
    runner.finish(good, "R")
    runner.fail(bad)
    assert log == ["R", "# ExecutionException"]


def test_a_canceled_task_has_no_result(runner: FakeRunner, task: Task[Any]) -> None:
    log = Log(task.pipe(results()))
    task.cancel()
    runner.delivery.close(0)
    assert log == ["# CancelledError"]


def test_results_may_skip_what_has_none(runner: FakeRunner) -> None:
    tasks = [runner.task() for _ in range(3)]
    log = Log(reactivex.merge(*tasks).pipe(results(on_error="skip")))
    for task in tasks:
        runner.dispatch(task)
    runner.fail(tasks[0])
    runner.acknowledge(tasks[1])
    runner.finish(tasks[2], "R")
    assert log == ["R", "|"]


def test_failures_are_values(runner: FakeRunner) -> None:
    tasks = [runner.task() for _ in range(3)]
    log = Log(reactivex.merge(*tasks).pipe(failures()))
    for task in tasks:
        runner.dispatch(task)
    runner.finish(tasks[0])
    runner.fail(tasks[1], "ValueError: one")
    runner.acknowledge(tasks[2])
    assert log == ["fake.py:function: ValueError: one", "|"]
