"""Every error of the library, and whose fault it is.

This file also runs inside isolated environments: standard library only, Python 3.8 or newer.
Each class hands all its facts to `Exception.__init__`, so that a pickled copy in another process is whole.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

__all__ = [
    "BuildFailedError",
    "EnvironmentReuseError",
    "ExecutionException",
    "IncompatibilityException",
    "InvalidStateError",
    "NetworkError",
    "NotLaunchedError",
    "ProtocolError",
    "ProvisioningError",
    "PythonNotFoundError",
    "RecipeError",
    "RemoteException",
    "ResolutionError",
    "SerializationError",
    "TaskCanceled",
    "TaskTimeoutError",
    "WetlandsError",
    "WorkerDiedError",
    "WorkerPoolBroken",
    "WorkerStartError",
]


class WetlandsError(Exception):
    """The root of all errors that this library raises by itself."""


class RemoteException(NamedTuple):
    """An exception of the isolated environment as plain data: its class need not exist here.

    Attributes:
        type_name: The dotted name of its class, `"builtins.ValueError"`.
        message: Its text.
        traceback: Its traceback, one string a line, without line ends; of the outermost one as it was printed, with
            all that belongs to it.
        notes: What `add_note` added.
        cause: What it was raised from.
        context: What was being handled when it was raised; None when that is the cause.
        suppress_context: The context is not meant to be shown: there was a `from`.
        exceptions: The members of an exception group.

    One that appears again inside, as in a circle, has only its type and message there, and so has what comes after the
    first 64.
    """

    type_name: str
    message: str
    traceback: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()
    cause: Optional[RemoteException] = None
    context: Optional[RemoteException] = None
    suppress_context: bool = False
    exceptions: Tuple[RemoteException, ...] = ()

    @classmethod
    def of(cls, plain: Optional[Tuple[Any, ...]], printed: Sequence[str] = ()) -> Optional[RemoteException]:
        """Read one from the tuples that cross; `printed` is the traceback when they do not have it."""
        if plain is None:
            return None
        type_name, message, traceback, notes, cause, context, suppress_context, exceptions = plain
        members = tuple(member for member in map(cls.of, exceptions) if member is not None)
        lines = tuple(printed) if traceback is None else traceback
        return cls(type_name, message, lines, notes, cls.of(cause), cls.of(context), suppress_context, members)


class ExecutionException(WetlandsError):
    """The user's function (or script) raised in the isolated environment: the function is at fault.

    Attributes:
        error: One line, `"ValueError: the image is empty"`.
        traceback: The remote traceback, one string a line, without line ends; empty when there is none.
        remote_type: The dotted name of the remote exception's class, `"builtins.ValueError"`.
        target: What was called, `"segment.py:segment"`.
        worker: Where it ran, `"environment seg, worker 0, pid 4711"`; empty when it never ran.
        remote: What was raised there, with notes, cause, context and the members of a group; None when nothing was.
    """

    def __init__(
        self,
        error: str,
        traceback: Sequence[str] = (),
        remote_type: str = "",
        target: str = "",
        worker: str = "",
        remote: Optional[RemoteException] = None,
        original: bytes = b"",
    ) -> None:
        super().__init__(error, tuple(traceback), remote_type, target, worker)
        self.error = error
        self.traceback: List[str] = list(traceback)
        self.remote_type = remote_type
        self.target = target
        self.worker = worker
        self.remote = remote
        self._original = original
        self._cause: Optional[BaseException] = None

    @property
    def cause(self) -> Optional[BaseException]:
        """The exception itself, rebuilt here when it is first asked for; without a traceback.

        None when it cannot be had: its class cannot be imported here, or it cannot be pickled or loaded, or it is
        larger than 16 KB, or the workers were launched with `results="safe"`. `remote` is always there. To rebuild it
        imports the module of its class and runs the code of its class, as `pickle` does.
        """
        if self._cause is None and self._original:
            self._cause = rebuilt(self._original, interruptible=True)
            self._original = b"" if self._cause is None else self._original
        return self._cause

    def __reduce__(self) -> Tuple[Any, ...]:
        # What is not in `args` goes with the attributes; the rebuilt exception stays here, it may not be picklable.
        return type(self), self.args, {**vars(self), "_cause": None}

    def __str__(self) -> str:
        head = "{}: {}".format(self.target, self.error) if self.target else self.error
        if not self.traceback:
            return head
        place = " ({})".format(self.worker) if self.worker else ""
        return "{}\nremote traceback{}:\n{}".format(head, place, "\n".join(self.traceback))


def rebuilt(original: bytes, *, interruptible: bool = False) -> Optional[BaseException]:
    """For the library: the exception of this pickle; None when it cannot be had.

    `interruptible` lets a KeyboardInterrupt through, which may be somebody's who waits.
    """
    import pickle

    try:
        made = pickle.loads(original) if original else None
    except KeyboardInterrupt:
        if interruptible:
            raise
        return None
    except BaseException:  # noqa: BLE001 - the user's code
        return None
    return made if isinstance(made, BaseException) else None


def with_cause(failure: ExecutionException, cause: Optional[BaseException]) -> ExecutionException:
    """For the library: give a failure of this very process its cause, whose class may be found only while it runs."""
    failure._cause = cause  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return failure


class WorkerDiedError(ExecutionException):
    """The worker process ended before it answered: the machine, or native code in the environment, is at fault.

    Attributes:
        exit_code: The exit code of the process; None when a signal ended it or when it is not known.
        signal: The number of the signal that ended it, or None.
        stderr_tail: The last lines that the worker wrote, oldest first.
    """

    def __init__(
        self,
        worker: str,
        exit_code: Optional[int] = None,
        signal: Optional[int] = None,
        stderr_tail: Sequence[str] = (),
        target: str = "",
    ) -> None:
        how = describe_exit(exit_code, signal)
        tail = tuple(stderr_tail)
        words = "the worker process {} before it answered ({})".format(how, worker)
        if tail:
            words += "; its last words:\n" + "\n".join("    " + line for line in tail)
        super().__init__(words, (), "wetlands_rx.exceptions.WorkerDiedError", target, worker)
        self.args = (worker, exit_code, signal, tail, target)
        self.exit_code = exit_code
        self.signal = signal
        self.stderr_tail: Tuple[str, ...] = tail


class TaskTimeoutError(ExecutionException):
    """The task ran longer than its own `timeout`: whoever chose the limit, or the function, is at fault."""


class SerializationError(ExecutionException):
    """A value cannot cross between the processes: its author, or the choice of value, is at fault.

    Attributes:
        path: A Python expression that leads to the part that cannot, `"args[0]['model'].lock"`; empty when it was not
            found. It starts with `args`, `kwargs`, `item`, `result` or `output`.
        type_name: The name of that part's class, `"_thread.lock"`; empty likewise.
    """

    def __init__(
        self,
        error: str,
        traceback: Sequence[str] = (),
        remote_type: str = "",
        target: str = "",
        worker: str = "",
        remote: Optional[RemoteException] = None,
        original: bytes = b"",
        path: str = "",
        type_name: str = "",
    ) -> None:
        super().__init__(error, traceback, remote_type, target, worker, remote, original)
        self.path = path
        self.type_name = type_name


class WorkerPoolBroken(WetlandsError):
    """The workers of an environment die before they can serve: the environment is at fault.

    `launch()` starts a fresh pool.

    Attributes:
        environment: The name of the environment.
        reason: What the last worker left behind.
    """

    def __init__(self, environment: str, reason: str) -> None:
        super().__init__(environment, reason)
        self.environment, self.reason = environment, reason

    def __str__(self) -> str:
        return "the workers of environment {!r} keep dying; call launch() to try again. The last one: {}".format(
            self.environment, self.reason
        )


class WorkerStartError(WetlandsError):
    """A worker process could not be started or did not report in time: the environment is at fault.

    Attributes:
        worker: Which worker, `"environment seg, worker 0"`.
        reason: What happened, in words.
        stderr_tail: The last lines that the worker wrote, oldest first.
    """

    def __init__(self, worker: str, reason: str, stderr_tail: Sequence[str] = ()) -> None:
        super().__init__(worker, reason, tuple(stderr_tail))
        self.worker, self.reason = worker, reason
        self.stderr_tail: Tuple[str, ...] = tuple(stderr_tail)

    def __str__(self) -> str:
        tail = "".join("\n    " + line for line in self.stderr_tail)
        return "{} did not start: {}{}".format(self.worker, self.reason, tail)


class ProtocolError(WetlandsError):
    """What came through the pipe is not ours, or news came that cannot be: a bug of ours, or a stray write."""


class InvalidStateError(WetlandsError, concurrent.futures.InvalidStateError):
    """Something was asked of a task too early or too late: the caller is at fault."""


class NotLaunchedError(WetlandsError):
    """Work was given to an environment that has no workers: the caller must `launch()` it first.

    Attributes:
        environment: The name of the environment.
        exited: True when it had been launched and was exited.
    """

    def __init__(self, environment: str, exited: bool = False) -> None:
        super().__init__(environment, exited)
        self.environment, self.exited = environment, exited

    def __str__(self) -> str:
        if self.exited:
            return "environment {!r} has exited: call launch() to start it again".format(self.environment)
        return "environment {!r} is not running: call launch() first".format(self.environment)


class TaskCanceled(BaseException):
    """Raised inside the user's function by `task.raise_if_canceled()`; it ends the function, not the worker.

    A `BaseException`, so that a function's own `except Exception` does not swallow it.
    """


class EnvironmentReuseError(WetlandsError):
    """An environment of this name was made from another recipe: the caller decides what becomes of it.

    Attributes:
        name: The name asked for.
        difference: The lines in which the recipes differ, `-` on disk, `+` asked for.
    """

    def __init__(self, name: str, difference: Sequence[str]) -> None:
        super().__init__(name, tuple(difference))
        self.name = name
        self.difference: Tuple[str, ...] = tuple(difference)

    def __str__(self) -> str:
        lines = "".join("\n    " + line for line in self.difference)
        return (
            "environment {!r} exists with another recipe; pass replace_existing=True to rebuild it, "
            "or choose another name. The difference (- on disk, + asked for):{}".format(self.name, lines)
        )


class IncompatibilityException(WetlandsError):
    """A dependency is not offered for this platform: the recipe is at fault."""


class ProvisioningError(WetlandsError):
    """An environment could not be made, found or changed.

    Attributes:
        environment: The name of the environment; may be empty.
        reason: What went wrong, in one or two sentences.
        details: The last lines of the tool that failed, verbatim, oldest first.
        hint: What to do next; may be empty.
    """

    def __init__(self, environment: str, reason: str, details: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(environment, reason, tuple(details), hint)
        self.environment, self.reason, self.hint = environment, reason, hint
        self.details: Tuple[str, ...] = tuple(details)

    def __str__(self) -> str:
        lines = "".join("\n    " + line for line in self.details)
        hint = "\nhint: {}".format(self.hint) if self.hint else ""
        head = "environment {!r}: ".format(self.environment) if self.environment else ""
        return "{}{}{}{}".format(head, self.reason, lines, hint)


class RecipeError(ProvisioningError, ValueError):
    """A name or a recipe that says nothing sensible: the caller is at fault. Nothing was started or written."""


class ResolutionError(ProvisioningError):
    """The dependencies cannot be satisfied together, or one of them does not exist: the recipe is at fault."""


class NetworkError(ProvisioningError):
    """A package index could not be reached: the line, a proxy or the index is at fault."""


class PythonNotFoundError(ProvisioningError):
    """No interpreter on this machine satisfies the request.

    Attributes:
        requested: The version asked for.
        found: The versions that are here, oldest first.
    """

    def __init__(self, environment: str, requested: str, found: Sequence[str] = (), hint: str = "") -> None:
        here = ", ".join(found) or "none"
        super().__init__(environment, "no Python {} on this machine; found: {}".format(requested, here), (), hint)
        self.args = (environment, requested, tuple(found), hint)
        self.requested = requested
        self.found: Tuple[str, ...] = tuple(found)


class BuildFailedError(ProvisioningError):
    """A package was found, but building or installing it failed: the package, or a missing compiler, is at fault."""


_SIGNAL_HINTS: Dict[str, str] = {
    "SIGKILL": "often the system was out of memory",
    "SIGSEGV": "a crash in native code",
    "SIGABRT": "native code gave up",
    "SIGBUS": "memory that could not be provided",
}


def describe_exit(exit_code: Optional[int], signal: Optional[int]) -> str:
    """Say in words how a process ended.

    Args:
        exit_code: Its exit code, or None.
        signal: The number of the signal that ended it, or None.
    Returns:
        Words that follow "the process", such as `"was killed by signal 9 (SIGKILL: often ...)"`.
    """
    if signal is not None:
        import signal as signals

        try:
            name = signals.Signals(signal).name
        except ValueError:
            return "was killed by signal {}".format(signal)
        hint = _SIGNAL_HINTS.get(name)
        return "was killed by signal {} ({}{})".format(signal, name, ": " + hint if hint else "")
    if exit_code is not None:
        return "ended with exit code {}".format(exit_code)
    return "ended"
