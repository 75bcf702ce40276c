"""How a task looks."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest

from wetlands_rx._task.text import TaskView, line, page, progress_text, ratio


@pytest.mark.parametrize(
    ("current", "maximum", "message", "text"),
    [
        (None, None, None, ""),
        (None, None, "loading", "loading"),
        (None, 100, "loading", "loading"),
        (3, None, None, "3"),
        (3, 10, None, "3/10"),
        (3, 10, "tile 3", "3/10 tile 3"),
        (0, 0, None, "0/0"),
        (0.5, 1.0, None, "0.5/1"),
        (-1, 10, "", "-1/10"),
        (1_234_567, 20_000_000, None, "1234567/20000000"),
        (math.nan, math.inf, None, "nan/inf"),
    ],
)
def test_progress_in_words(current: float | None, maximum: float | None, message: str | None, text: str) -> None:
    assert progress_text(current, maximum, message) == text


def test_progress_in_words_never_raises() -> None:
    assert progress_text(10**400, 10**500, "huge").endswith(" huge")


@pytest.mark.parametrize(
    ("current", "maximum", "share"),
    [
        (None, 10, None),
        (1, None, None),
        (1, 0, None),
        (1, -5, None),
        (0, 10, 0.0),
        (5, 10, 0.5),
        (15, 10, 1.0),
        (-5, 10, 0.0),
        (10**400, 2 * 10**400, 0.5),
        (10**400, 1, 1.0),
        (-(10**400), 1, 0.0),
    ],
)
def test_the_share_that_is_done(current: float | None, maximum: float | None, share: float | None) -> None:
    assert ratio(current, maximum) == share


@pytest.mark.parametrize(
    ("current", "maximum"), [(math.nan, 10), (1, math.nan), (math.inf, math.inf), (1, math.inf), (math.inf, 1)]
)
def test_the_share_lies_between_0_and_1_or_is_not_known(current: float, maximum: float) -> None:
    share = ratio(current, maximum)
    assert share is None or 0.0 <= share <= 1.0


def view(**other: object) -> TaskView:
    nothing = TaskView("0f0f0f0f-3f2a", "segment.py:segment", "running", None, None, None, None, None, None)
    return nothing._replace(**other)


def test_a_line_for_a_console() -> None:
    shown = line(view(current=42, maximum=100, message="tile 42", elapsed=1.26))
    assert shown == "<Task f0f-3f2a segment.py:segment running 42/100 tile 42 1.3 s>"


def test_a_line_shows_the_first_line_of_an_error() -> None:
    assert line(view(status="failed", error="ValueError: no\nmore")).endswith(" failed 'ValueError: no'>")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append(tag)
        self.attributes.update(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_balanced_and_escaped() -> None:
    evil = "<script>alert('&')</script>"
    shown = page(
        view(name=evil, message=evil, error=evil, traceback=[evil], current=1, maximum=4, elapsed=2.0, status="failed")
    )
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 4
    tags = Tags()
    tags.feed(shown)
    assert tags.open == []
    assert tags.attributes["value"] == "0.250"


def test_a_page_shows_the_end_of_a_long_traceback() -> None:
    shown = page(view(error="no", traceback=[f"line {number}." for number in range(500)]))
    assert "line 499." in shown
    assert "line 10." not in shown
