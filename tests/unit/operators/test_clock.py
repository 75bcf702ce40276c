"""Timers that are not wanted any more, while the clock that would have rung goes on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from reactivex import Observable
from reactivex.subject import Subject

from wetlands_rx._operators.turns import DeliveryTurns
from wetlands_rx._worker import runtime
from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.operators import conflate, hedge, retry_task, timeout_total

HOUR = 3600.0

Operator = Callable[[Observable[Any]], Observable[Any]]


class Keeper:
    """An observer with something large."""

    def on_next(self, value: Any) -> None:
        pass

    def on_error(self, error: Exception) -> None:
        pass

    def on_completed(self) -> None:
        pass


@pytest.fixture(autouse=True)
def clock_that_goes_on() -> Iterator[None]:
    """Somebody else uses the library's clock, so that what it holds stays."""
    runtime.acquire()
    yield
    runtime.release()


def turns_in_memory() -> int:
    gc.collect()
    return sum(isinstance(thing, DeliveryTurns) for thing in gc.get_objects())


def failure() -> ExecutionException:
    return ExecutionException("ValueError: no")


retrying: Operator = retry_task(3, HOUR)
each = pytest.mark.parametrize(
    "operator",
    [hedge(HOUR), timeout_total(HOUR), conflate(HOUR), retrying],
    ids=["hedge", "timeout_total", "conflate", "retry_task"],
)


def subscribed(operator: Operator, source: Subject[int]) -> tuple[weakref.ref[Keeper], Any]:
    keeper = Keeper()
    flow = source.pipe(operator).subscribe(keeper.on_next, keeper.on_error, keeper.on_completed)
    return weakref.ref(keeper), flow


@each
def test_disposing_lets_go_of_all_that_waited_for_the_clock(operator: Operator) -> None:
    before = turns_in_memory()
    source = Subject[int]()
    keeper, flow = subscribed(operator, source)
    source.on_next(1)
    if operator is retrying:
        source.on_error(failure())
    flow.dispose()
    del flow
    assert turns_in_memory() == before
    assert keeper() is None


@each
def test_the_end_lets_go_of_all_that_waited_for_the_clock(operator: Operator) -> None:
    before = turns_in_memory()
    source = Subject[int]()
    keeper, _ = subscribed(operator, source)
    source.on_next(1)
    source.on_completed()
    del _
    assert turns_in_memory() == before
    assert keeper() is None
