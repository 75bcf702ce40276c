"""Whatever is taken and given back: no two blocks overlap, and nothing is lost."""

from __future__ import annotations

import os
import threading
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from wetlands_rx._wire.arena import FLAGS_BYTES, Arena, Block, kind_for
from wetlands_rx._wire.leases import Leases

SIZE = 1 << 32
MOST = 32 << 20


@given(st.integers(1, 1 << 39))
def test_a_kind_holds_the_size_and_wastes_at_most_a_quarter(size: int) -> None:
    kind = kind_for(size)
    assert kind is not None
    assert kind.bytes >= size
    if size > 1 << 16:
        assert kind.bytes <= size * 1.25 + 8192
    again = kind_for(kind.bytes)
    assert again == kind


@given(st.integers(1, 1 << 38), st.integers(1, 1 << 38))
def test_kinds_are_in_the_order_of_sizes(one: int, other: int) -> None:
    small, large = kind_for(min(one, other)), kind_for(max(one, other))
    assert small is not None
    assert large is not None
    assert small.number <= large.number
    assert small.bytes <= large.bytes
    assert (small.number == large.number) == (small.bytes == large.bytes)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 6 << 20)),
        st.tuples(st.just("drop"), st.integers(0, 50)),
        st.tuples(st.just("lend"), st.integers(0, 50)),
        st.tuples(st.just("return"), st.integers(0, 50)),
        st.tuples(st.just("release"), st.just(0)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_blocks_never_overlap_and_all_come_back(steps: list[tuple[str, int]]) -> None:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, SIZE)
    arena, leases = Arena(descriptor, SIZE, MOST, threading.Lock()), Leases(descriptor, SIZE)
    held: list[Block] = []
    lent: list[tuple[int, int, int, memoryview]] = []
    try:
        for number, (what, value) in enumerate(steps):
            mark = number % 256
            if what == "take":
                block = arena.take(value)
                if block is not None:
                    block.view[0] = block.view[-1] = mark
                    held.append(block)
                del block
            elif what == "drop" and held:
                held.pop(value % len(held))
            elif what == "lend" and held:
                given_block = held.pop(value % len(held))
                given_block.give()
                view = leases.lease(given_block.offset, len(given_block), given_block.flag)
                lent.append((given_block.offset, len(given_block), view[0], view))
                del view, given_block
            elif what == "return" and lent:
                lent.pop(value % len(lent))
            elif what == "release":
                arena.release()
            ranges = sorted([(b.offset, len(b)) for b in held] + [(offset, size) for offset, size, _, _ in lent])
            assert all(a + size <= b for (a, size), (b, _) in pairwise(ranges))
            assert not ranges or (ranges[0][0] >= FLAGS_BYTES and ranges[-1][0] + ranges[-1][1] <= SIZE)
            assert all(view[0] == view[-1] == wanted for _, _, wanted, view in lent)
            assert arena.in_use == len(ranges)
            assert arena.backed <= MOST
        held.clear()
        lent.clear()
        assert arena.in_use == len(leases) == 0
        arena.release()
        assert arena.backed == 0
    finally:
        held.clear()
        lent.clear()
        arena.close()
        leases.owner_ended()
