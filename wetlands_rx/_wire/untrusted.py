"""Messages of a worker that is not trusted: what `codec.decode_up` and `items.read_records` are for the others.

No pickle of its comes to Python's own loader, nor is anything believed that a frame says of it. What the messages say
is looked at before anybody acts on it: whatever is not as it should be ends in a `ProtocolError`, hence with the
worker. A value that is refused fails its task alone, so it is left to whoever opens it.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any, Callable, Dict, List, Optional, Tuple

from wetlands_rx._wire import codec
from wetlands_rx._wire.arrays import kind_of
from wetlands_rx._wire.bodies import open_body
from wetlands_rx._wire.frames import BUFFERS, Buffer, Frame
from wetlands_rx._wire.items import (
    CANCELED,
    FLOAT,
    INT,
    ITEMS_DONE,
    RAISED,
    RECORD,
    VALUE,
    decode_outcomes,
)
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    Hello,
    ItemCanceled,
    ItemRaised,
    ItemUnopened,
    Logged,
    Outcome,
    OutputSet,
    OutputUnopened,
    Raised,
    Recalled,
    Up,
    Updated,
)
from wetlands_rx._wire.safe import loads
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import ProtocolError

_SOON_BYTES = 4096
"""A larger pickle is not loaded on the reader thread."""
_SECONDS = struct.Struct("<I")
_KINDS_OF_FAILURE = frozenset(("raised", "lookup", "serialization"))
_PROGRESS = frozenset((type(None), int, float))
_MOST_BITS = 1000
"""Of progress: shares are counted with `float`."""
_MOST_LEVEL = 1 << 20
_TEXT_OR_NONE = frozenset((type(None), str))
_MOST_REMOTE = 5000
_DEEPEST_REMOTE = 64
_MOST_NUMBER = (1 << 64) - 1
_Leases = Optional[Leases]


class PlainPacked(Packed):
    """A pickled value of somebody who is not trusted: it is plain data, or it is refused."""

    __slots__ = ()
    trusted = False

    def claimed(self) -> Packed:
        """The same: it refers to no other memory, whatever it says."""
        return self

    def _loaded(self) -> Any:
        return loads(self.pickle, self.buffers)


def _open(flags: int, body: Buffer, leases: _Leases) -> PlainPacked:
    if flags & BUFFERS and memoryview(body).readonly:
        body = memoryview(bytearray(body))  # arrays are rebuilt over what is in it: they must be writable
    packed = open_body(flags, body, leases)
    return PlainPacked(packed.pickle, packed.buffers, packed.blocks)


def _opened_soon(packed: PlainPacked) -> Tuple[bool, Any]:
    """Whether it is small, and good; and then what it is."""
    if len(packed.pickle) <= _SOON_BYTES:
        with contextlib.suppress(Exception):  # whoever opens it fails that one task with the reason
            return True, packed.load()
    return False, None


def decode_up(frame: Frame, leases: _Leases = None) -> List[Up]:
    """Read a worker's frame; as `codec.decode_up`.

    Args:
        frame: The frame.
        leases: The worker's arena.
    Raises:
        ProtocolError: the frame is malformed, of an unknown kind, or holds anything but plain data.
    """
    decoder = _UP.get(frame.kind)
    if decoder is None:
        raise ProtocolError("unknown message {} from a worker".format(frame.kind))
    try:
        return decoder(frame, leases)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError("malformed message {} from a worker: {!r}".format(frame.kind, error)) from error


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolError("{} from a worker is not as it should be".format(what))


def _parts(frame: Frame, what: str, count: int) -> Tuple[Any, ...]:
    found = loads(frame.body)
    _require(kind_of(found) is tuple and len(found) == count, what)
    return tuple(found)


def _are(kind: type, values: Any) -> bool:
    return all(type(value) is kind for value in values)


def _are_numbers(values: Any) -> bool:
    return all(type(value) is int and 0 <= value <= _MOST_NUMBER for value in values)


# --- values


def _decode_result(frame: Frame, leases: _Leases) -> List[Up]:
    body = memoryview(frame.body)
    seconds = _SECONDS.unpack_from(body)[0] / 1e6
    packed = _open(frame.flags, body[_SECONDS.size :], leases)
    good, value = _opened_soon(packed)
    return [Finished(frame.number, value, seconds) if good else FinishedUnopened(frame.number, packed, seconds)]


def _decode_output(frame: Frame, leases: _Leases) -> List[Up]:
    packed = _open(frame.flags, frame.body, leases)
    good, value = _opened_soon(packed)
    if not good:
        return [OutputUnopened(frame.number, packed)]
    _require(kind_of(value) is tuple and len(value) == 2 and type(value[0]) is str, "an output")
    return [OutputSet(frame.number, *value)]


def _decode_items_done(frame: Frame, leases: _Leases) -> List[Up]:
    return [decode_outcomes(frame, leases, read_records)]


def read_records(view: memoryview, leases: _Leases = None) -> List[Outcome]:
    """Read records that follow each other; as `items.read_records`.

    Args:
        view: Their bytes.
        leases: The worker's arena.
    Raises:
        ProtocolError: they are not records of ours.
    """
    try:
        return _records(view, leases)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError("an outcome is malformed: {!r}".format(error)) from error


def _records(view: memoryview, leases: _Leases) -> List[Outcome]:
    outcomes: List[Outcome] = []
    position, end = 0, len(view)
    while position < end:
        size, kind = RECORD.unpack_from(view, position)
        position += RECORD.size
        if size > end - position:
            raise ProtocolError("an outcome is cut off")
        outcomes.append(_outcome(kind, view[position : position + size], leases))
        position += size
    return outcomes


def _outcome(kind: int, blob: memoryview, leases: _Leases) -> Outcome:
    if kind & VALUE:
        packed = _open(kind, blob, leases)
        good, value = _opened_soon(packed)
        return value if good else ItemUnopened(packed)
    if kind in (INT, FLOAT):
        return struct.unpack("<q" if kind == INT else "<d", blob)[0]
    if kind == RAISED:
        return ItemRaised(*_failure(loads(blob)))
    if kind == CANCELED:
        return ItemCanceled()
    raise ProtocolError("unknown outcome {}".format(kind))


# --- failures


def _decode_error(frame: Frame, leases: _Leases) -> List[Up]:
    return [Raised(frame.number, *_failure(loads(frame.body)))]


def _failure(told: Any) -> Tuple[Any, ...]:
    """The fields of a failure, without the exception's own pickle: it is never rebuilt."""
    what = "a failure"
    _require(kind_of(told) is tuple and 4 <= len(told) <= 8, what)
    optional: Tuple[Any, ...] = (None, b"", "", "")
    fields: Tuple[Any, ...] = tuple(told) + optional[len(told) - 4 :]
    error, traceback, remote_type, kind, remote, original, path, type_name = fields
    _require(_are(str, (error, remote_type, path, type_name)) and type(original) is bytes, what)
    _require(kind_of(traceback) is tuple and _are(str, traceback) and kind in _KINDS_OF_FAILURE, what)
    _Remote().look_at(remote)
    return error, traceback, remote_type, kind, remote, b"", path, type_name


class _Remote:
    """Looks at the tuples that become a `RemoteException`, each as often as it will be read."""

    def __init__(self) -> None:
        self._seen = 0

    def look_at(self, plain: Any, depth: int = 0) -> None:
        if plain is None:
            return
        what = "an exception"
        self._seen += 1
        _require(self._seen <= _MOST_REMOTE and depth <= _DEEPEST_REMOTE, what)
        _require(kind_of(plain) is tuple and len(plain) == 8, what)
        type_name, message, traceback, notes, cause, context, suppress_context, exceptions = plain
        _require(_are(str, (type_name, message)) and type(suppress_context) is bool, what)
        _require(traceback is None or (kind_of(traceback) is tuple and _are(str, traceback)), what)
        _require(kind_of(notes) is tuple and _are(str, notes) and kind_of(exceptions) is tuple, what)
        for other in (cause, context, *exceptions):
            self.look_at(other, depth + 1)


# --- the rest


def _decode_updates(frame: Frame, leases: _Leases) -> List[Up]:
    number, what = frame.number, "an update"
    updates = loads(frame.body)
    _require(kind_of(updates) in (list, tuple), what)
    messages: List[Up] = []
    for update in updates:
        _require(kind_of(update) is tuple and len(update) == 3, what)
        message, current, maximum = update
        _require(kind_of(message) in _TEXT_OR_NONE and _is_progress(current) and _is_progress(maximum), what)
        messages.append(Updated(number, message, current, maximum))
    return messages


def _is_progress(value: Any) -> bool:
    return kind_of(value) in _PROGRESS and (type(value) is not int or value.bit_length() <= _MOST_BITS)


def _decode_canceled(frame: Frame, leases: _Leases) -> List[Up]:
    return [CancelAcknowledged(frame.number)]


def _decode_log(frame: Frame, leases: _Leases) -> List[Up]:
    level, text = _parts(frame, "a log record", 2)
    _require(type(level) is int and abs(level) <= _MOST_LEVEL and type(text) is str, "a log record")
    return [Logged(frame.number, level, text)]


def _decode_hello(frame: Frame, leases: _Leases) -> List[Up]:
    protocol, python, pid, pickle_protocol = _parts(frame, "a hello", 4)
    _require(_are_numbers((protocol, pid, pickle_protocol)), "a hello")
    _require(kind_of(python) is tuple and len(python) == 3 and _are_numbers(python), "a hello")
    return [Hello(protocol, python, pid, pickle_protocol)]


def _decode_recalled(frame: Frame, leases: _Leases) -> List[Up]:
    calls, running, left = _parts(frame, "a recall", 3)
    _require(kind_of(calls) is tuple and _are_numbers((*calls, running, left)), "a recall")
    return [Recalled(calls, running, left)]


_UP: Dict[int, Callable[[Frame, _Leases], List[Up]]] = {
    codec.RESULT: _decode_result,
    codec.UPDATES: _decode_updates,
    codec.OUTPUT: _decode_output,
    codec.ERROR: _decode_error,
    codec.CANCELED: _decode_canceled,
    codec.LOG: _decode_log,
    codec.HELLO: _decode_hello,
    codec.RECALLED: _decode_recalled,
    ITEMS_DONE: _decode_items_done,
}
