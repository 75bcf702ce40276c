"""Follow a batch of tasks from the main thread, which Ctrl-C reaches, until all have ended."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from wetlands_rx._cli.logs import records_into
from wetlands_rx.task import Task, TaskEvent, TaskEventType

TERMINAL = frozenset((TaskEventType.COMPLETION, TaskEventType.FAILURE, TaskEventType.CANCELATION))
TICK_S = 0.25
MOST_WAITING = 10_000
"""Progress that nobody has read yet; what comes on top of it is left out."""


class Watcher:
    """What a batch tells the one who follows it; all of it on the thread that follows. Does nothing by itself."""

    def on_event(self, index: int, event: TaskEvent[Any]) -> None:
        """Something happened to the task at this place."""

    def on_tick(self) -> None:
        """Nothing happened for a moment."""

    def on_log(self, text: str) -> None:
        """A function printed or logged something, or the library warns."""

    def on_interrupt(self) -> None:
        """The first Ctrl-C; all tasks are canceled next."""


Queue = SimpleQueue[tuple[int, TaskEvent[Any]] | str | None]
"""An event of the task at a place, a text, or None for Ctrl-C."""


def follow(tasks: Mapping[int, Task[Any]], watcher: Watcher, *, grace: float, leave: Callable[[], None]) -> None:
    """Start the tasks and tell the watcher what happens to them until all have ended. On the main thread only.

    Ctrl-C cancels all of them: those that wait end at once, those that run are asked to stop. This returns when all
    have ended, when the grace is over, or at a second Ctrl-C.

    Args:
        tasks: The batch, by place, made with `start=False` so that nothing is missed; the watcher may take out those
            that have ended.
        watcher: Who is told.
        grace: How long a running function may take to stop, in seconds.
        leave: Ends the workers. What they printed last is told after that: it travels beside the results.
    """
    queue: Queue = SimpleQueue()
    with records_into(log_taker(queue)):
        with _interrupts_into(queue):
            for index in list(tasks):
                tasks[index].listen(listener(queue, index)).start()
            _until_ended(queue, tasks, watcher, grace)
        leave()
        while not queue.empty():
            news = queue.get_nowait()
            if isinstance(news, str):
                watcher.on_log(news)


def _until_ended(queue: Queue, tasks: Mapping[int, Task[Any]], watcher: Watcher, grace: float) -> None:
    left, give_up_at = len(tasks), float("inf")
    while left and time.monotonic() < give_up_at:
        try:
            news = queue.get(timeout=TICK_S)
        except Empty:
            watcher.on_tick()
            continue
        if isinstance(news, str):
            watcher.on_log(news)
        elif news is not None:
            index, event = news
            watcher.on_event(index, event)
            left -= event.type in TERMINAL
        elif give_up_at < float("inf"):
            return
        else:
            give_up_at = time.monotonic() + grace
            watcher.on_interrupt()
            cancel_all(tasks)


def cancel_all(tasks: Mapping[int, Task[Any]]) -> None:
    """Cancel the tasks, from the end of the queue, so that no worker takes another one meanwhile."""
    for index in sorted(tasks, reverse=True):
        tasks[index].cancel()


@contextmanager
def interrupts_ignored() -> Generator[None]:
    """Ctrl-C does nothing meanwhile: for clean-up that takes a bounded time."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def listener(queue: Queue, index: int) -> Callable[[TaskEvent[Any]], None]:
    """The listener of the task at this place: puts what it hears into the queue, unless that is too long.

    Ends and outputs are never left out.
    """

    def listen(event: TaskEvent[Any]) -> None:
        droppable = event.type is TaskEventType.UPDATE and event.output is None
        if not droppable or queue.qsize() < MOST_WAITING:
            queue.put((index, event))

    return listen


def log_taker(queue: Queue) -> Callable[[logging.LogRecord], None]:
    """Puts what functions print or log, and warnings, into the queue as text."""

    def take(record: logging.LogRecord) -> None:
        from_function = getattr(record, "call_target", None) is not None or getattr(record, "stream", None) is not None
        if (from_function or record.levelno >= logging.WARNING) and queue.qsize() < MOST_WAITING:
            worker = getattr(record, "worker_index", None)
            queue.put(record.getMessage() if worker is None else f"worker {worker}: {record.getMessage()}")

    return take


@contextmanager
def _interrupts_into(queue: Queue) -> Generator[None]:
    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        queue.put(None)  # a SimpleQueue may be used in the middle of its own get()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
