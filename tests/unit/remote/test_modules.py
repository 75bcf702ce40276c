"""Functions are found by their file."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx._remote.modules import FunctionNotFound, ModuleLoader

Write = Callable[..., str]


@pytest.fixture(autouse=True)
def modules_and_path_as_before() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@pytest.fixture
def loader() -> ModuleLoader:
    return ModuleLoader()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file; its path."""

    def write(name: str, text: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.stat() if file.exists() else None
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        if before is not None:  # later than before by the least a file system can tell, whatever its clock
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
        return str(file)

    return write


def test_a_function_of_a_file(loader: ModuleLoader, write: Write) -> None:
    path = write("some_file.py", "def f(): return __name__")
    assert loader.find(path, "f")() == "some_file"
    assert loader.find(path, "f") is loader.find(path, "f")


def test_two_files_of_one_name(loader: ModuleLoader, write: Write) -> None:
    first, second = (write(f"{folder}/same_stem.py", f"def f(): return {folder!r}") for folder in ("one", "two"))
    assert [loader.find(path, "f")() for path in (first, second, first, second)] == ["one", "two", "one", "two"]


def test_each_file_imports_its_own_neighbours(loader: ModuleLoader, write: Write) -> None:
    for folder in ("one", "two"):
        write(f"{folder}/neighbour.py", f"WHO = {folder!r}\ncount = 0")
    text = """
        def f():
            import neighbour
            neighbour.count += 1
            return neighbour.WHO, neighbour.count
    """
    one, two = write("one/a.py", text), write("two/b.py", text)
    assert [loader.find(path, "f")() for path in (one, two, one, two)] == [
        ("one", 1),
        ("two", 1),
        ("one", 2),
        ("two", 2),
    ]


def test_a_folder_that_a_file_puts_on_the_path_itself_is_left_all_the_same(loader: ModuleLoader, write: Write) -> None:
    for folder in ("one", "two"):
        write(f"{folder}/neighbour.py", f"WHO = {folder!r}\ncount = 0")
    text = """
        import os, sys
        sys.path.insert(0, os.path.dirname(__file__))
        def f():
            import neighbour
            neighbour.count += 1
            return neighbour.WHO, neighbour.count
    """
    one, two = write("one/a.py", text), write("two/b.py", text)
    assert [loader.find(path, "f")() for path in (one, two, one, two)] == [
        ("one", 1),
        ("two", 1),
        ("one", 2),
        ("two", 2),
    ]


def test_a_file_named_like_a_standard_module_shadows_nothing(loader: ModuleLoader, write: Write) -> None:
    import random

    path = write("random.py", "def f(): return 'mine'")
    other = write("other.py", "import random\ndef f(): return random")
    assert loader.find(path, "f")() == "mine"
    assert loader.find(other, "f")() is random
    assert sys.modules["random"] is random


@pytest.mark.parametrize("name", ["my-file.py", "1st.py", "__main__.py", "class.py", "my file.py", "dot.ted.py"])
def test_a_file_whose_name_is_no_identifier(loader: ModuleLoader, write: Write, name: str) -> None:
    main = sys.modules["__main__"]
    assert loader.find(write(name, "def f(): return 3"), "f")() == 3
    assert sys.modules["__main__"] is main


def test_a_function_of_the_standard_library_leaves_it_in_place(loader: ModuleLoader, write: Write) -> None:
    import json
    import textwrap as standard

    before = dict(sys.modules)
    assert loader.find(standard.__file__, "dedent") is standard.dedent
    elsewhere = write("elsewhere.py", "import textwrap, json, os\ndef f(): return textwrap, json, os")
    assert loader.find(elsewhere, "f")() == (standard, json, os)
    assert {name: sys.modules.get(name) for name in before} == before


def test_this_library_stays_importable_whatever_folder_is_left(
    loader: ModuleLoader, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may lie beside the folder `wetlands_rx` itself."""
    import types

    ours = types.ModuleType("pretended")
    ours.__file__ = str(tmp_path / "pretended" / "__init__.py")
    monkeypatch.setitem(sys.modules, "pretended", ours)
    loader.find(write("beside.py", "def f(): pass"), "f")
    loader.find(write("other/file.py", "def f(): pass"), "f")
    assert sys.modules["pretended"] is ours


def test_an_edited_file_is_loaded_again_at_once(loader: ModuleLoader, write: Write) -> None:
    for number in range(10):
        path = write("edited.py", f"def f(): return {number}")
        assert loader.find(path, "f")() == number


def test_an_edit_that_keeps_the_time_and_the_size_is_noticed(loader: ModuleLoader, write: Write) -> None:
    """As of `cp -p` and `rsync -t`."""
    path = write("kept.py", "def f(): return 1")
    assert loader.find(path, "f")() == 1
    before = os.stat(path)
    other = write("other.py", "def f(): return 2")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)
    assert loader.find(path, "f")() == 2


def test_an_edited_file_loads_its_edited_neighbours_again(loader: ModuleLoader, write: Write) -> None:
    write("beside.py", "VALUE = 1")
    path = write("main_file.py", "import beside\ndef f(): return beside.VALUE")
    other = write("other_file.py", "import beside\ndef f(): return beside")
    assert (loader.find(path, "f")(), loader.find(other, "f")().VALUE) == (1, 1)
    write("beside.py", "VALUE = 1 + 1")
    path = write("main_file.py", "import beside\ndef f(): return beside.VALUE + 10")
    assert loader.find(path, "f")() == 12
    assert loader.find(other, "f")().VALUE == 2
    assert loader.find(other, "f")() is sys.modules["beside"], "one copy for all"


def test_an_edit_of_a_neighbour_alone_is_noticed_within_half_a_second(write: Write) -> None:
    times = [100.0]
    loader = ModuleLoader(lambda: times[-1])
    write("beside.py", "VALUE = 1")
    write("late.py", "VALUE = 1")
    path = write("main_file.py", "import beside\ndef f():\n import late\n return beside.VALUE, late.VALUE")
    assert loader.find(path, "f")() == (1, 1)
    write("beside.py", "VALUE = 1 + 1")
    times.append(100.4)
    assert loader.find(path, "f")() == (1, 1)
    times.append(100.6)
    assert loader.find(path, "f")() == (2, 1)
    times.append(102.0)
    assert loader.find(path, "f")() == (2, 1)
    write("late.py", "VALUE = 1 + 2")
    times.append(103.0)
    assert loader.find(path, "f")() == (2, 3)


def test_old_bytecode_of_a_neighbour_is_not_taken_for_new(
    loader: ModuleLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time stamps are whole seconds: here two versions of one size come in the same second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    beside, main = tmp_path / "beside.py", tmp_path / "main_file.py"
    for number in range(3):
        beside.write_text(f"VALUE = {number}")
        main.write_text(f"import beside\ndef f(): return beside.VALUE # {number}")
        for file in (beside, main):
            os.utime(file, ns=(10**18, 10**18 + number))
        assert loader.find(str(main), "f")() == number


def test_a_neighbour_that_did_not_change_keeps_what_it_holds(write: Write) -> None:
    times = [100.0]
    loader = ModuleLoader(lambda: times[-1])
    write("beside.py", "COUNT = []")
    path = write("main_file.py", "import beside\ndef f(): beside.COUNT.append(0); return len(beside.COUNT)")
    for number in range(1, 5):
        assert loader.find(path, "f")() == number
        times.append(times[-1] + 1.0)


def test_an_edited_file_of_a_package_is_loaded_again_at_once(
    loader: ModuleLoader, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own bytecode has time stamps of whole seconds and would be taken for new."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write("package/__init__.py", "")
    for number in range(10):
        path = write("package/edited.py", f"def f(): return {number}")
        assert loader.find(path, "f")() == number


def test_old_bytecode_is_not_read(loader: ModuleLoader, write: Write) -> None:
    """As a new worker finds it after an edit within the second."""
    import importlib.util
    import py_compile

    for name in ("edited.py", "package/edited.py"):
        write("package/__init__.py", "")
        path = write(name, "def f(): return 1")
        py_compile.compile(path, importlib.util.cache_from_source(path))
        stamp = os.stat(path)
        Path(path).write_text("def f(): return 2", encoding="utf-8")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert loader.find(path, "f")() == 2


def test_an_edit_that_does_not_load_is_tried_again(loader: ModuleLoader, write: Write) -> None:
    path = write("edited.py", "def f(): return 1")
    assert loader.find(path, "f")() == 1
    write("edited.py", "def f(: return 2")
    for _ in range(2):
        with pytest.raises(SyntaxError):
            loader.find(path, "f")
    write("edited.py", "def f(): return 3")
    assert loader.find(path, "f")() == 3


def test_a_file_that_raises_while_it_is_loaded_leaves_no_module(loader: ModuleLoader, write: Write) -> None:
    path = write("raising_file.py", "raise SystemExit(3)")
    for _ in range(2):
        with pytest.raises(SystemExit):
            loader.find(path, "f")
    assert "raising_file" not in sys.modules


PACKAGE = {
    "outer/__init__.py": "NAME = 'outer'",
    "outer/helper.py": "def help(): return 'helped'",
    "outer/inner/__init__.py": "def g(): return __name__",
    "outer/inner/work.py": """
        from . import __name__ as package
        from ..helper import help
        from .. import NAME
        def f(): return package, help(), NAME, __name__
    """,
}


def test_a_file_of_a_package_may_import_relatively(loader: ModuleLoader, write: Write, tmp_path: Path) -> None:
    for name, text in PACKAGE.items():
        write(name, text)
    work = str(tmp_path / "outer/inner/work.py")
    assert loader.find(work, "f")() == ("outer.inner", "helped", "outer", "outer.inner.work")
    assert loader.find(str(tmp_path / "outer/inner/__init__.py"), "g")() == "outer.inner"
    assert importlib.import_module("outer.inner.work").f is loader.find(work, "f")
    assert importlib.import_module("outer").inner.work.f is loader.find(work, "f")


def test_what_lies_beside_a_package_is_not_importable(loader: ModuleLoader, write: Write, tmp_path: Path) -> None:
    write("beside_the_package.py", "")  # as another package of the caller's environment would be
    write("lone_package/__init__.py", "from . import helper")
    write("lone_package/helper.py", "import lone_package\nNAME = lone_package.__name__")
    path = write(
        "lone_package/deep.py",
        """
        from lone_package.helper import NAME
        def f():
            import beside_the_package
        def g(): return NAME
        """,
    )
    assert loader.find(path, "g")() == "lone_package"
    with pytest.raises(ModuleNotFoundError, match="beside_the_package"):
        loader.find(path, "f")()
    assert str(tmp_path) not in sys.path


def test_two_packages_of_one_name(loader: ModuleLoader, write: Write) -> None:
    for folder in ("one", "two"):
        write(f"{folder}/same_package/__init__.py", "")
    first, second = (
        write(f"{folder}/same_package/work.py", f"def f(): return {folder!r}") for folder in ("one", "two")
    )
    assert [loader.find(path, "f")() for path in (first, second, first, second)] == ["one", "two", "one", "two"]


def test_a_name_with_dots_leads_into_classes(loader: ModuleLoader, write: Write) -> None:
    path = write(
        "classes.py",
        """
        class A:
            class B:
                @staticmethod
                def f(): return 'A.B.f'
            @classmethod
            def g(cls): return cls.__name__
        """,
    )
    assert loader.find(path, "A.B.f")() == "A.B.f"
    assert loader.find(path, "A.g")() == "A"
    assert loader.find(path, "A")().__class__.__name__ == "A"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("segmnt", r"has no function 'segmnt'. Did you mean 'segment'\?"),
        ("nothing_like_it", "has no function 'nothing_like_it'; its functions: Model, segment, train"),
        ("Model.predict", "has no function 'Model.predict'"),
        ("VALUE", "'VALUE' in functions.py is int, not a function"),
        ("", "has no function ''"),
    ],
)
def test_what_is_not_there_is_named_and_the_nearest_suggested(
    loader: ModuleLoader, write: Write, asked: str, answer: str
) -> None:
    path = write(
        "functions.py",
        """
        from os.path import join
        VALUE = 3
        class Model: pass
        def segment(): pass
        def train(): pass
        """,
    )
    with pytest.raises(FunctionNotFound, match=answer):
        loader.find(path, asked)


def test_a_file_that_is_not_there_or_not_python(loader: ModuleLoader, write: Write, tmp_path: Path) -> None:
    with pytest.raises(FunctionNotFound, match=r"cannot read .*No such file"):
        loader.find(str(tmp_path / "missing.py"), "f")
    with pytest.raises(FunctionNotFound, match="not a Python file"):
        loader.find(write("text.txt", "def f(): pass"), "f")


def test_a_file_that_was_removed_is_missing_although_it_was_loaded(loader: ModuleLoader, write: Write) -> None:
    path = write("removed.py", "def f(): pass")
    loader.find(path, "f")
    os.remove(path)
    with pytest.raises(FunctionNotFound):
        loader.find(path, "f")


# --- Scripts


def run(loader: ModuleLoader, path: str) -> Any:
    import runpy

    with loader.in_script(os.path.dirname(path)):
        return runpy.run_path(path)


def test_a_script_imports_what_lies_beside_it_anew_at_each_run(loader: ModuleLoader, write: Write) -> None:
    path_before, modules_before = list(sys.path), dict(sys.modules)
    script = write("script.py", "import beside\nVALUE = beside.VALUE")
    for number in range(5):
        write("beside.py", f"VALUE = {'x' * (number + 1)!r}")
        assert run(loader, script)["VALUE"] == "x" * (number + 1)
    assert sys.path == path_before
    assert "beside" not in sys.modules
    assert all(sys.modules.get(name) is module for name, module in modules_before.items())


def test_scripts_of_two_folders_import_their_own_neighbours(loader: ModuleLoader, write: Write) -> None:
    scripts: list[str] = []
    for folder in ("one", "two"):
        write(f"{folder}/beside.py", f"WHO = {folder!r}")
        scripts.append(write(f"{folder}/script.py", "import beside\nWHO = beside.WHO"))
    assert [run(loader, script)["WHO"] for script in scripts * 2] == ["one", "two", "one", "two"]


def test_what_a_script_shadows_is_shadowed_for_that_script_alone(loader: ModuleLoader, write: Write) -> None:
    """`colorsys` is a standard module that nobody has imported yet."""
    sys.modules.pop("colorsys", None)
    write("colorsys.py", "MINE = True")
    assert run(loader, write("script.py", "import colorsys\nMINE = colorsys.MINE"))["MINE"]
    function = write("function.py", "import colorsys\ndef f(): return hasattr(colorsys, 'MINE')")
    assert loader.find(function, "f")() is False


def test_functions_and_scripts_of_one_folder(loader: ModuleLoader, write: Write) -> None:
    write("beside.py", "count = 0")
    function = write("function.py", "import beside\ndef f():\n    beside.count += 1\n    return beside.count")
    script = write("script.py", "import beside\ncount = beside.count")
    assert loader.find(function, "f")() == 1
    assert run(loader, script)["count"] == 0
    assert loader.find(function, "f")() == 2


# --- The handle


def wants(loader: ModuleLoader, function: Callable[..., Any], given: int = 0) -> bool:
    return loader.wants_handle(function, given)


class Callables:
    def method(self, task: Any) -> None: ...

    @classmethod
    def of_class(cls, x: int, task: Any = None) -> None: ...

    @staticmethod
    def static(task: Any) -> None: ...

    def __call__(self, *, task: Any) -> None: ...


class Made:
    def __init__(self, task: Any) -> None: ...


def plain() -> None: ...
def first(task: Any, x: int = 0) -> None: ...
def second(x: int, task: Any = None) -> None: ...
def keyword(*args: Any, task: Any = None) -> None: ...
def any_keyword(**task: Any) -> None: ...
def any_positional(*task: Any) -> None: ...
def positional_only(task: Any, /) -> None: ...
def local_variable() -> None:
    task = 1
    del task


async def coroutine(x: int, task: Any) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        first,
        second,
        keyword,
        coroutine,
        Callables().method,
        Callables.of_class,
        Callables.static,
        Callables(),
        Made,
    ],
)
def test_who_gets_a_handle(loader: ModuleLoader, function: Callable[..., Any]) -> None:
    assert wants(loader, function)
    assert wants(loader, function)


@pytest.mark.parametrize("function", [plain, any_keyword, any_positional, positional_only, local_variable, len, print])
def test_who_gets_none(loader: ModuleLoader, function: Callable[..., Any]) -> None:
    assert not wants(loader, function)


@pytest.mark.parametrize(
    ("function", "given", "open_"),
    [
        (first, 0, True),
        (first, 1, False),
        (second, 1, True),
        (second, 2, False),
        (keyword, 9, True),
        (Callables().method, 0, True),
        (Callables().method, 1, False),
        (Callables.of_class, 1, True),
        (Callables.of_class, 2, False),
        (Callables(), 0, True),
    ],
)
def test_who_gives_an_argument_for_it_keeps_it(
    loader: ModuleLoader, function: Callable[..., Any], given: int, open_: bool
) -> None:
    assert wants(loader, function, given) is open_


def test_a_decorated_function_shows_the_signature_it_wraps(loader: ModuleLoader) -> None:
    import functools

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    assert wants(loader, decorated(first))
    assert not wants(loader, decorated(plain))
    assert wants(loader, functools.partial(second, 1))


def test_an_unhashable_callable_is_looked_at_each_time(loader: ModuleLoader) -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, task: Any) -> None: ...

    function = Unhashable()
    assert wants(loader, function)
    assert wants(loader, function)
