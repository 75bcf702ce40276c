"""Functions that have no name by which a worker could find them: pickled with all that they refer to."""

from __future__ import annotations

import functools
import importlib
import io
import linecache
import os
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from wetlands_rx._callables.ways import ByValue, code_of
from wetlands_rx._wire.target import FunctionValue
from wetlands_rx.exceptions import SerializationError

_LEFT_OUT = "<dynamic-code>"
_MOST_SOURCE_BYTES = 65536
_DEPTH = 4
"""How far below a function what cannot be pickled is looked for."""


def check_python(way: ByValue, environment: str, workers: tuple[int, int]) -> None:
    """Refuse what would crash the worker: the code of another Python.

    Args:
        way: The function.
        environment: The name of the environment.
        workers: The Python of its workers.
    Raises:
        SerializationError: it is not that of this process.
    """
    ours = sys.version_info[:2]
    if workers != ours:
        here, there = (".".join(map(str, version)) for version in (ours, workers))
        raise SerializationError(
            f"{way.shown} has no name by which a worker could find it, so it would have to be sent itself, and that "
            f"is possible only to the same Python: this is Python {here}, and the workers of environment "
            f"{environment!r} have Python {there}. Put the function at the top level of a file, or make the "
            f"environment with Python {here}"
        )


def pickled(function: Callable[..., Any], way: ByValue) -> FunctionValue:
    """Pickle a function, now: what it refers to may change as soon as this returns.

    Raises:
        SerializationError: something that it refers to cannot be pickled; the text names that.
    """
    library = _library()
    try:
        code = library.dumps((function, *_source_of(function)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pickling runs the user's code
        raise _not_sendable(function, way.shown, error) from error
    return FunctionValue(code, way.folder, library.folder)


class _Library(NamedTuple):
    """Our cloudpickle.

    Attributes:
        folder: Where it lies.
        dumps: Pickles with it.
    """

    folder: str
    dumps: Callable[[object], bytes]


@functools.cache
def _library() -> _Library:
    cloudpickle: Any = importlib.import_module("cloudpickle")  # not at the top: most programs need none
    reduce_code = cloudpickle.Pickler.dispatch_table[CodeType]

    def reduce_code_with_file(code: CodeType) -> tuple[Any, tuple[Any, ...]]:
        # Newer versions leave out where it was written, without which tracebacks could not show it.
        make, parts = reduce_code(code)
        return make, tuple(code.co_filename if part == _LEFT_OUT else part for part in parts)

    table = ChainMap({CodeType: reduce_code_with_file}, cloudpickle.Pickler.dispatch_table)
    pickler: Any = type("_Pickler", (cloudpickle.Pickler,), {"dispatch_table": table})

    def dumps(value: object) -> bytes:
        file = io.BytesIO()
        pickler(file, 5).dump(value)
        return file.getvalue()

    return _Library(os.path.dirname(os.path.abspath(str(cloudpickle.__file__))), dumps)


def _source_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The lines of what was typed, and under which name tracebacks ask for them; a worker reads files itself."""
    code = code_of(function)
    if code is None or os.path.exists(code.co_filename):
        return "", ""
    source = "".join(linecache.getlines(code.co_filename))
    return (code.co_filename, source) if len(source) <= _MOST_SOURCE_BYTES else ("", "")


def _not_sendable(function: Callable[..., Any], shown: str, error: BaseException) -> SerializationError:
    why = f"{type(error).__name__}: {error}"
    found = _culprit(function, _DEPTH)
    if found is None:
        return SerializationError(f"{shown} cannot be sent to a worker: {why}")
    return SerializationError(
        f"{shown} cannot be sent to a worker, because of {found}: {why}; build it inside the function, or pass what it "
        "is made from"
    )


def _culprit(value: object, depth: int) -> str | None:
    """Words for what in it cannot be pickled; None when that is not to be found."""
    for words, part in _parts_of(value):
        if _travels(part):
            continue
        below = _culprit(part, depth - 1) if depth else None
        own = f"{words} ({type(part).__qualname__})"
        return f"{own}, {below}" if below else own
    return None


def _travels(value: object) -> bool:
    try:
        _library().dumps(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the user's code
        return False
    return True


def _parts_of(value: object) -> Iterator[tuple[str, object]]:
    """What a function, or something that it refers to, holds, and in which words."""
    if isinstance(value, functools.partial):
        yield "what its partial calls", value.func
        for place, given in enumerate(value.args):
            yield f"argument {place} of its partial", given
        for name, given in value.keywords.items():
            yield f"argument {name!r} of its partial", given
    elif isinstance(value, MethodType):
        yield "the object of the method", value.__self__
        yield "its function", value.__func__
    elif isinstance(value, FunctionType):
        yield from _captured(value)
    elif isinstance(value, dict):
        yield from ((f"its item {key!r:.50}", item) for key, item in list(value.items()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    elif isinstance(value, (list, tuple, set)):
        yield from ((f"its element {place}", item) for place, item in enumerate(list(value)))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    elif not isinstance(value, (type, ModuleType)):
        yield from ((f"its attribute {name!r}", item) for name, item in list(getattr(value, "__dict__", {}).items()))


def _captured(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if not _is_empty(cell):
            yield f"the captured variable {name!r}", cell.cell_contents
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield f"the global variable {name!r}", function.__globals__[name]
    for place, default in enumerate(function.__defaults__ or ()):
        yield f"default {place} of its parameters", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"the default of {name!r}", default


def _is_empty(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
