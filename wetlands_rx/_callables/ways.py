"""Which way a function goes to a worker: by its file, by the name of its module, or by value."""

from __future__ import annotations

import functools
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class ByFile(NamedTuple):
    """The worker loads this file and finds the name in it."""

    path: str
    name: str


class ByName(NamedTuple):
    """The worker imports this module, of its own environment, and finds the name in it."""

    module: str
    name: str


class ByValue(NamedTuple):
    """The function itself is sent.

    Attributes:
        shown: What it is called in reports, `"notebook:<lambda>"`.
        folder: Where the modules lie that it may refer to; empty when there are none beside it.
    """

    shown: str
    folder: str


Way = ByFile | ByName | ByValue


class Facts(NamedTuple):
    """What decides about the way of a function.

    Attributes:
        name: The qualified name under which its module has it; empty when it has none there.
        module: The name of that module.
        file: The Python file that it was read from, while that exists; None for what is built in, typed or made.
        installed: It belongs to the standard library or to an installed package.
        importable: Its module can be imported by its name, as one that was typed or made cannot.
        shown: What it is called in reports.
        folder: Where the modules lie that it may refer to.
    """

    name: str
    module: str
    file: str | None
    installed: bool
    importable: bool
    shown: str
    folder: str


def way_of(facts: Facts) -> Way:
    """Decide."""
    if facts.name and facts.importable:
        if facts.installed or facts.file is None:
            return ByName(facts.module, facts.name)
        return ByFile(facts.file, facts.name)
    return ByValue(facts.shown, facts.folder)


def facts_of(function: Callable[..., Any]) -> Facts:
    """Find out what decides."""
    origin = _origin_of(function)
    module, name = _place_of(function, origin)
    file = _file_of(origin)
    # The script itself is always a file: as `__main__` no environment can import it, wherever it is installed.
    installed = file is None or (module != "__main__" and _is_installed(file))
    return Facts(
        name,
        module,
        file,
        installed,
        _is_importable(module, file, installed=installed),
        _shown(origin, file),
        _folder_of(origin, file, installed=installed),
    )


def shown(function: Callable[..., Any]) -> str:
    """What a function is called in reports: `"segment.py:segment"`, `"math:sqrt"`, `"notebook:<lambda>"`."""
    origin = _origin_of(function)
    return _shown(origin, _file_of(origin))


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """The code that the user wrote, below all that wraps it; None when it has none."""
    code = getattr(_origin_of(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _origin_of(function: Any) -> Any:
    """What was written: without partial, the object of a method, and decorators that say what they wrap."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        else:
            try:
                unwrapped = inspect.unwrap(function)
            except ValueError:  # it wraps itself
                return function
            if unwrapped is function:
                return function
            function = unwrapped


def _place_of(function: Any, origin: Any) -> tuple[str, str]:
    """The module that has exactly this function, and its name there; empty when none has."""
    for module, name in _names_of(function):
        if not isinstance(module, str) or not isinstance(name, str) or not name or "<" in name:
            continue
        for names in _namespaces(module, origin):
            if _is_same(_looked_up(names, name), function):
                return module, name
    return _module_of(origin), ""


def _module_of(origin: Any) -> str:
    return str(getattr(origin, "__module__", None) or type(origin).__module__)


def _names_of(function: Any) -> Iterator[tuple[object, object]]:
    """Under which modules and names it may be found, the likeliest first."""
    if isinstance(function, functools.partial):
        return
    module, short = getattr(function, "__module__", None), getattr(function, "__name__", None)
    yield module, getattr(function, "__qualname__", None)
    yield module, short
    owner = getattr(function, "__self__", getattr(function, "__objclass__", None))
    if isinstance(owner, ModuleType):
        yield owner.__name__, short
    elif isinstance(owner, type):
        yield owner.__module__, f"{owner.__qualname__}.{short}"
    elif owner is not None:
        yield type(owner).__module__, short


def _namespaces(module: str, origin: Any) -> Iterator[dict[str, Any]]:
    own = getattr(origin, "__globals__", None)
    if isinstance(own, dict) and own.get("__name__") == module:  # pyright: ignore[reportUnknownMemberType]
        yield own  # it need not be the one that can be imported now
    known = sys.modules.get(module)
    if known is not None:
        yield vars(known)


def _looked_up(names: dict[str, Any], name: str) -> Any:
    first, *rest = name.split(".")
    found = names.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found


def _is_same(found: Any, function: Any) -> bool:
    if found is function:
        return True
    if isinstance(function, (MethodType, BuiltinMethodType)):  # made anew at each look
        return bool(type(found) is type(function) and found == function)
    # Of a module that was loaded again since: it is loaded from its file in the worker too.
    return (
        isinstance(found, FunctionType)
        and isinstance(function, FunctionType)
        and not hasattr(found, "__wrapped__")
        and found.__qualname__ == function.__qualname__
        and found.__code__.co_filename == function.__code__.co_filename
    )


def _file_of(origin: Any) -> str | None:
    """The Python file in which it was written, while that exists."""
    code = getattr(origin, "__code__", None)
    if isinstance(code, CodeType):
        file: object = code.co_filename
    else:
        file = getattr(sys.modules.get(_module_of(origin)), "__file__", None)
    if not isinstance(file, str) or _was_typed(origin) or not os.path.isfile(file):
        return None
    return os.path.abspath(file)


def _was_typed(origin: Any) -> bool:
    """True for what stands in no file, whatever it says: a debugger writes the cells of a notebook to files."""
    return _module_of(origin) == "__main__" and getattr(sys.modules.get("__main__"), "__file__", None) is None


def _is_importable(module: str, file: str | None, *, installed: bool) -> bool:
    if file is not None and not installed:
        return file.endswith(".py")
    return getattr(sys.modules.get(module), "__spec__", None) is not None and module != "__main__"


def _is_installed(file: str) -> bool:
    return any(part in file for part in _SITES) or file.startswith(_installed_under())


@functools.cache
def _installed_under() -> tuple[str, ...]:
    """The folders of the standard library and of installed packages."""
    known = sysconfig.get_paths()
    folders = {known[key] for key in ("stdlib", "platstdlib", "purelib", "platlib") if known.get(key)}
    folders.add(os.path.dirname(os.__file__))  # in a virtual environment: that of the Python it was made from
    folders.add(site.getusersitepackages())
    return tuple(f"{path}{os.sep}" for folder in folders for path in {folder, os.path.realpath(folder)})


def _shown(origin: Any, file: str | None) -> str:
    name = getattr(origin, "__qualname__", None) or type(origin).__qualname__
    if file is not None and (file.endswith(".py") or hasattr(origin, "__code__")):
        return f"{os.path.basename(file)}:{name}"
    module = _module_of(origin)
    if module == "__main__":
        module = "notebook" if "ipykernel" in sys.modules else "prompt"
    return f"{module}:{name}"


def _folder_of(origin: Any, file: str | None, *, installed: bool) -> str:
    """From where its modules are imported."""
    if file is None:
        return os.getcwd() if _module_of(origin) == "__main__" else ""
    if installed:
        return ""
    return _root_of(file, _module_of(origin))


def _root_of(file: str, module: str) -> str:
    """The folder from which a file is imported as this module; for a script, the one above its packages."""
    folder, name = os.path.split(os.path.splitext(file)[0])
    parts = module.split(".")
    tail = [*folder.split(os.sep), *([] if name == "__init__" else [name])]
    if tail[-len(parts) :] == parts:
        return os.sep.join(tail[: -len(parts)]) or os.sep
    while os.path.exists(os.path.join(folder, "__init__.py")) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder
