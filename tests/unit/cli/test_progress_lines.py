"""Lines for people: harmless, short, right."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._cli.progress_lines import (
    Row,
    bar,
    clean,
    clean_lines,
    clip,
    columns,
    counts,
    describe,
    seconds,
    status_line,
)

texts = st.text(st.characters(), max_size=60)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]0;a title\x1b\\text", "text"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1b]8;;never ends", ""),
        ("one\r\x1b[2Ktwo", "one two"),
        ("a\tb\nc", "a b c"),
        ("bell\x07 null\x00 delete\x7f next\x9b31m", "bell null delete next31m"),
        ("left\u202eright", "leftright"),
        ("lone \ud800", r"lone \ud800"),
        ("caf\udce9", r"caf\udce9"),
        ("日本 é", "日本 é"),
    ],
)
def test_nothing_that_steers_a_terminal_stays(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(texts)
def test_whatever_comes_one_printable_line_goes_out(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(letter).startswith("C") for letter in shown)
    assert len(shown.splitlines()) <= 1
    assert clean(shown) == shown


def test_lines_keep_their_indentation_and_their_number() -> None:
    assert clean_lines(["Traceback", '  File "x.py"', "    \x1b[1mraise\x1b[0m", "", "a\nb"]) == [
        "Traceback",
        '  File "x.py"',
        "    raise",
        "",
        "a",
        "b",
    ]


@given(texts, st.integers(0, 40))
def test_a_clipped_text_fits(text: str, width: int) -> None:
    assert columns(clip(clean(text), width)) <= width


@pytest.mark.parametrize(
    ("text", "width", "clipped"),
    [
        ("short", 10, "short"),
        ("longer than that", 6, "longe…"),
        ("日本語", 5, "日本…"),
        ("日本語", 6, "日本語"),
        ("ab", 0, ""),
    ],
)
def test_what_is_cut_shows_an_ellipsis(text: str, width: int, clipped: str) -> None:
    assert clip(text, width) == clipped


def test_a_wide_letter_needs_two_columns_and_an_accent_none() -> None:
    assert columns("日e\u0301") == 3


@pytest.mark.parametrize(
    ("share", "picture"), [(0, "[----]"), (0.5, "[##--]"), (1, "[####]"), (7, "[####]"), (-1, "[----]")]
)
def test_a_bar_never_leaves_its_frame(share: float, picture: str) -> None:
    assert bar(share, 6) == picture


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row("coins"), "coins"),
        (Row("coins", "threshold", 2, 6), "coins 2/6 threshold"),
        (Row("coins", None, 2), "coins 2"),
        (Row("coins", "\x1b[5mblink", 0.5, 1), "coins 0.5/1 blink"),
        (Row("coins", "too far", 9, 6), "coins 9/6 too far"),
    ],
)
def test_progress_in_words(row: Row, text: str) -> None:
    assert describe(row) == text


def test_counts_name_failures_only_when_there_are_some() -> None:
    assert counts(3, 0, 0, 10) == "3 of 10 done"
    assert counts(3, 1, 2, 10) == "3 of 10 done, 1 failed, 2 canceled"


def test_the_status_line_shows_what_ended_and_what_runs() -> None:
    line = status_line("2 of 4 done", 2, 4, [Row("coins", "clean", 3, 6), Row("page")], 80)
    assert line == "[########--------] 2 of 4 done | coins 3/6 clean | page"


@given(st.lists(st.builds(Row, texts, texts), max_size=5), st.integers(2, 100))
def test_the_status_line_never_wraps(rows: list[Row], width: int) -> None:
    rows = [Row(clean(row.label), row.message) for row in rows]
    assert columns(status_line("1 of 9 done", 1, 9, rows, width)) < width


def test_no_task_at_all_has_a_status_line() -> None:
    assert status_line("0 of 0 done", 0, 0, [], 80) == "[----------------] 0 of 0 done"


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(None, ""), (0.4213, "0.42 s"), (9.996, "10.0 s"), (12.34, "12.3 s"), (99.96, "1 min 40 s"), (3601, "60 min 1 s")],
)
def test_durations_in_words(time_s: float | None, text: str) -> None:
    assert seconds(time_s) == text
