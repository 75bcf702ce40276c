"""Tasks as users see them: one execution each, and lists of them."""

from __future__ import annotations

import time
from typing import Self, TypeVar

from wetlands_rx._remote.handle import RemoteTaskHandle
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.failures import TaskError
from wetlands_rx._task.future import TaskFuture
from wetlands_rx._task.lifecycle import TaskStatus
from wetlands_rx._task.task import Task, TaskEvent, TaskEventType, TaskOutput

__all__ = [
    "RemoteTaskHandle",
    "Task",
    "TaskError",
    "TaskEvent",
    "TaskEventType",
    "TaskFuture",
    "TaskList",
    "TaskOutput",
    "TaskStatus",
    "WorkerInfo",
]

T = TypeVar("T")


class TaskList(list[Task[T]]):
    """The tasks of one batch, in the order of their items: an ordinary list that can also cancel and wait."""

    def cancel(self) -> None:
        """Cancel each task, as `Task.cancel` does; those that wait first, so that none of them starts."""
        for task in reversed(self):
            task.cancel()

    def wait_for(self, timeout: float | None = None) -> Self:
        """Block until all have ended.

        Args:
            timeout: For all together, in seconds.
        Raises:
            ExecutionException: one FAILED; the first in order. The others go on.
            TimeoutError: the time is over; the tasks go on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for task in self:
            task.wait_for(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self
