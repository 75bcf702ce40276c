"""Whose a piece of printed text is: the mark that goes before it in a worker's standard output and error.

Prints share the pipe with what C code and other programs write to the same descriptor, which bears no mark. So each
mark stands for itself: it says whose the next bytes are and how many. A write of mark and text is no longer than what
the kernel keeps in one piece, so that other writers cannot come between, and needs nothing to be known of them.

    1e 02 "wx;"   the beginning
    hex           how many bytes of text follow; 0 when the line that was begun ends here
    ";" hex       the number of the task
    ";" text      what it calls, "segment.py:segment", without control characters
    03            the end
"""

from __future__ import annotations

BEGIN = b"\x1e\x02wx;"
END = b"\x03"
MOST_BYTES = 4096
"""No mark with its text is longer; also what Linux writes to a pipe in one piece."""
MOST_MARK_BYTES = 450
"""No mark alone is longer."""
NUMBER_BITS = 48
"""As many as a task's number has."""
_MOST_CHARACTERS = 100  # of four bytes each


def text_of_target(target: str) -> bytes:
    """What is called, as it stands in a mark: control characters are replaced, the middle of a long name left out."""
    if len(target) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2 - 1
        target = target[:half] + ".." + target[-half:]
    return "".join(c if c.isprintable() else "?" for c in target).encode("utf-8")


def encode_mark(number: int, target: bytes, text_bytes: int) -> bytes:
    """Build the mark of `text_bytes` bytes of text that the task `number` printed."""
    return b"%b%x;%x;%b%b" % (BEGIN, text_bytes, number, target, END)
