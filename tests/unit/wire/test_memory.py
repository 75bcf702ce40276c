"""Memory for large buffers."""

from __future__ import annotations

import gc

import pytest

from wetlands_rx._wire.memory import LARGE_BYTES, room


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, 3 * LARGE_BYTES + 17])
def test_room_is_as_large_as_asked_for_and_can_be_written(size: int) -> None:
    memory = room(size)
    assert (len(memory), memory.readonly, memory.format) == (size, False, "B")
    memory[size // 2 :] = b"\1" * (size - size // 2)
    assert bytes(memory) == b"\0" * (size // 2) + b"\1" * (size - size // 2)


def test_it_lives_as_long_as_a_part_of_it_is_used() -> None:
    part = room(2 * LARGE_BYTES)[LARGE_BYTES:]
    gc.collect()
    part[:3] = b"abc"
    assert bytes(part[:4]) == b"abc\0"


@pytest.mark.parametrize("size", [1 << 50, 1 << 62, 1 << 70])
def test_more_than_there_is_is_a_memory_error(size: int) -> None:
    with pytest.raises(MemoryError, match=str(size)):
        room(size)
