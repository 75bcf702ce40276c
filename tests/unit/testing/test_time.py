"""Waiting makes virtual time pass."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any

import pytest
import reactivex
from reactivex import abc
from reactivex.scheduler import VirtualTimeScheduler
from reactivex.testing import TestScheduler

from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.progress import BatchSnapshot
from wetlands_rx.task import RemoteTaskHandle, Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import FakeEnvironment

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
Steps = Generator[float | None, None, Any]


@pytest.fixture(params=[TestScheduler, VirtualTimeScheduler])
def clock(request: pytest.FixtureRequest) -> VirtualTimeScheduler:
    scheduler: VirtualTimeScheduler = request.param()
    return scheduler


@pytest.fixture
def env(clock: VirtualTimeScheduler) -> FakeEnvironment:
    env = FakeEnvironment(clock)

    @env.function("work.py")
    def rest(seconds: float) -> Steps:
        yield seconds
        return seconds

    @env.function("work.py")
    def endless(*, task: RemoteTaskHandle) -> Steps:
        yield
        task.cancel()

    @env.function("work.py")
    def polling(*, task: RemoteTaskHandle) -> Steps:
        while not task.cancel_requested:
            yield 1000

    env.launch(max_workers=2)
    return env


def at(env: FakeEnvironment, time: float, action: Callable[[], object]) -> None:
    """Do something when the clock shows this time."""

    def act(_scheduler: abc.SchedulerBase, _state: object) -> None:
        action()

    env.clock.schedule_absolute(time, act)


def rest(env: FakeEnvironment, seconds: float) -> Task[Any]:
    return env.submit("work.py", "rest", (seconds,))


# --- Blocking waits


Waiting = Callable[[FakeEnvironment], Any]

IN_TIME: list[Waiting] = [
    lambda env: rest(env, 10).wait_for().result,
    lambda env: rest(env, 10).wait_for(10).result,
    lambda env: rest(env, 10).future.result(),
    lambda env: rest(env, 10).future.result(10),
    lambda env: env.execute("work.py", "rest", (10,)),
    lambda env: next(env.map("work.py", "rest", [10])),
    lambda env: next(env.map("work.py", "rest", [10], ordered=False, timeout=10)),
    lambda env: env.map_tasks("work.py", "rest", [10]).wait_for(10)[0].result,
    lambda env: asyncio.run(awaited(rest(env, 10))),
]
TOO_LATE: list[Waiting] = [
    lambda env: rest(env, 10).wait_for(9),
    lambda env: rest(env, 10).future.result(9),
    lambda env: rest(env, 10).future.exception(9),
    lambda env: next(env.map("work.py", "rest", [10], timeout=9)),
    lambda env: next(env.map("work.py", "rest", [10], ordered=False, timeout=9)),
    lambda env: env.map_tasks("work.py", "rest", [5, 10]).wait_for(9),
]


@pytest.mark.parametrize("wait", IN_TIME)
def test_a_wait_lets_pass_the_time_that_it_takes(env: FakeEnvironment, wait: Waiting) -> None:
    rest(env, 50)
    assert wait(env) == 10
    assert env.clock.clock == 10


async def awaited(task: Task[Any]) -> Any:
    return await task


@pytest.mark.parametrize("wait", TOO_LATE)
def test_a_timeout_is_virtual(env: FakeEnvironment, wait: Waiting) -> None:
    with pytest.raises(TimeoutError):
        wait(env)
    assert env.clock.clock == 9


def test_a_failure_comes_out_of_each_wait(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def broken() -> Steps:
        yield 1
        raise ValueError("no")

    with pytest.raises(ExecutionException, match="no"):
        env.execute("work.py", "broken")
    assert isinstance(env.submit("work.py", "broken").future.exception(), ExecutionException)
    canceled = env.submit("work.py", "endless")
    canceled.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        canceled.future.result()


def test_results_come_as_the_tasks_end_or_in_order(env: FakeEnvironment) -> None:
    assert list(env.map("work.py", "rest", [30, 10, 10], ordered=False)) == [10, 10, 30]
    assert env.clock.clock == 30
    assert list(env.map("work.py", "rest", [30, 10, 10])) == [30, 10, 10]


def test_what_else_is_on_the_clock_happens_in_its_order(env: FakeEnvironment) -> None:
    log: list[Any] = []
    at(env, 5.0, lambda: log.append(5))
    at(env, 15.0, lambda: log.append(15))
    rest(env, 10).wait_for()
    assert log == [5]
    rest(env, 10).wait_for()
    assert log == [5, 15]


def test_a_wait_ends_when_an_action_on_the_clock_cancels_the_task(env: FakeEnvironment) -> None:
    task = env.submit("work.py", "endless")
    at(env, 7.0, task.cancel)
    at(env, 8.0, lambda: pytest.fail("the wait went on"))
    assert task.wait_for().status is CANCELED
    assert task.finished_at == 7


@pytest.mark.parametrize("function", ["endless", "polling"])
def test_a_wait_that_nothing_ends_is_refused(env: FakeEnvironment, function: str) -> None:
    with pytest.raises(RuntimeError, match="nothing on the clock ends this wait"):
        env.submit("work.py", function).wait_for()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_map_that_nothing_ends_is_refused(env: FakeEnvironment, ordered: bool) -> None:
    @env.function("work.py")
    def never(_: int) -> Steps:
        yield

    with pytest.raises(RuntimeError, match="nothing on the clock ends this wait"):
        next(env.map("work.py", "never", [1], ordered=ordered))


def test_a_wait_with_a_timeout_for_what_never_ends_is_over_in_time(env: FakeEnvironment) -> None:
    with pytest.raises(TimeoutError):
        env.submit("work.py", "endless").wait_for(60)
    assert env.clock.clock == 60


def test_a_listener_may_wait_for_another_task(env: FakeEnvironment) -> None:
    results: list[Any] = []

    def then(event: TaskEvent[Any]) -> None:
        if event.type is TaskEventType.COMPLETION:
            results.append(env.execute("work.py", "rest", (5,)))

    first = rest(env, 10).listen(then)
    other = rest(env, 20)
    first.wait_for()
    assert results == [5]
    assert env.clock.clock == 15
    assert other.wait_for().finished_at == 20


def test_a_wait_inside_an_action_of_a_clock_that_the_test_advances_is_refused(env: FakeEnvironment) -> None:
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(RuntimeError) as raised:
            rest(env, 5).wait_for()
        refused.append(str(raised.value))

    at(env, 3, wait)
    env.clock.advance_to(100.0)
    assert refused
    assert "inside of itself" in refused[0]


def test_a_wait_after_the_end_takes_no_time_anywhere(env: FakeEnvironment) -> None:
    task = rest(env, 5)
    env.clock.advance_to(9.0)
    at(env, 10.0, task.wait_for)
    env.clock.advance_to(20.0)
    assert task.wait_for().result == 5
    assert env.clock.clock == 20


def test_leaving_a_task_s_context_cancels_it_and_waits(env: FakeEnvironment) -> None:
    with env.submit("work.py", "endless") as task:
        env.clock.advance_to(3.0)
    assert task.status is CANCELED


def test_dropping_a_map_cancels_what_is_left(env: FakeEnvironment) -> None:
    results = env.map("work.py", "rest", [10, 10, 10, 10])
    assert next(results) == 10
    del results
    rest(env, 5).wait_for()
    assert [call.target for call in env.calls] == ["work.py:rest"] * 5
    assert env.clock.clock <= 25  # the fourth, which waited, took no worker


# --- asyncio


def test_coroutines_that_wait_share_the_time(env: FakeEnvironment) -> None:
    async def both() -> list[Any]:
        async def one(seconds: float) -> Any:
            return await rest(env, seconds)

        return list(await asyncio.gather(one(30), one(20)))

    assert asyncio.run(both()) == [30, 20]
    assert env.clock.clock == 30


def test_events_can_be_awaited(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def steps(*, task: RemoteTaskHandle) -> Steps:
        for step in range(3):
            yield 1
            task.update(current=step)

    async def followed() -> list[Any]:
        task = env.submit("work.py", "steps")
        return [(event.time, event.current) async for event in task]

    assert asyncio.run(followed()) == [(1, 0), (2, 1), (3, 2), (3, 2)]


def test_an_await_that_nothing_ends_is_refused(env: FakeEnvironment) -> None:
    with pytest.raises(RuntimeError, match="nothing on the clock ends this wait"):
        asyncio.run(awaited(env.submit("work.py", "endless")))


def test_an_await_may_be_ended_by_another_coroutine(env: FakeEnvironment) -> None:
    async def canceled() -> Task[Any]:
        async with env.submit("work.py", "endless") as task:
            asyncio.get_running_loop().call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
        return task

    assert asyncio.run(canceled()).status is CANCELED


# --- Time stamps


def test_time_stamps_are_those_of_the_clock(env: FakeEnvironment) -> None:
    env.clock.advance_to(3.0)
    task = rest(env, 4)
    env.clock.advance_to(5.0)
    assert (task.started_at, task.finished_at, task.elapsed) == (3, None, 2)
    task.wait_for()
    assert (task.started_at, task.finished_at, task.elapsed) == (3, 7, 4)


def test_a_task_that_starts_when_the_clock_shows_zero_has_started(env: FakeEnvironment) -> None:
    task = rest(env, 4)
    assert (task.started_at, task.elapsed) == (0, 0)


def test_streams_of_reactivex_share_the_clock(env: FakeEnvironment) -> None:
    ends: list[Any] = []

    def run(tick: int) -> None:
        rest(env, 1).listen(lambda event: ends.append((tick, event.time)))

    reactivex.interval(3.0, scheduler=env.clock).subscribe(run)
    env.clock.advance_to(8.0)
    assert ends == [(0, 4), (1, 7)]


def test_snapshots_of_a_batch_come_and_count_in_virtual_time(env: FakeEnvironment) -> None:
    told: list[tuple[float, BatchSnapshot]] = []

    def show(snapshot: BatchSnapshot) -> None:
        told.append((env.clock.to_seconds(env.clock.clock), snapshot))

    tasks = env.map_tasks("work.py", "rest", [10, 14, 20, 20])
    tasks.snapshots(5).subscribe(show)
    tasks.wait_for(100)
    times = [time for time, _ in told]
    assert times == [0, 10, 15, 30, 34]
    assert [snapshot.elapsed for _, snapshot in told] == times
    assert told[2][1].eta == 15 * 2 / 2
    assert str(told[-1][1]) == "4 of 4 done"
