"""Memory for large buffers."""

from __future__ import annotations

import contextlib
import mmap

LARGE_BYTES = 1 << 20
"""From this size on a buffer gets pages of its own."""


def room(size: int) -> memoryview:
    """Memory of `size` bytes to be written to; it lives as long as something uses it.

    A `bytearray` would first be filled with zeros, with the interpreter's lock held: 80 ms for 200 MB, during which no
    other thread runs. Pages of its own are there at once, and huge ones, where the system has them, are filled four
    times as fast.

    Raises:
        MemoryError: there is not so much.
    """
    if size < LARGE_BYTES:
        return memoryview(bytearray(size))
    try:
        if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows
            return memoryview(mmap.mmap(-1, size))
        pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError("there is no memory for {} bytes".format(size)) from error
    huge = getattr(mmap, "MADV_HUGEPAGE", None)
    if huge is not None:
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(huge)
    return memoryview(pages)
