"""How a task looks: one line for a console, plain HTML for a notebook. Pure."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

_MOST_TRACEBACK_LINES = 60
_WRITTEN_OUT_BELOW = 10**15


class TaskView(NamedTuple):
    """What is shown of a task at one moment; times in seconds."""

    id: str
    name: str
    status: str
    message: str | None
    current: float | None
    maximum: float | None
    elapsed: float | None
    error: str | None
    traceback: Sequence[str] | None


def progress_text(current: float | None, maximum: float | None, message: str | None) -> str:
    """One line such as `42/100 tile 42`; empty when there is nothing to say."""
    count = ""
    if current is not None:
        count = _number(current) if maximum is None else f"{_number(current)}/{_number(maximum)}"
    return " ".join(part for part in (count, message or "") if part)


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) < _WRITTEN_OUT_BELOW:
        return str(value)
    try:
        return f"{value:g}"
    except OverflowError:  # an integer beyond the largest float
        return "-inf" if value < 0 else "inf"


def ratio(current: float | None, maximum: float | None) -> float | None:
    """The share that is done, from 0 to 1; None when it is not known."""
    if current is None or maximum is None or not maximum > 0:
        return None
    if current >= maximum:
        return 1.0
    try:
        share = max(0.0, current / maximum)
    except OverflowError:  # an integer beyond the largest float, and a float
        return 0.0
    return None if math.isnan(share) else share


def first_line(text: str) -> str:
    """The beginning of a text that may be long."""
    return text.split("\n", 1)[0][:120]


def duration(seconds: float) -> str:
    """`4 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def line(view: TaskView) -> str:
    """`<Task 3f2a segment.py:segment running 42/100 tile 42 1.3 s>`."""
    parts = ["Task", view.id[-8:], view.name, view.status, progress_text(view.current, view.maximum, view.message)]
    if view.error is not None:
        parts.append(repr(first_line(view.error)))
    if view.elapsed is not None:
        parts.append(f"{view.elapsed:.1f} s")
    return f"<{' '.join(part for part in parts if part)}>"


def page(view: TaskView) -> str:
    """The same as HTML without script or style sheet; all text is escaped."""
    cells = [f"<code>{html.escape(view.name)}</code>", f"<b>{html.escape(view.status)}</b>"]
    share = ratio(view.current, view.maximum)
    if share is not None:
        cells.append(f'<progress value="{share:.3f}" max="1"></progress>')
    text = progress_text(view.current, view.maximum, view.message)
    if text:
        cells.append(html.escape(text))
    if view.elapsed is not None:
        cells.append(f"{view.elapsed:.1f} s")
    out = f'<div class="wetlands-task">{" &nbsp; ".join(cells)}'
    if view.error is not None:
        out += f'<div style="color:#b00020">{html.escape(view.error)}</div>'
    if view.traceback:
        shown = "\n".join(view.traceback[-_MOST_TRACEBACK_LINES:])
        out += f"<details><summary>remote traceback</summary><pre>{html.escape(shown)}</pre></details>"
    return out + "</div>"


def batch_page(summary: str, share: float, errors: Iterable[str], most_errors: int) -> str:
    """A batch as HTML: a bar, one line, and the first errors; all text is escaped."""
    out = f'<div class="wetlands-batch"><progress value="{share:.3f}" max="1"></progress> &nbsp; {html.escape(summary)}'
    for error in islice(errors, most_errors):
        out += f'<div style="color:#b00020">{html.escape(first_line(error))}</div>'
    return out + "</div>"
