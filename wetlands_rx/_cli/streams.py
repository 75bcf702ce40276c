"""The standard streams, which need not be there, and need not take what is written."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

_NAMES = ("stdin", "stdout", "stderr")


class OutputError(Exception):
    """A standard stream does not take what is written, though somebody has it open; one line for that person."""


def prepare() -> None:
    """Make the standard streams usable: one that is missing reads and takes nothing, text of any kind goes through.

    Source: Python, `sys.stdin`: a stream is None when its descriptor is closed.
    """
    for name in _NAMES:
        if getattr(sys, name) is None:
            setattr(sys, name, _null(writes=name != "stdin"))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not know every letter, nor an item be UTF-8
            with contextlib.suppress(io.UnsupportedOperation):  # somebody in this process has read some of stdin
                stream.reconfigure(errors="surrogateescape" if name == "stdin" else "backslashreplace")


def put(stream: TextIO, text: str) -> None:
    """Write, and see to it that it arrives.

    Raises:
        BrokenPipeError: nobody reads any more.
        OutputError: it cannot be written.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "standard error" if stream is sys.stderr else "standard output"
        raise OutputError(f"cannot write to {name}: {error.strerror}") from error


def try_to_put(stream: TextIO, text: str) -> None:
    """Write, if that is possible."""
    with contextlib.suppress(OSError, OutputError):
        put(stream, text)


def give_up_broken() -> None:
    """Send what a stream could not get rid of nowhere. Python would complain about it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def _null(*, writes: bool) -> TextIO:
    descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, hence the missing one itself
    if descriptor < len(_NAMES):
        os.set_inheritable(descriptor, True)  # as the standard streams are
    return open(descriptor, "w" if writes else "r", encoding="utf-8", closefd=False)
