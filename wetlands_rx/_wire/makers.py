"""What a name in a pickle of somebody who is not trusted may stand for: functions of ours that look at their arguments.

Each takes what a pickle of that type hands over, and nothing else; what it costs is counted, for a pickle can ask for
the same thing a million times in a few bytes each.
"""

from __future__ import annotations

import collections
import datetime as dt
import importlib
import os
import pathlib
import pickle
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, Callable, Dict, List, Sequence, Tuple

from wetlands_rx._wire import arrays
from wetlands_rx._wire.arrays import kind_of

ALLOWED_TYPES = (
    "None, bool, int, float, complex, str, bytes, bytearray, memoryview, tuple, list, dict, set, frozenset, range, "
    "slice; collections.deque and OrderedDict; datetime.date, time, datetime, timedelta and timezone; "
    "decimal.Decimal, fractions.Fraction; paths of pathlib; numpy's arrays (masked arrays and recarrays too) and "
    "scalars, without Python objects in them"
)
"""For people."""

_MOST_BITS = 4096
_MOST_DIGITS = 4000
_FRACTION = re.compile(r"-?\d{1,%d}(/\d{1,%d})?\Z" % (_MOST_DIGITS, _MOST_DIGITS))
_DTYPE = re.compile(r"[<>=|]?[biufcmMSUV]\d{0,10}(\[\w{1,20}\])?\Z")
_KINDS = frozenset("biufcmMSUV")
_FIELDS = frozenset(("names", "formats", "offsets", "titles", "itemsize", "aligned", "record"))
_DEEPEST_DTYPE = 10
_DTYPE_COST = 20
_MOST_AXES = 64
_SMALL_ITEM_BYTES = 1 << 16
_BUFFERS = frozenset((bytearray, memoryview))
_PLAIN = frozenset((bool, int, float, complex, str, bytes))
_OBJECTS_BY = frozenset(("_reconstruct", "_frombuffer", "scalar"))
_OF_OBJECTS = "it holds Python objects, or is of a class of its own"
_MOST_NAME = 200

_DEQUE: Any = collections.deque
_ORDERED_DICT: Any = collections.OrderedDict

Spend = Callable[[int], None]
"""Counts so much work."""


class NotAllowed(pickle.UnpicklingError):
    """The pickle wants something that plain data does not need.

    Attributes:
        module: Of the class or function that it names; empty when it is about something else.
        name: Its name in there.
        type_name: The name of the class for people; empty likewise.
    """

    def __init__(self, text: str, module: str = "", name: str = "") -> None:
        super().__init__(text, module, name)
        self.text, self.module, self.name = text, module, name
        self.type_name = shown(module, name) if name else ""

    def __str__(self) -> str:
        return self.text


class Maker:
    """What a name in a pickle stands for.

    Args:
        make: Makes a value.
    """

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def maker_for(module: str, name: str) -> Maker:
    """Look a name up.

    Raises:
        NotAllowed: plain data has no such name.
    """
    try:
        return _MAKERS[module, name]
    except KeyError:
        text = _OF_OBJECTS if name in _OBJECTS_BY and module.startswith("numpy.") else "it is not plain data"
        raise NotAllowed(text, module, name) from None


def shown(module: str, name: str) -> str:
    """A name for people: of the class that they know."""
    if module == "builtins":
        return name[:_MOST_NAME]
    if name in _OBJECTS_BY and module.startswith("numpy."):
        return "numpy.ndarray"
    if (module, name) == ("wetlands_rx.ndarray", "_received"):
        return "wetlands_rx.ndarray.NDArray"
    return "{}.{}".format(module, name)[:_MOST_NAME]


def require(condition: bool, what: str) -> None:
    """Refuse what is not as it should be."""
    if not condition:
        raise NotAllowed("a pickle makes {} of something else than it should".format(what))


def _whole(what: str, numbers: Sequence[Any], most_bits: int = _MOST_BITS) -> None:
    require(all(type(number) is int and number.bit_length() <= most_bits for number in numbers), what)


# --- Python's


def _complex(spend: Spend, real: Any, imaginary: Any) -> complex:
    require(type(real) is float and type(imaginary) is float, "a complex number")
    return complex(real, imaginary)


def _bytearray(spend: Spend, data: Any = b"") -> bytearray:
    require(type(data) is bytes, "a bytearray")
    spend(len(data))
    return bytearray(data)


def _range(spend: Spend, *parts: Any) -> range:
    _whole("a range", parts)
    return range(*parts)


def _slice(spend: Spend, *parts: Any) -> slice:
    _whole("a slice", [part for part in parts if part is not None])
    return slice(*parts)


def _deque(spend: Spend, nothing: Any = (), longest: Any = None) -> Any:
    require(kind_of(nothing) in (tuple, list) and not nothing, "a deque")
    require(longest is None or type(longest) is int, "a deque")
    return _DEQUE(maxlen=longest)


def _ordered(spend: Spend) -> Any:
    return _ORDERED_DICT()


def _date(spend: Spend, data: Any) -> dt.date:
    require(type(data) is bytes and len(data) == 4, "a date")
    return dt.date(int.from_bytes(data[:2], "big"), data[2], data[3])


def _time(spend: Spend, data: Any, zone: Any = None) -> dt.time:
    require(type(data) is bytes and len(data) == 6, "a time")
    require(zone is None or type(zone) is dt.timezone, "a time")
    hour, fold, microsecond = data[0] & 0x7F, data[0] >> 7, int.from_bytes(data[3:], "big")
    return dt.time(hour, data[1], data[2], microsecond, zone, fold=fold)


def _moment(spend: Spend, data: Any, zone: Any = None) -> dt.datetime:
    require(type(data) is bytes and len(data) == 10, "a date and time")
    require(zone is None or type(zone) is dt.timezone, "a date and time")
    year, month, fold = int.from_bytes(data[:2], "big"), data[2] & 0x7F, data[2] >> 7
    microsecond = int.from_bytes(data[7:], "big")
    return dt.datetime(year, month, data[3], data[4], data[5], data[6], microsecond, zone, fold=fold)


def _span(spend: Spend, *parts: Any) -> dt.timedelta:
    _whole("a time span", parts, 64)
    return dt.timedelta(*parts)


def _zone(spend: Spend, offset: Any, *name: Any) -> dt.timezone:
    require(type(offset) is dt.timedelta and all(type(part) is str for part in name), "a time zone")
    return dt.timezone(offset, *name)


def _decimal(spend: Spend, text: Any) -> Decimal:
    require(type(text) is str and len(text) < 2 * _MOST_DIGITS, "a decimal number")
    spend(len(text))
    return Decimal(text)


def _fraction(spend: Spend, *parts: Any) -> Fraction:
    if len(parts) == 1:  # before Python 3.12
        require(type(parts[0]) is str and _FRACTION.match(parts[0]) is not None, "a fraction")
        spend(len(parts[0]))
        return Fraction(parts[0])
    require(len(parts) == 2, "a fraction")
    _whole("a fraction", parts, 4 * _MOST_DIGITS)
    spend(sum(part.bit_length() for part in parts) // 4)
    return Fraction(*parts)


def _path(kind: str) -> Maker:
    if kind == ("WindowsPath" if os.name == "posix" else "PosixPath"):
        kind = "Pure" + kind  # that of another system can be made nowhere else

    def make(spend: Spend, *parts: Any) -> Any:
        require(all(type(part) is str for part in parts), "a path")
        spend(sum(map(len, parts)) // 4)
        return getattr(pathlib, kind)(*parts)

    return Maker(make)


# --- numpy's


def _checked_dtype(spend: Spend, description: Any, depth: int = 0) -> None:
    """Refuse the description of a dtype that holds anything but numbers and text."""
    require(depth < _DEEPEST_DTYPE, "a dtype")
    spend(_DTYPE_COST if depth else 1)
    kind = kind_of(description)
    if kind is str:
        require(_DTYPE.match(description) is not None, "a dtype")
    elif kind is tuple:
        require(len(description) == 2 and type(description[1]) is tuple, "a dtype")
        require(len(description[1]) <= _MOST_AXES, "a dtype")
        _whole("a dtype", description[1], 31)
        _checked_dtype(spend, description[0], depth + 1)
    else:
        require(kind is dict and description.keys() == _FIELDS, "a dtype")
        _checked_fields(spend, description, depth)


def _checked_fields(spend: Spend, fields: Dict[str, Any], depth: int) -> None:
    for key, kinds in [("names", (str,)), ("offsets", (int,)), ("titles", (str, type(None))), ("formats", ())]:
        column = fields[key]
        require(type(column) is list and len(column) == len(fields["names"]), "a dtype")
        spend(len(column))
        require(not kinds or all(type(entry) in kinds for entry in column), "a dtype")
    require(type(fields["aligned"]) is bool and type(fields["record"]) is bool, "a dtype")
    _whole("a dtype", [fields["itemsize"], *fields["offsets"]], 31)
    for form in fields["formats"]:
        _checked_dtype(spend, form, depth + 1)


def _checked(array: Any) -> Any:
    """The array or scalar, if numpy understood its dtype as we did."""
    dtype = array.dtype
    require(not dtype.hasobject and dtype.kind in _KINDS and dtype.itemsize > 0, "an array")
    return array


def _array(spend: Spend, buffer: Any, dtype: Any, shape: Any, order: Any, writable: Any) -> Any:
    _checked_dtype(spend, dtype)
    require(type(buffer) in _BUFFERS and kind_of(shape) is tuple and len(shape) <= _MOST_AXES, "an array")
    require(order in ("C", "F"), "an array")
    _whole("an array", shape, 63)
    require(all(size >= 0 for size in shape), "an array")  # else numpy makes one of them up
    array = _checked(arrays.rebuilt(buffer, dtype, shape, order, writable is True))
    # One element of it is made here and there, also of an empty one.
    require(array.dtype.itemsize <= max(len(buffer), _SMALL_ITEM_BYTES), "an array")
    return array


def _scalar(spend: Spend, data: Any, dtype: Any) -> Any:
    _checked_dtype(spend, dtype)
    require(type(data) is bytes, "a scalar of numpy's")
    spend(len(data) // 16)
    return _checked(arrays.rebuilt_scalar(data, dtype))


def _is_array(value: Any) -> bool:
    numpy = arrays.numpy_if_loaded()
    return numpy is not None and type(value) is numpy.ndarray


def _records(spend: Spend, array: Any) -> Any:
    require(_is_array(array), "a recarray")
    return arrays.rebuilt_records(array)


def _masked(spend: Spend, data: Any, mask: Any, fill: Any, hard: Any) -> Any:
    what = "a masked array"
    require(_is_array(data) and type(hard) is bool, what)
    if mask is not None:  # nothing is converted, or repeated
        described = importlib.import_module("numpy.ma").make_mask_descr(data.dtype)
        require(_is_array(mask) and mask.shape == data.shape and mask.dtype == described, what)
    if fill is not None and kind_of(fill) not in _PLAIN:
        numpy = arrays.numpy_if_loaded()
        require(isinstance(fill, numpy.generic) or (_is_array(fill) and fill.ndim == 0), what)
    spend(data.dtype.itemsize // 16)
    return arrays.rebuilt_masked(data, mask, fill, hard)


_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_OURS = "wetlands_rx._wire.arrays"
_FUNCTIONS: List[Tuple[str, str, Callable[..., Any]]] = [
    ("builtins", "complex", _complex),
    ("builtins", "bytearray", _bytearray),
    ("builtins", "range", _range),
    ("builtins", "slice", _slice),
    ("collections", "deque", _deque),
    ("collections", "OrderedDict", _ordered),
    ("datetime", "date", _date),
    ("datetime", "time", _time),
    ("datetime", "datetime", _moment),
    ("datetime", "timedelta", _span),
    ("datetime", "timezone", _zone),
    ("decimal", "Decimal", _decimal),
    ("fractions", "Fraction", _fraction),
    (_OURS, "rebuilt", _array),
    (_OURS, "rebuilt_scalar", _scalar),
    (_OURS, "rebuilt_records", _records),
    (_OURS, "rebuilt_masked", _masked),
]
_MAKERS: Dict[Tuple[str, str], Maker] = {(module, name): Maker(make) for module, name, make in _FUNCTIONS}
_MAKERS.update(((module, kind), _path(kind)) for kind in _PATHS for module in ("pathlib", "pathlib._local"))
