"""Decides which status of a task follows which. Pure: a table, and a look-up in it.

PENDING becomes RUNNING when a worker gets the task, or CANCELED, never sent, when it is canceled before.
RUNNING becomes COMPLETED, FAILED or CANCELED by what the worker answers, or by the worker's end.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    OutputSet,
    OutputUnopened,
    Raised,
    Updated,
)
from wetlands_rx.exceptions import ExecutionException, ProtocolError, WetlandsError


class TaskStatus(enum.Enum):
    """Where a task stands. A task that waits for a free worker is PENDING."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    __hash__ = object.__hash__  # members are singletons; the inherited one is Python code on the hot path

    def is_finished(self) -> bool:
        """Return True if the task has reached a terminal state."""
        return self in _FINISHED


_FINISHED = frozenset((TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELED))
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus


class Dispatched(NamedTuple):
    """The pool handed the task to a worker; `worker` says which, for people."""

    worker: Any


class CancelRequested(NamedTuple):
    """The caller canceled a task that no worker has: nobody to ask, so it takes effect at once."""


class WorkerLost(NamedTuple):
    """The worker that ran the task ended without an answer."""

    error: ExecutionException


class PoolBroken(NamedTuple):
    """No worker will ever come for a task that waits."""

    error: WetlandsError


class EnvironmentExited(NamedTuple):
    """The caller ended the environment before the task did."""


Happening = (
    Dispatched
    | CancelRequested
    | WorkerLost
    | PoolBroken
    | EnvironmentExited
    | Updated
    | OutputSet
    | OutputUnopened
    | Finished
    | FinishedUnopened
    | Raised
    | CancelAcknowledged
)

TRANSITIONS: dict[tuple[TaskStatus, type[Any]], TaskStatus] = {
    (PENDING, Dispatched): RUNNING,
    (PENDING, CancelRequested): CANCELED,  # never sent: nobody to ask
    (PENDING, PoolBroken): FAILED,
    (PENDING, EnvironmentExited): CANCELED,
    (RUNNING, Dispatched): RUNNING,  # its first worker was gone before it got the call: another one has it
    (RUNNING, Updated): RUNNING,
    (RUNNING, OutputSet): RUNNING,
    (RUNNING, Finished): COMPLETED,  # even after a cancel request
    (RUNNING, Raised): FAILED,
    (RUNNING, CancelAcknowledged): CANCELED,  # the function has returned: its worker is free again
    (RUNNING, WorkerLost): FAILED,
    (RUNNING, CancelRequested): CANCELED,  # it waits again, for the reason above
    (RUNNING, PoolBroken): FAILED,
    (RUNNING, EnvironmentExited): CANCELED,
}


def next_status(now: TaskStatus, happening: Happening) -> TaskStatus:
    """Say which status follows.

    Args:
        now: The status before.
        happening: What happened.
    Returns:
        The status after; the same one for a happening that changes only progress.
    Raises:
        ProtocolError: this cannot happen to a task of that status.
    """
    status = TRANSITIONS.get((now, type(happening)))
    if status is not None:
        return status
    if now in _FINISHED:
        return now  # a terminal status is final: late news ends here and nowhere else
    raise ProtocolError(f"{type(happening).__name__} came while the task was {now.value}")
