"""Many items of one function in one frame, and their outcomes: what `map` sends, and gets back.

Each item is pickled for itself, and so is each outcome: one that cannot be loaded harms no other.

    down: the target as in a call; how many items; the size of each; the pickles. An item with out-of-band buffers
          travels alone: its frame has the flag BUFFERS and, behind the target, a body as `_wire.values` lays it out.
    up:   the place of the first outcome, how many, microseconds, 1 when they are the last; for each its record.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, List, NamedTuple, Sequence, Tuple, Union

from wetlands_rx._wire.frames import BUFFERS, PLAIN, Buffer, Frame, encode_frame, encode_header
from wetlands_rx._wire.messages import (
    CallItems,
    ItemCanceled,
    ItemRaised,
    ItemsDone,
    ItemUnopened,
    Outcome,
)
from wetlands_rx._wire.target import encoded_target, target_of
from wetlands_rx._wire.values import (
    CopyBuffer,
    Packed,
    any_large,
    body_parts,
    copied,
    is_plain,
    open_body,
    pack,
    pack_parts,
)
from wetlands_rx.exceptions import ProtocolError

ITEMS, ITEMS_DONE = 7, 24

_COUNT = struct.Struct("<I")
_ONE_SIZE = struct.Struct("<II")
_OUTCOMES = struct.Struct("<IIIB")
_RECORD = struct.Struct("<QB")
RECORD_BYTES = _RECORD.size
_OUTCOME = struct.Struct("<IIIBQB")  # both, for one
_RAISED, _CANCELED, _VALUE = 4, 8, 16  # beside the flags of frames
_PLAIN_VALUE = _VALUE | PLAIN
_SCALARS = frozenset((type(None), bool, int, float, str))
_SMALL_BYTES = 65536
_NO_ARRAY_BYTES = 64
"""The pickle of an array, or of a scalar of numpy's, is larger: only there names of modules must be looked at."""
_dumps, _loads = pickle.dumps, pickle.loads


class PackedItem(NamedTuple):
    """An item with out-of-band buffers, as it travels."""

    flags: int
    parts: Tuple[Buffer, ...]
    size: int


Item = Union[bytes, PackedItem]
"""A pickled item."""


class Record(NamedTuple):
    """An outcome as it travels: what it is, its parts, and their size in bytes."""

    kind: int
    parts: List[Buffer]
    size: int

    def head(self) -> bytes:
        """What goes before the parts."""
        return _RECORD.pack(self.size, self.kind)


CANCELED_RECORD = Record(_CANCELED, [], 0)


def pack_item(value: Any, copy: CopyBuffer = copied) -> Item:
    """Pickle an item, now.

    Raises:
        Exception: whatever the item's own pickling raises.
    """
    if type(value) in _SCALARS:
        return _dumps(value, 5)
    if any_large((value,)):
        flags, parts, size = pack_parts(value, copy)
    else:
        pickled, buffers = pack(value)
        if not buffers:
            return pickled
        flags, parts, size = body_parts(pickled, [copy(buffer) for buffer in buffers])
    return PackedItem(flags, tuple(parts), size)


def encode_items(task: int, path: str, function: str, items: Sequence[Item]) -> List[Buffer]:
    """Build the frame that runs a function for each of these items; one with buffers goes alone."""
    target = encoded_target(path, function)
    first = items[0]
    if isinstance(first, PackedItem):
        return [encode_header(ITEMS, first.flags, task, len(target) + first.size), target, *first.parts]
    packed: Any = items
    if len(packed) == 1 and len(first) <= _SMALL_BYTES:
        return [encode_frame(ITEMS, 0, task, target + _ONE_SIZE.pack(1, len(first)) + first)]
    sizes = struct.pack("<I{}I".format(len(packed)), len(packed), *map(len, packed))
    if len(packed) == 1:
        body = len(target) + len(sizes) + len(first)
        return [encode_header(ITEMS, 0, task, body), target, sizes, first]
    return [encode_frame(ITEMS, 0, task, target + sizes + b"".join(packed))]


def decode_items(frame: Frame) -> CallItems:
    """Read the frame that `encode_items` built."""
    view = memoryview(frame.body)
    path, function, position = target_of(view)
    if frame.flags & BUFFERS:
        return CallItems(frame.number, path, function, [open_body(frame.flags, view[position:])])
    (count,) = _COUNT.unpack_from(view, position)
    sizes = struct.unpack_from("<{}I".format(count), view, position + 4)
    position += 4 + 4 * count
    items: List[Union[memoryview, Packed]] = []
    for size in sizes:
        items.append(view[position : position + size])
        position += size
    if not items or position != len(view):
        raise ProtocolError("{} items take {} bytes of a message of {}".format(count, position, len(view)))
    return CallItems(frame.number, path, function, items)


def load_item(item: Union[memoryview, Packed]) -> Any:
    """Rebuild an item. May run the user's code and raise anything."""
    if isinstance(item, Packed):
        return item.load()
    if len(item) < _NO_ARRAY_BYTES:
        return _loads(item)
    return Packed(item).load()


def record_of(value: Any) -> Record:
    """Pickle what a function returned.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    if type(value) in _SCALARS:
        pickled = _dumps(value, 5)
        return Record(_PLAIN_VALUE, [pickled], len(pickled))
    plain = is_plain(value)
    pickled, buffers = pack(value)
    flags, parts, size = body_parts(pickled, buffers)
    return Record(_VALUE | flags | (PLAIN if plain else 0), parts, size)


def record_of_failure(error: str, traceback: Sequence[str], remote_type: str, kind: str) -> Record:
    """Build the outcome of an item whose function raised, or that has none for another reason."""
    pickled = _dumps((error, tuple(traceback), remote_type, kind), 5)
    return Record(_RAISED, [pickled], len(pickled))


def encode_outcomes(
    task: int, first: int, count: int, seconds: float, last: bool, parts: Sequence[Buffer], flags: int = 0
) -> List[Buffer]:
    """Build the frame of outcomes: `count` records, laid out in `parts`.

    Args:
        task: The number of the call that brought the items.
        first: The place of the first one among the items of that call.
        count: How many there are.
        seconds: How long they took together.
        last: No more will come.
        parts: The records.
        flags: BUFFERS when a record has buffers.
    """
    head = _OUTCOMES.pack(first, count, min(int(seconds * 1e6), 0xFFFFFFFF), last)
    size = len(head) + sum(len(part) for part in parts)
    return [encode_header(ITEMS_DONE, flags, task, size), head, *parts]


def encode_outcome(task: int, record: Record, seconds: float) -> List[Buffer]:
    """Build the frame of the only outcome of a call."""
    if len(record.parts) != 1 or record.size > _SMALL_BYTES:
        return encode_outcomes(task, 0, 1, seconds, True, [record.head(), *record.parts], record.kind & BUFFERS)
    head = _OUTCOME.pack(0, 1, min(int(seconds * 1e6), 0xFFFFFFFF), True, record.size, record.kind)
    return [encode_frame(ITEMS_DONE, 0, task, head + record.parts[0])]


def decode_outcomes(frame: Frame) -> ItemsDone:
    """Read the frame that `encode_outcomes` built."""
    view = memoryview(frame.body)
    first, count, microseconds, last = _OUTCOMES.unpack_from(view)
    outcomes = read_records(view[_OUTCOMES.size :])
    if len(outcomes) != count:
        raise ProtocolError("{} outcomes are announced, and {} have come".format(count, len(outcomes)))
    return ItemsDone(frame.number, first, outcomes, microseconds / 1e6, bool(last))


def read_records(view: memoryview) -> List[Outcome]:
    """Read records that follow each other.

    Raises:
        ProtocolError: they are not records of ours.
    """
    outcomes: List[Outcome] = []
    position, end = 0, len(view)
    unpack, loads = _RECORD.unpack_from, _loads
    while position < end:
        if end - position < RECORD_BYTES:
            raise ProtocolError("an outcome is cut off")
        size, kind = unpack(view, position)
        position += RECORD_BYTES
        blob = view[position : position + size]
        position += size
        if position > end:
            raise ProtocolError("an outcome is cut off")
        if kind == _PLAIN_VALUE and size < _NO_ARRAY_BYTES:
            outcomes.append(loads(blob))
        else:
            outcomes.append(_outcome(kind, blob))
    return outcomes


def _outcome(kind: int, blob: memoryview) -> Outcome:
    if kind & _VALUE:
        packed = open_body(kind, blob)
        if kind & PLAIN:
            try:
                return packed.load()
            except Exception:  # noqa: BLE001 - another numpy there: whoever opens it fails that one with the reason
                return ItemUnopened(packed)
        return ItemUnopened(packed)
    if kind == _RAISED:
        error, traceback, remote_type, what = _loads(blob)
        return ItemRaised(error, traceback, remote_type, what)
    if kind == _CANCELED:
        return ItemCanceled()
    raise ProtocolError("unknown outcome {}".format(kind))
