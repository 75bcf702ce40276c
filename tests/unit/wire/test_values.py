"""Users' values as bytes and back."""

from __future__ import annotations

import datetime as dt
import pickle
import struct
from typing import Any, NamedTuple

import numpy as np
import pytest

from wetlands_rx._wire.bodies import body_parts, open_body
from wetlands_rx._wire.frames import BUFFERS, encode_frame
from wetlands_rx._wire.memory import LARGE_BYTES
from wetlands_rx._wire.packing import LARGE_PIECES, PICKLE_AND_BUFFERS, PLAIN_PICKLE, copied, pack, pack_parts, weight
from wetlands_rx._wire.values import Packed, is_plain
from wetlands_rx.exceptions import ProtocolError


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        10**100,
        2.5,
        1j,
        "text",
        b"bytes",
        (),
        [],
        {},
        (1, "a", None),
        [1.0] * 16,
        {"a": 1, 2: b"b"},
        np.zeros(3),
        (np.zeros(3), "and text"),
        {"image": np.zeros((2, 3)), "scale": 0.5},
        np.zeros(3, dtype="M8[s]"),
        np.zeros(2, dtype=[("x", "f4"), ("y", "i2")]),
    ],
)
def test_plain(value: Any) -> None:
    assert is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Text("text"),
        Number(3),
        Point(1, 2),
        {1, 2},
        [1] * 17,
        dict.fromkeys(range(17)),
        [[1]],
        {"a": {"b": 1}},
        {(1, 2): 3},
        [object()],
        {"a": object()},
        dt.date(2026, 1, 1),
        np.float64(1.0),
        np.zeros(2, dtype=object),
        np.zeros(2, dtype=[("x", "O")]),
        np.ma.masked_array([1, 2]),
        ValueError("no"),
        len,
    ],
)
def test_not_plain(value: Any) -> None:
    """Loading its pickle may run somebody's code, or it is too long to look at."""
    assert not is_plain(value)


def through(value: Any) -> Any:
    pickled, buffers = pack(value)
    flags, parts, size, _ = body_parts(pickled, buffers)
    body = bytearray().join(parts)
    assert len(body) == size
    return open_body(flags, body).load()


@pytest.mark.parametrize("value", [None, 3, "text", {"a": [1, (2, {3})]}, b"x" * 100_000])
def test_values_come_back_equal(value: Any) -> None:
    assert through(value) == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24).reshape(2, 3, 4)[:, ::2, 1:],
        np.zeros(0),
        np.array(3.5),
        np.array(["a", "bc"]),
        np.array([("a", 1)], dtype=[("name", "U3"), ("n", "i4")]),
        np.array([1, 2], dtype=">i4"),
        np.zeros((1000, 100), dtype=np.uint8),
    ],
)
def test_arrays_come_back_equal_and_writable(array: np.ndarray[Any, Any]) -> None:
    back = through(array)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert back.flags.writeable


def test_a_read_only_array_stays_read_only() -> None:
    array = np.arange(10)
    array.flags.writeable = False
    assert not through(array).flags.writeable


def test_one_array_given_twice_comes_back_as_one() -> None:
    array = np.arange(10)
    first, second = through((array, array))
    assert first is second


def test_a_contiguous_array_is_not_copied_into_the_pickle() -> None:
    array = np.zeros(1_000_000, dtype=np.uint8)
    pickled, buffers = pack([array, array[:10_000], array[:10]])
    assert len(pickled) < 1000
    assert list(map(len, buffers)) == [1_000_000, 10_000]
    assert isinstance(buffers[0], memoryview)
    assert np.shares_memory(np.frombuffer(buffers[0], dtype=np.uint8), array)


def test_what_cannot_be_pickled_raises() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pack(lambda: None)


def body_of(value: Any) -> bytes:
    pickled, buffers = pack(value)
    flags, parts, _, _ = body_parts(pickled, buffers)
    assert flags == BUFFERS
    return b"".join(parts)


def test_a_table_of_buffers_that_is_cut_is_an_error() -> None:
    body = body_of([np.arange(1010), np.arange(1025)])
    for length in range(len(body)):
        with pytest.raises(ProtocolError):
            open_body(BUFFERS, body[:length])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        struct.pack("<I", 0),
        struct.pack("<I", 2**32 - 1),
        struct.pack("<IQ", 1, 2**63),
        struct.pack("<IQQ", 2, 2**64 - 1, 1),
        struct.pack("<IQ", 1, 3) + b"1234",
    ],
)
def test_a_table_of_buffers_that_does_not_add_up_is_an_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        open_body(BUFFERS, body)


def test_a_body_without_buffers_is_the_pickle() -> None:
    assert open_body(0, pickle.dumps("value")).load() == "value"
    assert Packed(pickle.dumps("value")).load() == "value"
    assert encode_frame(1, 0, 1, b"x").endswith(b"x")


LARGE = LARGE_BYTES + 5


@pytest.mark.parametrize(
    "value",
    [
        b"x" * LARGE,
        bytearray(b"x" * LARGE),
        (b"x" * LARGE, {"also": b"y" * LARGE}),
        [bytearray(b"a" * LARGE), np.ones(LARGE, np.uint8), "text"],
        {"strided": np.arange(2 * LARGE, dtype=np.uint8)[::2], "small": np.arange(3)},
        [[[b"deep" * LARGE]]],
    ],
)
def test_a_large_value_comes_back_equal(value: Any) -> None:
    flags, parts, size, _ = pack_parts(value, copied)
    assert sum(map(len, parts)) == size
    np.testing.assert_equal(open_body(flags, bytearray().join(parts)).load(), value)


def test_a_change_after_packing_does_not_show() -> None:
    array, text = np.zeros(LARGE, np.uint8), bytearray(LARGE)
    flags, parts, _, _ = pack_parts((array, text), copied)
    array[:], text[:2] = 1, b"!!"
    there, letters = open_body(flags, bytearray().join(parts)).load()
    assert not there.any()
    assert not any(letters)


def test_large_bytes_are_neither_copied_nor_joined() -> None:
    value = b"x" * LARGE
    _, parts, _, _ = pack_parts((value,), copied)
    assert any(part is value for part in parts)


@pytest.mark.parametrize("value", [b"x" * LARGE, bytearray(LARGE), ("text", [1, {"image": b"x" * LARGE}])])
def test_large_pieces(value: Any) -> None:
    assert weight([None, 1, value]) == LARGE_PIECES


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(LARGE, np.uint8),
        [[[[b"x" * LARGE]]]],
        [b"x" * LARGE] + [1] * 16,
        Point(1, 2),
        object(),
        {(1, 2): 3},
    ],
)
def test_what_is_not_looked_at_any_closer_is_pickled_with_its_buffers(value: Any) -> None:
    assert weight([value]) == PICKLE_AND_BUFFERS


@pytest.mark.parametrize("value", [None, 3, "text", b"x" * (LARGE_BYTES - 1), [1, ("a", {"b": 2.5})], {1: {"c": None}}])
def test_pythons_own_scalars_need_nothing_but_a_pickle(value: Any) -> None:
    assert weight([value]) == PLAIN_PICKLE
