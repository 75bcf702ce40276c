"""Receive, run, answer: the life of a worker, on its main thread."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Sequence, Tuple

from wetlands_rx._remote.channel import Channel
from wetlands_rx._remote.crossing import Side, environment_side, function_not_loaded, not_loaded, unsendable
from wetlands_rx._remote.failures import Failure, describe, kind_of_failure
from wetlands_rx._remote.handle import CallState, RemoteTaskHandle
from wetlands_rx._remote.items import ItemsRun
from wetlands_rx._remote.modules import FunctionNotFound, FunctionNotLoaded, ModuleLoader
from wetlands_rx._remote.output import Output
from wetlands_rx._remote.page import SharedPage
from wetlands_rx._remote.parent import die_with_parent
from wetlands_rx._wire import codec
from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.items import CANCELED_RECORD, Record, encode_outcome, load_item, record_of, record_of_failure
from wetlands_rx._wire.messages import CallFunction, CallItems, Configure, Exit, RunScript

if TYPE_CHECKING:
    from wetlands_rx._remote.callables import Callables


def serve(socket_fd: int, liveness_fd: int, page_fd: int, memory: Sequence[int] = ()) -> None:
    """Serve the caller until it says exit or is gone.

    Args:
        socket_fd: An inherited, connected stream socket.
        liveness_fd: The read end of a pipe that closes when the caller ends.
        page_fd: A file in memory that tells the caller, also after this process has ended, which call began last.
        memory: The arena through which arrays come, a descriptor and its size; the one through which they go, likewise;
            and how much of that one may have memory. Nothing: they come and go through the socket.
    """
    die_with_parent(liveness_fd)
    sock = socket.socket(fileno=socket_fd)
    sock.set_inheritable(False)
    page = SharedPage(page_fd)
    channel = Channel(sock, page)
    if memory:
        channel.use_arenas(*memory)
    # A process that the user's code forks must not keep the pipe open after this one died.
    os.register_at_fork(before=channel.forks, after_in_child=channel.close)
    output = Output()
    output.install()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the caller is gone: nobody to tell
        _Worker(channel, output).run()


class _Worker:
    def __init__(self, channel: Channel, output: Output) -> None:
        self._channel = channel
        self._output = output
        self._modules = ModuleLoader()
        self._without_file: Optional[Callables] = None
        self._id_base = 0
        self._side = environment_side("")

    def run(self) -> None:
        channel = self._channel
        while True:
            message = channel.next_message()
            if isinstance(message, (CallFunction, CallItems, RunScript)) and channel.is_withdrawn(message.task):
                self._answer(message.task, [], True)
            elif isinstance(message, CallFunction):
                self._answer(message.task, *self._call(message))
            elif isinstance(message, CallItems):
                self._items(message)
            elif isinstance(message, RunScript):
                self._answer(message.task, *self._script(message))
            elif isinstance(message, Configure):
                self._configure(message)
            elif message is None or isinstance(message, Exit):
                channel.flush()
                return
            message = None  # what it refers to, such as arrays that could not be used, is free

    @property
    def _callables(self) -> Callables:
        """Finds functions without a file; most workers have none, and start sooner."""
        if self._without_file is None:
            from wetlands_rx._remote.callables import Callables

            self._without_file = Callables(self._modules)
        return self._without_file

    def _configure(self, configure: Configure) -> None:
        """Be ready; what is raised here ends the worker, and is printed for its caller."""
        self._id_base = configure.id_base
        self._side = environment_side(configure.environment)
        for module in configure.preload:
            self._modules.preload(module)
        self._channel.send([codec.encode_hello(sys.version_info[:3], os.getpid())])

    def _answer(self, task: int, parts: List[Buffer], canceled: bool) -> None:
        self._output.end()
        self._channel.end(task)
        self._channel.answer([codec.encode_canceled(task)] if canceled else parts)

    def _call(self, call: CallFunction) -> Tuple[List[Buffer], bool]:
        """Run a function. Returns the answer, and whether the function acknowledged a cancel."""
        state = CallState()
        self._output.begin(call.task, call.path, call.function)
        try:
            if call.path:
                function = self._modules.find(call.path, call.function, self._channel.received)
                wants_handle = self._modules.wants_handle
            else:
                function = self._callables.find(call.function, call.value)
                wants_handle = self._callables.wants_handle
            try:
                args, kwargs = call.packed.load()
            except BaseException as error:  # noqa: BLE001 - loading runs the user's code
                return encoded_failure(call.task, arguments_not_loaded(call, error, self._side), "serialization"), False
            if "task" not in kwargs and wants_handle(function, len(args)):
                kwargs["task"] = RemoteTaskHandle(self._channel, call.task, self._id_base, state)
            since = perf_counter()
            value: Any = function(*args, **kwargs)
            if isinstance(value, CoroutineType):
                value = run_coroutine(value)
            seconds = perf_counter() - since
        except FunctionNotFound as error:
            return encoded_failure(call.task, *not_found(error, self._side)), False
        except BaseException as error:  # noqa: BLE001 - the user's code: it fails the task, not the worker
            return encoded_failure(call.task, describe(error), kind_of_failure(error)), state.acknowledged
        finally:
            state.ended = True
        return (
            ([], True)
            if state.acknowledged
            else (encoded_result(call.task, value, seconds, self._channel.arena), False)
        )

    def _items(self, call: CallItems) -> None:
        """Run a function for each item; the outcomes are sent on the way."""
        channel = self._channel
        if len(call.items) == 1:
            self._output.begin(call.task, call.path, call.function)
            record = self._runner_of_items(call)(call.items[0])
            self._answer(call.task, encode_outcome(call.task, record, channel.seconds()), False)
            return
        run = ItemsRun(call.items)
        channel.runs(run)
        self._output.begin(call.task, call.path, call.function)
        run.run(self._runner_of_items(call), partial(channel.add_outcome, call.task))
        self._output.end()
        channel.end_outcomes(call.task)
        channel.end(call.task)

    def _runner_of_items(self, call: CallItems) -> Callable[[Any], Record]:
        try:
            if call.path:
                function = self._modules.find(call.path, call.function, self._channel.received)
                wants = self._modules.wants_handle(function, 1)
            else:
                function = self._callables.find(call.function, call.value)
                wants = self._callables.wants_handle(function, 1)
        except FunctionNotFound as error:
            failure, kind = not_found(error, self._side)
            missing = _failed_record(failure, kind)
            return lambda _: missing
        except BaseException as error:  # noqa: BLE001 - loading the file runs the user's code
            broken = _failed_record(describe(error), "raised")
            return lambda _: broken
        if wants:
            return partial(self._with_handle, call.task, function)
        return partial(outcome_of, self._side, self._channel.arena, function)

    def _with_handle(self, task: int, function: Callable[..., Any], item: Any) -> Record:
        state = CallState()
        handle = RemoteTaskHandle(self._channel, task, self._id_base, state)
        record = outcome_of(self._side, self._channel.arena, partial(function, task=handle), item)
        state.ended = True
        return CANCELED_RECORD if state.acknowledged else record

    def _script(self, script: RunScript) -> Tuple[List[Buffer], bool]:
        import runpy

        self._output.begin(script.task, script.path)
        before_argv, sys.argv = sys.argv, [script.path, *script.args]
        try:
            with self._modules.in_script(os.path.dirname(script.path)):
                runpy.run_path(script.path, run_name=script.run_name)
        except SystemExit as error:
            if error.code not in (None, 0):
                return encoded_failure(script.task, describe(error), kind_of_failure(error)), False
        except BaseException as error:  # noqa: BLE001 - the user's code
            return encoded_failure(script.task, describe(error), kind_of_failure(error)), False
        finally:
            sys.argv = before_argv
        return encoded_result(script.task, None), False


def outcome_of(side: Side, arena: Optional[Arena], function: Callable[..., Any], item: Any) -> Record:
    """Run a function for one item."""
    try:
        try:
            argument = load_item(item)
        except BaseException as error:  # noqa: BLE001 - loading runs the user's code
            return _failed_record(not_loaded("the item", ["item"], item, error, side), "serialization")
        value: Any = function(argument)
        if isinstance(value, CoroutineType):
            value = run_coroutine(value)
    except BaseException as error:  # noqa: BLE001 - the user's code: it fails the item, not the worker
        return _failed_record(describe(error), kind_of_failure(error))
    try:
        return record_of(value, arena)
    except BaseException as error:  # noqa: BLE001 - pickling runs the user's code
        return _failed_record(_unsendable_result(value, error), "serialization")


def _failed_record(failure: Failure, kind: str) -> Record:
    return record_of_failure(*failure[:3], kind, *failure[3:])


def arguments_not_loaded(call: CallFunction, error: BaseException, side: Side) -> Failure:
    """What to say of arguments whose loading has failed."""
    return not_loaded("the arguments", ["args", "kwargs"], call.packed, error, side)


def encoded_result(task: int, value: Any, seconds: float = 0.0, arena: Optional[Arena] = None) -> List[Buffer]:
    """The answer of a function that returned; a failure when the value cannot be pickled."""
    try:
        return codec.encode_result(task, value, seconds, arena)
    except BaseException as error:  # noqa: BLE001 - pickling runs the user's code
        return encoded_failure(task, _unsendable_result(value, error), "serialization")


def _unsendable_result(value: Any, error: BaseException) -> Failure:
    advice = "return what it is made from, or plain values"
    return unsendable("the result", [("result", value)], "the caller", error, advice)


def not_found(error: FunctionNotFound, side: Side) -> Tuple[Failure, str]:
    """What the caller is told of a function that cannot be called, and of what kind that is."""
    if isinstance(error, FunctionNotLoaded) and error.__cause__ is not None:
        return function_not_loaded(str(error), error.__cause__, side), "serialization"
    return Failure(str(error), (), "wetlands_rx.FunctionNotFound"), "lookup"


def encoded_failure(task: int, failure: Failure, kind: str) -> List[Buffer]:
    """The answer of a function that raised, or that could not be called."""
    return [codec.encode_error(task, *failure[:3], kind, *failure[3:])]


def run_coroutine(coroutine: Any) -> Any:
    """What a function declared `async` returns."""
    import asyncio

    return asyncio.run(coroutine)
