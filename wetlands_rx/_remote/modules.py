"""Find the user's function by its file.

- Two files of one name in two folders are two modules; a file named like a standard module shadows nothing.
- An edited file is loaded again at the next call. Its bytecode is neither read nor written: the time stamps in it are
  whole seconds, so a quick edit would go unseen. That of modules beside it is deleted before they are loaded again.
- Modules beside the file can be imported by it: its folder stands last on `sys.path` while its functions run. When one
  of them is edited, all that was loaded from the folder is loaded again; that is looked for every half second at most.
- A script finds what lies beside it first, and anew at each run, as if Python had been started for it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import time
from binascii import crc32
from types import CodeType, FunctionType, ModuleType
from typing import Any, Callable, Dict, Generator, Iterable, List, NamedTuple, Optional, Set, Tuple

_MISSING = object()
_LOOK_S = 0.5

_Stamp = Tuple[int, int, int, int]


class FunctionNotFound(Exception):
    """The file is missing, or holds no such function."""


class FunctionNotLoaded(FunctionNotFound):
    """A function that came by value cannot be loaded; the cause says why."""


class _Loaded(NamedTuple):
    stamp: _Stamp
    module: ModuleType
    folder: str
    in_package: bool


class ModuleLoader:
    """Loads files and finds functions in them. For the main thread only.

    Args:
        clock: Tells when to look at the modules beside a file again, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked: Dict[str, float] = {}  # when the modules of a folder were looked at
        self._stamps: Dict[str, _Stamp] = {}  # of the files of these modules
        self._loaded: Dict[str, _Loaded] = {}
        self._base = frozenset(sys.path)
        self._folder = ""
        self._others: Set[str] = set()  # what was imported before that folder was entered, and is not its own
        self._siblings: Dict[str, Dict[str, ModuleType]] = {}
        self._places: Dict[Any, Optional[int]] = {}
        self._latest: Tuple[Optional[int], str, str] = (None, "", "")
        self._found: Callable[..., Any] = len

    def find(self, path: str, function: str, asked: Optional[int] = None) -> Callable[..., Any]:
        """Find a function, loading or reloading its file when needed.

        Args:
            path: Absolute path of a Python file.
            function: Its name; dots lead into classes.
            asked: How many messages have been received: a function that was looked at since the last one is the same.
        Raises:
            FunctionNotFound: no such file or function; the text suggests the nearest name.
            BaseException: whatever the file raises while it is loaded.
        """
        if asked is not None and (asked, path, function) == self._latest:
            return self._found
        found = function_of(self._module(path), path, function)
        self._latest, self._found = (asked, path, function), found
        return found

    def preload(self, module: str) -> None:
        """Import a module: by its name, or a Python file by its absolute path, as `find` would.

        Raises:
            BaseException: whatever that raises.
        """
        if os.path.isabs(module):
            self._module(module)
        else:
            importlib.import_module(module)

    def loaded(self, path: str) -> bool:
        """True when this loader has loaded the file."""
        return path in self._loaded

    def spare(self, folders: Iterable[str]) -> None:
        """Leave these folders as they are from now on, and only these. To be called while none is entered."""
        self._base = frozenset(folders)

    def wants_handle(self, function: Callable[..., Any], given: int) -> bool:
        """True when the function's signature names a parameter `task` that is left open by `given` arguments."""
        try:
            return _is_open(self._places[function], given)
        except (KeyError, TypeError):
            place = _place_of_task(function)
        with contextlib.suppress(TypeError):  # not hashable: looked at again next time
            self._places[function] = place
        return _is_open(place, given)

    def enter_folder(self, folder: str) -> None:
        """Let the modules of this folder be importable, and those of the last one no longer.

        A folder that was on `sys.path` from the start, such as the standard library's, stays as it is.
        """
        if folder == self._folder:
            return
        self.leave_folder()
        if folder in self._base:
            return
        self._folder = folder
        self._others = set(sys.modules)
        for name, module in self._siblings.pop(folder, {}).items():
            sys.modules.setdefault(name, module)
        if folder not in sys.path:
            sys.path.append(folder)

    def enter_again(self, folder: str) -> bool:
        """As `enter_folder`; True when a module of the folder was edited, so that all of them will be loaded anew."""
        self.enter_folder(folder)
        if self._folder != folder or not self._neighbour_changed():
            return False
        self._forget_folder()
        return True

    @contextlib.contextmanager
    def importing(self) -> Generator[None, None, None]:
        """Take note of what is imported meanwhile from the present folder, so that an edit of it is seen."""
        before = len(sys.modules)
        yield
        if len(sys.modules) != before:
            self._look()

    def leave_folder(self) -> None:
        """Put the modules of the present folder aside."""
        self._latest = (None, "", "")
        folder, self._folder = self._folder, ""
        if not folder:
            return
        self._siblings[folder] = modules = _modules_of(folder, self._others)
        for name in modules:
            sys.modules.pop(name, None)
        sys.path[:] = [entry for entry in sys.path if entry != folder]  # its modules may have added it again

    @contextlib.contextmanager
    def in_script(self, folder: str) -> Generator[None, None, None]:
        """Let a script import what lies beside it, anew and before all else, as a process of its own would.

        Afterwards `sys.path` is as it was, and what it imported from there is forgotten.
        """
        self.leave_folder()
        before_path, before_modules = list(sys.path), set(sys.modules)
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path[:] = before_path
            if folder not in self._base:
                for name in _modules_of(folder, before_modules):
                    del sys.modules[name]

    def _module(self, path: str) -> ModuleType:
        try:
            status = os.stat(path)
        except OSError as error:
            raise FunctionNotFound("cannot read {}: {}".format(path, error.strerror)) from None
        stamp = _stamp(status)
        loaded = self._loaded.get(path)
        if loaded is not None and loaded.stamp == stamp:
            folder = loaded.folder
            if self._folder != folder and not loaded.in_package:
                self.enter_folder(folder)
            if self._folder != folder or not self._neighbour_changed():
                return loaded.module
        module = self._load(path, again=loaded is not None)
        self._loaded[path] = _Loaded(stamp, module, os.path.dirname(path), _package_name(path) is not None)
        self._places.clear()  # it holds functions of the old version
        self._look()  # at what it has imported
        return module

    def _neighbour_changed(self) -> bool:
        if self._clock() < self._looked.get(self._folder, 0.0) + _LOOK_S:
            return False
        return self._look()

    def _look(self) -> bool:
        """Look at the files of the present folder's modules; True when one changed since the last look."""
        folder, changed = self._folder, False
        self._looked[folder] = self._clock()
        if not folder:
            return False
        for module in _modules_of(folder, self._others).values():
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                with contextlib.suppress(OSError):  # it is gone: the module lives on
                    stamp = _stamp(os.stat(file))
                    changed = self._stamps.setdefault(file, stamp) != stamp or changed
        return changed

    def _forget_folder(self) -> None:
        """Let all that was loaded from the present folder be loaded anew."""
        modules = _modules_of(self._folder, self._others)
        for name, module in modules.items():
            del sys.modules[name]
            file = str(getattr(module, "__file__", None))
            self._stamps.pop(file, None)
            if file.endswith(".py"):
                with contextlib.suppress(OSError, NotImplementedError):  # most have none
                    os.unlink(importlib.util.cache_from_source(file))
        for path, loaded in list(self._loaded.items()):
            if modules.get(loaded.module.__name__) is loaded.module:
                del self._loaded[path]
        importlib.invalidate_caches()

    def _load(self, path: str, again: bool) -> ModuleType:
        package = _package_name(path)
        if package is not None:
            module = _import_from_package(path, *package, again=again)
            if module is not None:
                return module
        folder = os.path.dirname(path)
        self.enter_folder(folder)
        if again and folder == self._folder:
            self._forget_folder()
        name = _free_name(path)
        if folder != self._folder and name in sys.modules and not again:
            return sys.modules[name]  # installed, and used by others: a second copy would confuse them
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None:
            raise FunctionNotFound("{} is not a Python file".format(path))
        return _execute(path, importlib.util.module_from_spec(spec))


def function_of(module: ModuleType, path: str, function: str) -> Callable[..., Any]:
    """Find a function in a module that was loaded from this file; raises like `ModuleLoader.find`."""
    found: Any = getattr(module, function, None)  # most names are plain, and most things are functions
    if type(found) is FunctionType:
        return found
    found = module
    for part in function.split("."):
        found = getattr(found, part, _MISSING)
        if found is _MISSING:
            raise FunctionNotFound(_not_found(path, function, module))
    if not callable(found):
        raise FunctionNotFound(
            "{!r} in {} is {}, not a function".format(function, os.path.basename(path), type(found).__name__)
        )
    return found  # type: ignore[no-any-return]


def wants_handle(function: Callable[..., Any], given: int) -> bool:
    """As `ModuleLoader.wants_handle`, but remembers nothing, so that the function may go."""
    return _is_open(_place_of_task(function), given)


def imported_before(path: str) -> Optional[ModuleType]:
    """The module that the program has made of this file: its script, or what it has imported; None when it has not."""
    package = _package_name(path)
    for name in ("__main__", os.path.splitext(os.path.basename(path))[0], package[0] if package else ""):
        module = sys.modules.get(name)
        if module is not None and _is_file(module, path):
            return module
    return None


def imported_from(folder: str, others: Set[str]) -> Set[str]:
    """The names of what is imported now from this folder, without `others`."""
    return set(_modules_of(folder, others))


def _is_open(place: Optional[int], given: int) -> bool:
    return place is not None and given <= place


def _stamp(status: os.stat_result) -> _Stamp:
    """What differs after an edit, also after one that keeps the time of the change (`cp -p`, `rsync -t`)."""
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def _execute(path: str, module: ModuleType) -> ModuleType:
    """Run a file as this module, which stands in `sys.modules` only if that succeeds."""
    name, code = module.__name__, _compile(path)
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
        if again:
            exec(_compile(path), already.__dict__)  # as importlib.reload does, but never from old bytecode
        return already
    if not _top_package(name.partition(".")[0], root):
        return None
    try:
        spec = importlib.util.find_spec(name)  # imports the packages above
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or os.path.realpath(spec.origin) != os.path.realpath(path):
        return None
    module = sys.modules.get(name)  # a package above may have imported it
    if module is None:
        module = _execute(path, importlib.util.module_from_spec(spec))
        above, _, last = name.rpartition(".")
        if above:
            setattr(sys.modules[above], last, module)
    return module


def _top_package(name: str, root: str) -> bool:
    """Import the package `name` of the folder `root`; False when the name means another one here.

    The folder does not come onto `sys.path`: it may be the one in which the caller's packages are installed.
    """
    path = os.path.join(root, name, "__init__.py")
    already = sys.modules.get(name)
    if already is not None:
        return _is_file(already, path)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return False
    if spec is None:
        spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[os.path.join(root, name)])
        if spec is None:
            return False
        _execute(path, importlib.util.module_from_spec(spec))
        return True
    return spec.origin is not None and os.path.realpath(spec.origin) == os.path.realpath(path)


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


def _modules_of(folder: str, others: Set[str]) -> Dict[str, ModuleType]:
    """The imported modules, except `others`, whose top-level name lies directly in this folder."""
    tops: Dict[str, bool] = {}
    found: Dict[str, ModuleType] = {}
    for name, module in list(sys.modules.items()):
        if name in others:
            continue
        top = name.partition(".")[0]
        if top not in tops:
            file = getattr(sys.modules.get(top), "__file__", None)
            place = os.path.dirname(file) if isinstance(file, str) else ""
            if place and os.path.basename(str(file)).startswith("__init__."):
                place = os.path.dirname(place)
            tops[top] = top not in others and place == folder
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


def _place_of_task(function: Callable[..., Any]) -> Optional[int]:
    """Before how many positional arguments the parameter `task` is still open; None when there is no such parameter."""
    if type(function) is FunctionType and not hasattr(function, "__wrapped__"):
        code = function.__code__  # 100 times faster than inspect, which need not be imported then
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if "task" not in names[code.co_posonlyargcount :]:
            return None
        place = names.index("task")
        return place if place < code.co_argcount else sys.maxsize
    import inspect

    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    for place, parameter in enumerate(parameters):
        if parameter.name == "task" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            return place
        if parameter.name == "task" and parameter.kind is parameter.KEYWORD_ONLY:
            return sys.maxsize
    return None
