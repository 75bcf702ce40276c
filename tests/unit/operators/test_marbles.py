"""The marble diagrams of operators that have no clock of their own, in virtual time: when comes what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.testing import ReactiveTest, TestScheduler

from tests.unit.operators.by_hand import FILE, ByHand, at, seen, work
from wetlands_rx._operators.delivery import Door, Work
from wetlands_rx._operators.paced import open_source
from wetlands_rx.operators import (
    Place,
    buffer_bounded,
    deliver_on,
    exhaust_map_in,
    failures,
    fallback_to,
    map_in,
    outputs,
    progress,
    results,
    retry_on_worker_death,
    run_in,
    serialize,
    switch_map_in,
    terminal,
    updates,
)
from wetlands_rx.task import Task, TaskEvent
from wetlands_rx.testing import FakeRunner

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error
Told = list[tuple[float, str]]
View = Callable[[Observable[TaskEvent[Any]]], Observable[Any]]


def of_type(view: View) -> View:
    return lambda source: view(source).pipe(ops.map(lambda event: event.type.value))


def in_words(view: View) -> View:
    return lambda source: view(source).pipe(ops.map(lambda error: error.error))


def watched(view: View, end: Callable[[FakeRunner, Task[Any]], None]) -> Told:
    """What a view tells of a task: started at 210, updates at 220 and 240, an output at 230, the end at 250."""
    clock, runner = TestScheduler(), FakeRunner()
    task = runner.task()
    at(clock, 210, lambda: runner.dispatch(task))
    at(clock, 220, lambda: runner.update(task, current=1, maximum=4))
    at(clock, 230, lambda: runner.set_output(task, "mask", "M"))
    at(clock, 240, lambda: runner.update(task, current=2, maximum=4))
    at(clock, 250, lambda: end(runner, task))
    return seen(clock.start(lambda: task.pipe(view)))


def completed(runner: FakeRunner, task: Task[Any]) -> None:
    runner.finish(task, "R")


def failed(runner: FakeRunner, task: Task[Any]) -> None:
    runner.fail(task, "ValueError: no")


@pytest.mark.parametrize(
    ("view", "end", "told"),
    [
        (of_type(updates()), completed, [(220, "update"), (230, "update"), (240, "update"), (250, "|")]),
        (of_type(terminal()), completed, [(250, "completion"), (250, "|")]),
        (of_type(terminal()), failed, [(250, "failure"), (250, "|")]),
        (progress(), completed, [(220, "0.25"), (240, "0.5"), (250, "1.0"), (250, "|")]),
        (outputs("mask"), completed, [(230, "M"), (250, "|")]),
        (results(), completed, [(250, "R"), (250, "|")]),
        (results(), failed, [(250, "# ExecutionException")]),
        (in_words(failures()), failed, [(250, "ValueError: no"), (250, "|")]),
    ],
    ids=["updates", "terminal", "terminal-failed", "progress", "outputs", "results", "results-failed", "failures"],
)
def test_a_view_of_a_task(view: View, end: Callable[[FakeRunner, Task[Any]], None], told: Told) -> None:
    assert watched(view, end) == told


class Lab:
    """An environment whose tasks end at the virtual times that the test says."""

    def __init__(self) -> None:
        self.clock = TestScheduler()
        self.env = ByHand()

    def items(self, **times: int) -> Observable[str]:
        *begin, end = times.items()
        return self.clock.create_hot_observable(*(on_next(time, item) for item, time in begin), on_completed(end[1]))

    def at(self, time: float, action: Callable[[], object]) -> None:
        at(self.clock, time, action)

    def told(self, make: Callable[[], Observable[Any]]) -> Told:
        for time in range(201, 1000):
            at(self.clock, time, self.env.deliver)  # the delivery thread has its turn at each tick
        return seen(self.clock.start(make))


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize(
    ("ordered", "told"),
    [
        (True, [(260, "A"), (260, "B"), (260, "C"), (300, "|")]),
        (False, [(240, "B"), (250, "C"), (260, "A"), (300, "|")]),
    ],
    ids=["in order", "as they end"],
)
def test_map_in(lab: Lab, ordered: bool, told: Told) -> None:
    items = lab.items(a=210, b=220, c=230, end=300)
    for time, place, result in ((240, 1, "B"), (250, 2, "C"), (260, 0, "A")):
        lab.at(time, partial(lab.env.finish, place, result))
    assert lab.told(lambda: items.pipe(map_in(lab.env, FILE, "work", ordered=ordered))) == told


def test_switch_map_in(lab: Lab) -> None:
    items = lab.items(a=210, b=260, c=270, end=400)
    for time, place, result in ((240, 0, "A"), (300, 2, "C")):
        lab.at(time, partial(lab.env.finish, place, result))
    assert lab.told(lambda: items.pipe(switch_map_in(lab.env, FILE, "work"))) == [(240, "A"), (300, "C"), (400, "|")]
    assert lab.env.states == ["completed", "canceled", "completed"]


def test_exhaust_map_in(lab: Lab) -> None:
    items = lab.items(a=210, b=220, c=260, end=400)
    for time, place, result in ((240, 0, "A"), (300, 1, "C")):
        lab.at(time, partial(lab.env.finish, place, result))
    assert lab.told(lambda: items.pipe(exhaust_map_in(lab.env, FILE, "work"))) == [(240, "A"), (300, "C"), (400, "|")]
    assert lab.env.items == ["a", "c"]


def test_retry_on_worker_death(lab: Lab) -> None:
    lab.at(240, lambda: lab.env.kill(0))
    lab.at(280, lambda: lab.env.finish(1, "R"))
    told = lab.told(lambda: run_in(lab.env, work, "a").pipe(retry_on_worker_death(1)))
    assert told == [(280, "R"), (280, "|")]


def test_fallback_to(lab: Lab) -> None:
    other = ByHand()
    lab.at(240, lambda: lab.env.fail(0))
    lab.at(280, lambda: other.finish(0, "R"))
    assert lab.told(lambda: run_in(lab.env, work, "a").pipe(fallback_to(other))) == [(280, "R"), (280, "|")]


def test_serialize(lab: Lab) -> None:
    lines = [lab.clock.create_hot_observable(on_next(210, "a"), on_next(230, "c"), on_completed(240))]
    lines.append(lab.clock.create_hot_observable(on_next(220, "b"), on_next(250, "d")))

    def subscribe(observer: Any, _scheduler: object) -> Any:
        for line in lines:
            line.subscribe(observer.on_next, observer.on_error, observer.on_completed)

    both: Observable[str] = Observable(subscribe)
    told = lab.told(lambda: both.pipe(serialize()))
    assert told == [(210, "a"), (220, "b"), (230, "c"), (240, "|")]


class Turns(Place, Door):
    """A place that does its work when the test says."""

    def open(self, work: Work) -> Door:
        self.work = work
        return self

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_deliver_on(lab: Lab) -> None:
    place = Turns()
    for time in (230, 260, 300):
        lab.at(time, lambda: place.work(float("inf")))
    told = lab.told(lambda: lab.items(a=210, b=220, c=250, end=280).pipe(deliver_on(place)))
    assert told == [(230, "a"), (230, "b"), (260, "c"), (300, "|")]


def test_buffer_bounded(lab: Lab) -> None:
    consumer = lab.clock.create_observer()
    items = lab.items(a=210, b=220, c=230, d=240, e=250, f=260, end=300)
    flow = open_source(items.pipe(buffer_bounded(2, "drop_oldest")), consumer, None)
    for time in (205, 270, 290, 310):
        lab.at(time, lambda: flow.request(1))
    lab.clock.start()
    assert seen(consumer) == [(210, "a"), (270, "e"), (290, "f"), (300, "|")]
