"""Subjects that keep the Rx contract whatever their observers do.

RxPY's own `Subject` enters an observer from several threads at once, and an observer that raises breaks the producer
and starves the observers after it. These do not: events go out one at a time, in one order for all, and an observer's
exception is reported and goes no further.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import ReplaySubject

from wetlands_rx._streams.mailbox import Step
from wetlands_rx._streams.report import described, report

_T = TypeVar("_T")


class Last(NamedTuple):
    """The terminal event, as a listener hears it: nothing more comes."""

    event: Any


class Ended(NamedTuple):
    """The end, or the error, of a stream without a terminal event, as a listener hears it."""

    error: Exception | None


class Listener(Generic[_T]):
    """One subscriber, isolated: what it raises is logged and reaches nobody.

    Args:
        on_next: Receives each event.
        on_end: Called once after the last event, with None or with the stream's error.
        source: What it listens to, for the log.
        since: The number of the first event that it may see.
    """

    __slots__ = ("_on_end", "_on_next", "_source", "active", "late", "life", "since")

    def __init__(
        self,
        on_next: Callable[[_T], Any],
        on_end: Callable[[Exception | None], Any] | None,
        source: object,
        since: int = 0,
    ) -> None:
        self._on_next = on_next
        self._on_end = on_end
        self._source = source
        self.since = since
        self.life = 0  # of a stream with several lives: in which one it came
        self.active = True
        self.late: deque[Any] | None = None

    def described(self) -> str:
        """The name of its callable."""
        return f"the listener {described(self._on_next)}"

    def calls(self, on_next: Callable[[_T], Any]) -> bool:
        """True when it hands events to this callable, by `==`."""
        return bool(self._on_next == on_next)

    def hear(self, item: _T | Last | Ended) -> None:
        """Hand over an event, or the end."""
        kind = type(item)
        if kind is Last or kind is Ended:
            self._hear_end(cast("Last | Ended", item))
        elif self.active:
            try:
                self._on_next(cast(_T, item))
            except BaseException:  # noqa: BLE001 - the user's code; SystemExit must not end a delivery thread
                report("a listener of %s raised: %s", self._source, described(self._on_next))

    def _hear_end(self, item: Last | Ended) -> None:
        if isinstance(item, Ended):
            self.end(item.error)
        else:
            self.hear(item.event)
            self.end(None)

    def end(self, error: Exception | None) -> None:
        """Say that nothing more comes."""
        if self.active and self._on_end is not None:
            try:
                self._on_end(error)
            except BaseException:  # noqa: BLE001 - as above
                report("a listener of %s raised at its end: %s", self._source, described(self._on_end))
        self.active = False


def observer_ends(observer: abc.ObserverBase[Any]) -> Callable[[Exception | None], None]:
    """The `on_end` of a `Listener` for an Rx observer."""

    def end(error: Exception | None) -> None:
        if error is None:
            observer.on_completed()
        else:
            observer.on_error(error)

    return end


class SerialSubject(Observable[_T]):
    """A hot stream fed by any number of threads; costs nothing while nobody subscribes.

    Observers are called on the thread of one of the producers, one event at a time, with no lock held; what another
    producer, or the observer itself, emits meanwhile comes next.

    Args:
        source: What it is the stream of, for the log.
    """

    def __init__(self, source: object = "a stream") -> None:
        super().__init__()
        self._source = source
        self._serial = threading.Lock()  # guards the fields below
        self._listeners: tuple[Listener[_T], ...] = ()
        self._waiting: deque[Callable[[], None]] = deque()
        self._draining = False
        self._ended = False
        self._error: Exception | None = None

    @property
    def observed(self) -> bool:
        """True while somebody listens: ask before building an event nobody may want."""
        return bool(self._listeners)

    def emit(self, event: _T) -> None:
        """Send an event to all who listen now. From any thread."""
        with self._serial:
            listeners = self._listeners
            if not listeners or self._ended:
                return
            self._waiting.append(lambda: _next_to_all(listeners, event))
            if self._draining:
                return
            self._draining = True
        self._drain()

    def end(self, error: Exception | None = None) -> None:
        """Complete the stream, or end it with an error; the first call counts. From any thread."""
        with self._serial:
            if self._ended:
                return
            self._ended, self._error = True, error
            listeners, self._listeners = self._listeners, ()
            self._waiting.append(lambda: _end_all(listeners, error))
            if self._draining:
                return
            self._draining = True
        self._drain()

    def _drain(self) -> None:
        while True:
            with self._serial:
                if not self._waiting:
                    self._draining = False
                    return
                call_out = self._waiting.popleft()
            call_out()
            del call_out  # here, not with the lock held: the event's finalizer may emit

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        listener = Listener(observer.on_next, observer_ends(observer), self._source)
        with self._serial:
            ended, error = self._ended, self._error
            if not ended:
                self._listeners = (*self._listeners, listener)
        if ended:
            listener.end(error)
        return Disposable(lambda: self._remove(listener))

    def _remove(self, listener: Listener[_T]) -> None:
        listener.active = False
        with self._serial:
            self._listeners = tuple(other for other in self._listeners if other is not listener)


def _next_to_all(listeners: tuple[Listener[_T], ...], event: _T) -> None:
    for listener in listeners:
        listener.hear(event)


def _end_all(listeners: tuple[Listener[Any], ...], error: Exception | None) -> None:
    for listener in listeners:
        listener.end(error)


class TerminalSubject(Generic[_T]):
    """Hot events, and a terminal one that every later subscriber receives too.

    Its owner makes the calls that `emit` and `finish` return, in order (a task's mailbox does); subscribing is safe
    from any thread.
    Made with a terminal event, it has ended from the start.

    The terminal event is kept in a `ReplaySubject(1)` that is built when the first late subscriber comes. Its scheduler
    is the immediate one: with the default one the subscriber's thread would be kept to drain the replay.
    """

    __slots__ = ("_ended", "_listeners", "_lock", "_replay", "_source", "_terminal")

    def __init__(self, source: object, terminal: _T | None = None) -> None:
        self._source = source
        self._lock = threading.Lock()  # guards the fields below
        self._listeners: tuple[Listener[_T], ...] = ()
        self._ended = terminal is not None
        self._terminal = terminal
        self._replay: ReplaySubject[_T] | None = None

    def add(self, listener: Listener[_T]) -> bool:
        """Let a listener receive what is emitted from now on.

        Returns:
            False when the terminal event has gone out already: the listener is owed a replay.
        """
        with self._lock:
            if not self._ended:
                self._listeners = (*self._listeners, listener)
            return not self._ended

    def remove(self, listener: Listener[_T]) -> None:
        """Send a listener nothing more; a call that is under way ends by itself."""
        listener.active = False
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def listener_of(self, on_next: Callable[[_T], Any]) -> Listener[_T] | None:
        """The listener that calls `on_next`; the last one of several, None when there is none."""
        # Without the lock: `==` may be the user's code.
        return next((listener for listener in reversed(self._listeners) if listener.calls(on_next)), None)

    def emit(self, event: _T, number: int) -> list[Step]:
        """The calls that send an event to those who subscribed before it was accepted under this number."""
        return [(listener, event) for listener in self._listeners if listener.since <= number]

    def finish(self, event: _T) -> list[Step]:
        """The calls that send the terminal event to all, then complete; whoever comes from now on gets the replay.

        The first `finish` counts.
        """
        with self._lock:
            if self._ended:
                return []
            self._ended = True
            self._terminal = event
            listeners, self._listeners = self._listeners, ()
        return [(listener, Last(event)) for listener in listeners]

    def replay(self) -> ReplaySubject[_T]:
        """The terminal event for late subscribers; only after `finish`."""
        if self._replay is not None:
            return self._replay
        made = ReplaySubject[_T](1, scheduler=ImmediateScheduler.singleton())
        if self._terminal is not None:
            made.on_next(self._terminal)  # nobody has subscribed to it yet: this calls nobody
        made.on_completed()
        with self._lock:
            if self._replay is None:
                self._replay = made
            return self._replay
