"""Run a call in the caller's own process: on the thread that asks, with values by reference."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple

from wetlands_rx._pool.local_modules import LocalModules, Unneeded
from wetlands_rx._remote.failures import describe, kind_of_failure
from wetlands_rx._remote.handle import CallState, RemoteTaskHandle
from wetlands_rx._remote.modules import FunctionNotFound, wants_handle
from wetlands_rx._task.call import Call, id_base
from wetlands_rx._task.lifecycle import Happening
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, Logged, OutputSet, Raised, Updated
from wetlands_rx.exceptions import rebuilt

Answer = Finished | Raised | CancelAcknowledged


class LocalFunction(NamedTuple):
    """Call this very object."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class FunctionOfFile(NamedTuple):
    """Call the function of this name in this file."""

    path: str
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class LocalScript(NamedTuple):
    """Run this file as a script."""

    path: str
    args: tuple[str, ...]
    run_name: str


class LocalLine:
    """The way of one call's news to its task: what a handle needs of a worker's pipe, without the pipe.

    Args:
        call: The call.
        on_logged: Takes what the function logs.
    """

    def __init__(self, call: Call, on_logged: Callable[[Call, Logged], None]) -> None:
        self._call = call
        self._on_logged = on_logged
        self._cut = False

    def cut(self) -> None:
        """Let nothing through any more: the task has ended without the function."""
        self._cut = True

    def post(self, happening: Happening) -> None:
        """Tell the task. From any thread."""
        if not self._cut:
            self._call.post(happening)

    def is_canceled(self, task: int) -> bool:
        """True when the caller asked this task to stop."""
        return self._call.cancel_requested

    def send_update(self, task: int, message: str | None, current: Any, maximum: Any) -> None:
        """Report progress."""
        self.post(Updated(task, message if message is None else _plain(message), current, maximum))

    def send_output(self, task: int, key: str, value: Any) -> None:
        """Publish an intermediate result: this very object."""
        self.post(OutputSet(task, _plain(key), value))

    def send_log(self, task: int, level: int, text: str) -> None:
        """Send a record to the caller's logging."""
        if not self._cut:
            self._on_logged(self._call, Logged(task, level, _plain(text)))


def run_call(call: Call, line: LocalLine, modules: LocalModules) -> Answer:
    """Run a call to its end; whatever the user's code raises becomes its answer."""
    payload: LocalFunction | FunctionOfFile | LocalScript = call.payload
    try:
        if isinstance(payload, LocalScript):
            return _run_script(call, payload, modules)
        if isinstance(payload, FunctionOfFile):
            function = modules.find(payload.path, payload.function, lambda: call.cancel_requested)
            payload = LocalFunction(function, payload.args, payload.kwargs)
    except Unneeded:
        return CancelAcknowledged(call.number)
    except FunctionNotFound as error:
        return Raised(call.number, str(error), (), "wetlands_rx.FunctionNotFound", "lookup")
    except BaseException as error:  # noqa: BLE001 - the user's file: it fails the task, not the thread
        return _raised(call.number, error)
    return _run_function(call.number, payload, line)


def _run_function(number: int, payload: LocalFunction, line: LocalLine) -> Answer:
    function, args, kwargs = payload
    state = CallState()
    try:
        if "task" not in kwargs and wants_handle(function, len(args)):
            kwargs = {**kwargs, "task": RemoteTaskHandle(line, number, id_base(), state)}
        value = function(*args, **kwargs)
        if isinstance(value, CoroutineType):
            value = _run_coroutine(value)
    except BaseException as error:  # noqa: BLE001 - the user's code
        return CancelAcknowledged(number) if state.acknowledged else _raised(number, error)
    finally:
        state.ended = True
    return CancelAcknowledged(number) if state.acknowledged else Finished(number, value)


def _run_script(call: Call, script: LocalScript, modules: LocalModules) -> Answer:
    import runpy

    try:
        with modules.in_script(script.path, script.args, lambda: call.cancel_requested):
            runpy.run_path(script.path, run_name=script.run_name)
    except SystemExit as error:
        if error.code not in (None, 0):
            return _raised(call.number, error)
    return Finished(call.number, None)


def _run_coroutine(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def _raised(number: int, error: BaseException) -> Raised:
    failure = describe(error)
    message = failure.message(number, kind_of_failure(error))
    # A copy: the exception itself holds the function's variables. Made now, for a module of a file comes and goes.
    return message._replace(cause=rebuilt(failure.original))


def _plain(text: str) -> str:
    """The same text without a class of the user's, whose methods would run wherever it is compared."""
    return text if type(text) is str else str.__str__(text)
