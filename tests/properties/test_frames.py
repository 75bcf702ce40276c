"""Frames, whatever happens to them on the way."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import Frame, FrameDecoder, encode_frame, join
from wetlands_rx._wire.messages import CallFunction, Finished, FinishedUnopened
from wetlands_rx._wire.target import FunctionValue
from wetlands_rx._wire.values import is_plain
from wetlands_rx.exceptions import ProtocolError

FRAMES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**64 - 1), st.binary(max_size=300)),
    max_size=8,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=10,
)


# This opcode of pickle makes room for a memo entry of any number, up to 64 GB, before anything can refuse.
LONG_BINPUT = b"r"


def feed(decoder: FrameDecoder, data: bytes, sizes: list[int]) -> list[Frame]:
    frames: list[Frame] = []
    wanted = iter(sizes)
    while data:
        room = decoder.writable()
        assert len(room) > 0, "the decoder must always take more"
        size = min(next(wanted, len(data)), len(room), len(data))
        room[:size] = data[:size]
        frames += decoder.received(size)
        data = data[size:]
    return frames


@given(FRAMES, st.lists(st.integers(1, 200)), st.integers(24, 400))
def test_frames_come_out_as_they_went_in_whatever_the_pieces_and_the_buffer(
    frames: list[tuple[int, int, int, bytes]], sizes: list[int], buffer_bytes: int
) -> None:
    decoder = FrameDecoder(buffer_bytes)
    received = feed(decoder, b"".join(encode_frame(*frame) for frame in frames), sizes)
    assert [(frame.kind, frame.flags, frame.number, bytes(frame.body)) for frame in received] == frames
    assert decoder.at_boundary()


@given(FRAMES, st.integers(0), st.binary(min_size=1, max_size=40), st.lists(st.integers(1, 200)))
def test_mutated_frames_end_in_frames_or_a_protocol_error(
    frames: list[tuple[int, int, int, bytes]], place: int, garbage: bytes, sizes: list[int]
) -> None:
    stream = b"".join(encode_frame(*frame) for frame in frames)
    place %= len(stream) + 1
    mutated = stream[:place] + garbage + stream[place + len(garbage) :]
    try:
        received = feed(FrameDecoder(), mutated, sizes)
    except ProtocolError:
        return
    assert len(received) <= len(mutated) // 24


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=200))
def test_any_frame_decodes_to_messages_or_a_protocol_error(kind: int, flags: int, body: bytes) -> None:
    frame = Frame(kind, flags, 1, body.replace(LONG_BINPUT, b""))
    for decode in (codec.decode_up, codec.decode_down):
        with contextlib.suppress(ProtocolError):
            decode(frame)


ENCODED = st.sampled_from(
    [
        join(codec.encode_call(1, "/a.py", "f", (1, "two"), {"three": [3.0]})),
        join(codec.encode_call(1, "", "f", (1,), {}, value=FunctionValue(b"code", "/folder", "/library"))),
        join(codec.encode_script(1, "/s.py", ["a"], "__main__")),
        codec.encode_configure("env", 0, 2**100),
        codec.encode_hello((3, 11, 0), 4711),
        join(codec.encode_result(1, {"a": [1, 2.0, None]})),
        join(codec.encode_output(1, "key", (b"bytes", "text"))),
        codec.encode_updates(1, [("a", 1, 2), (None, None, None)]),
        codec.encode_error(1, "ValueError: no", ["Traceback"], "builtins.ValueError", "raised"),
        codec.encode_log(1, 20, "text"),
    ]
)


@given(ENCODED, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 8))
def test_messages_whose_body_was_mutated_decode_or_are_a_protocol_error(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    frame = feed(FrameDecoder(), data, [])[0]
    body = bytearray(frame.body)
    for place, value in changes:
        if body:
            body[place % len(body)] = value
    mutated = frame._replace(body=bytes(body[: len(body) - cut]).replace(LONG_BINPUT, b""))
    for decode in (codec.decode_up, codec.decode_down):
        with contextlib.suppress(ProtocolError):
            decode(mutated)


WORDS = st.text(st.characters(exclude_characters="\0"), max_size=20)


@given(PLAIN, st.builds(FunctionValue, st.binary(), WORDS, WORDS), WORDS)
def test_functions_by_value_arrive_as_they_are(value: object, function: FunctionValue, name: str) -> None:
    parts = codec.encode_call(1, "", name, (value,), {}, value=function)
    call = codec.decode_down(feed(FrameDecoder(), join(parts), [])[0])
    assert isinstance(call, CallFunction)
    assert (call.path, call.function, call.value) == ("", name, function)
    assert call.packed.load() == ((value,), {})


@given(PLAIN)
def test_values_make_the_round_trip_in_both_directions(value: object) -> None:
    call = codec.decode_down(feed(FrameDecoder(), join(codec.encode_call(1, "/a.py", "f", (value,), {})), [])[0])
    assert isinstance(call, CallFunction)
    assert call.packed.load() == ((value,), {})
    (message,) = codec.decode_up(feed(FrameDecoder(), join(codec.encode_result(1, value)), [])[0])
    if is_plain(value):
        assert message == Finished(1, value)
    else:
        assert isinstance(message, FinishedUnopened)
        assert message.packed.load() == value
