"""Which call began last: told through memory that outlives the process, for it costs no message and is never late."""

from __future__ import annotations

import mmap
import os
import struct

PAGE_BYTES = mmap.PAGESIZE
_NUMBER = struct.Struct("=Q")


class StartedPage:
    """A page of memory that a worker and its caller share. The worker writes, the caller reads.

    Args:
        descriptor: A file of `PAGE_BYTES`; closed here, for the memory does not need it.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            self._memory = mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)

    def write(self, number: int) -> None:
        """This call begins."""
        _NUMBER.pack_into(self._memory, 0, number)

    def read(self) -> int:
        """The call that began last; 0 when none has."""
        return int(_NUMBER.unpack_from(self._memory)[0])

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
