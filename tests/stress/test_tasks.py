"""Many threads at one task: one common order, one terminal event, no hang.

`WETLANDS_RX_STRESS=10` plays ten times as many rounds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.stress.together import SOON, at_once
from wetlands_rx._streams.mailbox import Mailbox, Step
from wetlands_rx._streams.subject import Listener
from wetlands_rx._task.lifecycle import CancelRequested, Dispatched, EnvironmentExited, Happening, WorkerLost
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, FinishedUnopened, Raised, Updated
from wetlands_rx._wire.packing import pack
from wetlands_rx._wire.values import Packed
from wetlands_rx.environment import Environment, EnvironmentStatistics
from wetlands_rx.exceptions import ExecutionException, WorkerDiedError
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import WORKER, FakeRunner

STRENGTH = int(os.environ.get("WETLANDS_RX_STRESS", "1"))
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
TERMINALS = {
    TaskStatus.COMPLETED: COMPLETION,
    TaskStatus.FAILED: FAILURE,
    TaskStatus.CANCELED: CANCELATION,
}
ENDS: list[Happening] = [
    Finished(1, "finished"),
    FinishedUnopened(1, Packed(pack({"unopened"})[0])),
    Raised(1, "ValueError: no", (), "", "raised"),
    CancelAcknowledged(1),
    CancelRequested(),
    WorkerLost(WorkerDiedError("worker")),
    EnvironmentExited(),
]


class Log(list[TaskEvent[Any]]):
    """What a listener heard, and whether two threads called it at once."""

    def __init__(self) -> None:
        self.entered = threading.Lock()
        self.collided = False
        self.ended = threading.Event()

    def hear(self, event: TaskEvent[Any]) -> None:
        if not self.entered.acquire(blocking=False):
            self.collided = True
            return
        self.append(event)
        if event.type in TERMINALS.values():
            self.ended.set()
        self.entered.release()


def library_threads() -> list[str]:
    """The threads of the library that live now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("wetlands-")]


def check(task: Task[Any], logs: list[Log]) -> None:
    terminal = TERMINALS[task.status]
    for log in logs:
        assert log.ended.wait(SOON), "a listener was not told of the end"
    first = logs[0]
    assert first[0].type is STARTED
    for log in logs:
        assert not log.collided, "two threads in one listener"
        kinds = [event.type for event in log]
        assert kinds[-1] is terminal
        assert sum(kind in TERMINALS.values() for kind in kinds) == 1
        assert kinds.count(STARTED) <= 1
        if len(log) > 1:
            assert log == first[len(first) - len(log) :], "not one common order"


class Crowd:
    """A running task, and all who want something of it at once."""

    def __init__(self, runner: FakeRunner) -> None:
        self.task = runner.task()
        self.first = Log()
        self.logs = [self.first]
        self.release = threading.Event()
        self._numbers = itertools.count()
        self._post = runner.call(self.task).post
        self.task.listen(self.first.hear)
        self._post(Dispatched(WORKER))

    def produce(self) -> None:
        for _ in range(40):
            self._post(Updated(1, None, next(self._numbers), None))

    def subscribe(self) -> None:
        for number in range(10):
            log = Log()
            self.logs.append(log)
            if number % 2:
                self.task.listen(log.hear)
            else:
                self.task.subscribe(log.hear)

    def come_and_go(self) -> None:
        for _ in range(10):
            log = Log()
            self.task.listen(log.hear)
            self.task.remove_listener(log.hear)
            self.task.subscribe(log.hear).dispose()

    def wait(self) -> None:
        with contextlib.suppress(ExecutionException):
            self.task.wait_for(SOON)
        assert self.task.status.is_finished()

    def wait_for_the_future(self) -> None:
        with contextlib.suppress(ExecutionException, concurrent.futures.CancelledError):
            self.task.future.result(SOON)
        assert self.task.status.is_finished()

    def look(self) -> None:
        """What can be seen of the task belongs together at every moment."""
        task = self.task
        while not (status := task.status).is_finished():
            repr(task)
        if status is TaskStatus.COMPLETED:
            assert task.result in ("finished", {"unopened"})
        assert (task.exception is not None) is (status is TaskStatus.FAILED)
        assert task.finished_at is not None

    def ending(self, happening: Happening) -> Callable[[], None]:
        return lambda: self._post(happening)

    def raise_in_listeners(self) -> None:
        def listener(_event: object) -> None:
            raise ZeroDivisionError

        self.task.listen(listener)

    def block_in_listeners(self) -> None:
        self.task.listen(lambda _event: self.release.wait(SOON))

    def play(self, seed: int) -> None:
        """All at once; then see what everybody has heard."""
        ends = [self.ending(happening) for happening in random.Random(seed).sample(ENDS, 3)]
        at_once(
            *(self.produce, self.produce, self.subscribe, self.subscribe, self.come_and_go),
            *(self.wait, self.wait, self.wait_for_the_future, self.look),
            *ends,
        )
        check(self.task, self.logs)
        assert self.task.future.done()
        self.release.set()


@pytest.mark.parametrize("disturbance", [None, Crowd.raise_in_listeners, Crowd.block_in_listeners])
def test_producers_listeners_and_ends_at_once(runner: FakeRunner, disturbance: Callable[[Crowd], None] | None) -> None:
    for seed in range(60 * STRENGTH):
        crowd = Crowd(runner)
        if disturbance is not None:
            disturbance(crowd)
        crowd.play(seed)


@pytest.mark.timeout(120 * STRENGTH)
def test_a_crowd_is_served_by_few_threads(
    usual_runner: FakeRunner, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """`WETLANDS_RX_STRESS=25` plays 1,500 rounds."""
    peak: list[str] = []

    def count(_event: object) -> None:
        nonlocal peak
        peak = max(peak, library_threads(), key=len)

    for seed in range(60 * STRENGTH):
        crowd = Crowd(usual_runner)
        crowd.task.listen(count)
        crowd.raise_in_listeners()
        crowd.play(seed)
        count(None)
    record_testsuite_property("library threads at the peak of the crowd", len(peak))
    assert 2 <= len(peak) <= 3, peak


def test_a_wait_ends_after_the_listeners_were_told(runner: FakeRunner) -> None:
    for _ in range(300 * STRENGTH):
        crowd = Crowd(runner)

        def wait(crowd: Crowd = crowd) -> None:
            crowd.task.wait_for(SOON)
            assert crowd.first.ended.is_set()

        at_once(wait, wait, crowd.ending(Finished(1, "finished")), crowd.produce)


def test_unobserved_tasks_end_for_everybody_who_looks(runner: FakeRunner) -> None:
    """Nobody listens: the end is applied by whoever brings it."""
    for _ in range(300 * STRENGTH):
        task = runner.task()
        post = runner.call(task).post
        post(Dispatched(WORKER))

        def wait(task: Task[Any] = task) -> None:
            assert task.wait_for(SOON).result == "finished"

        def spin(task: Task[Any] = task) -> None:
            while not task.status.is_finished():
                pass
            assert task.result == "finished"

        def listen(task: Task[Any] = task) -> None:
            log = Log()
            task.listen(log.hear)
            assert log.ended.wait(SOON)
            assert [event.type for event in log][-1] is COMPLETION

        def ask(task: Task[Any] = task) -> None:
            assert task.future.result(SOON) == "finished"

        def end(post: Callable[[Happening], None] = post) -> None:
            post(Updated(1, None, 1, 2))
            post(Finished(1, "finished"))

        at_once(wait, spin, listen, ask, end)


def test_start_and_cancel_at_once(runner: FakeRunner) -> None:
    """Whoever is first: a task that was canceled ends, and a call that runs has been asked to stop."""
    for _ in range(300 * STRENGTH):
        task = runner.task(start=False)
        at_once(task.start, task.start, task.cancel)
        assert task.status is TaskStatus.CANCELED
        assert task.wait_for(SOON) is task
    assert len(runner.started) == len(set(runner.started))
    assert runner.asked == []


class Unlaunched(Environment):
    """An environment without workers."""

    name = "unlaunched"

    def __init__(self, runner: FakeRunner) -> None:
        self._fake = runner

    def _runner(self) -> FakeRunner:
        return self._fake

    def launched(self) -> bool:
        return True

    def resize(self, max_workers: int) -> None: ...

    def recycle(self) -> None: ...

    def statistics(self) -> EnvironmentStatistics:
        return EnvironmentStatistics()

    def exit(self) -> None:
        self._cancel_unstarted()


def test_unstarted_tasks_are_made_and_dropped_while_their_environment_exits(runner: FakeRunner) -> None:
    environment = Unlaunched(runner)
    kept: list[Task[Any]] = []

    def make() -> None:
        for number in range(600 * STRENGTH):
            task = environment.submit(__file__, "f", start=False)
            if number % 2:
                kept.append(task)

    def leave() -> None:
        for _ in range(500 * STRENGTH):
            environment.exit()

    at_once(make, make, make, leave, leave)
    environment.exit()
    assert {task.status for task in kept} == {TaskStatus.CANCELED}


def test_dispatch_and_cancel_at_once(runner: FakeRunner) -> None:
    for _ in range(300 * STRENGTH):
        task = runner.task()
        at_once(lambda task=task: runner.dispatch(task), task.cancel)
        call = runner.call(task)
        if task.status is not TaskStatus.CANCELED:
            assert call.cancel_requested
            assert call in runner.asked
            runner.acknowledge(task)
        assert task.wait_for(SOON).status is TaskStatus.CANCELED


def test_coroutines_and_threads_wait_at_once(runner: FakeRunner) -> None:
    async def main(task: Task[Any]) -> tuple[Any, ...]:
        async def events() -> TaskEventType:
            kinds = [event.type async for event in task]
            return kinds[-1]

        return await asyncio.gather(task, task, events(), asyncio.wait_for(task, SOON))

    for _ in range(60 * STRENGTH):
        crowd = Crowd(runner)
        results: list[Any] = []
        at_once(
            lambda crowd=crowd, results=results: results.extend(asyncio.run(main(crowd.task))),
            crowd.produce,
            crowd.ending(Finished(1, "finished")),
            crowd.wait,
        )
        assert results == ["finished", "finished", COMPLETION, "finished"]


def test_mailboxes_under_pressure_lose_and_repeat_nothing(runner: FakeRunner) -> None:
    """Calls that are overtaken again and again, while everybody posts."""
    seen: dict[int, list[int]] = {number: [] for number in range(6)}
    ends = threading.Semaphore(0)
    total = 150

    def on_item(number: int, item: int) -> None:
        if item % 37 == number:
            threading.Event().wait(0.03)  # longer than a mailbox is held back
        seen[number].append(item)
        if item == total - 1:
            ends.release()

    parties = {number: Listener(partial(on_item, number), None, "it") for number in seen}

    def handle(item: int, _number: int) -> list[Step]:
        steps: list[Step] = [(party, item) for party in parties.values()]
        return steps

    mailbox = Mailbox(handle, runner.delivery)
    items = iter(range(total))
    taking = threading.Lock()

    def post() -> None:
        while True:
            with taking:
                item = next(items, None)
                if item is None:
                    return
                mailbox.post(item)

    at_once(*[post] * 4)
    for _ in seen:
        assert ends.acquire(timeout=SOON)
    assert all(items == list(range(total)) for items in seen.values())
