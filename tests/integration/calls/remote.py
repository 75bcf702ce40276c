"""What the workers of `test_calls.py` run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

state = 0


def double(x: Any) -> Any:
    return 2 * x


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def identity(x: Any) -> Any:
    return x


def pid(_item: Any = None) -> int:
    return os.getpid()


def count() -> int:
    global state  # noqa: PLW0603 - that it lives on is what is tested
    state += 1
    return state


def no_result() -> None:
    pass


# --- Errors


def fail(text: str) -> None:
    def inner() -> None:
        raise ValueError(text)

    inner()


def fail_with(name: str, *args: Any) -> NoReturn:
    raise {kind.__name__: kind for kind in (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, OSError)}[name](
        *args
    )


def fail_with_a_cause() -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        raise OwnError("outer", 3) from error


class OwnError(Exception):
    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


class Nasty(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def fail_nastily() -> NoReturn:
    raise Nasty


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


# --- Results


class Local:
    """The caller cannot import this class."""


class NoPickle:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> NoReturn:
        raise self.error("I stay here")


def unknown_class() -> Local:
    return Local()


def a_lambda() -> Any:
    return lambda: None


def a_lock() -> Any:
    return {"deep": [threading.Lock()]}


def no_pickle(kind: str) -> NoPickle:
    return NoPickle({"ValueError": ValueError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[kind])


def array(size: int) -> Any:
    import numpy as np

    return np.arange(size, dtype=np.float64)


def change(image: Any) -> Any:
    image += 1
    return image


# --- Progress, outputs, records


def progress(steps: int, task: Any) -> str:
    for step in range(steps):
        task.update(f"step {step}", current=step + 1, maximum=steps)
    return "done"


def numpy_progress(task: Any) -> None:
    import numpy as np

    task.update(current=np.int64(3), maximum=np.float32(4.0))


class Level(IntEnum):
    THREE = 3


def enum_progress(task: Any) -> None:
    task.update(current=Level.THREE)
    task.set_output("set", {1, 2})


def outputs(task: Any) -> None:
    task.set_output("number", 3)
    task.set_output("set", {1, 2})
    task.update("between")
    task.set_output("number", 4)


def bad_output(task: Any) -> str:
    try:
        task.set_output("lambda", lambda: None)
    except Exception as error:  # noqa: BLE001 - its text is the answer
        return f"{type(error).__name__}: {error}"
    return "no error"


def log(text: str, task: Any) -> None:
    task.log(text, logging.WARNING)


def print_line(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)
    os.write(1, f"raw {text}\n".encode())


def tracked(items: list[int], task: Any) -> int:
    return sum(item for item in task.track(items, message="tracking"))


def handle_afterwards(task: Any) -> str:
    """Leaves a thread that uses its handle when the function has long returned."""

    def late() -> None:
        time.sleep(0.05)
        task.update("late")
        task.set_output("late", 1)
        task.log("late")
        task.cancel()

    threading.Thread(target=late, name="late").start()
    return task.id


def wait_for_late() -> bool:
    for thread in threading.enumerate():
        if thread.name == "late":
            thread.join()
    return True


# --- Cancel


def until_canceled(task: Any, started: str | None = None) -> None:
    if started:
        Path(started).touch()
    task.update("running")
    while not task.cancel_requested:
        time.sleep(0.001)
    task.cancel()


def leave_when_canceled(task: Any) -> None:
    task.update("running")
    while True:
        with contextlib.suppress(Exception):  # what sloppy code does
            task.raise_if_canceled()
        time.sleep(0.001)


def ignore_cancel(task: Any) -> str:
    task.update("running")
    while not task.cancel_requested:
        time.sleep(0.001)
    return "finished anyway"


def fail_after_acknowledging(task: Any) -> None:
    task.update("running")
    while not task.cancel_requested:
        time.sleep(0.001)
    task.cancel()
    raise ValueError("cleaning up failed")


def busy_until(file: str) -> int:
    """Runs until the file is there."""
    while not os.path.exists(file):
        time.sleep(0.001)
    return os.getpid()


def touch_and_wait(mine: str, others: list[str]) -> int:
    """Returns when all have begun: only workers of their own can do that."""
    Path(mine).touch()
    for other in others:
        busy_until(other)
    return os.getpid()


# --- The handle


def handle_first(task: Any, x: int = 0) -> Any:
    return type(task).__name__, x


def handle_last(x: int, task: Any = None) -> Any:
    return x, task if isinstance(task, (str, int)) else type(task).__name__


def handle_keyword(*args: Any, task: Any) -> Any:
    return args, type(task).__name__


def no_handle(**kwargs: Any) -> Any:
    return kwargs


class Model:
    @classmethod
    def predict(cls, x: int) -> Any:
        return cls.__name__, x

    @staticmethod
    def with_handle(task: Any) -> str:
        return type(task).__name__


# --- Coroutines


async def coroutine(x: int, task: Any) -> int:
    await asyncio.sleep(0)
    task.update("in a coroutine")
    return 2 * x


async def failing_coroutine() -> None:
    await asyncio.sleep(0)
    raise ValueError("in a coroutine")


# --- The worker itself


def variable(name: str) -> str | None:
    return os.environ.get(name)


def surroundings() -> dict[str, Any]:
    import __main__

    return {
        "argv": sys.argv,
        "path": sys.path,
        "ours": sorted(name for name in sys.modules if name.partition(".")[0] == "wetlands_rx"),
        "installed": [name for name in ("reactivex", "psutil", "numpy", "cloudpickle") if name in sys.modules],
        "main_thread": threading.current_thread() is threading.main_thread(),
        "stdin": sys.stdin.read(),
        "main": __main__.__name__,
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
    }


def python() -> tuple[int, ...]:
    return sys.version_info[:2]


def imports() -> list[str]:
    import hashlib
    import json
    import random
    import sqlite3

    import numpy as np

    return [module.__name__ for module in (hashlib, json, random, sqlite3, np)]


def read_stdin() -> str:
    return input()
