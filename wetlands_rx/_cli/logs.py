"""The library's log records, shown by a command instead of by whatever logging would do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

from wetlands_rx.logger import logger


@contextmanager
def records_into(take: Callable[[logging.LogRecord], None]) -> Generator[None]:
    """Meanwhile every record of the library, from INFO on, goes to `take` and nowhere else.

    Args:
        take: Called on the thread that logs.
    """
    handler, level, propagate = _Handler(take), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Handler(logging.Handler):
    def __init__(self, take: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record)
