"""Copies of large buffers."""

from __future__ import annotations

import numpy as np
import pytest

from wetlands_rx._wire.memory import LARGE_BYTES
from wetlands_rx._worker.copies import copied


@pytest.mark.parametrize("size", [0, 7, LARGE_BYTES, LARGE_BYTES + 3])
def test_a_copy_is_equal_and_independent(size: int) -> None:
    original = np.arange(size, dtype=np.uint8)
    copy = copied(original.data)
    expected = original.tobytes()
    original[:] = 255
    assert bytes(copy) == expected


def test_a_read_only_buffer_can_be_copied() -> None:
    original = b"x" * LARGE_BYTES
    assert bytes(copied(memoryview(original))) == original
