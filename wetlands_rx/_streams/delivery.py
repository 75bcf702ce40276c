"""Delivery threads: where listeners are called, so that no reader thread ever runs user code.

One thread serves all mailboxes. Only when a listener does not come back, and something else waits, another thread is
started: a listener that blocks for ever costs one thread and delays the others by about 20 ms.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

_T = TypeVar("_T")

STALL_S = 0.02
"""A listener that takes longer than this is considered stuck while something else waits."""
HELD_BACK_S = 1.0
"""A mailbox whose listener takes longer than this is told so (`Mailbox.on_stall`)."""
MOST_THREADS = 64
_BATCH = 1024

_logger = logging.getLogger("wetlands_rx")


class CallLater(Protocol):
    """Runs a function on a library thread after a delay in seconds; the function must be quick."""

    def __call__(self, delay: float, function: Callable[[], None], /) -> None: ...


class Delivery:
    """Calls the handlers of mailboxes, each mailbox by one thread at a time.

    Args:
        call_later: The clock that looks for stuck listeners.
        name: Goes into the threads' names.
    """

    def __init__(self, call_later: CallLater, name: str = "wetlands-delivery") -> None:
        self._call_later = call_later
        self._name = name
        self._ready: SimpleQueue[Mailbox[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()  # guards the fields below
        self._threads: list[_DeliveryThread] = []
        self._started = 0
        self._watching = False
        self._closed = False

    def schedule(self, mailbox: Mailbox[Any]) -> None:
        """Let a thread drain this mailbox soon. From any thread."""
        self._ready.put(mailbox)
        if not self._threads:
            self._ensure_thread()
        self.watch()

    def watch(self) -> None:
        """See to it that stuck listeners are noticed while anything is being delivered."""
        if not self._watching and self._begin_watching():
            self._call_later(STALL_S, self._look)

    def close(self, timeout: float) -> None:
        """End the threads after what is scheduled has been delivered.

        Args:
            timeout: How long to wait for them, in seconds. A thread whose listener does not come back ends when it
                does; a thread does not wait for itself.
        """
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        self._ready.put(None)
        deadline = time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _begin_watching(self) -> bool:
        with self._lock:
            began, self._watching = not self._watching, True
        return began

    def _ensure_thread(self) -> None:
        with self._lock:
            if not self._threads:
                self._start_thread()

    def _start_thread(self) -> None:
        thread = _DeliveryThread(f"{self._name}-{self._started}", self._serve)
        self._started += 1
        self._threads.append(thread)
        thread.start()

    def _serve(self, thread: _DeliveryThread) -> None:
        while True:
            mailbox = self._ready.get()
            if mailbox is None:
                if self._ends(thread):
                    return
                continue
            thread.since = time.monotonic()
            thread.mailbox = mailbox
            more = mailbox.drain(thread)
            thread.mailbox = None
            if more:
                self._ready.put(mailbox)
            if self._closed:
                self._ready.put(None)  # look again, behind what was scheduled meanwhile

    def _ends(self, thread: _DeliveryThread) -> bool:
        with self._lock:
            if not self._ready.empty():
                self._ready.put(None)
                return False
            self._threads.remove(thread)
            if self._threads:
                self._ready.put(None)  # the next one may end too
            return True

    def _look(self) -> None:
        """Look for stuck threads; on the clock's thread."""
        now = time.monotonic()
        with self._lock:
            busy = [(mailbox, now - thread.since) for thread in self._threads if (mailbox := thread.mailbox)]
            stuck = sum(since >= STALL_S for _, since in busy)
            waiting = not self._ready.empty()
            if waiting and stuck == len(self._threads) < MOST_THREADS:
                self._start_thread()
            self._watching = again = bool(busy) or waiting
        if again:
            self._call_later(STALL_S, self._look)
        for mailbox, since in busy:
            if since >= HELD_BACK_S:
                mailbox.on_stall()


class _DeliveryThread(threading.Thread):
    def __init__(self, name: str, serve: Callable[[_DeliveryThread], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._serve = serve
        self.mailbox: Mailbox[Any] | None = None
        self.since = 0.0

    def run(self) -> None:
        self._serve(self)


class Mailbox(Generic[_T]):
    """Any thread posts; one delivery thread at a time handles, in the order of posting, with no lock held.

    Args:
        handle: Receives each item and its number in the order of posting.
        delivery: The threads.
        on_stall: Called, from the clock's thread, while `handle` has been at one item for `HELD_BACK_S`.
    """

    __slots__ = ("_busy", "_delivery", "_handle", "_handled", "_lock", "_waiting", "accepted", "on_stall", "owner")

    def __init__(self, handle: Callable[[_T, int], None], delivery: Delivery, on_stall: Callable[[], None]) -> None:
        self._handle = handle
        self._delivery = delivery
        self.on_stall = on_stall
        self._lock = threading.Lock()  # guards _waiting, _busy and accepted
        self._waiting: deque[_T] = deque()
        self._busy = False
        self._handled = 0
        self.accepted = 0
        self.owner: int | None = None

    def post(self, item: _T) -> None:
        """Add an item. From any thread; returns at once."""
        with self._lock:
            self._waiting.append(item)
            self.accepted += 1
            scheduled, self._busy = self._busy, True
        if scheduled:
            self._delivery.watch()
        else:
            self._delivery.schedule(self)

    @property
    def pending(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def drain(self, thread: _DeliveryThread) -> bool:
        """Handle what waits, on a delivery thread.

        Returns:
            True when it stopped early to let other mailboxes have their turn.
        """
        self.owner = threading.get_ident()
        for _ in range(_BATCH):
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    self.owner = None
                    return False
                item = self._waiting.popleft()
                number = self._handled
                self._handled += 1
            try:
                self._handle(item, number)
            except Exception:  # ours; a listener's exceptions are reported where it is called
                _logger.exception("a delivery failed")
            thread.since = time.monotonic()
        self.owner = None
        return True
