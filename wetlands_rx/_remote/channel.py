"""The worker's end of the pipe.

The main thread reads the socket itself: while idle it blocks in `next_message`, during a call whoever asks for
`cancel_requested` looks (0.6 us when nothing is there). A reading thread would cost 40 us a call. Only while calls wait
behind one that runs, another thread looks every few milliseconds whether they are wanted back; it sleeps otherwise.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, List, Optional, Sequence, Set, Tuple, Union

from wetlands_rx._remote.crossing import unsendable
from wetlands_rx._remote.items import ItemsRun
from wetlands_rx._remote.outbox import Outbox
from wetlands_rx._remote.page import SharedPage
from wetlands_rx._wire import codec
from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.forks import children_see
from wetlands_rx._wire.frames import Buffer, FrameDecoder
from wetlands_rx._wire.items import Record, encode_large_outcome, encode_outcomes
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import CallFunction, CallItems, CancelTask, Down, Recall, RunScript
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import ProtocolError, SerializationError

UPDATE_PERIOD_S = 0.004
"""Updates that follow each other faster than this share a frame."""
MOST_UPDATES = 512
"""A frame of updates is sent when it holds this many, whatever the time."""
LOOK_PERIOD_S = 0.002
"""So often somebody looks whether the calls that wait are wanted back."""
_LOOKS = 25
"""After so many looks without a call that waits, nobody looks any more."""
IDLE_MS = 5000
"""After so long without a message, free blocks of the arena lose their memory."""
KEPT_S = 0.0002
"""An answer waits no longer than this for the next one; it waits only while other calls wait here."""
AWAKE_S = 0.0001
"""So long the next call is looked for before the worker sleeps, if the one before came so soon: never while idle."""
_let_others_run: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))
_LARGE_BYTES = 16384
_SHORT_BYTES = 4096
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


def _is_large(message: Down) -> bool:
    """True for a call that may have filled the buffer, so that those behind it have not been received yet."""
    if isinstance(message, CallItems):
        return len(message.items) > 1 or _size(message.items[0]) > _LARGE_BYTES
    return isinstance(message, CallFunction) and _size(message.packed) > _LARGE_BYTES


def _size(item: Union[memoryview, Packed, float]) -> int:
    if isinstance(item, Packed):
        return len(item.pickle) + len(item.buffers) * _LARGE_BYTES
    return len(item) if isinstance(item, memoryview) else 0


_CALLS = (CallFunction, CallItems, RunScript)


def _task_of(message: Down) -> int:
    return message.task if isinstance(message, _CALLS) else 0


class Channel:
    """Reads messages from the caller and sends answers; sending is safe from any thread.

    Args:
        sock: A connected stream socket.
        page: Memory that outlives this process: which call began last, and what was not sent yet.

    Attributes:
        received: How often something was received.
        arena: Where arrays go on their way to the caller; None: through the pipe.
    """

    def __init__(self, sock: socket.socket, page: SharedPage) -> None:
        self._socket = sock
        self.arena: Optional[Arena] = None
        self._leases: Optional[Leases] = None
        self._starts = page.begins
        self._outbox = Outbox(page)
        self._kept_since = self._began = 0.0
        self._outcomes_since = 0.0
        self._decoder = FrameDecoder()
        self._pending: Deque[Down] = deque()
        self._reading = threading.Lock()
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._canceled: Set[int] = set()
        self._withdrawn: Set[int] = set()
        self._current = 0
        self._run: Optional[ItemsRun] = None
        self.received = 0
        self._was_soon = False
        self._open = True
        self._looking = False
        self._sending = threading.Lock()
        self._updates: List[Tuple[Optional[str], Any, Any]] = []
        self._updates_task = 0
        self._updates_sent_at = 0.0
        self._flush_wanted = threading.Event()
        self._flusher: Optional[threading.Thread] = None

    def use_arenas(self, theirs: int, their_size: int, ours: int = -1, our_size: int = 0, most: int = 0) -> None:
        """Let arrays come and go through shared memory.

        Args:
            theirs: The file of the arena through which they come.
            their_size: Its size.
            ours: The file of the one through which they go; -1: they go through the pipe.
            our_size: Its size.
            most: How much of it may have memory.
        Raises:
            OSError, ValueError: they cannot be mapped.
        """
        self._leases = Leases(theirs, their_size, children_see)
        os.close(theirs)
        if ours < 0:
            return
        os.set_inheritable(ours, False)
        self.arena = Arena(ours, our_size, most, threading.Lock())

    # --- receiving

    def next_message(self) -> Optional[Down]:
        """Wait for the next message; None when the caller is gone. For the main thread, between calls.

        A call counts as begun from now on: it is not given back any more.
        """
        with self._reading:
            if not self._pending:
                self.flush()
                self._await()
                while not self._pending:
                    if not self._open or not self._receive():
                        return None
            message = self._pending.popleft()
            if not self._pending:
                self.flush()  # this one may take long
            if isinstance(message, _CALLS):
                self._current = message.task
                self._began = time.monotonic()
                self._starts(message.task)
                if not self._looking and (self._pending or _is_large(message)):
                    self._look_out()
            return message

    def _await(self) -> None:
        """Wait until something has come; awake for a moment, when the last time it came within one.

        To be woken on a processor that has gone to sleep takes longer than all the rest of a short call.
        """
        poll, before = self._poll.poll, time.monotonic()
        if self._was_soon:
            until = before + AWAKE_S
            while not poll(0):
                if time.monotonic() > until:
                    self._was_soon = False
                    self._sleep()
                    return
                _let_others_run()
        else:
            self._sleep()
            self._was_soon = time.monotonic() - before < AWAKE_S

    def _sleep(self) -> None:
        """Wait until something has come. Memory that comes free meanwhile is given back, after a while."""
        poll, arena = self._poll.poll, self.arena
        while arena is not None and arena.backed:
            if poll(IDLE_MS):
                return
            arena.release()
        poll()

    def is_withdrawn(self, task: int) -> bool:
        """True when the caller canceled this task while it waited here for others to end."""
        return task in self._withdrawn

    def seconds(self) -> float:
        """How long the call that runs has run."""
        return time.monotonic() - self._began

    def runs(self, run: ItemsRun) -> None:
        """Say that the call that begins has these items."""
        self._outcomes_since = time.monotonic()
        self._run = run

    def end(self, task: int) -> None:
        """Say that it ended."""
        self._current, self._run = 0, None
        self._canceled.discard(task)
        self._withdrawn.discard(task)

    def is_canceled(self, task: int) -> bool:
        """True when the caller asked this task to stop. Looks at the socket; safe from any thread."""
        if task in self._canceled:
            return True
        self._look()
        return task in self._canceled

    def _look(self) -> None:
        """Take in what has come, unless another thread is at it right now."""
        if self._reading.acquire(False):
            try:
                while self._open and self._poll.poll(0):
                    if not self._receive():
                        break
            finally:
                self._reading.release()

    def _receive(self) -> bool:
        received = self._socket.recv_into(self._decoder.writable())
        if not received:
            self._open = False
            return False
        self.received += 1
        for frame in self._decoder.received(received):
            message = codec.decode_down(frame, self._leases)
            if isinstance(message, CancelTask):
                self._take_cancel(message.task)
            elif isinstance(message, Recall):
                self._give_back()
            else:
                self._pending.append(message)
        return True

    def _take_cancel(self, task: int) -> None:
        # What is neither running nor waiting has ended: late news.
        place = next((place for place, message in enumerate(self._pending) if _task_of(message) == task), None)
        if place is not None or task == self._current:
            self._canceled.add(task)
        if place is not None and (place or self._current):
            self._withdrawn.add(task)
        run = self._run
        if run is not None and task == self._current:
            run.take_back()

    def _give_back(self) -> None:
        given: List[int] = []
        kept: Deque[Down] = deque()
        for message in self._pending:
            if isinstance(message, _CALLS):
                given.append(message.task)
                self._leave_blocks(message)
            else:
                kept.append(message)
        self._pending = kept
        self._canceled.difference_update(given)
        self._withdrawn.difference_update(given)
        current, run = self._current, self._run
        left = run.take_back() if run is not None else 0
        self.send([codec.encode_recalled(given, current, left)])

    def _leave_blocks(self, call: Down) -> None:
        """What it refers to in the caller's arena is needed when the call is sent elsewhere."""
        packed: Any = call.packed if isinstance(call, CallFunction) else None
        if isinstance(call, CallItems):
            packed = call.items[0]
        if isinstance(packed, Packed) and self._leases is not None:
            for flag in packed.blocks:
                self._leases.leave(flag)

    def _look_out(self) -> None:
        self._looking = True
        threading.Thread(target=self._look_now_and_then, name="wetlands-lookout", daemon=True).start()

    def _look_now_and_then(self) -> None:
        """While something waits behind a long call or item, see whether the caller wants it back."""
        quiet, before = 0, (0, 0)
        while quiet < _LOOKS and self._open:
            time.sleep(LOOK_PERIOD_S)
            run = self._run
            left = run.left if run is not None else 0
            place = (self._current, left)
            if place[0] and place == before:
                try:
                    self._look()
                    self.flush(outcomes=True)  # what is done need not wait for it
                except (OSError, ValueError, ProtocolError):  # the main thread finds out too
                    return
            before = place
            quiet = 0 if self._pending or left else quiet + 1
        self._looking = False
        if self._open and (
            self._pending or self._run is not None or self._outbox.has_frames
        ):  # the main thread has not seen that line
            self._look_out()

    # --- sending

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send a frame after all that was said before it."""
        with self._sending:
            self._send(parts)

    def _send(self, parts: Sequence[Buffer]) -> None:
        kept = self._outbox.has_frames
        if kept or self._updates:
            before = self._outbox.take_frames() if kept else b""
            if self._updates:
                before += self._take_updates()
            parts = [before, *parts]
        if len(parts) == 1:
            self._socket.sendall(parts[0])
        else:
            send_all(self._socket, parts)
        if kept:
            self._outbox.frames_sent()

    def answer(self, parts: Sequence[Buffer]) -> None:
        """Send the answer of the call that ran; for a moment it may wait for those of the calls that wait here."""
        with self._sending:
            if self._pending and not self._updates and len(parts) == 1 and len(parts[0]) <= _SHORT_BYTES:
                now = time.monotonic()
                if not self._outbox.has_frames:
                    self._kept_since = now
                if now - self._kept_since < KEPT_S and self._outbox.add_frame(bytes(parts[0])):
                    return
            self._send(parts)

    def add_outcome(self, task: int, record: Record) -> None:
        """Take the outcome of the next item of the call that runs."""
        with self._sending:
            outbox = self._outbox
            if isinstance(record, bytes):
                if not outbox.add_outcome(record):
                    self._send_outcomes(task)
                    outbox.add_outcome(record)
                return
            first, number, _ = outbox.outcomes
            if number:
                self._send_outcomes(task)
            self._send(encode_large_outcome(task, first + number, self._outcome_seconds(), last=False, record=record))
            outbox.outcomes_sent(1)

    def end_outcomes(self, task: int) -> None:
        """Send the outcomes that are left, as the last ones."""
        with self._sending:
            first, count, records = self._outbox.outcomes
            # Sent while the records are still there: a frame that is kept would be written over them.
            self._send(encode_outcomes(task, first, count, self._outcome_seconds(), True, [records]))
            self._outbox.call_ends()

    def _send_outcomes(self, task: int) -> None:
        first, count, records = self._outbox.outcomes
        self._send(encode_outcomes(task, first, count, self._outcome_seconds(), False, [records]))
        self._outbox.outcomes_sent(count)

    def _outcome_seconds(self) -> float:
        before, self._outcomes_since = self._outcomes_since, time.monotonic()
        return self._outcomes_since - before

    def flush(self, *, outcomes: bool = False) -> None:
        """Send the answers that were kept; and the outcomes of the call that runs."""
        with self._sending:
            task, run = self._current, self._run
            if outcomes and run is not None and self._outbox.outcomes.number:
                self._send_outcomes(task)
            elif self._outbox.has_frames:
                self._send([])

    def send_update(self, task: int, message: Optional[str], current: Any, maximum: Any) -> None:
        """Report progress: the first update goes at once, those that follow closely share a frame."""
        with self._sending:
            if self._updates and self._updates_task != task:
                self._send([])
            self._updates_task = task
            self._updates.append((message, current, maximum))
            now = time.monotonic()
            if now - self._updates_sent_at >= UPDATE_PERIOD_S or len(self._updates) >= MOST_UPDATES:
                self._updates_sent_at = now
                self._send([])
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
            parts = codec.encode_output(task, key, value, self.arena)
        except BaseException as error:  # pickling runs the user's code
            name = "output[{!r}]".format(key)
            advice = "publish what it is made from, or plain values"
            failure = unsendable("output {!r}".format(key), [(name, value)], "the caller", error, advice)
            raise SerializationError(failure.error, path=failure.path, type_name=failure.type_name) from error
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
                        self._send([])
                    except OSError:  # the caller is gone; the main thread finds out too
                        return

    def forks(self) -> None:
        """Before this process forks: what is lent to it may be used by the child for longer."""
        if self._leases is not None:
            self._leases.forks()

    def ends(self) -> None:
        """Before the process ends: what has not begun is sent to others, with all that it refers to."""
        if self._leases is not None:
            self._leases.disown()

    def close(self) -> None:
        """Close the socket; used in a forked child too, which must not hold the pipe open."""
        self._open = False
        self._socket.close()
        if self.arena is not None:
            self.arena.disown()
        if self._leases is not None:
            self._leases.disown()
