"""Lines on a terminal with one status line under them that is redrawn; elsewhere plain lines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TextIO

from wetlands_rx._cli.streams import put

_REDRAW_S = 0.1
_ERASE = "\r\x1b[K"


class Screen:
    """Writes what people read. For the main thread only.

    Args:
        notes: Where notes and the status line go.
        results: Where results go; may be the same.
    """

    def __init__(self, notes: TextIO, results: TextIO) -> None:
        self._notes, self._results = notes, results
        self.live = notes.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = False
        self._due_at = 0.0

    def result(self, text: str) -> None:
        """One line that is a result."""
        self._line(self._results, text)

    def note(self, text: str = "") -> None:
        """One line about what goes on."""
        self._line(self._notes, text)

    def status(self, make: Callable[[int], str], *, now: bool = False) -> None:
        """Redraw the status line when the last time is long enough ago; nothing where it cannot be redrawn.

        Args:
            make: Given the terminal's width in columns: the line.
            now: However short ago the last time was.
        """
        clock = time.monotonic()
        if not self.live or (clock < self._due_at and not now):
            return
        self._due_at = clock + _REDRAW_S
        put(self._notes, _ERASE + make(self._width()))
        self._shown = True

    def clear(self) -> None:
        """Take the status line away."""
        if self._shown:
            put(self._notes, _ERASE)
            self._shown = False
            self._due_at = 0.0

    def _line(self, stream: TextIO, text: str) -> None:
        self.clear()
        put(stream, text + "\n")

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._notes.fileno()).columns or 80
        except (OSError, ValueError):
            return 80
