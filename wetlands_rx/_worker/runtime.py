"""The threads that all environments of this process share; they end with the last environment."""

from __future__ import annotations

import atexit
import os
import threading
from weakref import WeakSet

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._worker.supervisor import Supervisor

_DELIVERY_GRACE_S = 5.0


class Runtime:
    """A supervisor, and the delivery threads whose stuck listeners it notices."""

    def __init__(self) -> None:
        self.supervisor = Supervisor()
        self.delivery = Delivery(self.supervisor.call_later, call_soon=self.supervisor.call_soon)


class _Shared:
    """The runtime of this process, while somebody uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._runtime: Runtime | None = None
        self._users = 0

    def acquire(self) -> Runtime:
        with self._lock:
            if self._runtime is None:
                self._runtime = Runtime()
            self._users += 1
            return self._runtime

    def forget(self) -> None:
        """In a forked child: the parent's threads are not here, and nobody releases what they held."""
        self._lock = threading.Lock()
        self._runtime, self._users = None, 0

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            runtime = None
            if self._users == 0:
                runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.delivery.close(_DELIVERY_GRACE_S)
            runtime.supervisor.close()


_shared = _Shared()


def acquire() -> Runtime:
    """The shared runtime; each call wants one `release`."""
    return _shared.acquire()


def release() -> None:
    """Give the runtime back; the last one ends its threads, after what is due has been delivered."""
    _shared.release()


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
os.register_at_fork(after_in_child=_shared.forget)
os.register_at_fork(after_in_child=_open.clear)  # they belong to the parent, whose workers must live on
