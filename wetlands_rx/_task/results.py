"""The results of a batch, one by one."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from wetlands_rx._task.lifecycle import CANCELED
from wetlands_rx._task.order import AsTheyEnd, InOrder, Order
from wetlands_rx._task.task import Task, checked_timeout
from wetlands_rx.exceptions import ExecutionException

T = TypeVar("T")


class Results(Iterator[T], Generic[T]):
    """Yields the results of tasks, which belong to somebody else: nothing that happens here cancels any.

    Args:
        tasks: One per result, in order.
        ordered: Yield in that order, or as they end.
        timeout: How long `next()` may wait for a result, in seconds; None waits as long as the tasks run.
    """

    def __init__(self, tasks: Sequence[Task[T]], *, ordered: bool, timeout: float | None) -> None:
        self._timeout = checked_timeout(timeout)
        self._source: Order[T] = InOrder(deque(tasks)) if ordered else AsTheyEnd(tasks)
        self._awaited: Task[T] | None = None  # given out by the source, and its end not yet seen

    def __iter__(self) -> Results[T]:
        return self

    def __next__(self) -> T:
        """The next result. After an error the iteration can go on.

        Raises:
            StopIteration: there is none left.
            ExecutionException: its task failed; the next call goes on with the next one.
            concurrent.futures.CancelledError: its task was canceled; likewise.
            TimeoutError: it was not ready in time; the next call waits for it again.
            InvalidStateError: nothing would end the wait, for nobody has started its task; likewise.
        """
        if self._awaited is None:
            self._awaited = self._source.next(self._timeout)
        task = self._awaited
        if task is None:
            raise StopIteration
        try:
            task.wait_for(self._timeout)
        except ExecutionException:
            self._awaited = None
            raise
        self._awaited = None
        if task.status is CANCELED:
            raise concurrent.futures.CancelledError(f"{task!r} was canceled")
        return task.result

    def close(self) -> None:
        """End the iteration; the tasks go on."""
        self._source, self._awaited = InOrder(deque()), None
