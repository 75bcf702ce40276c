"""Messages to frames and back, in both directions."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import BUFFERS, PLAIN, Buffer, Frame, FrameDecoder, join
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
from wetlands_rx._wire.target import FunctionValue
from wetlands_rx.exceptions import ProtocolError

TASK = 4711


def frame_of(parts: Sequence[Buffer] | bytes) -> Frame:
    data = parts if isinstance(parts, bytes) else join(parts)
    decoder = FrameDecoder()
    while data:
        room = decoder.writable()
        size = min(len(room), len(data))
        room[:size] = data[:size]
        frames = decoder.received(size)
        data = data[size:]
        if frames:
            assert not data
            return frames[0]
    raise AssertionError("no whole frame")


def up(parts: Sequence[Buffer] | bytes) -> list[Up]:
    return codec.decode_up(frame_of(parts))


def down(parts: Sequence[Buffer] | bytes) -> Down:
    return codec.decode_down(frame_of(parts))


def test_a_function_by_value_travels_before_its_arguments() -> None:
    value = FunctionValue(b"\0code\xff" * 1000, "/sömewhere", "/library")
    call = down(codec.encode_call(TASK, "", "a.py:<lambda>", (1,), {"two": 2}, value=value))
    assert isinstance(call, CallFunction)
    assert (call.path, call.function, call.value) == ("", "a.py:<lambda>", value)
    assert call.packed.load() == ((1,), {"two": 2})
    array = np.arange(10_000.0)
    call = down(codec.encode_call(TASK, "", "a.py:<lambda>", (array,), {}, value=value))
    assert isinstance(call, CallFunction)
    assert call.value == value
    np.testing.assert_array_equal(call.packed.load()[0][0], array)


def test_a_function_that_is_cut_off_is_refused() -> None:
    whole = frame_of(codec.encode_call(TASK, "", "f", (), {}, value=FunctionValue(b"code" * 10, "", "")))
    with pytest.raises(ProtocolError):
        codec.decode_down(whole._replace(body=bytes(whole.body[:40])))


# --- Down


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, "two", [3.0]), {"four": None}), ((b"x" * 300_000,), {}), (({1, 2},), {"task": "mine"})],
)
def test_a_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    call = down(codec.encode_call(TASK, "/some/där.py", "Class.method", args, kwargs))
    assert isinstance(call, CallFunction)
    assert (call.task, call.path, call.function) == (TASK, "/some/där.py", "Class.method")
    assert call.packed.load() == (args, kwargs)


@pytest.mark.parametrize("size", [1, 5000, 500_000])
def test_the_arrays_of_a_call_are_copied_at_once_and_arrive_writable(size: int) -> None:
    array = np.arange(size)
    parts = codec.encode_call(TASK, "/a.py", "f", (array,), {"again": array})
    expected = array.copy()
    array[:] = -1
    call = down(parts)
    assert isinstance(call, CallFunction)
    args, kwargs = call.packed.load()
    np.testing.assert_array_equal(args[0], expected)
    assert args[0].flags.writeable
    assert kwargs["again"] is args[0]


def test_a_call_has_an_address_even_when_its_arguments_cannot_be_loaded() -> None:
    call = down(codec.encode_call(TASK, "/a.py", "f", (Unloadable(),), {}))
    assert isinstance(call, CallFunction)
    assert (call.path, call.function) == ("/a.py", "f")
    with pytest.raises(ZeroDivisionError):
        call.packed.load()


class Unloadable:
    def __reduce__(self) -> tuple[Any, tuple[int, int]]:
        return divmod, (1, 0)


class Unpicklable:
    def __reduce__(self) -> str:
        raise ZeroDivisionError("not me")


def test_a_call_that_cannot_be_pickled_raises_what_the_pickling_raises() -> None:
    with pytest.raises(ZeroDivisionError, match="not me"):
        codec.encode_call(TASK, "/a.py", "f", (Unpicklable(),), {})


def test_the_other_messages_to_a_worker() -> None:
    assert down(codec.encode_script(TASK, "/s.py", ["--fast", "1"], "__main__")) == RunScript(
        TASK, "/s.py", ("--fast", "1"), "__main__"
    )
    assert down(codec.encode_cancel(TASK)) == CancelTask(TASK)
    assert down(codec.encode_configure("env", 3, 2**127)) == Configure("env", 3, 2**127)
    assert down(codec.encode_exit()) == Exit()
    assert down([codec.encode_recall()]) == Recall()


@pytest.mark.parametrize("kind", [0, 8, 15, codec.HELLO, codec.RESULT, 255])
def test_a_worker_refuses_what_it_does_not_know(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"unknown message {kind} from the caller"):
        codec.decode_down(Frame(kind, 0, TASK, b""))


@pytest.mark.parametrize("kind", [codec.CALL, codec.SCRIPT, codec.CONFIGURE])
@pytest.mark.parametrize("flags", [0, BUFFERS])
@pytest.mark.parametrize("body", [b"", b"garbage", pickle.dumps(None), pickle.dumps((1, 2, 3, 4, 5))])
def test_a_worker_refuses_what_is_malformed(kind: int, flags: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.decode_down(Frame(kind, flags, TASK, body))


# --- Up


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", "\ud800", b"bytes", (1, 2), {"a": [1]}, "x" * 500_000])
def test_a_plain_result_is_opened_at_once(value: Any) -> None:
    plain = not isinstance(value, dict)
    (message,) = up(codec.encode_result(TASK, value))
    if plain:
        assert message == Finished(TASK, value)
    else:
        assert isinstance(message, FinishedUnopened)
        assert message.packed.load() == value


@pytest.mark.parametrize("size", [0, 10, 9000, 500_000])
def test_an_array_arrives_opened_and_writable(size: int) -> None:
    array = np.arange(size)
    (message,) = up(codec.encode_result(TASK, array))
    assert isinstance(message, Finished)
    np.testing.assert_array_equal(message.value, array)
    assert message.value.flags.writeable


def test_a_result_of_a_users_class_is_left_for_a_delivery_thread() -> None:
    (message,) = up(codec.encode_result(TASK, Unloadable()))
    assert isinstance(message, FinishedUnopened)
    with pytest.raises(ZeroDivisionError):
        message.packed.load()


@pytest.mark.parametrize(("size", "flags"), [(3, PLAIN), (3000, BUFFERS | PLAIN)])
def test_an_array_that_cannot_be_built_here_is_left_too(size: int, flags: int) -> None:
    frame = frame_of(codec.encode_result(TASK, np.arange(size)))
    assert frame.flags == flags
    body = bytes(frame.body).replace(b"rebuilt", b"rebuild")
    (message,) = codec.decode_up(frame._replace(body=body))
    assert isinstance(message, FinishedUnopened)


@pytest.mark.parametrize(
    ("value", "opened"), [(3, True), (np.arange(3), True), ({"a": 1}, True), ({1}, False), ([[1]], False)]
)
def test_an_output(value: Any, opened: bool) -> None:
    (message,) = up(codec.encode_output(TASK, "kéy", value))
    if opened:
        assert isinstance(message, OutputSet)
        key, back = message.key, message.value
    else:
        assert isinstance(message, OutputUnopened)
        key, back = message.packed.load()
    assert (message.task, key) == (TASK, "kéy")
    np.testing.assert_array_equal(back, value)


def test_what_cannot_be_pickled_raises_what_the_pickling_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        codec.encode_result(TASK, Unpicklable())
    with pytest.raises(ZeroDivisionError):
        codec.encode_output(TASK, "key", Unpicklable())


def test_updates_share_a_frame() -> None:
    updates: list[tuple[Any, Any, Any]] = [("a", 1, 10), (None, 2.5, None), ("\n%s", None, None)]
    assert up(codec.encode_updates(TASK, updates)) == [Updated(TASK, *update) for update in updates]
    assert up(codec.encode_updates(TASK, [])) == []


def test_the_other_messages_of_a_worker() -> None:
    assert up(codec.encode_error(TASK, "ValueError: no", ["Traceback", "no"], "builtins.ValueError", "raised")) == [
        Raised(TASK, "ValueError: no", ("Traceback", "no"), "builtins.ValueError", "raised")
    ]
    optional = ("m.E", "no", None, (), None, None, False, ()), b"pickle", "args[0]", "m.Lock"
    assert up(codec.encode_error(TASK, "E: no", [], "m.E", "serialization", *optional)) == [
        Raised(TASK, "E: no", (), "m.E", "serialization", *optional)
    ]
    assert up([codec.encode_recalled([3, 2**40])]) == [Recalled((3, 2**40))]
    assert up(codec.encode_result(TASK, 1, 2.5)) == [Finished(TASK, 1, 2.5)]
    assert up(codec.encode_result(TASK, 1, 1e9)) == [Finished(TASK, 1, 4294.967295)]  # more than an hour is long
    assert up(codec.encode_canceled(TASK)) == [CancelAcknowledged(TASK)]
    assert up(codec.encode_log(TASK, logging.WARNING, "100 %")) == [Logged(TASK, logging.WARNING, "100 %")]
    assert up(codec.encode_hello((3, 8, 20), 4711)) == [
        Hello(codec.PROTOCOL_VERSION, (3, 8, 20), 4711, pickle.HIGHEST_PROTOCOL)
    ]


@pytest.mark.parametrize("kind", [0, 1, 15, 25, 255])
def test_an_unknown_message_is_an_error(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"unknown message {kind} from a worker"):
        codec.decode_up(Frame(kind, 0, TASK, b""))


@pytest.mark.parametrize("kind", [codec.HELLO, codec.RESULT, codec.ERROR, codec.UPDATES, codec.OUTPUT, codec.LOG])
@pytest.mark.parametrize("body", [b"", b"garbage", pickle.dumps(3)])
def test_a_malformed_message_is_an_error_or_left_unopened(kind: int, body: bytes) -> None:
    if kind == codec.RESULT and body[:1] == b"\x80":
        body = b"\0\0\0\0" + body
        assert isinstance(codec.decode_up(Frame(kind, PLAIN, TASK, body))[0], Finished)
        return
    try:
        messages = codec.decode_up(Frame(kind, PLAIN, TASK, body))
    except ProtocolError:
        return
    assert kind == codec.OUTPUT
    assert isinstance(messages[0], OutputUnopened)


@pytest.mark.parametrize("kind", [codec.RESULT, codec.OUTPUT])
def test_a_value_whose_buffers_are_cut_off_is_an_error(kind: int) -> None:
    frame = frame_of(codec.encode_result(TASK, np.arange(3000)))
    with pytest.raises(ProtocolError):
        codec.decode_up(frame._replace(kind=kind, body=bytes(frame.body)[:-1]))
