"""Batches on real workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx.exceptions import ExecutionException, NotLaunchedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.internal_environment import InternalEnvironment
from wetlands_rx.progress import BatchSnapshot, snapshots
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

SOON = 30.0
JOBS = """
import os, time

LIMIT = 3

def double(number):
    return 2 * number

async def later(number):
    return number

def reciprocal(number):
    return 1 / number

def who():
    return os.getpid()

def steps(number, *, task):
    for step in range(1, 6):
        task.update(current=step, maximum=5)
    return number

def until(flag, *, task):
    task.update("waiting", current=1, maximum=2)
    while not os.path.exists(flag) and not task.cancel_requested:
        time.sleep(0.001)
    task.raise_if_canceled()
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.py"
    file.write_text(JOBS)
    return file


@pytest.fixture
def env(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch(max_workers=2)
    return here


# --- Modules whose functions return tasks


def test_functions_of_a_submitted_module_run_there_as_tasks(env: ExternalEnvironment, jobs: Path) -> None:
    module = env.submit_module(jobs)
    task: Task[Any] = module.double(number=21)
    assert task.wait_for(SOON).result == 42
    assert task.name == "jobs.py:double"
    assert module.later(7).wait_for(SOON).result == 7
    assert module.who().wait_for(SOON).result != os.getpid()
    with pytest.raises(ExecutionException, match="ZeroDivisionError"):
        module.reciprocal(0).wait_for(SOON)


def test_a_submitted_module_does_not_wait_for_its_functions(
    env: ExternalEnvironment, jobs: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    task = env.submit_module(jobs).until(str(flag))
    assert not task.status.is_finished()
    flag.touch()
    assert task.wait_for(SOON).status is TaskStatus.COMPLETED


def test_a_submitted_module_knows_what_its_file_has(env: ExternalEnvironment, jobs: Path) -> None:
    module = env.submit_module(jobs)
    assert dir(module) == ["double", "later", "reciprocal", "steps", "until", "who"]
    assert repr(module) == "<TaskModule jobs.py in here: double, later, reciprocal, who, steps, until>"
    assert module.double.__name__ == "double"
    with pytest.raises(AttributeError, match=r"jobs.py has no function 'dubble'. Did you mean 'double'\?"):
        module.dubble(1)
    with pytest.raises(AttributeError):
        module.LIMIT  # noqa: B018
    with pytest.raises(FileNotFoundError, match="nowhere"):
        env.submit_module("nowhere.py")


def test_a_submitted_module_needs_a_launched_environment_when_it_is_called(
    here: ExternalEnvironment, jobs: Path
) -> None:
    module = here.submit_module(jobs)
    with pytest.raises(NotLaunchedError):
        module.double(1)
    here.launch()
    assert module.double(1).wait_for(SOON).result == 2


# --- Batches


def test_a_batch_is_followed_as_one_stream(env: ExternalEnvironment, jobs: Path) -> None:
    tasks = env.map_tasks(jobs, "steps", range(30))
    heard: list[TaskEvent[Any]] = []
    ended = threading.Event()
    tasks.events.subscribe(heard.append, on_completed=ended.set)
    assert ended.wait(SOON)
    ends = [event.task for event in heard if event.type is TaskEventType.COMPLETION]
    assert sorted(ends, key=tasks.index) == tasks
    assert [task.result for task in tasks] == list(range(30))


def test_snapshots_of_a_batch_show_it_on_its_way(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    tasks = env.map_tasks(jobs, "until", [str(flag)] * 4)
    told: list[BatchSnapshot] = []
    threads: set[str] = set()
    under_way, ended = threading.Event(), threading.Event()

    def show(snapshot: BatchSnapshot) -> None:
        told.append(snapshot)
        threads.add(threading.current_thread().name)
        if sum(task.progress or 0 for task in snapshot.running_tasks) == 1:
            under_way.set()

    tasks.snapshots(0.01).subscribe(show, on_completed=ended.set)
    assert under_way.wait(SOON)
    assert told[-1].progress == pytest.approx(1 / 4)
    assert {task.message for task in told[-1].running_tasks} == {"waiting"}
    assert {task.worker.index for task in told[-1].running_tasks if task.worker is not None} == {0, 1}
    flag.touch()
    assert ended.wait(SOON)
    assert (told[-1].done, told[-1].completed, told[-1].progress) == (True, 4, 1.0)
    assert all(name == "MainThread" or name.startswith("wetlands-delivery") for name in threads)


def test_snapshots_keep_their_pace(env: ExternalEnvironment, jobs: Path) -> None:
    period = 0.1
    tasks = env.map_tasks(jobs, "steps", range(500))
    times: list[float] = []
    ended = threading.Event()

    def show(_snapshot: BatchSnapshot) -> None:
        times.append(time.monotonic())

    tasks.snapshots(period).subscribe(show, on_completed=ended.set)
    assert ended.wait(SOON)
    assert len(times) <= 2 + (times[-1] - times[0]) / period


def test_snapshots_over_two_environments_end_with_the_last_task_of_both(env: ExternalEnvironment, jobs: Path) -> None:
    main = InternalEnvironment()
    ended = threading.Event()
    told: list[BatchSnapshot] = []
    try:
        tasks = [*env.map_tasks(jobs, "double", range(5)), *main.map_tasks(jobs, "double", range(5))]
        snapshots(*tasks, period=0.01).subscribe(told.append, on_completed=ended.set)
        assert ended.wait(SOON)
    finally:
        main.exit()
    assert (told[-1].total, told[-1].completed) == (10, 10)


def test_exiting_the_environment_ends_every_stream_of_a_batch(
    env: ExternalEnvironment, jobs: Path, tmp_path: Path
) -> None:
    tasks = env.map_tasks(jobs, "until", [str(tmp_path / "never")] * 4)
    events, states = threading.Event(), threading.Event()
    told: list[BatchSnapshot] = []
    tasks.events.subscribe(on_completed=events.set)
    tasks.snapshots(1000).subscribe(told.append, on_completed=states.set)
    env.exit()
    assert events.wait(SOON)
    assert states.wait(SOON)
    assert (told[-1].done, told[-1].canceled) == (True, 4)
    late: list[BatchSnapshot] = []
    tasks.snapshots().subscribe(late.append)
    assert [snapshot.done for snapshot in late] == [True]


def test_results_of_a_batch_with_one_failure(env: ExternalEnvironment, jobs: Path) -> None:
    tasks = env.map_tasks(jobs, "reciprocal", [2, 0, 4])
    results = tasks.results(timeout=SOON)
    assert next(results) == 0.5
    with pytest.raises(ExecutionException, match="ZeroDivisionError"):
        next(results)
    assert list(results) == [0.25]
    with pytest.raises(ExecutionException, match="ZeroDivisionError"):
        tasks.wait_for(SOON)


def test_a_batch_is_awaited_while_its_loop_goes_on(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"

    async def main() -> list[Any]:
        tasks = env.map_tasks(jobs, "until", [str(flag)] * 3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_of(tasks), 0.01)
        assert not any(task.status.is_finished() for task in tasks)
        flag.touch()
        return await asyncio.wait_for(_of(tasks), SOON)

    assert asyncio.run(main()) == [None] * 3


async def _of(tasks: Any) -> Any:
    return await tasks


def test_canceled_tasks_are_met_at_their_places(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    tasks = env.map_tasks(jobs, "until", [str(tmp_path / "never")] * 3)
    tasks.cancel()
    results = tasks.results(ordered=False, timeout=SOON)
    for _ in tasks:
        with pytest.raises(concurrent.futures.CancelledError):
            next(results)
    with pytest.raises(StopIteration):
        next(results)
