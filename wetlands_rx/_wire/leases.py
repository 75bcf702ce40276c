"""The arena of another process, for the one that receives arrays in it."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Any, Callable, Dict, List, Optional, Tuple
from weakref import ref

from wetlands_rx._wire.arena import FLAGS_BYTES, FREE, advise, forget, kind_for, mapped
from wetlands_rx._wire.memory import room
from wetlands_rx.exceptions import ProtocolError

_ref: Any = ref


class _Lease(_ref):  # type: ignore[misc]
    """A weak reference to what holds a block, which knows the block."""

    __slots__ = ("flag", "offset", "size")
    flag: int
    offset: int
    size: int


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
        self._forked: Dict[int, Tuple[int, int]] = {}  # leases that a forked process has a copy of
        self._waiting: List[Tuple[int, int, int]] = []
        self._disowned = self._ended = False

    def __len__(self) -> int:
        return len(self._leases)

    def lease(self, offset: int, size: int, flag: int) -> memoryview:
        """The bytes of a block; it is given back when nothing refers to them any more.

        Raises:
            ProtocolError: there is no such block.
        """
        kind, memory = kind_for(size), self._memory
        within = kind is not None and FLAGS_BYTES <= offset <= self._size - kind.bytes and 0 <= flag < FLAGS_BYTES
        if memory is None or kind is None or not within:
            raise ProtocolError("there is no block of {} bytes at {}".format(size, offset))
        if self._waiting:
            self._give_back_what_waits()
        try:
            import ctypes
        except ImportError:  # an interpreter without it: copy, and let go at once
            return self._copied(memory, offset, size, flag)
        # Not a view of the mapping itself: that one never goes.
        owner: Any = (ctypes.c_char * kind.bytes).from_buffer(memory, offset)
        lease = _Lease(owner, self._dropped)
        lease.flag, lease.offset, lease.size = flag, offset, kind.bytes
        self._leases[flag] = lease
        return memoryview(owner).cast("B")[:size]

    def leave(self, flag: int) -> None:
        """Let go of a block without giving it back: its owner will send it to somebody else."""
        self._leases.pop(flag, None)

    def _copied(self, memory: mmap.mmap, offset: int, size: int, flag: int) -> memoryview:
        copy = room(size)
        copy[:] = memoryview(memory)[offset : offset + size]
        memory[flag] = FREE
        return copy

    def _dropped(self, lease: _Lease) -> None:
        flag = lease.flag
        if self._leases.get(flag) is not lease or self._disowned:
            return
        del self._leases[flag]
        if self._forked.pop(flag, None) is not None and self._shared_with(self._inode):
            self._waiting.append((flag, lease.offset, lease.size))
            return
        self._give_back(flag, lease.offset, lease.size)

    def _give_back(self, flag: int, offset: int, size: int) -> None:
        memory = self._memory
        if memory is None:
            return
        if not self._ended:
            memory[flag] = FREE
            return
        forget(memory, offset, size)  # nobody will use it again
        if not self._leases and not self._waiting:
            self._memory = None  # the one that goes now has the last reference to it

    def _give_back_what_waits(self) -> None:
        if not self._shared_with(self._inode):
            waiting, self._waiting = self._waiting, []
            for block in waiting:
                self._give_back(*block)

    # --- the ends of processes

    def forks(self) -> None:
        """Before this process forks: the child may use what is lent now for longer than this process does."""
        with contextlib.suppress(RuntimeError):  # another thread is at it: at worst the child sees memory change
            self._forked.update((flag, (lease.offset, lease.size)) for flag, lease in self._leases.items())

    def disown(self) -> None:
        """In the forked child: it gives nothing back."""
        self._disowned = True
        self._leases.clear()
        self._waiting.clear()

    def owner_ended(self) -> None:
        """The process whose arena it is has ended: only what is lent now keeps its memory."""
        self._ended = True
        memory = self._memory
        if memory is None or not (self._leases or self._waiting):
            self._memory = None
            return
        position = FLAGS_BYTES
        kept = [(lease.offset, lease.size) for lease in list(self._leases.values())]
        kept += [(offset, size) for _, offset, size in self._waiting]
        for offset, size in [*sorted(kept), (self._size, 0)]:
            if offset > position:
                advise(memory, "MADV_REMOVE", position, offset - position)  # nearly all of it is empty
            position = offset + size
