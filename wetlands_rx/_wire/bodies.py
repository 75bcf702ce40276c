"""The body of a frame that holds a value: a pickle and its buffers, and what of them is elsewhere.

table     how many parts, and the size of each: the pickle, then its buffers
places    with the flag SHARED: of each buffer where it is in the sender's arena, and its flag there; or that it is here
parts     the pickle, and the buffers that are here, one behind the other
"""

from __future__ import annotations

import struct
from typing import Any, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from wetlands_rx._wire.arena import Block
from wetlands_rx._wire.frames import BUFFERS, SHARED, Buffer
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import ProtocolError

_COUNT = struct.Struct("<I")
_PLACE = struct.Struct("<QI")
_IN_BAND = 0xFFFFFFFF
_NO_PLACE = (0, _IN_BAND)
Part = Union[Buffer, Block]
"""A piece of a body: bytes that go through the pipe, or a block of the arena, which does not."""


def blocks_of(parts: Iterable[Part]) -> Tuple[Block, ...]:
    """Those of the parts that are blocks of an arena."""
    return tuple(part for part in parts if isinstance(part, Block))


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
    return laid_out([pickled], buffers) if buffers else Body(0, [pickled], len(pickled))


def body_of_one(pickled: bytes) -> Body:
    """As `body_parts` of a pickle without buffers, with a table that says how large it is."""
    return laid_out([pickled], ())


def laid_out(pickled: Sequence[Buffer], buffers: Sequence[Part]) -> Body:
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
