"""The results of many tasks, in order or as they end."""

from __future__ import annotations

import concurrent.futures
import gc
from typing import Any, cast

import pytest

from tests.support.maps import mapped
from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.task import TaskList, TaskStatus
from wetlands_rx.testing import FakeRunner, ManualDelivery

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
BOTH = pytest.mark.parametrize("ordered", [True, False])


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def tasks(runner: FakeRunner) -> TaskList[Any]:
    """Four tasks; the first two run."""
    tasks = TaskList(runner.task() for _ in range(4))
    for task in tasks[:2]:
        runner.dispatch(task)
    return tasks


def finish(runner: FakeRunner, tasks: TaskList[Any], *places: int) -> None:
    for place in places:
        if tasks[place].status is PENDING:
            runner.dispatch(tasks[place])
        runner.finish(tasks[place], place)


def test_results_come_in_the_order_of_the_items(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    results = mapped(tasks, runner.delivery, ordered=True, timeout=None)
    finish(runner, tasks, 3, 1, 0, 2)
    assert list(results) == [0, 1, 2, 3]


def test_results_come_in_the_order_of_their_ends(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    finish(runner, tasks, 1)
    results = mapped(tasks, runner.delivery, ordered=False, timeout=None)
    finish(runner, tasks, 3, 0, 2)
    assert list(results) == [1, 3, 0, 2]


@BOTH
def test_an_exhausted_iterator_stays_so(runner: FakeRunner, tasks: TaskList[Any], *, ordered: bool) -> None:
    finish(runner, tasks, 0, 1, 2, 3)
    results = mapped(tasks, runner.delivery, ordered=ordered, timeout=None)
    assert iter(results) is results
    assert len(list(results)) == 4
    with pytest.raises(StopIteration):
        next(results)


@BOTH
def test_nothing_to_map(runner: FakeRunner, *, ordered: bool) -> None:
    assert list(mapped(TaskList[int](), runner.delivery, ordered=ordered, timeout=0)) == []


@BOTH
def test_a_late_result_is_an_error_and_cancels_all_that_was_not_yielded(
    runner: FakeRunner, tasks: TaskList[Any], *, ordered: bool
) -> None:
    finish(runner, tasks, 0)
    results = mapped(tasks, runner.delivery, ordered=ordered, timeout=0)
    assert next(results) == 0
    with pytest.raises(TimeoutError):
        next(results)
    assert [task.status for task in tasks] == [COMPLETED, RUNNING, CANCELED, CANCELED]
    assert runner.asked == [runner.call(tasks[1])], "the late one itself is asked to stop"
    with pytest.raises(StopIteration):
        next(results)


@BOTH
def test_a_failure_is_raised_at_its_place_and_cancels_the_rest(
    runner: FakeRunner, tasks: TaskList[Any], *, ordered: bool
) -> None:
    finish(runner, tasks, 0)
    results = mapped(tasks, runner.delivery, ordered=ordered, timeout=None)
    runner.fail(tasks[1], "ValueError: no")
    assert next(results) == 0
    with pytest.raises(ExecutionException, match="ValueError: no"):
        next(results)
    assert [task.status for task in tasks] == [COMPLETED, FAILED, CANCELED, CANCELED]


@BOTH
def test_a_canceled_item_is_raised_at_its_place(runner: FakeRunner, tasks: TaskList[Any], *, ordered: bool) -> None:
    finish(runner, tasks, 0)
    results = mapped(tasks, runner.delivery, ordered=ordered, timeout=None)
    runner.acknowledge(tasks[1])
    assert next(results) == 0
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    assert [task.status for task in tasks] == [COMPLETED, CANCELED, CANCELED, CANCELED]


@BOTH
@pytest.mark.parametrize("how", ["close", "drop", "break"])
def test_leaving_early_cancels_what_is_left_the_last_first(
    runner: FakeRunner, tasks: TaskList[Any], how: str, *, ordered: bool
) -> None:
    finish(runner, tasks, 0)
    results = mapped(tasks, runner.delivery, ordered=ordered, timeout=None)
    for _ in results:
        break
    if how == "close":
        results.close()
        results.close()
    else:
        del results
        gc.collect()
        cast(ManualDelivery, runner.delivery).run()  # a finalizer leaves the work to a delivery thread
    assert [task.status for task in tasks] == [COMPLETED, RUNNING, CANCELED, CANCELED]
    assert runner.asked == [runner.call(tasks[1])]
    assert runner.withdrawn == [runner.call(tasks[3]), runner.call(tasks[2])]


def test_listeners_of_items_are_told_before_their_result_is_yielded(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    told: list[int] = []
    for task in tasks:
        task.listen(lambda event: told.append(event.task.result) if event.type.value == "completion" else None)
    results = mapped(tasks, runner.delivery, ordered=False, timeout=0)
    finish(runner, tasks, 2)
    assert next(results) == 2
    assert told == [2]
