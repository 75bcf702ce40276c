"""Looks from another thread whether a lock of the library is held where the user's code runs."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

_LOCKS: tuple[type[Any], ...] = (type(threading.Lock()), type(threading.RLock()), threading.Condition)
_LIBRARY = "wetlands_rx"
_LOOKS = 3
_HELD_S = 5.0
"""Our locks are held for microseconds: one that cannot be had for so long is held by whoever waits for the look."""


class LockProbe:
    """Called where the user's code runs: another thread takes every lock of the library, one after the other.

    Attributes:
        looks: Where it was called, and how often; it looks the first three times.
        locks: The locks that it took, such as `"Mailbox._lock"`.
        held: Those that it could not take, and where.
    """

    def __init__(self) -> None:
        gc.collect()  # what earlier tests have left has locks too
        self.looks: Counter[str] = Counter()
        self.locks: set[str] = set()
        self.held: set[str] = set()

    def __call__(self, where: str) -> None:
        self.looks[where] += 1
        if self.looks[where] <= _LOOKS:
            thread = threading.Thread(target=self._look, args=(where,), name="probe")
            thread.start()
            thread.join()

    def _look(self, where: str) -> None:
        for name, lock in _locks():
            if lock.acquire(timeout=_HELD_S):
                lock.release()
                self.locks.add(name)
            else:
                self.held.add(f"{name} during {where}")


def _locks() -> Iterator[tuple[str, Any]]:
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(_LIBRARY):
            yield from _locks_of("", dict(vars(module)))
    for thing in cast("list[object]", gc.get_objects()):
        # A thread holds a lock of its own as long as it lives.
        if _is_ours(type(thing)) and not isinstance(thing, (type, threading.Thread)):
            yield from _locks_of(f"{type(thing).__name__}.", _attributes(thing))


def _is_ours(kind: type[Any]) -> bool:
    return str(kind.__module__).startswith(_LIBRARY)  # some classes answer with something else than a text


def _locks_of(owner: str, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        several = cast(list[Any], value) if isinstance(value, list) else [value]
        yield from ((owner + name, lock) for lock in several if isinstance(lock, _LOCKS))


def _attributes(thing: object) -> dict[str, Any]:
    slots = {slot for base in type(thing).__mro__ for slot in vars(base).get("__slots__", ())}
    return {name: getattr(thing, name, None) for name in slots} | dict(getattr(thing, "__dict__", {}))


class Watched:
    """A listener, or a value, whose finalizer looks."""

    def __init__(self, probe: LockProbe, where: str) -> None:
        self._probe, self._where = probe, where

    def __call__(self, _event: object) -> None:
        """As a listener: does nothing."""

    def __reduce__(self) -> tuple[Any, ...]:
        self._probe(f"the pickling of {self._where}")
        return str, (self._where,)

    def __del__(self) -> None:
        self._probe(f"the finalizer of {self._where}")


current: list[LockProbe] = []
"""Whose turn it is, for values that come from a worker: these cannot bring a probe with them."""


def made(where: str) -> Watched:
    """What such a value becomes when it is opened."""
    current[-1](f"the opening of {where}")
    return Watched(current[-1], where)
