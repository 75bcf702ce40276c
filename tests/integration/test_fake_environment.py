"""A fake environment and a real one: the same calls have the same outcome."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import time
from collections.abc import Callable, Generator
from typing import Any, Protocol

import pytest
from reactivex.testing import TestScheduler

from tests.integration.alike import remote
from wetlands_rx.environment import Environment, WorkerEvent
from wetlands_rx.exceptions import ExecutionException, SerializationError, WetlandsError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import FakeEnvironment

SOON = 30.0
FILE = remote.__file__
Steps = Generator[float | None, None, Any]


class Stage(Protocol):
    """A launched environment, and what a scenario does beside calling it."""

    @property
    def env(self) -> Environment: ...

    def launch(self, workers: int) -> None: ...

    def kill(self, task: Task[Any]) -> None:
        """Kill the worker that runs it."""
        ...

    def until(self, condition: Callable[[], object]) -> None:
        """Let time pass until something is so."""
        ...


class RealStage:
    def __init__(self, env: ExternalEnvironment) -> None:
        self.env = env

    def launch(self, workers: int) -> None:
        self.env.launch(max_workers=workers)

    def kill(self, task: Task[Any]) -> None:
        assert task.worker is not None
        os.kill(task.worker.pid, signal.SIGKILL)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + SOON
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)


class FakeStage:
    def __init__(self) -> None:
        self.env = env = FakeEnvironment(TestScheduler(), "here")
        for name, function in vars(remote).items():
            if callable(function):
                env.function(FILE, name)(function)

        @env.function(FILE)
        def until_canceled(*, task: Any) -> Steps:
            task.update("ready")
            yield
            task.cancel()

        @env.function(FILE)
        def ignore_cancel(*, task: Any) -> Steps:
            task.update("ready")
            yield
            return "anyway"

        @env.function(FILE)
        def forever(_item: Any = None, *, task: Any) -> Steps:
            task.update("ready")
            while True:
                yield 0.01

        @env.function(FILE)
        def rest(hundredths: int) -> Steps:
            yield hundredths / 100
            return hundredths

        @env.function(FILE)
        def die(code: int, *, task: Any) -> Steps:
            next(worker for worker in workers() if worker.call and worker.call.task_id == task.id).exit(code)
            yield

        def workers() -> list[Any]:
            return [env.worker(index) for index in range(env.worker_count)]

    def launch(self, workers: int) -> None:
        self.env.launch(max_workers=workers)

    def kill(self, task: Task[Any]) -> None:
        assert task.worker is not None
        self.env.worker(task.worker.index).kill()

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(1000):
            if condition():
                return
            self.env.clock.advance_by(0.01)
        raise AssertionError("it does not happen")


# --- What is compared


Told = list[tuple[TaskEventType, str | None, int | None, int | None, Any]]


def heard(stage: Stage, function: str, *args: Any) -> tuple[Task[Any], Told]:
    """Start a task; what its listener is told."""
    told: Told = []

    def listen(event: TaskEvent[Any]) -> None:
        told.append((event.type, event.message, event.current, event.maximum, event.output))

    return stage.env.submit(FILE, function, args, start=False).listen(listen).start(), told


def ready(stage: Stage, function: str) -> tuple[Task[Any], Told]:
    """As `heard`; the function has said that it runs."""
    task, told = heard(stage, function)
    stage.until(lambda: len(told) == 2)
    return task, told


def ended(*tasks: Task[Any]) -> list[Any]:
    """Wait for the ends; how they are."""
    return [_ended(task) for task in tasks]


def _ended(task: Task[Any]) -> Any:
    try:
        task.wait_for(SOON)
    except ExecutionException as failure:
        return _failed(task, failure)
    return task.status, task.result if task.status is TaskStatus.COMPLETED else None, task.outputs, task.progress_text


def _failed(task: Task[Any], failure: ExecutionException) -> Any:
    error = task.error
    assert error is not None
    assert failure is task.exception
    text = "" if error.category == "worker_died" else str(error)
    return task.status, type(failure), text, error.category, error.remote_type, error.exit_code


def raised(call: Callable[[], Any]) -> Any:
    """What a call returns, or how it fails."""
    try:
        return call()
    except (ExecutionException, TimeoutError, WetlandsError, concurrent.futures.CancelledError) as error:
        return type(error), str(error) if isinstance(error, WetlandsError | SerializationError) else ""


# --- Scenarios


def values(stage: Stage) -> Any:
    calls = [("double", (21,)), ("double", ([1, "two"],)), ("arguments", ()), ("go_through", ([1, 2, 3],))]
    tasks = [heard(stage, function, *args) for function, args in calls]
    return ended(*(task for task, _ in tasks)), [told for _, told in tasks]


def progress_and_outputs(stage: Stage) -> Any:
    task, told = heard(stage, "report")
    return ended(task), told


def failures(stage: Stage) -> Any:
    names = ["refuse", "unsendable", "bad_progress", "bad_output", "acknowledge_and_fail", "refused"]
    tasks = [heard(stage, name) for name in names]
    tasks.append(heard(stage, "double", remote.Unloadable()))
    outcome = ended(*(task for task, _ in tasks)), [told for _, told in tasks]
    return outcome, raised(lambda: stage.env.execute(FILE, "refuse"))[0]


def each_way_to_wait(stage: Stage) -> Any:
    env = stage.env

    async def awaited(function: str, *args: Any) -> Any:
        return await env.submit(FILE, function, args)

    return [
        env.execute(FILE, "double", (1,)),
        env.submit(FILE, "double", (2,)).future.result(SOON),
        asyncio.run(awaited("double", 3)),
        type(env.submit(FILE, "refuse").future.exception(SOON)),
        raised(lambda: asyncio.run(awaited("refuse")))[0],
        env.map_tasks(FILE, "double", [1, 2]).wait_for(SOON)[1].result,
        raised(lambda: env.submit(FILE, "forever").wait_for(0.05)),
        env.import_module(FILE).double(4),
    ]


def what_cannot_be_submitted(stage: Stage) -> Any:
    return [
        raised(lambda: stage.env.submit(FILE, "double", (lambda: 1,))),
        raised(lambda: stage.env.submit(lambda: stage))[0],
        raised(lambda: stage.env.map_tasks(FILE, "forever", [1, lambda: 2]))[0],
    ]


def a_queued_task_is_canceled(stage: Stage) -> Any:
    first, told_first = ready(stage, "until_canceled")
    second, told_second = heard(stage, "double", 1)
    second.cancel()
    at_once = second.status
    first.cancel()
    return at_once, second.worker, ended(first, second), told_first, told_second


def a_running_task_ignores_its_cancel(stage: Stage) -> Any:
    task, told = ready(stage, "ignore_cancel")
    task.cancel()
    at_once = task.status
    return at_once, ended(task), told, task.future.cancel()


def maps_in_both_orders(stage: Stage) -> Any:
    env = stage.env
    return [
        list(env.map(FILE, "rest", [10, 0, 0])),
        list(env.map(FILE, "rest", [20, 0, 0, 0], ordered=False)),
        list(env.map(FILE, "rest", [])),
    ]


def a_map_that_times_out(stage: Stage) -> Any:
    results = stage.env.map(FILE, "forever", [1, 2, 3], timeout=0.05)
    outcome = [raised(lambda: next(results)), raised(lambda: next(results, "over"))]
    late = stage.env.map(FILE, "forever", [1], timeout=0.05, ordered=False)
    return outcome, raised(lambda: next(late))


def a_map_with_a_failure(stage: Stage) -> Any:
    results = stage.env.map(FILE, "invert", [2, 0, 4])
    outcome = [next(results), raised(lambda: next(results))[0], raised(lambda: next(results, "over"))]
    tasks = stage.env.map_tasks(FILE, "invert", [0, 2])
    return outcome, raised(lambda: tasks.wait_for(SOON))[0], ended(*tasks)


def a_worker_is_killed(stage: Stage) -> Any:
    first, told_first = ready(stage, "forever")
    second, told_second = heard(stage, "double", 1)
    before = first.worker
    stage.kill(first)
    outcome = ended(first, second)
    assert before is not None
    assert second.worker is not None
    assert isinstance(first.exception, ExecutionException)
    replaced = second.worker.index == before.index and second.worker.pid != before.pid
    return outcome, replaced, told_first, told_second, getattr(first.exception, "signal", None)


def a_function_ends_its_worker(stage: Stage) -> Any:
    tasks = [heard(stage, "die", 7), heard(stage, "double", 1), heard(stage, "die", 8), heard(stage, "double", 2)]
    return ended(*(task for task, _ in tasks)), [told for _, told in tasks]


def the_environment_exits(stage: Stage) -> Any:
    running, told_running = ready(stage, "until_canceled")
    queued, told_queued = heard(stage, "double", 1)
    unstarted = stage.env.submit(FILE, "double", (1,), start=False)
    stage.env.exit()
    outcome = ended(running, queued, unstarted), told_running, told_queued, unstarted.started
    refused = raised(lambda: stage.env.submit(FILE, "double", (1,)))
    stage.env.exit()
    return outcome, refused, stage.env.launched()


def the_streams_of_the_environment(stage: Stage) -> Any:
    events: list[tuple[str, TaskEventType]] = []
    workers: list[Any] = []
    messages: list[str] = []
    ends: list[str] = []

    def on_worker(event: WorkerEvent) -> None:
        workers.append((event.type, event.worker.index, event.exit_code, event.signal))

    stage.env.exit()
    stage.env.events.subscribe(lambda event: events.append((event.task.name, event.type)))
    stage.env.workers.subscribe(on_worker, on_completed=lambda: ends.append("workers"))
    stage.env.messages.subscribe(lambda message: messages.append(type(message.message).__name__))
    stage.launch(1)
    ended(stage.env.submit(FILE, "report"))
    task, _ = ready(stage, "forever")
    stage.kill(task)
    ended(task, stage.env.submit(FILE, "double", (1,)))
    stage.env.exit()
    stage.until(lambda: ends)
    return events, workers, messages


SCENARIOS: list[tuple[int, Callable[[Stage], Any]]] = [
    (2, values),
    (1, progress_and_outputs),
    (2, failures),
    (2, each_way_to_wait),
    (1, what_cannot_be_submitted),
    (1, a_queued_task_is_canceled),
    (1, a_running_task_ignores_its_cancel),
    (2, maps_in_both_orders),
    (2, a_map_that_times_out),
    (2, a_map_with_a_failure),
    (1, a_worker_is_killed),
    (1, a_function_ends_its_worker),
    (1, the_environment_exits),
    (1, the_streams_of_the_environment),
]


@pytest.mark.parametrize(("workers", "scenario"), SCENARIOS, ids=[scenario.__name__ for _, scenario in SCENARIOS])
def test_a_fake_environment_does_what_a_real_one_does(
    here: ExternalEnvironment, workers: int, scenario: Callable[[Stage], Any]
) -> None:
    real, fake = RealStage(here), FakeStage()
    outcomes: list[Any] = []
    for stage in (real, fake):
        refused = raised(lambda env=stage.env: env.submit(FILE, "double", (1,)))
        stage.launch(workers)
        outcomes.append((refused, scenario(stage)))
    assert outcomes[1] == outcomes[0]


def test_what_is_compared_tells_different_ends_apart() -> None:
    stage = FakeStage()
    stage.launch(2)
    tasks = [stage.env.submit(FILE, name, args) for name, args in (("double", (1,)), ("double", (2,)), ("refuse", ()))]
    one, two, failed = ended(*tasks)
    assert one != two
    assert failed[:3] == (TaskStatus.FAILED, ExecutionException, "ValueError: not here")
