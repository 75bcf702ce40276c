"""What functions return whose results are safe; for every Python from 3.8 on."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    x: int
    y: int


@dataclass
class Data:
    x: int


PLAIN: Any = {
    "nothing": None,
    "numbers": [True, 0, -1, 2**70, -(2**5000), 1.5, float("inf"), 2j],
    "texts": ["", "é", "x" * 100000, b"", b"x" * 100000, bytearray(b"abc"), bytearray(100000)],
    "containers": [(), (1,), [1, [2]], {"a": {1: (2, 3)}, (4, 5): None}, {1, "x"}, frozenset([3])],
    "ranges": [range(3), slice(1, None, 2)],
    "collections": [collections.deque([1, 2], 5), collections.OrderedDict([("b", 1), ("a", 2)])],
    "dates": [dt.date(2020, 2, 29), dt.time(1, 2, 3, 4, fold=1), dt.datetime(2020, 1, 2, 3, 4, 5, 6, fold=1)],  # noqa: DTZ001
    "zones": [
        dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc),  # noqa: UP017 - it runs on 3.8 too
        dt.timezone(dt.timedelta(hours=2), "here"),
        dt.timedelta(-1, 2, 3),
    ],
    "decimals": [decimal.Decimal("1.50"), decimal.Decimal("-Infinity")],
    "fractions": [fractions.Fraction(-1, 3), fractions.Fraction(10**1000, 7)],
    "paths": [pathlib.Path("/a/b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("c:/x")],
    "many": [{"id": n, "box": (n, n + 1), "path": pathlib.Path("/data", str(n))} for n in range(1000)],
}
OTHERS: Any = {
    "enum": Colour.RED,
    "named tuple": Pair(1, 2),
    "dataclass": Data(1),
    "class": Data,
    "uuid": uuid.UUID(int=5),
    "pattern": re.compile("x"),
    "counter": collections.Counter("aab"),
    "error": ValueError("x"),
}


def plain(name: str, task: Any) -> Any:
    task.update("here", current=1, maximum=2)
    task.log("a line")
    task.set_output(name, PLAIN[name])
    return PLAIN[name]


def other(name: str) -> Any:
    return {"inside": [OTHERS[name]]}


def fails() -> None:
    try:
        {}["inner"]
    except KeyError as error:
        raise ValueError("outer") from error
