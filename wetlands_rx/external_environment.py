"""An environment on disk, served by a pool of worker processes."""

from __future__ import annotations

import html
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import WeakKeyDictionary, WeakSet

from wetlands_rx._pool.feeding import Feeder, ItemFeeder
from wetlands_rx._pool.tally import EnvironmentStatistics
from wetlands_rx._provision.activation import activated_environment, platform_commands
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._task.items import Job, Sink
from wetlands_rx._task.streams import Streams
from wetlands_rx._task.task import checked_timeout
from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.target import shown_target
from wetlands_rx._worker import runtime
from wetlands_rx.environment import Environment, PathLike, checked_count, checked_results, packed_item
from wetlands_rx.exceptions import InvalidStateError, NotLaunchedError
from wetlands_rx.logger import LogContext

if TYPE_CHECKING:
    from wetlands_rx._pool.pool import Pool, WorkerPlan
    from wetlands_rx._worker.process import OnLine, WorkerProcess
    from wetlands_rx._worker.process_logger import ProcessLogger

__all__ = ["Commands", "ExternalEnvironment"]

Commands = Sequence[str] | Mapping[str, Sequence[str]]
"""Shell commands: a list, or lists by platform: `"all"`, `"linux"`, `"mac"`, `"windows"`."""

_START_TIMEOUT_S = 60.0
_RECYCLE_TIMEOUT_S = 5.0
"""A worker that is to end is killed before that."""
_REST_OF_OUTPUT_S = 0.5
_DELIVERY_THREADS = "wetlands-delivery"


class _Turn:
    """A launch or an exit that is going on, on one thread; the others wait until it is over.

    Attributes:
        launches: Whether it is a launch.
        pool: What it launches.
        unwanted: An exit came during this launch.
    """

    def __init__(self, *, launches: bool) -> None:
        self.launches = launches
        self.pool: Pool | None = None
        self.unwanted = False
        self._thread = threading.get_ident()
        self._over = threading.Event()

    def of_this_thread(self) -> bool:
        return self._thread == threading.get_ident()

    def waits_for_this_thread(self) -> bool:
        """True when who waits for its end on this thread waits for itself: an exit waits for what is delivered."""
        if self.of_this_thread():
            return True
        return not self.launches and threading.current_thread().name.startswith(_DELIVERY_THREADS)

    def wait(self) -> None:
        self._over.wait()

    def end(self) -> None:
        self._over.set()


class _Crew:
    """What the workers of one launch need to start.

    Args:
        common: The environment variables of all.
        own: Returns those of one.
        start_timeout_s: How long they may take.
    """

    def __init__(
        self, common: dict[str, str], own: Callable[[int], dict[str, str]] | None, start_timeout_s: float
    ) -> None:
        self.start_timeout_s = start_timeout_s
        self.variables: list[dict[str, str]] = []
        self._common = common
        self._own = own

    def prepare(self, count: int) -> None:
        """Find out the variables of so many workers; on the thread of who launches."""
        for index in range(len(self.variables), count):
            own = {} if self._own is None else _checked_variables(index, self._own(index))
            self.variables.append({**self._common, **own})


class ExternalEnvironment(Environment, runtime.Closable):
    """A Python environment of its own, whose functions run in worker processes.

    Made by an `EnvironmentManager`.

    Args:
        name: Its name.
        prefix: Where it is.
        on_exit: Called at the end of each `exit()`.
        streams: Where what happens is shown; its own by default.
    """

    def __init__(
        self,
        name: str,
        prefix: Prefix,
        *,
        on_exit: Callable[[ExternalEnvironment], None] | None = None,
        streams: Streams | None = None,
    ) -> None:
        self.name = name
        self.prefix = prefix
        self._on_exit = on_exit
        self._streams = streams if streams is not None else Streams(f"environment {name}")
        self._lock = threading.RLock()  # guards the fields below; a signal handler may call us between any two lines
        self._pool: Pool | None = None
        self._crew: _Crew | None = None
        self._last = EnvironmentStatistics()
        self._turn: _Turn | None = None
        self._exited = False
        self._loggers: WeakKeyDictionary[subprocess.Popen[str], ProcessLogger] = WeakKeyDictionary()
        _environments.add(self)

    @property
    def path(self) -> Path:
        """The folder of the environment."""
        return self.prefix.path

    # --- Workers

    def launch(
        self,
        additional_activate_commands: Commands = (),
        *,
        max_workers: int = 1,
        worker_env: Callable[[int], dict[str, str]] | None = None,
        preload: Sequence[PathLike] = (),
        worker_timeout: float | None = None,
        max_tasks_per_worker: int | None = None,
        results: Literal["pickle", "safe"] = "pickle",
    ) -> None:
        """Start the worker processes, all at once, and wait until they are ready. Does nothing when they run.

        While another thread launches or exits this environment, waits for that first.

        Args:
            additional_activate_commands: Shell commands whose effect on the environment variables the workers get;
                run once, not per worker.
            max_workers: How many processes; each runs one call at a time.
            worker_env: Receives a worker's index, from 0, and returns environment variables for it, as for
                `CUDA_VISIBLE_DEVICES`. Called once per worker, in this thread, before any is started; whoever takes
                a worker's place gets the same variables.
            preload: Modules that each worker imports before it is ready, so that the first call does not wait for
                them: names, or paths of Python files.
            worker_timeout: How long the workers may take to be ready, in seconds; 60 when None.
            max_tasks_per_worker: After so many calls, each item of a map counted, a worker ends and another one takes
                its place; None: never. For functions that leak memory.
            results: What functions may return and publish: `"pickle"`, anything; loading it runs the code of its
                class in this process. `"safe"`, only plain data and arrays; nothing that a worker sends makes this
                process run anything, and an exception's `cause` is None. See "Trust what comes back" in the docs.

        Raises:
            WorkerStartError: a worker did not start in time, or could not import what it was to; with what it printed.
                None is left.
            NotLaunchedError: another thread called `exit()` meanwhile; no worker is left.
            ValueError: `max_workers` or `max_tasks_per_worker` is not at least 1, or `worker_timeout` not above 0, or a
                variable of `worker_env` has an impossible name, or `results` is neither of the two.
            TypeError: one of these has another type than it should, or `worker_env` returns something else than a
                mapping of texts to texts.
            FileNotFoundError: a file to preload is not there.
            ProvisioningError: an activation command failed.
            RuntimeError: called by what a launch or an exit of this environment is waiting for.
            InvalidStateError: the workers run already, and `results` is `"safe"` only now.
        """
        checked_count("max_workers", max_workers)
        if max_tasks_per_worker is not None:
            checked_count("max_tasks_per_worker", max_tasks_per_worker)
        checked_results(results)
        timeout = _checked_start_timeout(worker_timeout)
        modules = self._checked_modules(preload)
        turn = self._launch_turn()
        if turn is None:
            self._check_results(results)
            return
        try:
            self._discard_broken_pool()
            common = activated_environment(self.prefix, os.environ, platform_commands(additional_activate_commands))
            crew = _Crew(common, worker_env, timeout)
            crew.prepare(max_workers)
            from wetlands_rx._pool.pool import WorkerPlan  # with it comes what listing environments does not need

            plan = WorkerPlan(modules, max_tasks_per_worker, results)
            pool = self._launched_pool(turn, crew, max_workers, plan)
            if not self._accepted(turn, pool, crew):
                pool.close(0.0)
                self._streams.end()
                runtime.release()
                raise NotLaunchedError(self.name, exited=True)
        finally:
            self._end(turn)

    def _check_results(self, results: str) -> None:
        """Refuse that somebody goes on as if the workers that run already were not trusted."""
        pool = self._pool
        if pool is not None and results == "safe" and pool.results != "safe":
            raise InvalidStateError(
                f'environment {self.name!r} runs with results="pickle": call exit() first, or launch it once'
            )

    def _launch_turn(self) -> _Turn | None:
        """Wait until nobody else launches or exits; None when the workers run then."""
        while True:
            with self._lock:
                other = self._turn
                if other is None:
                    if self.launched():
                        return None
                    if self._pool is not None and self._pool.disowned:
                        raise self._pool.refusal()
                    self._turn = _Turn(launches=True)
                    return self._turn
            if other.waits_for_this_thread():
                what = "launch()" if other.launches else "exit()"
                raise RuntimeError(f"environment {self.name!r} cannot be launched from within its own {what}")
            other.wait()
            if other.unwanted:
                raise NotLaunchedError(self.name, exited=True)

    def _discard_broken_pool(self) -> None:
        with self._lock:
            broken, self._pool = self._pool, None
        if broken is not None:
            broken.close()
            runtime.release()

    def _checked_modules(self, modules: Sequence[PathLike]) -> tuple[str, ...]:
        if isinstance(modules, (str, Path)):
            raise TypeError(f"preload must be a sequence of modules, such as [{str(modules)!r}]")
        checked: list[str] = []
        for module in modules:
            text = os.fspath(module)
            is_file = isinstance(module, Path) or text.endswith(".py") or os.sep in text
            checked.append(self._file(module) if is_file else text)
        return tuple(checked)

    def _launched_pool(self, turn: _Turn, crew: _Crew, max_workers: int, plan: WorkerPlan) -> Pool:
        # Not at the top: with them come reactivex and the worker machinery, which listing environments does not need.
        from wetlands_rx._pool.pool import Pool
        from wetlands_rx._worker.arenas import callers_arena
        from wetlands_rx._worker.process import WorkerProcess

        shared = runtime.acquire()

        arena = callers_arena(shared.supervisor)

        def start_process(index: int, on_line: OnLine) -> WorkerProcess:
            return WorkerProcess(self.prefix.python, crew.variables[index], shared.supervisor, on_line, arena)

        try:
            pool = Pool(self.name, start_process, shared, self._streams, plan, arena)
            with self._lock:
                turn.pool = pool
                unwanted = turn.unwanted
            if unwanted:
                pool.abandon()
            pool.launch(max_workers, crew.start_timeout_s)
        except BaseException:
            if turn.unwanted:  # an exit during the launch completes the streams like any other
                self._streams.end()
            runtime.release()
            raise
        return pool

    def _accepted(self, turn: _Turn, pool: Pool, crew: _Crew) -> bool:
        with self._lock:
            if turn.unwanted:
                return False
            self._pool, self._crew, self._exited = pool, crew, False
        runtime.close_at_exit(self)
        return True

    def _end(self, turn: _Turn) -> None:
        with self._lock:
            self._turn = None
        turn.end()

    def launched(self) -> bool:
        """True while workers run."""
        pool = self._pool
        return pool is not None and not pool.broken and not pool.disowned

    @property
    def worker_count(self) -> int:
        """How many worker processes there are now."""
        return self.statistics().workers

    def resize(self, max_workers: int) -> None:
        """Have so many workers from now on. Returns when new ones are ready.

        Those too many, which are those with the highest index, end at once when they are idle, else after their call.
        New ones get their variables from the `worker_env` of `launch`, which is called in this thread.

        Args:
            max_workers: How many.
        Raises:
            ValueError: it is not at least 1.
            NotLaunchedError: no workers run, or `exit()` was called meanwhile.
            WorkerStartError: a new worker did not start in the time that `launch` was given; there are as many workers
                as before.
        """
        checked_count("max_workers", max_workers)
        pool, crew = self._runner(), self._crew
        assert crew is not None  # with the pool
        crew.prepare(max_workers)
        pool.resize(max_workers, crew.start_timeout_s)

    def recycle(self) -> None:
        """Replace each worker by a new process, which has forgotten all that the old one held: memory, modules, GPUs.

        On return the old processes of idle workers are gone; busy ones go after their call. Calls wait meanwhile, and
        none is lost.

        Raises:
            NotLaunchedError, WorkerPoolBroken: no workers run.
        """
        self._runner().recycle(_RECYCLE_TIMEOUT_S)

    def statistics(self) -> EnvironmentStatistics:
        """How many workers and calls there are now, and how those ended that have ended since the last launch."""
        pool = self._pool
        return self._last if pool is None else pool.statistics()

    def exit(self) -> None:
        """Cancel what waits, ask what runs to stop, and end the workers; those still busy after 1 s are killed.

        Each task that had not ended is CANCELED. When this returns no process and no thread is left. Without effect
        when no workers run, and in a process that was forked from the one that launched them.

        A launch that another thread is at is ended too: it raises NotLaunchedError. An exit that another thread is at
        is waited for, except by a listener, for which that exit waits.

        Raises:
            RuntimeError: called by what a launch of this environment, on this thread, is waiting for.
        """
        turn = other = pool = launching = None
        with self._lock:
            other = self._turn
            if other is None:
                if self._pool is None or self._pool.disowned:
                    return
                pool, self._pool, self._exited = self._pool, None, True
                turn = self._turn = _Turn(launches=False)
            elif other.launches and not other.of_this_thread():
                other.unwanted = self._exited = True
                launching = other.pool
        if pool is not None and turn is not None:
            self._exit(pool, turn)
        elif other is not None:
            if launching is not None:
                launching.abandon()
            self._wait_until_over(other)

    def _exit(self, pool: Pool, turn: _Turn) -> None:
        try:
            try:
                self._cancel_unstarted()
                pool.close()
            finally:
                self._last = pool.statistics()
                self._streams.end()
                runtime.release()
        finally:
            self._end(turn)
        if self._on_exit is not None:
            self._on_exit(self)

    def _wait_until_over(self, other: _Turn) -> None:
        if not other.waits_for_this_thread():
            other.wait()
        elif other.launches:
            raise RuntimeError(f"environment {self.name!r} cannot exit from within its own launch()")

    def forget_threads(self) -> None:
        """In a forked child: whoever was at something here does not exist."""
        self._lock, self._turn = threading.RLock(), None

    def _runner(self) -> Pool:
        pool = self._pool
        if pool is None:
            raise NotLaunchedError(self.name, self._exited)
        return pool

    def _arena(self) -> Arena | None:
        pool = self._pool
        return None if pool is None else pool.arena

    def _feeder(
        self, module_path: PathLike | Callable[..., Any], function: str | None, chunksize: int | None, sink: Sink
    ) -> Feeder:
        if self._streams.events.observed:
            return super()._feeder(module_path, function, chunksize, sink)
        path, name, value = self._located(module_path, function)
        target = shown_target(path, name)
        job = Job(path, name, target, chunksize, sink, value)
        return ItemFeeder(job, self._runner(), partial(packed_item, target, self._arena()))

    def _workers_python(self) -> tuple[int, int]:
        return self._runner().python

    # --- Commands

    def execute_commands(
        self,
        commands: Commands,
        additional_activate_commands: Commands = (),
        popen_kwargs: Mapping[str, Any] | None = None,
        wait: bool = False,
        log_context: LogContext | None = None,
        log: bool = True,
    ) -> subprocess.Popen[str]:
        """Run shell commands in the activated environment, one after the other; the first that fails ends them.

        Args:
            commands: What to run.
            additional_activate_commands: Run before, in the same shell.
            popen_kwargs: Further arguments for `subprocess.Popen`; `env` is added to the activated environment.
            wait: Wait for the end of the shell, and at most half a second more for the rest of the output. What the
                commands left running in the background goes on, as does its output.
            log_context: Goes with the log records of the output.
            log: Read the output with a `ProcessLogger`, which `get_process_logger` returns. False leaves the pipe,
                standard error merged into it, to you.

        Returns:
            The process of the shell, in a session of its own.

        Raises:
            subprocess.CalledProcessError: with `wait`, when a command failed; carries the output when `log`.
        """
        from wetlands_rx._worker.outlet import Outlet
        from wetlands_rx._worker.process_logger import ProcessLogger

        script = "\n".join(["set -e", *platform_commands(additional_activate_commands), *platform_commands(commands)])
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True, **(popen_kwargs or {})}
        options["env"] = {**activated_environment(self.prefix, os.environ), **(options.get("env") or {})}
        process: subprocess.Popen[str] = subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if log else subprocess.STDOUT,
            text=True,
            errors="replace",
            **options,
        )
        logger = None
        if log:
            context = LogContext(log_source="environment", env_name=self.name, stage="commands")
            outlet = Outlet(self._streams)
            logger = ProcessLogger(process, context | (log_context or LogContext()), sink=outlet, on_end=outlet.close)
            self._loggers[process] = logger
            logger.start_reading()
        if wait:
            self._wait_for_commands(process, logger, script)
        return process

    def get_process_logger(self, process: subprocess.Popen[str]) -> ProcessLogger:
        """The reader of a process's output.

        Raises:
            KeyError: the process was not started by `execute_commands(..., log=True)` of this environment.
        """
        return self._loggers[process]

    def _wait_for_commands(self, process: subprocess.Popen[str], logger: ProcessLogger | None, script: str) -> None:
        try:
            code = process.wait()
        except BaseException:
            _end_session(process)
            raise
        output = None
        if logger is not None:
            logger.join(_REST_OF_OUTPUT_S)
            output = "\n".join(logger.get_output())
        if code:
            raise subprocess.CalledProcessError(code, script, output)

    # --- How it looks

    def __repr__(self) -> str:
        pool = self._pool
        if pool is None:
            return f"<Environment {self.name}: not launched, {self.path}>"
        return f"<Environment {self.name}: {pool.statistics()}>"

    def _repr_html_(self) -> str:
        pool = self._pool
        rows = ""
        for worker in pool.workers() if pool is not None else ():
            calls = ", ".join(call.target for call in worker.held)
            state = "starting" if not worker.ready else "busy" if calls else "idle"
            cells = (worker.index, worker.info.pid, state, calls, worker.answered)
            rows += "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
        titles = "".join(f"<th>{title}</th>" for title in ("worker", "pid", "state", "call", "answered"))
        table = f"<table><tr>{titles}</tr>{rows}</table>" if rows else ""
        return f'<div class="wetlands-environment"><code>{html.escape(repr(self))}</code>{table}</div>'


_environments: WeakSet[ExternalEnvironment] = WeakSet()


def _forget_threads() -> None:
    for environment in list(_environments):
        environment.forget_threads()


os.register_at_fork(after_in_child=_forget_threads)


def _checked_start_timeout(timeout: float | None) -> float:
    checked = checked_timeout(timeout)
    if checked is None:
        return _START_TIMEOUT_S
    if checked <= 0.0:
        raise ValueError(f"worker_timeout is {timeout}; more than 0 seconds are needed")
    return checked


def _checked_variables(index: int, variables: object) -> dict[str, str]:
    what = f"worker_env({index})"
    if not isinstance(variables, Mapping):
        raise TypeError(f"{what} must return a mapping of texts to texts, not {type(variables).__name__}")
    checked: dict[str, str] = {}
    for key, value in cast(Mapping[object, object], variables).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{what} must return texts: {key!r} has the value {value!r}")
        if not key or "=" in key or "\0" in key or "\0" in value:
            raise ValueError(f"{what} returns {key!r}={value!r}, which cannot be an environment variable")
        checked[key] = value
    return checked


def _end_session(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
