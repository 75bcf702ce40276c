"""Log records that say where they come from.

Every record of the logger `wetlands_rx` that concerns an environment carries these attributes, so that handlers and
filters can tell them apart:

    log_source     "global", "environment" or "execution"
    env_name       the environment's name, or None
    call_target    "segment.py:segment" for a task, or None
    worker_index   the worker's place in its pool, from 0, or None
    stream         "stdout" or "stderr" for a printed line, or None
    stage          what was going on ("create", "launch", "commands"), or None
"""

from __future__ import annotations

import logging
from typing import TypedDict

__all__ = ["LogContext", "log", "logger"]

logger = logging.getLogger("wetlands_rx")
"""The logger of the library; add handlers to it, or to the root logger, as usual."""


class LogContext(TypedDict, total=False):
    """Where a record comes from."""

    log_source: str
    env_name: str
    call_target: str
    worker_index: int
    stream: str
    stage: str


_NOWHERE: dict[str, object] = {
    "log_source": "global",
    "env_name": None,
    "call_target": None,
    "worker_index": None,
    "stream": None,
    "stage": None,
}


def log(level: int, text: str, context: LogContext) -> None:
    """Emit a record; its text is never formatted with `%`.

    Args:
        level: A level of the `logging` module.
        text: One line or more.
        context: Where it comes from; what is missing becomes None.
    """
    logger.log(level, "%s", text, extra={**_NOWHERE, **context}, stacklevel=2)
