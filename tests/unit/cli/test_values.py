"""Results as JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._cli.items import JSON
from wetlands_rx._cli.values import jsonable, mention


class Point(NamedTuple):
    x: int
    y: int


class Color(IntEnum):
    RED = 1


@dataclass
class Cell:
    area: float
    outline: Any


class Shy:
    def __repr__(self) -> str:
        raise ValueError("not today")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("text", "text"),
        ((1, [2, {3}]), [1, [2, [3]]]),
        (Point(1, 2), [1, 2]),
        (OrderedDict({"a": 1, 5: 2}), {"a": 1, "5": 2}),
        (Color.RED, 1),
        (PurePosixPath("a/b"), "a/b"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.zeros((2, 3), np.uint16), {"array": "uint16", "shape": [2, 3]}),
        (b"12345", {"bytes": 5}),
        (Cell(2.0, np.zeros(1)), {"area": 2.0, "outline": {"array": "float64", "shape": [1]}}),
        (1 + 2j, {"type": "builtins.complex", "repr": "(1+2j)"}),
    ],
)
def test_a_value_becomes_the_nearest_json(value: Any, plain: JSON) -> None:
    assert jsonable(value, mention) == plain
    json.dumps(jsonable(value, mention), allow_nan=False)


def test_what_cannot_even_be_shown_is_named() -> None:
    shown = jsonable([Shy(), 10**5000], mention)
    assert shown == [
        {"type": f"{__name__}.Shy", "repr": "<its __repr__ raised ValueError>"},
        {"type": "builtins.int", "repr": "<its __repr__ raised ValueError>"},
    ]


def test_a_value_inside_itself_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    json.dumps(jsonable(endless, mention))


def test_keep_is_told_where_an_array_stands() -> None:
    places: list[str] = []

    def keep(path: str, _value: Any) -> JSON:
        places.append(path)
        return path

    value = {"cells": [{"mask": np.zeros(1)}, b""], "v1.2": np.zeros(1)}
    assert jsonable(value, keep) == {"cells": [{"mask": "cells.0.mask"}, "cells.1"], "v1.2": "v1_2"}
    assert jsonable(np.zeros(1), keep) == ""
    assert places == ["cells.0.mask", "cells.1", "v1_2", ""]


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain_values)
def test_what_is_json_already_stays_as_it_is(value: Any) -> None:
    assert jsonable(value, mention) == value
