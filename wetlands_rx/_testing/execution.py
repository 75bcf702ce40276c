"""One call in a fake worker: a function, or a generator that says how the work goes in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from types import CoroutineType, GeneratorType
from typing import Any, cast

from reactivex import abc

from wetlands_rx._remote.channel import Channel
from wetlands_rx._remote.crossing import environment_side
from wetlands_rx._remote.failures import Failure, describe, kind_of_failure
from wetlands_rx._remote.handle import CallState, RemoteTaskHandle
from wetlands_rx._remote.loop import arguments_not_loaded, encoded_failure, encoded_result, run_coroutine
from wetlands_rx._remote.modules import FunctionNotFound, ModuleLoader
from wetlands_rx._task.call import id_base
from wetlands_rx._testing.delivery import VirtualDelivery
from wetlands_rx._testing.functions import Functions, frame_of
from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.messages import CallFunction, Finished, RunScript, Up

Steps = Generator[float | None, None, Any]


class Execution:
    """Runs one call and sends up what comes of it.

    Args:
        message: What to run.
        functions: Where to find the function.
        delivery: Whose time it is.
        tell: Takes messages for the caller.
        environment: The name of its environment.
    """

    def __init__(
        self,
        message: CallFunction | RunScript,
        functions: Functions,
        delivery: VirtualDelivery,
        tell: Callable[[Sequence[Up]], None],
        environment: str = "",
    ) -> None:
        self._message = message
        self._functions = functions
        self._delivery = delivery
        self._tell = tell
        self._environment = environment
        self._state = CallState()
        self._steps: Steps | None = None
        self._rest: abc.DisposableBase = delivery.later(0.0, self._begin)
        self._rests_until_cancel = False
        self._at_work = False
        self.canceled = False

    # --- told by the worker

    def ask_cancel(self) -> None:
        """The caller wants it to stop."""
        self.canceled = True
        if self._rests_until_cancel:
            self._rests_until_cancel = False
            self._rest = self._delivery.later(0.0, self._go_on)

    def close(self) -> None:
        """Its worker is gone, or the answer was given by somebody else."""
        self._state.ended = True
        self._rest.dispose()
        if self._steps is not None and not self._at_work:
            with contextlib.suppress(BaseException):  # the user's code, and nobody is left to be told
                self._steps.close()

    # --- the work

    def _begin(self) -> None:
        self._at_work = True
        try:
            value = self._call()
        except FunctionNotFound as error:
            failure = Failure(str(error), (), "wetlands_rx.FunctionNotFound")
            self._answer(encoded_failure(self._message.task, failure, "lookup"))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's code: it fails the task, not the test
            self._fail(error)
        else:
            if isinstance(value, GeneratorType):
                self._steps = cast(Steps, value)
                self._go_on()
            else:
                self._finish(value)
        finally:
            self._at_work = False

    def _call(self) -> Any:
        message = self._message
        if isinstance(message, RunScript):
            return self._functions.find(message.path, message.run_name)(*message.args)
        function = self._functions.find(message.path, message.function, message.value)
        try:
            args, kwargs = self._functions.arguments(message)
        except Exception as error:  # noqa: BLE001 - loading runs the user's code
            failure = arguments_not_loaded(message, error, environment_side(self._environment))
            return self._answer(encoded_failure(message.task, failure, "serialization"))
        if "task" not in kwargs and ModuleLoader().wants_handle(function, len(args)):
            kwargs["task"] = self._handle()
        value = function(*args, **kwargs)
        return run_coroutine(value) if isinstance(value, CoroutineType) else value

    def _handle(self) -> RemoteTaskHandle:
        return RemoteTaskHandle(_Channel(self), self._message.task, id_base(), self._state)

    def _go_on(self) -> None:
        """To the generator's next `yield`."""
        steps = self._steps
        assert steps is not None
        self._at_work = True
        try:
            pause: object = next(steps)
        except StopIteration as stop:
            self._finish(stop.value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)
        else:
            self._pause(pause)
        finally:
            self._at_work = False

    def _pause(self, pause: object) -> None:
        if self._state.ended:
            return
        if pause is None:
            self._rests_until_cancel = not self.canceled
            if self.canceled:
                self._rest = self._delivery.later(0.0, self._go_on)
        elif isinstance(pause, int | float) and pause >= 0:
            self._rest = self._delivery.later(pause, self._go_on)
        else:
            self._fail(TypeError(f"a fake function yields seconds, or nothing to wait for a cancel, and not {pause!r}"))

    def _finish(self, value: Any) -> None:
        task = self._message.task
        if self._state.acknowledged:
            self._answer([codec.encode_canceled(task)])
        elif isinstance(self._message, RunScript):
            self._answer(encoded_result(task, None))
        elif self._functions.pickles:
            self._answer(encoded_result(task, value))
        else:
            self._last([Finished(task, value)])

    def _fail(self, error: BaseException) -> None:
        if self._state.acknowledged:
            self._answer([codec.encode_canceled(self._message.task)])
        else:
            self._answer(encoded_failure(self._message.task, describe(error), kind_of_failure(error)))

    def _answer(self, parts: Sequence[Buffer]) -> None:
        self._last(codec.decode_up(frame_of(parts)))

    def _last(self, messages: list[Up]) -> None:
        if not self._state.ended:
            self._state.ended = True
            self._tell(messages)

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send up what the function tells while it runs."""
        if not self._state.ended:
            self._tell(codec.decode_up(frame_of(parts)))


class _Channel(Channel):
    """A worker's channel without a socket: all goes to an execution."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.arena = None

    def is_canceled(self, task: int) -> bool:
        return self._execution.canceled

    def send(self, parts: Sequence[Buffer]) -> None:
        self._execution.send(parts)

    def send_update(self, task: int, message: str | None, current: Any, maximum: Any) -> None:
        self.send([codec.encode_updates(task, [(message, current, maximum)])])
