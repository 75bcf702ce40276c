from __future__ import annotations

import gc
import mmap
import os
import sys
import threading
from collections.abc import Generator

import numpy as np
import pytest

from wetlands_rx._wire.arena import FLAGS_BYTES, SHARED_BYTES, Arena, Block, kind_for
from wetlands_rx._wire.leases import Leases, _outliving  # pyright: ignore[reportPrivateUsage]
from wetlands_rx.exceptions import ProtocolError

SIZE = 1 << 30
MOST = 64 << 20
MEGABYTE = 1 << 20
SMALL = 1 << 16


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
    for _ in range(16):  # now and then it is looked
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


def test_a_forked_process_waits_for_no_thread_of_its_parent(descriptor: int) -> None:
    lock = threading.Lock()
    arena = Arena(os.dup(descriptor), SIZE, MOST, lock)
    lock.acquire()  # by somebody who is not there any more
    arena.disown()
    assert arena.take(MEGABYTE) is None
    assert (arena.in_use, arena.closed) == (0, True)


def test_a_closed_arena_gives_no_more(arena: Arena) -> None:
    block = taken(arena, MEGABYTE)
    arena.close()
    arena.release()
    arena.reclaim("somebody")
    assert arena.take(MEGABYTE) is None
    assert (arena.in_use, arena.closed) == (0, True)
    assert arena.file_for_another() == -1  # for its number may be another file's
    del block


def test_who_has_a_block_may_write_to_it_after_the_end(arena: Arena, descriptor: int) -> None:
    """A thread that submits a call while another one exits the environment."""
    block, other = taken(arena, MEGABYTE), taken(arena, 20 * MEGABYTE)
    other.view[-1] = 1
    del other
    arena.close()
    block.view[:] = b"x" * MEGABYTE
    assert block.view[-1] == ord("x")
    assert allocated(descriptor) < 3 * MEGABYTE  # it keeps no more than its own
    del block


def test_threads_take_while_another_one_closes(descriptor: int) -> None:
    failed: list[BaseException] = []

    def use(arena: Arena) -> None:
        try:
            while (block := arena.take(SHARED_BYTES)) is not None:
                block.view[0] = 1
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            arena = Arena(os.dup(descriptor), SIZE, MOST, threading.Lock())
            threads = [threading.Thread(target=use, args=(arena,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            arena.close()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failed


def test_what_a_dead_receiver_had_freed_is_not_freed_again(arena: Arena, leases: Leases) -> None:
    """Others take it at the moment in which the death is noticed."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    shared: list[int] = []
    failed: list[BaseException] = []
    try:
        for number in range(100):
            given_blocks = [given(arena, SMALL, number) for _ in range(400)]
            for given_block in given_blocks:
                leases.lease(given_block.offset, len(given_block), given_block.flag)  # and lets go of it
            begin = threading.Barrier(2)

            def reclaim(receiver: int = number, begin: threading.Barrier = begin) -> None:
                begin.wait()
                try:
                    arena.reclaim(receiver)
                except BaseException as error:  # noqa: BLE001
                    failed.append(error)

            thread = threading.Thread(target=reclaim)
            thread.start()
            begin.wait()
            blocks = [taken(arena, SMALL) for _ in range(400)]
            thread.join()
            blocks += [taken(arena, SMALL) for _ in range(400)]
            shared.append(len(blocks) - len({block.flag for block in blocks}))
            del blocks, given_blocks
    finally:
        sys.setswitchinterval(interval)
    assert not failed
    assert not any(shared)


def test_what_loses_its_memory_cannot_be_reclaimed_meanwhile(arena: Arena, leases: Leases) -> None:
    block = given(arena, MEGABYTE, "dead")
    leases.lease(block.offset, len(block), block.flag)
    arena.release()
    assert not arena.given


def test_what_is_read_twice_has_one_lease(arena: Arena, leases: Leases) -> None:
    """An answer that a worker had sent, but had not crossed out yet when it died."""
    block = given(arena, MEGABYTE)
    block.view[:] = b"x" * MEGABYTE
    lent = leases.lease(block.offset, len(block), block.flag)
    again = leases.lease(block.offset, len(block), block.flag)
    del again
    leases.owner_ended()
    assert bytes(lent) == b"x" * MEGABYTE
    assert arena.in_use == 1
    del lent
    assert arena.in_use == 0


def test_what_is_lent_gives_its_memory_back_when_all_else_is_forgotten(arena: Arena, descriptor: int) -> None:
    leases = Leases(descriptor, SIZE)
    blocks = [given(arena, 10 * MEGABYTE) for _ in range(2)]
    lent = [leases.lease(block.offset, len(block), block.flag) for block in blocks]
    leases.owner_ended()
    del leases
    gc.collect()
    del lent[0]
    assert allocated(descriptor) < 15 * MEGABYTE
    del lent[0]
    assert allocated(descriptor) < 5 * MEGABYTE
    assert not _outliving


def test_without_ctypes_the_bytes_are_copied(arena: Arena, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ctypes", None)
    block = given(arena, MEGABYTE)
    block.view[:3] = b"abc"
    lent = leases.lease(block.offset, len(block), block.flag)
    block.view[:3] = b"def"
    assert (bytes(lent[:3]), len(lent)) == (b"abc", MEGABYTE)
    lent[0] = 0
    array = np.frombuffer(lent, np.uint8)[10:]
    del lent
    assert arena.in_use == 1  # not before its user is done: it may be taken back from him until he begins
    del array
    assert arena.in_use == 0


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
