"""What the worker runs for test_serialization.py; in every Python from 3.8 on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


def pid() -> int:
    return os.getpid()


def echo(value: Any) -> Any:
    return value


class Own:
    """A class that the caller does not have."""


class Reduces:
    """Raises when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class NoNumber:
    """Raises when it is loaded, wherever."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def deep() -> Any:
    nested: Any = []
    for _ in range(100000):
        nested = [nested]
    return nested


VALUES: dict[str, Callable[[], Any]] = {
    "lock": lambda: {"deep": [0, threading.Lock()]},
    "lambda": lambda: [lambda: None],
    "ValueError": lambda: (1, Reduces(ValueError("I stay"))),
    "SystemExit": lambda: (1, Reduces(SystemExit(3))),
    "KeyboardInterrupt": lambda: (1, Reduces(KeyboardInterrupt())),
    "RecursionError": deep,
    "own class": lambda: {"own": [Own()]},
    "no number": lambda: (0, {"n": NoNumber()}),
}


def result(name: str) -> Any:
    return VALUES[name]()


def output(name: str, task: Any) -> None:
    task.set_output("key", VALUES[name]())


def output_and_more(name: str, task: Any) -> str:
    try:
        task.set_output("key", VALUES[name]())
    except Exception as error:  # noqa: BLE001 - its text is the answer
        return "{} at {}".format(type(error).__name__, getattr(error, "path", ""))
    return "sent"


class NeedsTwo(Exception):
    """What pickle makes of it calls it with one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class BrokenReduce(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class BrokenText(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class InterruptsAtLoading(Exception):
    def __reduce__(self) -> Any:
        return exec, ("raise KeyboardInterrupt",)


class OnlyThere(Exception):
    pass


class Text(str):
    """A text of a class that the caller does not have."""

    __slots__ = ()


class OddText(Exception):
    def __str__(self) -> str:
        return Text("odd")


class Group(Exception):
    """As the groups of later Pythons, and of other libraries."""

    def __init__(self, text: str, exceptions: Any) -> None:
        super().__init__(text)
        self.exceptions = tuple(exceptions)


def fail(name: str) -> None:
    """Raise, as one does in a program: what goes wrong leads to what goes wrong."""
    if name == "cause":
        try:
            fail("KeyError")
        except KeyError as error:
            raise ValueError("no value") from error
    if name == "context":
        try:
            fail("KeyError")
        except KeyError:
            raise ValueError("no value")  # noqa: B904 - this is what is tested
    if name == "circle":
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first
    made = EXCEPTIONS[name]()
    raise made


def noted() -> Exception:
    error = ValueError("no value")
    error.__notes__ = ["one", "two"]  # type: ignore[attr-defined]
    return error


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "KeyError": lambda: KeyError("key"),
    "two arguments": lambda: ValueError("no", 3),
    "needs two": lambda: NeedsTwo("a", "b"),
    "broken reduce": lambda: BrokenReduce("no"),
    "interrupts": lambda: InterruptsAtLoading("no"),
    "broken text": lambda: BrokenText("no"),
    "only there": lambda: OnlyThere("no"),
    "odd text": lambda: OddText("no"),
    "large": lambda: ValueError("x" * 100000),
    "holds a lock": lambda: ValueError("no", threading.Lock()),
    "notes": noted,
    "group": lambda: Group("many", [ValueError("one"), KeyError("two")]),
}


class NoText:
    def __str__(self) -> str:
        raise ValueError("no text")


def says(kind: str, task: Any) -> str:
    message = NoText() if kind == "none" else Text("odd")
    task.log(message)
    task.update(message)
    return "done"
