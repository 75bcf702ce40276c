"""Find the user's function by its file.

- Two files of one name in two folders are two modules; a file named like a standard module shadows nothing.
- An edited file is loaded again at the next call. Bytecode is neither read nor written: its time stamps are whole
  seconds, so a quick edit would go unseen.
- Modules beside the file can be imported by it: its folder stands last on `sys.path` while its functions run.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from binascii import crc32
from types import CodeType, FunctionType, ModuleType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

_MISSING = object()


class FunctionNotFound(Exception):
    """The file is missing, or holds no such function."""


class _Loaded(NamedTuple):
    stamp: Tuple[int, int]
    module: ModuleType


class ModuleLoader:
    """Loads files and finds functions in them. For the main thread only."""

    def __init__(self) -> None:
        self._loaded: Dict[str, _Loaded] = {}
        self._folder = ""
        self._siblings: Dict[str, Dict[str, ModuleType]] = {}
        self._wants: Dict[Any, bool] = {}

    def find(self, path: str, function: str) -> Callable[..., Any]:
        """Find a function, loading or reloading its file when needed.

        Args:
            path: Absolute path of a Python file.
            function: Its name; dots lead into classes.
        Raises:
            FunctionNotFound: no such file or function; the text suggests the nearest name.
            BaseException: whatever the file raises while it is loaded.
        """
        module = self._module(path)
        found: Any = module
        for part in function.split("."):
            found = getattr(found, part, _MISSING)
            if found is _MISSING:
                raise FunctionNotFound(_not_found(path, function, module))
        if not callable(found):
            raise FunctionNotFound(
                "{!r} in {} is {}, not a function".format(function, os.path.basename(path), type(found).__name__)
            )
        return found  # type: ignore[no-any-return]

    def wants_handle(self, function: Callable[..., Any]) -> bool:
        """True when the function's signature names a parameter `task`."""
        try:
            return self._wants[function]
        except (KeyError, TypeError):
            wants = _names_task(function)
        with contextlib.suppress(TypeError):  # not hashable: looked at again next time
            self._wants[function] = wants
        return wants

    def enter_folder(self, folder: str) -> None:
        """Let the modules of this folder be importable, and those of the last one no longer."""
        if folder == self._folder:
            return
        if self._folder:
            self._siblings[self._folder] = _modules_of(self._folder)
            for name in self._siblings[self._folder]:
                del sys.modules[name]
            if self._folder in sys.path:
                sys.path.remove(self._folder)
        self._folder = folder
        sys.modules.update(self._siblings.get(folder, {}))
        if folder not in sys.path:
            sys.path.append(folder)

    def _module(self, path: str) -> ModuleType:
        try:
            status = os.stat(path)
        except OSError as error:
            raise FunctionNotFound("cannot read {}: {}".format(path, error.strerror)) from None
        stamp = (status.st_mtime_ns, status.st_size)
        loaded = self._loaded.get(path)
        if loaded is not None and loaded.stamp == stamp:
            if self._folder != os.path.dirname(path) and not _package_name(path):
                self.enter_folder(os.path.dirname(path))
            return loaded.module
        module = self._load(path, again=loaded is not None)
        self._loaded[path] = _Loaded(stamp, module)
        self._wants.clear()  # it holds functions of the old version
        return module

    def _load(self, path: str, again: bool) -> ModuleType:
        package = _package_name(path)
        if package is not None:
            module = _import_from_package(path, *package, again=again)
            if module is not None:
                return module
        self.enter_folder(os.path.dirname(path))
        name = _free_name(path)
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None:
            raise FunctionNotFound("{} is not a Python file".format(path))
        code = _compile(path)
        module = importlib.util.module_from_spec(spec)
        before = sys.modules.get(name)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            if before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before
            raise
        return module


def _compile(path: str) -> CodeType:
    if "linecache" in sys.modules:
        sys.modules["linecache"].checkcache(path)  # tracebacks show the edited lines
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


def _package_name(path: str) -> Optional[Tuple[str, str]]:
    """The dotted name of a file inside a package, and the folder that holds the package."""
    folder, file = os.path.split(path)
    parts: List[str] = [] if file == "__init__.py" else [os.path.splitext(file)[0]]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        parts.insert(0, name)
        if not name:
            return None
    if len(parts) < 2 and file != "__init__.py":
        return None
    return ".".join(parts), folder


def _import_from_package(path: str, name: str, root: str, again: bool) -> Optional[ModuleType]:
    """Import a package's file by its dotted name, so that relative imports work; None when the name leads elsewhere."""
    already = sys.modules.get(name)
    if already is not None:
        if not _is_file(already, path):
            return None
        return importlib.reload(already) if again else already
    if root not in sys.path:
        sys.path.append(root)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or os.path.realpath(spec.origin) != os.path.realpath(path):
        return None
    return importlib.import_module(name)


def _free_name(path: str) -> str:
    """The file's own stem when that is unambiguous, else a private name."""
    stem = os.path.splitext(os.path.basename(path))[0]
    private = "_wetlands_{:08x}_{}".format(crc32(path.encode("utf-8", "surrogateescape")), stem)
    if not stem.isidentifier() or stem == "__main__":
        return private
    already = sys.modules.get(stem)
    if already is not None:
        return stem if _is_file(already, path) else private
    try:
        spec = importlib.util.find_spec(stem)
    except (ImportError, AttributeError, ValueError):
        return private
    if spec is not None and spec.origin is not None and os.path.realpath(spec.origin) == os.path.realpath(path):
        return stem
    return private


def _is_file(module: ModuleType, path: str) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and os.path.realpath(file) == os.path.realpath(path)


def _modules_of(folder: str) -> Dict[str, ModuleType]:
    """The imported modules whose top-level name lies directly in this folder."""
    tops: Dict[str, bool] = {}
    found: Dict[str, ModuleType] = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top not in tops:
            file = getattr(sys.modules.get(top), "__file__", None)
            place = os.path.dirname(file) if isinstance(file, str) else ""
            if place and os.path.basename(str(file)).startswith("__init__."):
                place = os.path.dirname(place)
            tops[top] = place == folder
        if tops[top]:
            found[name] = module
    return found


def _not_found(path: str, function: str, module: ModuleType) -> str:
    import difflib

    file = os.path.basename(path)
    names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("__")]
    near = difflib.get_close_matches(function, names, 1)
    if near:
        return "{} has no function {!r}. Did you mean {!r}?".format(file, function, near[0])
    own = [name for name in names if getattr(vars(module)[name], "__module__", None) == module.__name__]
    known = ", ".join(sorted(own)[:20]) or "none"
    return "{} has no function {!r}; its functions: {}".format(file, function, known)


def _names_task(function: Callable[..., Any]) -> bool:
    if type(function) is FunctionType and not hasattr(function, "__wrapped__"):
        code = function.__code__  # 100 times faster than inspect, which need not be imported then
        return "task" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    import inspect

    try:
        parameter = inspect.signature(function).parameters.get("task")
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
