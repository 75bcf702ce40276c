"""Read by the type checkers, never run: the type of a result goes with its task, whatever form the task takes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from reactivex import Observable
from reactivex import operators as ops

from wetlands_rx import ExecutionException, RemoteTaskHandle, Task, TaskEvent, TaskEventType, TaskList, TaskStatus
from wetlands_rx.environment import MapIterator
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.progress import BatchSnapshot, TaskSnapshot, snapshots

Image = NDArray[np.float64]


def submitted_work_takes_the_type_it_is_given(env: ExternalEnvironment, image: Image) -> Image:
    task: Task[Image] = env.submit("segment.py", "segment", args=(image,))
    assert_type(task.start(), Task[Image])
    assert_type(task.wait_for(timeout=1.5), Task[Image])
    return task.wait_for().result


def what_environments_return(env: ExternalEnvironment) -> None:
    assert_type(env.submit("segment.py", "segment"), Task[Any])
    assert_type(env.submit(is_done, args=(1,)), Task[bool])
    assert_type(env.submit_script("train.py", ("--fast",)), Task[None])
    assert_type(env.map("segment.py", "segment", range(3), ordered=False), MapIterator[Any])
    assert_type(env.map(doubled, range(3)), MapIterator[int])
    assert_type(env.map(later, range(3)), MapIterator[int])
    assert_type(env.map(lambda number: str(number + 1), range(3)), MapIterator[str])
    assert_type(env.map(later, range(3), on_error="return"), MapIterator[int | Exception])
    assert_type(env.map(doubled, range(3), on_error="return"), MapIterator[int | Exception])
    as_iterator: Iterator[Any] = env.map("segment.py", "segment", range(3), buffersize=2, chunksize=4, on_error="skip")
    del as_iterator
    assert_type(env.map_tasks("segment.py", "segment", range(3)), TaskList[Any])
    assert_type(env.map_tasks(doubled, range(3)), TaskList[int])
    assert_type(env.map_tasks(later, range(3)), TaskList[int])
    assert_type(env.execute("segment.py", "segment"), Any)
    assert_type(env.execute(doubled, args=(3,)), int)
    assert_type(env.execute(later, args=(3,)), int)
    as_specified: list[Task[Any]] = env.map_tasks("segment.py", "segment", range(3))
    assert_type(as_specified[0].status, TaskStatus)


def functions_themselves(env: ExternalEnvironment, offset: int) -> None:
    def closure(number: int, *, task: RemoteTaskHandle) -> int:
        task.update("adds")
        return number + offset

    assert_type(env.submit(lambda: offset + 1), Task[int])
    assert_type(env.submit(closure, args=(1,)), Task[int])
    assert_type(env.submit(partial(doubled, 3)), Task[int])
    assert_type(env.submit(math.sqrt, args=(4,)), Task[float])
    assert_type(env.submit(str(offset).upper), Task[str])
    assert_type(env.submit(later, args=(1,)), Task[int])


def state_of_a_task(task: Task[int]) -> None:
    assert_type(task.result, int)
    assert_type(task.progress, float | None)
    assert_type(task.traceback, list[str] | None)
    assert_type(task.exception, ExecutionException | None)
    assert_type(task.outputs, dict[str, Any])
    message: str | None = task.error
    del message


def as_a_future(task: Task[int]) -> int:
    future: Future[int] = task.future
    return future.result(timeout=10)


async def awaited(task: Task[int]) -> int:
    assert_type(await task, int)
    async with task as entered:
        assert_type(entered, Task[int])
    events: AsyncIterator[TaskEvent[int]] = task.events()
    async for event in events:
        assert_type(event.task, Task[int])
        assert_type(event.type, TaskEventType)
    return await task


def as_a_context(task: Task[int]) -> None:
    with task as entered:
        assert_type(entered.wait_for().result, int)


def as_a_stream(task: Task[int]) -> Observable[int]:
    source: Observable[TaskEvent[int]] = task
    source.subscribe(on_next=heard)
    done: Observable[TaskEvent[int]] = task.pipe(ops.filter(is_done))
    results: Observable[int] = task.pipe(ops.filter(is_done), ops.map(result_of))
    assert_type(done.pipe(ops.map(result_of)), Observable[int])
    return results


def listened_to(task: Task[int]) -> None:
    assert_type(task.listen(heard), Task[int])
    task.remove_listener(heard)


def as_a_batch(tasks: TaskList[int]) -> Observable[int]:
    assert_type(tasks[0], Task[int])
    assert_type(tasks[1:], TaskList[int])
    assert_type(tasks.wait_for(timeout=1.5), TaskList[int])
    assert_type(tasks.results(), Iterator[int])
    assert_type(tasks.results(ordered=False, timeout=1.5), Iterator[int])
    assert_type(tasks.events, Observable[TaskEvent[int]])
    assert_type(tasks.snapshots(), Observable[BatchSnapshot])
    assert_type(tasks.snapshots(0.5).pipe(ops.map(share_of)), Observable[float])
    assert_type(snapshots(tasks, tasks[0], period=0.5), Observable[BatchSnapshot])
    return tasks.events.pipe(ops.filter(is_done), ops.map(result_of))


async def awaited_as_a_batch(tasks: TaskList[int]) -> list[int]:
    assert_type(await tasks, list[int])
    return await tasks


def modules(env: ExternalEnvironment) -> None:
    assert_type(env.submit_module("segment.py").segment(1, two=2), Task[Any])
    assert_type(env.import_module("segment.py").segment(1, two=2), Any)


def share_of(snapshot: BatchSnapshot) -> float:
    assert_type(snapshot.running_tasks, tuple[TaskSnapshot, ...])
    assert_type(snapshot.eta, float | None)
    return snapshot.progress


def doubled(number: int) -> int:
    return 2 * number


async def later(number: int) -> int:
    return 2 * number


def is_done(event: TaskEvent[int]) -> bool:
    return event.type is TaskEventType.COMPLETION


def result_of(event: TaskEvent[int]) -> int:
    return event.task.result


def heard(event: TaskEvent[int]) -> None:
    assert_type(event.message, str | None)
