"""Who passes the items of a map on: as one task each, or many at a time."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, Protocol

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._task.call import Work
from wetlands_rx._task.items import ItemFailed, Items, Job, Sink
from wetlands_rx._task.lifecycle import COMPLETED, CancelRequested
from wetlands_rx._task.task import Task, cancel_soon, notify_end
from wetlands_rx._wire.items import Item, are_numbers


class Feeder(Protocol):
    """Passes items on to whoever runs the function; the outcomes go to a sink."""

    @property
    def target(self) -> str:
        """What is called, in reports."""
        ...

    @property
    def delivery(self) -> Delivery:
        """The threads to wait with."""
        ...

    def packed(self, items: list[Any]) -> list[Any]:
        """Make items ready to be passed on: they may be changed afterwards.

        Raises:
            SerializationError: one cannot be sent.
        """
        ...

    def feed(self, place: int, packed: list[Any]) -> None:
        """Pass on items that follow each other; the first one is the `place`th.

        Raises:
            WetlandsError: nobody runs functions any more.
        """
        ...

    def cancel(self) -> None:
        """Cancel all that was fed and has no outcome: what waits never runs, what runs is asked to stop."""
        ...

    def cancel_soon(self) -> None:
        """As `cancel`, on another thread: for finalizers."""
        ...


class TaskFeeder(Feeder):
    """One task for each item.

    Args:
        make: Makes one, not yet started.
        target: What is called.
        delivery: The threads to wait with.
        sink: Takes the outcomes.
    """

    def __init__(self, make: Callable[[Any], Task[Any]], target: str, delivery: Delivery, sink: Sink) -> None:
        self._make = make
        self._target = target
        self._delivery = delivery
        self._sink = sink
        self._open: dict[int, Task[Any]] = {}

    @property
    def target(self) -> str:
        """What is called."""
        return self._target

    @property
    def delivery(self) -> Delivery:
        """The threads to wait with."""
        return self._delivery

    def packed(self, items: list[Any]) -> list[Task[Any]]:
        """Make the tasks."""
        return list(map(self._make, items))

    def feed(self, place: int, packed: list[Any]) -> None:
        """Start the tasks."""
        for at, task in enumerate(packed, place):
            task.start()
            self._open[at] = task
            self._watch(at, task)

    def _watch(self, at: int, task: Task[Any]) -> None:
        def ended() -> None:
            del self._open[at]
            self._sink.put(at, [_outcome_of(task)], task.worker)

        if not notify_end(task, ended):
            ended()

    def cancel(self) -> None:
        """Cancel the tasks, the last one first, so that none of them starts."""
        for task in reversed(list(self._open.values())):
            task.cancel()

    def cancel_soon(self) -> None:
        """Likewise."""
        for task in reversed(list(self._open.values())):
            cancel_soon(task)


def _outcome_of(task: Task[Any]) -> Any:
    if task.status is COMPLETED:
        return task.result
    return ItemFailed(task.exception or concurrent.futures.CancelledError(f"{task!r} was canceled"))


class ItemRunner(Protocol):
    """Who runs items: a pool of worker processes."""

    @property
    def delivery(self) -> Delivery:
        """The threads to wait with."""
        ...

    def start_items(self, items: Items) -> None:
        """Run them as soon as workers are free.

        Raises:
            WetlandsError: there is none and there will be none.
        """
        ...

    def withdraw(self, call: Work) -> bool | None:
        """As that of a `Runner`."""
        ...

    def ask_cancel(self, call: Work) -> None:
        """As that of a `Runner`."""
        ...


class ItemFeeder(Feeder):
    """Many items at a time, without a task for each.

    Args:
        job: What the items have in common.
        runner: Who runs them.
        pack: Pickles one.
    """

    def __init__(self, job: Job, runner: ItemRunner, pack: Callable[[Any], Item]) -> None:
        self._pack = pack
        self._job = job
        self._runner = runner

    @property
    def target(self) -> str:
        """What is called."""
        return self._job.target

    @property
    def delivery(self) -> Delivery:
        """The threads to wait with."""
        return self._runner.delivery

    def packed(self, items: list[Any]) -> list[Any]:
        """Pickle them; but not numbers, which nobody can change."""
        return items if are_numbers(items) else list(map(self._pack, items))

    def feed(self, place: int, packed: list[Any]) -> None:
        """Give them to the pool."""
        items = Items(self._job, packed, place, 0, len(packed))
        try:
            self._runner.start_items(items)
        except BaseException:
            self._job.open.discard(items)
            raise

    def cancel(self) -> None:
        """Cancel all that is left."""
        waiting = list(self._job.open)
        for items in waiting:
            items.cancel_requested = True
        for items in waiting:
            withdrawn = self._runner.withdraw(items)
            if withdrawn is None:
                self.cancel_soon()  # this very thread is at work in the pool, below a finalizer
                return
            if withdrawn:
                items.post(CancelRequested())
        for items in list(self._job.open):  # those that were cut off meanwhile, too
            items.cancel_requested = True
            self._runner.ask_cancel(items)

    def cancel_soon(self) -> None:
        """Likewise."""
        self._runner.delivery.soon(self.cancel)
