"""The log stream of an environment, fed by what may happen without workers: its making, and commands in it."""

from __future__ import annotations

import threading
from logging import LogRecord
from types import TracebackType
from typing import Self

from wetlands_rx._task.streams import Streams
from wetlands_rx._worker import runtime


class Outlet:
    """Feeds a log stream until it is closed, also while nothing is launched. A context manager.

    The first record that somebody observes takes the shared delivery threads; `close` gives them back.

    Args:
        streams: Those of the environment.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._lock = threading.Lock()  # guards the fields below
        self._holds = False
        self._closed = False

    @property
    def observed(self) -> bool:
        """True while somebody wants the records."""
        return self._streams.logs.observed

    def emit(self, record: LogRecord) -> None:
        """Send a record to whoever observes. From any thread."""
        with self._lock:
            if self._closed:
                return
            if not self._holds:
                self._streams.open(runtime.acquire().delivery)
                self._holds = True
            self._streams.logs.emit(record)

    def close(self) -> None:
        """Nothing more is sent. What was sent is delivered, when nobody else needs the threads before this returns."""
        with self._lock:
            holds, self._holds, self._closed = self._holds, False, True
        if holds:
            runtime.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
