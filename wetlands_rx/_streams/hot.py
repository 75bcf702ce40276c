"""Hot streams for whoever wants to watch: observers are called on delivery threads, isolated from each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._streams.mailbox import Mailbox, Step, Threads
from wetlands_rx._streams.subject import Ended, Listener, observer_ends

_T = TypeVar("_T")


class HotSubject(Observable[_T], Generic[_T]):
    """A stream that any thread feeds; costs nothing while nobody subscribes.

    Observers are called on a delivery thread, one item at a time, in one order for all; one that raises, blocks or is
    slow disturbs neither the others nor who feeds the stream. Who subscribes hears what comes from now on.

    Args:
        source: What it is the stream of, for the log.
        parent: A wider stream that receives everything too.
        may_drop: True for an item that a newer one of its kind may replace when more than `most_waiting` wait.
        most_waiting: By default 65,536.
        lives: What ends may begin again: the end is told to those who listen then, and who subscribes later waits for
            the next life. Else the first end is final, and told to whoever comes later.
    """

    def __init__(
        self,
        source: object,
        *,
        parent: HotSubject[_T] | None = None,
        may_drop: Callable[[_T], bool] | None = None,
        most_waiting: int | None = None,
        lives: bool = False,
    ) -> None:
        super().__init__()
        self._source = source
        self._parent = parent
        self._may_drop = may_drop
        self._most_waiting = most_waiting
        self._lives = lives
        self._guard = threading.Lock()  # guards the fields below
        self._listeners: tuple[Listener[_T], ...] = ()
        self._mailbox: Mailbox[_T | Ended] | None = None
        self._ended = False
        self._error: Exception | None = None

    @property
    def observed(self) -> bool:
        """True while somebody listens: ask before building an item nobody may want."""
        return bool(self._listeners) or (self._parent is not None and self._parent.observed)

    def open(self, threads: Threads) -> None:
        """Say who calls the observers from now on."""
        mergeable = self if self._may_drop is not None else None
        made: Mailbox[_T | Ended] = Mailbox(self._steps, threads, mergeable, self._most_waiting)
        with self._guard:
            if self._mailbox is None:
                self._mailbox = made
            else:
                self._mailbox.threads = threads

    def emit(self, item: _T) -> None:
        """Send an item to all who listen now. From any thread; returns at once."""
        if self._listeners and self._mailbox is not None:
            self._mailbox.post(item)
        if self._parent is not None:
            self._parent.emit(item)

    def end(self, error: Exception | None = None) -> None:
        """Complete the stream, or end it with an error, after what was sent before. From any thread.

        A parent goes on.
        """
        with self._guard:
            if self._ended:
                return
            self._ended, self._error = not self._lives, error
            mailbox = self._mailbox if self._listeners else None
        if mailbox is not None:
            mailbox.post(Ended(error))

    def _steps(self, item: _T | Ended, number: int) -> list[Step]:
        audience = [listener for listener in self._listeners if listener.since <= number]
        if not isinstance(item, Ended):
            return [(listener, item) for listener in audience]
        with self._guard:  # those who came after the end wait for the next life
            self._listeners = tuple(listener for listener in self._listeners if listener not in audience)
        return [(listener, item) for listener in audience]

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        listener = Listener(observer.on_next, observer_ends(observer), self._source)
        with self._guard:
            ended, error = self._ended, self._error
            if not ended:
                listener.since = self._mailbox.accepted if self._mailbox is not None else 0
                self._listeners = (*self._listeners, listener)
        if ended:
            listener.end(error)
        return Disposable(lambda: self._remove(listener))

    def _remove(self, listener: Listener[_T]) -> None:
        listener.active = False
        with self._guard:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    # --- what its mailbox may leave out

    def merged(self, older: _T | Ended, newer: _T | Ended) -> _T | Ended | None:
        """The newer one, when both may be dropped."""
        return newer if self._droppable(older) and self._droppable(newer) else None

    def replaceable(self, heard: _T | Ended) -> bool:
        """True for an item that may be dropped."""
        return self._droppable(heard)

    def _droppable(self, item: _T | Ended) -> bool:
        return self._may_drop is not None and not isinstance(item, Ended) and self._may_drop(item)
