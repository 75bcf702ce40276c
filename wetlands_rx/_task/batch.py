"""Snapshots of a batch as a stream."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from reactivex import Observable, abc

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.sampled import Sampled
from wetlands_rx._streams.schedulers import DeliveryScheduler
from wetlands_rx._streams.subject import Listener, observer_ends
from wetlands_rx._task.events import TaskEvent
from wetlands_rx._task.snapshots import BatchSnapshot, Tally
from wetlands_rx._task.task import Task, delivery_of


class BatchSnapshots(Observable[BatchSnapshot]):
    """How tasks stand together, now and then; see `TaskList.snapshots`.

    Args:
        tasks: One that comes twice counts once.
        period: In seconds.
        scheduler: Whose seconds they are; None: those of the delivery threads.
    Raises:
        TypeError, ValueError: the period is no positive number.
    """

    def __init__(self, tasks: Iterable[Task[Any]], period: float, scheduler: abc.SchedulerBase | None = None) -> None:
        super().__init__()
        self._tasks = tuple(dict.fromkeys(tasks))
        self._period = _checked_period(period)
        self._scheduler = scheduler

    def _subscribe_core(
        self, observer: abc.ObserverBase[BatchSnapshot], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        state = _State(self._tasks)
        listener = Listener(observer.on_next, observer_ends(observer), f"the snapshots of {len(self._tasks)} tasks")
        clock = self._scheduler or scheduler or DeliveryScheduler(state.delivery, _nothing)
        sampled: Sampled[TaskEvent[Any], BatchSnapshot] = Sampled(state, listener, self._period, clock)
        return sampled.open(self._tasks)


class _State(Tally):
    """What the events of a batch make of it; knows whose threads live."""

    def __init__(self, tasks: tuple[Task[Any], ...]) -> None:
        super().__init__(tasks)
        self._latest: Task[Any] | None = None

    def take(self, event: TaskEvent[Any]) -> None:
        super().take(event)
        self._latest = event.task

    def look(self) -> BatchSnapshot:
        return self.snapshot(self.now())

    def delivery(self) -> Delivery:
        """The threads that told the newest event, or will tell the first one: those of ended tasks may be gone."""
        task = self._latest
        if task is None or task.status.is_finished():
            task = next((task for task in self.tasks if not task.status.is_finished()), self.tasks[0])
        return delivery_of(task)


def _checked_period(period: float) -> float:
    if not isinstance(period, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"period is {period!r:.100}; a number of seconds is wanted")
    if not 0 < period < math.inf:
        raise ValueError(f"period is {period}; it must be positive and finite")
    return period


def _nothing() -> None:
    """The threads belong to the tasks' environments, and are kept by them."""
