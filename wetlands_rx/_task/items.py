"""The items of a map: one place in the queue for all, cut into pieces when workers have room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from wetlands_rx._task.call import WorkerInfo, next_number
from wetlands_rx._task.failures import failure_of
from wetlands_rx._task.lifecycle import (
    CancelRequested,
    Dispatched,
    EnvironmentExited,
    Happening,
    PoolBroken,
    WorkerLost,
)
from wetlands_rx._wire.arena import Block
from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.items import Item, PackedItem, encode_items, is_number
from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    ItemCanceled,
    ItemRaised,
    ItemsDone,
    Raised,
)
from wetlands_rx._wire.target import FunctionValue

PIECE_BYTES = 8192
"""Chunks of items travel together up to this size."""
_PICKLED_NUMBER_BYTES = 10  # at most, in a pickle of many


class ItemFailed:
    """The outcome of an item that failed without its function."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Sink(Protocol):
    """Takes the outcomes of a map's items, on any thread; runs no user code."""

    def put(self, place: int, outcomes: list[object], worker: WorkerInfo | None) -> None:
        """Those of items that follow each other: values, or `ItemFailed` and the messages of the wire."""
        ...


class Outcomes:
    """Outcomes of items that follow each other, on their way to a sink."""

    __slots__ = ("_outcomes", "_place", "_sink", "_worker")

    def __init__(self, sink: Sink, place: int, outcomes: list[object], worker: WorkerInfo | None) -> None:
        self._sink = sink
        self._place = place
        self._outcomes = outcomes
        self._worker = worker

    @property
    def values(self) -> list[object]:
        """One for each item."""
        return self._outcomes

    def joined(self, other: Outcomes) -> bool:
        """Take in those that follow, from the same worker; False when they do not follow."""
        follows = other._sink is self._sink and other._place == self._place + len(self._outcomes)
        if follows:
            self._outcomes += other._outcomes
        return follows

    def tell(self) -> None:
        """Hand them over."""
        self._sink.put(self._place, self._outcomes, self._worker)


class Job:
    """What the items of one map have in common.

    Args:
        path: The file.
        function: The name in it.
        target: What is called, in reports.
        chunksize: How many items a worker is given together, at least; None: one.
        sink: Takes the outcomes.
        value: The function itself, when it is sent with each piece.

    Attributes:
        open: All that stands in the queue or is on its way.
    """

    __slots__ = ("chunksize", "function", "open", "path", "sink", "target", "value")

    def __init__(
        self,
        path: str,
        function: str,
        target: str,
        chunksize: int | None,
        sink: Sink,
        value: FunctionValue | None = None,
    ) -> None:
        self.path = path
        self.function = function
        self.target = target
        self.chunksize = chunksize
        self.sink = sink
        self.value = value
        self.open: set[Items] = set()


class Items:
    """Items that follow each other; to a pool a call like any other (it is `Work`), except that it can be cut.

    Args:
        job: What they belong to.
        packed: The pickled items; those that have an outcome are let go.
        place: The place of the first of them in the map.
        start: Where this piece begins in `packed`.
        end: Where it ends.
        size: How many bytes it has; None when it will be cut.
    """

    __slots__ = (
        "_bytes",
        "_end",
        "_job",
        "_next",
        "_packed",
        "_place",
        "_start",
        "_worker",
        "cancel_requested",
        "number",
        "waiting",
    )

    def __init__(
        self, job: Job, packed: list[Item | None], place: int, start: int, end: int, size: int | None = None
    ) -> None:
        self.number = next_number()
        self.cancel_requested = False
        self.waiting = False
        self._job = job
        self._packed = packed
        self._place = place
        self._start = self._next = start
        self._end = end
        self._bytes = size
        self._worker: WorkerInfo | None = None
        job.open.add(self)

    # --- as a call

    @property
    def target(self) -> str:
        """What is called."""
        return self._job.target

    @property
    def payload(self) -> Sequence[Buffer]:
        """The frame."""
        items = cast("list[Item]", self._packed[self._start : self._end])  # none has an outcome before it was sent
        job = self._job
        return encode_items(self.number, job.path, job.function, items, job.value)

    @property
    def size(self) -> int:
        """How many have no outcome yet."""
        return self._end - self._next

    @property
    def bytes(self) -> int:
        """How large it is; while it can be cut: how large the next piece will be, at most."""
        value = self._job.value
        above = len(value.code) if value is not None else 0
        if self._bytes is not None:
            return above + self._bytes
        chunk = self._job.chunksize or 1
        size = sum(map(_size, self._packed[self._next : min(self._end, self._next + chunk)]))
        return above + (size if self.size <= chunk else max(size, PIECE_BYTES))

    @property
    def blocks(self) -> Sequence[Block]:
        """What it refers to in the arena: an item with buffers travels alone."""
        item = self._packed[self._next] if self._next < self._end else None
        return item.blocks if type(item) is PackedItem else ()

    def cut(self, good: int, most: int) -> Items:
        """Take a piece from the front, or all: whole chunks of about a good size. With the pool's lock held."""
        chunk = self._job.chunksize or 1
        count, size = self._piece(min(max(good // chunk, 1) * chunk, most, self.size), chunk)
        if count == self.size:
            self._bytes = size
            return self
        piece = self._part(self._next, self._next + count, size)
        self._start = self._next = self._next + count
        return piece

    def _piece(self, most: int, chunk: int) -> tuple[int, int]:
        """How many items and bytes the next piece has: a chunk, or more of them. An item with buffers goes alone."""
        packed, first = self._packed, self._next
        one = _size(packed[first])
        if most == 1 or isinstance(packed[first], PackedItem):
            return 1, one
        if is_number(packed[first]):
            count = min(most, max(chunk, PIECE_BYTES // one // chunk * chunk))
            return count, count * one
        count = size = total = 0
        for number, item in enumerate(packed[first : first + most], 1):
            if isinstance(item, PackedItem):
                return number - 1, total
            total += _size(item)
            if total > PIECE_BYTES and number > chunk:
                return count, size
            if number % chunk == 0:
                count, size = number, total
        return most, total

    def _part(self, start: int, end: int, size: int | None = None) -> Items:
        part = Items(self._job, self._packed, self._place, start, end, size)
        part.cancel_requested = self.cancel_requested
        return part

    # --- what happens to it

    def post(self, *happenings: Happening) -> None:
        """Take what happened to all that have no outcome yet; of a worker's death, to the one that ran."""
        for happening in happenings:
            if isinstance(happening, Dispatched):
                self._worker = happening.worker
            elif isinstance(happening, WorkerLost):
                self._put([ItemFailed(happening.error)] if self.size else [])
            elif isinstance(happening, (CancelRequested, CancelAcknowledged, EnvironmentExited)):
                self._put([ItemCanceled()] * self.size)
            elif isinstance(happening, Raised):
                self._put([ItemRaised(*happening[1:9])] * self.size)
            elif isinstance(happening, (Finished, FinishedUnopened)):  # or nobody would ever answer for them
                self._put([ItemRaised("the worker answered for one call", (), "", "serialization")] * self.size)
            elif isinstance(happening, PoolBroken):
                failure = failure_of(happening, self.target, self._worker)
                assert failure is not None
                self._put([ItemFailed(failure)] * self.size)

    def take(self, done: ItemsDone) -> Outcomes | None:
        """Take outcomes as they come from the worker; returns those that did not come before, for the sink."""
        known = self._next - (self._start + done.first)
        if known < 0:
            return None
        outcomes = done.outcomes[known : known + self.size]  # a copy, which may be joined with others
        return self._taken(outcomes) if outcomes else None

    def give_back(self, left: int) -> Items | None:
        """Take off the last ones, which the worker has not begun and will not."""
        left = min(left, self.size)
        return self._shortened(self._end - left) if left else None

    def rest(self) -> Items | None:
        """Take off all that have no outcome, when no more will come from the worker."""
        return self._shortened(self._next) if self.size else None

    def _shortened(self, end: int) -> Items:
        rest = self._part(end, self._end)
        self._end = end
        if not self.size:
            self._job.open.discard(self)
        return rest

    def _put(self, outcomes: list[object]) -> None:
        if outcomes:
            self._taken(outcomes).tell()
        elif not self.size:
            self._job.open.discard(self)

    def _taken(self, outcomes: list[object]) -> Outcomes:
        first, count = self._next, len(outcomes)
        self._packed[first : first + count] = [None] * count
        self._next = first + count
        if self._next >= self._end:
            self._job.open.discard(self)
        return Outcomes(self._job.sink, self._place + first, outcomes, self._worker)


def _size(item: Item | None) -> int:
    if item is None:
        return 0
    if isinstance(item, PackedItem):
        return item.size
    return len(item) if isinstance(item, bytes) else _PICKLED_NUMBER_BYTES
