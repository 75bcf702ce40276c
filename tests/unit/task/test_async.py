"""A task in coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import FakeRunner

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


def running(runner: FakeRunner) -> Task[Any]:
    task = runner.task()
    runner.dispatch(task)
    return task


async def turns(count: int = 5) -> None:
    """Let everything that is ready have its turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def waiting(awaitable: Task[Any]) -> asyncio.Task[Any]:
    """A coroutine that is at its `await`."""

    async def wait() -> Any:
        return await awaitable

    waiter = asyncio.create_task(wait())
    await turns()
    return waiter


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("listened", [False, True])
def test_awaiting_gives_the_result(runner: FakeRunner, *, late: bool, listened: bool) -> None:
    async def main() -> None:
        task = running(runner)
        if listened:
            task.listen(lambda _event: None)
        if late:
            runner.finish(task, 42)
        waiter = await waiting(task)
        assert waiter.done() is late
        if not late:
            runner.finish(task, 42)
        assert await waiter == 42
        assert await task == 42

    asyncio.run(main())


def test_awaiting_raises_what_the_task_failed_with(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        waiter = await waiting(task)
        runner.fail(task, "ValueError: no")
        with pytest.raises(ExecutionException) as raised:
            await waiter
        assert raised.value is task.exception

    asyncio.run(main())


def test_awaiting_a_canceled_task_raises_canceled_error(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)

        async def wait() -> str:
            try:
                await task
            except asyncio.CancelledError:
                return "canceled"
            return "not"

        waiter = asyncio.create_task(wait())
        await turns()
        runner.acknowledge(task)
        assert await waiter == "canceled"

    asyncio.run(main())


def test_a_wait_that_takes_too_long_leaves_the_task_alone(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.001)
        assert (task.status, runner.asked) == (RUNNING, [])
        runner.finish(task, 42)
        assert await task == 42

    asyncio.run(main())


def test_canceling_one_coroutine_leaves_the_others_waiting(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        first, second = await waiting(task), await waiting(task)
        first.cancel()
        await turns()
        assert (first.cancelled(), runner.asked) == (True, [])
        runner.finish(task, 42)
        assert await second == 42

    asyncio.run(main())


def test_many_tasks_can_be_gathered(runner: FakeRunner) -> None:
    async def main() -> None:
        tasks = [running(runner) for _ in range(3)]
        gathered = asyncio.gather(*tasks)
        await turns()
        for number, task in reversed(list(enumerate(tasks))):
            runner.finish(task, number)
        assert await gathered == [0, 1, 2]

    asyncio.run(main())


def test_a_loop_that_was_closed_meanwhile_harms_nobody(runner: FakeRunner) -> None:
    task = running(runner)
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(as_coroutine(task))
    iterator = collect(task.events())
    events = loop.create_task(iterator)
    loop.run_until_complete(turns())
    waiter.cancel()
    events.cancel()
    loop.run_until_complete(turns())
    loop.close()
    runner.update(task, "nobody hears")
    runner.finish(task, 42)
    assert task.wait_for(0).result == 42


def test_a_loop_that_is_closed_while_a_coroutine_waits_harms_nobody(runner: FakeRunner) -> None:
    task = running(runner)
    loop = asyncio.new_event_loop()
    coroutine = as_coroutine(task)

    async def begin() -> None:
        waiter = asyncio.ensure_future(coroutine)
        await turns()
        waiter.cancel()  # so that no pending asyncio task is reported; its waker is still registered

    loop.run_until_complete(begin())
    loop.close()
    runner.finish(task, 42)
    assert task.status is COMPLETED


async def as_coroutine(task: Task[Any]) -> Any:
    return await task


async def collect(events: AsyncIterator[TaskEvent[Any]]) -> list[TaskEventType]:
    return [event.type async for event in events]


# --- The events


@pytest.mark.parametrize("iterate", [Task[Any].events, aiter])
def test_events_are_iterated_to_the_terminal_one(
    runner: FakeRunner, iterate: Callable[[Task[Any]], AsyncIterator[TaskEvent[Any]]]
) -> None:
    async def main() -> None:
        task = runner.task()
        heard = asyncio.create_task(collect(iterate(task)))
        await turns()
        runner.dispatch(task)
        runner.update(task, current=1)
        await turns()
        runner.update(task, current=2)
        runner.finish(task)
        assert await heard == [STARTED, UPDATE, UPDATE, COMPLETION]

    asyncio.run(main())


def test_events_are_kept_from_the_moment_they_were_asked_for(runner: FakeRunner) -> None:
    async def main() -> None:
        task = runner.task()
        events = task.events()
        runner.dispatch(task)
        runner.finish(task)
        assert await collect(events) == [STARTED, COMPLETION]

    asyncio.run(main())


def test_the_events_of_an_ended_task_are_its_last_one(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        runner.fail(task)
        assert await collect(task.events()) == [FAILURE]

    asyncio.run(main())


def test_events_carry_their_own_values(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        events = task.events()
        for current in (1, 2, 3):
            runner.update(task, current=current)
        runner.finish(task)
        assert [event.current async for event in events] == [1, 2, 3, 3]

    asyncio.run(main())


def test_leaving_the_loop_early_unsubscribes_and_lets_the_task_run(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        events: Any = task.events()
        runner.update(task)
        async for _ in events:
            break
        await events.aclose()
        runner.update(task)
        assert [event async for event in events] == []
        assert (task.status, runner.asked) == (RUNNING, [])

    asyncio.run(main())


def test_an_iteration_that_was_canceled_has_ended(runner: FakeRunner) -> None:
    """As an async generator: the next look must not wait for events that nobody keeps."""

    async def main() -> None:
        task = running(runner)
        events = task.events()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.001)
        runner.update(task)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(events), 10)

    asyncio.run(main())


# --- async with


def test_an_async_with_block_starts_and_cancels_and_awaits(runner: FakeRunner) -> None:
    async def main() -> None:
        task = runner.task(start=False)
        async with task as entered:
            assert entered is task
            assert len(runner.started) == 1
        assert task.status is CANCELED

    asyncio.run(main())


def test_an_async_with_block_waits_for_the_answer_of_a_running_task_and_leaves_quietly(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        left = asyncio.Event()

        async def block() -> None:
            async with task:
                pass
            left.set()

        waiter = asyncio.create_task(block())
        await turns()
        assert runner.asked == [runner.call(task)]
        assert not left.is_set()
        runner.acknowledge(task)
        await asyncio.wait_for(waiter, 10)
        assert left.is_set()

    asyncio.run(main())


def test_an_async_with_block_lets_an_ended_task_be(runner: FakeRunner) -> None:
    async def main() -> None:
        task = running(runner)
        async with task:
            runner.finish(task, 42)
        assert (await task, runner.asked) == (42, [])

    asyncio.run(main())


def test_an_async_with_block_passes_its_own_exception_on(runner: FakeRunner) -> None:
    async def main() -> None:
        task = runner.task()
        with pytest.raises(ZeroDivisionError):
            async with task:
                _ = 1 / 0
        assert task.status is CANCELED

    asyncio.run(main())
