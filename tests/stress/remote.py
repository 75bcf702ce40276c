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


def step(x: int, log: str, waits_for: str = "", dies: bool = False, *, task: Any) -> int:
    """Note that it ran; most of the time that is all. A step that waits also ends when it is canceled."""
    with open(log, "a") as file:
        file.write(f"{x}\n")
    if dies:
        os._exit(3)
    while waits_for and not os.path.exists(waits_for) and not task.cancel_requested:
        time.sleep(0.001)
    return 2 * x


def gated(x: int, gate: str) -> int:
    """Return when a file is there."""
    while not os.path.exists(gate):
        time.sleep(0.001)
    return x


def mortal(x: int) -> int:
    if x % 17 == 0:
        os._exit(3)
    return 2 * x


class Strange:
    """A value that runs code of the test where it is opened, and is not there for the worker."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('tests.support.locks', fromlist=['made']).made({self.name!r})",)


def everything(argument: str, task: Any) -> Strange:
    """Uses all ways to tell the caller something."""
    task.update(argument, current=1, maximum=2)
    task.set_output("key", Strange("an output that is replaced"))
    task.set_output("key", Strange("an output"))
    task.log("a record")
    print("a line")
    return Strange("a result")


def listed(*numbers: int, task: Any) -> int:
    """Outputs all of them, and returns how many they were."""
    for number in numbers:
        task.set_output(str(number), number)
    return len(numbers)
