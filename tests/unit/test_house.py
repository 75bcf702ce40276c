"""The house itself: the leak check sees what it must, and the worker's files stay old and small."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from tests.support.leaks import left_behind, settled, take_stock
from tests.support.oldest import OLDEST, imported_modules, module_name, oldest_interpreter, worker_files

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@contextmanager
def waiting_thread() -> Generator[str]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left-alone-7")
    thread.start()
    yield "thread left-alone-7"
    end.set()
    thread.join()


@contextmanager
def waiting_process() -> Generator[str]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield f"process {process.pid}"
    process.communicate()


@contextmanager
def open_pipe() -> Generator[str]:
    ends = os.pipe()
    yield f"descriptor {ends[0]} -> pipe:"
    for end in ends:
        os.close(end)


@contextmanager
def shared_block() -> Generator[str]:
    block = SharedMemory(create=True, size=1)
    yield f"shared memory {block.name}"
    block.close()
    block.unlink()


@pytest.mark.parametrize("holding", [waiting_thread, waiting_process, open_pipe, shared_block])
def test_what_a_test_leaves_behind_is_named_until_it_is_gone(
    holding: Callable[[], AbstractContextManager[str]],
) -> None:
    before = take_stock()
    with holding() as name:
        left = [str(thing) for thing in left_behind(before, take_stock())]
        assert any(line.startswith(name) for line in left), left
    assert settled(before) == []


@pytest.mark.parametrize("file", worker_files(), ids=module_name)
def test_the_workers_files_are_written_for_the_oldest_python(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=OLDEST)


@pytest.mark.parametrize("file", worker_files(), ids=module_name)
def test_the_workers_files_import_the_standard_library_and_each_other_alone(file: Path) -> None:
    ours = {module_name(file) for file in worker_files()} - {"wetlands_rx"}
    strangers = {
        module
        for module in imported_modules(file)
        if module not in ours and module.partition(".")[0] not in sys.stdlib_module_names
    }
    assert not strangers


def test_the_workers_files_load_in_the_oldest_python_here() -> None:
    interpreter, version = oldest_interpreter()
    names = [module_name(file) for file in worker_files()]
    root = str(worker_files()[0].parents[1])
    program = "import importlib, sys; sys.path.insert(0, sys.argv[1]); list(map(importlib.import_module, sys.argv[2:]))"
    command = [interpreter, "-I", "-B", "-W", "error", "-c", program, root, *names]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"Python {version}: {answer.stderr}"


REFERRING = [file for file in sorted((ROOT / "tests").rglob("test_*.py")) if ".py::test_" in file.read_text()]


@pytest.mark.parametrize("file", REFERRING, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_tests_that_a_docstring_names_are_there(file: Path) -> None:
    for path, name in re.findall(r"([\w/]+\.py)::(test_\w+)", ast.get_docstring(ast.parse(file.read_text())) or ""):
        named = next((place / path for place in (file.parent, ROOT / "tests") if (place / path).exists()), None)
        assert named is not None, path
        assert f"def {name}(" in named.read_text(encoding="utf-8"), f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "command",
    ["python -m pip install . && wetlands-rx demo", 'python -m pip install -e ".[test]" && python -m pytest'],
)
def test_the_first_screen_of_the_readme_gives_the_two_commands(command: str) -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:12]
    assert f"$ {command}" in first_screen
