"""The arena of another process, for the one that receives arrays in it."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any, Callable, Dict, List, Optional, Set, Tuple
from weakref import ref

from wetlands_rx._wire.arena import FLAGS_BYTES, FREE, advise, forget, kind_for, mapped
from wetlands_rx.exceptions import ProtocolError

_ref: Any = ref

_LOOK_EVERY = 16
_outliving: Set[Any] = set()
"""Leases whose arena has ended, while something is lent: nobody else has them, and they give the memory back."""


class _Lease(_ref):  # type: ignore[misc]
    """A weak reference to what holds a block, which knows the block."""

    __slots__ = ("flag", "offset", "size")
    flag: int
    offset: int
    size: int


def _part(memory: mmap.mmap, offset: int, size: int, used: int) -> Any:
    """What holds a part of a mapping, and can be referred to weakly: the mapping itself never goes."""
    try:
        import ctypes
    except ImportError:  # an interpreter without it
        copy = mmap.mmap(-1, used)
        memoryview(copy)[:] = memoryview(memory)[offset : offset + used]
        return copy
    return (ctypes.c_char * size).from_buffer(memory, offset)


class Leases:
    """Lends the blocks of an arena: each is free again when the last buffer over it is gone.

    Safe from any thread, finalizers included: it has no lock.

    Args:
        descriptor: The arena's file; not needed any more afterwards.
        size: How many bytes it has.
        shared_with: Tells whether a process that was forked from this one can still see this memory.
    Raises:
        OSError, ValueError: it cannot be mapped.
    """

    def __init__(self, descriptor: int, size: int, shared_with: Callable[[int], bool] = lambda inode: False) -> None:
        self._memory: Optional[mmap.mmap] = mapped(descriptor, size)
        self._inode = os.fstat(descriptor).st_ino
        self._size = size
        self._shared_with = shared_with
        self._leases: Dict[int, _Lease] = {}
        self._forked: Set[int] = set()  # leases that a forked process has a copy of
        self._waiting: List[Tuple[int, int, int]] = []
        self._passed = 0  # leases since something waits
        self._disowned = self._ended = False
        self._at_the_end = sys.is_finalizing  # of this process: then this module's own names may be gone

    def __len__(self) -> int:
        return len(self._leases)

    def lease(self, offset: int, size: int, flag: int) -> memoryview:
        """The bytes of a block; it is given back when nothing refers to them any more.

        Raises:
            ProtocolError: there is no such block.
        """
        kind, memory = kind_for(size), self._memory
        within = kind is not None and FLAGS_BYTES <= offset <= self._size - kind.bytes and 0 <= flag < FLAGS_BYTES
        if memory is None or self._ended or kind is None or not within:
            raise ProtocolError("there is no block of {} bytes at {}".format(size, offset))
        if self._waiting:
            self._look_after_what_waits()
        # What a worker that died had just sent may be read again: then both have the same lease.
        owner: Any = self._lent(flag, offset)
        if owner is None:
            owner = _part(memory, offset, kind.bytes, size)
            lease = _Lease(owner, self._dropped)
            lease.flag, lease.offset, lease.size = flag, offset, kind.bytes
            self._leases[flag] = lease
        return memoryview(owner).cast("B")[:size]

    def _lent(self, flag: int, offset: int) -> Any:
        lease = self._leases.get(flag)
        return lease() if lease is not None and lease.offset == offset else None

    def leave(self, flag: int) -> None:
        """Let go of a block without giving it back: its owner will send it to somebody else."""
        self._leases.pop(flag, None)

    def _dropped(self, lease: _Lease) -> None:
        flag = lease.flag
        if self._leases.get(flag) is not lease or self._disowned or self._at_the_end():
            return
        del self._leases[flag]
        if flag in self._forked:
            self._forked.discard(flag)
            if self._shared_with(self._inode):
                self._waiting.append((flag, lease.offset, lease.size))
                return
        self._give_back(flag, lease.offset, lease.size)

    def _give_back(self, flag: int, offset: int, size: int) -> None:
        memory = self._memory
        if memory is None:
            return
        memory[flag] = FREE
        if not self._ended:
            return
        forget(memory, offset, size)  # nobody will use it again
        if not self._leases and not self._waiting:
            self._memory = None  # the one that goes now has the last reference to it
            _outliving.discard(self)

    def _look_after_what_waits(self) -> None:
        """Give back what was kept for a forked process, if that has ended; to find out takes long, so now and then."""
        self._passed += 1
        if self._passed % _LOOK_EVERY == 1 and not self._shared_with(self._inode):
            self._passed = 0
            for _ in range(len(self._waiting)):  # others may add some
                self._give_back(*self._waiting.pop(0))

    # --- the ends of processes

    def forks(self) -> None:
        """Before this process forks: the child may use what is lent now for longer than this process does."""
        for lease in list(self._leases.values()):  # others may be at it
            self._forked.add(lease.flag)

    def disown(self) -> None:
        """In a forked child, or at the end of this process: it gives nothing back."""
        self._disowned = True
        self._leases.clear()
        self._waiting.clear()

    def owner_ended(self) -> None:
        """The process whose arena it is has ended: only what is lent now keeps its memory."""
        self._ended = True
        _outliving.add(self)
        memory = self._memory
        if memory is None or not (self._leases or self._waiting):
            self._memory = None
            _outliving.discard(self)
            return
        position = FLAGS_BYTES
        kept = [(lease.offset, lease.size) for lease in list(self._leases.values())]
        kept += [(offset, size) for _, offset, size in self._waiting]
        for offset, size in [*sorted(kept), (self._size, 0)]:
            if offset > position:
                advise(memory, "MADV_REMOVE", position, offset - position)  # nearly all of it is empty
            position = offset + size
