"""Cut a stream of bytes into frames, and build frames: no socket, no thread, no clock.

A frame is a header of 24 bytes and a body. The header carries a magic number and a checksum of itself, because
user code in a worker may write to any file descriptor: garbage must end in a `ProtocolError`, never in a reader
that waits for bytes which do not come.

    offset  size  field
    0       2     magic number
    2       1     kind of message (`_wire.codec`)
    3       1     flags
    4       8     number of the task; 0 when the message concerns none
    12      8     length of the body in bytes
    20      4     CRC-32 of the 20 bytes before
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import List, NamedTuple, Optional, Sequence, Union

from wetlands_rx._wire.memory import room
from wetlands_rx.exceptions import ProtocolError

MAGIC = 0x5752
HEADER_SIZE = 24
MAX_BODY_BYTES = 1 << 36
"""64 GiB: no machine we run on holds a larger message, so a larger length is garbage."""

BUFFERS = 1
"""Flag: the body is a table of sizes, then a pickle, then the pickle's out-of-band buffers."""
PLAIN = 2
"""Flag: the pickle holds plain data only; loading it runs nobody's code."""
SHARED = 128
"""Flag, beside BUFFERS: the table tells of each buffer whether it is in the sender's arena, and where."""

_HEAD = struct.Struct("<HBBQQ")
_CHECKSUM = struct.Struct("<I")
_FULL = struct.Struct("<HBBQQI")

Buffer = Union[bytes, bytearray, memoryview]


class Frame(NamedTuple):
    """One message as it came: `body` owns its bytes."""

    kind: int
    flags: int
    number: int
    body: Buffer


def encode_header(kind: int, flags: int, number: int, body_bytes: int) -> bytes:
    """Build the 24 bytes that go before a body of `body_bytes` bytes."""
    head = _HEAD.pack(MAGIC, kind, flags, number, body_bytes)
    return head + _CHECKSUM.pack(crc32(head))


def encode_frame(kind: int, flags: int, number: int, body: bytes = b"") -> bytes:
    """Build a whole frame from a small body."""
    head = _HEAD.pack(MAGIC, kind, flags, number, len(body))
    return head + _CHECKSUM.pack(crc32(head)) + body


class FrameDecoder:
    """Turns received bytes into frames, whatever the sizes they arrive in.

    The owner receives into `writable()` and says with `received(n)` how much came. Many small frames come out of one
    receive; the body of a large frame is received straight into memory of its own, so it is not copied again.
    Not safe for several threads.
    """

    def __init__(self, buffer_bytes: int = 1 << 16) -> None:
        self._buffer = bytearray(buffer_bytes)
        self._view = memoryview(self._buffer)
        self._end = 0  # bytes 0.._end are received and not yet parsed
        self._large: Optional[Frame] = None
        self._large_view = memoryview(b"")
        self._large_filled = 0
        self._wrong: Optional[ProtocolError] = None

    def writable(self) -> memoryview:
        """Where the next bytes belong; never empty.

        Raises:
            ProtocolError: behind the frames that came last was something else.
        """
        if self._wrong is not None:
            raise self._wrong
        if self._large is not None:
            return self._large_view[self._large_filled :]
        return self._view[self._end :]

    def received(self, count: int) -> List[Frame]:
        """Take note of `count` bytes written to `writable()`.

        Returns:
            The frames that are now complete, in order.
        Raises:
            ProtocolError: the bytes are not a frame of ours. Frames before them come first: then the next `writable`
                raises.
        """
        if self._large is not None:
            self._large_filled += count
            if self._large_filled < len(self._large_view):
                return []
            frame, self._large = self._large, None
            self._large_view = memoryview(b"")
            return [frame]
        self._end += count
        frames: List[Frame] = []
        try:
            self._parse(frames)
        except ProtocolError as wrong:
            if not frames:
                raise
            self._wrong = wrong
        return frames

    def at_boundary(self) -> bool:
        """True when no frame is half received."""
        return self._large is None and self._end == 0

    def _parse(self, frames: List[Frame]) -> None:
        view, position, end = self._view, 0, self._end
        unpack, head_end = _FULL.unpack_from, HEADER_SIZE - 4
        while end - position >= HEADER_SIZE:
            magic, kind, flags, number, length, checksum = unpack(view, position)
            if magic != MAGIC or checksum != crc32(view[position : position + head_end]):
                raise ProtocolError(
                    "received bytes that are no message of ours: {!r}".format(
                        bytes(view[position : min(end, position + HEADER_SIZE)])
                    )
                )
            if length > MAX_BODY_BYTES:
                raise ProtocolError(
                    "a message of {} bytes is announced; the limit is {}".format(length, MAX_BODY_BYTES)
                )
            body_start = position + HEADER_SIZE
            if end - body_start >= length:
                body = view[body_start : body_start + length]
                # Arrays are rebuilt over the buffers in a body: they must be writable.
                frames.append(Frame(kind, flags, number, bytearray(body) if flags & BUFFERS else bytes(body)))
                position = body_start + length
                continue
            if HEADER_SIZE + length > len(view):
                self._begin_large(kind, flags, number, length, body_start)
                return
            break
        if position:
            self._buffer[: end - position] = self._buffer[position:end]
            self._end = end - position

    def _begin_large(self, kind: int, flags: int, number: int, length: int, body_start: int) -> None:
        try:
            body = room(length)
        except MemoryError:
            raise ProtocolError("there is no memory for a message of {} bytes".format(length)) from None
        here = self._end - body_start
        body[:here] = self._view[body_start : self._end]
        self._large, self._large_view, self._large_filled = Frame(kind, flags, number, body), body, here
        self._end = 0


def join(parts: Sequence[Buffer]) -> bytes:
    """Put the parts of a frame together."""
    return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)


def frames_of(data: bytes) -> List[Frame]:
    """The frames that follow each other in some bytes.

    Raises:
        ProtocolError: there is something else.
    """
    decoder = FrameDecoder(len(data) + HEADER_SIZE)
    decoder.writable()[: len(data)] = data
    return decoder.received(len(data))
