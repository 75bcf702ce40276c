"""Stand-ins for modules: their functions run in an environment."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from wetlands_rx.task import Task

R = TypeVar("R")
Run = Callable[[str, str, tuple[Any, ...], dict[str, Any]], R]
"""Runs a function, given file, name, arguments and keyword arguments."""


class _StandIn(Generic[R]):
    """The functions of a file, each of which is run when called.

    Args:
        path: The file.
        environment: The name of the environment.
        run: Runs them.
        functions: Their names.
    """

    def __init__(self, path: str, environment: str, run: Run[R], functions: Sequence[str]) -> None:
        self._path = path
        self._environment = environment
        self._run = run
        self._functions = functions

    def __getattr__(self, name: str) -> Callable[..., R]:
        functions = self.__dict__.get("_functions", ())  # a copy that is being made has none
        if name.startswith("__") or name not in functions:
            raise AttributeError(_no_attribute(self.__dict__.get("_path", ""), name, functions))
        run, path = self._run, self._path

        def call(*args: Any, **kwargs: Any) -> R:
            return run(path, name, args, kwargs)

        call.__name__ = call.__qualname__ = name
        return call

    def __dir__(self) -> list[str]:
        return list(self._functions)

    def __repr__(self) -> str:
        names = ", ".join(self._functions)
        return f"<{type(self).__name__} {os.path.basename(self._path)} in {self._environment}: {names}>"


class RemoteModule(_StandIn[Any]):
    """The functions of a file, each of which runs in an environment when called, and blocks until it has returned."""


class TaskModule(_StandIn[Task[Any]]):
    """The functions of a file, each of which is submitted to an environment when called, and returns its task."""


def functions_of(path: str) -> tuple[str, ...]:
    """The names of the functions at the top level of a file; it is read, not run.

    Raises:
        SyntaxError: it is not Python of this version.
    """
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    return tuple(node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _no_attribute(path: str, name: str, functions: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, functions, 1)
    return f"{os.path.basename(path)} has no function {name!r}" + (f". Did you mean {near[0]!r}?" if near else "")
