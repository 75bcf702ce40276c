"""Functions themselves: those of files, those of modules, and those that no worker could find by a name."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import math
import os
import random
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from tests.integration.callables import functions, made
from tests.support.notebooks import execute
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import ExecutionException, NotLaunchedError, SerializationError, WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskStatus

SOON = 30.0
ROOT = Path(__file__).parents[2]
offset = 3


@pytest.fixture
def one(here: ExternalEnvironment) -> ExternalEnvironment:
    """With one worker."""
    launch(here)
    return here


def launch(env: ExternalEnvironment, max_workers: int = 1) -> None:
    """With these tests, should others be installed there, first on the path."""
    env.launch(max_workers=max_workers, worker_env=lambda _: {"PYTHONPATH": str(ROOT)})


@pytest.fixture
def bare(tmp_path: Path) -> Any:
    """An environment of this very Python that holds nothing at all, with two workers."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        env = manager.load("bare", tmp_path / "bare")
        env.launch(max_workers=2)
        yield env


def done(task: Task[Any]) -> Any:
    return task.wait_for(SOON).result


# --- Which way


@pytest.mark.parametrize(
    ("function", "args", "target", "result"),
    [
        (functions.top, (1,), "functions.py:top", 10),
        (functions.Adder.made, (4,), "functions.py:Adder.made", 4),
        (functions.Adder.add, (functions.Adder(1), 4), "functions.py:Adder.add", 5),
        (math.sqrt, (4,), "math:sqrt", 2.0),
        (str.upper, ("a",), "builtins:str.upper", "A"),
        (np.linalg.norm, ([3.0, 4.0],), "numpy.linalg:norm", 5.0),
        (textwrap.dedent, (" a",), "textwrap:dedent", "a"),
        (made.make(5), (1,), "made.py:make.<locals>.work", 15),
        (made.make_lambda(5), (1,), "made.py:make_lambda.<locals>.<lambda>", 15),
        (lambda: offset, (), "test_callables.py:<lambda>", 3),
        (made.added, (3,), "builtins:pow", 8),
        (functools.partial(made.make(5), 2), (), "made.py:make.<locals>.work", 25),
        (functions.Adder(2).add, (5,), "functions.py:Adder.add", 7),
        (functions.Adder(2), (5,), "functions.py:Adder", -3),
        (made.make_async(), (5,), "made.py:make_async.<locals>.later", 10),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" in value else "",
)
def test_any_function_runs(one: ExternalEnvironment, function: Any, args: Any, target: str, result: Any) -> None:
    task: Task[Any] = one.submit(function, args=args)
    assert done(task) == result
    assert f" {target} " in repr(task)
    assert one.execute(function, args=args) == result


def test_random_functions_of_modules_are_those_of_the_worker(one: ExternalEnvironment) -> None:
    assert len({one.execute(random.random) for _ in range(3)}) == 3


def test_maps_of_functions_themselves(here: ExternalEnvironment) -> None:
    launch(here, 2)
    assert list(here.map(made.make(1), range(50))) == [10 * x + 1 for x in range(50)]
    assert list(here.map(functions.Adder(1).add, [1, 2], chunksize=2)) == [2, 3]
    assert list(here.map(made.make_async(), range(3))) == [0, 2, 4]
    assert list(here.map(math.sqrt, [1, 4])) == [1, 2]
    assert list(here.map_tasks(made.make(1), [1, 2]).wait_for(SOON).results()) == [11, 21]
    with here.events.subscribe(lambda _: None):  # then each item is a task
        assert list(here.map(made.make(1), range(5))) == [10 * x + 1 for x in range(5)]


def test_arrays_travel_with_a_function_by_value_and_in_it(one: ExternalEnvironment) -> None:
    captured, image = np.arange(1000.0), np.ones((300, 300))

    def scaled(x: Any) -> Any:
        return x * captured.sum()

    back = one.execute(scaled, args=(image,))
    np.testing.assert_array_equal(back, image * captured.sum())


# --- As any other call


def test_news_of_a_function_by_value(one: ExternalEnvironment) -> None:
    printed = threading.Event()
    targets: list[Any] = []

    def on_record(record: Any) -> None:
        targets.append(record.call_target)
        printed.set()

    with one.logs.subscribe(on_record):
        task = one.submit(made.make_with_news(), args=(3,))
        assert done(task) == 3
        assert printed.wait(SOON)
    assert (task.message, task.current, task.maximum, task.outputs) == ("half way", 1, 2, {"square": 9})
    assert targets == ["made.py:make_with_news.<locals>.with_news"]


def test_a_function_by_value_is_canceled(one: ExternalEnvironment) -> None:
    task = one.submit(made.make_until_canceled())
    deadline = time.monotonic() + SOON
    while task.message != "runs":
        assert time.monotonic() < deadline
    task.cancel()
    assert task.wait_for(SOON).status is TaskStatus.CANCELED


def test_the_traceback_shows_the_lines_of_a_function_by_value(one: ExternalEnvironment) -> None:
    with pytest.raises(ExecutionException, match="ValueError: why") as raised:
        one.execute(made.make_failing("why"))
    text = "\n".join(raised.value.traceback)
    assert f'File "{made.__file__}", line ' in text
    assert "raise ValueError(text)  # this line is shown" in text
    assert "_callables" not in text


def test_what_was_captured_may_change_as_soon_as_submit_returns(one: ExternalEnvironment) -> None:
    captured = [1, 2, 3]
    task = one.submit(lambda: captured)
    captured.clear()
    assert done(task) == [1, 2, 3]


def test_a_worker_that_dies_fails_the_function_by_value_alone(one: ExternalEnvironment) -> None:
    with pytest.raises(WorkerDiedError, match="test_callables"):
        one.execute(lambda: os._exit(3))
    assert one.execute(lambda: 1) == 1


# --- What is kept in a worker


def test_a_small_function_keeps_what_it_holds_between_the_calls_of_one_state(one: ExternalEnvironment) -> None:
    counting = made.make_counting()
    assert [one.execute(counting) for _ in range(3)] == [1, 2, 3]
    assert list(one.map(counting, range(3))) == [4, 5, 6]
    assert counting() == 1  # here: a state of its own
    assert one.execute(counting) == 2  # it was sent anew, with that state


def test_a_large_function_is_loaded_anew_at_each_call(one: ExternalEnvironment) -> None:
    large = made.make_large(100_000)
    assert [one.execute(large) for _ in range(2)] == [100_001, 100_001]
    assert list(one.map(large, [1])) == [100_001]


def test_a_function_larger_than_the_pipe_travels_in_a_map(here: ExternalEnvironment) -> None:
    launch(here, 2)
    large = made.make_large(3_000_000)
    assert all(result > 3_000_000 for result in here.map(large, range(20)))


def test_many_functions_leave_room_for_others(one: ExternalEnvironment) -> None:
    assert [one.execute(made.make(number), args=(1,)) for number in range(50)] == [10 + number for number in range(50)]


def test_what_a_function_refers_to_is_loaded_again_after_an_edit(one: ExternalEnvironment, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def number():\n    return 1\n", encoding="utf-8")
    program = tmp_path / "makes.py"
    program.write_text("import beside\n\ndef make():\n    return lambda: beside.number()\n", encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    try:
        function: Callable[[], int] = importlib.import_module("makes").make()
        assert one.execute(function) == 1
        (tmp_path / "beside.py").write_text("def number():\n    return 22\n", encoding="utf-8")
        deadline = time.monotonic() + SOON
        while one.execute(function) != 22:  # the neighbours are looked at every half second
            assert time.monotonic() < deadline
    finally:
        sys.path.remove(str(tmp_path))
        for name in ("makes", "beside"):
            sys.modules.pop(name, None)


def test_a_function_of_a_package_finds_what_is_beside_it(one: ExternalEnvironment, tmp_path: Path) -> None:
    package = tmp_path / "packaged" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "packaged" / "__init__.py").touch()
    (package / "beside.py").write_text("def number():\n    return 7\n", encoding="utf-8")
    (package / "makes.py").write_text(
        "from .beside import number\n\ndef make():\n    return lambda x: number() + x\n", encoding="utf-8"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        makes = importlib.import_module("packaged.inner.makes")
        assert one.execute(makes.make(), args=(1,)) == 8
        assert list(one.map(makes.make(), range(3))) == [7, 8, 9]
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.startswith("packaged")]:
            del sys.modules[name]


# --- What cannot be


def test_what_a_function_holds_and_cannot_be_sent_is_named(one: ExternalEnvironment) -> None:
    with pytest.raises(SerializationError, match=r"captured variable 'lock' \(lock\): TypeError: cannot pickle"):
        one.submit(made.make_unsendable(int), args=(1,))
    with pytest.raises(SerializationError, match=r"captured variable 'one' \(ExternalEnvironment\)"):
        one.submit(lambda: one)
    with pytest.raises(SerializationError, match=r"captured variable 'lock' \(lock\)"):
        one.map(made.make_unsendable(int), [1])
    with pytest.raises(
        SerializationError, match=r"the object of the method \(Adder\), its attribute 'number' \(lock\)"
    ):
        one.submit(functions.Adder(threading.Lock()).add)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(SerializationError, match=r"argument 0 of its partial \(lock\)"):
        one.submit(functools.partial(print, threading.Lock()))
    assert one.execute(lambda: 1) == 1


def test_a_function_that_cannot_be_loaded_fails_its_task_alone(one: ExternalEnvironment) -> None:
    with pytest.raises(SerializationError) as raised:
        one.execute(made.make_unloadable(), args=(1,))
    said = raised.value.error
    assert (
        said == "made.py:make_unloadable.<locals>.holds cannot be loaded in environment 'here': LookupError: not here"
    )
    results = list(one.map(made.make_unloadable(), [1, 2], on_error="return"))
    assert [type(result) for result in results] == [SerializationError] * 2
    task = one.submit(made.make_unloadable(), args=(1,))
    with contextlib.suppress(SerializationError):
        task.wait_for(SOON)
    assert task.error is not None
    assert task.error.category == "serialization"
    assert one.execute(lambda: 1) == 1


def test_a_module_that_the_environment_does_not_have_is_named(bare: ExternalEnvironment) -> None:
    with pytest.raises(ExecutionException, match="there is no module 'numpy' in this environment") as raised:
        bare.execute(np.linalg.norm, args=([1.0],))
    assert raised.value.remote_type == "wetlands_rx.FunctionNotFound"
    with pytest.raises(ExecutionException, match="there is no module 'numpy' in this environment"):
        list(bare.map(np.linalg.norm, [[1.0]]))


def test_a_function_by_value_needs_a_launched_environment(here: ExternalEnvironment) -> None:
    with pytest.raises(NotLaunchedError):
        here.submit(lambda: 1)
    here.launch()
    assert here.execute(lambda: 1) == 1


# --- Where nothing of ours is


def test_an_environment_without_cloudpickle_stays_without_it(bare: ExternalEnvironment) -> None:
    captured = [1]

    def own_cloudpickle() -> tuple[list[int], bool, list[str]]:
        try:
            importlib.import_module("cloudpickle")
            found = True
        except ImportError:
            found = False
        return captured, found, [entry for entry in sys.path if "site-packages" in entry and "bare" not in entry]

    assert bare.execute(own_cloudpickle) == ([1], False, [])
    assert list(bare.map(lambda x: x + len(captured), range(5))) == [1, 2, 3, 4, 5]


def test_the_cloudpickle_of_an_environment_is_left_alone(bare: ExternalEnvironment, tmp_path: Path) -> None:
    packages = next((tmp_path / "bare").glob("lib/python*/site-packages"))
    (packages / "cloudpickle.py").write_text("__version__ = '0.1'\n", encoding="utf-8")

    def version() -> str:
        return str(importlib.import_module("cloudpickle").__version__)

    assert bare.execute(version) == "0.1"
    bare.recycle()
    assert bare.execute(version) == "0.1"


# --- Typed, not written

TYPED = """
import sys
from dataclasses import dataclass
from wetlands_rx import EnvironmentManager
import beside

factor = 7

@dataclass
class Point:
    x: int

    def moved(self):
        return Point(self.x + factor)

def work(x, *, task=None):
    return beside.helped(x) * factor

def move(point):
    assert isinstance(point, Point)
    return point.moved()

def broken():
    raise KeyError("typed")

async def later(x):
    return work(x)

with EnvironmentManager("envs", log_file_path=None) as manager:
    env = manager.load("here", sys.executable)
    env.launch()
    print(env.submit(lambda x: x * factor, args=(2,)).wait_for(30).result)
    task = env.submit(work, args=(2,))
    print(task.wait_for(30).result)
    print(repr(task).split()[2])
    print(list(env.map(work, [1, 2])))
    print(env.execute(later, args=(1,)))
    print(env.execute(move, args=(Point(1),)))
    print(list(env.map(move, [Point(1), Point(2)])))
    task = env.submit(broken)
    task.future.exception(30)
    print(task.error)
    print("raise KeyError" in str(task.exception))
"""
SAID = ["14", "21", "WHERE:work", "[14, 21]", "14", "Point(x=8)", "[Point(x=8), Point(x=9)]", "KeyError: 'typed'"]


@pytest.mark.parametrize("how", ["-c", "-"])
def test_functions_that_were_typed(how: str, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def helped(x):\n    return x + 1\n", encoding="utf-8")
    command = [sys.executable, how, *([TYPED] if how == "-c" else [])]
    answer = subprocess.run(
        command,
        cwd=tmp_path,
        input=TYPED if how == "-" else None,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[:-1] == [line.replace("WHERE", "prompt") for line in SAID]


def test_functions_of_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def helped(x):\n    return x + 1\n", encoding="utf-8")
    head, _, body = TYPED.partition("with EnvironmentManager")
    own: Any = nbformat.v4
    cells = [own.new_code_cell(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{head}")]
    cells.append(own.new_code_cell(f"with EnvironmentManager{body}"))
    ran = execute(own.new_notebook(cells=cells), tmp_path)
    printed = "".join(output["text"] for cell in ran.cells for output in cell["outputs"])
    assert printed.splitlines() == [*(line.replace("WHERE", "notebook") for line in SAID), "True"]


def test_functions_of_a_script_that_is_run(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def helped(x):\n    return x + 1\n", encoding="utf-8")
    head, _, body = TYPED.partition("with EnvironmentManager")
    guarded = textwrap.indent(f"with EnvironmentManager{body}", "    ").replace("move,", "lambda p: move(p),")
    (tmp_path / "typed.py").write_text(f"{head}if __name__ == '__main__':\n{guarded}", encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "typed.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [*(line.replace("WHERE", "typed.py") for line in SAID), "True"]


def test_awaiting_and_canceling_work_as_ever(one: ExternalEnvironment) -> None:
    async def main() -> int:
        return await one.submit(lambda: 5)

    assert asyncio.run(main()) == 5
    task = one.submit(lambda: 1, start=False)
    task.cancel()
    assert task.status is TaskStatus.CANCELED
    assert re.search(r"test_callables.py:.*<lambda>", repr(task))
