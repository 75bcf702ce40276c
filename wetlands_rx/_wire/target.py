"""Which function of which file: the beginning of every call, before anything that might not be readable."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Tuple

_LENGTH = struct.Struct("<I")


@lru_cache(maxsize=1024)
def encoded_target(path: str, function: str) -> bytes:
    """The file and the name, with their length before them."""
    target = "{}\0{}".format(path, function).encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(target)) + target


def target_of(body: memoryview) -> Tuple[str, str, int]:
    """The file and the name at the beginning of a body, and where the rest begins."""
    end = 4 + int(_LENGTH.unpack_from(body)[0])
    path, function = _names(bytes(body[4:end]))
    return path, function, end


@lru_cache(maxsize=1024)
def _names(target: bytes) -> Tuple[str, str]:
    path, function = target.decode("utf-8", "surrogatepass").split("\0")
    return path, function
