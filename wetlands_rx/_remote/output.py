"""What a worker prints, marked with the task that printed it.

`sys.stdout` and `sys.stderr` become text streams over a `MarkedWriter`. A task that prints nothing costs nothing: who
prints is asked when something is printed. A thread belongs to the task that started it, for as long as it lives, and
so do a process that is forked and a thread that such a thread starts.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import threading
from typing import Any, Callable, Dict, NoReturn, Optional, Set, Tuple

from wetlands_rx._wire.printed import MOST_BYTES, MOST_MARK_BYTES, encode_mark, text_of_target
from wetlands_rx._wire.target import shown_target

_HELD_BYTES = 2048
"""A line that is longer goes out in pieces."""
_WHOLE_BYTES = min(MOST_BYTES, max(512, getattr(select, "PIPE_BUF", 512)))
"""A write to a pipe that is no longer than this is never torn apart."""
_ROOM_BYTES = _WHOLE_BYTES - min(MOST_MARK_BYTES, _WHOLE_BYTES // 2)
_BUSY_S = 0.02
_OWNER = "_wetlands_printer"


class Printer:
    """A call, as far as its printing goes; outlives it where threads do.

    Attributes:
        number: The task's number.
        unfinished: The descriptors on which its last line is not ended.
    """

    __slots__ = ("_name", "_path", "_text", "number", "unfinished")

    def __init__(self, number: int, path: str, name: str = "") -> None:
        self.number = number
        self.unfinished: Set[int] = set()
        self._path = path
        self._name = name
        self._text: Optional[bytes] = None

    def mark(self, text_bytes: int) -> bytes:
        """What goes before this many bytes of its text."""
        if self._text is None:
            shown = shown_target(self._path, self._name) if self._name else os.path.basename(self._path)
            self._text = text_of_target(shown)
        return encode_mark(self.number, self._text, text_bytes)


class Printers:
    """Knows which call the running thread prints for.

    Attributes:
        running: The call on the main thread; None between calls.
    """

    def __init__(self) -> None:
        self.running: Optional[Printer] = None
        self._main = threading.get_ident()

    def of(self, thread: int) -> Optional[Printer]:
        """The call that the running thread, which this is, belongs to; None when no call started it."""
        if thread == self._main:
            return self.running
        return getattr(threading.current_thread(), _OWNER, None)

    def inherit(self) -> None:
        """From now on a thread belongs to the call of the thread that starts it."""
        start: Callable[[threading.Thread], None] = threading.Thread.start

        def start_inheriting(thread: threading.Thread) -> None:
            setattr(thread, _OWNER, self.of(threading.get_ident()))
            start(thread)

        start_inheriting.__doc__ = start.__doc__
        setattr(threading.Thread, "start", start_inheriting)  # noqa: B010 - type checkers refuse an assignment


_Piece = Tuple[Optional[Printer], bytes]
"""Text, and for whom it is printed. Not a named tuple: each print makes two."""


class MarkedWriter(io.BufferedIOBase):
    """The binary layer below `sys.stdout`: holds each thread's line until it ends, then writes it with a mark.

    Safe from any thread, in finalizers and signal handlers, and in forked children. Without a call to print for, and
    once the user's code has put the descriptor elsewhere (`os.dup2`), the text goes out as it is.

    Args:
        descriptor: Where it writes; stays open when this is closed.
        name: As in `sys.stdout.name`.
        printers: Knows who prints.
    """

    def __init__(self, descriptor: int, name: str, printers: Printers) -> None:
        self._descriptor = descriptor
        self._raw = io.FileIO(descriptor, "w", closefd=False)
        self._name = name
        self._printers = printers
        self._place = _place_of(descriptor)
        self._held: Dict[int, _Piece] = {}  # by thread
        self._order = threading.Lock()

    def write(self, data: Any, /) -> int:
        """Take bytes; they go out with the end of the line, with a flush or when there are many."""
        if self.closed:
            raise ValueError("write to closed file")
        text = data if type(data) is bytes else memoryview(data).tobytes()
        thread = threading.get_ident()
        piece = (self._printers.of(thread), text)
        if b"\n" in text or b"\r" in text or len(text) > _HELD_BYTES:
            self._emit(thread, piece)
        elif text and self._held.setdefault(thread, piece) is not piece:
            self._add(thread, piece)
        return len(text)

    def flush(self) -> None:
        """Write what is held, of all threads."""
        if self.closed:
            raise ValueError("flush of closed file")
        for thread in list(self._held):
            self._emit(thread, None)

    @property
    def holds(self) -> bool:
        """True while a line waits for its end."""
        return bool(self._held)

    def finish(self, printer: Printer) -> None:
        """At the end of a call: the line that it has begun ends here."""
        if self._held:
            self.flush()
        if self._descriptor in printer.unfinished:
            self._emit(threading.get_ident(), None)
            printer.unfinished.discard(self._descriptor)
            if not self._is_elsewhere():
                _write_all(self._descriptor, printer.mark(0))

    def renew(self) -> None:
        """In a forked child: the parent's threads may have held the lock, and the parent prints what is held."""
        self._order = threading.Lock()
        self._held = {}

    @property
    def raw(self) -> io.RawIOBase:
        """The descriptor as a file; what is written there bears no mark."""
        return self._raw

    @property
    def name(self) -> str:
        """As that of the stream it stands for."""
        return self._name

    @property
    def mode(self) -> str:
        """As for every binary file that is written."""
        return "wb"

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """False, unless the user's code has put a terminal there."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """True."""
        return True

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError("cannot pickle {!r}: it is a stream of this process".format(self._name))

    def _add(self, thread: int, piece: _Piece) -> None:
        """Hold what is printed after what is held already. A finalizer may print, and so come here, at any point."""
        while self._held.setdefault(thread, piece) is not piece:
            before = self._held.pop(thread, None)
            if before is None:
                continue
            if before[0] is piece[0] and len(before[1]) <= _HELD_BYTES:
                piece = (piece[0], before[1] + piece[1])
            else:
                self._held.setdefault(thread, before)
                self._emit(thread, None)

    def _emit(self, thread: int, piece: Optional[_Piece]) -> None:
        """Write what is held of a thread, and a piece after it."""
        # The lock keeps a thread's pieces in order while another one flushes. Whoever cannot have it soon, because the
        # pipe is full or because it interrupted its very holder (a finalizer, a signal handler), goes on without.
        locked = self._order.acquire(False) or self._order.acquire(timeout=_BUSY_S)
        try:
            before = self._held.pop(thread, None)
            if before is not None and piece is not None and before[0] is piece[0]:
                piece = (piece[0], before[1] + piece[1])
            elif before is not None:
                self._write(*before)
            if piece is not None:
                self._write(*piece)
        finally:
            if locked:
                self._order.release()

    def _write(self, printer: Optional[Printer], text: bytes) -> None:
        if printer is None or self._is_elsewhere():
            _write_all(self._descriptor, text)
            return
        if text.endswith(b"\n"):
            printer.unfinished.discard(self._descriptor)
        else:
            printer.unfinished.add(self._descriptor)
        if len(text) <= _ROOM_BYTES:
            _write_all(self._descriptor, printer.mark(len(text)) + text)
            return
        for start in range(0, len(text), _ROOM_BYTES):
            part = text[start : start + _ROOM_BYTES]
            _write_all(self._descriptor, printer.mark(len(part)) + part)

    def _is_elsewhere(self) -> bool:
        return _place_of(self._descriptor) != self._place


class Output:
    """The standard streams of a worker while it runs calls."""

    def __init__(self) -> None:
        self._printers = Printers()
        self._streams: Dict[str, Tuple[io.TextIOWrapper, MarkedWriter]] = {}

    def install(self) -> None:
        """Replace `sys.stdout` and `sys.stderr`; once, on the main thread."""
        self._printers.inherit()
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            writer = MarkedWriter(descriptor, "<{}>".format(name), self._printers)
            os.register_at_fork(after_in_child=writer.renew)
            # Each piece of text goes on to the writer, which keeps the lines of different threads apart.
            stream = io.TextIOWrapper(writer, encoding="utf-8", errors="backslashreplace", write_through=True)
            stream.mode = "w"  # type: ignore[misc]  # as Python itself does with them
            self._streams[name] = stream, writer
            setattr(sys, name, stream)
            setattr(sys, "__{}__".format(name), stream)

    def begin(self, number: int, path: str, name: str = "") -> None:
        """What the main thread prints from now on belongs to this task."""
        self._printers.running = Printer(number, path, name)

    def end(self) -> None:
        """The call has ended: its lines go out, and the main thread prints for nobody."""
        printer, self._printers.running = self._printers.running, None
        if not (printer and printer.unfinished) and self._is_quiet():
            return  # as after most calls
        for name, (ours, writer) in self._streams.items():
            stream = getattr(sys, name, None)
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the user's code closed or replaced it
                if stream is not ours:
                    stream.flush()  # type: ignore[union-attr]
                if printer is not None:
                    writer.finish(printer)

    def _is_quiet(self) -> bool:
        """True when the streams are ours and nothing is held."""
        (stdout, out), (stderr, err) = self._streams["stdout"], self._streams["stderr"]
        return sys.stdout is stdout and sys.stderr is stderr and not (out.holds or err.holds)


def _place_of(descriptor: int) -> Tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _write_all(descriptor: int, data: bytes) -> None:
    while True:
        try:
            written = os.write(descriptor, data)
        except BlockingIOError:  # a program that shares the pipe has made it non-blocking
            select.select((), (descriptor,), ())
            continue
        if written == len(data):
            return
        data = data[written:]
