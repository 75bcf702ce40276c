"""Many streams as one, with no lock held while a subscriber is called."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._streams.mailbox import MOST_WAITING
from wetlands_rx._streams.subject import Listener, observer_ends

_T = TypeVar("_T")
_T_contra = TypeVar("_T_contra", contravariant=True)


class Sources(Generic[_T]):
    """Subscriptions to many streams; from any thread.

    Args:
        on_next: Receives what each stream tells, on that stream's thread.
        on_end: Called once for each stream that has ended.
    """

    def __init__(self, on_next: Callable[[_T], None], on_end: Callable[[], None]) -> None:
        self._on_next = on_next
        self._on_end = on_end
        self._lock = threading.Lock()  # guards the fields below
        self._subscriptions: list[abc.DisposableBase] = []
        self._disposed = False

    def subscribe(self, sources: Sequence[Observable[_T]]) -> None:
        """Subscribe to each, as long as nobody disposes of it all."""
        for source in sources:
            subscription = source.subscribe(self._on_next, on_completed=self._on_end)
            with self._lock:
                disposed = self._disposed
                if not disposed:
                    self._subscriptions.append(subscription)
            if disposed:
                subscription.dispose()
                return

    def dispose(self) -> None:
        """Let all of them go."""
        with self._lock:
            self._disposed = True
            subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.dispose()


class Mergeable(Protocol[_T_contra]):
    """What may be left out for a subscriber that is too slow. Pure: called with a lock held."""

    def source_of(self, item: _T_contra, /) -> Hashable:
        """Which stream it comes from."""
        ...

    def replaceable(self, item: _T_contra, /) -> bool:
        """True when a newer one of the same stream, which is replaceable too, says all that it says."""
        ...


class Merged(Observable[_T]):
    """What several streams tell, in one order for each subscriber and with no lock held.

    A subscriber is called on the thread of the stream that tells something; when other streams do so meanwhile, that
    thread stays to tell it, and theirs go on. Completes when all have. Costs nothing before it is subscribed to.

    Args:
        sources: Streams that never fail.
        name: What they are together, for the log.
        mergeable: What may be left out when more than 65,536 items wait for a subscriber.
        most_waiting: That number.
    """

    def __init__(
        self,
        sources: Sequence[Observable[_T]],
        name: object,
        mergeable: Mergeable[_T],
        most_waiting: int = MOST_WAITING,
    ) -> None:
        super().__init__()
        self._sources = sources
        self._name = name
        self._mergeable = mergeable
        self._most_waiting = most_waiting

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        listener = Listener(observer.on_next, observer_ends(observer), self._name)
        line = _Line(listener, len(self._sources), self._mergeable, self._most_waiting)
        sources = Sources(line.put, line.one_ended)

        def dispose() -> None:
            listener.active = False
            sources.dispose()

        if self._sources:
            sources.subscribe(self._sources)
        else:
            listener.end(None)
        return Disposable(dispose)


class _Line(Generic[_T]):
    """What waits for one listener. Whoever finds nobody telling it stays until nothing waits."""

    def __init__(self, listener: Listener[_T], open_sources: int, mergeable: Mergeable[_T], most: int) -> None:
        self._listener = listener
        self._mergeable = mergeable
        self._most = most
        self._lock = threading.Lock()  # guards the fields below
        self._waiting: deque[list[_T]] = deque()  # each item in a list of its own, where a newer one can replace it
        self._newest: dict[Hashable, list[_T]] = {}  # of each stream in a flood, if that waits and is replaceable
        self._open = open_sources
        self._telling = False

    def put(self, item: _T) -> None:
        """Tell an item after all that wait. From any thread."""
        with self._lock:
            replaced = self._add(item)
        del replaced  # not with the lock held: a finalizer may run
        self._tell()

    def one_ended(self) -> None:
        """A stream has ended. From any thread."""
        with self._lock:
            self._open -= 1
        self._tell()

    def _add(self, item: _T) -> _T | None:
        """With the lock held; returns an item that is told no more."""
        if len(self._waiting) < self._most:
            self._newest.clear()
            self._waiting.append([item])
            return None
        source = self._mergeable.source_of(item)
        older = self._newest.pop(source, None)
        if not self._mergeable.replaceable(item):
            self._waiting.append([item])
            return None
        if older is not None:
            self._newest[source] = older
            replaced, older[0] = older[0], item
            return replaced
        self._newest[source] = cell = [item]
        self._waiting.append(cell)
        return None

    def _tell(self) -> None:
        with self._lock:
            if self._telling:
                return
            self._telling = True
        while True:
            with self._lock:
                cell = self._taken() if self._waiting else None
                over = cell is None and self._open == 0
                self._telling = cell is not None
            if cell is None:
                break
            self._listener.hear(cell[0])
        if over:
            self._listener.end(None)

    def _taken(self) -> list[_T]:
        cell = self._waiting.popleft()
        if self._newest:
            source = self._mergeable.source_of(cell[0])
            if self._newest.get(source) is cell:
                del self._newest[source]
        return cell
