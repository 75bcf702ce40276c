"""Find functions by their file in the caller's own process, from any thread, with little harm to its imports.

- What the program itself is, or has imported, is used as it stands; an edit shows when the program reloads it.
- All else is loaded as in a worker, one file at a time, and loaded again when it was edited.
- While functions of such files run, their folder stands last on `sys.path`. When the last one has ended, it is taken
  away, and what was imported from it is put aside for the next time.
- `sys.argv` and `__main__` belong to the process, so scripts run one at a time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from wetlands_rx._remote.modules import ModuleLoader, function_of, imported_before, imported_from

_LOOK_S = 0.05

Unwanted = Callable[[], bool]
"""Tells whether the caller has lost interest; asked now and then by whoever waits for his turn."""


class Unneeded(Exception):
    """The caller lost interest before it was one's turn."""


class LocalModules:
    """The one loader of this process: what it changes, all threads see."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one file is loaded at a time, as by Python's own import
        self._scripts = threading.Lock()  # one script runs at a time
        self._loader = ModuleLoader()
        self._inside: set[int] = set()  # the threads that have found a function and not left
        self._entered = False

    def find(self, path: str, function: str, unwanted: Unwanted) -> Callable[..., Any]:
        """Find a function; until `leave` is called by this thread, the folder of its file can be imported from.

        Raises:
            FunctionNotFound: no such file or function.
            Unneeded: another file was being loaded, and meanwhile the caller lost interest.
            BaseException: whatever the file raises while it is loaded.
        """
        _wait_for_turn(self._lock, unwanted)
        try:
            if not self._inside:
                self._loader.leave_folder()
                self._loader.spare(map(os.path.abspath, sys.path))
            self._inside.add(threading.get_ident())
            module = None if self._loader.loaded(path) else imported_before(path)
            if module is not None:
                return function_of(module, path, function)
            self._entered = True
            return self._loader.find(path, function)
        finally:
            self._lock.release()

    def load(self, path: str) -> None:
        """Load a file that was not loaded, for the calls to come; raises what the file raises."""
        with self._lock:
            if not self._inside:
                self._loader.leave_folder()
                self._loader.spare(map(os.path.abspath, sys.path))
            self._inside.add(threading.get_ident())
        try:
            with self._lock:
                if self._loader.loaded(path) or imported_before(path) is None:
                    self._entered = True
                    self._loader.preload(path)
        finally:
            self.leave()

    def leave(self) -> None:
        """The calling thread has no more calls. Never blocks."""
        self._inside.discard(threading.get_ident())
        while self._entered and not self._inside:
            if not self._lock.acquire(blocking=False):
                return  # who has it is inside himself, or looks once more
            try:
                if not self._inside:
                    self._loader.leave_folder()
                    self._entered = False
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def in_script(self, path: str, args: Sequence[str], unwanted: Unwanted) -> Generator[None]:
        """Be the only script, with its own `sys.argv`, its folder first on `sys.path` and that folder's modules anew.

        Raises:
            Unneeded: another script ran, and meanwhile the caller lost interest.
        """
        _wait_for_turn(self._scripts, unwanted)
        folder, before_argv, before_modules = os.path.dirname(path), sys.argv, set(sys.modules)
        programs = folder in map(os.path.abspath, sys.path)  # then its modules are the program's, and stay
        sys.argv = [path, *args]
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.argv = before_argv
            with contextlib.suppress(ValueError):  # the script has taken it away
                sys.path.remove(folder)
            for name in () if programs else imported_from(folder, before_modules):
                sys.modules.pop(name, None)
            self._scripts.release()

    def forget_threads(self) -> None:
        """In a forked child: no thread of the parent is here to leave or to release anything."""
        self._lock, self._scripts = threading.Lock(), threading.Lock()
        self._inside.clear()


def _wait_for_turn(lock: threading.Lock, unwanted: Unwanted) -> None:
    while not lock.acquire(timeout=_LOOK_S):
        if unwanted():
            raise Unneeded


modules = LocalModules()
"""Shared by all environments, as `sys.modules` is."""

os.register_at_fork(after_in_child=modules.forget_threads)
