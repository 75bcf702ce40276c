"""Turn an exception of the user's code into plain data that crosses to a caller which lacks its class."""

from __future__ import annotations

import os
import pickle
from types import TracebackType
from typing import Any, List, NamedTuple, Optional, Sequence, Set, Tuple

from wetlands_rx._wire.arrays import kind_of
from wetlands_rx._wire.messages import Raised
from wetlands_rx.exceptions import SerializationError

MOST_ORIGINAL_BYTES = 1 << 14
"""An exception whose pickle is larger crosses in words only."""
_MOST_EXCEPTIONS = 64
_MOST_NOTES = 32
_DEPTH = 16
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_Plain = Tuple[Any, ...]


class Failure(NamedTuple):
    """An exception in words.

    Attributes:
        error: One line.
        traceback: The traceback's lines.
        remote_type: The dotted name of the class.
        remote: What `RemoteException.of` reads: names, texts and tuples of them.
        original: The exception's own pickle, if it has one.
        path: For what cannot cross: where it is.
        type_name: For what cannot cross: the name of its class.
    """

    error: str
    traceback: Tuple[str, ...]
    remote_type: str
    remote: Optional[_Plain] = None
    original: bytes = b""
    path: str = ""
    type_name: str = ""

    def message(self, task: int, kind: str) -> Raised:
        """The same as the end of a task."""
        error, traceback, remote_type, remote, original, path, type_name = self
        return Raised(task, error, traceback, remote_type, kind, remote, original, path, type_name)


def describe(exception: BaseException) -> Failure:
    """Describe an exception, with its causes, notes and groups as the traceback module prints them.

    Frames of the library above the user's code are left out, all of them when none is the user's.
    Survives whatever the exception's own code raises.
    """
    try:
        return _described(exception)
    except BaseException:  # noqa: BLE001 - even its class has code of its own
        return Failure("an exception that cannot be described", (), "")


def _described(exception: BaseException) -> Failure:
    import traceback

    kind, name, text = type(exception), _name_of(exception), _text_of(exception)
    head = _plain(kind.__name__)
    error = "{}: {}".format(head, text) if text else head
    try:
        printed = traceback.format_exception(kind, exception, _users_part(exception.__traceback__))
        lines: List[str] = "".join(printed).rstrip("\n").split("\n")
    except BaseException:  # noqa: BLE001 - a broken __cause__, __notes__ or __repr__ of the user's class
        lines = [error]
    path, type_name = _place(exception)
    return Failure(
        error, tuple(lines), name, _Relatives(exception).record(exception), _original(exception), path, type_name
    )


def kind_of_failure(exception: BaseException) -> str:
    """What kind of failure an exception that leaves the user's function is."""
    return "serialization" if isinstance(exception, SerializationError) else "raised"


def _place(exception: BaseException) -> Tuple[str, str]:
    return (exception.path, exception.type_name) if isinstance(exception, SerializationError) else ("", "")


def _plain(text: Any) -> str:
    """The same text without a class of the user's: a thread of the library will load it."""
    return text if type(text) is str else str.__str__(text) if isinstance(text, str) else "?"


def _name_of(exception: BaseException) -> str:
    kind = type(exception)
    return "{}.{}".format(_plain(kind.__module__), _plain(kind.__qualname__))


def _text_of(exception: BaseException) -> str:
    try:
        return _plain(str(exception))
    except BaseException:  # noqa: BLE001 - the user's code
        return "<its __str__ raised>"


def _users_part(traceback: Optional[TracebackType]) -> Optional[TracebackType]:
    while traceback is not None and os.path.abspath(traceback.tb_frame.f_code.co_filename).startswith(_OURS + os.sep):
        traceback = traceback.tb_next
    return traceback


class _Relatives:
    """Lays out an exception, and those that belong to it."""

    def __init__(self, first: BaseException) -> None:
        self._first = first
        self._seen: Set[int] = set()
        self._kept: List[BaseException] = []  # so that no other one gets its id

    def record(self, exception: Any, depth: int = 0) -> Optional[_Plain]:
        """One of them; what follows it in `RemoteException` is left out of one that was laid out before."""
        if not isinstance(exception, BaseException):
            return None
        name, text = _name_of(exception), _text_of(exception)
        if id(exception) in self._seen or len(self._seen) >= _MOST_EXCEPTIONS or depth > _DEPTH:
            return name, text, (), (), None, None, False, ()
        self._seen.add(id(exception))
        self._kept.append(exception)
        cause, context = exception.__cause__, exception.__context__
        # The lines of the first one are told already.
        lines = None if exception is self._first else _lines_of(exception, "{}: {}".format(name, text))
        return (
            name,
            text,
            lines,
            tuple(map(_plain, _listed(exception, "__notes__", str)[:_MOST_NOTES])),
            None if cause is None else self.record(cause, depth + 1),
            None if context is None or context is cause else self.record(context, depth + 1),
            exception.__suppress_context__,
            tuple(self.record(member, depth + 1) for member in _listed(exception, "exceptions", BaseException)),
        )


def _listed(exception: BaseException, name: str, kind: type) -> Sequence[Any]:
    """An attribute that is a sequence of this kind of things; empty when it is anything else."""
    try:
        found: Any = getattr(exception, name, ())
        if kind_of(found) not in (tuple, list):
            return ()
        return [each for each in found[:_MOST_EXCEPTIONS] if isinstance(each, kind)]
    except BaseException:  # noqa: BLE001 - the user's code
        return ()


def _lines_of(exception: BaseException, instead: str) -> Tuple[str, ...]:
    """The traceback of one exception alone."""
    import traceback

    try:
        printed = traceback.format_exception_only(type(exception), exception)
        frames = traceback.format_tb(_users_part(exception.__traceback__))
        head = ["Traceback (most recent call last):\n"] if frames else []
        return tuple("".join([*head, *frames, *printed]).rstrip("\n").split("\n"))
    except BaseException:  # noqa: BLE001 - the user's code
        return (instead,)


# --- the exception itself


class _TooLargeError(Exception):
    """It stays here."""


class _Small:
    """A file that takes little."""

    def __init__(self) -> None:
        self.parts: List[bytes] = []
        self._left = MOST_ORIGINAL_BYTES

    def write(self, data: Any) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise _TooLargeError
        self.parts.append(bytes(data))
        return len(data)


def _refuse(buffer: Any) -> None:
    raise _TooLargeError


def _original(exception: BaseException) -> bytes:
    """The exception's pickle; empty when it has none, or a large one."""
    if type(exception).__module__ == "__main__":  # another one in the caller
        return b""
    small = _Small()
    try:
        pickle.Pickler(small, 5, buffer_callback=_refuse).dump(exception)
    except BaseException:  # noqa: BLE001 - pickling runs the user's code
        return b""
    return b"".join(small.parts)
