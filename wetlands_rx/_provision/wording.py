"""Small helpers for messages. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CREDENTIALS = re.compile(r"(?<=://)[^/\s'\"]*(?=@)")  # greedy: a password may hold an @


def redacted(text: str) -> str:
    """Replace the user and the password in each URL of a text by `***`."""
    return _CREDENTIALS.sub("***", text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word and name them all, as `"did you mean 'pip'? Known are: conda, pip"`."""
    words = list(known)
    folded = {other.casefold(): other for other in words}
    near = difflib.get_close_matches(word.casefold(), folded, 1, 0.5)
    return (f"did you mean {folded[near[0]]!r}? " if near else "") + "Known are: " + ", ".join(words)


def version_text(version: tuple[int, ...]) -> str:
    """Write `(3, 11, 7)` as `3.11.7`."""
    return ".".join(map(str, version))
