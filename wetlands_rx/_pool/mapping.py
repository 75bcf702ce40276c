"""map(): the results of one task per item, in order or as they come."""

from __future__ import annotations

import concurrent.futures
import time
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from wetlands_rx._task.lifecycle import TaskStatus
from wetlands_rx.task import Task, TaskList, cancel_soon, checked_timeout, notify_end

T = TypeVar("T")


class MapIterator(Iterator[T], Generic[T]):
    """Yields the results of tasks that have been started; closing or dropping it cancels those that are left.

    Args:
        tasks: One per item, in order.
        ordered: Yield in that order, or as they end.
        timeout: How long `next()` may wait for a result, in seconds; None waits as long as the tasks run.
    """

    def __init__(self, tasks: TaskList[T], *, ordered: bool, timeout: float | None) -> None:
        self._timeout = checked_timeout(timeout)
        self._left = deque(tasks)
        self._source: _InOrder[T] | _AsTheyEnd[T] = _InOrder(self._left) if ordered else _AsTheyEnd(tasks)

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
        self._source = _InOrder(deque())
        for task in reversed(left):
            task.cancel()

    def __del__(self) -> None:
        # Called at any moment, maybe by a thread that holds a lock of ours: another thread does the work.
        for task in reversed(list(self._source.left())) if hasattr(self, "_source") else ():
            cancel_soon(task)


class _InOrder(Generic[T]):
    def __init__(self, tasks: deque[Task[T]]) -> None:
        self._tasks = tasks

    def next(self, timeout: float | None) -> Task[T] | None:
        return self._tasks.popleft() if self._tasks else None

    def left(self) -> Iterator[Task[T]]:
        return iter(self._tasks)


class _AsTheyEnd(Generic[T]):
    def __init__(self, tasks: TaskList[T]) -> None:
        self._open = dict.fromkeys(range(len(tasks)))
        self._tasks = tasks
        self._ended: SimpleQueue[int] = SimpleQueue()
        for place, task in enumerate(tasks):
            self._watch(place, task)

    def _watch(self, place: int, task: Task[T]) -> None:
        ended = self._ended
        if not notify_end(task, lambda: ended.put(place)):
            ended.put(place)

    def next(self, timeout: float | None) -> Task[T] | None:
        if not self._open:
            return None
        since = time.monotonic()
        try:
            place = self._ended.get(timeout=timeout)
        except Empty:
            waited = time.monotonic() - since
            raise TimeoutError(f"none of {len(self._open)} open tasks ended within {waited:.3g} s") from None
        del self._open[place]
        return self._tasks[place]

    def left(self) -> Iterator[Task[T]]:
        return (self._tasks[place] for place in self._open)
