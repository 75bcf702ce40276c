"""The worker's end of the pipe.

The main thread reads the socket itself: while idle it blocks in `next_message`, during a call whoever asks for
`cancel_requested` looks (0.6 us when nothing is there). A reading thread would cost 40 us a call.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from typing import Any, Deque, List, Optional, Sequence, Set, Tuple

from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import Buffer, FrameDecoder
from wetlands_rx._wire.messages import CallFunction, CancelTask, Down, RunScript
from wetlands_rx.exceptions import SerializationError

UPDATE_PERIOD_S = 0.004
"""Updates that follow each other faster than this share a frame."""
MOST_UPDATES = 512
"""A frame of updates is sent when it holds this many, whatever the time."""
_MOST_PARTS = 512  # the kernel takes at most 1024 parts in one call


def send_all(sock: socket.socket, parts: Sequence[Buffer]) -> None:
    """Send all parts with as few system calls as the kernel allows, without joining them.

    Raises:
        OSError: the other side is gone.
    """
    waiting = [memoryview(part).cast("B") for part in parts if len(part)]
    while waiting:
        sent = sock.sendmsg(waiting[:_MOST_PARTS])
        done = 0
        while done < len(waiting) and sent >= len(waiting[done]):
            sent -= len(waiting[done])
            done += 1
        del waiting[:done]
        if waiting and sent:
            waiting[0] = waiting[0][sent:]


class Channel:
    """Reads messages from the caller and sends answers; sending is safe from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = FrameDecoder()
        self._pending: Deque[Down] = deque()
        self._reading = threading.Lock()
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._canceled: Set[int] = set()
        self._current = 0
        self._open = True
        self._sending = threading.Lock()
        self._updates: List[Tuple[Optional[str], Any, Any]] = []
        self._updates_task = 0
        self._updates_sent_at = 0.0
        self._flush_wanted = threading.Event()
        self._flusher: Optional[threading.Thread] = None

    # --- receiving

    def next_message(self) -> Optional[Down]:
        """Wait for the next message; None when the caller is gone. For the main thread, between calls."""
        while True:
            with self._reading:
                while not self._pending:
                    if not self._open or not self._receive():
                        return None
                message = self._pending.popleft()
            if not isinstance(message, CancelTask):
                return message
            # A cancel for a call that has ended already: late news.

    def begin(self, task: int) -> None:
        """Say which task runs now."""
        self._current = task

    def end(self, task: int) -> None:
        """Say that it ended."""
        self._current = 0
        self._canceled.discard(task)

    def is_canceled(self, task: int) -> bool:
        """True when the caller asked this task to stop. Looks at the socket; safe from any thread."""
        if task in self._canceled:
            return True
        if self._reading.acquire(False):  # else another thread is looking right now
            try:
                while self._open and self._poll.poll(0):
                    if not self._receive():
                        break
                self._sort_cancels()
            finally:
                self._reading.release()
        return task in self._canceled

    def _receive(self) -> bool:
        received = self._socket.recv_into(self._decoder.writable())
        if not received:
            self._open = False
            return False
        self._pending.extend(codec.decode_down(frame) for frame in self._decoder.received(received))
        return True

    def _sort_cancels(self) -> None:
        if not any(isinstance(message, CancelTask) for message in self._pending):
            return
        waiting = {message.task for message in self._pending if isinstance(message, (CallFunction, RunScript))}
        waiting.add(self._current)
        others: List[Down] = []
        for message in self._pending:
            if not isinstance(message, CancelTask):
                others.append(message)
            elif message.task in waiting:
                self._canceled.add(message.task)
        self._pending = deque(others)

    # --- sending

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send a frame after the updates that were reported before it."""
        with self._sending:
            if self._updates:
                parts = [self._take_updates(), *parts]
            if len(parts) == 1:
                self._socket.sendall(parts[0])
            else:
                send_all(self._socket, parts)

    def send_update(self, task: int, message: Optional[str], current: Any, maximum: Any) -> None:
        """Report progress: the first update goes at once, those that follow closely share a frame."""
        with self._sending:
            if self._updates and self._updates_task != task:
                self._socket.sendall(self._take_updates())
            self._updates_task = task
            self._updates.append((message, current, maximum))
            now = time.monotonic()
            if now - self._updates_sent_at >= UPDATE_PERIOD_S or len(self._updates) >= MOST_UPDATES:
                self._updates_sent_at = now
                self._socket.sendall(self._take_updates())
                return
            first = len(self._updates) == 1
        if first:
            self._want_flush()

    def send_output(self, task: int, key: str, value: Any) -> None:
        """Publish an intermediate result.

        Raises:
            SerializationError: it cannot be pickled.
        """
        try:
            parts = codec.encode_output(task, key, value)
        except Exception as error:
            raise SerializationError(
                "output {!r} ({}) cannot be sent to the caller: {}: {}".format(
                    key, type(value).__qualname__, type(error).__name__, error
                )
            ) from error
        self.send(parts)

    def send_log(self, task: int, level: int, text: str) -> None:
        """Send a record to the caller's logging."""
        self.send([codec.encode_log(task, level, text)])

    def _take_updates(self) -> bytes:
        updates, self._updates = self._updates, []
        return codec.encode_updates(self._updates_task, updates)

    def _want_flush(self) -> None:
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_updates, name="wetlands-updates", daemon=True)
            self._flusher.start()
        self._flush_wanted.set()

    def _flush_updates(self) -> None:
        """Send what waits after the period has passed, so that the last update of a burst is never late."""
        while True:
            self._flush_wanted.wait()
            self._flush_wanted.clear()
            time.sleep(UPDATE_PERIOD_S)
            with self._sending:
                if self._updates:
                    self._updates_sent_at = time.monotonic()
                    try:
                        self._socket.sendall(self._take_updates())
                    except OSError:  # the caller is gone; the main thread finds out too
                        return

    def close(self) -> None:
        """Close the socket; used in a forked child too, which must not hold the pipe open."""
        self._open = False
        self._socket.close()
