"""Which of several tasks comes next: in their order, or as they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from wetlands_rx._task.task import Task, delivery_of, notify_end
from wetlands_rx.exceptions import InvalidStateError

T = TypeVar("T")


class Order(Protocol[T]):
    """Gives out tasks one by one."""

    def next(self, timeout: float | None) -> Task[T] | None:
        """The next task, which may still run; None when there is none left.

        Raises:
            TimeoutError: none came within `timeout` seconds.
            InvalidStateError: none would ever come, for nobody has started them, and there is no timeout.
        """
        ...

    def left(self) -> Iterator[Task[T]]:
        """Those that were not given out."""
        ...


class InOrder(Order[T], Generic[T]):
    """First task first."""

    def __init__(self, tasks: deque[Task[T]]) -> None:
        self._tasks = tasks

    def next(self, timeout: float | None) -> Task[T] | None:
        """At once."""
        return self._tasks.popleft() if self._tasks else None

    def left(self) -> Iterator[Task[T]]:
        """In order."""
        return iter(self._tasks)


class AsTheyEnd(Order[T], Generic[T]):
    """Whichever has ended; waits for one."""

    def __init__(self, tasks: Sequence[Task[T]]) -> None:
        self._open = dict.fromkeys(range(len(tasks)))
        self._tasks = tasks
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._next = -1
        self._unstarted = [place for place, task in enumerate(tasks) if not task.started]
        for place, task in enumerate(tasks):
            self._watch(place, task)

    def _watch(self, place: int, task: Task[T]) -> None:
        ended = self._ended
        if not notify_end(task, lambda: ended.put(place)):
            ended.put(place)

    def next(self, timeout: float | None) -> Task[T] | None:
        """Blocks until one has ended."""
        if not self._open:
            return None
        if timeout is None:
            self._check_started()
        delivery = delivery_of(self._tasks[0])
        since = delivery.monotonic()
        if not delivery.wait(self._took, timeout):
            waited = delivery.monotonic() - since
            raise TimeoutError(f"none of {len(self._open)} open tasks ended within {waited:.3g} s")
        del self._open[self._next]
        return self._tasks[self._next]

    def _check_started(self) -> None:
        if self._unstarted and len(self._unstarted) >= len(self._open):  # else one of the open ones runs
            self._unstarted = [place for place in self._unstarted if not self._tasks[place].started]
            if self._unstarted and len(self._unstarted) == len(self._open):
                waiting = self._tasks[self._unstarted[0]]
                raise InvalidStateError(f"{waiting!r} was created with start=False: call start() before waiting for it")

    def _took(self, timeout: float | None) -> bool:
        try:
            self._next = self._ended.get(timeout=timeout)
        except Empty:
            return False
        return True

    def left(self) -> Iterator[Task[T]]:
        """In order."""
        return (self._tasks[place] for place in self._open)
