"""Many items of one function in one frame, and their outcomes: what `map` sends, and gets back.

Each item is pickled for itself, and so is each outcome: one that cannot be loaded harms no other.

    down: the target as in a call; how many items; the size of each; the pickles. Numbers are one pickle of them all,
          and the frame has the flag PLAIN. An item with out-of-band buffers travels alone: its frame has the flag
          BUFFERS and, behind the target, a body as `_wire.values` lays it out.
    up:   the place of the first outcome, how many, microseconds, 1 when they are the last; for each its record: the
          size, the kind, and the pickle, or a number in 8 bytes.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

from wetlands_rx._wire.arena import Arena, Block
from wetlands_rx._wire.arrays import NO_ARRAY_BYTES, kind_of
from wetlands_rx._wire.bodies import SharedParts, body_of_one, open_body
from wetlands_rx._wire.frames import BUFFERS, PLAIN, Buffer, Frame, encode_frame, encode_header
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import (
    CallItems,
    ItemCanceled,
    ItemRaised,
    ItemsDone,
    ItemUnopened,
    Outcome,
)
from wetlands_rx._wire.packing import (
    PLAIN_PICKLE,
    CopyBuffer,
    body_for_now,
    copied,
    packed_copy,
    weight,
)
from wetlands_rx._wire.target import FunctionValue, encoded_target, encoded_value, target_of
from wetlands_rx._wire.values import Packed, is_plain
from wetlands_rx.exceptions import ProtocolError

ITEMS, ITEMS_DONE = 7, 24

_COUNT = struct.Struct("<I")
_OUTCOMES = struct.Struct("<IIIB")
RECORD = struct.Struct("<QB")
RECORD_BYTES = RECORD.size
_INT_RECORD, _FLOAT_RECORD = struct.Struct("<QBq"), struct.Struct("<QBd")
_NUMBER_RECORDS = {32: _INT_RECORD, 64: _FLOAT_RECORD}
INT, FLOAT = _NUMBER_RECORDS
_NUMBER_BYTES = 8
RAISED, CANCELED, VALUE = 4, 8, 16  # beside the flags of frames
_PLAIN_VALUE = VALUE | PLAIN
_SCALARS = frozenset((type(None), bool, int, float, str))
_NUMBERS = frozenset((int, float))
_MOST_INT = 2**63 - 1
_MOST_BYTES = 1 << 31
"""The pickle of an item among others is not larger."""
_SMALL_BYTES = 16384
"""Up to here, what travels is joined into one piece."""
_dumps, _loads = pickle.dumps, pickle.loads


class PackedItem(NamedTuple):
    """An item with out-of-band buffers, as it travels: as a `Body`."""

    flags: int
    parts: Tuple[Buffer, ...]
    size: int
    blocks: Tuple[Block, ...] = ()


Item = Union[bytes, PackedItem, int, float]
"""A pickled item; or a number, which is not pickled before it is sent."""


class LargeRecord(NamedTuple):
    """An outcome that is not joined with others: what it is, its parts, and their size in bytes."""

    kind: int
    parts: List[Buffer]
    size: int


Record = Union[bytes, LargeRecord]
"""An outcome as it travels."""

ReadRecords = Callable[[memoryview, Optional[Leases]], List[Outcome]]
CANCELED_RECORD: Record = RECORD.pack(0, CANCELED)


def is_number(item: Optional[Item]) -> bool:
    """True for one that is not pickled yet."""
    return type(item) in _NUMBERS


def are_numbers(values: Sequence[Any]) -> bool:
    """True for values that can travel as numbers: all `float`, or all `int` of at most 64 bits."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return bool(min(values) >= -_MOST_INT and max(values) <= _MOST_INT)
    return kinds == {float}


def pack_item(value: Any, copy: CopyBuffer = copied, arena: Optional[Arena] = None) -> Item:
    """Pickle an item, now.

    Args:
        value: The item.
        copy: Copies a large buffer.
        arena: Where arrays go, if there is room.
    Raises:
        Exception: whatever the item's own pickling raises.
    """
    heaviest = PLAIN_PICKLE if type(value) in _SCALARS else weight((value,))
    if heaviest == PLAIN_PICKLE:
        pickled: Buffer = _dumps(value, 5)
    else:
        body = packed_copy(value, heaviest, copy, arena)
        if body.flags:
            return PackedItem(body.flags, tuple(body.parts), body.size, body.blocks)
        (pickled,) = body.parts
    if len(pickled) <= _MOST_BYTES:
        return bytes(pickled)
    body = body_of_one(bytes(pickled))
    return PackedItem(body.flags, tuple(body.parts), body.size, body.blocks)


def encode_items(
    task: int, path: str, function: str, items: Sequence[Item], value: Optional[FunctionValue] = None
) -> Sequence[Buffer]:
    """Build the frame that runs a function for each of these items; `SharedParts` when one is in the arena.

    Args:
        task: The number of the call.
        path: The file; as in a call.
        function: The name in it.
        items: All pickled, or all numbers; one with buffers goes alone.
        value: The function itself.
    """
    target = encoded_target(path, function) if value is None else encoded_value(function, value)
    first = items[0]
    if isinstance(first, PackedItem):
        parts = [encode_header(ITEMS, first.flags, task, len(target) + first.size), target, *first.parts]
        return SharedParts(parts, first.blocks) if first.blocks else parts
    if is_number(first):
        return [encode_frame(ITEMS, PLAIN, task, target + _dumps(items, 5))]
    packed: Any = items
    sizes = struct.pack("<I{}I".format(len(packed)), len(packed), *map(len, packed))
    if len(packed) == 1 and len(packed[0]) > _SMALL_BYTES:
        body = len(target) + len(sizes) + len(packed[0])
        return [encode_header(ITEMS, 0, task, body), target, sizes, packed[0]]
    return [encode_frame(ITEMS, 0, task, target + sizes + b"".join(packed))]


def decode_items(frame: Frame, leases: Optional[Leases] = None) -> CallItems:
    """Read the frame that `encode_items` built."""
    view = memoryview(frame.body)
    path, function, value, position = target_of(view)
    if frame.flags & BUFFERS:
        return CallItems(frame.number, path, function, [open_body(frame.flags, view[position:], leases)], value)
    if frame.flags & PLAIN:
        return CallItems(frame.number, path, function, _loads(view[position:]), value)
    (count,) = _COUNT.unpack_from(view, position)
    sizes = struct.unpack_from("<{}I".format(count), view, position + 4)
    position += 4 + 4 * count
    items: List[Union[memoryview, Packed]] = []
    for size in sizes:
        items.append(view[position : position + size])
        position += size
    if not items or position != len(view):
        raise ProtocolError("{} items take {} bytes of a message of {}".format(count, position, len(view)))
    return CallItems(frame.number, path, function, items, value)


def load_item(item: Union[memoryview, Packed, float]) -> Any:
    """Rebuild an item. May run the user's code and raise anything."""
    if isinstance(item, (int, float)):
        return item
    if isinstance(item, Packed):
        return item.load()
    if len(item) >= NO_ARRAY_BYTES:
        return Packed(item).load()
    try:
        return _loads(item)
    except ModuleNotFoundError:  # it may have moved
        return Packed(item).load()


def record_of(value: Any, arena: Optional[Arena] = None) -> Record:
    """Lay out what a function returned. What goes to the arena belongs to who receives the record.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    kind = kind_of(value)
    if kind is int and -_MOST_INT <= value <= _MOST_INT:
        return _INT_RECORD.pack(_NUMBER_BYTES, INT, value)
    if kind is float:
        return _FLOAT_RECORD.pack(_NUMBER_BYTES, FLOAT, value)
    if kind in _SCALARS:
        return _record(_PLAIN_VALUE, [_dumps(value, 5)])
    plain = is_plain(value)
    flags, parts, _, _ = body_for_now(value, arena)
    return _record(VALUE | flags | (PLAIN if plain else 0), parts)


def record_of_failure(error: str, traceback: Sequence[str], remote_type: str, kind: str, *optional: Any) -> Record:
    """Lay out the outcome of an item whose function raised, or that has none for another reason; as `ItemRaised`."""
    return _record(RAISED, [_dumps((error, tuple(traceback), remote_type, kind, *optional), 5)])


def _record(kind: int, parts: List[Buffer]) -> Record:
    size = sum(map(len, parts))
    if size > _SMALL_BYTES:
        return LargeRecord(kind, parts, size)
    return RECORD.pack(size, kind) + b"".join(parts)


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
        flags: BUFFERS when a record has buffers that go through the pipe.
    """
    head = _outcomes_head(first, count, seconds, last)
    size = len(head) + sum(len(part) for part in parts)
    return [encode_header(ITEMS_DONE, flags, task, size), head, *parts]


def encode_large_outcome(task: int, place: int, seconds: float, last: bool, record: LargeRecord) -> List[Buffer]:
    """Build the frame of one large outcome."""
    parts = [RECORD.pack(record.size, record.kind), *record.parts]
    return encode_outcomes(task, place, 1, seconds, last, parts, record.kind & BUFFERS)


def encode_outcome(task: int, record: Record, seconds: float) -> List[Buffer]:
    """Build the frame of the only outcome of a call."""
    if isinstance(record, LargeRecord):
        return encode_large_outcome(task, 0, seconds, True, record)
    return [encode_frame(ITEMS_DONE, 0, task, _outcomes_head(0, 1, seconds, True) + record)]


def _outcomes_head(first: int, count: int, seconds: float, last: bool) -> bytes:
    return _OUTCOMES.pack(first, count, min(int(seconds * 1e6), 0xFFFFFFFF), last)


def decode_outcomes(frame: Frame, leases: Optional[Leases] = None, read: Optional[ReadRecords] = None) -> ItemsDone:
    """Read the frame that `encode_outcomes` built; its records with `read`, by default `read_records`."""
    view = memoryview(frame.body)
    first, count, microseconds, last = _OUTCOMES.unpack_from(view)
    outcomes = (read or read_records)(view[_OUTCOMES.size :], leases)
    if len(outcomes) != count:
        raise ProtocolError("{} outcomes are announced, and {} have come".format(count, len(outcomes)))
    return ItemsDone(frame.number, first, outcomes, microseconds / 1e6, bool(last))


def read_records(view: memoryview, leases: Optional[Leases] = None) -> List[Outcome]:
    """Read records that follow each other.

    Args:
        view: Their bytes.
        leases: The worker's arena.
    Raises:
        ProtocolError: they are not records of ours.
    """
    try:
        return _read_numbers(view) or _read_any(view, leases)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError("an outcome is malformed: {!r}".format(error)) from error


def _read_any(view: memoryview, leases: Optional[Leases]) -> List[Outcome]:
    outcomes: List[Outcome] = []
    position, end = 0, len(view)
    unpack, loads = RECORD.unpack_from, _loads
    while position < end:
        if end - position < RECORD_BYTES:
            raise ProtocolError("an outcome is cut off")
        size, kind = unpack(view, position)
        position += RECORD_BYTES
        blob = view[position : position + size]
        position += size
        if position > end:
            raise ProtocolError("an outcome is cut off")
        if kind == _PLAIN_VALUE and size < NO_ARRAY_BYTES:
            outcomes.append(loads(blob))
        else:
            outcomes.append(_outcome(kind, blob, leases))
    return outcomes


def _read_numbers(view: memoryview) -> List[Outcome]:
    """Read records that are all of one kind of numbers; nothing when they are something else."""
    if len(view) < RECORD_BYTES:
        return []
    _, wanted = RECORD.unpack_from(view)
    record = _NUMBER_RECORDS.get(wanted)
    if record is None or len(view) % record.size:
        return []
    numbers: List[Outcome] = [
        value for size, kind, value in record.iter_unpack(view) if kind == wanted and size == _NUMBER_BYTES
    ]
    return numbers if len(numbers) * record.size == len(view) else []


def _outcome(kind: int, blob: memoryview, leases: Optional[Leases]) -> Outcome:
    if kind & VALUE:
        if kind & BUFFERS and blob.readonly:  # arrays are rebuilt over what is in it: they must be writable
            blob = memoryview(bytearray(blob))
        packed = open_body(kind, blob, leases)
        if kind & PLAIN:
            try:
                return packed.load()
            except Exception:  # noqa: BLE001 - another numpy there: whoever opens it fails that one with the reason
                return ItemUnopened(packed)
        return ItemUnopened(packed.claimed())
    if kind in _NUMBER_RECORDS:
        return struct.unpack("<q" if kind == INT else "<d", blob)[0]
    if kind == RAISED:
        return ItemRaised(*_loads(blob))
    if kind == CANCELED:
        return ItemCanceled()
    raise ProtocolError("unknown outcome {}".format(kind))
