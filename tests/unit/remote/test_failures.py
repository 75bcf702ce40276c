"""Exceptions in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx._remote import failures
from wetlands_rx._remote.failures import Failure, describe


def caught(raise_it: Any) -> Failure:
    try:
        raise_it()
    except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
        return describe(error)
    raise AssertionError("it did not raise")


def raising(error: BaseException) -> Any:
    def raise_it() -> None:
        raise error

    return raise_it


class BrokenText(Exception):
    def __init__(self, broken: BaseException | object) -> None:
        super().__init__()
        self.broken = broken

    def __str__(self) -> Any:
        if isinstance(self.broken, BaseException):
            raise self.broken
        return self.broken


@pytest.mark.parametrize(
    ("error", "line", "kind"),
    [
        (ValueError("no"), "ValueError: no", "builtins.ValueError"),
        (ValueError(), "ValueError", "builtins.ValueError"),
        (KeyError("key"), "KeyError: 'key'", "builtins.KeyError"),
        (ValueError("two\nlines %s {}"), "ValueError: two\nlines %s {}", "builtins.ValueError"),
        (SystemExit(3), "SystemExit: 3", "builtins.SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt", "builtins.KeyboardInterrupt"),
        (ValueError("\ud800"), "ValueError: \ud800", "builtins.ValueError"),
        (BrokenText("fine"), "BrokenText: fine", f"{__name__}.BrokenText"),
    ],
)
def test_an_exception_in_words(error: BaseException, line: str, kind: str) -> None:
    failure = caught(raising(error))
    assert (failure.error, failure.remote_type) == (line, kind)
    assert failure.traceback[0] == "Traceback (most recent call last):"
    assert any("raise error" in text for text in failure.traceback)


@pytest.mark.parametrize("broken", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), RecursionError(), 3, None])
def test_an_exception_whose_text_cannot_be_had(broken: object) -> None:
    failure = caught(raising(BrokenText(broken)))
    assert failure.error == "BrokenText: <its __str__ raised>"
    assert failure.traceback


def test_causes_contexts_notes_and_groups_are_shown() -> None:
    def raise_it() -> None:
        error = ExceptionGroup("many", [ValueError("one"), OSError("two")])
        error.add_note("a note")
        raise error from KeyError("the cause")

    text = "\n".join(caught(raise_it).traceback)
    for part in ("KeyError: 'the cause'", "direct cause", "many", "ValueError: one", "OSError: two", "a note"):
        assert part in text


def test_a_cause_that_is_its_own_cause_is_shown_once() -> None:
    error = ValueError("round")
    error.__cause__ = error
    assert "\n".join(caught(raising(error)).traceback).count("ValueError: round") == 1


def test_broken_notes_leave_at_least_the_line() -> None:
    class Evil:
        def __repr__(self) -> str:
            raise SystemExit(3)

        __str__ = __repr__

    error = ValueError("no")
    error.__notes__ = Evil()  # type: ignore[assignment]
    failure = caught(raising(error))
    assert failure.error == "ValueError: no"
    assert failure.traceback


def test_lines_have_no_line_ends() -> None:
    failure = caught(raising(ValueError("first\nsecond")))
    assert all("\n" not in line for line in failure.traceback)
    assert list(failure.traceback[-2:]) == ["ValueError: first", "second"]


def test_frames_of_the_library_above_the_users_code_are_left_out() -> None:
    from wetlands_rx._wire.values import Packed, pack

    pickled, _ = pack(Trap())
    failure = caught(Packed(pickled).load)
    assert "values.py" not in "\n".join(failure.traceback[:2])


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (b"def f(x): return x", "TypeError: f() missing 1 required positional argument: 'x'"),
        (b"def f(:", "SyntaxError: invalid syntax"),
        (b"x = '\xff'", "SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_no_frame_of_the_library_is_shown_when_none_is_the_users(text: bytes, last: str, tmp_path: Path) -> None:
    file = tmp_path / "file_of_user.py"
    file.write_bytes(text)
    namespace: dict[str, Any] = {"path": str(file)}
    exec(compile(_WORKER, failures.__file__, "exec"), namespace)
    failure: Failure = namespace["failure"]
    assert [line for line in failure.traceback if "wetlands_rx" in line] == []
    assert failure.traceback[-1].startswith(last)


_WORKER = """
from wetlands_rx._remote.failures import describe
from wetlands_rx._remote.modules import ModuleLoader
try:
    ModuleLoader().find(path, "f")()
except BaseException as error:
    failure = describe(error)
"""


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return spring, ()


def spring() -> None:
    raise ValueError("sprung")


def test_an_exception_without_traceback() -> None:
    assert describe(ValueError("no")).traceback == ("ValueError: no",)
    assert sys.exc_info() == (None, None, None)
