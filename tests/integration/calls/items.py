"""Functions of one item, for `map`."""

from __future__ import annotations

import time
from typing import Any


def wait_for_cancel(_item: Any, task: Any) -> None:
    while not task.cancel_requested:
        time.sleep(0.001)
    task.cancel()


def touch(file: str) -> None:
    with open(file, "w"):
        pass
