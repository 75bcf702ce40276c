"""Whatever comes: plain data comes back equal, and anything else is refused, or is plain data after all."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import pathlib
import pickle
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support import hostile
from wetlands_rx._wire import safe, untrusted
from wetlands_rx._wire.arrays import kind_of
from wetlands_rx._wire.codec import encode_hello, encode_log, encode_result, encode_updates
from wetlands_rx._wire.frames import Frame, frames_of
from wetlands_rx._wire.packing import pack
from wetlands_rx.exceptions import ProtocolError

KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.dates(),
    st.tuples(st.integers(), st.text()),
    st.frozensets(st.integers()),
    st.fractions(),
    st.timedeltas(),
)
LEAVES = st.one_of(
    KEYS,
    st.complex_numbers(allow_nan=False),
    st.binary().map(bytearray),
    st.times(),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=2))])),
    st.decimals(allow_nan=False),
    st.lists(st.text(st.characters(codec="ascii", exclude_characters="/\x00"), min_size=1)).map(
        lambda parts: pathlib.PurePosixPath(*parts)
    ),
    st.sets(KEYS),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9)),
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner),
        st.lists(inner).map(collections.deque),
        st.dictionaries(KEYS, inner).map(collections.OrderedDict),
    ),
)
SCALARS = (bool, int, float, complex, str, bytes, bytearray, memoryview, range, slice, type(None))
OTHERS = (
    dt.date,
    dt.time,
    dt.timedelta,
    dt.timezone,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    np.generic,
)
CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque, collections.OrderedDict)
_SEEDS: tuple[Any, ...] = (
    {"a": [1, 2.5, (3, None)], (1, 2): {3, "x"}},
    [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1j, slice(1)],
    (collections.deque([1], 3), collections.OrderedDict(a=1), bytearray(b"x"), frozenset({1}), pathlib.Path("a")),
)
SEEDS = [pickle.dumps(value, 5) for value in _SEEDS] + [
    bytes(pack(value)[0]) for value in (np.arange(3), np.float32(1), np.zeros(2, [("a", "i4"), ("b", "U2")]))
]
PIECES = [bytes([code]) for code in range(256)] + [
    hostile.text("os") + hostile.text("system") + b"\x93",
    hostile.name("collections", "deque"),
    hostile.name("wetlands_rx._wire.arrays", "rebuilt"),
    hostile.data(("<f8", 1, b"12345678")),
    hostile.data({"a": 1.5}),
    hostile.data([1, 2]),
    hostile.ROOM,
    hostile.EMPTY_TUPLE + hostile.REDUCE,
]


def plain(value: Any) -> bool:
    """Walk all of it; what a pickle makes may hold itself."""
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        kind = kind_of(one)
        if kind in CONTAINERS:
            waiting += one
            waiting += one.values() if hasattr(one, "values") else ()
        elif issubclass(kind, np.ndarray):
            assert not one.dtype.hasobject
        elif kind not in SCALARS:
            assert issubclass(kind, OTHERS), kind
    return True


def only_plain(pickled: bytes) -> bool:
    """True when it was plain data, which is then walked; False when it was refused."""
    try:
        value = safe.loads(pickled, [bytearray(b"12345678")])
    except (pickle.UnpicklingError, MemoryError):
        return False
    return plain(value)


@given(PLAIN, st.sampled_from([4, 5]))
def test_plain_data_comes_back_equal(value: Any, protocol: int) -> None:
    back = safe.loads(pickle.dumps(value, protocol))
    assert back == value
    assert type(back) is type(value)
    assert plain(back)


@settings(max_examples=500)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(PIECES), st.booleans()), min_size=1, max_size=4),
)
def test_a_pickle_that_was_tampered_with_runs_nothing(pickled: bytes, changes: list[tuple[int, bytes, bool]]) -> None:
    for place, piece, instead in changes:
        at = place % len(pickled)
        pickled = pickled[:at] + piece + pickled[at + instead :]
    only_plain(pickled)
    assert not hostile.CALLED


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_instructions_at_random_run_nothing(pieces: list[bytes]) -> None:
    only_plain(hostile.whole(*pieces))
    assert not hostile.CALLED


@given(st.binary(max_size=200))
def test_bytes_at_random_run_nothing(garbage: bytes) -> None:
    only_plain(garbage)
    assert not hostile.CALLED


FRAMES = [
    *frames_of(encode_hello((3, 11, 0), 7)),
    *frames_of(encode_log(1, 20, "x")),
    *frames_of(encode_updates(1, [("x", 1, 2), (None, 1.5, None)])),
    *frames_of(b"".join(bytes(part) for part in encode_result(1, {"a": 1}))),
]


@settings(max_examples=500)
@given(st.sampled_from(FRAMES), st.integers(0, 255), st.integers(0, 255), st.integers(0, 200), st.sampled_from(PIECES))
def test_a_frame_that_was_tampered_with_is_a_message_or_an_error(
    frame: Frame, kind: int, flags: int, place: int, piece: bytes
) -> None:
    assume(piece)
    at = place % len(frame.body)
    body = bytes(frame.body[:at]) + piece + bytes(frame.body[at + 1 :])
    for one in (frame._replace(body=body), frame._replace(kind=kind), frame._replace(flags=flags, body=body)):
        try:
            messages = untrusted.decode_up(one)
        except ProtocolError:
            continue
        for message in messages:
            for part in message:
                assert isinstance(part, untrusted.PlainPacked) or plain(part)
    assert not hostile.CALLED
