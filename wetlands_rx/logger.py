"""Log records that say where they come from, and handlers for them.

Every record of the logger `wetlands_rx` carries these attributes, so that handlers, filters and formats such as
`"%(env_name)s %(call_target)s %(message)s"` can use them:

    log_source     "global", "environment" or "execution"
    env_name       the environment's name, or None
    call_target    "segment.py:segment" for a task, or None
    task_id        that task's `Task.id`, or None
    worker_index   the worker's place in its pool, an int from 0, or None
    stream         "stdout" or "stderr" for a printed line, or None
    stage          what was going on ("create", "launch", "commands"), or None

A printed line bears the task whose function, or a thread started by it, printed it, however late. What C code and
other programs write to the worker's output directly is the worker's: `call_target` and `task_id` are None.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from os import PathLike, fspath
from typing import Protocol, TypedDict

__all__ = [
    "DEFAULT_FORMAT",
    "LogContext",
    "RecordSink",
    "attach_log_handler",
    "enable_console_logging",
    "enable_file_logging",
    "log",
    "log_environment",
    "log_execution",
    "log_global",
    "logger",
    "record",
    "remove_log_handler",
]

DEFAULT_FORMAT = "%(asctime)s %(levelname)s %(env_name)s %(call_target)s: %(message)s"
"""What the handlers made here write when no format is given."""

logger = logging.getLogger("wetlands_rx")
"""The logger of the library; add handlers to it, or to the root logger, as usual."""


class LogContext(TypedDict, total=False):
    """Where a record comes from."""

    log_source: str
    env_name: str | None
    call_target: str | None
    task_id: str | None
    worker_index: int | None
    stream: str | None
    stage: str | None


class RecordSink(Protocol):
    """Somebody who wants records whatever the level of the logger, such as `Environment.logs`."""

    @property
    def observed(self) -> bool:
        """True while records are wanted."""
        ...

    def emit(self, record: logging.LogRecord, /) -> None:
        """Take a record; returns at once."""
        ...


_NOWHERE: dict[str, object] = {
    "log_source": "global",
    "env_name": None,
    "call_target": None,
    "task_id": None,
    "worker_index": None,
    "stream": None,
    "stage": None,
}


# --- Records


def record(level: int, text: str, context: LogContext) -> logging.LogRecord:
    """Make a record without emitting it; its text is never formatted with `%`.

    Args:
        level: A level of the `logging` module.
        text: One line or more.
        context: Where it comes from; what is missing becomes None.
    """
    extra = {**_NOWHERE, **context}
    return logger.makeRecord(logger.name, level, "(wetlands_rx)", 0, "%s", (text,), None, None, extra)


def log(
    level: int,
    text: str,
    context: LogContext,
    sink: RecordSink | None = None,
    handle: Callable[[logging.LogRecord], object] = logger.handle,
) -> None:
    """Emit a record; its text is never formatted with `%`. None is made when nobody wants it.

    Args:
        level: A level of the `logging` module.
        text: One line or more.
        context: Where it comes from; what is missing becomes None.
        sink: Gets it too, and first.
        handle: Has the handlers called when the logger lets this level through; by default at once, on this thread.
    """
    enabled, observed = logger.isEnabledFor(level), sink is not None and sink.observed
    if not enabled and not observed:
        return
    made = record(level, text, context)
    if sink is not None and observed:
        sink.emit(made)
    if enabled:
        handle(made)


def log_global(text: str, stage: str | None = None, *, level: int = logging.INFO) -> None:
    """Log what concerns no environment."""
    log(level, text, LogContext(log_source="global", stage=stage))


def log_environment(text: str, env_name: str, stage: str | None = None, *, level: int = logging.INFO) -> None:
    """Log what concerns an environment: its making, changing, launching."""
    log(level, text, LogContext(log_source="environment", env_name=env_name, stage=stage))


def log_execution(
    text: str,
    env_name: str,
    call_target: str | None = None,
    *,
    task_id: str | None = None,
    worker_index: int | None = None,
    level: int = logging.INFO,
) -> None:
    """Log what concerns something that runs in an environment."""
    context = LogContext(
        log_source="execution",
        env_name=env_name,
        call_target=call_target,
        task_id=task_id,
        worker_index=worker_index,
    )
    log(level, text, context)


# --- Handlers


def enable_console_logging(level: int = logging.INFO, fmt: str = DEFAULT_FORMAT) -> logging.Handler:
    """Show records on the console: below WARNING on the standard output, the others on the standard error.

    Args:
        level: What is below it is not shown.
        fmt: A format of the `logging` module; may use the attributes above.
    Returns:
        The handler, for `remove_log_handler`.
    """
    handler = _Console()
    handler.setFormatter(logging.Formatter(fmt))
    return _added(handler, level)


def enable_file_logging(
    path: str | PathLike[str], level: int = logging.INFO, fmt: str = DEFAULT_FORMAT
) -> logging.Handler:
    """Add records to a file, in UTF-8.

    Args:
        path: The file; made when it is not there.
        level: What is below it is not written.
        fmt: A format of the `logging` module; may use the attributes above.
    Returns:
        The handler, for `remove_log_handler`.
    Raises:
        OSError: the file cannot be written.
    """
    handler = logging.FileHandler(fspath(path), encoding="utf-8")
    handler.setFormatter(logging.Formatter(fmt))
    return _added(handler, level)


def attach_log_handler(
    callback: Callable[[logging.LogRecord], object],
    log_level: int = logging.INFO,
    filter: Callable[[logging.LogRecord], bool] | logging.Filter | None = None,  # noqa: A002 - the public name
) -> logging.Handler:
    """Call a function with each record. What it raises goes to the standard error and harms nobody.

    Args:
        callback: Called on the thread that logs: for what functions print and log, one of the library's own.
        log_level: What is below it is left out.
        filter: True for the records that are wanted; None wants all.
    Returns:
        The handler, for `remove_log_handler`.
    """
    handler = _Calling(callback)
    handler.addFilter(_with_attributes)  # first: the filter may look at them
    if filter is not None:
        handler.addFilter(filter)
    return _added(handler, log_level)


def remove_log_handler(handler: logging.Handler) -> None:
    """Undo `enable_console_logging`, `enable_file_logging` or `attach_log_handler`; again, it does nothing."""
    with _levels.changing:
        if handler not in _levels.handlers:
            return
        _levels.handlers.remove(handler)
        logger.removeHandler(handler)
        _levels.adapt()
    handler.close()


def _added(handler: logging.Handler, level: int) -> logging.Handler:
    handler.setLevel(level)
    handler.addFilter(_with_attributes)
    with _levels.changing:
        _levels.handlers.append(handler)
        logger.addHandler(handler)
        _levels.adapt()
    return handler


class _Levels:
    """Lets through what our handlers want, and no longer than they want it."""

    def __init__(self) -> None:
        self.changing = threading.Lock()  # guards what follows
        self.handlers: list[logging.Handler] = []
        self._before = logging.NOTSET
        self._ours: int | None = None

    def adapt(self) -> None:
        """Give the logger the level that the handlers need; with the lock held."""
        if self._ours is None or logger.level != self._ours:
            self._before = logger.level  # the user's, who may have set it meanwhile
        if not self.handlers:
            if logger.level == self._ours:
                logger.setLevel(self._before)
            self._ours = None
            return
        wanted = min(handler.level for handler in self.handlers)
        unlike_ours = self._before or logging.getLogger().level
        self._ours = min(wanted, unlike_ours)
        logger.setLevel(self._ours)


class _Console(logging.StreamHandler):  # type: ignore[type-arg]
    def emit(self, record: logging.LogRecord) -> None:
        # Looked up each time: notebooks and tests replace them.
        self.stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        super().emit(record)


class _Calling(logging.Handler):
    def __init__(self, callback: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._callback = callback

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._callback(record)
        except (Exception, SystemExit):  # noqa: BLE001 - the user's code
            self.handleError(record)


def _with_attributes(record: logging.LogRecord) -> bool:
    for name, value in _NOWHERE.items():
        record.__dict__.setdefault(name, value)
    return True


_levels = _Levels()
logger.addFilter(_with_attributes)  # also for `logger.warning(...)`, which knows nothing of them
