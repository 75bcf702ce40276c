"""What the workers of `test_fake_environment.py` run; those functions that take no time run in the fake as well."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NoReturn


def double(item: Any) -> Any:
    return item * 2


def invert(item: float) -> float:
    return 1 / item


def arguments(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def report(*, task: Any) -> str:
    task.update("first", current=0, maximum=2)
    task.set_output("half", [1, 2])
    task.update(current=1)
    task.update("last", current=2)
    return "reported"


def go_through(items: list[int], *, task: Any) -> int:
    return sum(task.track(items))


def unsendable() -> Callable[[], int]:
    return lambda: 1


def bad_progress(*, task: Any) -> None:
    task.update(current="many")


def bad_output(*, task: Any) -> None:
    task.set_output("function", unsendable())


def refuse() -> NoReturn:
    raise ValueError("not here")


class Unloadable:
    def __reduce__(self) -> Any:
        return refuse, ()


def acknowledge_and_fail(*, task: Any) -> None:
    task.cancel()
    raise ValueError("never mind")


# --- What takes time: in the fake, a generator stands for it


def until_canceled(*, task: Any) -> None:
    task.update("ready")
    while not task.cancel_requested:
        time.sleep(0.001)
    task.cancel()


def ignore_cancel(*, task: Any) -> str:
    task.update("ready")
    while not task.cancel_requested:
        time.sleep(0.001)
    return "anyway"


def forever(_item: Any = None, *, task: Any) -> None:
    task.update("ready")
    while True:
        time.sleep(0.01)


def rest(hundredths: int) -> int:
    time.sleep(hundredths / 100)
    return hundredths


def die(code: int) -> None:
    os._exit(code)
