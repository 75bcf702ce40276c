"""An environment without processes, threads and waiting."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from reactivex.scheduler import VirtualTimeScheduler

from wetlands_rx._callables.ways import ByValue, facts_of, way_of
from wetlands_rx._task.call import Runner
from wetlands_rx._task.streams import Streams
from wetlands_rx._testing.delivery import VirtualDelivery
from wetlands_rx._testing.functions import FakeCall, Functions
from wetlands_rx._testing.pool import FakePool
from wetlands_rx._testing.worker import FakeWorker
from wetlands_rx._wire.target import FunctionValue
from wetlands_rx.environment import (
    Environment,
    EnvironmentStatistics,
    Located,
    checked_count,
    checked_results,
    located,
)
from wetlands_rx.exceptions import NotLaunchedError

F = TypeVar("F", bound=Callable[..., Any])
PathLike = str | Path


class FakeEnvironment(Environment):
    """An environment whose functions run in the test's own thread and in virtual time.

    Tasks, events, maps, streams, the queue and the replacement of workers are the library's own; only the processes
    and the time are not. Files need not exist: `function` says what a call does. Nothing runs before the clock goes
    on: by `clock.advance_to(...)` or `clock.start()`, or because the test waits, with `task.wait_for()`, `execute()`,
    `next()` of a map, or `await`, which let pass as much virtual time as they need. Timeouts are virtual, too, and a
    wait that nothing ends raises RuntimeError. Listeners and observers are called on the thread of the test, as soon
    as something happens.

    Args:
        clock: A virtual time scheduler, such as `reactivex.testing.TestScheduler`; by default one of its own.
        name: The environment's name.
        pickles: Copy arguments and results as on their way to a worker and back, so that a test finds those that
            cannot travel. False hands the objects themselves over.

    Attributes:
        clock: The time in which the functions run.
        calls: What was given to the environment, in order.
    """

    def __init__(self, clock: VirtualTimeScheduler | None = None, name: str = "fake", *, pickles: bool = True) -> None:
        self.name = name
        self.clock = clock if clock is not None else VirtualTimeScheduler()
        self.calls: list[FakeCall] = []
        self._functions = Functions(pickles=pickles)
        self._delivery = VirtualDelivery(self.clock)
        self._streams = Streams(f"environment {name}")
        self._streams.open(self._delivery)
        self._pool: FakePool | None = None
        self._last = EnvironmentStatistics()
        self._exited = False

    # --- What a call does

    def function(self, module_path: PathLike | Callable[..., Any], name: str | None = None) -> Callable[[F], F]:
        """Decorate what stands for a function of the environment.

        A plain function takes no time. A generator says how the work goes: `yield 10` lets 10 virtual seconds pass,
        a bare `yield` waits until the task is asked to stop, and what it returns is the result. What it raises fails
        the task. Its parameter `task`, if it has one, is a real `RemoteTaskHandle`.

        Args:
            module_path: The file that code under test names, or the end of its path; or the function that this one
                stands for: the lambdas that one function writes have one name. A script counts as a function named
                `"__main__"`, called with its command line.
            name: The name of the function in that file; by default that of the decorated function.

        Returns:
            The decorator; it returns the function as it is. A later one of the same name takes the place.
        """

        def register(function: F) -> F:
            if callable(module_path):
                path, known, _ = located(way_of(facts_of(module_path)))
            else:
                path, known = os.fspath(module_path), name if name is not None else function.__name__
            self._functions.register(path, known, function)
            return function

        return register

    # --- Workers

    def launch(
        self,
        additional_activate_commands: Any = (),
        *,
        max_workers: int = 1,
        worker_env: Any = None,
        preload: Any = (),
        worker_timeout: float | None = None,
        max_tasks_per_worker: int | None = None,
        results: Literal["pickle", "safe"] = "pickle",
    ) -> None:
        """Let the workers be ready, at once. Does nothing when they are.

        Args:
            additional_activate_commands: Not used: there is nothing to activate.
            max_workers: How many; each runs one call at a time.
            worker_env: Not used: there are no processes.
            preload: Not used: there is nothing to import.
            worker_timeout: Not used: they are ready at once.
            max_tasks_per_worker: After so many calls another worker takes a worker's place; None: never.
            results: Not used: functions are the test's own.
        Raises:
            ValueError: `max_workers` or `max_tasks_per_worker` is not at least 1, or `results` is neither of the two.
        """
        checked_count("max_workers", max_workers)
        if max_tasks_per_worker is not None:
            checked_count("max_tasks_per_worker", max_tasks_per_worker)
        checked_results(results)
        if self.launched():
            return
        self._exited = False
        self._pool = FakePool(
            self.name, self._functions, self._delivery, self._streams, self.calls, max_tasks_per_worker
        )
        self._pool.launch(max_workers)

    def launched(self) -> bool:
        """True while functions can be run."""
        return self._pool is not None and self._pool.serving

    def exit(self) -> None:
        """End the workers; each task that had not ended is CANCELED. Takes no time. Without effect when none run."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        self._exited = True
        self._cancel_unstarted()
        pool.close()
        self._last = pool.statistics()
        self._streams.end()

    @property
    def worker_count(self) -> int:
        """How many workers there are now."""
        return len(self._pool.workers) if self._pool is not None else 0

    def resize(self, max_workers: int) -> None:
        """Have so many workers from now on, at once; those too many end after their call.

        Raises:
            ValueError: `max_workers` is not at least 1.
            NotLaunchedError: it is not launched.
        """
        self._launched_pool().resize(checked_count("max_workers", max_workers))

    def recycle(self) -> None:
        """Replace each worker by a new one; the busy ones after their call.

        Raises:
            NotLaunchedError: it is not launched.
        """
        self._launched_pool().recycle()

    def statistics(self) -> EnvironmentStatistics:
        """How many workers and calls there are now, and how those ended that have ended since the last launch."""
        return self._last if self._pool is None else self._pool.statistics()

    def worker(self, index: int = 0) -> FakeWorker:
        """The worker at this place in the pool, from 0.

        Raises:
            LookupError: there is none now.
        """
        workers = self._pool.workers if self._pool is not None else {}
        if index not in workers:
            raise LookupError(f"environment {self.name!r} has no worker {index} now; it has {sorted(workers)}")
        return workers[index]

    # --- Environment

    def _runner(self) -> Runner:
        return self._launched_pool()

    def _launched_pool(self) -> FakePool:
        if self._pool is None:
            raise NotLaunchedError(self.name, self._exited)
        return self._pool

    def _located(self, module_path: PathLike | Callable[..., Any], function: str | None) -> Located:
        found = super()._located(module_path, function)
        if callable(module_path) and found.value is None:
            self._functions.give(found.path, found.name, module_path)
        return found

    def _pickled(self, function: Callable[..., Any], way: ByValue) -> FunctionValue:
        if self._functions.pickles:
            return super()._pickled(function, way)
        return self._functions.lend(function)

    def _functions_in(self, path: str) -> Sequence[str]:
        return self._functions.names(path)

    def _file(self, path: PathLike) -> str:
        return os.path.abspath(os.fsdecode(path))

    def _function_payload(
        self,
        path: str,
        name: str,
        value: FunctionValue | None,
        number: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        if self._functions.pickles:
            return super()._function_payload(path, name, value, number, args, kwargs)
        self._functions.keep(number, (args, kwargs))
        return super()._function_payload(path, name, value, number, (), {})

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<FakeEnvironment {self.name}: not launched>"
        return f"<FakeEnvironment {self.name}: {self._pool.statistics()}>"
