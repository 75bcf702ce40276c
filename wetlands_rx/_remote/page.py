"""What a worker's caller must know when the worker has died, kept in memory that outlives the process.

It costs no message and is never late: which call began last, and the answers that were not sent yet.

    offset  size  field
    0       8     number of the call that began last
    8       4     where the frames in the outbox end
    12      4     of the call that runs, when it has items: the place of the first outcome in the outbox
    16      4     where the records of those outcomes end; they begin behind the frames
    4096    ...   the outbox: frames of `_wire.frames`, then records of `_wire.items`
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import NamedTuple

_OUTBOX_AT = 4096
OUTBOX_BYTES = 1 << 16
PAGE_BYTES = _OUTBOX_AT + OUTBOX_BYTES
_NUMBER = struct.Struct("=Q")
_FILLED = struct.Struct("=III")


class LeftBehind(NamedTuple):
    """What was not sent: answers, and of the call that ran the place of its first outcome here, and their records."""

    frames: bytes
    first: int
    records: bytes


class SharedPage:
    """The memory that a worker and its caller share. The worker writes, the caller reads.

    Args:
        descriptor: A file of `PAGE_BYTES`; closed here, for the memory does not need it.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            self._memory = mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)

    def begins(self, number: int) -> None:
        """Note that this call begins."""
        _NUMBER.pack_into(self._memory, 0, number)

    def put(self, at: int, record: bytes) -> None:
        """Write into the outbox; it counts when `filled` says so."""
        self._memory[_OUTBOX_AT + at : _OUTBOX_AT + at + len(record)] = record

    def filled(self, frames: int, first: int, records: int) -> None:
        """Note that the outbox holds frames, and then records, up to here, and what the first record belongs to."""
        _FILLED.pack_into(self._memory, 8, frames, first, records)

    def read(self, start: int, end: int) -> bytes:
        """What the outbox holds there."""
        return self._memory[_OUTBOX_AT + start : _OUTBOX_AT + end]

    def began(self) -> int:
        """The call that began last; 0 when none has."""
        return int(_NUMBER.unpack_from(self._memory)[0])

    def left_behind(self) -> LeftBehind:
        """What the outbox holds, for the caller of a worker that has died."""
        frames, first, records = _FILLED.unpack_from(self._memory, 8)
        return LeftBehind(self.read(0, frames), first, self.read(frames, records))

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
