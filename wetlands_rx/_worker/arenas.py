"""The arenas of shared memory through which arrays go to workers and come back."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
from typing import NamedTuple

from wetlands_rx._wire.arena import FLAGS_BYTES, Arena, Block
from wetlands_rx._worker.supervisor import Supervisor

IDLE_S = 5.0
"""After so long without a new array, free blocks lose their memory."""
_MOST_ADDRESSES = 1 << 40
_LEAST_ADDRESSES = 1 << 30


class ArenaFile(NamedTuple):
    """A file without a name for an arena: its descriptor, its size, and how much of it may have memory, in bytes."""

    descriptor: int
    size: int
    most: int


def arena_file() -> ArenaFile | None:
    """Make one, sparse and as large as there may be addresses for; None where the system has no such files.

    At most half of the machine's memory may be used through it.
    """
    if not hasattr(os, "memfd_create") or not hasattr(mmap, "MADV_REMOVE"):
        return None
    try:
        descriptor = os.memfd_create("wetlands-arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:  # no descriptor is left, or a system that forbids it
        return None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = _MOST_ADDRESSES
    while size > 16 * memory and size > _LEAST_ADDRESSES:
        size //= 2
    while size >= _LEAST_ADDRESSES:
        # Address space may be limited: half of what a process may have is left to others.
        with contextlib.suppress(OSError, ValueError):
            os.ftruncate(descriptor, size)
            mmap.mmap(descriptor, size).close()
            seal(descriptor)
            return ArenaFile(descriptor, size, min(memory // 2, size - FLAGS_BYTES))
        size //= 4
    os.close(descriptor)
    return None


def seal(descriptor: int) -> None:
    """Let nobody change the size of a file in memory: whoever then touches what is not there any more is killed."""
    with contextlib.suppress(OSError):  # a system that knows no seals
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)


class CallersArena(Arena):
    """The arena for what goes to the workers of one environment; free blocks lose their memory when it is idle.

    Args:
        file: Its file; owned from now on.
        supervisor: Looks when it has been idle for long.
    """

    def __init__(self, file: ArenaFile, supervisor: Supervisor) -> None:
        super().__init__(file.descriptor, file.size, file.most, threading.Lock())
        self.file_size = file.size
        self._supervisor = supervisor
        self._watched = False
        self._taken_before = 0

    def take(self, size: int) -> Block | None:
        """As that of every arena."""
        block = super().take(size)
        if block is not None and not self._watched:
            self._watched = True
            self._watch()
        return block

    def _watch(self) -> None:
        self._taken_before = self.taken
        self._supervisor.call_later(IDLE_S, self._look)

    def _look(self) -> None:
        if self.taken == self._taken_before:
            self.release()
            if self.closed or not self.backed:
                self._watched = False
                return
        self._watch()


def callers_arena(supervisor: Supervisor) -> CallersArena | None:
    """Make the arena of an environment; None where there is no memory to share."""
    file = arena_file()
    if file is None:
        return None
    try:
        return CallersArena(file, supervisor)
    except (OSError, ValueError):
        os.close(file.descriptor)
        return None
