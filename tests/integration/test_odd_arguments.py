"""What callers give by mistake is refused where it is given, in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx.exceptions import SerializationError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import TaskStatus


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text("def echo(*args, **kwargs): return args, kwargs\n")
    return path


@pytest.mark.parametrize("args", [5, "ab", None, {"a": 1}])
def test_arguments_that_are_no_tuple(here: ExternalEnvironment, functions: Path, args: Any) -> None:
    here.launch()
    with pytest.raises(TypeError, match="args must be a tuple"):
        here.submit(functions, "echo", args=args)


@pytest.mark.parametrize("kwargs", [5, [1], {1: 2}])
def test_keyword_arguments_that_are_no_names(here: ExternalEnvironment, functions: Path, kwargs: Any) -> None:
    here.launch()
    with pytest.raises(TypeError, match="kwargs must be a dictionary"):
        here.submit(functions, "echo", kwargs=kwargs)


def test_a_list_of_arguments_and_a_path_of_bytes(here: ExternalEnvironment, functions: Path) -> None:
    here.launch()
    path: Any = os.fsencode(functions)
    arguments: Any = [1, 2]
    assert here.execute(path, "echo", arguments) == ((1, 2), {})


def test_an_argument_that_ends_the_program_when_it_is_pickled(here: ExternalEnvironment, functions: Path) -> None:
    class Leaves:
        def __reduce__(self) -> Any:
            raise SystemExit(7)

    here.launch()
    with pytest.raises(SerializationError, match=r"args\[1\] \(.*Leaves\) cannot be sent .*SystemExit: 7"):
        here.submit(functions, "echo", (1, Leaves()))
    assert here.execute(functions, "echo") == ((), {})


def test_a_task_that_was_never_started_ends_with_its_environment(here: ExternalEnvironment, functions: Path) -> None:
    here.launch()
    task = here.submit(functions, "echo", start=False)
    here.exit()
    assert task.status is TaskStatus.CANCELED
    assert task.future.cancelled()
