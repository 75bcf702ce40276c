"""What happens in an environment, as hot streams."""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from logging import LogRecord
from typing import Any, NamedTuple

from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._streams.mailbox import Threads
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.events import TaskEvent, TaskEventType
from wetlands_rx._wire.messages import Up, Updated

MOST_RECORDS = 10_000
"""So many log records wait for whoever reads them; they are large."""


class WorkerMessage(NamedTuple):
    """A message as it came out of a worker's pipe.

    Attributes:
        worker: Who sent it.
        message: One of the named tuples of the protocol, such as `Hello`, `Updated` or `Finished`.
    """

    worker: WorkerInfo
    message: Up


class WorkerEventType(enum.Enum):
    """What is told of a worker's life."""

    STARTED = "started"
    """Its process is there."""
    READY = "ready"
    """It has said hello and takes calls."""
    LOST = "lost"
    """It ended without being asked to."""
    EXITED = "exited"
    """It ended because its environment was exited."""


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """A step in the life of a worker.

    Attributes:
        type: Which.
        worker: Whose.
        reason: Why it was lost, in one line; None for all other steps.
        exit_code: With which its process ended, when it did so by itself; else None.
        signal: The number of the signal that ended its process; None when there was none, and for a kill of ours.
        time: When it was noticed, in seconds since the epoch.
    """

    type: WorkerEventType
    worker: WorkerInfo
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    time: float = field(default_factory=time.time)


class Streams:
    """The hot streams of an environment, or of all environments of a manager.

    Each completes when its environment (or manager) is exited, and is the same object before and after that: who
    subscribes later hears what comes after the next launch.

    Args:
        name: Whose they are, for the log.
        parent: Wider streams that receive everything too.
    """

    def __init__(self, name: str, parent: Streams | None = None) -> None:
        def make(what: str) -> Any:
            drops = _MAY_DROP.get(what)
            above = getattr(parent, what) if parent is not None else None
            most = MOST_RECORDS if what == "logs" else None
            return HotSubject[Any](f"the {what} of {name}", parent=above, may_drop=drops, most_waiting=most, lives=True)

        self.messages: HotSubject[WorkerMessage] = make("messages")
        self.events: HotSubject[TaskEvent[Any]] = make("events")
        self.workers: HotSubject[WorkerEvent] = make("workers")
        self.logs: HotSubject[LogRecord] = make("logs")
        self._parent = parent

    @property
    def observed(self) -> bool:
        """True while somebody listens to one of them."""
        return any(subject.observed for subject in self._all())

    def open(self, threads: Threads) -> None:
        """Say who calls the observers from now on."""
        for subject in self._all():
            subject.open(threads)
        if self._parent is not None:
            self._parent.open(threads)

    def turn(self) -> list[int]:
        """Who subscribes from now on belongs to the next life. Returns what `end` wants, to end the one before."""
        return [subject.turn() for subject in self._all()]

    def end(self, lives: Sequence[int] | None = None) -> None:
        """Complete them for those who listen, after all that was sent and the terminal events of all tasks.

        Args:
            lives: Which lives end, as `turn` said; the present ones by default.
        """
        for subject, life in zip(self._all(), lives or (None,) * 4, strict=True):
            subject.end(None, life)

    def _all(self) -> tuple[HotSubject[Any], ...]:
        return self.messages, self.events, self.workers, self.logs


def _is_update(event: TaskEvent[Any]) -> bool:
    return event.type is TaskEventType.UPDATE and event.output is None


def _is_updated(message: WorkerMessage) -> bool:
    return isinstance(message.message, Updated)


def _is_record(_record: LogRecord) -> bool:
    return True


_MAY_DROP: dict[str, Any] = {"messages": _is_updated, "events": _is_update, "logs": _is_record}
