from __future__ import annotations

import functools
import importlib
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from wetlands_rx._callables.by_value import check_python, pickled
from wetlands_rx._callables.ways import ByValue
from wetlands_rx.exceptions import SerializationError

WAY = ByValue("a.py:work", "/folder")
LOCK = threading.Lock()


def uses_global() -> Any:
    return LOCK


def uses_in_a_lambda() -> Any:
    return [LOCK for _ in "a"], lambda: LOCK


def takes(*, end: Any) -> None: ...


class Model:
    def __init__(self) -> None:
        self.name = "model"
        self.inner = {"weights": [1, LOCK]}

    def run(self) -> None: ...

    def __call__(self) -> None: ...


def made(captured: Any) -> Callable[[], Any]:
    def work() -> Any:
        return captured

    return work


def test_a_function_is_pickled_with_what_it_holds() -> None:
    value = pickled(made([1, 2]), WAY)
    function, file, source = pickle.loads(value.code)
    assert (function(), file, source) == ([1, 2], "", "")
    assert function.__code__.co_filename == __file__
    assert value.folder == "/folder"
    assert value.library == str(importlib.import_module("cloudpickle").__path__[0])


def test_what_stands_in_no_file_takes_its_lines_along(monkeypatch: pytest.MonkeyPatch) -> None:
    import linecache

    source = "def work():\n    return 1\n"
    monkeypatch.setitem(linecache.cache, "<cell 1>x", (len(source), None, source.splitlines(True), "<cell 1>x"))
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell 1>x", "exec"), names)
    assert pickle.loads(pickled(names["work"], WAY).code)[1:] == ("<cell 1>x", source)


def test_another_python_is_refused_in_words() -> None:
    check_python(WAY, "seg", sys.version_info[:2])
    with pytest.raises(SerializationError) as raised:
        check_python(WAY, "seg", (3, 8))
    ours = ".".join(map(str, sys.version_info[:2]))
    assert str(raised.value) == (
        "a.py:work has no name by which a worker could find it, so it would have to be sent itself, and that is "
        f"possible only to the same Python: this is Python {ours}, and the workers of environment 'seg' have Python "
        f"3.8. Put the function at the top level of a file, or make the environment with Python {ours}"
    )


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (made(LOCK), "the captured variable 'captured' (lock)"),
        (made([1, LOCK]), "the captured variable 'captured' (list), its element 1 (lock)"),
        (
            made(Model()),
            "the captured variable 'captured' (Model), its attribute 'inner' (dict), its item 'weights' (list)",
        ),
        (made(made(LOCK)), "the captured variable 'captured' (function), the captured variable 'captured' (lock)"),
        (functools.partial(print, 1, LOCK), "argument 1 of its partial (lock)"),
        (functools.partial(takes, end=LOCK), "argument 'end' of its partial (lock)"),
        (functools.partial(made(LOCK)), "what its partial calls (function), the captured variable 'captured' (lock)"),
        (Model().run, "the object of the method (Model), its attribute 'inner' (dict)"),
        (Model(), "its attribute 'inner' (dict), its item 'weights' (list)"),
        (lambda lock=LOCK: lock, "default 0 of its parameters (lock)"),
        (lambda *, lock=LOCK: lock, "the default of 'lock' (lock)"),
        (lambda: LOCK, "the global variable 'LOCK' (lock)"),
        (lambda: [LOCK for _ in "a"], "the global variable 'LOCK' (lock)"),
    ],
    ids=str,
)
def test_what_cannot_be_pickled_is_named(function: Any, words: str) -> None:
    with pytest.raises(SerializationError) as raised:
        pickled(function, WAY)
    text = str(raised.value)
    assert text.startswith(f"a.py:work cannot be sent to a worker, because of {words}")
    assert "TypeError: cannot pickle '_thread.lock' object" in text
    assert isinstance(raised.value.__cause__, TypeError)


class Refuses:
    def __reduce__(self) -> Any:
        raise SystemExit("at once")


class RefusesCalls(Refuses):
    def __call__(self) -> None: ...


def test_whatever_pickling_raises_is_told() -> None:
    with pytest.raises(SerializationError, match=r"variable 'captured' \(Refuses\): SystemExit: at once"):
        pickled(made(Refuses()), WAY)
    with pytest.raises(SerializationError, match="cannot be sent to a worker: SystemExit: at once"):
        pickled(RefusesCalls(), WAY)


def test_a_variable_that_is_not_there_yet_is_no_matter() -> None:
    def outer() -> Callable[[], Any]:
        def work() -> Any:
            return later, LOCK

        if LOCK.locked():
            later = 1
        return work

    with pytest.raises(SerializationError, match="the global variable 'LOCK'"):
        pickled(outer(), WAY)
