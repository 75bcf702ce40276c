"""A task is called back by the user's objects at awkward moments: comparisons, finalizers, signal handlers."""

from __future__ import annotations

import concurrent.futures
import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.maps import mapped
from wetlands_rx._pool.mapping import MapIterator
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskList, TaskStatus
from wetlands_rx.testing import FakeRunner, ManualDelivery

pytestmark = pytest.mark.timeout(20)  # each of these was a deadlock once


@pytest.fixture
def delivery() -> ManualDelivery:
    return ManualDelivery()


@pytest.fixture
def runner(delivery: ManualDelivery) -> FakeRunner:
    return FakeRunner(delivery)


class AtTheEnd:
    """Calls a function when it is let go."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def __del__(self) -> None:
        self._function()


def test_a_waiting_task_with_a_listener_is_canceled_at_once(runner: FakeRunner, delivery: ManualDelivery) -> None:
    events: list[TaskEvent[Any]] = []
    task = runner.task().listen(events.append)
    task.cancel()
    assert task.status is TaskStatus.CANCELED
    assert not events  # its listeners are told by their thread
    delivery.run()
    assert [event.type for event in events] == [TaskEventType.CANCELATION]
    assert task.wait_for(0) is task


def test_canceling_the_future_of_a_waiting_task_does_what_the_standard_says(runner: FakeRunner) -> None:
    task = runner.task()
    future = task.future
    called: list[object] = []
    future.add_done_callback(called.append)
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    assert called == [future]
    assert not concurrent.futures.wait([future], timeout=0).not_done


def test_the_future_of_a_canceled_task_is_resolved_once(runner: FakeRunner, delivery: ManualDelivery) -> None:
    task = runner.task()
    called: list[object] = []
    task.future.add_done_callback(called.append)
    task.cancel()
    delivery.run()
    assert called == [task.future]


def test_a_comparison_may_cancel_the_task(runner: FakeRunner) -> None:
    task = runner.task()

    class Odd:
        def __call__(self, event: TaskEvent[Any]) -> None: ...

        def __eq__(self, other: object) -> bool:
            task.cancel()
            return self is other

        __hash__ = object.__hash__

    listener = Odd()
    task.listen(Odd()).listen(listener)
    task.remove_listener(listener)
    assert task.status is TaskStatus.CANCELED


def test_an_output_that_is_replaced_may_cancel_the_task(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    runner.set_output(task, "image", AtTheEnd(task.cancel))
    runner.set_output(task, "image", "another")
    assert runner.asked == [runner.call(task)]


def test_a_listener_that_is_let_go_at_the_end_may_cancel_the_task(runner: FakeRunner) -> None:
    task = runner.task()
    let_go: list[bool] = []

    class Listener(AtTheEnd):
        def __call__(self, event: TaskEvent[Any]) -> None: ...

    task.listen(Listener(lambda: (task.cancel(), let_go.append(True))))
    runner.dispatch(task)
    runner.finish(task)
    gc.collect()
    assert let_go == [True]
    assert task.status is TaskStatus.COMPLETED


def test_a_cancel_below_the_task_itself_is_carried_out_by_a_delivery_thread(
    runner: FakeRunner, delivery: ManualDelivery
) -> None:
    task = runner.task()
    with task._gate:  # pyright: ignore[reportPrivateUsage] - a signal handler runs here
        task.cancel()
    assert task.status is TaskStatus.PENDING
    delivery.run()
    assert task.status is TaskStatus.CANCELED


def test_a_map_iterator_may_be_finalized_below_a_task(runner: FakeRunner, delivery: ManualDelivery) -> None:
    tasks: TaskList[Any] = TaskList(runner.task() for _ in range(3))
    results = mapped(tasks, delivery, ordered=True, timeout=None)
    with tasks[0]._gate:  # pyright: ignore[reportPrivateUsage] - the collector runs here
        del results
    delivery.run()
    assert [task.status for task in tasks] == [TaskStatus.CANCELED] * 3


@pytest.mark.parametrize("timeout", [float("nan")])
def test_a_timeout_that_is_no_number_is_refused(runner: FakeRunner, timeout: float) -> None:
    task: Task[Any] = runner.task()
    with pytest.raises(ValueError, match="nan"):
        task.wait_for(timeout)
    for ordered in (True, False):
        with pytest.raises(ValueError, match="nan"):
            mapped(TaskList([task]), runner.delivery, ordered=ordered, timeout=timeout)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_timeout_in_the_past_is_none_at_all(runner: FakeRunner, ordered: bool) -> None:
    results: MapIterator[Any] = mapped(TaskList([runner.task()]), runner.delivery, ordered=ordered, timeout=-1)
    with pytest.raises(TimeoutError):
        next(results)


def test_what_cannot_be_called_cannot_listen(runner: FakeRunner) -> None:
    with pytest.raises(TypeError, match="must be callable"):
        runner.task().listen(None)  # type: ignore[arg-type]
