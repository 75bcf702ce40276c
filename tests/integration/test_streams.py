"""The hot streams of real environments and managers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx._wire.messages import Finished, Hello, Updated
from wetlands_rx.environment import WorkerEvent, WorkerEventType, WorkerMessage
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import NotLaunchedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import TaskEvent, TaskEventType

SOON = 20.0
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
FUNCTIONS = """
import time

def double(n):
    return 2 * n

def report(n, *, task):
    for number in range(1, n + 1):
        task.update(f"step {number}", current=number, maximum=n)
    task.set_output("last", n)

def until_canceled(*, task):
    task.update("here")
    while not task.cancel_requested:
        time.sleep(0.001)
    task.cancel()
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


class Heard(list[Any]):
    """What an observer hears, and when enough of it has come."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.ends: list[Exception | None] = []
        self.threads: set[str] = set()

    def on_next(self, item: Any) -> None:
        with self.changed:
            self.threads.add(threading.current_thread().name)
            self.append(item)
            self.changed.notify_all()

    def on_error(self, error: Exception) -> None:
        self._end(error)

    def on_completed(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        with self.changed:
            self.ends.append(error)
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self) >= count, SOON), list(self)


def hear(stream: Any) -> Heard:
    heard = Heard()
    stream.subscribe(heard.on_next, heard.on_error, heard.on_completed)
    return heard


def kinds(events: list[TaskEvent[Any]], task: Any) -> list[TaskEventType]:
    return [event.type for event in events if event.task is task]


def test_the_events_of_all_tasks_each_in_order_and_completion_at_exit(
    here: ExternalEnvironment, functions: Path
) -> None:
    events = hear(here.events)  # before the launch
    here.launch(max_workers=2)
    tasks = [here.submit(functions, "report", (3,)) for _ in range(5)]
    failing = here.submit(functions, "nothing_like_this")
    for task in tasks:
        task.wait_for()
    here.exit()
    assert events.ends == [None]
    for task in tasks:
        assert kinds(events, task) == [STARTED, UPDATE, UPDATE, UPDATE, UPDATE, COMPLETION]
    assert kinds(events, failing)[-1] in (FAILURE, CANCELATION)
    assert all(name.startswith("wetlands-delivery") for name in events.threads)


def test_who_subscribes_late_hears_the_rest_of_what_runs(here: ExternalEnvironment, functions: Path) -> None:
    here.launch()
    waited = threading.Event()
    task = here.submit(functions, "until_canceled", start=False)
    task.listen(lambda event: waited.set() if event.type is UPDATE else None).start()
    assert waited.wait(SOON)
    events = hear(here.events)
    queued = here.submit(functions, "double", (1,))
    task.cancel()
    queued.wait_for()
    here.exit()
    assert kinds(events, task) == [CANCELATION]
    assert kinds(events, queued) == [STARTED, COMPLETION]


def test_a_task_canceled_in_the_queue_is_an_event_too(here: ExternalEnvironment, functions: Path) -> None:
    here.launch()
    here.submit(functions, "until_canceled")
    events = hear(here.events)
    queued = here.submit(functions, "double", (1,))
    queued.cancel()
    here.exit()
    assert kinds(events, queued) == [CANCELATION]


def test_the_messages_of_the_workers(here: ExternalEnvironment, functions: Path) -> None:
    messages = hear(here.messages)
    here.launch(max_workers=2)
    assert here.execute(functions, "double", (4,)) == 8
    here.execute(functions, "report", (2,))
    here.exit()
    assert messages.ends == [None]
    assert all(isinstance(item, WorkerMessage) and item.worker.environment == "here" for item in messages)
    assert sum(isinstance(item.message, Hello) for item in messages) == 2
    assert [item.message.value for item in messages if isinstance(item.message, Finished)] == [8, None]
    assert [item.message.current for item in messages if isinstance(item.message, Updated)] == [1, 2]


def test_the_lives_of_the_workers(here: ExternalEnvironment, functions: Path) -> None:
    lives = hear(here.workers)
    here.launch()
    lives.wait_for(2)
    first: WorkerEvent = lives[0]
    os.kill(first.worker.pid, signal.SIGKILL)
    lives.wait_for(5)  # lost, and another one started and ready
    here.exit()
    assert [event.type for event in lives] == [
        WorkerEventType.STARTED,
        WorkerEventType.READY,
        WorkerEventType.LOST,
        WorkerEventType.STARTED,
        WorkerEventType.READY,
        WorkerEventType.EXITED,
    ]
    assert lives[2].worker == first.worker
    assert lives[2].signal == signal.SIGKILL
    assert "SIGKILL" in lives[2].reason
    assert lives[3].worker.index == 0
    assert lives[3].worker.pid != first.worker.pid
    assert lives[5].reason is None
    assert lives.ends == [None]


def test_one_subscription_for_each_launch(here: ExternalEnvironment, functions: Path) -> None:
    for _ in range(2):
        events = hear(here.events)
        here.launch()
        task = here.submit(functions, "double", (1,))
        task.wait_for()
        here.exit()
        assert kinds(events, task) == [STARTED, COMPLETION]
        assert len(events) == 2
        assert events.ends == [None]


def test_an_exit_by_an_observer_during_the_launch_completes_the_streams(
    here: ExternalEnvironment, functions: Path
) -> None:
    lives = hear(here.workers)
    here.workers.subscribe(lambda event: here.exit() if event.type is WorkerEventType.STARTED else None)
    with pytest.raises(NotLaunchedError):
        here.launch()
    assert lives.ends == [None]
    here.launch()  # nobody exits it this time
    assert here.execute(functions, "double", (1,)) == 2


def test_an_observer_that_never_returns_delays_nobody(here: ExternalEnvironment, functions: Path) -> None:
    released = threading.Event()

    def never_returns(_item: object) -> None:
        released.wait(SOON)

    for stream in (here.events, here.messages, here.workers):
        stream.subscribe(never_returns)
    here.launch(max_workers=2)
    events = hear(here.events)
    assert list(here.map(functions, "double", range(100))) == [2 * n for n in range(100)]
    events.wait_for(200)
    released.set()


@pytest.mark.parametrize("internal", [False, True])
def test_an_exit_completes_the_events_after_the_terminal_events_of_all_tasks(
    here: ExternalEnvironment, manager: EnvironmentManager, functions: Path, *, internal: bool
) -> None:
    env = manager.main_environment if internal else here
    env.launch(max_workers=2)
    events = hear(env.events)
    begun, never = threading.Event(), threading.Event()

    def hold_back(event: TaskEvent[Any]) -> None:
        if event.type is STARTED:
            begun.set()
            never.wait(0.2)  # the end of its task waits in its mailbox meanwhile

    held = env.submit(functions, "double", (1,), start=False).listen(hold_back).start()
    other = env.submit(functions, "double", (2,)).wait_for()
    assert begun.wait(SOON)
    env.exit()
    for task in (held, other):
        assert kinds(events, task)[-1] in (COMPLETION, CANCELATION)
        assert kinds(events, task)[0] is STARTED
    assert events.ends == [None]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[EnvironmentManager]:
    with EnvironmentManager(tmp_path / "root", log_file_path=None) as manager:
        yield manager


def test_a_manager_shows_what_happens_in_all_its_environments(
    manager: EnvironmentManager, functions: Path, tmp_path: Path
) -> None:
    import sys

    events, lives, messages = hear(manager.events), hear(manager.workers), hear(manager.messages)
    tasks: list[Any] = []
    for name in ("one", "two"):
        env = manager.load(name, sys.executable)
        env.launch()
        tasks.append(env.submit(functions, "double", (1,)).wait_for())
    manager.environments["one"].exit()
    assert events.ends == []  # a manager's streams outlive one environment
    manager.exit()
    for heard in (events, lives, messages):
        assert heard.ends == [None]
    for task in tasks:
        assert kinds(events, task) == [STARTED, COMPLETION]
    assert {event.worker.environment for event in lives} == {"one", "two"}
    assert {message.worker.environment for message in messages} == {"one", "two"}


def test_the_environment_of_this_process_shows_the_same(manager: EnvironmentManager, functions: Path) -> None:
    env = manager.main_environment
    events, all_events, lives = hear(env.events), hear(manager.events), hear(env.workers)
    task = env.submit(functions, "report", (2,)).wait_for()
    manager.exit()
    for heard in (events, all_events):
        assert kinds(heard, task) == [STARTED, UPDATE, UPDATE, UPDATE, COMPLETION]
        assert heard.ends == [None]
    assert [event.type for event in lives] == [WorkerEventType.STARTED, WorkerEventType.READY, WorkerEventType.EXITED]
