"""Operators over real workers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject

from wetlands_rx.exceptions import ExecutionException, WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.operators import (
    deliver_on,
    fallback_to,
    from_items,
    hedge,
    map_in,
    merge_map,
    progress,
    retry_on_worker_death,
    run_in,
    switch_map_in,
    terminal,
    thread,
    timeout_total,
)
from wetlands_rx.task import Task, TaskStatus

SOON = 30.0
JOBS = """
import os, time

def double(number):
    return 2 * number

def reciprocal(number):
    return 1 / number

def who(_number):
    return os.getpid()

def until_canceled(name, *, task):
    open(name, "w").close()
    while not task.cancel_requested:
        time.sleep(0.001)
    task.cancel()

def dies_once(flag):
    if not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), 9)
    return "alive"

def slow_once(flag):
    first = not os.path.exists(flag)
    open(flag, "w").close()
    if first:
        time.sleep(60)
    return "quick"

def steps(count, *, task):
    for step in range(1, count + 1):
        task.update(current=step, maximum=count)
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


class Told(list[Any]):
    """What a stream sent, and when it ended."""

    def __init__(self, source: Observable[Any]) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.subscription = source.subscribe(self._on_next, self._on_error, self.ended.set)

    def _on_next(self, value: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.append(value)

    def _on_error(self, error: Exception) -> None:
        self.error = error
        self.ended.set()

    def at_end(self) -> list[Any]:
        assert self.ended.wait(SOON)
        if self.error is not None:
            raise self.error
        return list(self)


def test_results_come_in_order_on_delivery_threads(env: ExternalEnvironment, jobs: Path) -> None:
    told = Told(from_items(range(500)).pipe(map_in(env, jobs, "double")))
    assert told.at_end() == list(range(0, 1000, 2))
    assert all(name.startswith("wetlands-delivery") for name in told.threads)


def test_all_results_come_when_order_is_free(env: ExternalEnvironment, jobs: Path) -> None:
    told = Told(from_items(range(500)).pipe(map_in(env, jobs, "double", ordered=False)))
    assert sorted(told.at_end()) == list(range(0, 1000, 2))


def test_all_workers_are_busy(env: ExternalEnvironment, jobs: Path) -> None:
    assert len(set(Told(from_items(range(200)).pipe(map_in(env, jobs, "who"))).at_end())) == 2


def test_two_operators_hand_over_and_a_thread_of_its_own_listens(env: ExternalEnvironment, jobs: Path) -> None:
    told = Told(
        from_items(range(1, 101)).pipe(
            map_in(env, jobs, "double"), map_in(env, jobs, "reciprocal"), deliver_on(thread("mine"))
        )
    )
    assert told.at_end() == [1 / (2 * number) for number in range(1, 101)]
    assert all(name.startswith("wetlands-mine") for name in told.threads)


def test_a_failure_comes_at_its_place(env: ExternalEnvironment, jobs: Path) -> None:
    told = Told(from_items([2, 4, 0, 5]).pipe(map_in(env, jobs, "reciprocal")))
    with pytest.raises(ExecutionException, match="ZeroDivisionError"):
        told.at_end()
    assert told == [0.5, 0.25]


def test_an_endless_generator_is_closed_when_enough_was_taken(env: ExternalEnvironment, jobs: Path) -> None:
    closed = threading.Event()

    def endless() -> Generator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    assert Told(from_items(endless()).pipe(map_in(env, jobs, "double"), ops.take(20))).at_end() == list(range(0, 40, 2))
    assert closed.wait(SOON)


def test_disposing_stops_what_runs(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    flag = tmp_path / "running"
    told = Told(from_items([flag]).pipe(map_in(env, jobs, "until_canceled")))
    wait_for(flag)
    told.subscription.dispose()
    assert env.submit(jobs, "double", (1,)).wait_for(SOON).result == 2
    assert told == []


def wait_for(flag: Path) -> None:
    """Until another process has made this file; the time limit of the test ends it otherwise."""
    while not flag.exists():
        os.sched_yield()


def test_an_environment_that_exits_ends_the_stream(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    flag = tmp_path / "running"
    told = Told(from_items([flag]).pipe(map_in(env, jobs, "until_canceled")))
    wait_for(flag)
    env.exit()
    assert told.ended.wait(SOON)
    assert told.error is not None


def test_the_newest_item_is_the_one_whose_result_comes(env: ExternalEnvironment, jobs: Path) -> None:
    slider: Subject[int] = Subject()
    told = Told(slider.pipe(switch_map_in(env, jobs, "double")))
    for position in range(200):
        slider.on_next(position)
    slider.on_completed()
    assert told.at_end()[-1] == 398


def test_a_worker_that_dies_is_tried_again(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    run = run_in(env, jobs, "dies_once", str(tmp_path / "a"))
    with pytest.raises(WorkerDiedError):
        Told(run).at_end()
    (tmp_path / "a").unlink()
    assert Told(run.pipe(retry_on_worker_death(1))).at_end() == ["alive"]


def test_a_straggler_is_overtaken(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    run = run_in(env, jobs, "slow_once", str(tmp_path / "a"))
    assert Told(run.pipe(hedge(0.3), timeout_total(SOON))).at_end() == ["quick"]


def test_an_environment_that_does_not_run_is_replaced(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    from wetlands_rx.environment_manager import EnvironmentManager

    with EnvironmentManager(tmp_path / "others", log_file_path=None) as manager:
        asleep = manager.load("asleep", sys.executable)
        assert Told(run_in(asleep, jobs, "double", 2).pipe(fallback_to(env))).at_end() == [4]


def test_a_task_that_takes_too_long_is_left(env: ExternalEnvironment, jobs: Path, tmp_path: Path) -> None:
    told = Told(run_in(env, jobs, "until_canceled", str(tmp_path / "a")).pipe(timeout_total(0.05)))
    with pytest.raises(TimeoutError):
        told.at_end()
    assert env.submit(jobs, "double", (1,)).wait_for(SOON).result == 2


def test_the_progress_of_a_batch_is_one_stream(env: ExternalEnvironment, jobs: Path) -> None:
    tasks = env.map_tasks(jobs, "steps", [4] * 6)

    def share(task: Task[Any]) -> Observable[tuple[str, float]]:
        return task.pipe(progress(), ops.map(lambda done: (task.id, done)))

    shares = Told(from_items(tasks).pipe(merge_map(share, len(tasks)))).at_end()
    assert dict(shares) == {task.id: 1.0 for task in tasks}
    ends = Told(reactivex.merge(*(task.pipe(terminal()) for task in tasks))).at_end()
    assert [event.task.status for event in ends] == [TaskStatus.COMPLETED] * 6


def test_many_producers_lose_nothing(env: ExternalEnvironment, jobs: Path) -> None:
    source: Subject[int] = Subject()
    told = Told(source.pipe(map_in(env, jobs, "double", ordered=False, max_concurrent=8)))

    def produce(begin: int) -> None:
        for number in range(begin, begin + 50):
            source.on_next(number)

    producers = [threading.Thread(target=produce, args=(begin,)) for begin in range(0, 200, 50)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join(SOON)
    source.on_completed()
    assert sorted(told.at_end()) == list(range(0, 400, 2))
