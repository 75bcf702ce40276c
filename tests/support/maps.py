"""Maps over tasks that a test made itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wetlands_rx._pool.feeding import TaskFeeder
from wetlands_rx._pool.mapping import Arrivals, MapIterator, MapOptions
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx.task import Task


def mapped(
    tasks: Sequence[Task[Any]], delivery: Delivery, *, ordered: bool = True, timeout: float | None = None
) -> MapIterator[Any]:
    """Map over as many items as there are tasks, each of which is that of its item."""
    arrivals, made = Arrivals(), iter(tasks)
    feeder = TaskFeeder(lambda _item: next(made), "remote.py:function", delivery, arrivals)
    options = MapOptions.of(timeout, ordered, None, "auto", "raise")
    return MapIterator(feeder, range(len(tasks)), options, arrivals)
