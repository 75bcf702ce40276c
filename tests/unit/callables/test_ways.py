from __future__ import annotations

import functools
import importlib
import math
import os
import random
import string
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.testing import real
from wetlands_rx._callables.ways import ByFile, ByName, ByValue, Facts, code_of, facts_of, shown, way_of

HERE = os.path.abspath(__file__)
FACTS = Facts("work", "segment", "/x/segment.py", False, True, "segment.py:work", "/x")


class Thing:
    def method(self) -> int:
        return 1

    @classmethod
    def made(cls) -> Thing:
        return cls()

    @staticmethod
    def static() -> int:
        return 2

    def __call__(self) -> int:
        return 3


class Below(Thing):
    pass


def top() -> int:
    return 4


def decorated_by(function: Callable[[], int]) -> Callable[[], int]:
    @functools.wraps(function)
    def wrapper() -> int:
        return function() + 1

    return wrapper


@decorated_by
def decorated() -> int:
    return 5


@functools.cache
def cached() -> int:
    return 6


at_top = lambda: 7  # noqa: E731
random_method = random.random
partial_top = functools.partial(top)


def nested() -> Callable[[], int]:
    def inner() -> int:
        return 8

    return inner


# --- The decision


@pytest.mark.parametrize(
    ("changed", "way"),
    [
        ({}, ByFile("/x/segment.py", "work")),
        ({"name": ""}, ByValue("segment.py:work", "/x")),
        ({"importable": False}, ByValue("segment.py:work", "/x")),
        ({"installed": True}, ByName("segment", "work")),
        ({"file": None}, ByName("segment", "work")),
        ({"file": None, "importable": False}, ByValue("segment.py:work", "/x")),
        ({"installed": True, "name": ""}, ByValue("segment.py:work", "/x")),
    ],
)
def test_what_decides(changed: dict[str, Any], way: object) -> None:
    assert way_of(FACTS._replace(**changed)) == way


# --- Real functions


def way(function: Callable[..., Any]) -> object:
    return way_of(facts_of(function))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (top, "top"),
        (Thing, "Thing"),
        (Thing.method, "Thing.method"),
        (Thing.made, "Thing.made"),
        (Below.made, "Below.made"),
        (Thing.static, "Thing.static"),
        (decorated, "decorated"),
        (cached, "cached"),
    ],
)
def test_what_stands_at_the_top_of_a_file_goes_by_it(function: Any, name: str) -> None:
    assert way(function) == ByFile(HERE, name)


@pytest.mark.parametrize(
    ("function", "module", "name"),
    [
        (math.sqrt, "math", "sqrt"),
        (len, "builtins", "len"),
        (int, "builtins", "int"),
        (str.upper, "builtins", "str.upper"),
        (dict.fromkeys, "builtins", "dict.fromkeys"),
        (textwrap.dedent, "textwrap", "dedent"),
        (string.Template.substitute, "string", "Template.substitute"),
        (np.linalg.norm, "numpy.linalg", "norm"),
        (np.mean, "numpy", "mean"),
        (np.add, "numpy", "add"),
        (np.ndarray.sum, "numpy", "ndarray.sum"),
        (random.random, "random", "random"),
        (random.randint, "random", "randint"),
        (random_method, "random", "random"),
        (pytest.raises, "_pytest.raises", "raises"),
    ],
)
def test_what_is_installed_goes_by_the_name_of_its_module(function: Any, module: str, name: str) -> None:
    assert way(function) == ByName(module, name)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (at_top, "test_ways.py:<lambda>"),
        (nested(), "test_ways.py:nested.<locals>.inner"),
        (nested, None),
        (Thing().method, "test_ways.py:Thing.method"),
        (Thing(), "test_ways.py:Thing"),
        (partial_top, "test_ways.py:top"),
        (functools.partial(math.sqrt), "math:sqrt"),
        (list("abc").append, "builtins:list.append"),
        (vars(decorated)["__wrapped__"], "test_ways.py:decorated"),
    ],
)
def test_all_else_goes_by_value(function: Any, words: str | None) -> None:
    found = way(function)
    if words is None:
        assert found == ByFile(HERE, "nested")
    else:
        assert isinstance(found, ByValue)
        assert found.shown == shown(function) == words


def test_a_function_of_a_module_that_was_loaded_again_goes_by_its_file() -> None:
    old = real.double
    importlib.reload(real)
    assert old is not real.double
    assert way(old) == way(real.double) == ByFile(os.path.abspath(real.__file__), "double")


def test_a_function_that_stands_in_no_file_goes_by_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    typed = types.ModuleType("__main__")
    exec(compile("def work(): pass\nclass Work:\n    def __call__(self): pass\n", "<stdin>", "exec"), typed.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", typed)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.chdir(tmp_path)
    assert way(typed.work) == ByValue("prompt:work", str(tmp_path))
    assert way(typed.Work()) == ByValue("prompt:Work", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert way(typed.work) == ByValue("notebook:work", str(tmp_path))


def test_the_cell_that_a_debugger_wrote_to_a_file_is_no_file_of_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cell = tmp_path / "12345.py"
    cell.write_text("def work(): pass\n", encoding="utf-8")
    typed = types.ModuleType("__main__")
    exec(compile(cell.read_text(encoding="utf-8"), str(cell), "exec"), typed.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", typed)
    assert isinstance(way(typed.work), ByValue)


def test_an_installed_script_goes_by_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "site-packages" / "tool.py"
    script.parent.mkdir()
    script.write_text("def work(): pass\n", encoding="utf-8")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert way(main.work) == ByFile(str(script), "work")


@pytest.mark.parametrize("name", ["script", "script.txt"])
def test_a_script_whose_name_no_import_would_take_goes_by_value(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / name
    script.write_text("def work(): pass\n", encoding="utf-8")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert way(main.work) == ByValue(f"{name}:work", str(tmp_path))


@pytest.mark.parametrize(
    ("file", "module", "root"),
    [
        ("plain.py", "plain", "."),
        ("package/inner/deep.py", "package.inner.deep", "."),
        ("package/__init__.py", "package", "."),
        ("inner/deep.py", "inner.deep", "."),
        ("inner/deep.py", "__main__", "inner"),
        ("package/script.py", "__main__", "."),
    ],
)
def test_its_modules_are_looked_for_where_it_was_imported_from(
    file: str, module: str, root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if "package" in file:
        (tmp_path / "package" / "__init__.py").touch()
    path.write_text("work = lambda: 1\n", encoding="utf-8")
    made = types.ModuleType(module)
    made.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), made.__dict__)
    monkeypatch.setitem(sys.modules, module, made)
    assert way(made.work) == ByValue(f"{path.name}:<lambda>", str((tmp_path / root).resolve()))


def test_odd_callables_are_described() -> None:
    class Endless:
        def __call__(self) -> None: ...

        def __getattr__(self, name: str) -> Any:
            return Endless()

    assert isinstance(way(Endless()), ByValue)
    looping: Any = nested()
    looping.__wrapped__ = looping
    assert shown(looping) == "test_ways.py:nested.<locals>.inner"
    assert code_of(looping) is looping.__code__
    assert code_of(math.sqrt) is None
