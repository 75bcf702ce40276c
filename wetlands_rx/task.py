"""Tasks as users see them: one execution each, and lists of them."""

from __future__ import annotations

from wetlands_rx._remote.handle import RemoteTaskHandle
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.events import TaskEvent, TaskEventType, TaskOutput
from wetlands_rx._task.failures import TaskError
from wetlands_rx._task.future import TaskFuture
from wetlands_rx._task.lifecycle import TaskStatus
from wetlands_rx._task.task import Task
from wetlands_rx._task.task_list import TaskList

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
