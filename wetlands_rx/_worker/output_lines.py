"""Cut what comes out of a worker's standard output or error into lines, each with the task that printed it. Pure.

Lines end with a newline, a carriage return (progress bars rewrite their line with it) or both, however the bytes are
cut on their way. What only looks like a mark is text, and text without a mark is nobody's: the worker's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from wetlands_rx._wire.printed import BEGIN, END, MOST_BYTES, MOST_MARK_BYTES

LINE_BYTES = 1 << 16
"""A longer line is cut into pieces, so that output without line ends costs no memory."""
MOST_BEGUN = 32
"""So many tasks may have begun a line at a time; beyond that the oldest is given as it is."""

_MARK = re.compile(
    re.escape(BEGIN) + rb"(0|[1-9a-f][0-9a-f]{0,3});(0|[1-9a-f][0-9a-f]{0,11});([^\x00-\x1f\x7f]+)" + re.escape(END)
)
_CONTROL = re.compile(rb"[\x00-\x1f]")
_LINE_END = re.compile(rb"[\r\n]")


class PrintedLine(NamedTuple):
    """A line of output.

    Attributes:
        text: Without its end.
        task: The number of the task that printed it; None when that is not certain.
        target: What that task called, `"segment.py:segment"`, or None.
    """

    text: str
    task: int | None = None
    target: str | None = None


class _Printer(NamedTuple):
    task: int | None
    target: str | None


class _Begun(NamedTuple):
    """What is known of a printer's line: its text so far, and whether a carriage return has just ended another."""

    text: bytes
    returned: bool


_NOBODY = _Printer(None, None)
_NOTHING = _Begun(b"", returned=False)


class OutputLines:
    """Takes the bytes of one stream as they come and gives lines."""

    def __init__(self) -> None:
        self._unread = b""
        self._printer = _NOBODY
        self._left = 0  # bytes of text that belong to the last mark
        self._begun: dict[_Printer, _Begun] = {}  # the one that printed last comes last

    def received(self, data: bytes) -> list[PrintedLine]:
        """The lines that end in `data`."""
        return list(self._read(self._unread + data))

    def ended(self) -> list[PrintedLine]:
        """The stream has ended: the lines that had no end."""
        unread, self._unread = self._unread, b""
        lines = list(self._taken(_NOBODY, unread))
        for printer in list(self._begun):
            lines += self._finished(printer)
        return lines

    def _read(self, data: bytes) -> Iterator[PrintedLine]:
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                yield from self._taken(self._printer, piece)
                continue
            begin = _find_begin(data, at)
            yield from self._taken(_NOBODY, data[at:begin])
            end = _end_of_mark(data, begin)
            if end is None:
                self._unread = data[begin:]
                return
            at = end
            if not self._opened(data[begin:end]):
                yield from self._taken(_NOBODY, data[begin:end])
            elif not self._left:
                yield from self._finished(self._printer)
        self._unread = b""

    def _opened(self, mark: bytes) -> bool:
        match = _MARK.fullmatch(mark)
        if match is None or int(match[1], 16) > MOST_BYTES:
            return False
        try:
            self._printer = _Printer(int(match[2], 16), match[3].decode("utf-8"))
        except UnicodeDecodeError:
            return False
        self._left = int(match[1], 16)
        return True

    def _taken(self, printer: _Printer, data: bytes) -> Iterator[PrintedLine]:
        """Add to a printer's line; gives the lines that end."""
        if not data:
            return
        text, returned = self._begun.pop(printer, _NOTHING)
        at = 0
        for end in _LINE_END.finditer(data):
            text += data[at : end.start()]
            at = end.end()
            returned = returned and not text
            if end[0] == b"\n":
                if not returned:
                    yield from _lines(printer, text)
                returned = False
            elif text.strip():  # not the return before a progress bar, nor the blanks that wipe one out
                yield from _lines(printer, text)
                returned = True
            text = b""
        rest = data[at:]
        text, returned = text + rest, returned and not rest
        while len(text) > LINE_BYTES:
            yield _line(printer, text[:LINE_BYTES])
            text = text[LINE_BYTES:]
        if text or returned:
            self._begun[printer] = _Begun(text, returned)
            if len(self._begun) > MOST_BEGUN:
                yield from self._finished(next(iter(self._begun)))

    def _finished(self, printer: _Printer) -> list[PrintedLine]:
        """A printer's line ends as it is."""
        text = self._begun.pop(printer, _NOTHING).text
        return list(_lines(printer, text)) if text.strip() else []


def _find_begin(data: bytes, at: int) -> int:
    """Where a mark begins, or may begin when more bytes come; the end of `data` when there is none."""
    begin = data.find(BEGIN, at)
    if begin >= 0:
        return begin
    for length in range(min(len(BEGIN) - 1, len(data) - at), 0, -1):
        if data.endswith(BEGIN[:length]):
            return len(data) - length
    return len(data)


def _end_of_mark(data: bytes, begin: int) -> int | None:
    """Where what began like a mark ends, or what only looks like one; None when more bytes must tell."""
    if not data.startswith(BEGIN, begin):
        return None if begin < len(data) else begin
    after = begin + len(BEGIN)
    control = _CONTROL.search(data, after, begin + MOST_MARK_BYTES)
    if control is not None:
        return control.end() if control[0] == END else after
    return None if len(data) - begin < MOST_MARK_BYTES else after


def _lines(printer: _Printer, text: bytes) -> Iterator[PrintedLine]:
    for start in range(0, max(1, len(text)), LINE_BYTES):
        yield _line(printer, text[start : start + LINE_BYTES])


def _line(printer: _Printer, text: bytes) -> PrintedLine:
    return PrintedLine(text.decode("utf-8", "replace"), printer.task, printer.target)
