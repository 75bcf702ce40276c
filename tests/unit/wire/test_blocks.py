"""Blocks without a name: who finds them, who holds them, and until when."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wetlands_rx._wire import blocks, kept
from wetlands_rx._wire.blocks import Block, Gone
from wetlands_rx._wire.values import Packed

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not blocks.is_supported(), reason="this system has no memory files")


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    for block in list(kept._kept):  # pyright: ignore[reportPrivateUsage]
        assert isinstance(block, Block)
        block.dispose()


def made() -> Block:
    return blocks.create(3, memoryview(b"abc"))


def content(block: Block) -> bytes:
    return block.map()[block.offset :]


def test_the_address_leads_to_the_block_also_from_within_something_else() -> None:
    block = made()
    address = block.address()
    assert content(blocks.attach(address)) == b"abc"
    (place,) = blocks.places_in(pickle.dumps([b"before", address, "after"]))
    assert place.is_there()
    assert (place.pid, place.size, place.token) == (os.getpid(), 3, block.token)


def test_the_mapping_is_one_for_all_and_gone_with_the_last_user() -> None:
    block = made()
    mapping = block.map()
    assert block.map() is mapping
    descriptors = len(os.listdir("/proc/self/fd"))
    del mapping
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1


def test_it_is_held_until_each_that_was_sent_has_arrived() -> None:
    block = made()
    sent = [next(blocks.places_in(block.address())) for _ in range(3)]
    assert [place.slot for place in sent] == [0, 1, 2]
    assert block.kept
    for place in sent:
        assert not block.is_over()
        block.arrived(place.slot)
        block.arrived(place.slot)
    assert block.is_over()
    block.address()
    assert not block.is_over()


def test_one_that_was_sent_too_often_to_count_is_held_until_it_is_disposed_of() -> None:
    block = made()
    sent = [next(blocks.places_in(block.address())) for _ in range(4100)]
    for place in sent:
        block.arrived(place.slot)
    assert not block.is_over()
    assert content(block) == b"abc"
    block.dispose()
    assert block.is_over()


def test_blocks_that_are_over_are_let_go_of_a_few_at_a_time() -> None:
    before = kept.number_kept()
    many = [blocks.create(1) for _ in range(10)]
    for one in many:
        one.address()
    assert kept.number_kept() == before + 10
    for one in many:
        one.arrived(0)
    for _ in range(5 + before):
        kept.sweep()
    assert kept.number_kept() <= before
    assert not any(one.kept for one in many)


def test_a_stranger_claims_nothing() -> None:
    block = made()
    assert blocks.claim(block.address()) == ()


CHILD = """
import sys
sys.path.insert(0, {root!r})
from wetlands_rx._wire import blocks
made = [blocks.create(3, memoryview(b"xyz")), blocks.create(0)]
print(b"".join(block.address() for block in made).hex(), flush=True)
sys.stdin.readline()
print(*(block.is_over() for block in made))
"""


def test_a_parent_claims_what_its_child_sent_and_has_it_after_its_end() -> None:
    command = [sys.executable, "-c", CHILD.format(root=str(ROOT))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        address = bytes.fromhex(child.stdout.readline())
        packed = Packed(pickle.dumps(address)).claimed()
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "True True\n"
    full, empty = blocks.claim(address)
    assert (content(full), content(empty)) == (b"xyz", b"")
    del full, empty
    assert content(blocks.attach(address)) == b"xyz"
    assert packed.load() == address
    with pytest.raises(Gone, match=f"process {child.pid}.*, which held it, has ended"):
        blocks.attach(address)


def test_a_value_without_blocks_is_left_as_it_is() -> None:
    packed = Packed(pickle.dumps("nothing"))
    assert packed.claimed() is packed


def test_a_file_that_has_the_number_of_a_block_that_somebody_closed_is_left_alone(tmp_path: Path) -> None:
    block = blocks.create(3)
    number = int(block.name.rpartition("/")[2])
    os.close(number)
    with open(tmp_path / "file", "w+b", buffering=0) as file:
        file.write(bytes(100))
        if file.fileno() != number:
            os.dup2(file.fileno(), number)
        block.dispose()
        assert block.is_over()
        del block
        os.fstat(number)
        assert (tmp_path / "file").read_bytes() == bytes(100)
        if file.fileno() != number:
            os.close(number)
