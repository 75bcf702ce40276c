"""Makes functions that no worker could find by a name."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from tests.integration.callables import helper
from tests.integration.callables.helper import scaled


def make(offset: int) -> Callable[[int], int]:
    def work(x: int) -> int:
        return scaled(x) + offset

    return work


def make_lambda(offset: int) -> Callable[[int], int]:
    return lambda x: helper.scaled(x) + offset


def make_async() -> Callable[[int], Any]:
    async def later(x: int) -> int:
        return 2 * x

    return later


def make_failing(text: str) -> Callable[[], None]:
    def fails() -> None:
        raise ValueError(text)  # this line is shown

    return fails


def make_with_news() -> Callable[..., Any]:
    def with_news(x: int, *, task: Any) -> int:
        task.update(message="half way", current=1, maximum=2)
        task.set_output("square", x * x)
        print("printed", x)
        return x

    return with_news


def make_until_canceled() -> Callable[..., Any]:
    def until_canceled(*, task: Any) -> None:
        task.update(message="runs")
        while not task.cancel_requested:
            pass
        task.cancel()

    return until_canceled


def make_counting() -> Callable[..., int]:
    state = {"calls": 0}

    def counting(*_: Any) -> int:
        state["calls"] += 1
        return state["calls"]

    return counting


def make_large(size: int) -> Callable[..., int]:
    data, state = b"x" * size, {"calls": 0}

    def large(*_: Any) -> int:
        state["calls"] += 1
        return len(data) + state["calls"]

    return large


added = functools.partial(pow, 2)


class Unloadable:
    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise LookupError("not here")


def make_unloadable() -> Callable[[int], Any]:
    thing = Unloadable()

    def holds(_: int) -> Any:
        return thing

    return holds


def make_unsendable(kind: type[int]) -> Callable[[int], Any]:
    lock = threading.Lock()
    return lambda x: (lock, kind(x))
