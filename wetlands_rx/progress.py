"""How tasks and batches stand, as immutable snapshots: what a display is made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reactivex import Observable, abc

from wetlands_rx._task.batch import BatchSnapshots
from wetlands_rx._task.snapshots import BatchSnapshot, TaskSnapshot
from wetlands_rx.task import Task

__all__ = ["BatchSnapshot", "TaskSnapshot", "snapshots"]


def snapshots(
    *tasks: Task[Any] | Iterable[Task[Any]], period: float = 0.1, scheduler: abc.SchedulerBase | None = None
) -> Observable[BatchSnapshot]:
    """How tasks stand together, now and then, as `TaskList.snapshots`.

        tasks:            -s-u-uuuu--------c|
        snapshots(3):     s--s--s--s-------(s|)

    Args:
        tasks: Tasks and lists of them, also of several environments; one that comes twice counts once.
        period: At most one snapshot in each, in seconds; the first and the last one come at once.
        scheduler: Whose seconds they are: a `TestScheduler`, a widget toolkit's. None: the library's clock.
    Returns:
        A stream that each subscriber starts anew and that ends with the last task. It never errors.
    Raises:
        TypeError: something is no task, or the period no number.
        ValueError: the period is not positive and finite.
    """
    return BatchSnapshots(_all(tasks), period, scheduler)


def _all(tasks: Iterable[Task[Any] | Iterable[Task[Any]]]) -> Iterator[Task[Any]]:
    for given in tasks:
        for task in (given,) if isinstance(given, Task) else given:
            if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
                raise TypeError(f"{task!r:.100} is no task")
            yield task
