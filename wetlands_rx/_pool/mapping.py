"""map(): the results of a function for each item, in order or as they come.

caller's thread     pulls and packs items, and a feeder passes them on
reader threads      bring the outcomes, many at a time, into one queue
caller's thread     next(): takes them out of the queue, opens them, yields or raises
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from wetlands_rx._pool.feeding import Feeder
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.failures import failure_of, opened
from wetlands_rx._task.items import ItemFailed, Sink
from wetlands_rx._task.task import checked_timeout
from wetlands_rx._wire.messages import Finished, FinishedUnopened, ItemCanceled, ItemRaised, ItemUnopened, Raised
from wetlands_rx.exceptions import SerializationError

T = TypeVar("T")

OnError = Literal["raise", "return", "skip"]
_SPECIAL = frozenset((ItemFailed, ItemRaised, ItemUnopened, ItemCanceled))
_CLOSED = -1
_FIRST_BLOCK, _BLOCK = 16, 1024
"""So many items are packed before they are passed on, at the beginning and later."""


class MapOptions(NamedTuple):
    """How to map.

    Attributes:
        timeout: How long `next()` may wait for a result, in seconds; None waits as long as the function runs.
        ordered: Yield in the order of the items, or as they are done.
        buffersize: How many items are pulled and not yielded, at most; None pulls all at once.
        chunksize: How many items a worker is given together, at least; None: one.
        on_error: What becomes of a failed item: `next()` raises, or returns the exception, or leaves it out.
    """

    timeout: float | None = None
    ordered: bool = True
    buffersize: int | None = None
    chunksize: int | None = None
    on_error: OnError = "raise"

    @classmethod
    def of(
        cls, timeout: float | None, ordered: bool, buffersize: object, chunksize: object, on_error: object
    ) -> MapOptions:
        """Check what a user gave.

        Raises:
            TypeError, ValueError: something is not what it should be.
        """
        if on_error not in ("raise", "return", "skip"):
            raise ValueError(f"on_error is {on_error!r}; it can be 'raise', 'return' or 'skip'")
        chunk = None if chunksize == "auto" else _count("chunksize", chunksize, " or 'auto'")
        buffer = None if buffersize is None else _count("buffersize", buffersize, " or None")
        return cls(checked_timeout(timeout), ordered, buffer, chunk, on_error)


def _count(name: str, value: object, other: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number{other}, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} is {value}; at least 1 is needed")
    return value


class _Run(NamedTuple):
    """Outcomes of items that follow each other."""

    place: int
    outcomes: list[Any]
    worker: WorkerInfo | None


class Arrivals(Sink):
    """Where the outcomes of a map arrive. `put` and `close` are safe from any thread, and take no lock of ours."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Run] = SimpleQueue()
        self._closed = False

    def put(self, place: int, outcomes: list[Any], worker: WorkerInfo | None) -> None:
        """Take outcomes."""
        if not self._closed:  # else nobody will, and they may be large
            self._queue.put(_Run(place, outcomes, worker))

    def close(self) -> None:
        """Wake who waits: nothing more is wanted."""
        self._closed = True
        with contextlib.suppress(Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(_Run(_CLOSED, [], None))

    def next(self, delivery: Delivery, timeout: float | None) -> _Run | None:
        """The next ones to come; None when none came within `timeout` seconds."""
        took: list[_Run] = []

        def arrived(limit: float | None) -> bool:
            try:
                took.append(self._queue.get(timeout=limit))
            except Empty:
                return False
            return True

        try:
            return self._queue.get_nowait()
        except Empty:
            return took[0] if delivery.wait(arrived, timeout) else None


class _Mapping:
    """What there is to do for a map; the iterator holds it, and it does not hold the iterator, which may be dropped."""

    def __init__(self, feeder: Feeder, items: Iterator[Any], options: MapOptions, arrivals: Arrivals) -> None:
        self.closed = False
        self.feeder = feeder
        self._items = items
        self._options = options
        self._arrivals = arrivals
        self._early: dict[int, _Run] = {}
        self._exhausted = False
        self._fed = 0
        self._taken = 0

    # --- feeding

    def fill(self) -> None:
        """Pull what there is room for."""
        window, chunk = self._options.buffersize, self._options.chunksize or 1
        if window is None:
            block = _FIRST_BLOCK
            while not self._exhausted:
                self._pull(block)
                block = _BLOCK
        elif not self._exhausted:
            room = window - (self._fed - self._taken)
            if room >= min(chunk, window):
                self._pull(room)

    def _pull(self, count: int) -> None:
        block = list(islice(self._items, count))
        self._exhausted = len(block) < count
        if not block:
            return
        try:
            self._feed(self.feeder.packed(block))
        except SerializationError:
            if self._options.on_error == "raise":
                raise
            self._pull_one_by_one(block)

    def _pull_one_by_one(self, block: list[Any]) -> None:
        for item in block:
            try:
                packed = self.feeder.packed([item])
            except SerializationError as error:
                self._arrivals.put(self._fed, [ItemFailed(error)], None)
                self._fed += 1
            else:
                self._feed(packed)

    def _feed(self, packed: list[Any]) -> None:
        self.feeder.feed(self._fed, packed)
        self._fed += len(packed)

    # --- taking

    def results(self) -> Generator[Any]:
        """The results, one by one; whatever ends this cancels what is left."""
        on_error, windowed = self._options.on_error, self._options.buffersize is not None
        try:
            while (run := self._next()) is not None:
                place, outcomes, worker = run
                if not windowed:
                    self._taken += len(outcomes)
                for at, outcome in enumerate(outcomes, place):
                    if windowed:
                        self._taken += 1
                        self.fill()
                    value = outcome
                    if type(outcome) in _SPECIAL:
                        value, error = _opened(outcome, self.feeder.target, at, worker)
                        if error is not None:
                            if on_error == "raise":
                                raise error
                            if on_error == "skip":
                                continue
                            value = error
                    yield value
        finally:
            self.close()

    def _next(self) -> _Run | None:
        """The run that comes next; None when there is none left."""
        if self.closed or (self._exhausted and self._taken == self._fed):
            return None
        if self._options.ordered and self._taken in self._early:
            return self._early.pop(self._taken)
        timeout, delivery = self._options.timeout, self.feeder.delivery
        deadline = None if timeout is None else delivery.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - delivery.monotonic())
            run = self._arrivals.next(delivery, left)
            if run is None:
                raise TimeoutError(self._late())
            if run.place == _CLOSED:
                return None
            if not self._options.ordered or run.place == self._taken:
                return run
            self._early[run.place] = run

    def _late(self) -> str:
        target, timeout = self.feeder.target, self._options.timeout
        what = f"the result of item {self._taken}" if self._options.ordered else "the next result"
        return f"{what} of {target} was not there within {timeout:g} s; what is left was canceled"

    def close(self) -> None:
        """Cancel what is left."""
        if not self.closed:
            self.closed = True
            self._early.clear()
            self._arrivals.close()
            self.feeder.cancel()


def _opened(outcome: Any, target: str, place: int, worker: WorkerInfo | None) -> tuple[Any, Exception | None]:
    """The value, or the error, of an item."""
    if isinstance(outcome, ItemFailed):
        outcome.error.__context__ = None  # what an earlier raise has left on it
        return None, outcome.error.with_traceback(None)
    if isinstance(outcome, ItemCanceled):
        return None, concurrent.futures.CancelledError(f"item {place} of {target} was canceled")
    if isinstance(outcome, ItemUnopened):
        end = opened(FinishedUnopened(0, outcome.packed))
        if isinstance(end, Finished):
            return end.value, None
    else:
        end = Raised(0, *outcome)
    return None, failure_of(end, target, worker)


class MapIterator(Iterator[T], Generic[T]):
    """Yields the results of a function for items; closing or dropping it cancels what is left.

    Args:
        feeder: Passes the items on.
        iterable: The items; pulled now, or as far as the buffer goes.
        options: How.
        arrivals: Where the feeder's outcomes arrive.
    Raises:
        Exception: whatever pulling and sending raises; nothing is left running then.
    """

    def __init__(self, feeder: Feeder, iterable: Iterable[Any], options: MapOptions, arrivals: Arrivals) -> None:
        self._mapping = _Mapping(feeder, iter(iterable), options, arrivals)
        self._results = self._mapping.results()
        try:
            self._mapping.fill()
        except BaseException:
            self._mapping.close()
            raise

    def __iter__(self) -> MapIterator[T]:
        return self

    def __next__(self) -> T:
        """The next result.

        Raises:
            StopIteration: there is none left.
            TimeoutError: it was not ready in time; what is left is canceled.
            ExecutionException: its item failed, and `on_error` is `"raise"`; likewise.
            concurrent.futures.CancelledError: its item was canceled, by an exit; likewise.
        """
        value: T = next(self._results)
        return value

    def close(self) -> None:
        """Cancel what has not been yielded: what waits never runs, what runs is asked to stop."""
        self._mapping.close()
        with contextlib.suppress(ValueError):  # another thread is in it, and will be told
            self._results.close()

    def __del__(self) -> None:
        # Called at any moment, maybe by a thread that holds a lock of ours: another thread does the work.
        mapping = getattr(self, "_mapping", None)
        if mapping is not None and not mapping.closed:
            mapping.closed = True
            mapping.feeder.cancel_soon()
