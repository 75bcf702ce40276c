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
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary, WeakSet

from wetlands_rx._pool.feeding import Feeder, ItemFeeder
from wetlands_rx._provision.activation import activated_environment, platform_commands
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._task.items import Job, Sink
from wetlands_rx._task.streams import Streams
from wetlands_rx._worker import runtime
from wetlands_rx.environment import Environment, PathLike, packed_item
from wetlands_rx.exceptions import NotLaunchedError
from wetlands_rx.logger import LogContext

if TYPE_CHECKING:
    from wetlands_rx._pool.pool import Pool
    from wetlands_rx._worker.process import OnLine, WorkerProcess
    from wetlands_rx._worker.process_logger import ProcessLogger

__all__ = ["Commands", "ExternalEnvironment"]

Commands = Sequence[str] | Mapping[str, Sequence[str]]
"""Shell commands: a list, or lists by platform: `"all"`, `"linux"`, `"mac"`, `"windows"`."""

_START_TIMEOUT_S = 60.0
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
    ) -> None:
        """Start the worker processes, all at once, and wait until they are ready. Does nothing when they run.

        While another thread launches or exits this environment, waits for that first.

        Args:
            additional_activate_commands: Shell commands whose effect on the environment variables the workers get;
                run once, not per worker.
            max_workers: How many processes; each runs one call at a time.
            worker_env: Receives a worker's index, from 0, and returns environment variables for it, as for
                `CUDA_VISIBLE_DEVICES`. Called once per worker, in this thread, before any is started; the
                replacement of a worker that died gets the same variables.

        Raises:
            WorkerStartError: a worker did not start within 60 s, with what it printed; none is left.
            NotLaunchedError: another thread called `exit()` meanwhile; no worker is left.
            ValueError: `max_workers` is not at least 1, or a variable of `worker_env` has an impossible name.
            TypeError: `worker_env` returns something else than a mapping of texts to texts.
            ProvisioningError: an activation command failed.
            RuntimeError: called by what a launch or an exit of this environment is waiting for.
        """
        if max_workers < 1:
            raise ValueError(f"max_workers is {max_workers}; at least 1 is needed")
        turn = self._launch_turn()
        if turn is None:
            return
        try:
            self._discard_broken_pool()
            pool = self._launched_pool(turn, additional_activate_commands, max_workers, worker_env)
            if not self._accepted(turn, pool):
                pool.close(0.0)
                self._streams.end()
                runtime.release()
                raise NotLaunchedError(self.name, exited=True)
        finally:
            self._end(turn)

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

    def _launched_pool(
        self,
        turn: _Turn,
        commands: Commands,
        max_workers: int,
        worker_env: Callable[[int], dict[str, str]] | None,
    ) -> Pool:
        # Not at the top: with them come reactivex and the worker machinery, which listing environments does not need.
        from wetlands_rx._pool.pool import Pool
        from wetlands_rx._worker.process import WorkerProcess

        common = activated_environment(self.prefix, os.environ, platform_commands(commands))
        variables = [common] * max_workers
        if worker_env is not None:
            variables = [{**common, **_checked_variables(index, worker_env(index))} for index in range(max_workers)]
        shared = runtime.acquire()

        def start_process(index: int, on_line: OnLine) -> WorkerProcess:
            return WorkerProcess(self.prefix.python, variables[index], shared.supervisor, on_line)

        try:
            pool = Pool(self.name, start_process, shared, self._streams)
            with self._lock:
                turn.pool = pool
                unwanted = turn.unwanted
            if unwanted:
                pool.abandon()
            pool.launch(max_workers, _START_TIMEOUT_S)
        except BaseException:
            if turn.unwanted:  # an exit during the launch completes the streams like any other
                self._streams.end()
            runtime.release()
            raise
        return pool

    def _accepted(self, turn: _Turn, pool: Pool) -> bool:
        with self._lock:
            if turn.unwanted:
                return False
            self._pool, self._exited = pool, False
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
        pool = self._pool
        return pool.counts().workers if pool is not None else 0

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

    def _feeder(
        self, module_path: PathLike | Callable[..., Any], function: str | None, chunksize: int | None, sink: Sink
    ) -> Feeder:
        if self._streams.events.observed:
            return super()._feeder(module_path, function, chunksize, sink)
        path, name = self._located(module_path, function)
        target = f"{os.path.basename(path)}:{name}"
        return ItemFeeder(Job(path, name, target, chunksize, sink), self._runner(), partial(packed_item, target))

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
        counts = pool.counts()
        return f"<Environment {self.name}: {counts.workers} workers ({counts.busy} busy), {counts.queued} queued>"

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
