"""Run a program to its end, and leave nothing of it behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

_POLL_S = 0.05
_LINE_BYTES = 1 << 22
"""A longer line is cut into pieces, so that output without line ends costs no memory."""
_READ_BYTES = 1 << 16
_REST_S = 1.0


def run(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    stdin: bytes = b"",
    hold: Sequence[int] = (),
    on_line: Callable[[str], object] = lambda _line: None,
    timeout_s: float | None = None,
) -> int:
    """Run a program in a session of its own and wait for it; its output and its errors come line by line.

    Whatever ends the wait (the program's end, an exception of `on_line`, KeyboardInterrupt), the whole session is
    killed, so that nothing which the program started in it is left.

    Args:
        command: The program and its arguments.
        variables: Its complete environment variables.
        stdin: What it reads.
        hold: Descriptors that it and what it starts inherit.
        on_line: Receives each line without its end, in the calling thread.
        timeout_s: How long to wait at most.
    Returns:
        Its exit code; negative for the signal that ended it.
    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end in time.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        process = _Session(command, dict(variables), given.fileno(), hold)
    try:
        _read(process, _Lines(on_line), deadline)
        while process.poll() is None:  # it has closed its output, and goes on
            _in_time(deadline, command)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
        return process.returncode
    finally:
        process.end()


def ending(code: int) -> tuple[int | None, int | None]:
    """Split what `run` returns into an exit code and a signal's number, one of which is None."""
    return (None, -code) if code < 0 else (code, None)


class _Session(subprocess.Popen[bytes]):
    """A process that leads a session of its own: no terminal, and one signal reaches all of it."""

    def __init__(self, command: Sequence[str], variables: dict[str, str], stdin: int, hold: Sequence[int]) -> None:
        options: dict[str, Any] = {"env": variables, "pass_fds": tuple(hold), "start_new_session": True}
        try:
            super().__init__(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        except Exception:
            raise
        except BaseException:  # Ctrl-C between the fork and here: nobody else knows the process yet
            if getattr(self, "pid", None) is not None:
                self.end()
            raise

    def end(self) -> None:
        """Kill what is left of the session and collect the process."""
        with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        if self.stdout is not None:
            self.stdout.close()


class _Lines:
    """Cuts bytes into lines."""

    def __init__(self, on_line: Callable[[str], object]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take more bytes; a carriage return ends a line too."""
        *whole, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            self._emit(line)
        if len(self._rest) >= _LINE_BYTES:
            self.finish()

    def finish(self) -> None:
        """There is no more."""
        rest, self._rest = self._rest, b""
        self._emit(rest)

    def _emit(self, line: bytes) -> None:
        if line:
            self._on_line(line.decode("utf-8", "replace"))


def _read(process: _Session, lines: _Lines, deadline: float | None) -> None:
    """Read until the output ends; or the process, since what it leaves behind may hold its output open."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        rest_until: float | None = None
        while rest_until is None or time.monotonic() < rest_until:
            _in_time(deadline, process.args)
            if rest_until is None and process.poll() is not None:
                rest_until = time.monotonic() + _REST_S
            if not selector.select(_POLL_S if rest_until is None else 0):
                if rest_until is not None:
                    break
                continue
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                break
            lines.feed(data)
    lines.finish()


def _in_time(deadline: float | None, command: object) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise TimeoutError(f"{command!r} did not end in time")
