"""Arrays and numpy's scalars in words of our own: bytes, shape, and a dtype that every numpy from 1.19 on understands.

What numpy itself pickles names its modules, which moved with version 2, and is copied into the pickle for all but
contiguous arrays of plain numbers. Neither side imports numpy here before it has an array.
"""

from __future__ import annotations

import copyreg
import importlib
import pickle
import sys
from typing import Any, Callable, Dict, Optional, Tuple

NO_ARRAY_BYTES = 64
"""The pickle of an array, or of a scalar of numpy's, is larger: only there names of modules must be looked at."""
_INLINE_BYTES = 8192
"""Smaller arrays are part of the pickle."""

kind_of: Callable[[Any], Any] = type  # for type checkers: what is asked of it is for that kind
Reduced = Tuple[Any, ...]
WritableCopy = Callable[[int], Optional[memoryview]]
"""Memory of so many bytes that will travel with the pickle; None when there is none."""

_named: Dict[Any, bool] = {}
_MOST_NAMED = 256


def numpy_if_loaded() -> Any:
    """The module, if the program has imported it: else it has no arrays either."""
    numpy = sys.modules.get("numpy")
    return numpy if hasattr(numpy, "ndarray") else None  # while it is being imported it is there, too


class Reducers(Dict[Any, Callable[[Any], Any]]):
    """A pickler's `dispatch_table` that knows arrays, and all that `copyreg` knows.

    Args:
        numpy: The module.
        room: Where a copy that is needed anyway is written to; the very next buffer of the pickle is that one.
    """

    def __init__(self, numpy: Any, room: WritableCopy) -> None:
        super().__init__()
        self._numpy = numpy
        self._room = room

    def __missing__(self, kind: Any) -> Callable[[Any], Any]:
        # Nothing is kept here: a method in its own object's dictionary is a cycle, and cycles keep memory for long.
        numpy = self._numpy
        if kind is numpy.ndarray:
            return self._array
        if kind is numpy.memmap:
            return self._memmap
        if kind is numpy.recarray:
            return self._records
        if issubclass(kind, numpy.generic):
            return self._scalar
        masked = sys.modules.get("numpy.ma")
        if masked is not None and kind is masked.MaskedArray:
            return self._masked
        return copyreg.dispatch_table[kind]

    def _array(self, array: Any) -> Reduced:
        dtype = array.dtype
        if dtype.hasobject or not dtype.itemsize:
            return array.__reduce_ex__(5)  # type: ignore[no-any-return]
        flags = array.flags
        order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
        size = array.nbytes
        buffer: Any
        if size < _INLINE_BYTES:
            buffer = bytearray(array.tobytes(order))
        elif flags.forc:
            buffer = pickle.PickleBuffer(array.ravel("K").view(self._numpy.uint8))
        else:
            buffer = self._compact(array)
        return rebuilt, (buffer, described(self._numpy, dtype), array.shape, order, flags.writeable)

    def _compact(self, array: Any) -> pickle.PickleBuffer:
        """Its elements one behind the other, in C order."""
        numpy = self._numpy
        room = self._room(array.nbytes)
        if room is None:
            return pickle.PickleBuffer(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8))
        numpy.copyto(numpy.ndarray(array.shape, array.dtype, room), array)
        return pickle.PickleBuffer(room)

    def _memmap(self, array: Any) -> Reduced:
        return self._array(self._numpy.asarray(array))

    def _records(self, array: Any) -> Reduced:
        return rebuilt_records, (self._numpy.asarray(array),)

    def _masked(self, array: Any) -> Reduced:
        mask = None if array.mask is sys.modules["numpy.ma"].nomask else array.mask
        fill = array._fill_value  # noqa: SLF001 - `fill_value` makes one up when there is none
        return rebuilt_masked, (self._numpy.asarray(array.data), mask, fill, bool(array.hardmask))

    def _scalar(self, value: Any) -> Any:
        dtype = value.dtype
        if dtype.hasobject or not dtype.itemsize:
            return value.__reduce__()
        return rebuilt_scalar, (value.tobytes(), described(self._numpy, dtype))


def described(numpy: Any, dtype: Any, foreign: Callable[[Any], Any] = lambda dtype: dtype) -> Any:
    """A dtype as plain data.

    Args:
        numpy: The module.
        dtype: The dtype.
        foreign: What becomes of one that cannot be described; by default it is left as it is.
    """
    plain = _named.get(dtype)
    if plain is None:
        plain = dtype.names is None and dtype.subdtype is None and dtype.metadata is None
        plain = plain and numpy.dtype(dtype.str) == dtype  # not so for the dtypes of other packages
        if len(_named) >= _MOST_NAMED:
            _named.clear()
        _named[dtype] = plain
    if plain:
        return dtype.str
    if dtype.metadata is not None:
        return foreign(dtype)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return described(numpy, base, foreign), shape
    if dtype.names is None:
        return foreign(dtype)
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [described(numpy, field[0], foreign) for field in fields],
        "offsets": [field[1] for field in fields],
        "titles": [field[2] if len(field) > 2 else None for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
        "record": issubclass(dtype.type, numpy.record),
    }


def dtype_of(numpy: Any, description: Any, foreign: Optional[Callable[[bytes], Any]] = None) -> Any:
    """The dtype that was described; `foreign` makes one of what `described` was given for those of others."""
    kind = kind_of(description)
    if kind is tuple:
        base, shape = description
        return numpy.dtype((dtype_of(numpy, base, foreign), shape))
    if kind is bytes and foreign is not None:
        return foreign(description)
    if kind is not dict:
        return numpy.dtype(description)
    fields: Dict[str, Any] = {key: description[key] for key in ("names", "offsets", "itemsize")}
    if any(title is not None for title in description["titles"]):
        fields["titles"] = description["titles"]
    fields["formats"] = [dtype_of(numpy, form, foreign) for form in description["formats"]]
    dtype = numpy.dtype(fields, align=bool(description["aligned"]))
    return numpy.dtype((numpy.record, dtype)) if description["record"] else dtype


def _numpy() -> Any:
    return sys.modules.get("numpy") or importlib.import_module("numpy")


def rebuilt(buffer: Any, dtype: Any, shape: Tuple[int, ...], order: str, writable: bool) -> Any:
    """An array over a buffer: not a copy."""
    numpy = _numpy()
    array = numpy.ndarray(shape, dtype if type(dtype) is str else dtype_of(numpy, dtype), buffer, 0, None, order)
    if not writable:
        array.flags.writeable = False
    return array


def rebuilt_records(array: Any) -> Any:
    """An array whose fields are attributes, over an array of records: not a copy."""
    return array.view(_numpy().recarray)


def rebuilt_masked(data: Any, mask: Any, fill: Any, hard: bool) -> Any:
    """A masked array over an array and a mask: not a copy."""
    masked = importlib.import_module("numpy.ma")
    no_mask = masked.nomask if mask is None else mask
    return masked.MaskedArray(data, mask=no_mask, fill_value=fill, hard_mask=hard, copy=False)


def rebuilt_scalar(data: bytes, dtype: Any) -> Any:
    """One of numpy's scalars."""
    numpy = _numpy()
    return numpy.ndarray((), dtype_of(numpy, dtype), data)[()]
