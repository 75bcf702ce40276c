"""Operators over a fake environment, with the tools of reactivex.testing on the same clock."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import reactivex
from reactivex.testing import ReactiveTest, TestScheduler

from wetlands_rx.operators import exhaust_map_in, hedge, map_in, retry_on_worker_death, run_in, switch_map_in
from wetlands_rx.testing import FakeEnvironment

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed
Steps = Generator[float | None, None, Any]


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


@pytest.fixture
def env(clock: TestScheduler) -> FakeEnvironment:
    env = FakeEnvironment(clock)

    @env.function("segment.py")
    def segment(image: str) -> Steps:
        yield {"a": 30, "b": 10, "c": 10}[image]
        return image.upper()

    env.launch(max_workers=2)
    return env


@pytest.mark.parametrize(
    ("ordered", "expected"),
    [
        (False, [on_next(30, "B"), on_next(40, "C"), on_next(50, "A"), on_completed(50)]),
        (True, [on_next(50, "A"), on_next(50, "B"), on_next(50, "C"), on_completed(50)]),
    ],
)
def test_map_in_on_two_workers(env: FakeEnvironment, clock: TestScheduler, ordered: bool, expected: list[Any]) -> None:
    seen = clock.create_observer()
    images = clock.create_cold_observable(on_next(20, "a"), on_next(20, "b"), on_next(20, "c"), on_completed(20))
    images.pipe(map_in(env, "segment.py", "segment", ordered=ordered)).subscribe(seen)
    clock.advance_to(100)
    assert seen.messages == expected


def test_switch_map_in_runs_the_newest_input(env: FakeEnvironment, clock: TestScheduler) -> None:
    seen = clock.create_observer()
    slider = reactivex.hot("-a-b--c-|", timespan=5.0, scheduler=clock)
    slider.pipe(switch_map_in(env, "segment.py", "segment")).subscribe(seen)
    clock.advance_to(100)
    assert seen.messages == [on_next(25, "B"), on_next(40, "C"), on_completed(40)]
    assert [call.args for call in env.calls] == [("a",), ("b",), ("c",)]


def test_exhaust_map_in_leaves_out_what_comes_meanwhile(env: FakeEnvironment, clock: TestScheduler) -> None:
    seen = clock.create_observer()
    slider = reactivex.hot("-a-b-----c|", timespan=5.0, scheduler=clock)
    slider.pipe(exhaust_map_in(env, "segment.py", "segment")).subscribe(seen)
    clock.advance_to(100)
    assert seen.messages == [on_next(35, "A"), on_next(55, "C"), on_completed(55)]


def test_a_run_whose_worker_dies_is_begun_anew(env: FakeEnvironment, clock: TestScheduler) -> None:
    seen = clock.create_observer()
    run_in(env, "segment.py", "segment", "a").pipe(retry_on_worker_death(1)).subscribe(seen)
    clock.advance_to(5)
    env.worker(0).kill()
    clock.advance_to(100)
    assert seen.messages == [on_next(35, "A"), on_completed(35)]


def test_a_straggler_is_hedged(env: FakeEnvironment, clock: TestScheduler) -> None:
    durations = iter([1000, 10])

    @env.function("segment.py")
    def uneven() -> Steps:
        yield next(durations)
        return "done"

    seen = clock.create_observer()
    run_in(env, "segment.py", "uneven").pipe(hedge(50, scheduler=clock)).subscribe(seen)
    clock.advance_to(100)
    assert seen.messages == [on_next(60, "done"), on_completed(60)]
