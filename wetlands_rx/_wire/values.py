"""Users' values as bytes: pickle protocol 5 with out-of-band buffers."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, Tuple

from wetlands_rx._wire.arrays import kind_of, numpy_if_loaded
from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.moved import MovedUnpickler

if TYPE_CHECKING:
    from wetlands_rx._wire.blocks import Block as MemoryBlock

SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_HEAD_BYTES = 4096
_NO_ADDRESS_BYTES = 100
"""The pickle of what refers to shared memory is larger."""
LOOK_AT = 16
"""How many elements of a container are looked at; a longer one counts as not plain, and as not large."""


class Packed:
    """A pickled value that has not been loaded yet: the pickle and its out-of-band buffers.

    Args:
        pickled: The pickle.
        buffers: In order.
        blocks: The flags of those of them that are lent by an arena.

    Attributes:
        trusted: Whoever pickled it may have its code run.
    """

    __slots__ = ("blocks", "buffers", "pickle")
    trusted = True

    def __init__(self, pickled: Buffer, buffers: Tuple[Buffer, ...] = (), blocks: Tuple[int, ...] = ()) -> None:
        self.pickle = pickled
        self.buffers = buffers
        self.blocks = blocks

    def claimed(self) -> Packed:
        """The same, holding the shared memory that it refers to: the child that sent it may end before it is loaded."""
        if len(self.pickle) < _NO_ADDRESS_BYTES:
            return self
        from wetlands_rx._wire.blocks import claim  # only the caller does this

        memory = claim(self.pickle)
        return _Claiming(self, memory) if memory else self

    def load(self) -> Any:
        """Rebuild the value, once: it takes what it needs with it. May run the user's code and raise anything."""
        value = self._loaded()
        self.pickle, self.buffers = b"", ()  # what the value does not hold on to is free
        return value

    def _loaded(self) -> Any:
        if b"numpy.core" in bytes(memoryview(self.pickle)[:_HEAD_BYTES]):
            return self._load_moved()
        try:
            return pickle.loads(self.pickle, buffers=self.buffers)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(("numpy.", "pathlib.")):
                raise
            return self._load_moved()

    def _load_moved(self) -> Any:
        return MovedUnpickler(io.BytesIO(self.pickle), buffers=self.buffers).load()


class _Claiming(Packed):
    """Holds blocks of shared memory until the value, which refers to them, has been loaded."""

    __slots__ = ("_memory",)

    def __init__(self, packed: Packed, memory: Tuple[MemoryBlock, ...]) -> None:
        super().__init__(packed.pickle, packed.buffers, packed.blocks)
        self._memory = memory

    def load(self) -> Any:
        try:
            return super().load()
        finally:
            self._memory = ()


def is_plain(value: Any) -> bool:
    """True when loading the value's pickle runs nobody's code: scalars, arrays of numbers, small containers of them."""
    kind = kind_of(value)
    if kind in SCALARS:
        return True
    if kind is tuple or kind is list:
        return len(value) <= LOOK_AT and all(_is_leaf(item) for item in value)
    if kind is dict:
        return len(value) <= LOOK_AT and all(_is_leaf(key) and _is_leaf(item) for key, item in value.items())
    return _is_leaf(value)


def _is_leaf(value: Any) -> bool:
    kind = kind_of(value)
    if kind in SCALARS:
        return True
    numpy = numpy_if_loaded()
    return numpy is not None and kind is numpy.ndarray and not value.dtype.hasobject
