"""Copies of large buffers, made while other threads run."""

from __future__ import annotations

from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.memory import LARGE_BYTES, room


def copied(buffer: memoryview) -> Buffer:
    """Copy the bytes of a buffer. numpy copies the large ones: it lets go of the interpreter's lock for that."""
    if len(buffer) < LARGE_BYTES:
        return bytes(buffer)
    import numpy as np

    copy = room(len(buffer))
    np.copyto(np.frombuffer(copy, np.uint8), np.frombuffer(buffer, np.uint8))
    return copy
