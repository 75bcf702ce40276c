"""The tasks of one batch, together."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator
from functools import partial
from typing import Any, Self, SupportsIndex, TypeVar, overload

from reactivex import Observable

from wetlands_rx._streams.bridges import waker
from wetlands_rx._streams.merged import Merged
from wetlands_rx._task import text
from wetlands_rx._task.batch import BatchSnapshots
from wetlands_rx._task.events import FLOOD, TaskEvent
from wetlands_rx._task.lifecycle import CANCELED, COMPLETED, FAILED
from wetlands_rx._task.results import Results
from wetlands_rx._task.snapshots import BatchSnapshot
from wetlands_rx._task.task import Task, delivery_of, forget_end, notify_end
from wetlands_rx.exceptions import ExecutionException

T = TypeVar("T")

_FAILURES_SHOWN = 5


class TaskList(list[Task[T]]):
    """The tasks of one batch, in the order of their items: an ordinary list that can be watched and waited for as one.

    Returned by `env.map_tasks()`; `TaskList(tasks)` makes one of any tasks, also of several environments. Slices are
    lists of this kind too, `tasks[:10].wait_for()`; `+`, `copy()` and `sorted()` give plain lists. What is asked of
    the list is asked of the tasks that are in it at that moment.
    """

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Task[T]: ...
    @overload
    def __getitem__(self, index: slice, /) -> TaskList[T]: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> Task[T] | TaskList[T]:
        if isinstance(index, slice):
            return TaskList(super().__getitem__(index))
        return super().__getitem__(index)

    # --- Control

    def cancel(self) -> None:
        """Cancel each task, as `Task.cancel` does; those that wait first, so that none of them starts."""
        for task in reversed(self):
            task.cancel()

    # --- Waiting

    def wait_for(self, timeout: float | None = None) -> Self:
        """Block until all have ended and their listeners have been told, those that subscribed to `events` before too.

        Args:
            timeout: For all together, in seconds; None waits as long as they run.
        Returns:
            The list, each task COMPLETED or CANCELED.
        Raises:
            ExecutionException: all have ended, and one FAILED; of several, the first in the list.
            TimeoutError: the time is over; the tasks go on.
            InvalidStateError: one was never started and there is no timeout, so that nothing would end the wait.
            RuntimeError: called by a listener of one of them before its end, which would wait for itself.
        """
        if not self:
            return self
        monotonic = delivery_of(self[0]).monotonic
        deadline = None if timeout is None else monotonic() + timeout
        failed: Task[T] | None = None
        for task in tuple(self):
            try:
                task.wait_for(None if deadline is None else max(0.0, deadline - monotonic()))
            except ExecutionException:
                failed = failed or task
        if failed is not None:
            failed.wait_for()  # raises
        return self

    def results(self, ordered: bool = True, *, timeout: float | None = None) -> Iterator[T]:
        """Iterate over the results; `next()` blocks until one is there.

        Other than with `env.map`, an error does not end the iteration, and neither that nor dropping the iterator
        cancels a task: the tasks are yours.

        Args:
            ordered: Yield in the order of the list, or as the tasks end.
            timeout: How long `next()` may wait for a result, in seconds; None waits as long as the tasks run.
        Returns:
            An iterator. Its `next()` raises, at the place of the result, `ExecutionException` for a task that failed
            and `concurrent.futures.CancelledError` for a canceled one, and the next `next()` goes on with the next
            one. It raises TimeoutError for a late one, and InvalidStateError, when there is no timeout, for one that
            nobody has started; the next `next()` waits for the same one again.
        """
        return Results(tuple(self), ordered=ordered, timeout=timeout)

    def __await__(self) -> Generator[Any, None, list[T]]:
        """Wait for all in a coroutine, as `asyncio.gather(*tasks)` does, without blocking its loop.

        Canceling the wait leaves the tasks alone.

        Returns:
            All results, in the order of the list.
        Raises:
            ExecutionException: one FAILED. Raised when it fails; the others go on. Of those that have failed already,
                the first in the list.
            asyncio.CancelledError: one was CANCELED; likewise.
        """
        return _gathered(tuple(self)).__await__()

    # --- Watching

    @property
    def events(self) -> Observable[TaskEvent[T]]:
        """The events of all tasks as one stream: never errors, completes when all have ended.

        Each subscriber hears the events of one task in their order, and of a task that has ended its terminal event.
        It is called on the threads that deliver the tasks' own events, and the subscribing one for tasks that have
        ended; one event at a time, with no lock held. What it raises is logged. When more than 65,536 events wait for
        it, the newest UPDATE of a task takes the place of the one before it. Disposing of it cancels nothing.
        """
        return Merged(tuple(dict.fromkeys(self)), self, EVENTS)

    def snapshots(self, period: float = 0.1) -> Observable[BatchSnapshot]:
        """How all stand together, now and then: `BatchSnapshot`s for a progress bar.

        Each subscriber gets one at once, then at most one in each period while something changes, then one with all
        tasks ended, then the completion. A slow one gets fewer, never older ones. It is called on a delivery thread,
        for the first one on its own; one call at a time. What it raises is logged.

        Args:
            period: In seconds.
        Raises:
            TypeError, ValueError: the period is no positive number.
        """
        return BatchSnapshots(tuple(self), period)

    # --- How it looks

    def _snapshot(self) -> BatchSnapshot:
        return BatchSnapshot.of(self)

    def __repr__(self) -> str:
        return f"<TaskList {self._snapshot().text}>"

    def _repr_html_(self) -> str:
        now = self._snapshot()
        errors = (error for task in self if (error := task.error) is not None)
        return text.batch_page(now.text, now.progress, errors, _FAILURES_SHOWN)


class _Events:
    """What a slow subscriber of `events` need not hear."""

    def source_of(self, item: TaskEvent[Any]) -> Hashable:
        return item.task

    def replaceable(self, item: TaskEvent[Any]) -> bool:
        return FLOOD.replaceable(item)


EVENTS = _Events()


async def _gathered(tasks: tuple[Task[T], ...]) -> list[T]:
    """Wait until all have completed, or one has ended otherwise; returns the results, or raises."""
    still_open = dict.fromkeys(tasks)
    woken, wake = waker()

    def ended(task: Task[T]) -> None:
        still_open.pop(task)  # atomic; the threads of several tasks may be here
        if not still_open or task.status is not COMPLETED:
            wake()

    waiters = {task: partial(ended, task) for task in still_open}
    try:
        for task, waiter in waiters.items():
            if not notify_end(task, waiter):
                waiter()
        if tasks:
            await woken
    finally:
        for task, waiter in waiters.items():
            forget_end(task, waiter)
    for task in tasks:
        if task.status in (FAILED, CANCELED):
            await task  # raises
    return [task.result for task in tasks]
