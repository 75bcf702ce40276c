"""Streams whose consumer says how much it is ready for.

RxPY has no back-pressure: a source pushes. The operators of this package that hold something back (a window of tasks,
a bounded buffer, another thread) tell the one before them how much they want, when that one understands it too.
Between any other two operators everything is pushed, as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler import CurrentThreadScheduler

from wetlands_rx._operators.turns import InlineTurns, call_out

_T = TypeVar("_T")
_T_contra = TypeVar("_T_contra", contravariant=True)

UNLIMITED = sys.maxsize
_WHO = "from_items"


class Consumer(Protocol[_T_contra]):
    """Who receives: an observer, or the next operator."""

    def on_next(self, value: _T_contra, /) -> None:
        """Take a value."""
        ...

    def on_error(self, error: Exception, /) -> None:
        """Take the error that ends the stream."""
        ...

    def on_completed(self) -> None:
        """Take note that nothing more comes."""
        ...


class Flow(Protocol):
    """A subscription that is told how much may come. Both methods may be called from any thread, and within a call
    to the consumer.
    """

    def request(self, count: int, /) -> None:
        """Send this many more; never calls the consumer before the first request."""
        ...

    def dispose(self) -> None:
        """Send nothing more, and stop what is under way."""
        ...


class Paced(Observable[_T]):
    """An Observable whose consumer may set the pace; one who subscribes plainly receives all as it comes.

    Args:
        begin: Begins to serve a consumer; what it raises is the stream's error.
    """

    def __init__(self, begin: Callable[[Consumer[_T], abc.SchedulerBase | None], Flow]) -> None:
        super().__init__()
        self._begin = begin

    def open(self, consumer: Consumer[_T], scheduler: abc.SchedulerBase | None) -> Flow:
        """Begin to serve a consumer, who sets the pace."""
        return self._begin(consumer, scheduler)

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        flow = self._begin(observer, scheduler)
        # Later on this thread, when the observer has its subscription and can dispose of it: as RxPY's sources do.
        CurrentThreadScheduler.singleton().schedule(lambda _scheduler, _state: flow.request(UNLIMITED))
        return Disposable(flow.dispose)


class _Pushed:
    """A source of which nothing can be requested."""

    def __init__(self, subscription: abc.DisposableBase) -> None:
        self._subscription = subscription

    def request(self, count: int, /) -> None:
        pass

    def dispose(self) -> None:
        self._subscription.dispose()


def open_source(source: Observable[_T], consumer: Consumer[_T], scheduler: abc.SchedulerBase | None) -> Flow:
    """Subscribe to a source: paced when it can be, else as usual."""
    if isinstance(source, Paced):
        return source.open(consumer, scheduler)
    return _Pushed(source.subscribe(consumer.on_next, consumer.on_error, consumer.on_completed, scheduler=scheduler))


def from_items(iterable: Iterable[_T]) -> Observable[_T]:
    """A cold stream of the items of an iterable, which the operators after it pull.

        items:      1 2 3 4 5 ...          (a generator, however long)
        from_items(items).pipe(map_in(env, "segment.py", "segment", max_concurrent=2, window=4))
                    at most 4 items are pulled beyond what has been delivered

    Each subscription calls `iter(iterable)` once. An operator directly after it that sets the pace (`map_in`,
    `merge_map`, `concat_map_eager`, `buffer_bounded`, `deliver_on`) takes an item when it has room for it; to all
    others everything is pushed, in the subscriber's thread. A generator is closed when the stream is disposed of.

    Which thread: items are pulled where the consumer is ready for one: in the subscriber's thread and in those in
    which `merge_map` and `concat_map_eager` hear the ends of their inner streams; for `map_in` on a delivery thread.
    Errors: what the iterable raises is the stream's error.
    """
    return Paced(lambda consumer, _scheduler: _Items(iter(iterable), consumer))


class _Items(Generic[_T]):
    def __init__(self, items: Iterator[_T], consumer: Consumer[_T]) -> None:
        self._items = items
        self._consumer = consumer
        self._turns = InlineTurns()
        self._closed = False

    def request(self, count: int, /) -> None:
        self._turns.take(lambda: self._send(count))

    def dispose(self) -> None:
        self._closed = True
        self._turns.take(self._close)  # not while another thread is inside the generator

    def _send(self, count: int) -> None:
        while count > 0 and not self._closed:
            count -= 1
            try:
                item = next(self._items)
            except StopIteration:
                self._closed = True
                call_out(_WHO, self._consumer.on_completed)
            except Exception as error:  # noqa: BLE001 - the user's code; the consumer is told
                self._closed = True
                call_out(_WHO, self._consumer.on_error, error)
            else:
                call_out(_WHO, self._consumer.on_next, item)

    def _close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            call_out(_WHO, close)
