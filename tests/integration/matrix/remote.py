"""What the workers of `test_matrix.py` run, on every Python from 3.8."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any


def python() -> tuple[int, int]:
    return sys.version_info[:2]


def identity(x: Any) -> Any:
    return x


def kind(x: Any) -> str:
    return type(x).__name__


def double(x: Any) -> Any:
    return 2 * x


def with_news(x: int, *, task: Any) -> int:
    task.update(message="half way", current=1, maximum=2)
    task.set_output("so far", {x: (x, [x])})
    task.log("seen")
    print("printed", x)
    return x


def until_canceled(task: Any) -> None:
    task.update(message="runs")
    while not task.cancel_requested:
        threading.Event().wait(0.001)
    task.cancel()


def fail() -> None:
    def inner() -> None:
        try:
            _ = {}["key"]  # type: ignore[var-annotated]
        except KeyError as error:
            raise OwnError("no such", 3) from error

    inner()


def fail_with_notes() -> None:
    error = ValueError("no")
    error.add_note("a note of its own")
    raise error


class OwnError(Exception):
    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


def a_lock() -> Any:
    return threading.Lock()


async def later(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def has(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def pid() -> int:
    return os.getpid()


class Methods:
    @staticmethod
    def double(x: int) -> int:
        return 2 * x
