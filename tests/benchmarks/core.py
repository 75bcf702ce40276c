"""What a task and its listeners cost: without a worker, and with one that floods."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import reactivex

from tests.benchmarks.measure import OURS, Comparison, at_least
from tests.benchmarks.systems import JOBS, Systems
from wetlands_rx._task.lifecycle import Dispatched
from wetlands_rx._wire.messages import Finished
from wetlands_rx._worker.runtime import Runtime
from wetlands_rx.environment import Environment
from wetlands_rx.operators import concat_map_eager, merge_map
from wetlands_rx.task import Task, TaskEvent, TaskEventType
from wetlands_rx.testing import WORKER, FakeRunner

TASKS = 20_000
UPDATES = 100_000
BEST_PEER_UPDATES = 91_000
"""A second: Wetlands 1.1.6, measured on another day on a machine of this kind."""


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


def without_worker() -> Iterator[Comparison]:
    """Each with a runner of its own."""

    def on(measure: Callable[[FakeRunner], float]) -> Callable[[], float]:
        def run() -> float:
            with fake_runner() as runner:
                return measure(runner)

        return run

    for work, unit, measure in (
        ("make a task, without a worker", "us", creation),
        ("life of a task, without a worker", "us", partial(life, listen=None)),
        ("the same, one listener", "us", partial(life, listen=Task[Any].listen)),
        ("the same, one subscriber", "us", partial(life, listen=Task[Any].subscribe)),
        ("memory of a task, by tracemalloc", "bytes", memory),
    ):
        yield Comparison(work, unit, {OURS: on(measure)}, digits=1)


def flood(on: Systems) -> Comparison:
    """The peer's figure is of another run: it cannot be installed from the package index alone."""
    return Comparison(
        f"{UPDATES:,} updates to one listener, complete and in order",
        "updates/s",
        {OURS: lambda: updates(on.ours)},
        (at_least(1.5 * BEST_PEER_UPDATES),),
    )


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


def operators() -> Iterator[Comparison]:
    for name, operator in (("merge_map", merge_map), ("concat_map_eager", concat_map_eager)):
        yield Comparison(f"{name}, t(100,000) / t(10,000)", "", {OURS: partial(linear, operator)}, digits=1)
