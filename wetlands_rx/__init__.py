"""Run Python functions in isolated environments and receive what happens there as reactive streams.

Names are loaded on first use: a worker process, which imports this package too, has no reactivex.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wetlands_rx.environment_manager import EnvironmentManager
    from wetlands_rx.exceptions import ExecutionException
    from wetlands_rx.task import RemoteTaskHandle, Task, TaskEvent, TaskEventType, TaskList, TaskStatus

__all__ = [
    "EnvironmentManager",
    "ExecutionException",
    "RemoteTaskHandle",
    "Task",
    "TaskEvent",
    "TaskEventType",
    "TaskList",
    "TaskStatus",
    "__version__",
]

__version__ = "0.1.0"

_HOMES = {
    "EnvironmentManager": "environment_manager",
    "ExecutionException": "exceptions",
    "RemoteTaskHandle": "task",
    "Task": "task",
    "TaskEvent": "task",
    "TaskEventType": "task",
    "TaskList": "task",
    "TaskStatus": "task",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError("module 'wetlands_rx' has no attribute {!r}".format(name))
    import importlib

    value: object = getattr(importlib.import_module("wetlands_rx." + home), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted(__all__)
