"""The environment of the calling process itself: functions run on its threads, and values go by reference."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

from wetlands_rx._callables.ways import shown
from wetlands_rx._pool.local_calls import FunctionOfFile, LocalFunction, LocalScript
from wetlands_rx._pool.local_modules import modules
from wetlands_rx._pool.tally import EnvironmentStatistics
from wetlands_rx._pool.threads import ThreadPool
from wetlands_rx._task.streams import Streams
from wetlands_rx._wire.target import FunctionValue
from wetlands_rx._worker import runtime
from wetlands_rx._worker.outlet import Outlet
from wetlands_rx.environment import Callee, Environment, PathLike, checked_count, checked_results
from wetlands_rx.logger import LogContext, log

__all__ = ["InternalEnvironment"]

_NOW = "now"
_WARNING = 30  # logging.WARNING


class InternalEnvironment(Environment, runtime.Closable):
    """The Python that runs this program, with the same tasks as any other environment.

    Functions run on threads of this process. What that means:

    - Values go by reference: nothing is copied or pickled. The array that you pass is the one the function changes,
      and its result is the very object that it returned.
    - A function may be given as an object, `submit(function)`, a lambda or a method too: that object is called. One
      given by file and name is looked up as a worker does, except that a file which this program has imported, or
      is itself, is used as it stands, without a look at edits.
    - Threads share one interpreter: pure Python does not run faster on more of them, and a crash is the program's.
    - A thread cannot be killed: see `exit`.
    - A function that waits for another task of this environment needs a free thread for it: launch with enough.
    - Import at the top of a file what lies beside it. An import inside a function finds it only as long as no
      function of another folder was called meanwhile.
    - A script has `sys.argv` and `__main__` of the whole process while it runs, as `runpy` sets them: the other
      threads see them too. So scripts run one at a time.
    - Prints go where those of the program go.

    It is always launched: the first task starts a thread. After `exit()` the next one does.

    Args:
        name: Its name.
        streams: Where what happens is shown; its own by default. `messages` stays empty: there are no pipes.
    """

    def __init__(self, name: str = "wetlands_main", *, streams: Streams | None = None) -> None:
        self.name = name
        self._streams = streams if streams is not None else Streams(f"environment {name}")
        # A dictionary of at most one, changed in single steps: with a lock, a signal handler could meet it locked.
        self._pools: dict[str, ThreadPool] = {}
        _environments.add(self)

    @property
    def path(self) -> Path:
        """The folder of the Python environment that runs this program."""
        return Path(sys.prefix)

    # --- Threads

    def launch(
        self,
        additional_activate_commands: Sequence[str] | Mapping[str, Sequence[str]] = (),
        *,
        max_workers: int = 1,
        worker_env: Callable[[int], dict[str, str]] | None = None,
        preload: Sequence[PathLike] = (),
        worker_timeout: float | None = None,
        max_tasks_per_worker: int | None = None,
        results: Literal["pickle", "safe"] = "pickle",
    ) -> None:
        """Start threads. Not needed for one; never makes them fewer.

        Args:
            additional_activate_commands: Ignored: this process is activated already. A warning is logged.
            max_workers: How many threads there are from now on, at least; each runs one call at a time.
            worker_env: Ignored: all threads share the environment variables of this process. A warning is logged.
            preload: Modules to import now, in this thread: names, or paths of Python files that are importable.
            worker_timeout: Ignored: threads start at once.
            max_tasks_per_worker: Ignored: a thread holds nothing that a new one would not. A warning is logged.
            results: Ignored: nothing is loaded, values go by reference. A warning is logged for `"safe"`.

        Raises:
            ValueError: `max_workers` is not at least 1, or `results` is neither of the two.
            RuntimeError: the system has no more threads.
        """
        checked_count("max_workers", max_workers)
        checked_results(results)
        for module in preload:
            self._preload(module)
        if max_tasks_per_worker is not None:
            self._warn("max_tasks_per_worker is ignored: a new thread forgets nothing")
        if results == "safe":
            self._warn("results is ignored: its functions run in this process, and values go by reference")
        if worker_env is not None:
            self._warn("worker_env is ignored: its threads share the environment variables of this process")
        if additional_activate_commands:
            self._warn("additional_activate_commands are ignored: this process is activated already")
        self._runner().grow(max_workers)

    def launched(self) -> bool:
        """Always True."""
        return True

    @property
    def worker_count(self) -> int:
        """How many calls can run at the same time."""
        pool = self._pools.get(_NOW)
        return 1 if pool is None else max(1, pool.size)

    def resize(self, max_workers: int) -> None:
        """Have at least so many threads, as `launch`; idle threads cost nothing, and are never made fewer."""
        self.launch(max_workers=max_workers)

    def recycle(self) -> None:
        """Do nothing: a new thread of this process forgets nothing."""

    def statistics(self) -> EnvironmentStatistics:
        """How many threads and calls there are now, and how those ended that have ended since the last `exit`."""
        pool = self._pools.get(_NOW)
        return EnvironmentStatistics() if pool is None else pool.statistics()

    def exit(self) -> None:
        """Cancel what waits, ask what runs to stop, and wait for it at most 1 s.

        Each task that had not ended is CANCELED. A function that runs longer cannot be killed: it goes on unheard,
        `task.cancel_requested` stays True for it, and its thread ends when it returns. All other threads are gone.
        A task that is submitted later starts a new thread. Without effect when nothing was submitted.
        """
        pool = self._pools.pop(_NOW, None)
        if pool is None:
            return
        lives = self._streams.turn()  # a task that is submitted meanwhile belongs to the next one
        try:
            self._cancel_unstarted()
            pool.close()
        finally:
            self._streams.end(lives)
            runtime.release()

    def forget_threads(self) -> None:
        """In a forked child: the threads are the parent's; the next task starts one here."""
        pool = self._pools.pop(_NOW, None)
        if pool is not None:
            pool.disown()

    def _runner(self) -> ThreadPool:
        pool = self._pools.get(_NOW)
        if pool is not None:
            return pool
        made = ThreadPool(self.name, runtime.acquire().delivery, self._streams)
        pool = self._pools.setdefault(_NOW, made)
        if pool is not made:  # another thread was first
            runtime.release()
        runtime.close_at_exit(self)
        return pool

    def _preload(self, module: PathLike) -> None:
        text = os.fspath(module)
        if isinstance(module, Path) or text.endswith(".py") or os.sep in text:
            modules.load(self._file(module))
        else:
            importlib.import_module(text)

    def _warn(self, text: str) -> None:
        context = LogContext(log_source="environment", env_name=self.name, stage="launch")
        with Outlet(self._streams) as outlet:
            log(_WARNING, f"environment {self.name}: {text}", context, outlet)

    # --- Calls

    def _callee(self, module_path: PathLike | Callable[..., Any], function: str | None) -> Callee:
        if not callable(module_path):
            return super()._callee(module_path, function)
        return Callee(shown(module_path), partial(_object_payload, module_path))

    def _function_payload(
        self,
        path: str,
        name: str,
        value: FunctionValue | None,
        number: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> FunctionOfFile:
        return FunctionOfFile(path, name, args, kwargs)

    def _script_payload(self, path: str, args: Sequence[str], run_name: str, number: int) -> LocalScript:
        return LocalScript(path, tuple(args), run_name)

    def __repr__(self) -> str:
        threads = self.worker_count
        which = f"{threads} thread{'s' if threads > 1 else ''} of this process"
        pool = self._pools.get(_NOW)
        return f"<Environment {self.name}: {which if pool is None else pool.statistics().described(which)}>"


_environments: WeakSet[InternalEnvironment] = WeakSet()


def _forget_threads() -> None:
    for environment in list(_environments):
        environment.forget_threads()


os.register_at_fork(after_in_child=_forget_threads)


def _object_payload(
    function: Callable[..., Any], number: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> LocalFunction:
    return LocalFunction(function, args, kwargs)
