"""Have a stream's observers called in another place: an event loop, a thread of its own, a widget toolkit."""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._operators.checks import check_kind
from wetlands_rx._operators.paced import Flow, open_source
from wetlands_rx._operators.turns import Action, Line, call_out, start_thread
from wetlands_rx.logger import logger

_T = TypeVar("_T")

TURN_S = 0.008
"""How long an event loop may be kept busy at a time."""
_AHEAD = 256
_POLL_MS = 30

_numbers = itertools.count()

Work = Callable[[float], bool]
"""Calls observers until this moment of the monotonic clock; True when more waits."""


class Door(ABC):
    """The way into a place, for one subscription."""

    @abstractmethod
    def wake(self) -> None:
        """See to it that the work is done soon, there. From any thread; only when the last of it is done."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more will come. From any thread, and more than once."""


class Place(ABC):
    """Where observers are called; made by `asyncio_loop()`, `thread()`, `tk(root)` or `qt()`."""

    @abstractmethod
    def open(self, work: Work) -> Door:
        """Make ready for a subscription, in the subscriber's thread."""


class TkRoot(Protocol):
    """What `tk` needs of a `tkinter` widget."""

    def after(self, ms: int, func: Callable[[], object], /) -> object:
        """Call a function later, in the toolkit's thread."""
        ...


def deliver_on(place: Place) -> Callable[[Observable[_T]], Observable[_T]]:
    """Call the observer in another place; the source may send from any thread, and never waits.

        thread 1:            -a--c----|
        thread 2:            --b---d
        deliver_on(qt()):    --a-bc-d-|      all on the GUI's thread, in the order in which they came

    Args:
        place: `asyncio_loop()`, `thread()`, `tk(root)` or `qt()`.
    Returns:
        An operator. A flood wakes the place once for all that has come meanwhile and keeps an event loop busy for at
        most 8 ms at a time. What comes faster than it is taken waits here: without bound, but for a source that is an
        operator of this module with a limit (`map_in`, `merge_map`, `buffer_bounded`), of which at most 256 values
        are taken ahead. `conflate` in front leaves out what nobody could see. Disposing, in any thread, stops the
        calls: in the place itself at once, elsewhere after the one that is under way.

    Which thread: the place's. What the observer raises is logged, and it goes on; in the main thread
    `KeyboardInterrupt` and `SystemExit` get through.
    Errors: the source's, after the values before it. When the place is gone (the loop closed, the application
    ended), nothing is called any more, and the source is disposed of.
    Raises:
        TypeError: `place` is no place.
    """
    check_kind("place", place, Place)

    def operator(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            return _Delivered(observer).open(source, place, scheduler)

        return Observable(subscribe)

    return operator


def asyncio_loop(loop: asyncio.AbstractEventLoop | None = None) -> Place:
    """An asyncio event loop, for `deliver_on`.

    Args:
        loop: Which; the running one when None.
    Raises:
        RuntimeError: no loop is given, and none runs.
    """
    return _AsyncioPlace(loop if loop is not None else asyncio.get_running_loop())


def thread(name: str = "deliver") -> Place:
    """A thread of its own for each subscription, always the same one until the stream has ended; for `deliver_on`.

    Args:
        name: Goes into the thread's name, `wetlands-<name>-<number>`.
    """
    return _ThreadPlace(name)


def tk(root: TkRoot) -> Place:
    """The thread of a tkinter window, for `deliver_on`; subscribe in that thread.

    Tk may not be called from other threads: while the subscription lasts, the window looks every 30 ms whether
    something has come.

    Args:
        root: The window, or any widget of it.
    """
    return _TkPlace(root)


class _Delivered(Generic[_T]):
    def __init__(self, observer: abc.ObserverBase[_T]) -> None:
        self._observer = observer
        self._line: Line[Action] = Line()
        self._source: Flow | None = None
        self._door: Door | None = None
        self._taken = 0
        self._closed = False

    def open(self, source: Observable[_T], place: Place, scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        self._door = place.open(self._work)
        try:
            self._source = open_source(source, self, scheduler)
            self._source.request(_AHEAD)
        except BaseException:
            self._dispose()
            raise
        if self._closed:
            self._dispose()
        return Disposable(self._dispose)

    # --- the source's threads

    def on_next(self, value: _T, /) -> None:
        self._put(partial(self._next, value))

    def on_error(self, error: Exception, /) -> None:
        self._put(partial(self._end, partial(self._observer.on_error, error)))

    def on_completed(self) -> None:
        self._put(partial(self._end, self._observer.on_completed))

    def _put(self, action: Action) -> None:
        if self._line.put(action) and self._door is not None and not self._closed:
            try:
                self._door.wake()
            except RuntimeError as error:  # the loop is closed, the application is gone
                logger.debug("nothing is delivered any more: %s", error)
                self._dispose()

    # --- the place

    def _work(self, until: float) -> bool:
        while (action := self._line.next()) is not None:
            if not self._closed:
                action()
            if time.monotonic() >= until:
                return True
        return False

    def _next(self, value: _T) -> None:
        call_out("deliver_on", self._observer.on_next, value)
        self._taken += 1
        if self._taken % (_AHEAD // 2) == 0 and self._source is not None:
            self._source.request(_AHEAD // 2)

    def _end(self, tell: Action) -> None:
        self._dispose()
        call_out("deliver_on", tell)

    def _dispose(self) -> None:
        self._closed = True
        if self._source is not None:
            self._source.dispose()
        if self._door is not None:
            self._door.close()


class _AsyncioPlace(Place):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def open(self, work: Work) -> Door:
        return _AsyncioDoor(self._loop, work)


class _AsyncioDoor(Door):
    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work) -> None:
        self._loop = loop
        self._work = work

    def wake(self) -> None:
        self._loop.call_soon_threadsafe(self._turn)

    def close(self) -> None:
        pass

    def _turn(self) -> None:
        more = True  # also after Ctrl-C
        try:
            more = self._work(time.monotonic() + TURN_S)
        finally:
            if more:
                self._loop.call_soon(self._turn)


class _ThreadPlace(Place):
    def __init__(self, name: str) -> None:
        self._name = name

    def open(self, work: Work) -> Door:
        return _ThreadDoor(f"wetlands-{self._name}-{next(_numbers)}", work)


class _ThreadDoor(Door):
    def __init__(self, name: str, work: Work) -> None:
        self._work = work
        self._calls: SimpleQueue[bool] = SimpleQueue()  # False: the end
        start_thread(name, self._serve)

    def wake(self) -> None:
        self._calls.put(True)

    def close(self) -> None:
        self._calls.put(False)

    def _serve(self) -> None:
        while self._calls.get():
            self._work(float("inf"))


class _TkPlace(Place):
    def __init__(self, root: TkRoot) -> None:
        self._root = root

    def open(self, work: Work) -> Door:
        return _TkDoor(self._root, work)


class _TkDoor(Door):
    """Polls, because nothing of Tk may be called from another thread."""

    def __init__(self, root: TkRoot, work: Work) -> None:
        self._root = root
        self._work = work
        self._closed = False
        self._look()

    def wake(self) -> None:
        pass  # the next look finds it

    def close(self) -> None:
        self._closed = True

    def _look(self) -> None:
        more = True  # also after Ctrl-C
        try:
            more = self._work(time.monotonic() + TURN_S)
        finally:
            if not self._closed:
                self._root.after(1 if more else _POLL_MS, self._look)
