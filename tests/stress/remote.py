"""What the workers of the stress tests run."""

from __future__ import annotations

import os
import time
from typing import Any


def double(x: int) -> int:
    return 2 * x


def pid() -> int:
    return os.getpid()


def polite(task: Any) -> str:
    """Runs a moment, or until it is asked to stop."""
    for _ in range(20):
        if task.cancel_requested:
            task.cancel()
            return "canceled"
        time.sleep(0.0005)
    return "finished"


def chatty(updates: int, task: Any) -> int:
    for number in range(updates):
        task.update(current=number)
    return updates


def mortal(x: int) -> int:
    if x % 17 == 0:
        os._exit(3)
    return 2 * x
