"""Functions are found by their file in the caller's own process, whose imports stay as they are."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wetlands_rx._pool.local_modules import LocalModules, Unneeded
from wetlands_rx._remote.modules import FunctionNotFound

Write = Callable[[str, str], str]
SOON = 30.0


def wanted() -> bool:
    return False


@pytest.fixture(autouse=True)
def modules_and_path_as_before() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@pytest.fixture
def modules() -> LocalModules:
    return LocalModules()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(file)

    return write


def elsewhere(function: Callable[[], object]) -> None:
    """Run a function on another thread, to its end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive()


def test_the_folder_can_be_imported_from_until_the_last_thread_leaves(modules: LocalModules, write: Write) -> None:
    folder = os.path.dirname(write("near_by.py", "value = 1"))
    path = write("with_near_by.py", "import near_by\ndef f(): return near_by")
    near_by = modules.find(path, "f", wanted)()

    def find_and_leave() -> None:
        modules.find(path, "f", wanted)
        modules.leave()

    elsewhere(find_and_leave)
    assert sys.modules["near_by"] is near_by
    assert sys.path[-1] == folder
    modules.leave()
    assert not {"near_by", "with_near_by"} & set(sys.modules)
    assert folder not in sys.path
    assert modules.find(path, "f", wanted)() is near_by


def test_a_folder_of_the_programs_stays_on_the_path(
    modules: LocalModules, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("of_the_program.py", "def f(): return 1")
    before = [os.path.dirname(path), *sys.path]
    monkeypatch.setattr(sys, "path", list(before))
    assert modules.find(path, "f", wanted)() == 1
    modules.leave()
    assert sys.path == before


def test_what_the_program_has_imported_meanwhile_is_not_replaced(modules: LocalModules, write: Write) -> None:
    write("twice.py", "value = 'of the function'")
    path = write("with_twice.py", "import twice\ndef f(): return twice.value")
    assert modules.find(path, "f", wanted)() == "of the function"
    modules.leave()
    sys.modules["twice"] = own = types.ModuleType("twice")
    assert modules.find(path, "f", wanted)() == "of the function"
    modules.leave()
    assert sys.modules["twice"] is own


def test_the_programs_own_module_is_used_as_it_stands(modules: LocalModules, write: Write) -> None:
    path = write("standing.py", "raise AssertionError('loaded a second time')")
    own = types.ModuleType("standing")
    own.__file__, vars(own)["f"] = path, lambda: "own"
    sys.modules["standing"] = own
    assert modules.find(path, "f", wanted)() == "own"
    with pytest.raises(FunctionNotFound, match=r"standing\.py has no function 'g'"):
        modules.find(path, "g", wanted)


def test_a_file_that_fails_to_load_leaves_nothing(modules: LocalModules, write: Write) -> None:
    path = write("failing.py", "import json\nraise SystemExit(3)")
    before = list(sys.path)
    with pytest.raises(SystemExit):
        modules.find(path, "f", wanted)
    modules.leave()
    assert sys.path == before
    assert "failing" not in sys.modules


def test_who_waits_for_another_file_may_give_up(modules: LocalModules, write: Write) -> None:
    loading, go_on = threading.Event(), threading.Event()
    sys.modules["gate_of_the_test"] = gate = types.ModuleType("gate_of_the_test")
    vars(gate).update(loading=loading, go_on=go_on)
    slow = write("slow.py", "from gate_of_the_test import *\nloading.set()\ngo_on.wait()\ndef f(): pass")
    quick = write("quick.py", "def f(): return 1")

    def load() -> None:
        modules.find(slow, "f", wanted)
        modules.leave()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        assert loading.wait(SOON)
        with pytest.raises(Unneeded):
            modules.find(quick, "f", lambda: True)
        modules.leave()  # does not wait either
    finally:
        go_on.set()
        thread.join(SOON)
    assert modules.find(quick, "f", wanted)() == 1
    modules.leave()


def test_a_script_leaves_no_trace(modules: LocalModules, write: Write) -> None:
    write("near_script.py", "")
    path, argv, search = write("script.py", ""), sys.argv, list(sys.path)
    with modules.in_script(path, ["1"], wanted):
        assert sys.argv == [path, "1"]
        import near_script  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401

        with pytest.raises(Unneeded), modules.in_script(path, [], lambda: True):
            raise AssertionError("two scripts at a time")
    assert (sys.argv, sys.path) == (argv, search)
    assert "near_script" not in sys.modules
    with modules.in_script(path, [], wanted):  # the next one has its turn
        pass
