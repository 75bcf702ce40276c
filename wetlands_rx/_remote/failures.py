"""Turn an exception of the user's code into text that crosses to a caller which lacks its class."""

from __future__ import annotations

import os
from types import TracebackType
from typing import List, NamedTuple, Optional, Tuple

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failure(NamedTuple):
    """An exception in words: one line, the traceback's lines, the dotted name of the class."""

    error: str
    traceback: Tuple[str, ...]
    remote_type: str


def describe(exception: BaseException) -> Failure:
    """Describe an exception, with its causes, notes and groups as the traceback module prints them.

    Frames of the library above the user's code are left out, all of them when none is the user's.
    Survives a `__str__` that raises.
    """
    import traceback

    kind = type(exception)
    try:
        text = str(exception)
    except BaseException:  # noqa: BLE001 - the user's code
        text = "<its __str__ raised>"
    error = "{}: {}".format(kind.__name__, text) if text else kind.__name__
    try:
        printed = traceback.format_exception(kind, exception, _users_part(exception.__traceback__))
        lines: List[str] = "".join(printed).rstrip("\n").split("\n")
    except BaseException:  # noqa: BLE001 - a broken __cause__, __notes__ or __repr__ of the user's class
        lines = [error]
    return Failure(error, tuple(lines), "{}.{}".format(kind.__module__, kind.__qualname__))


def _users_part(traceback: Optional[TracebackType]) -> Optional[TracebackType]:
    while traceback is not None and os.path.abspath(traceback.tb_frame.f_code.co_filename).startswith(_OURS + os.sep):
        traceback = traceback.tb_next
    return traceback
