"""What a function in the worker sees of its task."""

from __future__ import annotations

import contextlib
import operator
from typing import Any, Iterable, Iterator, Optional, Protocol, TypeVar, Union

from wetlands_rx.exceptions import TaskCanceled

_Item = TypeVar("_Item")
Number = Union[int, float]
INFO = 20
"""`logging.INFO`, without importing logging into every worker."""


def task_id(base: int, number: int) -> str:
    """The public id of a task: a version 4 UUID that both sides derive from the task's number."""
    import uuid  # 4 ms that most workers never need

    return str(uuid.UUID(int=base ^ number))


class Line(Protocol):
    """What a handle needs of the way to the caller: the pipe of a worker, or none when both are in one process."""

    def is_canceled(self, task: int) -> bool:
        """True when the caller asked this task to stop."""
        ...

    def send_update(self, task: int, message: Optional[str], current: Any, maximum: Any) -> None:
        """Report progress."""
        ...

    def send_output(self, task: int, key: str, value: Any) -> None:
        """Publish an intermediate result; raises SerializationError when it cannot cross."""
        ...

    def send_log(self, task: int, level: int, text: str) -> None:
        """Send a record to the caller's logging."""
        ...


class CallState:
    """What the worker and the handle of one call tell each other."""

    __slots__ = ("acknowledged", "ended")

    def __init__(self) -> None:
        self.acknowledged = False
        self.ended = False


class RemoteTaskHandle:
    """Given to a remote function whose signature names a parameter `task`. Safe from any thread of the worker.

    After the function has ended, every call here is without effect.
    """

    __slots__ = ("_channel", "_id_base", "_number", "_state")

    def __init__(self, channel: Line, number: int, id_base: int, state: CallState) -> None:
        self._channel = channel
        self._number = number
        self._id_base = id_base
        self._state = state

    @property
    def id(self) -> str:
        """The id that the caller sees as `Task.id`."""
        return task_id(self._id_base, self._number)

    @property
    def cancel_requested(self) -> bool:
        """True once the caller asked this task to stop."""
        return self._channel.is_canceled(self._number)

    def update(
        self,
        message: Optional[str] = None,
        *,
        current: Optional[Number] = None,
        maximum: Optional[Number] = None,
    ) -> None:
        """Report progress; the caller receives an UPDATE event. What is None keeps its last value.

        Args:
            message: One line for people; one whose `__str__` raises is replaced by words that say so.
            current: How much is done, in units of the function's choice.
            maximum: How much there is to do, in the same units.
        Raises:
            TypeError: `current` or `maximum` is not a number.
        """
        if not self._state.ended:
            text = message if message is None or type(message) is str else _text(message)
            self._channel.send_update(self._number, text, _number(current), _number(maximum))

    def set_output(self, key: str, value: Any) -> None:
        """Publish an intermediate result; the caller finds it in `Task.outputs[key]`.

        Args:
            key: Its name.
            value: Anything that can be pickled; copied before this returns.
        Raises:
            SerializationError: the value cannot be pickled; the text and `path` name the part that cannot. A function
                that does not catch it fails with it.
        """
        if not self._state.ended:
            self._channel.send_output(self._number, str(key), value)

    def cancel(self) -> None:
        """Acknowledge the cancel: the task becomes CANCELED as soon as the function returns or raises."""
        self._state.acknowledged = True

    def raise_if_canceled(self) -> None:
        """Acknowledge and leave the function when the caller asked for it.

        Raises:
            TaskCanceled: the caller asked this task to stop.
        """
        if self.cancel_requested:
            self.cancel()
            raise TaskCanceled("the caller canceled this task")

    def log(self, message: str, level: int = INFO) -> None:
        """Send a record to the caller's logging, with environment, worker and task.

        Args:
            message: The text, or anything that has one; never formatted with `%`. One whose `__str__` raises is
                replaced by words that say so: what is only to be told does not fail the function.
            level: A level of the `logging` module.
        """
        if not self._state.ended:
            self._channel.send_log(self._number, int(level), message if type(message) is str else _text(message))

    def track(
        self, iterable: Iterable[_Item], total: Optional[int] = None, message: Optional[str] = None
    ) -> Iterator[_Item]:
        """Yield the items, report each, and leave the function when the caller cancels.

        Args:
            iterable: What to go through.
            total: How many items; by default its length, if it has one.
            message: A line for people that goes with every report.
        Raises:
            TaskCanceled: the caller asked this task to stop.
        """
        if total is None:
            total = operator.length_hint(iterable, 0) or None
        self.update(message, current=0, maximum=total)
        for done, item in enumerate(iterable, 1):
            self.raise_if_canceled()
            yield item
            self.update(message, current=done, maximum=total)


def _text(message: Any) -> str:
    """The text of anything, as a plain string: a class of the user's would have to be loaded by the caller."""
    try:
        return str.__str__(str(message))
    except Exception as error:  # noqa: BLE001 - the user's code
        return "<a {} whose __str__ raised {}>".format(type(message).__qualname__, type(error).__name__)


def _number(value: Any) -> Optional[Number]:
    """Plain numbers cross as they are; numpy's would drag numpy into the caller's reader."""
    if value is None or type(value) is int or type(value) is float:
        return value
    with contextlib.suppress(TypeError):
        return int(operator.index(value))  # before Python 3.10 it may be of the user's own class
    if not isinstance(value, (str, bytes, bytearray)):  # float() would read them
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    raise TypeError("progress must be a number or None, not {!r}".format(value))
