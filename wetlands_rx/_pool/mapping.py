"""map(): the results of one task per item, in order or as they come."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from wetlands_rx._task.lifecycle import TaskStatus
from wetlands_rx._task.order import AsTheyEnd, InOrder, Order
from wetlands_rx._task.task import Task, cancel_soon, checked_timeout

T = TypeVar("T")


class MapIterator(Iterator[T], Generic[T]):
    """Yields the results of tasks that have been started; closing or dropping it cancels those that are left.

    Args:
        tasks: One per item, in order.
        ordered: Yield in that order, or as they end.
        timeout: How long `next()` may wait for a result, in seconds; None waits as long as the tasks run.
    """

    def __init__(self, tasks: Sequence[Task[T]], *, ordered: bool, timeout: float | None) -> None:
        self._timeout = checked_timeout(timeout)
        self._left = deque(tasks)
        self._source: Order[T] = InOrder(self._left) if ordered else AsTheyEnd(tasks)

    def __iter__(self) -> MapIterator[T]:
        return self

    def __next__(self) -> T:
        """The next result.

        Raises:
            StopIteration: there is none left.
            TimeoutError: it was not ready in time; the tasks that are left are canceled.
            ExecutionException: its task failed; likewise.
            concurrent.futures.CancelledError: its task was canceled; likewise.
        """
        task = None
        try:
            task = self._source.next(self._timeout)
            if task is not None:
                task.wait_for(self._timeout)
        except BaseException:
            self.close()
            if task is not None:
                task.cancel()  # it was late, or the wait was interrupted; without effect when it has ended
            raise
        if task is None:
            raise StopIteration
        if task.status is TaskStatus.CANCELED:
            self.close()
            raise concurrent.futures.CancelledError(f"{task!r} was canceled")
        return task.result

    def close(self) -> None:
        """Cancel what has not been yielded: what waits never runs, what runs is asked to stop."""
        left = list(self._source.left())
        self._source = InOrder(deque())
        for task in reversed(left):
            task.cancel()

    def __del__(self) -> None:
        # Called at any moment, maybe by a thread that holds a lock of ours: another thread does the work.
        for task in reversed(list(self._source.left())) if hasattr(self, "_source") else ():
            cancel_soon(task)
