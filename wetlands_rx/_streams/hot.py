"""Hot streams for whoever wants to watch: observers are called on delivery threads, isolated from each other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._streams.mailbox import Mailbox, Step, Threads
from wetlands_rx._streams.subject import Ended, Listener, observer_ends

_T = TypeVar("_T")


class _End(NamedTuple):
    """Posted after the last item of a life."""

    error: Exception | None
    life: int


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
        self._mailbox: Mailbox[_T | _End] | None = None
        self._ended = False
        self._error: Exception | None = None
        self._pid = os.getpid()
        self._life = 0
        self._owed: dict[Hashable, int] = {}  # whose last item is on the way, and since which life
        self._ends: list[_End] = []  # those that wait for that

    @property
    def observed(self) -> bool:
        """True while somebody listens: ask before building an item nobody may want."""
        if self._listeners:
            return True
        parent = self._parent
        return parent is not None and parent.observed

    def open(self, threads: Threads) -> None:
        """Say who calls the observers from now on."""
        mergeable = self if self._may_drop is not None else None
        made: Mailbox[_T | _End] = Mailbox(self._steps, threads, mergeable, self._most_waiting)
        if self._pid != os.getpid():  # in a forked child: nobody goes on with what a thread of the parent was at
            self._pid, self._guard, self._mailbox = os.getpid(), threading.Lock(), None
        with self._guard:
            if self._mailbox is None:
                self._mailbox = made
                for listener in self._listeners:
                    listener.since, listener.late = 0, None
            else:
                self._mailbox.threads = threads

    def emit(self, item: _T) -> None:
        """Send an item to all who listen now. From any thread; returns at once."""
        if self._listeners and self._mailbox is not None:
            self._mailbox.post(item)
        if self._parent is not None:
            self._parent.emit(item)

    def owes(self, source: Hashable) -> None:
        """A source has its last item on the way: an end waits for it. From any thread; `paid` is called later."""
        with self._guard:
            self._owed.setdefault(source, self._life)
        if self._parent is not None:
            self._parent.owes(source)

    def paid(self, source: Hashable) -> None:
        """A source has sent its last item, or will not send it. Without effect when it owes nothing."""
        if source in self._owed:
            with self._guard:
                self._owed.pop(source, None)
                due = [end for end in self._ends if not self._waits(end)]
                self._ends = [end for end in self._ends if end not in due]
            for end in due:
                self._post_end(end)
        if self._parent is not None:
            self._parent.paid(source)

    def turn(self) -> int:
        """Begin the next life: who subscribes from now on belongs to it. Returns the number of the one before."""
        with self._guard:
            self._life += 1
            return self._life - 1

    def end(self, error: Exception | None = None, life: int | None = None) -> None:
        """Complete the stream, or end it with an error, after what was sent and is owed. From any thread.

        A parent goes on.

        Args:
            error: None completes it.
            life: Which life ends, as `turn` said; the present one by default.
        """
        with self._guard:
            if self._ended:
                return
            self._ended, self._error = not self._lives, error
            if life is None:
                life, self._life = self._life, self._life + 1
            end = _End(error, life)
            waits = self._waits(end)
            if waits:
                self._ends.append(end)
        if not waits:
            self._post_end(end)

    def _waits(self, end: _End) -> bool:
        return any(life <= end.life for life in self._owed.values())

    def _post_end(self, end: _End) -> None:
        mailbox = self._mailbox
        if self._listeners and mailbox is not None:
            mailbox.post(end)

    def _steps(self, item: _T | _End, number: int) -> list[Step]:
        if not isinstance(item, _End):
            return [(listener, item) for listener in self._listeners if listener.since <= number]
        audience = [listener for listener in self._listeners if listener.life <= item.life]
        with self._guard:  # those who came after the end wait for the next life
            self._listeners = tuple(listener for listener in self._listeners if listener not in audience)
        ended = Ended(item.error)
        return [(listener, ended) for listener in audience]

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        listener = Listener(observer.on_next, observer_ends(observer), self._source)
        with self._guard:
            ended, error = self._ended, self._error
            if not ended:
                listener.life = self._life
                listener.since = self._mailbox.fence() if self._mailbox is not None else 0
                self._listeners = (*self._listeners, listener)
        if ended:
            listener.end(error)
        return Disposable(lambda: self._remove(listener))

    def _remove(self, listener: Listener[_T]) -> None:
        listener.active = False
        with self._guard:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    # --- what its mailbox may leave out

    def merged(self, older: _T | _End, newer: _T | _End) -> _T | _End | None:
        """The newer one, when both may be dropped."""
        return newer if self._droppable(older) and self._droppable(newer) else None

    def replaceable(self, heard: _T | _End) -> bool:
        """True for an item that may be dropped."""
        return self._droppable(heard)

    def _droppable(self, item: _T | _End) -> bool:
        return self._may_drop is not None and not isinstance(item, _End) and self._may_drop(item)
