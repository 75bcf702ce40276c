"""How tasks and batches stand at one moment, as values that do not change any more."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from wetlands_rx._task import text
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.events import TaskEvent, TaskEventType
from wetlands_rx._task.failures import TaskError
from wetlands_rx._task.lifecycle import CANCELED, COMPLETED, FAILED, PENDING, RUNNING, TaskStatus
from wetlands_rx._task.task import Task, delivery_of

_ENDS = {
    TaskEventType.COMPLETION: COMPLETED,
    TaskEventType.FAILURE: FAILED,
    TaskEventType.CANCELATION: CANCELED,
}
_TYPES = {RUNNING: TaskEventType.UPDATE, **{status: kind for kind, status in _ENDS.items()}}

_ETA_TASKS, _ETA_S = 3, 5.0
"""Until so many tasks have ended, or so many seconds have gone by, nobody can say how long the rest takes."""


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """How a task stands at one moment.

    Attributes:
        id: The task's id.
        name: What is called, `"segment.py:segment"`.
        status: Its status.
        message: Its last progress message.
        current: How much is done, in units of the function's choice.
        maximum: How much there is to do, in the same units.
        elapsed: Seconds since a worker got it, until it ended; None before.
        error: What went wrong; None unless FAILED.
        worker: Which worker runs or ran it; None before.
    """

    id: str
    name: str
    status: TaskStatus
    message: str | None = None
    current: int | None = None
    maximum: int | None = None
    elapsed: float | None = None
    error: TaskError | None = None
    worker: WorkerInfo | None = None

    @classmethod
    def of(cls, task: Task[Any]) -> Self:
        """How a task stands now."""
        status = task.status  # first: what belongs to it is there when it is
        return cls(
            task.id, task.name, status, task.message, task.current, task.maximum, task.elapsed, task.error, task.worker
        )

    @property
    def progress(self) -> float | None:
        """`current / maximum`, from 0 to 1; None when one of them is not known."""
        return text.ratio(self.current, self.maximum)

    @property
    def text(self) -> str:
        """One line for people: `segment.py:segment running 42/100 tile 42`."""
        parts = [self.name, self.status.value, text.progress_text(self.current, self.maximum, self.message)]
        if self.error is not None:
            parts.append(text.first_line(self.error))
        return " ".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class BatchSnapshot:
    """How many tasks stand together at one moment.

    Attributes:
        total: How many they are.
        pending: How many no worker has yet.
        running: How many run.
        completed: How many have returned.
        failed: How many have failed.
        canceled: How many were canceled.
        progress: The share that is done, from 0 to 1; what running tasks report of themselves counts, so that it grows
            while they do. A task that has ended counts as done, however it ended.
        elapsed: Seconds since a worker got the first one, until the last one ended; 0 before.
        eta: How many seconds the rest takes if it goes on as it did so far; None when nobody can say, which is until
            three tasks have completed or failed, or 5 s have gone by.
        running_tasks: Those that run, in the order in which they started.
    """

    total: int = 0
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    progress: float = 1.0
    elapsed: float = 0.0
    eta: float | None = None
    running_tasks: tuple[TaskSnapshot, ...] = ()

    @classmethod
    def of(cls, tasks: Iterable[Task[Any]], now: float | None = None) -> BatchSnapshot:
        """How tasks stand together now.

        Args:
            tasks: One that comes twice counts once.
            now: In seconds since the epoch; None asks the clock of the tasks.
        """
        tally = Tally(tasks)
        tally.begin()
        return tally.snapshot(tally.now() if now is None else now)

    @property
    def finished(self) -> int:
        """How many have ended, in whatever way."""
        return self.completed + self.failed + self.canceled

    @property
    def done(self) -> bool:
        """True when all have ended."""
        return self.finished == self.total

    @property
    def text(self) -> str:
        """One line for people: `614 of 1,000 done, 3 failed, 8 running, 65%, 12 s left`."""
        parts = [f"{self.finished:,} of {self.total:,} done"]
        parts += [
            f"{count:,} {word}"
            for count, word in ((self.failed, "failed"), (self.canceled, "canceled"), (self.running, "running"))
            if count
        ]
        if not self.done:
            parts.append(f"{math.floor(100 * self.progress)}%")
            if self.eta is not None:
                parts.append(f"{text.duration(self.eta)} left")
        return ", ".join(parts)

    def __str__(self) -> str:
        return self.text


class Tally:
    """Counts a batch while its events come: a step for each event, and for a snapshot one for each running task.

    Events of one task come in order; what comes after its end is ignored.

    Args:
        tasks: One that comes twice counts once.
    """

    def __init__(self, tasks: Iterable[Task[Any]]) -> None:
        self.tasks = tuple(dict.fromkeys(tasks))
        self._open = set(self.tasks)
        self._running: dict[Task[Any], TaskEvent[Any]] = {}  # the newest event of each
        self._ended = {COMPLETED: 0, FAILED: 0, CANCELED: 0}
        self._began = math.inf
        self._finished = 0.0

    @property
    def over(self) -> bool:
        """True when all have ended."""
        return not self._open

    def begin(self) -> None:
        """Look at the tasks themselves, for what had happened before the first event came."""
        for task in self.tasks:
            status = task.status
            if status is not PENDING:
                self.take(TaskEvent(task, _TYPES[status], task.message, task.current, task.maximum))

    def take(self, event: TaskEvent[Any]) -> None:
        """Take an event into account."""
        task = event.task
        if task not in self._open:
            return
        if task not in self._running and task.started_at is not None:
            self._began = min(self._began, task.started_at)
        end = _ENDS.get(event.type)
        if end is None:
            self._running[task] = event
            return
        self._open.remove(task)
        self._running.pop(task, None)
        self._ended[end] += 1
        self._finished = max(self._finished, task.finished_at or 0.0)

    def now(self) -> float:
        """The time, as the clock of the tasks shows it, in seconds since the epoch."""
        return delivery_of(self.tasks[0]).now() if self.tasks else 0.0

    def snapshot(self, now: float) -> BatchSnapshot:
        """How they stand.

        Args:
            now: In seconds since the epoch.
        """
        shares = math.fsum(text.ratio(event.current, event.maximum) or 0.0 for event in self._running.values())
        total, left = len(self.tasks), len(self._open)
        worked = self._ended[COMPLETED] + self._ended[FAILED]
        elapsed = max(0.0, (now if left else self._finished) - self._began)
        return BatchSnapshot(
            total=total,
            pending=left - len(self._running),
            running=len(self._running),
            completed=self._ended[COMPLETED],
            failed=self._ended[FAILED],
            canceled=self._ended[CANCELED],
            progress=(total - left + shares) / total if left else 1.0,
            elapsed=elapsed,
            eta=eta(worked, worked + shares, left - shares, elapsed),
            running_tasks=tuple(_running_snapshot(event, now) for event in self._running.values()),
        )


def eta(ended: int, done: float, left: float, elapsed: float) -> float | None:
    """How many seconds the rest takes when it goes on as it did so far; None when nobody can say.

    Args:
        ended: How many tasks have run to their end.
        done: How many tasks' work that makes, with the shares of those that run.
        left: How many tasks' work is left.
        elapsed: How many seconds `done` took.
    """
    if left <= 0.0:
        return 0.0
    if done <= 0.0 or (ended < _ETA_TASKS and elapsed < _ETA_S):
        return None
    return elapsed * left / done


def _running_snapshot(event: TaskEvent[Any], now: float) -> TaskSnapshot:
    task = event.task
    elapsed = None if task.started_at is None else max(0.0, now - task.started_at)
    return TaskSnapshot(
        task.id, task.name, RUNNING, event.message, event.current, event.maximum, elapsed, None, task.worker
    )
