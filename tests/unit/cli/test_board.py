"""Counting, and telling in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._cli.board import Board, InOrder
from wetlands_rx._cli.progress_lines import Row


def test_a_board_counts_ends_and_shows_what_runs() -> None:
    board = Board(4)
    board.told("a", Row("a"))
    board.told("b", Row("b", "half", 1, 2))
    board.told("a", Row("a", "soon"))
    board.ends("c", "failed")
    assert (board.done, board.failed, board.canceled, board.ended) == (0, 1, 0, 1)
    assert board.line(80) == "[####------------] 0 of 4 done, 1 failed | a soon | b 1/2 half"
    board.ends("a", "done")
    board.ends("b", "canceled")
    assert board.line(80) == "[############----] 1 of 4 done, 1 failed, 1 canceled"


@given(st.permutations(range(8)))
def test_ordered_things_come_in_order_each_as_early_as_it_can(arrivals: list[int]) -> None:
    order, told = InOrder[int](ordered=True), list[int]()
    for arrived, index in enumerate(arrivals, start=1):
        told += order.add(index, index)
        come = set(arrivals[:arrived])
        assert told == [index for index in range(8) if set(range(index + 1)) <= come]
    assert order.rest() == []


@given(st.permutations(range(8)))
def test_unordered_things_come_as_they_are(arrivals: list[int]) -> None:
    order = InOrder[int](ordered=False)
    assert [order.add(index, index) for index in arrivals] == [[index] for index in arrivals]


def test_what_waits_in_vain_is_told_at_the_end() -> None:
    order = InOrder[str](ordered=True)
    assert order.add(2, "c") == []
    assert order.add(1, "b") == []
    assert order.rest() == ["b", "c"]
    assert order.rest() == []
