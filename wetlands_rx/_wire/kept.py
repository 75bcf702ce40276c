"""Blocks of shared memory that somebody else may still ask for, and that this process holds open until then.

Nobody is told when such a block is no longer wanted: a byte in the block says so. When there is something to do with
another block, a few of those that are kept are looked at, so that a process which sends thousands does not grow.

No lock: this runs wherever an array is made, pickled or loaded, and may be interrupted anywhere by the collector.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import Deque

LOOKED_AT = 4
"""So many blocks are looked at each time: more than are added, so that their number falls."""


class Keepable:
    """What can be kept.

    Attributes:
        kept: It is among those that are kept.
    """

    __slots__ = ("__weakref__", "kept")

    def __init__(self) -> None:
        self.kept = False

    def is_over(self) -> bool:
        """True when nobody will ask for it any more."""
        raise NotImplementedError


_kept: Deque[Keepable] = deque()


def keep(block: Keepable) -> None:
    """Hold a block until it is over. To be called after whatever makes `is_over` false."""
    if not block.kept:
        block.kept = True
        _kept.append(block)


def release(block: Keepable) -> None:
    """Let go of a block that is over. One that `sweep` looks at right now, it lets go of itself."""
    with contextlib.suppress(ValueError):
        _kept.remove(block)


def sweep() -> None:
    """Let go of blocks that are over; looks at a few of them."""
    for _ in range(min(LOOKED_AT, len(_kept))):
        try:
            block = _kept.popleft()
        except IndexError:  # another thread was faster
            return
        # In this order: whoever needs it again meanwhile either sees that it is not kept, or is seen by `is_over`.
        block.kept = False
        if not block.is_over():
            keep(block)


def number_kept() -> int:
    """How many blocks are held for others."""
    return len(_kept)


def _look_again() -> None:
    """In a forked child: it holds the descriptors too, but whoever asks for a block asks the parent."""
    for block in _kept:
        block.kept = False
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_look_again)
