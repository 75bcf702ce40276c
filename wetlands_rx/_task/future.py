"""The standard Future of a task."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from wetlands_rx._streams.report import described, report
from wetlands_rx._task.lifecycle import CANCELED, RUNNING, TaskStatus

T = TypeVar("T")


class Owner(Protocol):
    """The task of a future."""

    @property
    def status(self) -> TaskStatus:
        """Where the task stands."""
        ...

    def cancel(self) -> None:
        """Cancel the task."""
        ...


class Wait(Protocol):
    """`Delivery.wait`."""

    def __call__(self, happened: Callable[[float | None], bool], timeout: float | None, /) -> bool: ...


class TaskFuture(concurrent.futures.Future[T]):
    """The standard Future of a task. Its callbacks run on a delivery thread, or at once when the task has ended."""

    def __init__(self, task: Owner, wait: Wait) -> None:
        super().__init__()
        self._task = task
        self._wait = wait

    def result(self, timeout: float | None = None) -> T:
        """The task's result; waits for it at most `timeout` seconds. Raises as the standard one does."""
        return super().result(self._waited(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Why the task failed; waits at most `timeout` seconds. Raises as the standard one does."""
        return super().exception(self._waited(timeout))

    def _waited(self, timeout: float | None) -> float:
        """Wait as whoever tells the end has it; no time is left for waiting after that."""
        if not self.done():
            self._wait(self._done_within, timeout)
        return 0.0

    def _done_within(self, timeout: float | None) -> bool:
        try:
            super().exception(timeout)
        except concurrent.futures.TimeoutError:
            return False
        except concurrent.futures.CancelledError:
            pass
        return True

    def cancel(self) -> bool:
        """Cancel the task: one that no worker has yet at once, a running one cooperatively.

        Returns:
            True when the task will never run, False when it runs (and is asked to stop) or has ended.
        """
        self._task.cancel()
        return self._task.status is CANCELED

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """Call `fn(future)` at the end; at once, on this thread, when that has come. What it raises is logged."""
        super().add_done_callback(fn if self.done() else partial(_isolated, fn))

    def resolve_canceled(self) -> None:
        """The task ended CANCELED; called by the task."""
        super().cancel()
        self.set_running_or_notify_cancel()  # without it, concurrent.futures.wait never sees the end

    def running(self) -> bool:
        """True while a worker runs the function."""
        return self._task.status is RUNNING


def _isolated(callback: Callable[[Any], object], future: concurrent.futures.Future[Any]) -> None:
    """The standard Future lets a `SystemExit` of one callback keep the end from those after it."""
    try:
        callback(future)
    except BaseException:  # noqa: BLE001 - the user's code
        report("a callback of a task's future raised: %s", described(callback))
