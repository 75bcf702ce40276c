"""The caller's end of a worker's pipe, as a hot stream of messages."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

from reactivex import Observable

from wetlands_rx._remote.channel import send_all
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._streams.mailbox import Threads
from wetlands_rx._wire.decoders import TRUSTED, Decoders
from wetlands_rx._wire.frames import Buffer, FrameDecoder
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import Up, Updated
from wetlands_rx.exceptions import ProtocolError

_RECEIVE_BYTES = 1 << 18
_BRIEFLY_S = 0.1


class ReaderThread(threading.Thread):
    """Reads the messages of one worker, and does what follows from them."""


class WorkerConnection:
    """Sends frames to a worker, and reads its messages on a thread of its own.

    Args:
        sock: A connected stream socket; owned from now on.
        name: Goes into the thread's name, `wetlands-reader-<name>`.
        on_messages: Receives all messages of one read, on the reader thread.
        on_end: Called once, last, on the reader thread: with None at the end of the stream, else with what is wrong.
        threads: Who calls those who observe `messages`.
        leases: The arena through which arrays come.
        decoders: How messages are read.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        on_messages: Callable[[list[Up]], None],
        on_end: Callable[[ProtocolError | None], None],
        threads: Threads,
        leases: Leases | None = None,
        decoders: Decoders = TRUSTED,
    ) -> None:
        self._socket = sock
        self._leases = leases
        self._decode = decoders.up
        self._on_messages = on_messages
        self._on_end = on_end
        self._sending = threading.Lock()  # keeps frames whole
        self._subject: HotSubject[Up] = HotSubject(
            f"the messages of worker {name}", may_drop=lambda message: isinstance(message, Updated)
        )
        self._subject.open(threads)
        self.thread = ReaderThread(target=self._read, name=f"wetlands-reader-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    @property
    def messages(self) -> Observable[Up]:
        """What the worker says, hot; completes at a clean exit, errors with a `WetlandsError` at a crash.

        Observed on a delivery thread.
        """
        return self._subject.as_observable()

    def send(self, parts: Sequence[Buffer]) -> bool:
        """Send a frame; blocks while the worker does not read. From any thread.

        Returns:
            False when the worker is gone; its end is told by the reader thread.
        """
        try:
            with self._sending:
                if len(parts) == 1:
                    self._socket.sendall(parts[0])
                else:
                    send_all(self._socket, parts)
        except OSError:
            return False
        return True

    def send_nowait(self, frame: bytes) -> bool:
        """Send a small frame, unless the worker does not read or another frame is still on its way to it.

        Returns:
            False when it was not sent.
        """
        if not self._sending.acquire(timeout=_BRIEFLY_S):
            return False
        try:
            sent = self._socket.send(frame, socket.MSG_DONTWAIT)
            if sent < len(frame):
                self._socket.sendall(frame[sent:])
        except OSError:
            return False
        finally:
            self._sending.release()
        return True

    def finish(self) -> None:
        """Let the reader read what has come and then end, whoever else holds the other end open."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self, error: Exception | None) -> None:
        """Close the socket and end the stream of messages; after the reader's end."""
        self.finish()  # whoever is sending finds out, though a grandchild may hold the other end
        with self._sending:
            self._socket.close()
        self._subject.end(error)

    def _read(self) -> None:
        error: ProtocolError | None = ProtocolError("the reader of a worker's messages failed")
        try:
            with contextlib.suppress(OSError):  # a reset is an end like any other: the process is asked how it ended
                self._read_until_end()
            error = None
        except ProtocolError as wrong:
            error = wrong
        finally:  # also after a bug of ours, which goes on to threading.excepthook
            self._on_end(error)

    def _read_until_end(self) -> None:
        decoder, receive = FrameDecoder(_RECEIVE_BYTES), self._socket.recv_into
        while received := receive(decoder.writable()):
            self._take_in(decoder, received)  # nothing of it is held here while the next message is waited for

    def _take_in(self, decoder: FrameDecoder, received: int) -> None:
        decode, leases = self._decode, self._leases
        messages: list[Up] = []
        wrong: ProtocolError | None = None
        try:
            for frame in decoder.received(received):
                messages.extend(decode(frame, leases))
        except ProtocolError as error:
            wrong = error
        if messages:  # what came before something wrong counts
            self._on_messages(messages)
            self._emit(messages)
        if wrong is not None:
            raise wrong

    def _emit(self, messages: list[Up]) -> None:
        if self._subject.observed:
            for message in messages:
                self._subject.emit(message)
