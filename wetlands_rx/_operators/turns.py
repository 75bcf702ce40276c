"""One thing at a time, with no lock held while anything is called: what operators share to meet several threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from reactivex.abc import DisposableBase

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.mailbox import Mailbox, Step
from wetlands_rx.logger import logger

_T = TypeVar("_T")

Action = Callable[[], None]
Overflow = Literal["block", "drop_oldest", "latest", "error"]


def call_out(who: str, call: Callable[..., object], *arguments: object) -> None:
    """Call an observer; what it raises is logged and goes no further.

    Only in the main thread `KeyboardInterrupt` and `SystemExit` do: there they are meant for the program.

    Args:
        who: Which operator calls, for the log.
        call: The observer's method.
        arguments: For it.
    """
    try:
        call(*arguments)
    except BaseException as error:  # noqa: BLE001 - the user's; even SystemExit must not end one of our threads
        _raise_if_for_program(error)
        _report(who, error)


def _report(who: str, raised: BaseException) -> None:
    try:
        logger.error("an observer of %s raised", who, exc_info=raised)
    except BaseException as error:  # noqa: BLE001 - a log handler of the user's; there is nobody else to tell
        _raise_if_for_program(error)


def _raise_if_for_program(error: BaseException) -> None:
    if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
        raise error


class Turns(Protocol):
    """Does what any thread hands in, in order, one action at a time."""

    def take(self, action: Action) -> None:
        """Do `action` after all that was handed in before; may return earlier than that."""
        ...


class InlineTurns:
    """Turns on the threads of those who hand in: the first one stays to do what comes meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._waiting: deque[Action] = deque()
        self._busy = False

    def take(self, action: Action) -> None:
        """See `Turns`. What the action raises comes out here; what waits then is done in the next turn."""
        with self._lock:
            self._waiting.append(action)
            if self._busy:
                return
            self._busy = True
        try:
            while (following := self._following()) is not None:
                following()
        except BaseException:
            self._busy = False
            raise

    def _following(self) -> Action | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._busy = False
            return None


class DeliveryTurns:
    """Turns on delivery threads: whoever hands in, a reader of a pipe for one, never does the action itself."""

    def __init__(self, delivery: Delivery) -> None:
        self._mailbox: Mailbox[Action] = Mailbox(self._do, delivery)

    def take(self, action: Action) -> None:
        """See `Turns`. What the action raises is logged."""
        self._mailbox.post(action)

    def _do(self, action: Action, _number: int) -> tuple[Step, ...]:
        action()
        return ()


class Running:
    """What has been begun and must be disposed of when nobody wants it any more; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._held: dict[object, DisposableBase] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    def add(self, key: object, disposable: DisposableBase) -> None:
        """Keep one under a key; after `dispose` it is disposed of at once."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._held[key] = disposable
        if closed:
            disposable.dispose()

    def discard(self, key: object) -> bool:
        """Forget one that has ended; False when it is not held."""
        with self._lock:
            return self._held.pop(key, None) is not None

    def stop(self, key: object) -> None:
        """Dispose of one, if it is held."""
        with self._lock:
            disposable = self._held.pop(key, None)
        if disposable is not None:
            disposable.dispose()

    def clear(self) -> None:
        """Dispose of all, the newest first, so that nothing that waits starts in between."""
        with self._lock:
            held, self._held = self._held, {}
        for disposable in reversed(held.values()):
            disposable.dispose()

    def dispose(self) -> None:
        """Dispose of all, and of whatever is still added."""
        self._closed = True
        self.clear()


class Line(Generic[_T]):
    """Items that wait for one thread, which is woken once for all that have come meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._waiting: deque[_T] = deque()
        self._awake = False

    def put(self, item: _T) -> bool:
        """Add an item; True when the thread must be woken."""
        with self._lock:
            self._waiting.append(item)
            asleep, self._awake = not self._awake, True
        return asleep

    def next(self) -> _T | None:
        """The oldest item; None when there is none, and the thread may sleep."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._awake = False
            return None


class Newest(Generic[_T]):
    """Room for one item: a newer one takes the place of one that nobody has fetched."""

    def __init__(self) -> None:
        self._items: deque[_T] = deque(maxlen=1)  # each of its methods is atomic

    def put(self, item: _T) -> None:
        """Leave an item here."""
        self._items.append(item)

    def take(self) -> list[_T]:
        """The item that is here, if any; it is gone then."""
        try:
            return [self._items.pop()]
        except IndexError:
            return []


class Store(Generic[_T]):
    """At most `size` items between those who put and the one who takes.

    Args:
        size: How many may wait.
        overflow: What becomes of one more.
    """

    def __init__(self, size: int, overflow: Overflow) -> None:
        self._size = size
        self._overflow = overflow
        self._changed = threading.Condition(threading.Lock())  # guards the fields below
        self._items: deque[_T] = deque()
        self._closed = False
        self.taker: int | None = None

    def put(self, item: _T) -> bool:
        """Add an item, as the overflow says when there is no room; False when that says "error".

        The thread that takes never waits for itself: what it puts is added in any case.
        """
        with self._changed:
            if len(self._items) >= self._size:
                if self._overflow == "error":
                    return False
                if self._overflow == "block":
                    self._changed.wait_for(self._may_add)
                elif self._overflow == "latest":
                    self._items.clear()
                else:
                    self._items.popleft()
            if not self._closed:
                self._items.append(item)
            return True

    def _may_add(self) -> bool:
        return self._closed or len(self._items) < self._size or self.taker == threading.get_ident()

    def take(self) -> list[_T]:
        """The oldest item, if any."""
        with self._changed:
            if not self._items:
                return []
            item = self._items.popleft()
            self._changed.notify()
            return [item]

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Let go of those who wait for room; nothing is kept any more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def enter(self) -> None:
        """This thread takes now."""
        self.taker = threading.get_ident()

    def leave(self) -> None:
        """It does not any more."""
        self.taker = None


def start_thread(name: str, run: Callable[[], None]) -> None:
    """Run a function on a thread of its own, which the end of the interpreter does not wait for."""
    threading.Thread(target=run, name=name, daemon=True).start()
