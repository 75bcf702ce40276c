"""What reaches a terminal and what reaches a file."""

from __future__ import annotations

import io

import pytest

from wetlands_rx._cli.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _a_capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_lines_alone_reach_a_file() -> None:
    notes, results = io.StringIO(), io.StringIO()
    screen = Screen(notes, results)
    screen.note("note")
    screen.status(lambda _width: "status", now=True)
    screen.result("result")
    screen.clear()
    assert (notes.getvalue(), results.getvalue()) == ("note\n", "result\n")


def test_the_status_line_is_taken_away_before_a_line_and_drawn_again_after_it() -> None:
    both = Terminal()
    screen = Screen(both, both)
    screen.status(lambda _width: "1 of 2")
    screen.result("result")
    screen.status(lambda _width: "2 of 2")
    screen.clear()
    assert both.getvalue() == "\r\x1b[K1 of 2\r\x1b[Kresult\n\r\x1b[K2 of 2\r\x1b[K"


def test_the_status_line_is_not_redrawn_for_every_event() -> None:
    notes = Terminal()
    screen = Screen(notes, notes)
    for number in range(1000):
        screen.status(lambda _width, number=number: str(number))
    assert notes.getvalue().count("\r") < 100


def test_a_terminal_that_cannot_erase_gets_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    notes = Terminal()
    screen = Screen(notes, notes)
    screen.status(lambda _width: "status")
    assert not screen.live
    assert notes.getvalue() == ""
