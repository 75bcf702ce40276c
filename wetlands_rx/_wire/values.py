"""Users' values as bytes: pickle protocol 5 with out-of-band buffers."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import sys
from typing import Any, Callable, Iterable, List, Sequence, Tuple

from wetlands_rx._wire.frames import BUFFERS, Buffer
from wetlands_rx._wire.memory import LARGE_BYTES
from wetlands_rx.exceptions import ProtocolError

_COUNT = struct.Struct("<I")
_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_SMALL = frozenset((type(None), bool, int, float, complex, str))
kind_of: Callable[[Any], Any] = type  # for type checkers: what is asked of it is for that kind
_DEPTH = 3
_HEAD_BYTES = 4096
_LOOK_AT = 16
"""How many elements of a container are looked at; a longer one counts as not plain, and as not large."""


class Packed:
    """A pickled value that has not been loaded yet: the pickle and its out-of-band buffers."""

    __slots__ = ("buffers", "pickle")

    def __init__(self, pickled: Buffer, buffers: Tuple[Buffer, ...] = ()) -> None:
        self.pickle = pickled
        self.buffers = buffers

    def load(self) -> Any:
        """Rebuild the value. May run the user's code and raise anything."""
        if b"numpy.core" in bytes(memoryview(self.pickle)[:_HEAD_BYTES]):
            return self._load_moved()
        try:
            return pickle.loads(self.pickle, buffers=self.buffers)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(("numpy.", "pathlib.")):
                raise
            return self._load_moved()

    def _load_moved(self) -> Any:
        return _Moved(io.BytesIO(self.pickle), buffers=self.buffers).load()


class _Moved(pickle.Unpickler):
    """Loads what stands elsewhere in another numpy or Python.

    numpy 2 moved `numpy.core` to `numpy._core`, and warns of the old name. The paths of Python 3.13 say that they are
    from `pathlib._local`, which no other version has.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module == "pathlib._local":
            return super().find_class("pathlib", name)
        parts = module.split(".")
        if parts[0] == "numpy" and parts[1:2] in (["core"], ["_core"]):
            for core in ("_core", "core"):
                with contextlib.suppress(ImportError):
                    return super().find_class(".".join(["numpy", core, *parts[2:]]), name)
        return super().find_class(module, name)


CopyBuffer = Callable[[memoryview], Buffer]
"""Copies a buffer of bytes."""


def copied(buffer: memoryview) -> Buffer:
    """The bytes of a buffer."""
    return bytes(buffer)


def pack(value: Any) -> Tuple[bytes, List[memoryview]]:
    """Pickle a value; large contiguous buffers (arrays) come out beside the pickle, not copied.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    buffers: List[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, 5, buffer_callback=buffers.append)
    return pickled, [buffer.raw() for buffer in buffers] if buffers else []


def pack_parts(value: Any, copy: CopyBuffer) -> Tuple[int, List[Buffer], int]:
    """Pickle something large so that no later change of it matters, and lay it out as `body_parts` does.

    A large `bytes` is not copied at all, and the rest of what is large by `copy` only: pickling to memory would copy
    it with the interpreter's lock held, and keep all other threads from running so long.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    taken = _Parts(copy)
    raised: List[pickle.PickleBuffer] = []
    pickle.Pickler(taken, 5, buffer_callback=raised.append).dump(value)
    return _laid_out(taken.parts, [copy(buffer.raw()) for buffer in raised])


class _Parts:
    """What a pickler writes, in the pieces in which it does: it hands over large `bytes` and `bytearray` uncopied."""

    def __init__(self, copy: CopyBuffer) -> None:
        self.parts: List[Buffer] = []
        self._copy = copy

    def write(self, data: Buffer) -> int:
        self.parts.append(data if isinstance(data, bytes) else self._copy(memoryview(data)))
        return len(data)


def any_large(values: Iterable[Any], depth: int = _DEPTH) -> bool:
    """True when one of them is large, or is a short container that holds something large."""
    for value in values:  # this is done for each call
        kind = kind_of(value)
        if kind in _SMALL:
            continue
        if kind is bytes or kind is bytearray:
            large = len(value) >= LARGE_BYTES
        elif kind is tuple or kind is list or kind is dict:
            inside = value.values() if kind is dict else value
            large = depth > 0 and len(value) <= _LOOK_AT and any_large(inside, depth - 1)
        else:
            numpy = sys.modules.get("numpy")
            large = numpy is not None and kind is numpy.ndarray and value.nbytes >= LARGE_BYTES
        if large:
            return True
    return False


def body_parts(pickled: bytes, buffers: Sequence[Buffer]) -> Tuple[int, List[Buffer], int]:
    """Lay a pickle and its buffers out as a body.

    Returns:
        The flags for the header, the parts in order, and their whole size in bytes.
    """
    return _laid_out([pickled], buffers) if buffers else (0, [pickled], len(pickled))


def _laid_out(pickled: Sequence[Buffer], buffers: Sequence[Buffer]) -> Tuple[int, List[Buffer], int]:
    sizes = [sum(map(len, pickled))] + [len(buffer) for buffer in buffers]
    table = _COUNT.pack(len(sizes)) + struct.pack("<{}Q".format(len(sizes)), *sizes)
    return BUFFERS, [table, *pickled, *buffers], len(table) + sum(sizes)


def open_body(flags: int, body: Buffer) -> Packed:
    """Find the pickle and its buffers in a body; copies nothing.

    Raises:
        ProtocolError: the sizes do not add up.
    """
    if not flags & BUFFERS:
        return Packed(body)
    view = memoryview(body)
    try:
        (count,) = _COUNT.unpack_from(view)
        sizes = struct.unpack_from("<{}Q".format(count), view, 4)
    except struct.error as error:
        raise ProtocolError("a table of buffers is cut off: {}".format(error)) from None
    position = 4 + 8 * count
    if not count or position + sum(sizes) != len(view):
        raise ProtocolError("a message of {} bytes announces parts of {} bytes".format(len(view), sizes))
    parts: List[memoryview] = []
    for size in sizes:
        parts.append(view[position : position + size])
        position += size
    return Packed(parts[0], tuple(parts[1:]))


def is_plain(value: Any) -> bool:
    """True when loading the value's pickle runs nobody's code: scalars, arrays of numbers, small containers of them."""
    kind = kind_of(value)
    if kind in _SCALARS:
        return True
    if kind is tuple or kind is list:
        return len(value) <= _LOOK_AT and all(_is_leaf(item) for item in value)
    if kind is dict:
        return len(value) <= _LOOK_AT and all(_is_leaf(key) and _is_leaf(item) for key, item in value.items())
    return _is_leaf(value)


def _is_leaf(value: Any) -> bool:
    kind = kind_of(value)
    if kind in _SCALARS:
        return True
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is numpy.ndarray and not value.dtype.hasobject
