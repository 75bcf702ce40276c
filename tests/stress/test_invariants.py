"""The invariants of the reactive core under many threads, and with real workers.

tests/properties/test_invariants.py lists all sixteen and where each is watched.
`WETLANDS_RX_STRESS=10` plays ten times as many rounds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import pytest

from tests.stress import remote
from tests.stress.test_tasks import ENDS, STRENGTH, TERMINALS, library_threads
from tests.stress.together import SOON, at_once
from tests.support import locks
from tests.support.locks import LockProbe, Watched
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._streams.subject import SerialSubject
from wetlands_rx._task.lifecycle import Dispatched, Happening
from wetlands_rx._wire.messages import Finished, FinishedUnopened, OutputSet
from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.operators import from_items, map_in
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import WORKER, FakeRunner

REMOTE = remote.__file__
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
STATUSES = {kind: status for status, kind in TERMINALS.items()}


class Views:
    """How a task has ended, as everybody sees it who waits for that in his own way."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.seen: list[TaskStatus] = []
        self.told = threading.Semaphore(0)
        task.listen(self.hear)

    def hear(self, event: TaskEvent[Any]) -> None:
        if event.type in STATUSES:
            self.seen += [STATUSES[event.type], event.task.status]
            self.told.release()

    def listen(self) -> None:
        self.task.listen(self.hear)
        self.task.subscribe(self.hear)
        for _ in range(3):
            assert self.told.acquire(timeout=SOON)

    def wait(self) -> None:
        self._add(lambda: self.task.wait_for(SOON).status)

    def wait_for_the_future(self) -> None:
        self._add(lambda: self.task.future.result(SOON) and TaskStatus.COMPLETED)

    def await_it(self) -> None:
        async def result() -> TaskStatus:
            return await self.task and TaskStatus.COMPLETED

        self._add(lambda: asyncio.run(result()))

    def iterate(self) -> None:
        async def last() -> TaskStatus:
            kinds = [event.type async for event in self.task]
            return STATUSES[kinds[-1]]

        self._add(lambda: asyncio.run(last()))

    def _add(self, ask: Callable[[], TaskStatus]) -> None:
        try:
            seen = ask()
        except ExecutionException:
            seen = TaskStatus.FAILED
        except (concurrent.futures.CancelledError, asyncio.CancelledError):
            seen = TaskStatus.CANCELED
        self.seen += [seen, self.task.status]

    @property
    def all(self) -> list[Callable[[], None]]:
        return [self.listen, self.wait, self.wait_for_the_future, self.await_it, self.iterate]


def test_05_of_racing_ends_one_wins_and_all_views_agree(runner: FakeRunner) -> None:
    ends_of: dict[str, list[TaskStatus]] = {}

    def hear(event: TaskEvent[Any]) -> None:
        if event.type in STATUSES:
            ends_of.setdefault(event.task.id, []).append(STATUSES[event.type])

    runner.events.subscribe(hear)
    tasks: list[Task[Any]] = []
    for seed in range(60 * STRENGTH):
        task = runner.task()
        tasks.append(task)
        views = Views(task)
        post = runner.call(task).post
        post(Dispatched(WORKER))
        ends: list[Happening] = random.Random(seed).sample(ENDS, 4)
        at_once(*(lambda end=end, post=post: post(end) for end in ends), *views.all)
        assert set(views.seen) == {task.status}
        assert len(views.seen) == 6 + 2 * 4
    runner.delivery.close(SOON)
    assert [ends_of[task.id] for task in tasks] == [[task.status] for task in tasks]


def test_05_of_racing_ends_of_a_task_that_nobody_listens_to_one_wins(runner: FakeRunner) -> None:
    """They are applied by the threads that bring them."""
    plain = [end for end in ENDS if not isinstance(end, FinishedUnopened)]
    for seed in range(500 * STRENGTH):
        task = runner.task()
        post = runner.call(task).post
        post(Dispatched(WORKER))
        seen: list[TaskStatus] = []

        def look(task: Task[Any] = task, seen: list[TaskStatus] = seen) -> None:
            while not (status := task.status).is_finished():
                pass
            seen.append(status)

        ends: list[Happening] = random.Random(seed).sample(plain, 4)
        at_once(*(partial(post, end) for end in ends), look, look)
        assert set(seen) == {task.status}
        assert (task.exception is not None) is (task.status is TaskStatus.FAILED)


def test_05_a_result_a_cancel_a_kill_and_an_exit_race_for_a_task_of_a_worker(here: ExternalEnvironment) -> None:
    for seed in range(6 * STRENGTH):
        here.launch()
        task = here.submit(REMOTE, "polite")
        views = Views(task)
        worker = task.worker
        assert worker is not None

        def kill(pid: int = worker.pid) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        ends = random.Random(seed).sample([task.cancel, kill, here.exit], 2)
        at_once(*ends, *views.all)
        here.exit()
        assert set(views.seen) == {task.status}


def raise_it(*_arguments: object) -> NoReturn:
    raise SystemExit("what the user's code raises")


@pytest.fixture
def raising_log() -> Iterator[None]:
    handler = logging.Handler()
    handler.emit = raise_it  # type: ignore[method-assign]
    log = logging.getLogger("wetlands_rx")
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


@pytest.mark.usefixtures("raising_log")
def test_06_callbacks_of_every_kind_may_raise_and_no_task_worker_or_thread_suffers(here: ExternalEnvironment) -> None:
    for stream in (here.events, here.messages, here.workers, here.logs):
        stream.subscribe(raise_it, raise_it, raise_it)
    here.launch(max_workers=2)
    heard: dict[str, list[TaskEventType]] = {}
    tasks = [here.submit(REMOTE, "listed", (1, 2, 3), start=False) for _ in range(25 * STRENGTH)]
    for task in tasks:
        heard[task.id] = []
        task.listen(raise_it)
        task.subscribe(raise_it, raise_it, raise_it)
        task.future.add_done_callback(raise_it)
        task.listen(lambda event: heard[event.task.id].append(event.type))

    def start(first: int) -> None:
        for task in tasks[first::4]:
            task.start()

    at_once(*(partial(start, first) for first in range(4)))
    assert {task.wait_for(SOON).result for task in tasks} == {3}
    assert {tuple(kinds) for kinds in heard.values()} == {(STARTED, UPDATE, UPDATE, UPDATE, COMPLETION)}
    assert all(task.future.done() for task in tasks)
    assert here.execute(REMOTE, "double", (21,)) == 42
    assert len({task.worker for task in tasks}) <= 2, "a worker was replaced"
    here.exit()  # all is told before it returns


@contextmanager
def blocking(runner: FakeRunner, count: int) -> Generator[list[Task[Any]]]:
    """Running tasks whose listeners do not return before this does."""
    entered, release = threading.Semaphore(0), threading.Event()

    def never_return(_event: object) -> None:
        entered.release()
        release.wait(SOON)

    try:
        tasks = [runner.task().listen(never_return) for _ in range(count)]
        for task in tasks:
            runner.dispatch(task)
            assert entered.acquire(timeout=SOON)
        yield tasks
    finally:
        release.set()


def test_07_each_listener_that_never_returns_costs_one_thread_and_delays_nobody(patient_runner: FakeRunner) -> None:
    runner = patient_runner

    def work() -> None:
        for number in range(1000 * STRENGTH):
            other = runner.task().listen(lambda _event: None)
            runner.dispatch(other)
            runner.finish(other, number)
            assert other.wait_for(SOON).result == number

    with blocking(runner, 6):
        at_once(work, work, work)
        assert len(library_threads()) <= 6 + 3


def test_07_the_result_of_a_task_does_not_wait_for_a_listener_that_never_returns(usual_runner: FakeRunner) -> None:
    with blocking(usual_runner, 3) as tasks:
        for task in tasks:
            usual_runner.finish(task, 42)
        at_once(*(partial(task.wait_for, SOON / 2) for task in tasks))
        assert [task.future.result(0) for task in tasks] == [42] * 3


def test_08_a_listener_may_submit_and_wait_on_the_only_worker_at_any_depth(here: ExternalEnvironment) -> None:
    here.launch()

    def descend(left: int) -> int:
        below: list[int] = []

        def on_event(event: TaskEvent[Any]) -> None:
            if event.type is COMPLETION:
                below.append(descend(left - 1) if left else 0)

        here.submit(REMOTE, "double", (left,), start=False).listen(on_event).start().wait_for(SOON)
        return 1 + below[0]

    depths: list[int] = []
    at_once(*[lambda: depths.append(descend(4))] * 3)
    assert depths == [5, 5, 5]


def test_09_when_a_wait_ends_the_status_is_final_the_outputs_are_there_and_listeners_were_told(
    runner: FakeRunner,
) -> None:
    for _ in range(100 * STRENGTH):
        task = runner.task()
        told = threading.Event()
        task.listen(lambda event, told=told: told.set() if event.type is COMPLETION else None)
        post = runner.call(task).post

        def produce(post: Callable[..., None] = post) -> None:
            post(Dispatched(WORKER))
            for number in range(20):
                post(OutputSet(1, str(number), number))
            post(Finished(1, "finished"))

        def look(task: Task[Any] = task) -> None:
            assert task.status is TaskStatus.COMPLETED
            assert task.result == "finished"
            assert len(task.outputs) == 20

        def wait(task: Task[Any] = task, told: threading.Event = told, look: Callable[[], None] = look) -> None:
            task.wait_for(SOON)
            assert told.is_set()
            look()

        def ask(task: Task[Any] = task, look: Callable[[], None] = look) -> None:
            assert task.future.result(SOON) == "finished"
            look()

        async def result(task: Task[Any] = task) -> Any:
            return await task

        def await_it(told: threading.Event = told, look: Callable[[], None] = look, result: Any = result) -> None:
            assert asyncio.run(result()) == "finished"
            assert told.is_set()
            look()

        at_once(wait, wait, ask, await_it, produce)


@pytest.fixture
def probe() -> Iterator[LockProbe]:
    """It is asked from a log handler too."""
    probe = LockProbe()
    locks.current.append(probe)
    handler = logging.Handler()
    handler.emit = lambda _record: probe("a log handler")  # type: ignore[method-assign]
    log = logging.getLogger("wetlands_rx")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield probe
    log.setLevel(level)
    log.removeHandler(handler)
    locks.current.remove(probe)


class Everywhere:
    """Puts a probe wherever an environment calls the user's code."""

    def __init__(self, env: ExternalEnvironment, probe: LockProbe) -> None:
        self.env, self.probe = env, probe

    def at(self, where: str) -> Callable[..., None]:
        return lambda *_arguments: self.probe(where)

    def launch(self) -> None:
        for name in ("events", "messages", "workers"):
            stream = getattr(self.env, name)
            stream.subscribe(self.at(f"an observer of {name}"), None, self.at(f"the end of {name}"))
        self.env.launch(max_workers=2, worker_env=self.variables)

    def variables(self, _index: int) -> dict[str, str]:
        self.probe("worker_env")
        return {}

    def numbers(self) -> Iterator[int]:
        for number in range(3):
            self.probe("an iterable")
            yield number

    def removed(self, event: TaskEvent[Any]) -> None:
        self.probe("a listener")
        if event.type is STARTED:
            event.task.remove_listener(self.removed)

    def run(self) -> None:
        task = self.env.submit(REMOTE, "everything", (Watched(self.probe, "an argument"),), start=False)
        task.listen(self.at("a listener")).listen(self.removed).listen(Watched(self.probe, "a listener"))
        task.subscribe(self.at("an observer of a task"), None, self.at("the end of a task"))
        task.future.add_done_callback(self.at("a callback of a future"))
        task.start().wait_for(SOON)
        task.listen(self.at("a late listener"))
        task.future.add_done_callback(self.at("a late callback of a future"))

    def map(self) -> None:
        for _ in self.env.map(REMOTE, "double", self.numbers()):
            self.probe("the consumer of a map")
        ended = threading.Event()

        def end() -> None:
            self.probe("the end of map_in")
            ended.set()

        mapped = from_items(self.numbers()).pipe(map_in(self.env, REMOTE, "double"))
        mapped.subscribe(self.at("an observer of map_in"), None, end)
        assert ended.wait(SOON)

    async def iterate(self) -> None:
        async for _event in self.env.submit(REMOTE, "chatty", (5,)):
            self.probe("an async iterator")

    def end(self) -> None:
        dies = self.env.submit(REMOTE, "mortal", (0,), start=False).listen(self.at("a listener at a death"))
        with contextlib.suppress(ExecutionException):
            dies.start().wait_for(SOON)
        self.env.submit(REMOTE, "double", (1,), start=False).listen(raise_it).start().wait_for(SOON)
        self.env.submit(REMOTE, "polite")
        self.env.submit(REMOTE, "polite", start=False).listen(self.at("a listener at the exit")).start()
        self.env.exit()


def test_14_no_lock_is_held_while_the_users_code_runs(here: ExternalEnvironment, probe: LockProbe) -> None:
    everywhere = Everywhere(here, probe)
    everywhere.launch()
    everywhere.run()
    everywhere.map()
    asyncio.run(everywhere.iterate())
    everywhere.end()
    until = time.monotonic() + SOON
    while not probe.looks.keys() >= WHERE and time.monotonic() < until:
        gc.collect()  # a task and what asyncio made of it may be a cycle
        threading.Event().wait(0.01)  # on a busy machine a listener may still catch up, and hold the last event
    assert not probe.held
    assert probe.looks.keys() >= WHERE
    assert probe.locks >= LOCKS


def hot_subject(runner: FakeRunner) -> HotSubject[int]:
    subject: HotSubject[int] = HotSubject("a stream")
    subject.open(runner.delivery)
    return subject


def serial_subject(_runner: FakeRunner) -> SerialSubject[int]:
    return SerialSubject()


@pytest.mark.parametrize("make", [hot_subject, serial_subject])
def test_14_no_lock_is_held_while_a_stream_calls_its_observers_early_or_late(
    runner: FakeRunner, probe: LockProbe, make: Callable[[FakeRunner], HotSubject[int] | SerialSubject[int]]
) -> None:
    subject, ended = make(runner), threading.Event()
    subject.subscribe(lambda _item: probe("an observer"), None, ended.set)
    subject.emit(1)
    subject.end()
    assert ended.wait(SOON)
    subject.subscribe(None, None, lambda: probe("the end for a late observer"))
    assert not probe.held
    assert (probe.looks["an observer"], probe.looks["the end for a late observer"]) == (1, 1)


WHERE = {
    "worker_env",
    "an iterable",
    "a listener",
    "a late listener",
    "a listener at a death",
    "a listener at the exit",
    "an observer of a task",
    "the end of a task",
    "a callback of a future",
    "a late callback of a future",
    "the consumer of a map",
    "an observer of map_in",
    "the end of map_in",
    "an async iterator",
    "a log handler",
    "the pickling of an argument",
    "the opening of an output",
    "the opening of a result",
    "the finalizer of an argument",
    "the finalizer of a listener",
    "the finalizer of an output that is replaced",
    "the finalizer of an output",
    "the finalizer of a result",
    *(f"{what} {name}" for what in ("an observer of", "the end of") for name in ("events", "messages", "workers")),
}
LOCKS = {
    "_GATES",
    "Mailbox._lock",
    "TerminalSubject._lock",
    "HotSubject._guard",
    "Pool._lock",
    "Worker._lock",
    "WorkerConnection._sending",
    "Delivery._lock",
    "Supervisor._lock",
    "ExternalEnvironment._lock",
    "TaskFuture._condition",
}
