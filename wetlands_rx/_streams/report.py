"""What the user's code raised goes to the log, whatever the log's own handlers make of it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from reactivex.observer import AutoDetachObserver

from wetlands_rx.logger import logger


def report(text: str, *arguments: object) -> None:
    """Log the exception that is being handled. Never raises: the thread has others to serve.

    Args:
        text: What happened, as `logging` formats it.
        arguments: For the text.
    """
    trouble = sys.exc_info()[1]
    try:
        logger.error(text, *arguments, exc_info=trouble)
    except BaseException:  # noqa: BLE001 - a log handler is the user's code too
        _to_stderr(text, trouble)


def warn(text: str, *arguments: object) -> None:
    """Log a warning. Never raises."""
    try:
        logger.warning(text, *arguments)
    except BaseException:  # noqa: BLE001 - as above
        _to_stderr(text, None)


def _to_stderr(text: str, trouble: BaseException | None) -> None:
    try:
        sys.stderr.write(f"wetlands_rx: {text} - and a log handler raised:\n")
        traceback.print_exc()
        if trouble is not None:
            traceback.print_exception(trouble)
    except BaseException:  # noqa: BLE001 - there is nowhere left to say it
        pass


def described(callback: Callable[..., Any]) -> str:
    """A callable's name for the log, with its module. Never raises: its attributes are the user's code too."""
    try:
        while (inner := _inside(callback)) is not None:
            callback = inner
        name = getattr(callback, "__qualname__", None) or getattr(type(callback), "__qualname__", "a callable")
        module = getattr(callback, "__module__", None)
        name = f"{module}.{name}" if module else f"{name}"
    except BaseException:  # noqa: BLE001 - as above
        name = "a callable that tells no name"
    return name


def _inside(callback: Callable[..., Any]) -> Callable[..., Any] | None:
    """What a partial calls, or RxPY's wrapper of a subscriber."""
    if isinstance(callback, partial):
        return callback.func
    owner: object = getattr(callback, "__self__", None)
    # Source: reactivex 6.1, reactivex/observer/autodetachobserver.py.
    wrapped: object = getattr(cast(Any, owner), "_on_next", None) if type(owner) is AutoDetachObserver else None
    return wrapped if callable(wrapped) else None
