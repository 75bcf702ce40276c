"""The functions that run in the workers, ours and the peers'."""

from __future__ import annotations

import time
from typing import Any


def echo(value: Any) -> Any:
    return value


def report(updates: int, task: Any = None) -> int:
    for number in range(updates):
        task.update("step", current=number, maximum=updates)
    return updates


def nap(_: Any) -> None:
    time.sleep(0.05)


def size(value: Any) -> int:
    return len(value)


def write_first(shared: Any, value: float) -> None:
    shared.array[0] = value


def wait_for_file(path: str) -> None:
    import os

    while not os.path.exists(path):
        time.sleep(0.01)
