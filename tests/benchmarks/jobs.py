"""The functions that run in the workers, ours and the peers'."""

from __future__ import annotations

from typing import Any


def echo(value: Any) -> Any:
    return value


def report(updates: int, task: Any = None) -> int:
    for number in range(updates):
        task.update("step", current=number, maximum=updates)
    return updates
