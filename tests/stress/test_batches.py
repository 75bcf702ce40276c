"""Many threads at the tasks of one batch: each subscriber is told everything once, one thing at a time.

`WETLANDS_RX_STRESS=10` plays ten times as many rounds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.stress.test_tasks import at_once
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._task.lifecycle import Dispatched, Happening
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, Raised, Updated
from wetlands_rx._worker.supervisor import Supervisor
from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.progress import BatchSnapshot
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskList
from wetlands_rx.testing import WORKER, FakeRunner

SOON = 60.0
STRENGTH = int(os.environ.get("WETLANDS_RX_STRESS", "1"))
STARTED, UPDATE, *TERMINALS = TaskEventType
TASKS, UPDATES = 12, 5
ENDS: list[Happening] = [Finished(1, "finished"), Raised(1, "ValueError: no", (), "", "raised"), CancelAcknowledged(1)]


@pytest.fixture(autouse=True)
def threads_change_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def runner() -> Iterator[FakeRunner]:
    """With delivery threads of which there are soon several: a call counts as stuck after 0.2 ms."""
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later, stall_s=0.0002, held_back_s=5.0)
    yield FakeRunner(delivery)
    delivery.close(SOON)
    supervisor.close()


class Log(list[Any]):
    """What a subscriber was told, and whether two threads told it at once, or something after the end."""

    def __init__(self) -> None:
        self.entered = threading.Lock()
        self.faults: list[str] = []
        self.ended = threading.Event()

    def on_next(self, news: Any) -> None:
        if not self.entered.acquire(blocking=False):
            self.faults.append("two threads in one subscriber")
            return
        if self.ended.is_set():
            self.faults.append("told after the end")
        self.append(news)
        self.entered.release()

    def on_end(self) -> None:
        if self.ended.is_set():
            self.faults.append("ended twice")
        if self.entered.locked():
            self.faults.append("ended within a call")
        self.ended.set()


class Crowd:
    """A batch, and all who drive and watch it."""

    def __init__(self, runner: FakeRunner, seed: int) -> None:
        self.random = random.Random(seed)
        self.tasks: TaskList[Any] = TaskList(runner.task() for _ in range(TASKS))
        self.posts = {task: runner.call(task).post for task in self.tasks}
        self.own: dict[Task[Any], list[TaskEvent[Any]]] = {task: [] for task in self.tasks}
        for task in self.tasks:
            task.listen(self.own[task].append)
        self.first, self.events, self.snapshots = Log(), [Log() for _ in range(3)], [Log() for _ in range(3)]
        self.tasks.events.subscribe(self.first.on_next, on_completed=self.first.on_end)

    def drive(self, tasks: TaskList[Any], ends: list[Happening]) -> None:
        for task in tasks:
            self.posts[task](Dispatched(WORKER))
        for number in range(UPDATES):
            for task in tasks:
                self.posts[task](Updated(1, None, number, UPDATES))
        for task, end in zip(tasks, ends, strict=True):
            self.posts[task](end)

    def drivers(self) -> list[Callable[[], None]]:
        ends = self.random.choices(ENDS, k=TASKS)
        return [partial(self.drive, self.tasks[first::3], ends[first::3]) for first in range(3)]

    def watch(self) -> None:
        for events, snapshots in zip(self.events, self.snapshots, strict=True):
            self.tasks.events.subscribe(events.on_next, on_completed=events.on_end)
            self.tasks.snapshots(0.001).subscribe(snapshots.on_next, on_completed=snapshots.on_end)

    def come_and_go(self) -> None:
        for _ in range(3):
            self.tasks.events.subscribe().dispose()
            self.tasks.snapshots(0.001).subscribe().dispose()

    def be_slow(self) -> None:
        never = threading.Event()

        def listener(_event: object) -> None:
            never.wait(0.001)

        self.tasks.events.subscribe(listener)

    def wait(self) -> None:
        with contextlib.suppress(ExecutionException):
            self.tasks.wait_for(SOON)
        assert all(task.status.is_finished() for task in self.tasks)
        assert self.first.ended.is_set(), "the wait ended before the subscriber was told"

    def iterate(self) -> None:
        results, ends = self.tasks.results(ordered=False, timeout=SOON), 0
        while True:
            try:
                next(results)
            except StopIteration:
                break
            except (ExecutionException, concurrent.futures.CancelledError):
                pass
            ends += 1
        assert ends == TASKS

    def wait_in_a_loop(self) -> None:
        async def main() -> None:
            await asyncio.wait_for(self.tasks, SOON)

        with contextlib.suppress(ExecutionException, asyncio.CancelledError):
            asyncio.run(main())

    def check(self) -> None:
        for log in (self.first, *self.events, *self.snapshots):
            assert log.ended.wait(SOON), "a subscriber was not told of the end"
            assert not log.faults
        assert len(self.first) == TASKS * (UPDATES + 2)
        for log in (self.first, *self.events):
            for task, own in self.own.items():
                heard = [event for event in log if event.task is task]
                assert heard, "a task whose end was not told"
                assert heard[-1].type in TERMINALS
                assert [event.type for event in heard] == [event.type for event in own[len(own) - len(heard) :]]
        for log in self.snapshots:
            check_snapshots(log)


def check_snapshots(log: list[BatchSnapshot]) -> None:
    assert log[-1].done
    assert log[-1].progress == 1.0
    assert [snapshot.done for snapshot in log].count(True) == 1
    for before, after in itertools.pairwise(log):
        assert before.finished <= after.finished
        assert before.progress <= after.progress
    for snapshot in log:
        assert snapshot.pending + snapshot.running + snapshot.finished == snapshot.total == TASKS
        assert len(snapshot.running_tasks) == snapshot.running


@pytest.mark.parametrize("slow", [False, True])
def test_all_who_watch_a_batch_are_told_all_of_it_in_order(runner: FakeRunner, *, slow: bool) -> None:
    for seed in range(40 * STRENGTH):
        crowd = Crowd(runner, seed)
        if slow:
            crowd.be_slow()
        watchers = [crowd.watch, crowd.come_and_go, crowd.wait, crowd.iterate, crowd.wait_in_a_loop]
        at_once(*crowd.drivers(), *watchers)
        crowd.check()
