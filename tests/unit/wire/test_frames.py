"""Bytes to frames, however they arrive."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterable

import pytest

from wetlands_rx._wire.frames import (
    BUFFERS,
    HEADER_SIZE,
    MAGIC,
    MAX_BODY_BYTES,
    Frame,
    FrameDecoder,
    encode_frame,
    encode_header,
    join,
)
from wetlands_rx.exceptions import ProtocolError


def feed(decoder: FrameDecoder, data: bytes, sizes: Iterable[int] = ()) -> list[Frame]:
    """Give bytes to a decoder in pieces of these sizes, then the rest as it fits."""
    frames: list[Frame] = []
    wanted = iter(sizes)
    while data:
        room = decoder.writable()
        assert len(room) > 0
        size = min(next(wanted, len(data)), len(room), len(data))
        room[:size] = data[:size]
        frames += decoder.received(size)
        data = data[size:]
    return frames


def contents(frames: list[Frame]) -> list[tuple[int, int, int, bytes]]:
    return [(frame.kind, frame.flags, frame.number, bytes(frame.body)) for frame in frames]


SOME = [(1, 0, 7, b""), (17, 2, 2**48 - 1, b"body"), (22, 1, 0, bytes(range(256))), (255, 255, 2**64 - 1, b"x" * 100)]
STREAM = b"".join(encode_frame(*frame) for frame in SOME)


def test_frames_come_out_as_they_went_in() -> None:
    decoder = FrameDecoder()
    assert contents(feed(decoder, STREAM)) == SOME
    assert decoder.at_boundary()


@pytest.mark.parametrize("piece", [1, 2, 3, 23, 24, 25, 60])
def test_frames_may_be_split_anywhere(piece: int) -> None:
    decoder = FrameDecoder()
    assert contents(feed(decoder, STREAM, [piece] * len(STREAM))) == SOME


@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_a_stream_cut_in_two_anywhere(cut: int) -> None:
    decoder = FrameDecoder()
    first = feed(decoder, STREAM[:cut])
    assert contents(first + feed(decoder, STREAM[cut:])) == SOME


@pytest.mark.parametrize("buffer_bytes", [HEADER_SIZE, HEADER_SIZE + 1, 64, 1 << 16])
@pytest.mark.parametrize("size", [0, 1, HEADER_SIZE, 63, 64, 65, 5000, 70_000, 1_000_000])
def test_bodies_of_any_size_pass_a_buffer_of_any_size(buffer_bytes: int, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    frames = [(1, 0, number, body[number : number + size]) for number in range(3)]
    decoder = FrameDecoder(buffer_bytes)
    received = feed(decoder, b"".join(encode_frame(*frame) for frame in frames), [7, 64, 1000] * 1000)
    assert contents(received) == frames
    assert decoder.at_boundary()


def test_a_large_body_is_received_into_memory_of_its_own() -> None:
    decoder = FrameDecoder(64)
    feed(decoder, encode_header(1, 0, 1, 1000))
    assert len(decoder.writable()) == 1000
    assert not decoder.at_boundary()
    feed(decoder, b"x" * 999)
    (frame,) = feed(decoder, b"y")
    following = feed(decoder, encode_frame(2, 0, 2, b"z" * 900))
    assert bytes(frame.body) == b"x" * 999 + b"y"
    assert bytes(following[0].body) == b"z" * 900


def test_a_small_body_does_not_change_when_more_is_received() -> None:
    decoder = FrameDecoder()
    (frame,) = feed(decoder, encode_frame(1, BUFFERS, 1, b"first"))
    feed(decoder, encode_frame(1, BUFFERS, 1, b"other"))
    assert bytes(frame.body) == b"first"


@pytest.mark.parametrize("size", [8, 100_000])
def test_a_body_with_buffers_can_be_written_to(size: int) -> None:
    """An array that is rebuilt over it must be writable, as the sender's was."""
    (frame,) = feed(FrameDecoder(), encode_frame(1, BUFFERS, 1, bytes(size)))
    assert not memoryview(frame.body).readonly


GARBAGE = [
    b"\0" * HEADER_SIZE,
    b"Traceback (most recent call last):\n",
    encode_header(1, 0, 1, 0)[::-1],
    b"\xff" * 1000,
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_an_error_that_shows_it(garbage: bytes) -> None:
    with pytest.raises(ProtocolError, match="no message of ours") as raised:
        feed(FrameDecoder(), garbage)
    assert repr(garbage[:10])[2:-1] in str(raised.value)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_came_before_garbage_counts(garbage: bytes) -> None:
    decoder = FrameDecoder()
    frames = feed_at_once(decoder, STREAM + garbage)
    assert contents(frames) == SOME
    with pytest.raises(ProtocolError):
        decoder.writable()


def feed_at_once(decoder: FrameDecoder, data: bytes) -> list[Frame]:
    decoder.writable()[: len(data)] = data
    return decoder.received(len(data))


@pytest.mark.parametrize("place", range(HEADER_SIZE))
@pytest.mark.parametrize("bit", range(8))
def test_a_header_with_one_wrong_bit_is_an_error(place: int, bit: int) -> None:
    header = bytearray(encode_header(17, 0, 4711, 5))
    header[place] ^= 1 << bit
    with pytest.raises(ProtocolError):
        feed(FrameDecoder(), bytes(header) + b"hello")


def test_a_length_that_cannot_be_is_an_error_before_memory_is_asked_for() -> None:
    head = struct.pack("<HBBQQ", MAGIC, 17, 0, 1, MAX_BODY_BYTES + 1)
    with pytest.raises(ProtocolError, match=str(MAX_BODY_BYTES)):
        feed(FrameDecoder(), head + struct.pack("<I", crc32(head)))


def test_a_length_for_which_there_is_no_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from wetlands_rx._wire import frames

    def none_left(size: int) -> memoryview:
        raise MemoryError

    decoder = FrameDecoder()
    monkeypatch.setattr(frames, "room", none_left)
    with pytest.raises(ProtocolError, match="no memory for a message of 1000000 bytes"):
        feed(decoder, encode_header(17, 0, 1, 1_000_000))


def test_part_of_a_header_is_no_error_yet() -> None:
    decoder = FrameDecoder()
    assert feed(decoder, b"\0" * (HEADER_SIZE - 1)) == []
    assert not decoder.at_boundary()


def test_the_parts_of_a_frame_joined_are_the_frame() -> None:
    whole = encode_frame(1, 2, 3, b"body")
    assert join([whole]) is whole
    assert join([encode_header(1, 2, 3, 4), memoryview(b"bo"), bytearray(b"dy")]) == whole
