"""Plain data of somebody who is not trusted comes back as it was; everything else is refused, and nothing is run."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import itertools
import os
import pathlib
import pickle
import re
import tracemalloc
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support import hostile
from wetlands_rx._wire import safe
from wetlands_rx._wire.arrays import kind_of
from wetlands_rx._wire.makers import ALLOWED_TYPES, NotAllowed
from wetlands_rx._wire.packing import pack

TEN_KEYS = {(n, str(n)): n for n in range(10)}
PLAIN: list[Any] = [
    None,
    True,
    False,
    *(0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, -(2**63), 2**64, 2**5000, -(2**5000)),
    *(0.0, -0.0, 1.5, float("inf"), 5e-324),
    *(1j, complex(-0.0, float("inf"))),
    *("", "a", "é" * 300, "\ud800", "x" * 70_000),
    *(b"", b"a", b"y" * 400, b"z" * 70_000, bytearray(), bytearray(b"abc"), bytearray(70_000)),
    *((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    *([], [1], [1.5] * 3000, list(range(3000)), [[[]]]),
    *({}, {"a": 1}, {1: 2, None: 3, 1.5: 4}, {str(n): n for n in range(3000)}, TEN_KEYS, {2**70: 1, -(2**70): 2}),
    *(set(), {1}, {1, "a", (2, 3)}, set(range(3000)), frozenset(), frozenset({3}), {frozenset({1}): {frozenset()}}),
    *(range(3), range(5, -5, -2), slice(None), slice(1, None, 3)),
    *(collections.deque(), collections.deque([1, 2], 5), collections.deque(range(3000))),
    *(collections.OrderedDict(), collections.OrderedDict(b=1, a=2)),
    *(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    *(dt.time(), dt.time(1, 2, 3, 999_999, fold=1), dt.time(1, tzinfo=dt.UTC)),
    *(dt.datetime(2020, 1, 2, 3, 4, 5, 6), dt.datetime(2020, 1, 2, 3, fold=1, tzinfo=dt.UTC)),  # noqa: DTZ001
    *(dt.timedelta(), dt.timedelta(-999_999_999, 1, 2), dt.timedelta.max),
    *(dt.UTC, dt.timezone(dt.timedelta(hours=-3, microseconds=1)), dt.timezone(dt.timedelta(1 / 2), "x")),
    *(decimal.Decimal("1.50"), decimal.Decimal("-1E+999999"), decimal.Decimal("Infinity")),
    *(fractions.Fraction(1, 3), fractions.Fraction(-(10**1000), 7)),
    *(pathlib.Path("/a/b c"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("c:/x"), pathlib.Path()),
    *([pathlib.Path(f"/data/of/the/whole/house/{n}.tif") for n in range(1000)],),
    *([{(n, n): fractions.Fraction(n, 7)} for n in range(1000)],),
    {place: sum(place) for place in itertools.product(range(-2, 3), repeat=5)},
    dict.fromkeys(itertools.product(range(40), repeat=2), 0.5),
    {complex(x, y) for x in range(40) for y in range(40)},
    {frozenset(one) for size in range(11) for one in itertools.combinations(range(10), size)},
    {dt.timedelta(hours=n) for n in range(1000)} | {fractions.Fraction(n, 7) for n in range(1000)},
    {decimal.Decimal(n) / 8 for n in range(1000)} | {2**n for n in range(200)} | {-(n**9) for n in range(1000)},
]


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: f"{type(value).__name__} {str(value)[:20]}")
def test_plain_data_comes_back_as_it_was(value: Any, protocol: int) -> None:
    back = safe.loads(pickle.dumps(value, protocol))
    assert type(back) is type(value)
    assert back == value
    if kind_of(value) is not set:  # whose order is its own
        assert repr(back) == repr(value)


def test_not_a_number_comes_back() -> None:
    assert repr(safe.loads(pickle.dumps([float("nan"), decimal.Decimal("sNaN1")], 5))) == "[nan, Decimal('sNaN1')]"


def test_what_is_the_same_stays_the_same() -> None:
    one: list[Any] = [1]
    back = safe.loads(pickle.dumps([one, {"a": one}, (one,)], 5))
    assert back[0] is back[1]["a"] is back[2][0]


def test_what_holds_itself_comes_back() -> None:
    row: list[Any] = []
    table = {"row": row, "pair": (row, 1)}
    row += [table, table["pair"], collections.deque([row])]
    back = safe.loads(pickle.dumps(row, 5))
    assert back[0]["row"] is back
    assert back[1][0] is back
    assert back[2][0] is back


def test_a_path_is_one_of_this_system_or_says_what_it_is() -> None:
    other = "WindowsPath" if os.name == "posix" else "PosixPath"
    here = safe.loads(hostile.whole(hostile.made("pathlib", type(Path()).__name__, hostile.text("a"))))
    assert type(here) is type(Path())
    there = safe.loads(hostile.whole(hostile.made("pathlib", other, hostile.text("a"))))
    assert type(there) is getattr(pathlib, "Pure" + other)
    newest = safe.loads(hostile.whole(hostile.made("pathlib._local", type(Path()).__name__, hostile.text("a"))))
    assert newest == Path("a")


ARRAYS: list[Any] = [
    np.arange(5),
    np.arange(100_000.0).reshape(100, 1000),
    np.zeros((2, 3), order="F"),
    np.arange(200_000.0)[::2],
    np.array(3),
    np.empty((0, 3), np.int8),
    np.array([1, 2], ">i2"),
    np.array(["a", "bcd"]),
    np.array([b"a"]),
    np.array([True]),
    np.array([1j], np.complex64),
    np.array(["2020-01-01"], "M8[ns]"),
    np.array([5], "m8[25s]"),
    np.array([("a", 1, (2, 3))], [("x", "U3"), ("y", "i4"), ("z", "f8", (2,))]),
    np.array([(1, 2)], np.dtype([("x", "i1"), ("y", "f8")], align=True)),
    np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.ma.masked_array([1, 2], mask=[False, True]),
    np.ma.masked_array([1, 2], fill_value=5),
    np.ma.masked_array(np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), mask=[(False, True)]),
    *(np.float32(2), np.int8(1), np.bool_(True), np.complex128(1j), np.str_("x"), np.bytes_(b"x")),
    *(np.datetime64("2020-01-01"), np.timedelta64(3, "D"), np.array([(1,)], "i4,")[0]),
]


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: f"{type(value).__name__} {value.dtype}")
def test_arrays_and_scalars_of_numpy_come_back(value: Any) -> None:
    pickled, buffers = pack({"value": value})
    back = safe.loads(pickled, [bytearray(memoryview(buffer)) for buffer in buffers])["value"]  # type: ignore[arg-type]
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    assert repr(back) == repr(value)


def test_an_array_is_not_copied_and_can_be_written_to() -> None:
    pickled, _ = pack(np.zeros(10_000))
    buffer = bytearray(80_000)
    back = safe.loads(pickled, [buffer])
    back[0] = 1.0
    assert bytes(buffer[:8]) != bytes(8)


def test_a_read_only_array_stays_one() -> None:
    array = np.zeros(10_000)
    array.flags.writeable = False
    pickled, buffers = pack(array)
    assert not safe.loads(pickled, buffers).flags.writeable  # type: ignore[arg-type]


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    x: int


@dataclass
class Data:
    x: int


class Number(int):
    pass


class Words(dict[str, int]):
    pass


class Own(np.ndarray[Any, Any]):
    pass


OTHERS: list[Any] = [
    *(Colour.RED, Pair(1), Data(1), Number(1), Words(a=1), Colour, len, int, os.path.join, ValueError("x")),
    *(uuid.uuid4(), re.compile("x"), collections.Counter("a"), collections.defaultdict(int, a=1)),
    *(np.array([None]), np.array([(None,)], [("x", "O")]), np.dtype("f8"), np.float64, np.zeros(1).view(Own)),
    *(np.array([(1, None)], [("x", "i4"), ("y", "O")])[0], object(), iter([1]), type(None), Ellipsis, NotImplemented),
]


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_what_is_not_plain_is_refused(value: Any) -> None:
    pickled, buffers = pack([value])
    with pytest.raises(NotAllowed) as refusal:
        safe.loads(pickled, buffers)  # type: ignore[arg-type]
    assert refusal.value.type_name


def test_a_refusal_names_the_class_as_people_know_it() -> None:
    with pytest.raises(NotAllowed) as refusal:
        safe.loads(pack(np.array([None]))[0])
    assert refusal.value.type_name == "numpy.ndarray"
    assert "Python objects" in str(refusal.value)


def test_a_refusal_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(NotAllowed("no", "os", "system")))
    assert (str(copy), copy.module, copy.name, copy.type_name) == ("no", "os", "system", "os.system")


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "canary"
    monkeypatch.setenv("WETLANDS_CANARY", str(file))
    return file


CORPUS = hostile.corpus()


@pytest.mark.parametrize("one", CORPUS, ids=[one.name for one in CORPUS])
def test_a_hostile_pickle_ends_in_an_error_and_nothing_else(one: hostile.Hostile, canary: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((pickle.UnpicklingError, MemoryError)):
            safe.loads(one.pickled, one.buffers)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 32_000_000 + 300 * len(one.pickled)
    assert not hostile.CALLED
    assert not canary.exists()


def test_the_corpus_would_do_harm(canary: Path) -> None:
    for one in CORPUS:
        if one.name in (f"call {hostile.HERE}.canary", "call os.system"):
            pickle.loads(one.pickled)
    called = hostile.CALLED.copy()
    hostile.CALLED.clear()
    assert called == [(1,)]
    assert canary.exists()


@pytest.mark.parametrize("opening", [b"]", b"\x85", b"}K\x00"], ids=["lists", "tuples", "dictionaries"])
def test_a_deep_value_can_be_loaded_looked_at_and_dropped(opening: bytes) -> None:
    deep = {
        b"]": hostile.LIST * 100_000 + hostile.APPEND * 99_999,
        b"\x85": hostile.EMPTY_TUPLE + b"\x85" * 100_000,
        b"}K\x00": b"}K\x00" * 100_000 + hostile.NONE + b"s" * 100_000,
    }[opening]
    value = safe.loads(hostile.whole(deep))
    other = safe.loads(hostile.whole(deep))
    with pytest.raises(RecursionError):
        repr(value)
    with pytest.raises(RecursionError):
        assert value == other
    del value, other


def test_a_value_that_repeats_itself_costs_nothing_as_a_value() -> None:
    value = safe.loads(hostile.whole(hostile.laughs()))
    for _ in range(60):
        assert value[0] is value[1]
        value = value[0]


def test_a_buffer_is_a_memoryview() -> None:
    back = safe.loads(hostile.whole(b"\x97"), [b"abc"])
    assert back == b"abc"
    assert type(back) is memoryview


def test_all_that_is_allowed_is_listed() -> None:
    for value in [*PLAIN, *ARRAYS]:
        kind = kind_of(value)
        if kind.__module__.startswith(("numpy", "pathlib")):
            continue
        assert re.search(rf"\b{kind.__name__ if value is not None else None}\b", ALLOWED_TYPES)
