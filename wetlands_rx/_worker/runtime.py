"""The threads that all environments of this process share; they end with the last environment."""

from __future__ import annotations

import atexit
import threading
from weakref import WeakSet

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._worker.supervisor import Supervisor

_DELIVERY_GRACE_S = 5.0

_lock = threading.Lock()  # guards the names below
_current: Runtime | None = None
_users = 0


class Runtime:
    """A supervisor, and the delivery threads whose stuck listeners it notices."""

    def __init__(self) -> None:
        self.supervisor = Supervisor()
        self.delivery = Delivery(self.supervisor.call_later)


def acquire() -> Runtime:
    """The shared runtime; each call wants one `release`."""
    global _current, _users
    with _lock:
        if _current is None:
            _current = Runtime()
        _users += 1
        return _current


def release() -> None:
    """Give the runtime back; the last one ends its threads, after what is due has been delivered."""
    global _current, _users
    with _lock:
        _users -= 1
        runtime = _current if _users == 0 else None
        if runtime is not None:
            _current = None
    if runtime is not None:
        runtime.delivery.close(_DELIVERY_GRACE_S)
        runtime.supervisor.close()


class Closable:
    """What must be ended before the interpreter is. Registered by `close_at_exit`."""

    def exit(self) -> None:
        """End it; may be called more than once."""


_open: WeakSet[Closable] = WeakSet()


def close_at_exit(closable: Closable) -> None:
    """Have `closable.exit()` called at the end of the interpreter, while threads still run."""
    _open.add(closable)


def _close_all() -> None:
    for closable in list(_open):
        closable.exit()


atexit.register(_close_all)
