"""Where in a value the part is that cannot be pickled: cases that the properties do not draw."""

from __future__ import annotations

import functools
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

from wetlands_rx._remote import unpicklable as module
from wetlands_rx._remote.unpicklable import unpicklable

LOCK = threading.Lock()


def place(value: Any) -> tuple[str, str]:
    found = unpicklable([("x", value)])
    assert found is not None
    return found.path, found.text


def local_class() -> type:
    class Local:
        pass

    return Local


class Held:
    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def method(self) -> None: ...


class Raises:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        if self.error is not None:
            raise self.error
        return Raises, ()


class Hidden:
    """Shows nothing, and raises at each look."""

    def __init__(self) -> None:
        super().__setattr__("lock", LOCK)

    def __getattribute__(self, name: str) -> Any:
        if name in ("__reduce_ex__", "__class__"):
            return super().__getattribute__(name)
        raise SystemExit(3)


class Endless(dict[Any, Any]):
    """Says that it has no end; what it is is another matter."""

    def items(self) -> Any:
        while True:
            yield 1, 2

    def __iter__(self) -> Any:
        raise SystemExit(3)


def odd_name() -> Any:
    made = types.SimpleNamespace()
    vars(made)["no name"] = LOCK
    return made


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        (LOCK, "x", "_thread.lock"),
        (lambda: 0, "x", "function <lambda>"),
        (sys, "x", "module sys"),
        (local_class(), "x", f"class {__name__}.local_class.<locals>.Local"),
        ([local_class()()], "x[0]", f"{__name__}.local_class.<locals>.Local"),
        ((i for i in ()), "x", "generator"),
        (functools.partial(print, LOCK), "x.args[0]", "_thread.lock"),
        (Held(LOCK).method, "x.__self__.lock", "_thread.lock"),
        (slice(0, LOCK), "x.stop", "_thread.lock"),
        (odd_name(), "vars(x)['no name']", "_thread.lock"),
        ({"k" * 100: LOCK}, f"x['{'k' * 56}...]", "_thread.lock"),
        ({Raises(): LOCK}, f"x[<{__name__}.Raises>]", "_thread.lock"),
        (np.array([1, LOCK], dtype=object), "x.__reduce_ex__(5)[2][4][1]", "_thread.lock"),
        ([np.zeros(1 << 20), LOCK], "x[1]", "_thread.lock"),
        (Raises(SystemExit(3)), "x", f"{__name__}.Raises"),
        ([Raises(KeyboardInterrupt())], "x[0]", f"{__name__}.Raises"),
        ([Raises(MemoryError())], "x[0]", f"{__name__}.Raises"),
        ([Raises(RecursionError())], "x[0]", f"{__name__}.Raises"),
    ],
)
def test_the_part_is_named(value: Any, path: str, text: str) -> None:
    assert place(value) == (path, text)


def test_an_object_that_hides_what_it_holds_is_the_part() -> None:
    path, text = place([1, Hidden()])
    assert path.startswith("x[1]")
    assert text in (f"{__name__}.Hidden", "_thread.lock")


def test_the_code_of_a_container_is_not_run() -> None:
    class Own(Endless):
        def __reduce_ex__(self, protocol: Any) -> Any:
            items: Any = vars(dict)["items"](self)
            return Own, (), None, None, iter(items)

    Own.__qualname__ = "Own"
    globals()["Own"] = Own
    try:
        value = Own()
        value["key"] = LOCK
        assert place(value) == ("x['key']", "_thread.lock")
    finally:
        del globals()["Own"]


def test_values_that_contain_themselves() -> None:
    value: list[Any] = []
    value.append(value)
    value.append({"self": value, "lock": LOCK})
    assert place(value) == ("x[1]['lock']", "_thread.lock")


def test_what_is_nested_too_deeply_is_named_as_a_whole() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert place(value) == ("x", "list")
    while value:
        value = value[0]


def test_an_object_that_can_be_pickled_the_second_time_is_not_accused() -> None:
    class Once:
        failures = 1

        def __reduce__(self) -> Any:
            if Once.failures:
                Once.failures -= 1
                raise ValueError("once")
            return int, ()

    value = [0, Once()]
    assert place(value) == ("x", "list")  # that is what failed
    assert unpicklable([("x", value)]) is None


def test_a_long_path_loses_its_middle() -> None:
    value: Any = LOCK
    for _ in range(90):
        value = {"a key": value}
    path, _ = place(value)
    assert path.startswith("x['a key']")
    assert " ... " in path
    assert len(path) < 320


def test_an_interrupt_is_let_through_where_somebody_waits() -> None:
    with pytest.raises(KeyboardInterrupt):
        unpicklable([("x", [Raises(KeyboardInterrupt())])], interruptible=True)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(module, "LONGEST_S", seconds)
    value = [[number] for number in range(50_000)]
    assert unpicklable([("x", [value, LOCK])]) is None
