"""Runs a function once for each item of a call, and sends the outcomes, many at a time."""

from __future__ import annotations

import threading
from collections import deque
from time import perf_counter
from typing import Any, Callable, Deque, Sequence, Union

from wetlands_rx._remote.page import OUTBOX_BYTES, SharedPage
from wetlands_rx._wire.frames import BUFFERS, Buffer
from wetlands_rx._wire.items import RECORD_BYTES, Record, encode_outcomes
from wetlands_rx._wire.values import Packed

Send = Callable[[Sequence[Buffer]], None]


class Outbox:
    """The outcomes of one call, kept where they outlive the process until they are sent. Safe for several threads.

    Args:
        page: Where.
        send: Sends a frame.
        task: The number of the call.
    """

    def __init__(self, page: SharedPage, send: Send, task: int) -> None:
        self._page = page
        self._send = send
        self._task = task
        self._lock = threading.Lock()  # also held while sending: frames must not overtake each other
        self._first = 0
        self._count = 0
        self._end = 0
        self._since = perf_counter()

    def add(self, record: Record) -> None:
        """Take the outcome of the next item."""
        size = RECORD_BYTES + record.size
        with self._lock:
            if self._end + size > OUTBOX_BYTES:
                self._flush(last=False)
            if size > OUTBOX_BYTES:
                self._send_alone(record)
                return
            self._page.put(self._end, record.head() + b"".join(record.parts))
            self._end += size
            self._count += 1
            self._page.filled(self._first, self._end)

    def flush(self, *, last: bool = False) -> None:
        """Send what there is; `last` in any case."""
        with self._lock:
            if self._count or last:
                self._flush(last)

    def _flush(self, last: bool) -> None:
        self._send_outcomes(self._count, [self._page.records(self._end)], last)
        self._first += self._count
        self._count = self._end = 0
        # The next call with items begins at 0, and may be lost before it says so.
        self._page.filled(0 if last else self._first, 0)

    def _send_alone(self, record: Record) -> None:
        self._send_outcomes(1, [record.head(), *record.parts], False, record.kind & BUFFERS)
        self._first += 1
        self._page.filled(self._first, 0)

    def _send_outcomes(self, count: int, parts: Sequence[Buffer], last: bool, flags: int = 0) -> None:
        now = perf_counter()
        self._send(encode_outcomes(self._task, self._first, count, now - self._since, last, parts, flags))
        self._since = now


class ItemsRun:
    """The items of a call. One thread runs them; another one may take back those that have not begun.

    Args:
        items: In order.
        outbox: Takes their outcomes.
    """

    def __init__(self, items: Sequence[Union[memoryview, Packed]], outbox: Outbox) -> None:
        self._rest: Deque[Any] = deque(items)  # each of its operations is atomic
        self.outbox = outbox

    def run(self, outcome_of: Callable[[Any], Record]) -> None:
        """Run all, on this thread."""
        begin, add = self._rest.popleft, self.outbox.add
        while True:
            try:
                item = begin()
            except IndexError:
                break
            add(outcome_of(item))
        self.outbox.flush(last=True)

    @property
    def left(self) -> int:
        """How many have not begun."""
        return len(self._rest)

    def take_back(self) -> int:
        """What has not begun will not begin here. Returns how many those are, from the end.

        The outcomes may be told to be complete before the caller hears of this: it counts what it has got.
        """
        taken = 0
        while True:
            try:
                self._rest.pop()
            except IndexError:
                return taken
            taken += 1
