"""Functions without a file are found by the name of their module, or loaded."""

from __future__ import annotations

import importlib
import linecache
import math
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle  # noqa: F401 # pyright: ignore[reportUnusedImport, reportMissingTypeStubs] - each test here forgets what it imported
import pytest

from wetlands_rx._callables.by_value import pickled
from wetlands_rx._callables.ways import ByValue
from wetlands_rx._remote.callables import Callables, FunctionNotLoaded
from wetlands_rx._remote.modules import FunctionNotFound, ModuleLoader
from wetlands_rx._wire.target import FunctionValue

NAME = "a.py:work"


@pytest.fixture(autouse=True)
def modules_and_path_as_before() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@pytest.fixture
def callables() -> Callables:
    return Callables(ModuleLoader())


def value_of(function: Callable[..., Any], folder: str = "") -> FunctionValue:
    return pickled(function, ByValue(NAME, folder))


def counting(size: int = 0) -> Callable[[], int]:
    state = {"calls": 0, "data": b"x" * size}

    def count() -> int:
        state["calls"] = int(str(state["calls"])) + 1
        return int(state["calls"])

    return count


# --- By name


def test_a_function_of_a_module(callables: Callables) -> None:
    assert callables.find("math:sqrt", None) is math.sqrt
    assert callables.find("builtins:str.upper", None) is str.upper
    assert not callables.wants_handle(math.sqrt, 1)


def test_a_module_is_imported_when_it_is_wanted(callables: Callables, tmp_path: Path) -> None:
    (tmp_path / "installed_here.py").write_text("def f(task): return 1\n", encoding="utf-8")
    sys.path.append(str(tmp_path))
    found = callables.find("installed_here:f", None)
    assert found(0) == 1
    assert callables.wants_handle(found, 0)


def test_a_module_that_is_not_there_is_named(callables: Callables) -> None:
    with pytest.raises(FunctionNotFound, match=r"no module 'nowhere' in this environment \(Python 3\.\d+\.\d+\)"):
        callables.find("nowhere.inside:f", None)


def test_a_function_that_is_not_there_is_named(callables: Callables) -> None:
    with pytest.raises(FunctionNotFound, match=r"module math of this environment has no function 'sqrtt'"):
        callables.find("math:sqrtt", None)
    with pytest.raises(FunctionNotFound, match="has no function 'pi'"):
        callables.find("math:pi", None)
    versioned = types.ModuleType("versioned")
    vars(versioned)["__version__"] = "1.2"
    sys.modules["versioned"] = versioned
    with pytest.raises(FunctionNotFound, match=r"module versioned 1\.2 of"):
        callables.find("versioned:f.g", None)


def test_what_a_module_raises_is_its_own(callables: Callables, tmp_path: Path) -> None:
    (tmp_path / "imports_another.py").write_text("import nowhere\n", encoding="utf-8")
    sys.path.append(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        callables.find("imports_another:f", None)


def test_a_file_of_the_users_is_not_taken_for_an_installed_module(tmp_path: Path) -> None:
    (tmp_path / "looks_installed.py").write_text("def f(): return 'a file'\n", encoding="utf-8")
    modules = ModuleLoader()
    assert modules.find(str(tmp_path / "looks_installed.py"), "f")() == "a file"
    sys.modules.pop("looks_installed")
    with pytest.raises(FunctionNotFound, match="no module 'looks_installed'"):
        Callables(modules).find("looks_installed:f", None)


# --- By value


def test_the_callers_cloudpickle_is_used_under_a_name_of_its_own(
    callables: Callables, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = value_of(counting())
    for name in [name for name in sys.modules if name.split(".")[0] == "cloudpickle"]:
        monkeypatch.delitem(sys.modules, name)
    assert callables.find(NAME, value)() == 1
    assert "cloudpickle" not in sys.modules
    library = sys.modules["_wetlands_cloudpickle"]
    assert os.path.dirname(str(library.__file__)) == value.library


def test_a_small_function_is_loaded_once(callables: Callables) -> None:
    value = value_of(counting())
    assert [callables.find(NAME, value)() for _ in range(3)] == [1, 2, 3]


def test_a_large_function_is_loaded_each_time(callables: Callables) -> None:
    value = value_of(counting(100_000))
    assert [callables.find(NAME, value)() for _ in range(3)] == [1, 1, 1]


def test_the_function_that_was_not_used_for_longest_goes_first(callables: Callables) -> None:
    values = [value_of(counting(size)) for size in range(40)]
    assert [callables.find(NAME, value)() for value in values] == [1] * 40
    assert callables.find(NAME, values[-1])() == 2
    assert callables.find(NAME, values[0])() == 1


def test_the_handle_is_wanted_by_functions_by_value_too(callables: Callables) -> None:
    def work(x: int, *, task: Any) -> None: ...

    assert callables.wants_handle(callables.find(NAME, value_of(work)), 1)
    assert not callables.wants_handle(callables.find(NAME, value_of(counting())), 0)


class Broken:
    def __reduce__(self) -> Any:
        return os.listdir, ("/there is no such folder",)


def test_what_loading_raises_is_the_cause(callables: Callables) -> None:
    broken = Broken()
    with pytest.raises(FunctionNotLoaded, match=r"a\.py:work") as raised:
        callables.find(NAME, value_of(lambda: broken))
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    with pytest.raises(FunctionNotLoaded):
        callables.find(NAME, FunctionValue(b"garbage", "", ""))


def test_what_lies_beside_it_is_imported_and_after_an_edit_again(tmp_path: Path) -> None:
    file = tmp_path / "lies_beside.py"
    file.write_text("def number(): return 1\n", encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    number = importlib.import_module("lies_beside").number
    value = value_of(lambda: number(), str(tmp_path))  # noqa: PLW0108 - the lambda is what is sent
    sys.path.remove(str(tmp_path))
    del sys.modules["lies_beside"]
    now = 0.0
    callables = Callables(ModuleLoader(lambda: now))
    assert callables.find(NAME, value)() == 1
    file.write_text("def number(): return 2222\n", encoding="utf-8")
    now = 10.0
    assert callables.find(NAME, value)() == 2222


def test_classes_of_the_callers_main_are_known_to_plain_pickles(
    callables: Callables, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers, workers = types.ModuleType("__main__"), types.ModuleType("__main__")
    source = (
        "import enum\nclass Typed: pass\nclass Colour(enum.Enum):\n    RED = 1\nwork = lambda: (Typed(), Colour.RED)\n"
    )
    monkeypatch.setitem(sys.modules, "__main__", callers)
    exec(source, callers.__dict__)
    value = value_of(callers.work)
    monkeypatch.setitem(sys.modules, "__main__", workers)
    typed, colour = callables.find(NAME, value)()
    assert type(typed) is workers.Typed
    assert type(colour) is workers.Colour


def test_lines_that_stand_in_no_file_are_shown(callables: Callables, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def work():\n    raise KeyError\n"
    entry = (len(source), None, source.splitlines(True), "<cell 2>x")
    monkeypatch.setitem(linecache.cache, "<cell 2>x", entry)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell 2>x", "exec"), names)
    value = value_of(names["work"])
    monkeypatch.delitem(linecache.cache, "<cell 2>x")
    callables.find(NAME, value)
    assert linecache.getline("<cell 2>x", 2) == "    raise KeyError\n"


@pytest.mark.parametrize(("theirs", "ours"), [(b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")])
def test_what_another_numpy_holds_elsewhere_is_found(
    callables: Callables, monkeypatch: pytest.MonkeyPatch, theirs: bytes, ours: bytes
) -> None:
    module = types.ModuleType(ours.decode() + ".somewhere")
    vars(module)["f"] = len
    package = types.ModuleType(ours.decode())
    for name in [name for name in sys.modules if name.split(".")[0] == "numpy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))
    monkeypatch.setitem(sys.modules, ours.decode(), package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    code = b"(c%b.somewhere\nf\nV\nV\nt." % theirs
    assert callables.find(NAME, FunctionValue(code, "", "")) is len
