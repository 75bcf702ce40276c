"""Load pickles of somebody who is not trusted: plain data and arrays, and nothing that runs anything.

Python's own loader of pickles in Python, without the instructions that make objects of classes. A name stands for a
function of ours, never for what it names, and each of those looks at what it is given. What else a pickle can do is to
take long: a tuple that holds itself twice over, many times, has more elements than there are atoms, and as a key it would
be hashed element by element; so keys are weighed first.
"""

from __future__ import annotations

import datetime
import io
import pickle
import re
from typing import Any, Callable, Dict, Iterable, List, NoReturn, Sequence, Tuple

from wetlands_rx._wire import arrays
from wetlands_rx._wire.frames import Buffer

_MOST_IN_KEY = 10_000
_DIGITS = re.compile(r"-?\d{1,4000}(/\d{1,4000})?\Z")
_DTYPE = re.compile(r"[<>=|]?[?a-zA-NP-Z]\d*(\[[a-zA-Z0-9]+\])?\Z")  # all but objects
_FIELDS = frozenset(("names", "formats", "offsets", "titles", "itemsize", "aligned", "record"))
_DEEPEST_DTYPE = 10
_PLACES = re.compile(r"(datetime|decimal|fractions|pathlib|collections|builtins|wetlands_rx\._wire\.arrays)(\.\w+)?\Z")


class NotAllowed(pickle.UnpicklingError):
    """The pickle wants something that plain data does not need."""


class Maker:
    """What a name in a pickle stands for: a function that makes a value, and nothing that can be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        """Make the value; raises what the wrong arguments make it raise."""
        return self._make(*args)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise NotAllowed("a pickle changes a function")


def _allowed(condition: bool, what: str) -> None:
    if not condition:
        raise NotAllowed("a pickle makes {} of something else than it should".format(what))


def _elements(what: str, items: Any) -> List[Any]:
    _allowed(type(items) is list or type(items) is tuple, what)
    for item in items:
        weigh(item)
    return list(items)


def _whole(what: str, numbers: Sequence[Any]) -> Sequence[int]:
    _allowed(all(type(number) is int for number in numbers), what)
    return numbers


def _complex(real: float, imaginary: float) -> complex:
    _allowed(type(real) is float and type(imaginary) is float, "a complex number")
    return complex(real, imaginary)


def _bytearray(data: Any = b"") -> bytearray:
    _allowed(type(data) is bytes, "a bytearray")
    return bytearray(data)


def _slice(*parts: Any) -> slice:
    _allowed(all(part is None or type(part) is int for part in parts), "a slice")
    return slice(*parts)


def _deque(items: Any = (), longest: Any = None) -> Any:
    from collections import deque

    _allowed(type(items) in (list, tuple) and (longest is None or type(longest) is int), "a deque")
    return deque(items, longest)


def _ordered(*nothing: Any) -> Any:
    from collections import OrderedDict

    _allowed(not nothing, "an ordered dictionary")
    return OrderedDict()


def _date(data: Any) -> datetime.date:
    _allowed(type(data) is bytes and len(data) == 4, "a date")
    made = datetime.date(data)  # type: ignore[call-arg, arg-type]
    return datetime.date(made.year, made.month, made.day)  # which looks at the values


def _time(data: Any, zone: Any = None) -> datetime.time:
    _allowed(type(data) is bytes and len(data) == 6 and _is_zone(zone), "a time")
    return _moment(b"\x07\xd0\x01\x01" + data, zone).timetz()


def _moment(data: Any, zone: Any = None) -> datetime.datetime:
    _allowed(type(data) is bytes and len(data) == 10 and _is_zone(zone), "a date and time")
    year, month = int.from_bytes(data[:2], "big"), data[2] & 0x7F
    microsecond = int.from_bytes(data[7:], "big")
    fold = data[2] >> 7 or data[4] >> 7  # where a time and a date and time keep it
    return datetime.datetime(year, month, data[3], data[4] & 0x7F, data[5], data[6], microsecond, zone, fold=fold)


def _is_zone(zone: Any) -> bool:
    return zone is None or type(zone) is datetime.timezone


def _zone(offset: Any, *name: Any) -> datetime.timezone:
    _allowed(type(offset) is datetime.timedelta and all(type(part) is str for part in name), "a time zone")
    return datetime.timezone(offset, *name)


def _decimal(text: Any) -> Any:
    from decimal import Decimal

    _allowed(type(text) is str and len(text) < 10_000, "a decimal number")
    return Decimal(text)


def _fraction(*parts: Any) -> Any:
    from fractions import Fraction

    if len(parts) == 1:
        _allowed(type(parts[0]) is str and _DIGITS.match(parts[0]) is not None, "a fraction")
        return Fraction(parts[0])
    _allowed(len(parts) == 2, "a fraction")
    return Fraction(*_whole("a fraction", parts))


def _path(kind: str) -> Callable[..., Any]:
    def make(*parts: Any) -> Any:
        import pathlib

        _allowed(all(type(part) is str for part in parts), "a path")
        # Of another system too, whose own class cannot be made here.
        return getattr(pathlib, kind.replace("Path", "PurePath") if "Pure" not in kind else kind)(*parts)

    return make


def _checked_dtype(description: Any, depth: int = 0) -> None:
    _allowed(depth < _DEEPEST_DTYPE, "a dtype")
    kind = type(description)
    if kind is tuple and len(description) == 2:
        _allowed(type(description[1]) is tuple, "a dtype")
        _whole("a dtype", description[1])
        _checked_dtype(description[0], depth + 1)
    elif kind is dict:
        _allowed(description.keys() == _FIELDS, "a dtype")
        for form in description["formats"]:
            _checked_dtype(form, depth + 1)
    else:
        _allowed(kind is str and _DTYPE.match(description) is not None, "a dtype")


def _array(buffer: Any, dtype: Any, shape: Any, order: Any, writable: Any) -> Any:
    _checked_dtype(dtype)
    _allowed(type(buffer) in (bytearray, memoryview) and type(shape) is tuple and order in ("C", "F"), "an array")
    _whole("an array", shape)
    return arrays.rebuilt(buffer, dtype, shape, order, writable is True)


def _scalar(data: Any, dtype: Any) -> Any:
    _checked_dtype(dtype)
    _allowed(type(data) is bytes, "a number of numpy's")
    return arrays.rebuilt_scalar(data, dtype)


def _only_array(make: Callable[..., Any]) -> Callable[..., Any]:
    def checked(array: Any, *others: Any) -> Any:
        numpy = arrays.numpy_if_loaded()
        _allowed(numpy is not None and type(array) is numpy.ndarray, "an array")
        mask = others[0] if others else None
        _allowed(mask is None or type(mask) is numpy.ndarray, "a masked array")
        return make(array, *others)

    return checked


_MAKERS: Dict[Tuple[str, str], Maker] = {
    (module, name): Maker(make)
    for module, name, make in [
        ("builtins", "complex", _complex),
        ("builtins", "bytearray", _bytearray),
        ("builtins", "range", lambda *parts: range(*_whole("a range", parts))),
        ("builtins", "slice", _slice),
        ("builtins", "set", lambda items=(): set(_elements("a set", items))),
        ("builtins", "frozenset", lambda items=(): frozenset(_elements("a frozenset", items))),
        ("collections", "deque", _deque),
        ("collections", "OrderedDict", _ordered),
        ("datetime", "date", _date),
        ("datetime", "time", _time),
        ("datetime", "datetime", _moment),
        ("datetime", "timedelta", lambda *parts: datetime.timedelta(*_whole("a time span", parts))),
        ("datetime", "timezone", _zone),
        ("decimal", "Decimal", _decimal),
        ("fractions", "Fraction", _fraction),
        *(("pathlib", kind, _path(kind)) for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
        *(("pathlib._local", kind, _path(kind)) for kind in ("PosixPath", "WindowsPath")),
        *(("pathlib._local", kind, _path(kind)) for kind in ("PurePosixPath", "PureWindowsPath")),
        ("wetlands_rx._wire.arrays", "rebuilt", _array),
        ("wetlands_rx._wire.arrays", "rebuilt_scalar", _scalar),
        ("wetlands_rx._wire.arrays", "rebuilt_masked", _only_array(arrays.rebuilt_masked)),
        ("wetlands_rx._wire.arrays", "rebuilt_records", _only_array(arrays.rebuilt_records)),
    ]
}
ALLOWED_TYPES = (
    "None, bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, range, slice, "
    "collections.deque and OrderedDict, datetime.date, time, datetime, timedelta and timezone, decimal.Decimal, "
    "fractions.Fraction, paths, and numpy's arrays and scalars without Python objects"
)


def weigh(key: Any) -> None:
    """Refuse a key of which a hash would take for ever, or more of the stack than there is.

    Raises:
        NotAllowed: it has too many elements, all counted as often as they occur.
    """
    weighed = 0
    waiting: List[Iterable[Any]] = [(key,)]
    while waiting:
        for one in waiting.pop():
            weighed += 1
            if weighed > _MOST_IN_KEY or len(waiting) > _MOST_IN_KEY:
                raise NotAllowed("a pickle has a key of more than {} elements".format(_MOST_IN_KEY))
            if type(one) is tuple or type(one) is frozenset:
                waiting.append(one)


_python_unpickler: Any = getattr(pickle, "_Unpickler")  # noqa: B009 - it has no public name


class _Loader(_python_unpickler):  # type: ignore[misc]
    """Loads plain data."""

    dispatch: Dict[int, Callable[[Any], None]] = dict(_python_unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _MAKERS[module, name]
        except KeyError:
            raise NotAllowed("{}.{} is not plain data: {}".format(module, name, ALLOWED_TYPES)) from None

    def load_reduce(self) -> None:
        args = self.stack.pop()
        make = self.stack[-1]
        if type(make) is not Maker or type(args) is not tuple:
            raise NotAllowed("a pickle calls something")
        self.stack[-1] = make(*args)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items((key, value))

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise NotAllowed("a pickle sets the elements of something else than a dictionary")
        for place in range(0, len(items), 2):
            weigh(items[place])
            target[items[place]] = items[place + 1]

    def load_additems(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        _allowed(type(target) is set, "a set")
        target.update(_elements("a set", items))

    def load_frozenset(self) -> None:
        self.append(frozenset(_elements("a frozenset", self.pop_mark())))

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: List[Any]) -> None:
        from collections import deque

        target = self.stack[-1]
        _allowed(type(target) is list or type(target) is deque, "a list")
        target.extend(items)

    def load_refused(self) -> None:
        raise NotAllowed("a pickle makes an object of a class")

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set_items(items)


for _code, _load in [
    (pickle.REDUCE, _Loader.load_reduce),
    (pickle.SETITEM, _Loader.load_setitem),
    (pickle.SETITEMS, _Loader.load_setitems),
    (pickle.ADDITEMS, _Loader.load_additems),
    (pickle.FROZENSET, _Loader.load_frozenset),
    (pickle.APPEND, _Loader.load_append),
    (pickle.APPENDS, _Loader.load_appends),
    (pickle.DICT, _Loader.load_dict),
    *(
        (code, _Loader.load_refused)
        for code in (
            pickle.BUILD,
            pickle.INST,
            pickle.OBJ,
            pickle.NEWOBJ,
            pickle.NEWOBJ_EX,
            pickle.EXT1,
            pickle.EXT2,
            pickle.EXT4,
            pickle.PERSID,
            pickle.BINPERSID,
        )
    ),
]:
    _Loader.dispatch[_code[0]] = _load


def loads(pickled: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
    """Load plain data.

    Raises:
        NotAllowed: it is something else.
        Exception: it is no pickle.
    """
    return _Loader(io.BytesIO(pickled), buffers=buffers).load()
