"""What is called in a fake environment: the functions it knows, and the calls it was given."""

from __future__ import annotations

import difflib
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

from wetlands_rx._remote.handle import task_id
from wetlands_rx._remote.modules import FunctionNotFound
from wetlands_rx._task.call import Call, id_base
from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import Buffer, Frame, FrameDecoder, join
from wetlands_rx._wire.messages import CallFunction, RunScript
from wetlands_rx._wire.target import FunctionValue, shown_target
from wetlands_rx._wire.values import Packed

Function = Callable[..., Any]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class FakeCall:
    """What a fake environment was asked to run.

    Attributes:
        path: The absolute path of the file; it need not exist. Empty for a function that is not called by its file.
        function: The name of the function; for a script the value of `__name__` in it.
        number: Names the task in messages.
    """

    def __init__(self, path: str, function: str, number: int, load: Callable[[], Arguments]) -> None:
        self.path = path
        self.function = function
        self.number = number
        self._load = load

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments as a worker gets them, a new copy each time; for a script its command line."""
        return self._load()[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, likewise."""
        return self._load()[1]

    @property
    def target(self) -> str:
        """What is called: `"segment.py:segment"`."""
        return shown_target(self.path, self.function)

    @property
    def task_id(self) -> str:
        """The `id` of the task."""
        return task_id(id_base(), self.number)

    def __repr__(self) -> str:
        return f"<FakeCall {self.target} args={self.args!r:.100} kwargs={self.kwargs!r:.100}>"


class Functions:
    """The functions of a fake environment, and the arguments that were handed over as they are.

    Args:
        pickles: Arguments and results are copied, as on their way to a worker and back.
    """

    def __init__(self, *, pickles: bool) -> None:
        self.pickles = pickles
        self._registered: dict[tuple[PurePath, str], Function] = {}
        self._given: dict[tuple[str, str], Function] = {}
        self._kept: dict[int, Arguments] = {}
        self._lent: dict[bytes, Function] = {}

    def register(self, path: str | Path, name: str, function: Function) -> None:
        """Let calls of this name, in a file whose path ends with this one, run this function."""
        self._registered[PurePath(os.fspath(path)), name] = function

    def give(self, path: str, name: str, function: Function) -> None:
        """Let calls of this very file and name run this function, when none is registered."""
        self._given[path, name] = function

    def lend(self, function: Function) -> FunctionValue:
        """Hand a function over as it is, instead of its value."""
        ticket = str(id(function)).encode()
        self._lent[ticket] = function
        return FunctionValue(ticket, "", "")

    def find(self, path: str, name: str, value: FunctionValue | None = None) -> Function:
        """The function that stands for this one.

        Raises:
            FunctionNotFound: there is none; the text says what is registered.
        """
        parts = PurePath(path).parts
        for (registered, known), function in reversed(self._registered.items()):
            if known == name and parts[-len(registered.parts) :] == registered.parts:
                return function
        if value is not None:
            return self._lent[value.code] if value.code in self._lent else pickle.loads(value.code)[0]
        try:
            return self._given[path, name]
        except KeyError:
            raise FunctionNotFound(self._unknown(path, name)) from None

    def names(self, path: str) -> tuple[str, ...]:
        """The names that are registered for a file."""
        parts = PurePath(path).parts
        return tuple(
            dict.fromkeys(
                name for registered, name in self._registered if parts[-len(registered.parts) :] == registered.parts
            )
        )

    def keep(self, number: int, arguments: Arguments) -> None:
        """Hand arguments over as they are, beside the frame."""
        self._kept[number] = arguments

    def arguments(self, message: CallFunction) -> Arguments:
        """What the function is called with: a copy for each caller, unless they were kept as they are."""
        kept = self._kept.get(message.task)
        if kept is not None:
            return kept[0], dict(kept[1])
        packed = Packed(message.packed.pickle, message.packed.buffers)  # which can be loaded once
        args, kwargs = packed.load()
        return args, kwargs

    def read(self, call: Call) -> FakeCall:
        """What a call says."""
        message = message_of(call)
        if isinstance(message, RunScript):
            return FakeCall(message.path, message.run_name, message.task, lambda: (message.args, {}))
        return FakeCall(message.path, message.function, message.task, lambda: self.arguments(message))

    def _unknown(self, path: str, name: str) -> str:
        near = difflib.get_close_matches(name, self.names(path), 1)
        if near:
            return f"{os.path.basename(path)} has no function {name!r}. Did you mean {near[0]!r}?"
        known = ", ".join(sorted(f"{registered}:{known}" for registered, known in self._registered)) or "none"
        return (
            f"{os.path.basename(path)} has no function {name!r} in this fake environment; registered: {known}. "
            "Register what stands for it with env.function()"
        )


def message_of(call: Call) -> CallFunction | RunScript:
    """The message in the frame of a call."""
    message = codec.decode_down(frame_of(call.payload))
    assert isinstance(message, CallFunction | RunScript)  # nothing else is a call
    return message


def frame_of(parts: Sequence[Buffer]) -> Frame:
    """One frame, as it comes out of a pipe."""
    data = join(parts)
    decoder = FrameDecoder(len(data))
    decoder.writable()[:] = data
    return decoder.received(len(data))[0]
