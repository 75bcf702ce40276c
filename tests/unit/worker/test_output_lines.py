"""What comes out of a worker, as lines."""

from __future__ import annotations

import pytest

from wetlands_rx._wire.printed import BEGIN, END, MOST_BYTES, MOST_MARK_BYTES, encode_mark, text_of_target
from wetlands_rx._worker.output_lines import LINE_BYTES, MOST_BEGUN, OutputLines, PrintedLine


def marked(number: int, text: bytes) -> bytes:
    return encode_mark(number, b"a.py:f", len(text)) + text


def texts(*pieces: bytes) -> list[str]:
    lines = OutputLines()
    return [line.text for piece in pieces for line in lines.received(piece)] + [line.text for line in lines.ended()]


def test_text_with_a_mark_is_the_tasks_and_text_without_one_is_nobodys() -> None:
    assert OutputLines().received(marked(7, b"one\n") + b"raw\n" + marked(8, b"two\n")) == [
        PrintedLine("one", 7, "a.py:f"),
        PrintedLine("raw"),
        PrintedLine("two", 8, "a.py:f"),
    ]


def test_lines_of_several_tasks_grow_side_by_side() -> None:
    lines = OutputLines()
    assert lines.received(marked(7, b"se") + marked(8, b"ei") + b"nobo") == []
    assert lines.received(marked(8, b"ght\n") + b"dy\n" + marked(7, b"ven\n")) == [
        PrintedLine("eight", 8, "a.py:f"),
        PrintedLine("nobody"),
        PrintedLine("seven", 7, "a.py:f"),
    ]


def test_an_empty_mark_ends_the_line_that_was_begun() -> None:
    lines = OutputLines()
    assert lines.received(marked(7, b"no end")) == []
    assert lines.received(marked(7, b"")) == [PrintedLine("no end", 7, "a.py:f")]
    assert lines.received(marked(7, b"")) == []


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"a\r\r\nb", ["a", "b"]),
        (b"\r  0%\r 50%\r100%\n", ["  0%", " 50%", "100%"]),
        (b"\r50%\r    \rdone\n", ["50%", "done"]),
        (b"a\rb", ["a", "b"]),
        (b"\xc3\xa9\xff\n", ["é\ufffd"]),
    ],
)
def test_a_line_ends_with_a_newline_a_carriage_return_or_both(written: bytes, lines: list[str]) -> None:
    assert texts(written) == lines
    assert texts(*(written[at : at + 1] for at in range(len(written)))) == lines


@pytest.mark.parametrize(
    "forged",
    [
        BEGIN + b"ffff;1;a.py:f" + END,
        BEGIN + b"%x;1;a.py:f" % (MOST_BYTES + 1) + END,
        BEGIN + b"05;1;a.py:f" + END,
        BEGIN + b"5;1" + b"0" * 12 + b";a.py:f" + END,
        BEGIN + b"5;-1;a.py:f" + END,
        BEGIN + b"5;1;" + END,
        BEGIN + b"5;1;\xff" + END,
        BEGIN + b"5;1;a.py\x1e:f" + END,
        BEGIN + BEGIN + END,
        BEGIN + b"5;1;" + b"a" * MOST_MARK_BYTES + END,
    ],
)
def test_what_only_looks_like_a_mark_is_text(forged: bytes) -> None:
    lines = OutputLines()
    assert lines.received(forged + b" and so on\n" + marked(7, b"real\n")) == [
        PrintedLine((forged + b" and so on").decode("utf-8", "replace")),
        PrintedLine("real", 7, "a.py:f"),
    ]


def test_a_mark_that_never_ends_is_text_at_the_end() -> None:
    assert texts(BEGIN + b"5;1;a") == [(BEGIN + b"5;1;a").decode()]
    assert texts(BEGIN[:2]) == [BEGIN[:2].decode()]


def test_text_of_a_task_may_hold_marks() -> None:
    inside = marked(8, b"inside")
    assert OutputLines().received(marked(7, inside + b"\n")) == [PrintedLine(inside.decode(), 7, "a.py:f")]


def test_output_without_line_ends_is_cut() -> None:
    lines = OutputLines()
    found = lines.received(b"x" * (2 * LINE_BYTES + 1))
    assert [len(line.text) for line in found] == [LINE_BYTES, LINE_BYTES]
    assert [line.text for line in lines.received(b"\n")] == ["x"]


def test_only_so_many_lines_may_be_begun_at_a_time() -> None:
    lines = OutputLines()
    found = [line for number in range(MOST_BEGUN + 2) for line in lines.received(marked(number, b"begun"))]
    assert [line.task for line in found] == [0, 1]
    assert len(lines.ended()) == MOST_BEGUN


@pytest.mark.parametrize("name", ["é" * 500, "\U0001f600" * 500, "\udc80", "a;b\n\x03c", "\x1e\x02wx;"])
def test_a_mark_holds_any_name(name: str) -> None:
    text = text_of_target(name)
    mark = encode_mark(2**48 - 1, text, MOST_BYTES)
    assert len(mark) <= MOST_MARK_BYTES
    lines = OutputLines()
    lines.received(mark)
    assert lines.received(b"1\n") == [PrintedLine("1", 2**48 - 1, text.decode())]
