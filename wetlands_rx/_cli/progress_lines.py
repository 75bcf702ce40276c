"""Lines for people: text from elsewhere made harmless, progress, times. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a control sequence, such as a color
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # a string, such as a window's title
    r"|\x1b.?",
    re.DOTALL,
)
_HARMFUL = frozenset(("Cc", "Cf", "Co", "Cn", "Zl", "Zp"))


@dataclass(frozen=True)
class Row:
    """What one running task last said."""

    label: str
    message: str | None = None
    current: float | None = None
    maximum: float | None = None


def clean(text: str) -> str:
    """One line of the text without anything that could steer a terminal; line ends and tabs become spaces.

    What no encoding has, such as the bytes of an argument that is not UTF-8, is shown by an escape, not left out.

    Source: ECMA-48, section 5.4, for the shape of control sequences.
    """
    text = _ESCAPES.sub("", text)
    if text.isprintable():
        return text.strip()
    text = text.encode("utf-8", "backslashreplace").decode()
    kept = (" " if letter in "\t\n\v\f\r\x85\u2028\u2029" else letter for letter in text)
    return "".join(letter for letter in kept if unicodedata.category(letter) not in _HARMFUL).strip()


def clean_lines(lines: Iterable[str]) -> list[str]:
    """The lines one by one, indentation kept; what holds a line end becomes several."""
    parts = (part for line in lines for part in line.splitlines() or [""])
    return [_indentation(part) + clean(part) for part in parts]


def clip(text: str, width: int) -> str:
    """At most `width` columns of the text; what is cut is shown by an ellipsis."""
    if columns(text) <= width:
        return text
    kept: list[str] = []
    used = 1
    for letter in text:
        used += _columns(letter)
        if used > width:
            break
        kept.append(letter)
    return "".join(kept) + "…" if width > 0 else ""


def columns(text: str) -> int:
    """How many columns a terminal needs for it."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def bar(share: float, width: int) -> str:
    """A bar such as `[####----]`, `width` columns wide.

    Args:
        share: What is done, from 0 to 1; beyond is cut.
        width: At least 3.
    """
    full = round(min(1.0, max(0.0, share)) * (width - 2))
    return "[" + "#" * full + "-" * (width - 2 - full) + "]"


def describe(row: Row) -> str:
    """What a task says of itself: `coins 3/6 threshold`."""
    count = ""
    if row.current is not None:
        count = f"{row.current:g}" if row.maximum is None else f"{row.current:g}/{row.maximum:g}"
    return " ".join(part for part in (row.label, count, clean(row.message or "")) if part)


def counts(done: int, failed: int, canceled: int, total: int) -> str:
    """What has ended: `3 of 10 done, 1 failed`."""
    parts = [f"{done} of {total} done"]
    if failed:
        parts.append(f"{failed} failed")
    if canceled:
        parts.append(f"{canceled} canceled")
    return ", ".join(parts)


def status_line(head: str, ended: int, total: int, rows: Sequence[Row], width: int) -> str:
    """The one line that is redrawn: a bar, what has ended, what runs.

    Args:
        head: What has ended, in words.
        ended: How many tasks have.
        total: How many there are.
        rows: Those that run.
        width: Columns of the terminal; the line keeps one free, since some terminals wrap when the last is used.
    """
    parts = [bar(ended / total if total else 0.0, 18), head]
    if rows:
        parts.append("| " + " | ".join(describe(row) for row in rows))
    return clip(" ".join(parts), width - 1)


def seconds(time_s: float | None) -> str:
    """A duration for people: `0.42 s`, `12.3 s`, `3 min 20 s`; empty when it is not known."""
    if time_s is None:
        return ""
    if time_s < 9.995:
        return f"{time_s:.2f} s"
    if time_s < 99.95:
        return f"{time_s:.1f} s"
    minutes, rest = divmod(round(time_s), 60)
    return f"{minutes} min {rest} s"


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _indentation(text: str) -> str:
    return " " * (len(text) - len(text.lstrip(" ")))
