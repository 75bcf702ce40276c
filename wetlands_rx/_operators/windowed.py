"""Many inner streams at once, in a window: as they come, or in the order of their items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._operators.checks import check_callable, check_count
from wetlands_rx._operators.paced import Consumer, Flow, Paced, open_source
from wetlands_rx._operators.turns import InlineTurns, Running, Turns, call_out

_A = TypeVar("_A")
_B = TypeVar("_B")


def merge_map(
    project: Callable[[_A], Observable[_B]], max_concurrent: int, window: int | None = None
) -> Callable[[Observable[_A]], Observable[_B]]:
    """Run the stream that `project` makes of each item, several at once; values go on as they come.

        source:             -a--b--c----------|
        project(x):         ---x|             (b takes longer)
        merge_map(f, 2):    ----a-----c-b-----|     c begins when a has ended: never more than 2 at once

    Args:
        project: Makes the inner stream of an item.
        max_concurrent: How many inner streams run at once.
        window: How many may run or have ended with values that the next operator has not taken; twice
            `max_concurrent` when None.
    Returns:
        An operator. It pulls an item from `from_items` only when it can begin with it; what another source pushes
        meanwhile waits here, without bound (`buffer_bounded` in front sets one). Disposing disposes of the inner
        streams and closes the generator.

    Which thread: the observer is called in the thread in which a source or an inner stream is heard, by one at a time
    and with no lock held. What the observer raises is logged, and it goes on.
    Errors: one of the source, of `project` or of an inner stream ends all at once.
    Raises:
        TypeError: `project` is no function, or `max_concurrent` or `window` no whole number.
        ValueError: `max_concurrent` or `window` is not at least 1.
    """
    return _mapped("merge_map", project, Limits.of(max_concurrent, window), ordered=False)


def concat_map_eager(
    project: Callable[[_A], Observable[_B]], max_concurrent: int, window: int | None = None
) -> Callable[[Observable[_A]], Observable[_B]]:
    """Run the stream that `project` makes of each item, several at once; values go on in the order of the items.

        source:                    -a--b--c----------|
        project(x):                ---x|             (a takes longer)
        concat_map_eager(f, 2):    ---------ab--c----|    b is ready before a and waits for it

    Args:
        project: Makes the inner stream of an item.
        max_concurrent: How many inner streams run at once.
        window: How many may run or have ended with values that wait for an earlier item, or for the next operator;
            twice `max_concurrent` when None.
    Returns:
        An operator; it pulls and disposes as `merge_map` does.

    Which thread: as for `merge_map`.
    Errors: one of the source, of `project` or of an inner stream comes at its position, after the values of all
    items before it; what runs after it is disposed of then, and nothing is begun once it is known.
    Raises:
        TypeError: `project` is no function, or `max_concurrent` or `window` no whole number.
        ValueError: `max_concurrent` or `window` is not at least 1.
    """
    return _mapped("concat_map_eager", project, Limits.of(max_concurrent, window), ordered=True)


class Limits(NamedTuple):
    """How much an operator takes on.

    Attributes:
        running: Inner streams at once.
        window: Those, and the ended ones with undelivered values.
    """

    running: int
    window: int

    @staticmethod
    def of(max_concurrent: int, window: int | None) -> Limits:
        """Check what the caller says."""
        check_count("max_concurrent", max_concurrent)
        if window is None:
            return Limits(max_concurrent, 2 * max_concurrent)
        check_count("window", window)
        return Limits(max_concurrent, window)


class Inner(Generic[_B]):
    """What one item became: the values that wait, and whether more come. Fed from any thread."""

    __slots__ = ("_window", "ended", "error", "values")

    def __init__(self, window: Window[Any, _B]) -> None:
        self._window = window
        self.values: deque[_B] = deque()
        self.ended = False
        self.error: Exception | None = None

    def next(self, value: _B) -> None:
        """One more value."""
        self._window.take(partial(self._window.got, self, value))

    def end(self, error: Exception | None = None) -> None:
        """No more values; because of an error, perhaps."""
        self._window.take(partial(self._window.inner_ended, self, error))

    def only(self, value: _B) -> None:
        """One value, and no more."""
        self._window.take(partial(self._window.got_only, self, value))


Begin = Callable[[_A, Inner[_B]], abc.DisposableBase]
"""Begins with an item; the result stops it. Called in a turn; what it raises is the item's error."""


class _Lineup(ABC, Generic[_B]):
    """Which value is next.

    Attributes:
        size: How many items have been begun whose values have not all been taken.
        failed: One of them has ended with an error.
    """

    def __init__(self) -> None:
        self._line: deque[Inner[_B]] = deque()
        self.size = 0
        self.failed = False

    @abstractmethod
    def add(self, inner: Inner[_B]) -> None:
        """An item has been begun."""

    @abstractmethod
    def got(self, inner: Inner[_B]) -> None:
        """It has one value more."""

    @abstractmethod
    def ended(self, inner: Inner[_B]) -> None:
        """It has ended."""

    @abstractmethod
    def head(self) -> Inner[_B] | None:
        """The one whose next value is due or, without a value, whose error; None when nothing is."""

    @abstractmethod
    def taken(self, inner: Inner[_B]) -> None:
        """The value that was due has been taken."""


class _InOrder(_Lineup[_B]):
    def add(self, inner: Inner[_B]) -> None:
        self._line.append(inner)
        self.size += 1

    def got(self, inner: Inner[_B]) -> None:
        pass

    def ended(self, inner: Inner[_B]) -> None:
        self.failed = self.failed or inner.error is not None
        self._drop()

    def head(self) -> Inner[_B] | None:
        if self._line and (self._line[0].values or self._line[0].error is not None):
            return self._line[0]
        return None

    def taken(self, inner: Inner[_B]) -> None:
        self._drop()

    def _drop(self) -> None:
        line = self._line
        while line and line[0].ended and not line[0].values and line[0].error is None:
            line.popleft()
            self.size -= 1


class _AsTheyCome(_Lineup[_B]):
    """An inner stream stands in the line once for each value."""

    def add(self, inner: Inner[_B]) -> None:
        self.size += 1

    def got(self, inner: Inner[_B]) -> None:
        self._line.append(inner)

    def ended(self, inner: Inner[_B]) -> None:
        if inner.error is not None and not self.failed:
            self.failed = True
            inner.values.clear()
            self._line = deque((inner,))  # its error overtakes all values
        elif not inner.values:
            self.size -= 1

    def head(self) -> Inner[_B] | None:
        return self._line[0] if self._line else None

    def taken(self, inner: Inner[_B]) -> None:
        self._line.popleft()
        if inner.ended and not inner.values:
            self.size -= 1


class Window(Generic[_A, _B]):
    """Between a source and a consumer: begins with items as the limits allow, and hands their values on.

    All that happens is done in turns; the fields are touched in them alone.

    Args:
        who: The operator's name, for the log.
        consumer: Who receives the values.
        begin: Begins with an item.
        limits: How much at once.
        lineup: In which order.
        turns: On which threads.
    """

    def __init__(
        self,
        who: str,
        consumer: Consumer[_B],
        begin: Begin[_A, _B],
        limits: Limits,
        turns: Turns,
        *,
        ordered: bool,
    ) -> None:
        self._who = who
        self._consumer = consumer
        self._begin = begin
        self._limits = limits
        self._turns = turns
        self._ordered = ordered
        self._lineup: _Lineup[_B] = _InOrder() if ordered else _AsTheyCome()
        self._running = Running()
        self._waiting: deque[_A] = deque()
        self._source: Flow | None = None
        self._source_ended = False
        self._source_error: Exception | None = None
        self._asked = False
        self._wanted = 0
        self._started = False
        self._closed = False

    def open(self, source: Observable[_A], scheduler: abc.SchedulerBase | None) -> Window[_A, _B]:
        """Subscribe to the source, in the caller's thread: nothing that it sends from now on is missed."""
        self._source = open_source(source, self, scheduler)
        if self._closed:
            self._source.dispose()
        return self

    def take(self, action: Callable[[], None]) -> None:
        """Do something in a turn, and then what follows from it; nothing once this is closed."""
        self._turns.take(partial(self._turn, action))

    # --- the consumer's side (Flow); any thread

    def request(self, count: int, /) -> None:
        """See `Flow`."""
        self.take(partial(self._add_wanted, count))

    def dispose(self) -> None:
        """See `Flow`."""
        self._closed = True
        self._running.dispose()
        if self._source is not None:
            self._source.dispose()

    # --- the source's side (Consumer); any thread

    def on_next(self, value: _A, /) -> None:
        """An item has come."""
        self.take(partial(self._arrived, value))

    def on_error(self, error: Exception, /) -> None:
        """No more will come."""
        self.take(partial(self._no_more, error))

    def on_completed(self) -> None:
        """No more will come."""
        self.take(partial(self._no_more, None))

    # --- turns

    def got(self, inner: Inner[_B], value: _B) -> None:
        """An inner stream has sent a value."""
        if not inner.ended:
            inner.values.append(value)
            self._lineup.got(inner)

    def got_only(self, inner: Inner[_B], value: _B) -> None:
        """An inner stream has sent its only value."""
        self.got(inner, value)
        self.inner_ended(inner, None)

    def inner_ended(self, inner: Inner[_B], error: Exception | None) -> None:
        """An inner stream has ended."""
        if self._running.discard(inner):
            inner.ended, inner.error = True, error
            self._lineup.ended(inner)

    def _add_wanted(self, count: int) -> None:
        self._started = True
        self._wanted += count

    def _arrived(self, item: _A) -> None:
        self._asked = False
        self._waiting.append(item)

    def _no_more(self, error: Exception | None) -> None:
        self._source_ended, self._source_error = True, error

    def _turn(self, action: Callable[[], None]) -> None:
        if self._closed:
            return
        action()
        self._hand_on()
        while self._waiting and self._has_room():
            self._begin_with(self._waiting.popleft())
        if self._source_ended:
            self._end_if_due()
        elif self._started and not self._asked and self._source is not None and self._has_room():
            self._asked = True
            self._source.request(1)

    def _has_room(self) -> bool:
        return (
            len(self._running) < self._limits.running
            and self._lineup.size < self._limits.window
            and not self._lineup.failed
            and not self._closed
        )

    def _begin_with(self, item: _A) -> None:
        inner: Inner[_B] = Inner(self)
        self._lineup.add(inner)
        try:
            stop = self._begin(item, inner)
        except Exception as error:  # noqa: BLE001 - the user's function; the consumer is told
            stop = Disposable()
            inner.end(error)
        self._running.add(inner, stop)

    def _hand_on(self) -> None:
        while not self._closed and (inner := self._lineup.head()) is not None:
            if not inner.values:
                self._finish(inner.error)
            elif self._wanted > 0:
                self._wanted -= 1
                value = inner.values.popleft()
                self._lineup.taken(inner)
                call_out(self._who, self._consumer.on_next, value)
            else:
                return

    def _end_if_due(self) -> None:
        """The source has ended: so does this, after the items before that; at once when it failed and order is free."""
        at_once = self._source_error is not None and not self._ordered
        if not self._closed and (at_once or not (self._waiting or self._lineup.size)):
            self._finish(self._source_error)

    def _finish(self, error: Exception | None) -> None:
        self.dispose()
        if error is None:
            call_out(self._who, self._consumer.on_completed)
        else:
            call_out(self._who, self._consumer.on_error, error)


def _mapped(
    who: str, project: Callable[[_A], Observable[_B]], limits: Limits, *, ordered: bool
) -> Callable[[Observable[_A]], Observable[_B]]:
    check_callable("project", project)

    def operator(source: Observable[_A]) -> Observable[_B]:
        def begin(consumer: Consumer[_B], scheduler: abc.SchedulerBase | None) -> Flow:
            def begin_with(item: _A, inner: Inner[_B]) -> abc.DisposableBase:
                return project(item).subscribe(inner.next, inner.end, inner.end, scheduler=scheduler)

            window = Window(who, consumer, begin_with, limits, InlineTurns(), ordered=ordered)
            return window.open(source, scheduler)

        return Paced(begin)

    return operator
