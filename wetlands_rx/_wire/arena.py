"""Shared memory into which one process copies arrays, for others to use in place.

An arena is one file without a name, which both sides have mapped since the worker's start. It is far larger than what
it holds: only what is in use, or was a moment ago, takes memory. So nothing is announced, opened or closed per array.

    offset  size         field
    0       FLAGS_BYTES  one byte for each block that can be: FREE, or what else its owner says of it
    then    ...          the blocks, at the places that `Arena.take` gave them

The process that fills the arena takes blocks. Whoever receives one gives it back by writing FREE, from whatever thread
drops the last array in it: no message, no lock, and the owner may be busy. Blocks are of fixed sizes, four to each
power of two, so that one that comes free fits the next array of its kind, whose pages are there already: a copy to new
pages is ten times as slow.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Any, ContextManager, Dict, List, NamedTuple, Optional

SHARED_BYTES = 1 << 17
"""From this size on a buffer goes to the arena: a smaller one is there sooner through the pipe."""

_LEAST_BITS = 16
_CLASSES = 4 * 25
_BLOCKS = 1 << 14
"""So many blocks of one size there can be."""
FLAGS_BYTES = _CLASSES * _BLOCKS
FREE, _TAKEN, _BUSY = 0, 1, 2
_FREE_FLAG = bytes((FREE,))
_SLICE_BYTES = 1 << 23  # giving back holds the interpreter's lock, so it is done in slices


class Kind(NamedTuple):
    """Blocks of one size: which size that is of all, and how many bytes."""

    number: int
    bytes: int


def kind_for(size: int) -> Optional[Kind]:
    """The smallest kind of block that holds so many bytes; None when none does."""
    bits = max(_LEAST_BITS, (size - 1).bit_length())
    quarter = 1 << (bits - 3)
    quarters = max(5, -(-size // quarter))
    number = 4 * (bits - _LEAST_BITS) + quarters - 5
    if number >= _CLASSES:
        return None
    return Kind(number, -(-quarters * quarter // mmap.PAGESIZE) * mmap.PAGESIZE)


def mapped(descriptor: int, size: int) -> mmap.mmap:
    """Map the file of an arena.

    Raises:
        OSError, ValueError: there is no room for it among the addresses.
    """
    memory = mmap.mmap(descriptor, size)
    advise(memory, "MADV_DONTDUMP", 0, size)  # who dies of a signal would write all of it, holes too
    return memory


def forget(memory: mmap.mmap, offset: int, size: int) -> None:
    """Give the pages of a range back to the system; it reads as zeros then."""
    for start in range(offset, offset + size, _SLICE_BYTES):
        advise(memory, "MADV_REMOVE", start, min(_SLICE_BYTES, offset + size - start))


def advise(memory: mmap.mmap, name: str, offset: int, size: int) -> None:
    """Tell the system what is to become of a range, where it knows this advice."""
    advice = getattr(mmap, name, None)
    if advice is not None:
        with contextlib.suppress(OSError):  # an older kernel: the memory stays
            memory.madvise(advice, offset, size)


class Block:
    """A part of an arena; free again when nobody holds it any more.

    Attributes:
        offset: Where it is, in bytes.
        size: How many bytes are in use.
        flag: Where its flag is.
    """

    __slots__ = ("_arena", "_held", "flag", "offset", "size")

    def __init__(self, arena: Arena, flag: int, offset: int, size: int) -> None:
        self._arena = arena
        self._held = True
        self.flag = flag
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return self.size

    @property
    def view(self) -> memoryview:
        """Its bytes, to be written to."""
        return self._arena.bytes_at(self.offset, self.size)

    def give(self, to: object = None) -> None:
        """Let a receiver have it, who frees it; the arena remembers who that is, if it is said."""
        self._held = False
        if to is not None:
            self._arena.given[self.flag] = to

    def take_back(self) -> None:
        """Have it again: the receiver has let go of it without freeing it, or is dead."""
        self._arena.given.pop(self.flag, None)
        self._held = True

    def __del__(self) -> None:
        if self._held:
            self._arena.free(self.flag)


class _Slots:
    """The blocks of one kind: where they are, and how many bytes of each have memory."""

    __slots__ = ("backed", "offsets")

    def __init__(self) -> None:
        self.offsets: List[int] = []
        self.backed: List[int] = []


class Arena:
    """The arena of the process that fills it. All methods are safe from any thread.

    Args:
        descriptor: Its file; owned from now on.
        size: How many bytes its file has.
        most: How many bytes may have memory at the same time.
        lock: Guards the fields.

    Attributes:
        taken: How many blocks were taken, ever.
        given: Who received a block, by its flag; also of blocks that have been freed since.
    Raises:
        OSError, ValueError: it cannot be mapped.
    """

    def __init__(self, descriptor: int, size: int, most: int, lock: ContextManager[Any]) -> None:
        self._file = descriptor
        self._memory = mapped(descriptor, size)
        self._size = size
        self._most = most
        self._lock = lock
        self._kinds: Dict[int, _Slots] = {}
        self._end = FLAGS_BYTES
        self._backed = 0
        self._disowned = False
        self.taken = 0
        self.given: Dict[int, object] = {}

    @property
    def backed(self) -> int:
        """How many bytes have memory now, those of free blocks included."""
        return self._backed

    @property
    def in_use(self) -> int:
        """How many blocks are not free."""
        with self._lock:
            return sum(
                self._memory[_flag(number, slot)] != FREE
                for number, slots in self._kinds.items()
                for slot in range(len(slots.offsets))
            )

    def bytes_at(self, offset: int, size: int) -> memoryview:
        """A range of it."""
        return memoryview(self._memory)[offset : offset + size]

    def take(self, size: int) -> Optional[Block]:
        """A block of so many bytes, with memory; None when there is none to be had."""
        kind = kind_for(size)
        if kind is None:
            return None
        with self._lock:
            slot = self._free_slot(kind)
            if slot is None:
                return None
            flag = _flag(kind.number, slot)
            self._memory[flag] = _TAKEN
            self.given.pop(flag, None)
            slots = self._kinds[kind.number]
        block = Block(self, flag, slots.offsets[slot], size)
        if not self._back(slots, slot, size):
            return None
        with self._lock:
            self.taken += 1
        return block

    def _free_slot(self, kind: Kind) -> Optional[int]:
        if self._file < 0:
            return None
        slots = self._kinds.setdefault(kind.number, _Slots())
        count, first = len(slots.offsets), _flag(kind.number, 0)
        found = self._memory.find(_FREE_FLAG, first, first + count)
        if found >= 0:
            return found - first
        if count == _BLOCKS or self._end + kind.bytes > self._size:
            return None
        slots.offsets.append(self._end)
        slots.backed.append(0)
        self._end += kind.bytes
        return count

    def _back(self, slots: _Slots, slot: int, size: int) -> bool:
        """Have memory for a block that was taken; False when the system, or the limit, does not give it."""
        before = slots.backed[slot]
        if before >= size:
            return True
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        if self._backed + size - before > self._most:
            self.release()
        with self._lock:
            if self._backed + size - before > self._most:
                return False
            self._backed += size - before
        try:
            # Without it, a full memory would be found out by a signal that ends the process, at some later write.
            os.posix_fallocate(self._file, slots.offsets[slot] + before, size - before)
        except OSError:
            with self._lock:
                self._backed -= size - before
            return False
        slots.backed[slot] = size
        return True

    def free(self, flag: int) -> None:
        """Say that a block is free. Takes no lock, for it is called by finalizers."""
        if not self._disowned:
            with contextlib.suppress(ValueError):  # closed, and unmapped
                self._memory[flag] = FREE

    def reclaim(self, receiver: object) -> None:
        """Free all that was given to a receiver who is dead."""
        for flag, to in list(self.given.items()):
            if to is receiver:
                del self.given[flag]
                self.free(flag)

    def release(self) -> None:
        """Give the memory of all free blocks back to the system."""
        with self._lock:
            if self._file < 0:
                return
            idle = [
                (slots, number, slot)
                for number, slots in self._kinds.items()
                for slot, backed in enumerate(slots.backed)
                if backed and self._memory[_flag(number, slot)] == FREE
            ]
            for _, number, slot in idle:
                self._memory[_flag(number, slot)] = _BUSY
        for slots, number, slot in idle:
            backed, slots.backed[slot] = slots.backed[slot], 0
            forget(self._memory, slots.offsets[slot], backed)
            with self._lock:
                self._backed -= backed
            self._memory[_flag(number, slot)] = FREE

    def disown(self) -> None:
        """In a forked child, where the lock may be held by nobody: what is in it belongs to the parent."""
        self._disowned = True
        self._unmap()

    def close(self) -> None:
        """Take no more; the memory goes when nobody has it mapped any more."""
        with self._lock:
            closes = self._file >= 0
        if closes:
            self._unmap()

    def _unmap(self) -> None:
        descriptor, self._file = self._file, -1
        with contextlib.suppress(OSError):  # it is closed already
            os.close(descriptor)
        with contextlib.suppress(BufferError):  # somebody looks at a block
            self._memory.close()


def _flag(number: int, slot: int) -> int:
    return number * _BLOCKS + slot
