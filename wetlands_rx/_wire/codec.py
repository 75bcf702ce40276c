"""Messages to frames and back, for both sides. Beyond `decode` nobody sees a dictionary or a raw frame."""

from __future__ import annotations

import pickle
import struct
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.arrays import NO_ARRAY_BYTES
from wetlands_rx._wire.bodies import SharedParts, open_body
from wetlands_rx._wire.frames import BUFFERS, PLAIN, Buffer, Frame, encode_frame, encode_header
from wetlands_rx._wire.items import ITEMS, ITEMS_DONE, decode_items, decode_outcomes
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import (
    CallFunction,
    CancelAcknowledged,
    CancelTask,
    Configure,
    Down,
    Exit,
    Finished,
    FinishedUnopened,
    Hello,
    Keywords,
    Logged,
    OutputSet,
    OutputUnopened,
    Raised,
    Recall,
    Recalled,
    RunScript,
    Up,
    Updated,
)
from wetlands_rx._wire.packing import PLAIN_PICKLE, CopyBuffer, body_for_now, copied, packed_copy, weight
from wetlands_rx._wire.target import FunctionValue, encoded_target, encoded_value, target_of
from wetlands_rx._wire.values import is_plain
from wetlands_rx.exceptions import ProtocolError

PROTOCOL_VERSION = 4

CALL, SCRIPT, CANCEL, CONFIGURE, EXIT, RECALL = 1, 2, 3, 4, 5, 6
HELLO, RESULT, ERROR, CANCELED, UPDATES, OUTPUT, LOG, RECALLED = 16, 17, 18, 19, 20, 21, 22, 23

_LENGTH = struct.Struct("<I")
_SMALL_BYTES = 65536
_SCALARS = frozenset((type(None), bool, int, float, str))
_dumps, _loads = pickle.dumps, pickle.loads
_Arena = Optional[Leases]


def encode_call(
    task: int,
    path: str,
    function: str,
    args: Tuple[Any, ...],
    kwargs: Keywords,
    copy: CopyBuffer = copied,
    arena: Optional[Arena] = None,
    value: Optional[FunctionValue] = None,
) -> Tuple[Buffer, ...]:
    """Pickle a call, now: the caller may change its arguments as soon as this returns.

    Args:
        task: Its number.
        path: The file; empty for a function that has none.
        function: The name in it; without a file `"module:name"`, or how it is called in reports.
        args: Positional arguments.
        kwargs: Keyword arguments.
        copy: Copies a large buffer.
        arena: Where arrays go, if there is room.
        value: The function itself.
    Returns:
        The frame; `SharedParts` when something went to the arena.
    Raises:
        Exception: whatever the arguments' own pickling raises.
    """
    # A tuple, for the garbage collector leaves those of bytes alone, and many may wait.
    # The target stands before the arguments, so that those which cannot be loaded still have an address.
    target = encoded_target(path, function) if value is None else encoded_value(function, value)
    heaviest = max(weight(args), weight(kwargs.values())) if kwargs else weight(args)
    if heaviest == PLAIN_PICKLE:
        return (encode_frame(CALL, 0, task, target + _dumps((args, kwargs), 5)),)
    body = packed_copy((args, kwargs), heaviest, copy, arena)
    if not body.flags:
        return (encode_frame(CALL, 0, task, target + bytes(body.parts[0])),)
    parts = (encode_header(CALL, body.flags, task, len(target) + body.size), target, *body.parts)
    return SharedParts(parts, body.blocks) if body.blocks else parts


def encode_script(task: int, path: str, args: Sequence[str], run_name: str) -> List[Buffer]:
    """Build the frame that runs a script."""
    return [encode_frame(SCRIPT, 0, task, _dumps((path, tuple(args), run_name), 5))]


def encode_cancel(task: int) -> bytes:
    """Build the frame that asks a task to stop."""
    return encode_frame(CANCEL, 0, task)


def encode_exit() -> bytes:
    """Build the frame that ends a worker."""
    return encode_frame(EXIT, 0, 0)


def encode_configure(environment: str, index: int, id_base: int, preload: Sequence[str] = ()) -> bytes:
    """Build a worker's first frame."""
    return encode_frame(CONFIGURE, 0, 0, _dumps((environment, index, id_base, tuple(preload)), 5))


def encode_hello(python: Tuple[int, int, int], pid: int) -> bytes:
    """Build a worker's first answer."""
    return encode_frame(HELLO, 0, 0, _dumps((PROTOCOL_VERSION, python, pid, pickle.HIGHEST_PROTOCOL), 4))


def encode_recall() -> bytes:
    """Build the frame that asks a worker for the calls it has not begun."""
    return encode_frame(RECALL, 0, 0)


def encode_recalled(tasks: Sequence[int], running: int = 0, left: int = 0) -> bytes:
    """Build the answer to a recall; `left` are the items that the running call has not begun and gives back."""
    return encode_frame(RECALLED, 0, 0, _dumps((tuple(tasks), running, left), 4))


def encode_result(task: int, value: Any, seconds: float = 0.0, arena: Optional[Arena] = None) -> List[Buffer]:
    """Build the frame of a result, and of how long the function ran.

    What goes to the arena belongs to who receives the frame.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    took = _LENGTH.pack(min(int(seconds * 1e6), 0xFFFFFFFF))
    if type(value) in _SCALARS:
        return [encode_frame(RESULT, PLAIN, task, took + _dumps(value, 5))]
    return _value_frame(RESULT, task, value, is_plain(value), took, arena)


def encode_output(task: int, key: str, value: Any, arena: Optional[Arena] = None) -> List[Buffer]:
    """Build the frame of an intermediate output; as `encode_result`."""
    return _value_frame(OUTPUT, task, (key, value), is_plain(value), b"", arena)


def encode_updates(task: int, updates: Sequence[Tuple[Any, Any, Any]]) -> bytes:
    """Build one frame of many updates `(message, current, maximum)`."""
    return encode_frame(UPDATES, PLAIN, task, _dumps(updates, 5))


def encode_error(task: int, error: str, traceback: Sequence[str], remote_type: str, kind: str, *optional: Any) -> bytes:
    """Build the frame of a failure; all of it, also what is optional, as in `Raised`."""
    return encode_frame(ERROR, PLAIN, task, _dumps((error, tuple(traceback), remote_type, kind, *optional), 5))


def encode_canceled(task: int) -> bytes:
    """Build the frame of an acknowledged cancel."""
    return encode_frame(CANCELED, 0, task)


def encode_log(task: int, level: int, text: str) -> bytes:
    """Build the frame of a log record."""
    return encode_frame(LOG, PLAIN, task, _dumps((level, text), 5))


def _value_frame(kind: int, task: int, value: Any, plain: bool, before: bytes, arena: Optional[Arena]) -> List[Buffer]:
    flags, parts, size, _ = body_for_now(value, arena)
    if plain:
        flags |= PLAIN
    if not flags & BUFFERS and size < _SMALL_BYTES:
        return [encode_frame(kind, flags, task, before + b"".join(parts))]
    return [encode_header(kind, flags, task, len(before) + size), before, *parts]


def decode_up(frame: Frame, leases: Optional[Leases] = None) -> List[Up]:
    """Read a worker's frame: one message, or several for a batch of updates.

    Args:
        frame: The frame.
        leases: The worker's arena.
    Raises:
        ProtocolError: the frame is malformed or of an unknown kind.
    """
    try:
        decoder = _UP[frame.kind]
    except KeyError:
        raise ProtocolError("unknown message {} from a worker".format(frame.kind)) from None
    try:
        return decoder(frame, leases)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError("malformed message {} from a worker: {!r}".format(frame.kind, error)) from error


def _decode_result(frame: Frame, leases: _Arena) -> List[Up]:
    body = memoryview(frame.body)
    seconds = _LENGTH.unpack_from(body)[0] / 1e6
    if frame.flags == PLAIN and len(body) < NO_ARRAY_BYTES:
        return [Finished(frame.number, _loads(body[4:]), seconds)]
    packed = open_body(frame.flags, body[4:], leases)
    if frame.flags & PLAIN:
        try:
            return [Finished(frame.number, packed.load(), seconds)]
        except Exception:  # noqa: BLE001 - another numpy there: whoever opens it fails that one task with the reason
            return [FinishedUnopened(frame.number, packed.claimed(), seconds)]
    return [FinishedUnopened(frame.number, packed.claimed(), seconds)]


def _decode_updates(frame: Frame, leases: _Arena) -> List[Up]:
    number = frame.number
    return [Updated(number, message, current, maximum) for message, current, maximum in _loads(frame.body)]


def _decode_output(frame: Frame, leases: _Arena) -> List[Up]:
    packed = open_body(frame.flags, frame.body, leases)
    if frame.flags & PLAIN:
        try:
            key, value = packed.load()
            return [OutputSet(frame.number, key, value)]
        except Exception:  # noqa: BLE001 - as for a result
            return [OutputUnopened(frame.number, packed)]
    return [OutputUnopened(frame.number, packed.claimed())]


def _decode_error(frame: Frame, leases: _Arena) -> List[Up]:
    return [Raised(frame.number, *_loads(frame.body))]


def _decode_canceled(frame: Frame, leases: _Arena) -> List[Up]:
    return [CancelAcknowledged(frame.number)]


def _decode_log(frame: Frame, leases: _Arena) -> List[Up]:
    level, text = _loads(frame.body)
    return [Logged(frame.number, level, text)]


def _decode_hello(frame: Frame, leases: _Arena) -> List[Up]:
    protocol, python, pid, pickle_protocol = _loads(frame.body)
    return [Hello(protocol, python, pid, pickle_protocol)]


def _decode_recalled(frame: Frame, leases: _Arena) -> List[Up]:
    calls, running, left = _loads(frame.body)
    return [Recalled(calls, running, left)]


_UP: Dict[int, Callable[[Frame, _Arena], List[Up]]] = {
    RESULT: _decode_result,
    UPDATES: _decode_updates,
    OUTPUT: _decode_output,
    ERROR: _decode_error,
    CANCELED: _decode_canceled,
    LOG: _decode_log,
    HELLO: _decode_hello,
    RECALLED: _decode_recalled,
    ITEMS_DONE: lambda frame, leases: [decode_outcomes(frame, leases)],
}


def decode_down(frame: Frame, leases: Optional[Leases] = None) -> Down:
    """Read the caller's frame.

    Args:
        frame: The frame.
        leases: The caller's arena.
    Raises:
        ProtocolError: the frame is malformed or of an unknown kind.
    """
    try:
        decoder = _DOWN[frame.kind]
    except KeyError:
        raise ProtocolError("unknown message {} from the caller".format(frame.kind)) from None
    try:
        return decoder(frame, leases)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError("malformed message {} from the caller: {!r}".format(frame.kind, error)) from error


def _decode_call(frame: Frame, leases: _Arena) -> Down:
    body = memoryview(frame.body)
    path, function, value, end = target_of(body)
    return CallFunction(frame.number, path, function, open_body(frame.flags, body[end:], leases), value)


def _decode_script(frame: Frame, leases: _Arena) -> Down:
    path, args, run_name = _loads(frame.body)
    return RunScript(frame.number, path, args, run_name)


def _decode_configure(frame: Frame, leases: _Arena) -> Down:
    environment, index, id_base, preload = _loads(frame.body)
    return Configure(environment, index, id_base, preload)


_DOWN: Dict[int, Callable[[Frame, _Arena], Down]] = {
    CALL: _decode_call,
    ITEMS: decode_items,
    CANCEL: lambda frame, leases: CancelTask(frame.number),
    SCRIPT: _decode_script,
    CONFIGURE: _decode_configure,
    EXIT: lambda frame, leases: Exit(),
    RECALL: lambda frame, leases: Recall(),
}
