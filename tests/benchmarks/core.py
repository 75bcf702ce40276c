"""What a task and its listeners cost: without a worker, and with one that floods."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import reactivex

from tests.benchmarks import jobs
from wetlands_rx._task.lifecycle import Dispatched
from wetlands_rx._wire.messages import Finished
from wetlands_rx._worker.runtime import Runtime
from wetlands_rx.environment import Environment
from wetlands_rx.operators import concat_map_eager, merge_map
from wetlands_rx.task import Task, TaskEvent, TaskEventType
from wetlands_rx.testing import WORKER, FakeRunner

JOBS = Path(jobs.__file__)
TASKS = 20_000
UPDATES = 100_000


@contextmanager
def fake_runner() -> Generator[FakeRunner, None, None]:
    """Real delivery threads, no worker."""
    runtime = Runtime()
    yield FakeRunner(runtime.delivery)
    runtime.delivery.close(5.0)
    runtime.supervisor.close()


def new_task(runner: FakeRunner) -> Task[Any]:
    return Task(runner, "file.py:function", lambda _number: [])


def creation(runner: FakeRunner) -> float:
    """Microseconds for a task that nobody listens to; all are kept, as in a burst."""
    gc.collect()
    before = time.perf_counter()
    tasks = [new_task(runner) for _ in range(TASKS)]
    elapsed = time.perf_counter() - before
    return elapsed / len(tasks) * 1e6


def memory(runner: FakeRunner) -> float:
    """Bytes for a task that nobody listens to, by tracemalloc."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks = [new_task(runner) for _ in range(5_000)]
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / len(tasks)


def life(runner: FakeRunner, listen: Callable[[Task[Any], Callable[[Any], None]], object] | None) -> float:
    """Microseconds for a task from its making to its end, with what it tells its listener."""
    heard: list[Any] = []
    gc.collect()
    before = time.perf_counter()
    tasks: list[Task[Any]] = []
    for _ in range(TASKS):
        task = runner.task(start=False)
        if listen is not None:
            listen(task, heard.append)
        task.start()
        post = runner.call(task).post
        post(Dispatched(WORKER))
        post(Finished(1, None))
        tasks.append(task)
    for task in tasks:
        task.wait_for()
    return (time.perf_counter() - before) / TASKS * 1e6


def without_worker() -> dict[str, Callable[[], float]]:
    """Each with a runner of its own."""

    def on(measure: Callable[[FakeRunner], float]) -> Callable[[], float]:
        def run() -> float:
            with fake_runner() as runner:
                return measure(runner)

        return run

    return {
        "make a task": on(creation),
        "life of a task": on(partial(life, listen=None)),
        "life of a task, one listener": on(partial(life, listen=Task[Any].listen)),
        "life of a task, one subscriber": on(partial(life, listen=Task[Any].subscribe)),
        "bytes of a task": on(memory),
    }


def updates(env: Environment) -> float:
    """Updates a second from a worker to one listener, complete and in order."""
    events: list[TaskEvent[Any]] = []
    before = time.perf_counter()
    task = env.submit(JOBS, "report", (UPDATES,), start=False)
    task.listen(events.append).start().wait_for()
    elapsed = time.perf_counter() - before
    told = [event.current for event in events if event.type is TaskEventType.UPDATE]
    if told != list(range(UPDATES)) or task.dropped_updates:
        raise AssertionError(f"{len(told)} of {UPDATES} updates were told, {task.dropped_updates} dropped")
    return UPDATES / elapsed


def linear(operator: Callable[..., Any]) -> float:
    """How many times longer 100,000 items take than 10,000."""

    def run(count: int) -> float:
        before = time.perf_counter()
        reactivex.from_iterable(range(count)).pipe(operator(reactivex.just, max_concurrent=4)).run()
        return time.perf_counter() - before

    run(10_000)
    return run(100_000) / run(10_000)


def operators() -> dict[str, Callable[[], float]]:
    return {
        "merge_map, t(100k) / t(10k)": partial(linear, merge_map),
        "concat_map_eager, t(100k) / t(10k)": partial(linear, concat_map_eager),
    }
