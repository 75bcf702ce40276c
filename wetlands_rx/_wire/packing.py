"""Pickle values, each in the way that suits its size: what is large is not copied into the pickle."""

from __future__ import annotations

import io
import pickle
from typing import Any, Callable, Iterable, List, Optional, Tuple

from wetlands_rx._wire.arena import SHARED_BYTES, Arena, Block
from wetlands_rx._wire.arrays import Reducers, kind_of, numpy_if_loaded
from wetlands_rx._wire.bodies import Body, Part, body_parts, laid_out
from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.memory import LARGE_BYTES
from wetlands_rx._wire.values import LOOK_AT, SCALARS

_SMALL = SCALARS - {bytes}
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))
_DEPTH = 3

CopyBuffer = Callable[[memoryview], Buffer]
"""Copies a buffer of bytes."""


def copied(buffer: memoryview) -> Buffer:
    """The bytes of a buffer."""
    return bytes(buffer)


PLAIN_PICKLE, PICKLE_AND_BUFFERS, LARGE_PIECES = 0, 1, 2


def weight(values: Iterable[Any], depth: int = _DEPTH) -> int:
    """How values are best pickled.

    Returns:
        `PLAIN_PICKLE` when they are all of Python's own scalars, or short containers of them; `LARGE_PIECES` when one
        is, or holds, a large `bytes`; else `PICKLE_AND_BUFFERS`.
    """
    heaviest = PLAIN_PICKLE
    for value in values:  # this is done for each call
        kind = kind_of(value)
        if kind in _SMALL:
            continue
        own = PICKLE_AND_BUFFERS
        if kind is bytes or kind is bytearray:
            own = LARGE_PIECES if len(value) >= LARGE_BYTES else PLAIN_PICKLE
        elif kind in _CONTAINERS and depth > 0 and len(value) <= LOOK_AT:
            own = weight(value.values() if kind is dict else value, depth - 1)
            if kind is dict and own == PLAIN_PICKLE and not SCALARS.issuperset(map(kind_of, value)):
                own = PICKLE_AND_BUFFERS
        if own == LARGE_PIECES:
            return own
        heaviest = heaviest or own
    return heaviest


def pack(value: Any, arena: Optional[Arena] = None) -> Tuple[bytes, List[Part]]:
    """Pickle a value; what is large in it, arrays above all, comes out beside the pickle.

    Returns:
        The pickle, and its buffers: blocks of the arena where there is one, and room in it; the others are not copied.
    Raises:
        Exception: whatever the value's own pickling raises.
    """
    return _Packing(arena).pack(value)


class _Packing:
    """One pickle and what goes beside it."""

    def __init__(self, arena: Optional[Arena]) -> None:
        self._arena = arena
        self._filled: Optional[Block] = None
        self.parts: List[Part] = []

    def pack(self, value: Any) -> Tuple[bytes, List[Part]]:
        file = io.BytesIO()
        self.dump(value, file)
        return file.getvalue(), self.parts

    def dump(self, value: Any, file: Any) -> None:
        pickler = pickle.Pickler(file, 5, buffer_callback=self._beside)
        numpy = numpy_if_loaded()
        if numpy is not None:
            pickler.dispatch_table = Reducers(numpy, self._room)
        try:
            pickler.dump(value)
        except BaseException:
            self.parts, self._filled = [], None  # the exception holds this, and must not hold memory
            raise

    def _room(self, size: int) -> Optional[memoryview]:
        """For an array that must be copied anyway."""
        if self._arena is None or size < SHARED_BYTES:
            return None
        self._filled = self._arena.take(size)
        return self._filled.view if self._filled is not None else None

    def _beside(self, buffer: pickle.PickleBuffer) -> None:
        filled, self._filled = self._filled, None
        if filled is not None:
            self.parts.append(filled)
            return
        raw = buffer.raw()
        block = self._arena.take(len(raw)) if self._arena is not None and len(raw) >= SHARED_BYTES else None
        if block is None:
            self.parts.append(raw)
            return
        copy_into(block.view, raw)
        self.parts.append(block)


def copy_into(target: memoryview, source: memoryview) -> None:
    """Copy bytes; with numpy, if it is there: it lets go of the interpreter's lock meanwhile."""
    numpy = numpy_if_loaded()
    if numpy is None:
        target[:] = source
    else:
        numpy.copyto(numpy.frombuffer(target, numpy.uint8), numpy.frombuffer(source, numpy.uint8))


def pack_parts(value: Any, copy: CopyBuffer, arena: Optional[Arena] = None) -> Body:
    """Pickle something with large `bytes` so that no later change of it matters, and lay it out as `body_parts` does.

    A large `bytes` is not copied at all, and the rest of what is large by `copy` only: pickling to memory would copy
    it with the interpreter's lock held, and keep all other threads from running so long.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    written, packing = _Parts(copy), _Packing(arena)
    packing.dump(value, written)
    return laid_out(written.parts, [copied_part(part, copy) for part in packing.parts])


def copied_part(part: Part, copy: CopyBuffer) -> Part:
    """The same bytes, which nobody changes: a block is a copy already."""
    return part if isinstance(part, Block) else copy(memoryview(part))


class _Parts:
    """What a pickler writes, in the pieces in which it does: it hands over large `bytes` and `bytearray` uncopied."""

    def __init__(self, copy: CopyBuffer) -> None:
        self.parts: List[Buffer] = []
        self._copy = copy

    def write(self, data: Buffer) -> int:
        self.parts.append(data if isinstance(data, bytes) else self._copy(memoryview(data)))
        return len(data)


def packed_copy(value: Any, heaviest: int, copy: CopyBuffer, arena: Optional[Arena]) -> Body:
    """Pickle a value so that no later change of it matters."""
    if heaviest == LARGE_PIECES:
        return pack_parts(value, copy, arena)
    pickled, buffers = pack(value, arena)
    return body_parts(pickled, [copied_part(buffer, copy) for buffer in buffers])


def body_for_now(value: Any, arena: Optional[Arena]) -> Body:
    """Pickle a value that is sent before it can change, and lay it out; large `bytes` are not copied.

    What goes to the arena belongs to who receives the body.
    """
    heaviest = weight((value,))
    if heaviest == PLAIN_PICKLE:
        pickled = pickle.dumps(value, 5)
        return Body(0, [pickled], len(pickled))
    body = pack_parts(value, copied, arena) if heaviest == LARGE_PIECES else body_parts(*pack(value, arena))
    for block in body.blocks:
        block.give()
    return body
