"""Find the functions that are not of the user's files: those of installed modules, and those that came by value.

A function that came by value was pickled by the caller's cloudpickle, and is loaded by that very one: it is loaded from
where it lies, under a private name, so the environment needs none, and one that it has is left alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any, Callable, List, Optional, Tuple

from wetlands_rx._remote.modules import FunctionNotFound, FunctionNotLoaded, ModuleLoader, wants_handle
from wetlands_rx._wire.moved import MovedUnpickler
from wetlands_rx._wire.target import FunctionValue

_LIBRARY = "cloudpickle"
_PRIVATE = "_wetlands_cloudpickle"
_MAKERS = frozenset(("_make_skeleton_class", "_make_skeleton_enum"))
_MOST_KEPT = 32
_MOST_KEPT_BYTES = 65536
_MISSING = object()


class Callables:
    """Finds functions without a file. For the main thread only.

    Args:
        modules: Lets those that came by value import what lies beside where they were written.
    """

    def __init__(self, modules: ModuleLoader) -> None:
        self._modules = modules
        self._kept: "OrderedDict[Tuple[str, bytes], Callable[..., Any]]" = OrderedDict()
        self._remembers = False

    def find(self, function: str, value: Optional[FunctionValue]) -> Callable[..., Any]:
        """Find a function.

        Args:
            function: Its name, `"module:name"`; or how one that came by value is called in reports.
            value: The one that came by value.
        Raises:
            FunctionNotFound: no such module or function.
            FunctionNotLoaded: it came by value, and loading it raised something.
            BaseException: whatever a module raises while it is imported.
        """
        self._remembers = value is None
        return self._named(function) if value is None else self._valued(function, value)

    def wants_handle(self, function: Callable[..., Any], given: int) -> bool:
        """As that of a `ModuleLoader`, for the function that was found last."""
        # One that came by value is not remembered there: it may hold much, and must be able to go.
        return self._modules.wants_handle(function, given) if self._remembers else wants_handle(function, given)

    # --- by name

    def _named(self, function: str) -> Callable[..., Any]:
        name, _, inside = function.partition(":")
        module = sys.modules.get(name)
        if module is None:
            module = self._imported(name, inside)
        found: Any = module
        for part in inside.split("."):
            found = getattr(found, part, _MISSING)
        if not callable(found) or found is _MISSING:
            where = "module {} of this environment".format(_versioned(module))
            raise FunctionNotFound("{} has no function {!r}".format(where, inside))
        return found  # type: ignore[no-any-return]

    def _imported(self, name: str, inside: str) -> ModuleType:
        self._modules.leave_folder()  # a file of the user's must not be taken for an installed module
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = str(error.name)
            if missing != name and not name.startswith(missing + "."):
                raise
        raise FunctionNotFound(
            "there is no module {!r} in this environment (Python {}), to take {!r} from. Install it there, or put a "
            "function that calls it in a file".format(missing, ".".join(map(str, sys.version_info[:3])), inside)
        )

    # --- by value

    def _valued(self, name: str, value: FunctionValue) -> Callable[..., Any]:
        key = (value.folder, value.code)
        if value.folder and self._modules.enter_again(value.folder):
            for kept in [kept for kept in self._kept if kept[0] == value.folder]:
                del self._kept[kept]  # they hold what an edited file held before
        function = self._kept.get(key)
        if function is not None:
            self._kept.move_to_end(key)
            return function
        try:
            with self._modules.importing():
                function = _loaded(value)
        except BaseException as error:  # loading runs the user's code
            raise FunctionNotLoaded(name) from error
        if len(value.code) <= _MOST_KEPT_BYTES:
            self._kept[key] = function
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return function


def _loaded(value: FunctionValue) -> Callable[..., Any]:
    loader = _Unpickler(value)
    function, file, source = loader.load()
    for made in loader.made:
        # Its instances are pickled with a reference to here, and by reference they are known to the caller.
        if getattr(made, "__module__", "") == "__main__" and "." not in made.__qualname__:
            setattr(sys.modules["__main__"], made.__name__, made)
    if source:
        _show_lines(file, source)
    return function  # type: ignore[no-any-return]


class _Unpickler(MovedUnpickler):
    """Loads with the caller's cloudpickle, whatever the environment has.

    Attributes:
        made: The classes that came by value too.
    """

    def __init__(self, value: FunctionValue) -> None:
        super().__init__(io.BytesIO(value.code))
        self._library = value.library
        self.made: List[type] = []

    def find_class(self, module: str, name: str) -> Any:
        if module == _LIBRARY or module.startswith(_LIBRARY + "."):
            _load_library(self._library)
            found = getattr(importlib.import_module(_PRIVATE + module[len(_LIBRARY) :]), name)
            return self._noting(found) if name in _MAKERS else found
        return super().find_class(module, name)

    def _noting(self, make: Callable[..., type]) -> Callable[..., type]:
        def made(*args: Any) -> type:
            kind = make(*args)
            self.made.append(kind)
            return kind

        return made


def _load_library(folder: str) -> None:
    if _PRIVATE in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        _PRIVATE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[_PRIVATE] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_PRIVATE]
        raise


def _show_lines(file: str, source: str) -> None:
    """Let tracebacks show the lines of what stands in no file."""
    import linecache

    linecache.cache[file] = (len(source), None, source.splitlines(True), file)


def _versioned(module: ModuleType) -> str:
    version = getattr(module, "__version__", None)
    return "{} {}".format(module.__name__, version) if isinstance(version, str) else module.__name__
