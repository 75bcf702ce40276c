"""What has become of many streams, told now and then."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SerialDisposable

from wetlands_rx._streams.merged import Sources
from wetlands_rx._streams.subject import Listener

_T_contra = TypeVar("_T_contra", contravariant=True)
_S_co = TypeVar("_S_co", covariant=True)
_T = TypeVar("_T")
_S = TypeVar("_S")


class State(Protocol[_T_contra, _S_co]):
    """What streams make of it. Its methods are quick and run no user code: they are called with a lock held."""

    def begin(self) -> None:
        """The streams have been subscribed to: look at what they do not tell again."""
        ...

    def take(self, item: _T_contra, /) -> None:
        """Take in what a stream tells."""
        ...

    @property
    def over(self) -> bool:
        """True when it does not change any more."""
        ...

    def look(self) -> _S_co:
        """What the listener is told."""
        ...


class Sampled(Generic[_T, _S]):
    """Tells a state that many streams change: at most once in a period while they go on, and always at their end.

    The first state is told at the subscription, the next ones when something has changed and the period is over, the
    last one at once. Nothing runs while nothing changes. However slow the listener is, nothing waits for it but the
    newest state. It is called on the thread of a stream or of the scheduler, one call at a time, with no lock held.

    Args:
        state: Is changed.
        listener: Is told.
        period: In seconds.
        scheduler: Whose seconds they are.
    """

    def __init__(
        self, state: State[_T, _S], listener: Listener[_S], period: float, scheduler: abc.SchedulerBase
    ) -> None:
        self._listener = listener
        self._period = period
        self._scheduler = scheduler
        self._timer = SerialDisposable()
        self._sources: Sources[_T] = Sources(self._take, _nothing)
        self._lock = threading.Lock()  # guards the fields below
        self._state = state
        self._changed = True
        self._due = True  # the period is over
        self._telling = True
        self._ended = False

    def open(self, sources: Sequence[Observable[_T]]) -> abc.DisposableBase:
        """Subscribe to the streams, and tell the state."""
        self._sources.subscribe(sources)
        with self._lock:
            self._state.begin()
        self._tell_all()
        return Disposable(self._dispose)

    def _dispose(self) -> None:
        self._listener.active = False
        self._sources.dispose()
        self._timer.dispose()

    def _take(self, item: _T) -> None:
        with self._lock:
            self._state.take(item)
            self._changed = True
        self._tell()

    def _period_over(self, _scheduler: abc.SchedulerBase, _nothing: object) -> None:
        with self._lock:
            self._due = True
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            if self._telling:
                return  # whoever tells looks again
            self._telling = True
        self._tell_all()

    def _tell_all(self) -> None:
        while (state := self._following()) is not None:
            self._listener.hear(state)
            if self._ended:
                self._listener.end(None)
                self._dispose()
            else:
                self._timer.disposable = self._scheduler.schedule_relative(self._period, self._period_over)

    def _following(self) -> _S | None:
        """What is to be told now; None when nothing is, and the next one who asks may tell."""
        with self._lock:
            wanted = self._changed and not self._ended
            if not (wanted and (self._due or self._state.over)):
                self._telling = self._ended  # after the end nobody tells anything more
                return None
            self._changed = self._due = False
            self._ended = self._state.over
            return self._state.look()


def _nothing() -> None:
    """For streams whose ends need no notice."""
