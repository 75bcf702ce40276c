"""One thread that watches: process exits, workers' output, timers. It never runs user code."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from wetlands_rx._streams.report import report

_LONGEST_S = 3600.0
"""No wait is longer: a selector refuses one of more than 24 days."""


class Supervisor:
    """Calls functions when a descriptor can be read or when a time has come.

    The functions must be quick and must not raise; they run on the thread `wetlands-supervisor`, which starts with
    the first need.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changes: list[tuple[int, Callable[[], None] | None, threading.Event | None]] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._soon: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def call_later(self, delay: float, function: Callable[[], None], /) -> None:
        """Call a function after `delay` seconds; forgotten when the supervisor closes first."""
        with self._lock:
            if self._closed:
                return
            timer = (time.monotonic() + delay, next(self._numbers), function)
            heapq.heappush(self._timers, timer)
            wake = self._timers[0] is timer
            self._ensure_thread()
        if wake:
            self._wake()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function as soon as the thread is free. For finalizers: takes no lock and starts no thread.

        A thread that runs calls it at once, one that starts later then, one that has ended never.
        """
        self._soon.put(function)
        self._wake()

    def watch(self, descriptor: int, on_readable: Callable[[], None]) -> None:
        """Call a function each time `descriptor` can be read or has reached its end, until `unwatch`."""
        self._change(descriptor, on_readable, None)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor. When this returns it is not looked at any more and may be closed."""
        if threading.current_thread() is self._thread:
            self._change(descriptor, None, None)
            return
        done = threading.Event()
        if self._change(descriptor, None, done):
            done.wait(10.0)

    def close(self) -> None:
        """End the thread; timers that are left are forgotten."""
        with self._lock:
            self._closed = True
            thread = self._thread
            if thread is None:
                self._close_pipe()
                return
        self._wake()
        if thread is not threading.current_thread():
            thread.join(10.0)

    def _change(self, descriptor: int, on_readable: Callable[[], None] | None, done: threading.Event | None) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._changes.append((descriptor, on_readable, done))
            self._ensure_thread()
        self._wake()
        return True

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wetlands-supervisor", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the pipe is full, hence it is awake; or it is gone
            os.write(self._wake_write, b"x")

    def _close_pipe(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wake)
            while self._apply_changes(selector):
                self._attend(selector.select(self._until_next_timer()))
        with self._lock:
            self._close_pipe()

    def _attend(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Call all that is due. Of what was called nothing is held here while the next is waited for."""
        for key, _ in ready:
            self._guarded(key.data)
        for function in self._due():
            self._guarded(function)
        while not self._soon.empty():  # nobody else takes from it
            self._guarded(self._soon.get())

    def _apply_changes(self, selector: selectors.BaseSelector) -> bool:
        with self._lock:
            changes, self._changes = self._changes, []
            closed = self._closed
        for descriptor, on_readable, done in changes:
            if on_readable is not None:
                self._guarded(partial(selector.register, descriptor, selectors.EVENT_READ, on_readable))
            elif descriptor in selector.get_map():
                selector.unregister(descriptor)
            if done is not None:
                done.set()
        return not closed

    def _until_next_timer(self) -> float | None:
        with self._lock:
            if not self._timers:
                return None
            return min(_LONGEST_S, max(0.0, self._timers[0][0] - time.monotonic()))

    def _due(self) -> list[Callable[[], None]]:
        due: list[Callable[[], None]] = []
        with self._lock:
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers)[2])
        return due

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _guarded(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:  # noqa: BLE001 - ours; one broken watch must not end the thread that all workers need
            report("the supervisor failed in %r", function)
