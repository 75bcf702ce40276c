"""Lines of output, however the bytes are cut on their way and whatever else writes to the pipe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._wire.printed import BEGIN, END, encode_mark, text_of_target
from wetlands_rx._worker.output_lines import OutputLines, PrintedLine

TARGETS = st.sampled_from(["a.py:f", "b.py:g", "é \udc80\n;.py:" + "long" * 50])
TASKS = st.tuples(st.integers(0, 9), TARGETS)
TEXT = st.lists(
    st.sampled_from([b"text", b" ", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff", BEGIN, END, b"\x1e", b""])
    | st.binary(max_size=8),
    max_size=8,
).map(b"".join)
NEARLY_MARKS = st.tuples(st.integers(0, 40), TEXT).map(lambda cut: encode_mark(3, b"a.py:f", 5)[: cut[0]] + cut[1])


def marked(task: tuple[int, str], text: bytes) -> bytes:
    return encode_mark(task[0], text_of_target(task[1]), len(text)) + text


def lines_of(pieces: list[bytes]) -> list[PrintedLine]:
    lines = OutputLines()
    found = [line for piece in pieces for line in lines.received(piece)]
    return found + lines.ended()


@given(
    st.lists(st.builds(marked, TASKS, TEXT) | TEXT | NEARLY_MARKS, max_size=12).map(b"".join),
    st.lists(st.integers(1, 40)),
)
def test_the_lines_are_the_same_however_the_bytes_are_cut(stream: bytes, sizes: list[int]) -> None:
    pieces: list[bytes] = []
    rest = stream
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert lines_of([*pieces, rest]) == lines_of([stream])
    assert lines_of([stream[at : at + 1] for at in range(len(stream))]) == lines_of([stream])


@given(st.lists(st.tuples(st.integers(0, 5), st.text(st.sampled_from("ab\n\x1e\x02wx;"), max_size=30)), max_size=12))
def test_each_task_gets_back_the_lines_that_it_printed_whatever_they_hold(prints: list[tuple[int, str]]) -> None:
    found = lines_of([b"".join(marked((task, "a.py:f"), text.encode()) for task, text in prints if text)])
    for number in range(6):
        printed = "".join(text for task, text in prints if task == number)
        whole = printed.removesuffix("\n").split("\n") if printed else []
        assert [line.text for line in found if line.task == number] == whole
    assert {line.target for line in found} <= {"a.py:f"}


@given(st.binary(max_size=300).filter(lambda stream: BEGIN not in stream))
def test_bytes_without_marks_lose_nothing_but_line_ends(stream: bytes) -> None:
    text = "".join(line.text for line in lines_of([stream]))
    assert "".join(text.split()) == "".join(stream.decode("utf-8", "replace").split())
