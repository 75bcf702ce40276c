"""What a task tells its listeners."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from wetlands_rx._task.lifecycle import CANCELED, COMPLETED, FAILED, Happening
from wetlands_rx._wire.messages import Updated

if TYPE_CHECKING:
    from wetlands_rx._task.task import Task

T = TypeVar("T")


class TaskEventType(Enum):
    """What a listener is told."""

    STARTED = "started"
    UPDATE = "update"
    COMPLETION = "completion"
    FAILURE = "failure"
    CANCELATION = "cancelation"


TERMINAL_EVENTS = {
    COMPLETED: TaskEventType.COMPLETION,
    FAILED: TaskEventType.FAILURE,
    CANCELED: TaskEventType.CANCELATION,
}


class TaskOutput(NamedTuple):
    """An intermediate output as an event carries it."""

    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class TaskEvent(Generic[T]):
    """Told to a task's listeners when its state changes.

    While a listener runs, `task` shows the state of this very event. For later, or for other threads, the event
    carries its own snapshot.

    Attributes:
        task: The task.
        type: What happened.
        message: The progress message at that moment.
        current: The progress at that moment.
        maximum: What `current` counts towards.
        output: The output that this event announces, for an UPDATE that came from `set_output`; else None.
        time: When it was applied here, in seconds since the epoch.
        attempt: Which run of the task it belongs to, from 1.
    """

    task: Task[T]
    type: TaskEventType
    message: str | None = None
    current: int | None = None
    maximum: int | None = None
    output: TaskOutput | None = None
    time: float = 0.0
    attempt: int = 1


@dataclass(slots=True)
class _Draft(Generic[T]):
    """The fields of a `TaskEvent`, which becomes one: `__init__` of a frozen class costs 0.6 us more, an event."""

    task: Task[T]
    type: TaskEventType
    message: str | None
    current: int | None
    maximum: int | None
    output: TaskOutput | None
    time: float
    attempt: int


def event_of(
    task: Task[T],
    kind: TaskEventType,
    message: str | None,
    current: int | None,
    maximum: int | None,
    output: TaskOutput | None,
    time: float,
    attempt: int,
) -> TaskEvent[T]:
    """Make an event; as `TaskEvent(...)`, but faster."""
    draft: Any = _Draft(task, kind, message, current, maximum, output, time, attempt)
    draft.__class__ = TaskEvent
    event: TaskEvent[T] = draft
    return event


class _Flood:
    """Of more events than a mailbox keeps, the newest UPDATE takes the place of the one before."""

    def merged(self, older: Happening, newer: Happening) -> Happening | None:
        if not (isinstance(older, Updated) and isinstance(newer, Updated)):
            return None
        return Updated(
            newer.task,
            older.message if newer.message is None else newer.message,
            older.current if newer.current is None else newer.current,
            older.maximum if newer.maximum is None else newer.maximum,
        )

    def replaceable(self, heard: Any) -> bool:
        return isinstance(heard, TaskEvent) and heard.type is TaskEventType.UPDATE and heard.output is None


FLOOD = _Flood()
