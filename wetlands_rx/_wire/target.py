"""Which function: the beginning of every call, before anything that might not be readable.

a function of a file:    the path, and the name in the file
one of a module:         an empty path, and "module:name"
one that came by value:  an empty path, and how it is called in reports; then what is in `FunctionValue`
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from typing import NamedTuple, Optional, Tuple

from wetlands_rx.exceptions import ProtocolError

_LENGTH = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_WITH_VALUE = 1 << 31
"""Added to the length when a function follows."""


class FunctionValue(NamedTuple):
    """A function on its way to a worker of the same Python.

    Attributes:
        code: The pickle that cloudpickle has made of `(function, file, source)`; the last two may be empty.
        folder: Where the modules lie that it may refer to; may be empty.
        library: The folder of the cloudpickle that has made it.
    """

    code: bytes
    folder: str
    library: str


@lru_cache(maxsize=1024)
def encoded_target(path: str, function: str) -> bytes:
    """The file and the name, with their length before them."""
    target = "{}\0{}".format(path, function).encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(target)) + target


def encoded_value(function: str, value: FunctionValue) -> bytes:
    """A function that goes by value, and what it is called."""
    words = "\0{}\0{}\0{}".format(function, value.folder, value.library).encode("utf-8", "surrogatepass")
    return b"".join((_LENGTH.pack(len(words) | _WITH_VALUE), words, _SIZE.pack(len(value.code)), value.code))


def target_of(body: memoryview) -> Tuple[str, str, Optional[FunctionValue], int]:
    """The file and the name at the beginning of a body, the function if it came by value, and where the rest begins."""
    length = int(_LENGTH.unpack_from(body)[0])
    if length >= _WITH_VALUE:
        return _value_of(body, 4 + length - _WITH_VALUE)
    end = 4 + length
    path, function = _words(bytes(body[4:end]))
    return path, function, None, end


def _value_of(body: memoryview, end: int) -> Tuple[str, str, Optional[FunctionValue], int]:
    path, function, folder, library = _words(bytes(body[4:end]))
    (size,) = _SIZE.unpack_from(body, end)
    begin = end + _SIZE.size
    code = bytes(body[begin : begin + size])
    if len(code) != size:
        raise ProtocolError("a function of {} bytes is cut off".format(size))
    return path, function, FunctionValue(code, folder, library), begin + size


def shown_target(path: str, function: str) -> str:
    """What is called in reports: `"segment.py:segment"`, `"math:sqrt"`."""
    return "{}:{}".format(os.path.basename(path), function) if path else function


@lru_cache(maxsize=1024)
def _words(target: bytes) -> Tuple[str, ...]:
    return tuple(target.decode("utf-8", "surrogatepass").split("\0"))
