"""The output of a command, line by line."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO

from wetlands_rx._streams.report import report
from wetlands_rx.logger import LogContext, RecordSink, log

_HISTORY_LINES = 10_000
_LINE_CHARACTERS = 1 << 16
"""A longer line is cut into pieces, so that output without line ends costs no memory."""

OnLine = Callable[[str, LogContext], object]


class _Subscriber:
    """A callback, and what it is to be told; the fields belong to the logger's lock."""

    def __init__(self, callback: OnLine) -> None:
        self.callback = callback
        self.waiting: deque[tuple[str, LogContext]] = deque(maxlen=_HISTORY_LINES)
        self.busy = False


class ProcessLogger:
    """Reads the output of a process on threads of its own: logs each line, keeps the last ones, tells subscribers.

    The threads, `wetlands-output-<pid>`, one for each pipe, end with the process's output. Subscribers are called on
    them, one line at a time; one that raises is reported, and goes on to be called.

    Args:
        process: Started with `stdout=PIPE` and text mode, `stderr` a pipe too or merged.
        context: Goes with each record.
        level: The level of the records.
        sink: Gets each record too, whatever the level of the logger.
        on_end: Called when all output has ended, on the last of the threads.
    """

    def __init__(
        self,
        process: subprocess.Popen[str],
        context: LogContext | None = None,
        level: int = logging.INFO,
        *,
        sink: RecordSink | None = None,
        on_end: Callable[[], object] | None = None,
    ) -> None:
        self._process = process
        self._sink = sink
        self._on_end = on_end
        self._context = context or LogContext(log_source="environment")
        self._level = level
        self._changed = threading.Condition()  # guards the fields below
        self._lines: deque[tuple[str, str]] = deque(maxlen=_HISTORY_LINES)
        self._seen = 0
        self._open = 0
        self._subscribers: list[_Subscriber] = []
        self._threads: list[threading.Thread] = []

    def start_reading(self) -> None:
        """Begin; once."""
        pipes = [("stdout", self._process.stdout), ("stderr", self._process.stderr)]
        for name, pipe in pipes:
            if pipe is not None:
                thread = threading.Thread(
                    target=self._read, args=(name, pipe), name=f"wetlands-output-{self._process.pid}", daemon=True
                )
                self._threads.append(thread)
        self._open = len(self._threads)
        for thread in self._threads:
            thread.start()

    def subscribe(self, callback: OnLine, include_history: bool = True) -> None:
        """Have each line told to a callback, in order and none twice.

        Args:
            callback: Takes the line and where it comes from.
            include_history: Tell the lines so far too, before this returns, in the calling thread.
        """
        subscriber = _Subscriber(callback)
        with self._changed:
            if include_history:
                subscriber.waiting.extend((line, self._line_context(stream)) for stream, line in self._lines)
            self._subscribers.append(subscriber)
        self._tell(subscriber)

    def unsubscribe(self, callback: OnLine) -> None:
        """Tell this callback nothing more; without effect when it is told nothing."""
        with self._changed:
            self._subscribers = [each for each in self._subscribers if each.callback != callback]

    def update_log_context(self, context: LogContext) -> None:
        """Change where the lines that come from now on are said to come from.

        Args:
            context: What changes; the rest stays.
        """
        with self._changed:
            self._context = self._context | context

    def get_output(self) -> list[str]:
        """The last lines of both streams, in the order of their arrival."""
        with self._changed:
            return [line for _, line in self._lines]

    def get_stdout_output(self) -> list[str]:
        """The last lines of the standard output."""
        with self._changed:
            return [line for stream, line in self._lines if stream == "stdout"]

    def get_stderr_output(self) -> list[str]:
        """The last lines of the standard error."""
        with self._changed:
            return [line for stream, line in self._lines if stream == "stderr"]

    def wait_for_line(
        self, predicate: Callable[[str], bool], timeout: float | None = None, include_history: bool = True
    ) -> str | None:
        """Wait for a line.

        Args:
            predicate: True for the line that is wanted.
            timeout: In seconds; None waits until the output ends.
            include_history: Look at the lines so far too.
        Returns:
            The line; None when the output or the time ended before.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            looked_at = 0 if include_history else self._seen
        while True:
            with self._changed:
                fresh = min(self._seen - looked_at, len(self._lines))
                lines = [line for _, line in list(self._lines)[len(self._lines) - fresh :]]
                looked_at = self._seen
                if not lines:
                    left = None if deadline is None else deadline - time.monotonic()
                    if not self._open or (left is not None and left <= 0):
                        return None
                    self._changed.wait(left)
                    continue
            for line in lines:
                if predicate(line):
                    return line

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the output has ended.

        Returns:
            False when it goes on after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _line_context(self, stream: str) -> LogContext:
        return self._context | LogContext(stream=stream)

    def _read(self, stream: str, pipe: IO[str]) -> None:
        try:
            with pipe:
                while raw := pipe.readline(_LINE_CHARACTERS):
                    self._take(stream, raw.rstrip("\r\n"))
        except (OSError, ValueError):
            pass  # somebody closed it
        finally:
            with self._changed:
                self._open -= 1
                last = not self._open
                self._changed.notify_all()
            if last and self._on_end is not None:
                self._on_end()

    def _take(self, stream: str, line: str) -> None:
        with self._changed:
            self._lines.append((stream, line))
            self._seen += 1
            context = self._line_context(stream)
            subscribers = list(self._subscribers)
            for subscriber in subscribers:
                subscriber.waiting.append((line, context))
            self._changed.notify_all()
        try:
            log(self._level, line, context, self._sink)
        except (Exception, SystemExit):  # noqa: BLE001 - a log handler is the user's code; the output must be read on
            report("a log handler raised at a command's output")
        for subscriber in subscribers:
            self._tell(subscriber)

    def _tell(self, subscriber: _Subscriber) -> None:
        """Call a subscriber with what waits for it, unless another thread does so already: that one goes on."""
        while (item := self._next_for(subscriber)) is not None:
            try:
                subscriber.callback(*item)
            except (Exception, SystemExit):  # noqa: BLE001 - the user's code
                report("a subscriber of a command's output raised")
            finally:
                with self._changed:
                    subscriber.busy = False

    def _next_for(self, subscriber: _Subscriber) -> tuple[str, LogContext] | None:
        with self._changed:
            if subscriber.busy or not subscriber.waiting or subscriber not in self._subscribers:
                return None
            subscriber.busy = True
            return subscriber.waiting.popleft()
