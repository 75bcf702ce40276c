"""Delivery threads: where listeners are called, so that no reader thread ever runs user code.

One thread serves all mailboxes. Only when a listener does not come back, and something else waits, another thread is
started: a listener that blocks for ever costs one thread and delays the others by about 20 ms. What its own mailbox
still holds goes on without it after about a second; what it missed is kept, and told to it when it comes back. Its
thread serves nobody else any more, and ends then.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from wetlands_rx._streams.mailbox import Deliverer, Errand, Mailbox, Work
from wetlands_rx._streams.report import warn

STALL_S = 0.02
"""A call that takes longer than this is considered stuck while something else waits."""
HELD_BACK_S = 1.0
"""A call that takes longer than this holds its mailbox back no longer."""
MOST_THREADS = 64
"""So many threads deliver at a time; those whose call was overtaken are not among them."""
MOST_OVERTAKEN = 1000
"""When so many calls do not come back, listeners are called no more: tasks end without them, and the log says so."""
CLOSING_HELD_BACK_S = 0.1
"""`HELD_BACK_S` while closing."""
CLOSING_PATIENCE_S = 0.5
"""A call that takes longer than this is not waited for at the end."""


class CallLater(Protocol):
    """Runs a function on a library thread after a delay in seconds; the function must be quick."""

    def __call__(self, delay: float, function: Callable[[], None], /) -> None: ...


class CallSoon(Protocol):
    """Runs a quick function on a library thread soon; takes no lock and starts no thread."""

    def __call__(self, function: Callable[[], None], /) -> None: ...


class Delivery:
    """Empties mailboxes, each mailbox by one thread at a time.

    Args:
        call_later: The clock that looks for stuck calls.
        name: Goes into the threads' names.
        call_soon: Has the first thread started when a finalizer is the first to need one.
        stall_s: See `STALL_S`.
        held_back_s: See `HELD_BACK_S`.
        most_threads: See `MOST_THREADS`.
        most_overtaken: See `MOST_OVERTAKEN`.

    Attributes:
        now: The time stamps of what is delivered, in seconds since the epoch.
        monotonic: Measures how long somebody has waited, in seconds.
    """

    now: Callable[[], float] = staticmethod(time.time)
    monotonic: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(
        self,
        call_later: CallLater,
        name: str = "wetlands-delivery",
        *,
        call_soon: CallSoon | None = None,
        stall_s: float = STALL_S,
        held_back_s: float = HELD_BACK_S,
        most_threads: int = MOST_THREADS,
        most_overtaken: int = MOST_OVERTAKEN,
    ) -> None:
        self._call_later = call_later
        self._call_soon: CallSoon = call_soon or partial(call_later, 0.0)
        self._name = name
        self._stall_s = stall_s
        self._held_back_s = held_back_s
        self._most_threads = most_threads
        self._most_overtaken = most_overtaken
        self._ready: SimpleQueue[Work | None] = SimpleQueue()  # None only wakes: look whether to end
        self._lock = threading.Lock()  # guards the fields below
        self._threads: list[_DeliveryThread] = []
        self._ended: list[_DeliveryThread] = []  # about to end
        self._overtaken: list[_DeliveryThread] = []  # they end when their call comes back
        self._muted = False  # the log says so
        self._named: set[str] = set()  # whose call was overtaken, and the log says so
        self._started = 0
        self._watching = False
        self._closed = False

    def schedule(self, mailbox: Mailbox[Any]) -> None:
        """Let a thread empty this mailbox soon. From any thread."""
        self._ready.put(mailbox)
        if not self._threads:
            self._ensure_thread()
        self.watch()

    @property
    def closing(self) -> bool:
        """`close` was called: what may be left out is."""
        return self._closed

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function on a delivery thread. For finalizers, which may run anywhere: takes no lock."""
        self._ready.put(Errand(function))
        if not self._threads:
            self._call_soon(self._ensure_thread)

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Call a quick function after `delay` seconds, on the clock's thread."""
        self._call_later(delay, function)

    def wait(self, happened: Callable[[float | None], bool], timeout: float | None) -> bool:
        """Block the calling thread until something that is told by delivery has happened.

        Args:
            happened: Waits for it that many seconds, or for ever; True when it has happened.
            timeout: In seconds; None waits for ever.
        Returns:
            False when the time was over before.
        """
        return happened(timeout)

    async def wait_async(self, woken: asyncio.Future[None]) -> None:
        """Wait in a coroutine until what is delivered has resolved a future of its loop."""
        await woken

    def watch(self) -> None:
        """See to it that stuck calls are noticed while anything is being delivered."""
        if not self._watching and self._begin_watching():
            self._call_later(self._stall_s, self._look)

    def close(self, timeout: float) -> None:
        """End the threads after what is scheduled has been delivered.

        Args:
            timeout: How long to wait for them, in seconds. A call that does not come back is waited for no longer than
                `CLOSING_PATIENCE_S`: its thread ends when it does. A thread does not wait for itself.
        """
        with self._lock:
            self._closed = True
            self._held_back_s = min(self._held_back_s, CLOSING_HELD_BACK_S)
        self._ready.put(None)
        began = time.monotonic()
        while thread := self._worth_waiting_for(began):
            left = began + timeout - time.monotonic()
            if left <= 0.0:
                return
            thread.join(min(left, self._stall_s or STALL_S))

    def _worth_waiting_for(self, began: float) -> _DeliveryThread | None:
        """A thread that is worth waiting for; None when there is none but those whose call does not come back."""
        with self._lock:
            threads = self._threads + self._ended + self._overtaken
        impatient = time.monotonic() - CLOSING_PATIENCE_S
        for thread in threads:
            stuck = thread.deliverer.work is not None and max(thread.deliverer.since, began) < impatient
            if not stuck and thread is not threading.current_thread() and thread.is_alive():
                return thread
        return None

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
        with contextlib.suppress(RuntimeError):  # the system has none left: the clock tries again
            thread.start()
            self._started += 1
            self._threads.append(thread)

    def _serve(self, thread: _DeliveryThread) -> None:
        deliverer = thread.deliverer
        while True:
            work = self._next(thread)
            if work is None:
                return
            deliverer.since = time.monotonic()
            deliverer.mute = len(self._overtaken) >= self._most_overtaken
            if deliverer.mute and not self._muted:
                self._muted = True
                self.soon(partial(warn, "%d listeners do not come back: no more are called", self._most_overtaken))
            deliverer.work = work
            self.watch()  # the clock may have looked between the queue and this line, and gone
            more = work.drain(deliverer)
            deliverer.work = None
            if more:
                self._ready.put(work)
            if deliverer.overtaken is not None:
                self._leave(thread)
                return
            del work  # before the wait: it keeps a task alive, or what a finalizer handed over

    def _next(self, thread: _DeliveryThread) -> Work | None:
        """Wait for something to do; None when the thread must end."""
        while True:
            try:
                work = self._ready.get(block=not self._closed)
            except Empty:
                if self._ends(thread):
                    return None
                continue
            if work is not None:
                return work

    def _ends(self, thread: _DeliveryThread) -> bool:
        with self._lock:
            # Removed before the look: whoever schedules something now sees no thread, or is seen by this look.
            self._threads.remove(thread)
            if not self._ready.empty():
                self._threads.append(thread)
                return False
            self._ended = [other for other in self._ended if other.is_alive()] + [thread]
            if self._threads:
                self._ready.put(None)  # the next one, which waits
            return True

    def _leave(self, thread: _DeliveryThread) -> None:
        """Back from a call that was overtaken: others have gone on, and there are enough of them."""
        with self._lock:
            for threads in (self._threads, self._overtaken):
                if thread in threads:
                    threads.remove(thread)
            self._ended = [other for other in self._ended if other.is_alive()] + [thread]
        thread.deliverer.overtaken = None  # it holds the listener, and that one its task

    def _look(self) -> None:
        """Look for stuck calls; on the clock's thread."""
        now = time.monotonic()
        with self._lock:
            self._watching = False  # before the look: what begins after it finds nobody watching
            busy = [(work, thread) for thread in self._threads if (work := thread.deliverer.work)]
        for work, thread in busy:
            if work.overtake(thread.deliverer, now - self._held_back_s):
                self._ready.put(work)
            if (who := thread.deliverer.overtaken) is not None:
                self._set_aside(thread)
                if not self._closed:  # then it may only be slow, and is overtaken sooner
                    self.soon(partial(self._warn, who))
        with self._lock:
            waiting = not self._ready.empty()
            stuck = sum(thread in self._threads and now - thread.deliverer.since >= self._stall_s for _, thread in busy)
            if waiting and stuck == len(self._threads) < self._most_threads:
                self._start_thread()
        if busy or waiting:
            self.watch()

    def _set_aside(self, thread: _DeliveryThread) -> None:
        with self._lock:
            if thread in self._threads:  # else it came back in this moment
                self._threads.remove(thread)
                self._overtaken.append(thread)

    def _warn(self, who: Callable[[], str]) -> None:
        """Say whose call was overtaken, once; on a delivery thread, for the log's handlers are user code."""
        name = who()
        if name not in self._named:
            self._named.add(name)
            warn("%s is slow or does not come back; the others go on, and what it misses is kept for it", name)


class _DeliveryThread(threading.Thread):
    def __init__(self, name: str, serve: Callable[[_DeliveryThread], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._serve = serve
        self.deliverer = Deliverer()

    def run(self) -> None:
        self._serve(self)
