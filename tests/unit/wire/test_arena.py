from __future__ import annotations

import gc
import mmap
import os
import threading
from collections.abc import Generator

import numpy as np
import pytest

from wetlands_rx._wire.arena import FLAGS_BYTES, SHARED_BYTES, Arena, Block, kind_for
from wetlands_rx._wire.leases import Leases
from wetlands_rx.exceptions import ProtocolError

SIZE = 1 << 30
MOST = 64 << 20
MEGABYTE = 1 << 20


@pytest.fixture
def descriptor() -> Generator[int, None, None]:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, SIZE)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def arena(descriptor: int) -> Generator[Arena, None, None]:
    arena = Arena(os.dup(descriptor), SIZE, MOST, threading.Lock())
    yield arena
    arena.close()


@pytest.fixture
def leases(descriptor: int) -> Generator[Leases, None, None]:
    leases = Leases(descriptor, SIZE)
    yield leases
    leases.owner_ended()


def taken(arena: Arena, size: int) -> Block:
    block = arena.take(size)
    assert block is not None
    return block


def given(arena: Arena, size: int, to: object = None) -> Block:
    block = taken(arena, size)
    block.give(to)
    return block


def allocated(descriptor: int) -> int:
    """Bytes of the file that have memory."""
    return os.fstat(descriptor).st_blocks * 512


def test_a_block_is_free_again_when_nobody_holds_it(arena: Arena) -> None:
    block = taken(arena, MEGABYTE)
    other = taken(arena, MEGABYTE)
    assert abs(block.offset - other.offset) >= MEGABYTE
    place = block.offset
    del block
    assert taken(arena, MEGABYTE).offset == place


def test_a_block_that_was_given_stays_taken(arena: Arena) -> None:
    block = given(arena, MEGABYTE)
    place = block.offset
    del block
    assert taken(arena, MEGABYTE).offset != place
    assert arena.in_use == 1


def test_a_block_that_was_taken_back_is_free_when_dropped(arena: Arena) -> None:
    block = given(arena, MEGABYTE, "worker")
    block.take_back()
    arena.reclaim("worker")
    assert arena.in_use == 1
    del block
    assert arena.in_use == 0


def test_what_a_dead_receiver_held_is_free(arena: Arena) -> None:
    for to in ("dead", "dead", "alive"):
        given(arena, MEGABYTE, to)
    arena.reclaim("dead")
    assert arena.in_use == 1


def test_a_receiver_of_an_earlier_life_of_a_block_frees_nothing(arena: Arena) -> None:
    flag = given(arena, MEGABYTE, "dead").flag
    arena.free(flag)
    block = taken(arena, MEGABYTE)
    assert block.flag == flag
    arena.reclaim("dead")
    assert arena.in_use == 1


def test_the_receiver_reads_and_writes_in_place_and_gives_back_by_dropping(arena: Arena, leases: Leases) -> None:
    block = given(arena, 3 * MEGABYTE)
    block.view[:5] = b"hello"
    lent = leases.lease(block.offset, len(block), block.flag)
    assert bytes(lent[:5]) == b"hello"
    lent[0] = 0
    assert block.view[0] == 0
    array = np.frombuffer(lent, np.uint8)[10:20].reshape(2, 5)
    del lent
    assert arena.in_use == 1  # the array is still there
    del array
    assert (arena.in_use, len(leases)) == (0, 0)


def test_a_block_that_is_left_is_not_given_back(arena: Arena, leases: Leases) -> None:
    block = given(arena, MEGABYTE)
    lent = leases.lease(block.offset, len(block), block.flag)
    leases.leave(block.flag)
    del lent
    assert arena.in_use == 1


def test_a_lease_of_an_earlier_life_of_a_block_gives_nothing_back(arena: Arena, leases: Leases) -> None:
    block = given(arena, MEGABYTE)
    first = leases.lease(block.offset, len(block), block.flag)
    second = leases.lease(block.offset, len(block), block.flag)
    del first
    assert arena.in_use == 1
    del second
    assert arena.in_use == 0


@pytest.mark.parametrize(
    ("offset", "size", "flag"),
    [
        (0, MEGABYTE, 0),
        (FLAGS_BYTES - 1, MEGABYTE, 0),
        (SIZE, 1, 0),
        (SIZE - MEGABYTE + 1, MEGABYTE, 0),
        (1 << 63, 1, 0),
        (FLAGS_BYTES, 1 << 60, 0),
        (FLAGS_BYTES, MEGABYTE, FLAGS_BYTES),
    ],
)
def test_a_block_that_cannot_be_is_an_error(leases: Leases, offset: int, size: int, flag: int) -> None:
    with pytest.raises(ProtocolError, match="no block"):
        leases.lease(offset, size, flag)


def test_there_is_no_block_beyond_the_limit_until_one_is_free(arena: Arena) -> None:
    blocks = [taken(arena, 16 * MEGABYTE) for _ in range(4)]
    assert arena.take(MEGABYTE) is None
    assert arena.take(1 << 62) is None
    blocks.pop()
    assert arena.take(MEGABYTE) is not None  # the memory of the free block went to this one


def test_there_is_no_block_when_the_system_gives_no_memory(descriptor: int) -> None:
    file = os.dup(descriptor)
    arena = Arena(file, SIZE, MOST, threading.Lock())
    read_only = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    os.dup2(read_only, file)
    assert arena.take(8 * MEGABYTE) is None
    assert (arena.in_use, arena.backed) == (0, 0)
    os.dup2(descriptor, file)
    assert arena.take(8 * MEGABYTE) is not None
    arena.close()
    os.close(read_only)


def test_free_blocks_lose_their_memory_when_asked(arena: Arena, descriptor: int) -> None:
    kept = taken(arena, MEGABYTE)
    kept.view[:] = b"k" * MEGABYTE
    del (free := [taken(arena, 20 * MEGABYTE)])[0]
    assert not free
    assert allocated(descriptor) >= 21 * MEGABYTE
    arena.release()
    assert arena.backed == MEGABYTE
    assert allocated(descriptor) < 3 * MEGABYTE
    assert kept.view[-1] == ord("k")
    assert bytes(taken(arena, 20 * MEGABYTE).view[:10]) == b"\0" * 10


def test_a_block_is_backed_as_far_as_it_is_used(arena: Arena) -> None:
    del (one := [taken(arena, 5 * MEGABYTE)])[0]
    assert not one
    assert arena.backed == 5 * MEGABYTE
    assert kind_for(5 * MEGABYTE) == kind_for(5 * MEGABYTE - 5000)
    taken(arena, 5 * MEGABYTE - 5000)
    assert arena.backed == 5 * MEGABYTE


def test_after_the_owners_end_only_what_is_lent_keeps_its_memory(arena: Arena, leases: Leases, descriptor: int) -> None:
    blocks = [given(arena, 10 * MEGABYTE) for _ in range(3)]
    for place in range(3):
        blocks[place].view[:] = b"x" * len(blocks[place])
    first = leases.lease(blocks[0].offset, len(blocks[0]), blocks[0].flag)
    last = leases.lease(blocks[2].offset, len(blocks[2]), blocks[2].flag)
    leases.owner_ended()
    assert 20 * MEGABYTE <= allocated(descriptor) < 25 * MEGABYTE
    assert first[-1] == last[-1] == ord("x")
    del first
    assert allocated(descriptor) < 15 * MEGABYTE
    assert last[0] == ord("x")


def test_what_a_forked_process_still_sees_is_not_given_back(arena: Arena, descriptor: int) -> None:
    seen = True
    leases = Leases(descriptor, SIZE, lambda inode: seen)
    block = given(arena, MEGABYTE)
    lent = leases.lease(block.offset, len(block), block.flag)
    leases.forks()
    del lent
    assert arena.in_use == 1
    later = given(arena, MEGABYTE)
    lent = leases.lease(later.offset, len(later), later.flag)
    del lent  # this one is younger than the fork
    assert arena.in_use == 1
    seen = False
    later = given(arena, MEGABYTE)
    leases.lease(later.offset, len(later), later.flag)
    assert arena.in_use == 0
    leases.owner_ended()


def test_a_forked_process_gives_nothing_back(arena: Arena, leases: Leases, descriptor: int) -> None:
    block = given(arena, MEGABYTE)
    lent = leases.lease(block.offset, len(block), block.flag)
    own = taken(arena, MEGABYTE)
    flags = memoryview(mmap.mmap(descriptor, FLAGS_BYTES))
    leases.disown()
    arena.disown()
    assert arena.take(MEGABYTE) is None
    taken_flags = [block.flag, own.flag]
    del lent, own
    assert [flags[flag] for flag in taken_flags] == [1, 1]
    del arena._memory  # pyright: ignore[reportPrivateUsage]


def test_a_closed_arena_gives_no_more(arena: Arena) -> None:
    block = taken(arena, MEGABYTE)
    arena.close()
    arena.release()
    assert arena.take(MEGABYTE) is None
    del block


def test_without_ctypes_the_bytes_are_copied(arena: Arena, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ctypes", None)
    block = given(arena, MEGABYTE)
    block.view[:3] = b"abc"
    lent = leases.lease(block.offset, len(block), block.flag)
    assert (bytes(lent[:3]), len(lent), arena.in_use) == (b"abc", MEGABYTE, 0)


def test_threads_never_share_a_block(arena: Arena) -> None:
    wrong: list[str] = []

    def use(number: int) -> None:
        for _ in range(300):
            block = arena.take(SHARED_BYTES)
            if block is None:
                wrong.append("none")
                return
            block.view[:8] = bytes([number]) * 8
            if bytes(block.view[:8]) != bytes([number]) * 8:
                wrong.append("shared")

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    gc.collect()
    assert arena.in_use == 0


def test_blocks_are_pages() -> None:
    for size in (1, SHARED_BYTES, SHARED_BYTES + 1, 100_000, MEGABYTE, 10**9):
        kind = kind_for(size)
        assert kind is not None
        assert kind.bytes >= size
        assert kind.bytes % mmap.PAGESIZE == 0
