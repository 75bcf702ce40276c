"""Real workers, and many threads that submit, cancel, kill and exit at once.

`WETLANDS_RX_STRESS=10` plays ten times as many rounds.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.stress import remote
from tests.stress.together import SOON, at_once
from wetlands_rx.exceptions import ExecutionException, NotLaunchedError, WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

REMOTE = remote.__file__
STRENGTH = int(os.environ.get("WETLANDS_RX_STRESS", "1"))
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
COMPLETED, CANCELED = TaskStatus.COMPLETED, TaskStatus.CANCELED


class Story:
    """A task and what its listener heard."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.kinds: list[TaskEventType] = []
        task.listen(self.hear)

    def hear(self, event: TaskEvent[Any]) -> None:
        self.kinds.append(event.type)

    def check(self) -> None:
        with contextlib.suppress(ExecutionException):
            self.task.wait_for(SOON)
        terminal = {
            TaskStatus.COMPLETED: COMPLETION,
            TaskStatus.FAILED: FAILURE,
            TaskStatus.CANCELED: CANCELATION,
        }[self.task.status]
        assert self.kinds[-1] is terminal
        assert all(kind is UPDATE for kind in self.kinds[1:-1])
        assert self.kinds[0] in (STARTED, terminal)


def test_blocking_calls_of_many_threads(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)

    def caller(number: int) -> Callable[[], None]:
        def call() -> None:
            for step in range(50 * STRENGTH):
                assert here.execute(REMOTE, "double", (number * 1000 + step,)) == 2 * (number * 1000 + step)

        return call

    at_once(*(caller(number) for number in range(8)))


def test_submits_cancels_and_listeners_at_once(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)
    stories: list[Story] = []

    def submit() -> None:
        for _ in range(60 * STRENGTH):
            task = here.submit(REMOTE, "polite", start=False)
            stories.append(Story(task))
            task.start()

    def cancel(seed: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def cancel() -> None:
            for _ in range(200 * STRENGTH):
                if stories:
                    chance.choice(stories).task.cancel()

        return cancel

    at_once(submit, submit, cancel(1), cancel(2))
    for story in stories:
        story.check()
        if story.task.status is COMPLETED:
            assert story.task.result == "finished"
    assert here.execute(REMOTE, "double", (21,)) == 42


def test_updates_of_many_tasks_to_many_listeners(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)
    stories = [
        [Story(task) for _ in range(3)]
        for task in (here.submit(REMOTE, "chatty", (500,), start=False) for _ in range(10 * STRENGTH))
    ]
    at_once(*(group[0].task.start for group in stories))
    for group in stories:
        for story in group:
            story.check()
            assert len(story.kinds) == 502


def test_a_task_of_ten_thousand(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)
    tasks = here.map_tasks(REMOTE, "double", range(10_000))
    tasks[5000].cancel()
    assert tasks[-1].wait_for(SOON).result == 19_998
    statuses = Counter(task.wait_for(SOON).status for task in tasks)
    assert statuses[COMPLETED] + statuses[CANCELED] == 10_000
    assert statuses[CANCELED] <= 1


def test_exits_while_everybody_submits(here: ExternalEnvironment) -> None:
    for seed in range(4 * STRENGTH):
        here.launch(max_workers=2)
        stories: list[Story] = []
        submitted = threading.Semaphore(0)

        def submit(stories: list[Story] = stories, submitted: threading.Semaphore = submitted) -> None:
            with contextlib.suppress(NotLaunchedError):
                while True:
                    task = here.submit(REMOTE, "polite", start=False)
                    stories.append(Story(task))
                    submitted.release()
                    try:
                        task.start()
                    except NotLaunchedError:
                        task.cancel()
                        raise

        def end(seed: int = seed, submitted: threading.Semaphore = submitted) -> None:
            for _ in range(10 + seed * 5):
                assert submitted.acquire(timeout=SOON)
            here.exit()

        at_once(submit, submit, submit, end)
        assert not here.launched()
        for story in stories:
            story.check()
            assert story.task.status in (COMPLETED, CANCELED)


def test_kills_while_everybody_works(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)
    stories: list[Story] = []
    done = threading.Event()

    def submit() -> None:
        for number in range(100 * STRENGTH):
            task = here.submit(REMOTE, "double", (number,), start=False)
            stories.append(Story(task))
            task.start()

    def kill() -> None:
        kills = 0
        while kills < 6 * STRENGTH:
            with contextlib.suppress(WorkerDiedError):
                victim = here.execute(REMOTE, "pid")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                kills += 1
                for _ in range(5):  # an answer forgives the pool an idle death
                    with contextlib.suppress(WorkerDiedError):
                        here.execute(REMOTE, "double", (1,))
        done.set()

    at_once(submit, submit, kill)
    for story in stories:
        story.check()
    failed = [story for story in stories if story.task.status is not COMPLETED]
    assert len(failed) <= 6 * STRENGTH
    assert all(isinstance(story.task.exception, WorkerDiedError) for story in failed)
    assert here.execute(REMOTE, "double", (21,)) == 42


def test_exits_while_workers_die_and_are_replaced(here: ExternalEnvironment) -> None:
    for seed in range(4 * STRENGTH):
        here.launch(max_workers=2)
        stories = [Story(here.submit(REMOTE, "mortal", (number,))) for number in range(60)]
        waited_for = stories[random.Random(seed).randrange(60)]
        with contextlib.suppress(ExecutionException):
            waited_for.task.wait_for(SOON)
        here.exit()
        for story in stories:
            story.check()


def test_launches_and_exits_of_many_threads(here: ExternalEnvironment) -> None:
    def come_and_go() -> None:
        for _ in range(3 * STRENGTH):
            with contextlib.suppress(NotLaunchedError):  # another thread exits meanwhile
                here.launch()
                task = here.submit(REMOTE, "double", (21,))
                assert task.wait_for(SOON).status in (COMPLETED, CANCELED)
            here.exit()

    at_once(come_and_go, come_and_go, come_and_go)
    here.exit()
    here.launch()
    assert here.execute(REMOTE, "double", (21,)) == 42
