"""Users' values as bytes: pickle protocol 5 with out-of-band buffers."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import sys
from typing import Any, Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from wetlands_rx._wire.arena import SHARED_BYTES, Arena, Block
from wetlands_rx._wire.arrays import Reducers, kind_of, numpy_if_loaded
from wetlands_rx._wire.blocks import Block as MemoryBlock
from wetlands_rx._wire.blocks import claim
from wetlands_rx._wire.frames import BUFFERS, SHARED, Buffer
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.memory import LARGE_BYTES
from wetlands_rx.exceptions import ProtocolError

_COUNT = struct.Struct("<I")
_PLACE = struct.Struct("<QI")
_IN_BAND = 0xFFFFFFFF
_NO_PLACE = (0, _IN_BAND)
Part = Union[Buffer, Block]
"""A piece of a body: bytes that go through the pipe, or a block of the arena, which does not."""
_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_SMALL = frozenset((type(None), bool, int, float, complex, str))
_OTHER_PLACES = {
    "numpy.rec": ("numpy.core.records",),
    "numpy.core.records": ("numpy.rec",),
    "numpy._core.records": ("numpy.rec",),
    "numpy.exceptions": ("numpy", "numpy.core._exceptions"),
    "numpy.core._exceptions": ("numpy.exceptions", "numpy._core._exceptions"),
}
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))
_DEPTH = 3
_HEAD_BYTES = 4096
_LOOK_AT = 16
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
        return _Moved(io.BytesIO(self.pickle), buffers=self.buffers).load()


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


class _Moved(pickle.Unpickler):
    """Loads what stands elsewhere in another numpy or Python.

    numpy 2 moved `numpy.core` to `numpy._core`, and warns of the old name. The paths of Python 3.13 say that they are
    from `pathlib._local`, which no other version has.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module == "pathlib._local":
            return super().find_class("pathlib", name)
        parts = module.split(".")
        places = [module]
        if parts[0] == "numpy" and parts[1:2] in (["core"], ["_core"]):
            places = [".".join(["numpy", core, *parts[2:]]) for core in ("_core", "core")]
        for place in [*places, *_OTHER_PLACES.get(module, ())]:
            with contextlib.suppress(ImportError, AttributeError):
                return super().find_class(place, name)
        return super().find_class(module, name)


CopyBuffer = Callable[[memoryview], Buffer]
"""Copies a buffer of bytes."""


def copied(buffer: memoryview) -> Buffer:
    """The bytes of a buffer."""
    return bytes(buffer)


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


def blocks_of(parts: Iterable[Part]) -> Tuple[Block, ...]:
    """Those of the parts that are blocks of an arena."""
    return tuple(part for part in parts if isinstance(part, Block))


def pack_parts(value: Any, copy: CopyBuffer, arena: Optional[Arena] = None) -> Body:
    """Pickle something with large `bytes` so that no later change of it matters, and lay it out as `body_parts` does.

    A large `bytes` is not copied at all, and the rest of what is large by `copy` only: pickling to memory would copy
    it with the interpreter's lock held, and keep all other threads from running so long.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    written, packing = _Parts(copy), _Packing(arena)
    packing.dump(value, written)
    return _laid_out(written.parts, [copied_part(part, copy) for part in packing.parts])


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
        elif kind in _CONTAINERS and depth > 0 and len(value) <= _LOOK_AT:
            own = weight(value.values() if kind is dict else value, depth - 1)
            if kind is dict and own == PLAIN_PICKLE and not _SCALARS.issuperset(map(kind_of, value)):
                own = PICKLE_AND_BUFFERS
        if own == LARGE_PIECES:
            return own
        heaviest = heaviest or own
    return heaviest


class Body(NamedTuple):
    """A body that is to be sent.

    Attributes:
        flags: For the header of its frame.
        parts: What goes through the pipe, in order.
        size: How many bytes those are.
        blocks: What goes through the arena.
    """

    flags: int
    parts: List[Buffer]
    size: int
    blocks: Tuple[Block, ...] = ()


class SharedParts(Tuple[Buffer, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """The parts of a frame that refers to blocks of an arena, which it holds.

    Attributes:
        blocks: The blocks.
    """

    blocks: Tuple[Block, ...]

    def __new__(cls, parts: Iterable[Buffer], blocks: Tuple[Block, ...]) -> SharedParts:  # noqa: PYI034 - 3.8
        """Hold both."""
        made = super().__new__(cls, parts)
        made.blocks = blocks
        return made


def body_parts(pickled: bytes, buffers: Sequence[Part]) -> Body:
    """Lay a pickle and its buffers out as a body."""
    return _laid_out([pickled], buffers) if buffers else Body(0, [pickled], len(pickled))


def body_for_now(value: Any, arena: Optional[Arena]) -> Body:
    """Pickle a value that is sent before it can change, and lay it out; large `bytes` are not copied."""
    heaviest = weight((value,))
    if heaviest == PLAIN_PICKLE:
        pickled = pickle.dumps(value, 5)
        return Body(0, [pickled], len(pickled))
    if heaviest == LARGE_PIECES:
        return pack_parts(value, copied, arena)
    return body_parts(*pack(value, arena))


def body_of_one(pickled: bytes) -> Body:
    """As `body_parts` of a pickle without buffers, with a table that says how large it is."""
    return _laid_out([pickled], ())


def _laid_out(pickled: Sequence[Buffer], buffers: Sequence[Part]) -> Body:
    sizes = [sum(map(len, pickled))] + [len(buffer) for buffer in buffers]
    table = _COUNT.pack(len(sizes)) + struct.pack("<{}Q".format(len(sizes)), *sizes)
    blocks = blocks_of(buffers)
    if not blocks:
        through: List[Any] = [table, *pickled, *buffers]
        return Body(BUFFERS, through, len(table) + sum(sizes))
    places = [(part.offset, part.flag) if isinstance(part, Block) else (0, _IN_BAND) for part in buffers]
    for place in places:
        table += _PLACE.pack(*place)
    through = [table, *pickled, *[part for part in buffers if not isinstance(part, Block)]]
    return Body(BUFFERS | SHARED, through, sum(map(len, through)), blocks)


def open_body(flags: int, body: Buffer, leases: Optional[Leases] = None) -> Packed:
    """Find the pickle and its buffers in a body; copies nothing.

    Args:
        flags: Of its frame.
        body: The bytes.
        leases: The other side's arena.
    Raises:
        ProtocolError: the sizes do not add up.
    """
    if not flags & BUFFERS:
        return Packed(body)
    view = memoryview(body)
    try:
        (count,) = _COUNT.unpack_from(view)
        sizes = struct.unpack_from("<{}Q".format(count), view, 4)
        position = 4 + 8 * count
        places: List[Tuple[int, int]] = [_NO_PLACE] * count
        if flags & SHARED:
            places[1:] = [_PLACE.unpack_from(view, position + _PLACE.size * n) for n in range(count - 1)]
            position += _PLACE.size * (count - 1)
    except struct.error as error:
        raise ProtocolError("a table of buffers is cut off: {}".format(error)) from None
    inside = sum(size for size, place in zip(sizes, places) if place[1] == _IN_BAND)
    if not count or position + inside != len(view):
        raise ProtocolError("a message of {} bytes announces parts of {} bytes".format(len(view), sizes))
    parts: List[memoryview] = []
    for size, (offset, flag) in zip(sizes, places):
        if flag != _IN_BAND:
            if leases is None:
                raise ProtocolError("a message refers to an arena that there is not")
            parts.append(leases.lease(offset, size, flag))
        else:
            parts.append(view[position : position + size])
            position += size
    return Packed(parts[0], tuple(parts[1:]), tuple(flag for _, flag in places if flag != _IN_BAND))


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
