"""Arrays of every kind, through a body with and without an arena."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wetlands_rx._wire.arena import SHARED_BYTES, Arena
from wetlands_rx._wire.arrays import described, dtype_of
from wetlands_rx._wire.bodies import blocks_of, body_parts, open_body
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.packing import pack
from wetlands_rx.exceptions import ProtocolError

SIZE = 1 << 30
INSIDE, BESIDE, SHARED = 10, 2_000, 200_000
STRUCTURED = np.dtype([("x", "<f4"), ("label", "U5"), ("box", "i2", (2, 2))])
ALIGNED = np.dtype([("a", "u1"), ("b", "f8")], align=True)
TITLED = np.dtype(
    {"names": ["r", "g"], "formats": ["u1", "u1"], "offsets": [0, 3], "itemsize": 8, "titles": ["R", None]}
)


@pytest.fixture
def memory() -> Generator[tuple[Arena, Leases], None, None]:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, SIZE)
    arena, leases = Arena(descriptor, SIZE, SIZE // 2, threading.Lock()), Leases(descriptor, SIZE)
    yield arena, leases
    arena.close()
    leases.owner_ended()


def counted(stop: Any, to: Any = None, step: Any = None) -> Any:
    numbers: Any = np.arange
    return numbers(stop) if to is None else numbers(stop, to, step)


def through(value: Any, memory: tuple[Arena, Leases] | None = None) -> Any:
    arena, leases = memory or (None, None)
    flags, parts, size, blocks = body_parts(*pack(value, arena))
    for block in blocks:
        block.give()
    body = bytearray().join(parts)
    assert len(body) == size
    return open_body(flags, body, leases).load()


def same(back: Any, array: Any) -> None:
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    assert back.dtype.type is array.dtype.type
    assert back.shape == array.shape
    assert back.flags.writeable == array.flags.writeable
    np.testing.assert_array_equal(back, array)


ARRAYS: dict[str, Callable[[Any], Any]] = {
    **{
        name: lambda n, name=name: (counted(n) % 100).astype(name)
        for name in ["?", "i1", "u2", "<i4", ">i4", "u8", "f2", "<f4", ">f8", "c8", "c16", "g"]
    },
    "datetime": lambda n: counted(n).astype("<M8[25s]"),
    "timedelta": lambda n: counted(n).astype("m8[ns]"),
    "text": lambda n: counted(n).astype("U7"),
    "bytes": lambda n: counted(n).astype("S9"),
    "void": lambda n: np.zeros(n, "V3"),
    "structured": lambda n: np.zeros(n, STRUCTURED),
    "aligned": lambda n: np.ones(n, ALIGNED),
    "titled": lambda n: np.ones(n, TITLED),
    "record": lambda n: np.zeros(n, np.dtype((np.record, [("x", "f4")]))),
    "F order": lambda n: np.asfortranarray(counted(2 * n).reshape(2, n)),
    "C order, 3-D": lambda n: counted(4 * n).reshape(2, n, 2),
    "transposed": lambda n: counted(4 * n).reshape(2, n, 2).transpose(2, 0, 1),
    "strided": lambda n: counted(2 * n)[::2],
    "reversed": lambda n: counted(n)[::-1],
    "strided dates": lambda n: counted(2 * n).astype("M8[s]")[::2],
    "broadcast": lambda n: np.broadcast_to(counted(5), (n, 5)),
    "objects": lambda n: np.array([None, "text", (1, 2)] * n, dtype=object),
    "structured objects": lambda n: np.zeros(n, [("x", object), ("y", "f4")]),
}


@pytest.mark.parametrize("size", [INSIDE, BESIDE, SHARED])
@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_comes_back_the_same(kind: str, size: int, memory: tuple[Arena, Leases]) -> None:
    array = ARRAYS[kind](size)
    same(through(array), array)
    back = through(array, memory)
    same(back, array)
    if not array.dtype.hasobject:
        assert back.flags.forc
        assert memory[0].in_use == (array.nbytes >= SHARED_BYTES)
    del back
    assert memory[0].in_use == 0


@pytest.mark.parametrize(
    "array", [np.array(3.5), np.array("text"), np.zeros(0), np.zeros((3, 0, 2), "i2"), np.zeros(4, "U0")]
)
def test_no_dimension_no_element_no_byte(array: Any, memory: tuple[Arena, Leases]) -> None:
    same(through(array, memory), array)


def test_a_read_only_array_arrives_read_only(memory: tuple[Arena, Leases]) -> None:
    for size in (INSIDE, BESIDE, SHARED):
        array = counted(size)
        array.flags.writeable = False
        same(through(array, memory), array)


def test_what_arrives_is_independent_of_what_was_sent(memory: tuple[Arena, Leases]) -> None:
    array = np.zeros(SHARED)
    back = through(array, memory)
    array[:], back[0] = 1, 7
    assert (back[0], back[1], array[0]) == (7, 0, 1)


def test_one_array_given_twice_arrives_as_one_and_once(memory: tuple[Arena, Leases]) -> None:
    array = counted(SHARED)
    first, second = through([array, {"again": array}], memory)
    assert second["again"] is first
    assert memory[0].taken == 1


class Image:
    """An object of the user's, with arrays in it."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels
        self.levels = {"half": pixels[::2]}


def test_arrays_in_containers_and_objects_are_shared_too(memory: tuple[Arena, Leases]) -> None:
    deep = {"a": [(counted(SHARED), [Image(counted(SHARED * 2))])], "small": counted(3)}
    back = through(deep, memory)
    assert memory[0].taken == 3
    np.testing.assert_array_equal(back["a"][0][0], counted(SHARED))
    np.testing.assert_array_equal(back["a"][0][1][0].levels["half"], counted(0, SHARED * 2, 2))
    pixels = back["a"][0][1][0].pixels
    del back
    assert memory[0].in_use == 1  # each array is free for itself
    np.testing.assert_array_equal(pixels, counted(SHARED * 2))


class Raw:
    """An object of the user's that hands out its buffer."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Raw, (pickle.PickleBuffer(self.data),)


def test_the_buffers_of_other_objects_are_shared_too(memory: tuple[Arena, Leases]) -> None:
    back = through(Raw(bytearray(b"ab" * SHARED)), memory)
    assert (bytes(back.data[-2:]), memory[0].in_use) == (b"ab", 1)
    assert through(Raw(b"ab" * SHARED), memory).data[:2] == b"ab"


@pytest.mark.parametrize("size", [INSIDE, SHARED])
def test_a_masked_array_keeps_its_mask(size: int, memory: tuple[Arena, Leases]) -> None:
    array = np.ma.masked_array(counted(float(size)), mask=counted(size) % 2 == 0, fill_value=-1.0, hard_mask=True)
    for one in (array, np.ma.masked_array(counted(size)), array[::2]):
        back = through(one, memory)
        assert type(back) is np.ma.MaskedArray
        assert (back.fill_value, back.hardmask) == (one.fill_value, one.hardmask)
        np.testing.assert_array_equal(np.ma.getmaskarray(back), np.ma.getmaskarray(one))
        np.testing.assert_array_equal(back.data, np.asarray(one.data))
        assert (back.mask is np.ma.nomask) == (one.mask is np.ma.nomask)


def test_a_mapped_file_arrives_as_an_array_of_what_is_in_it(tmp_path: Path, memory: tuple[Arena, Leases]) -> None:
    np.save(tmp_path / "a.npy", counted(SHARED))
    back = through(np.load(tmp_path / "a.npy", mmap_mode="r+"), memory)
    same(back, counted(SHARED))


def test_records_and_matrices_stay_what_they_are(memory: tuple[Arena, Leases]) -> None:
    records = np.zeros(SHARED, [("x", "f4")]).view(np.recarray)
    assert type(through(records, memory)) is np.recarray


@pytest.mark.parametrize(
    "value",
    [
        *(np.dtype(code).type(1) for code in "?bBhHiIlLefdgFDG"),
        np.str_("text"),
        np.str_(""),
        np.bytes_(b"bytes"),
        np.datetime64("2026-11-28"),
        np.timedelta64(3, "ms"),
        np.void(b"abc"),
        np.zeros(1, STRUCTURED)[0],
    ],
)
def test_a_scalar_keeps_its_type(value: Any) -> None:
    back = through([value])[0]
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert back == value


@pytest.mark.parametrize(
    "dtype", [STRUCTURED, ALIGNED, TITLED, np.dtype("f4"), np.dtype((np.record, [("x", ALIGNED, 3)]))]
)
def test_a_dtype_is_described_in_plain_words(dtype: Any) -> None:
    description = described(np, dtype)
    assert dtype_of(np, pickle.loads(pickle.dumps(description))) == dtype
    assert b"numpy" not in pickle.dumps(description)


def test_a_body_that_refers_to_an_arena_needs_one(memory: tuple[Arena, Leases]) -> None:
    pickled, parts = pack(counted(SHARED), memory[0])
    assert len(blocks_of(parts)) == 1
    flags, through_pipe, size, _ = body_parts(pickled, parts)
    body = b"".join(through_pipe)
    assert size == len(body) < 500
    with pytest.raises(ProtocolError, match="arena"):
        open_body(flags, body)
    for length in range(len(body)):
        with pytest.raises(ProtocolError):
            open_body(flags, body[:length], memory[1])


def test_what_is_dropped_before_it_is_sent_is_free_at_once(memory: tuple[Arena, Leases]) -> None:
    gc.disable()
    try:
        _, parts = pack([np.arange(SHARED), np.arange(SHARED)[::2]], memory[0])
        assert memory[0].in_use == 2
        del parts
        assert memory[0].in_use == 0
    finally:
        gc.enable()


def test_what_could_not_be_pickled_leaves_nothing(memory: tuple[Arena, Leases]) -> None:
    with pytest.raises((pickle.PicklingError, TypeError, AttributeError)):
        pack([counted(SHARED), threading.Lock()], memory[0])
    assert (memory[0].taken, memory[0].in_use) == (1, 0)
