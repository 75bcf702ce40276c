"""Exceptions in words."""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx._remote import failures
from wetlands_rx._remote.failures import MOST_ORIGINAL_BYTES, Failure, describe, kind_of_failure
from wetlands_rx._wire.arrays import kind_of
from wetlands_rx.exceptions import RemoteException, SerializationError


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
    from wetlands_rx._wire.packing import pack
    from wetlands_rx._wire.values import Packed

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


# --- As plain data


def remote(failure: Failure) -> RemoteException:
    plain(failure.remote)
    made = RemoteException.of(failure.remote, failure.traceback)
    assert made is not None
    return made


def plain(value: Any) -> None:
    """Complain about what is not of a built-in type."""
    kind = kind_of(value)
    if kind is tuple:
        for each in value:
            plain(each)
    else:
        assert kind in (str, bool, type(None)), value


def chained(length: int) -> None:
    try:
        chained(length - 1) if length else {}[0]
    except (KeyError, ValueError) as error:
        raise ValueError(length) from error


def test_the_outermost_exception_has_the_whole_traceback_and_the_others_their_own() -> None:
    failure = caught(lambda: chained(0))
    made = remote(failure)
    assert made.traceback == failure.traceback
    assert (made.type_name, made.message, made.suppress_context, made.context) == (
        "builtins.ValueError",
        "0",
        True,
        None,
    )
    assert made.cause is not None
    assert made.cause.traceback[0] == "Traceback (most recent call last):"
    assert made.cause.traceback[-1] == "KeyError: 0"
    assert "ValueError" not in "".join(made.cause.traceback)


def test_a_long_chain_ends_somewhere() -> None:
    made: RemoteException | None = remote(caught(lambda: chained(200)))
    length = 0
    while made is not None:
        length += 1
        made = made.cause or made.context
    assert 10 < length < 70


def test_large_groups_keep_the_types_and_messages_of_the_last_ones() -> None:
    def group(depth: int) -> ExceptionGroup[Exception]:
        inner = [ValueError(place) if depth == 0 else group(depth - 1) for place in range(30)]
        return ExceptionGroup(f"depth {depth}", inner)

    made = remote(caught(raising(group(2))))
    assert [len(made.exceptions), made.message] == [30, "depth 2 (30 sub-exceptions)"]
    assert made.exceptions[-1] == RemoteException("builtins.ExceptionGroup", "depth 1 (30 sub-exceptions)")


def test_members_that_are_no_exceptions_are_left_out() -> None:
    class Odd(Exception):
        exceptions = (ValueError("one"), "two", 3)

    class Worse(Exception):
        @property
        def exceptions(self) -> Any:
            raise SystemExit(3)

    assert [member.message for member in remote(caught(raising(Odd()))).exceptions] == ["one"]
    assert remote(caught(raising(Worse()))).exceptions == ()


def test_no_class_of_the_users_is_in_it() -> None:
    class Text(str):
        __slots__ = ()

        def __format__(self, spec: str) -> str:
            raise SystemExit(3)

    class Odd(Exception):
        def __str__(self) -> str:
            return Text("odd")

    Odd.__module__ = Text("module")
    error = Odd()
    error.__notes__ = [Text("note"), 3]  # type: ignore[list-item]
    failure = caught(raising(error))
    made = remote(failure)
    assert (failure.error, made.message, made.notes) == ("Odd: odd", "odd", ("note",))
    assert {type(failure.error), type(failure.remote_type), *map(type, failure.traceback)} == {str}


def test_a_class_that_cannot_be_looked_at() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise SystemExit(3)

    class Odd(Exception, metaclass=Meta):
        pass

    assert caught(raising(Odd())).error == "an exception that cannot be described"


# --- The exception itself


class Reduces(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("error", "crosses"),
    [
        (ValueError("no", 3), True),
        (ValueError("x" * (MOST_ORIGINAL_BYTES - 200)), True),
        (ValueError("x" * MOST_ORIGINAL_BYTES), False),
        (ValueError(pickle.PickleBuffer(b"buffer")), False),
        (ValueError(threading.Lock()), False),
        (Reduces(), False),
        (type("InMain", (Exception,), {"__module__": "__main__"})(), False),
    ],
)
def test_small_exceptions_cross_themselves(error: Exception, crosses: bool) -> None:
    original = caught(raising(error)).original
    assert bool(original) is crosses
    if crosses:
        assert repr(pickle.loads(original)) == repr(error)


def test_a_value_that_cannot_cross_keeps_its_place() -> None:
    error = SerializationError("no", path="output['key']", type_name="lock")
    failure = caught(raising(error))
    assert (failure.path, failure.type_name, kind_of_failure(error)) == ("output['key']", "lock", "serialization")
    assert (caught(raising(ValueError())).path, kind_of_failure(ValueError())) == ("", "raised")
