"""Every usage example of the specification, run for real against isolated environments.

The files beside this one (`spec/`) are the remote modules that the examples name.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import MakeEnvironment
from wetlands_rx.environment import Environment
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

pytestmark = pytest.mark.network

NUMPY = {"pip": ["numpy==2.2.4"]}
STARDIST = {"pip": ["numpy==2.2.4", "scikit-image"]}
CELLPOSE = {"pip": ["numpy==2.3.5", "scikit-image"]}


@pytest.fixture(autouse=True)
def in_the_folder_of_the_modules() -> Iterator[None]:
    with contextlib.chdir(Path(__file__).parent / "spec"):
        yield


@pytest.fixture
def env(make_environment: MakeEnvironment) -> Iterator[Environment]:
    """The `numpy` environment of most examples, with one worker."""
    env = make_environment("numpy", NUMPY)
    env.launch()
    yield env
    env.exit()


@pytest.fixture
def stardist_env(make_environment: MakeEnvironment) -> Iterator[ExternalEnvironment]:
    """Not launched; stands for an environment with a segmenter."""
    env = make_environment("stardist", STARDIST)
    yield env
    env.exit()


@pytest.fixture
def cellpose_env(make_environment: MakeEnvironment) -> Iterator[ExternalEnvironment]:
    """Not launched; its numpy clashes with the other one's."""
    env = make_environment("cellpose", CELLPOSE)
    yield env
    env.exit()


class Printed:
    """What an example prints."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_event(self, event: TaskEvent[Any]) -> None:
        match event.type:
            case TaskEventType.UPDATE:
                t = event.task
                self.lines.append(f"[{t.progress:.0%}] {t.message}")
            case TaskEventType.COMPLETION:
                self.lines.append(f"Done: {event.task.result}")
            case TaskEventType.FAILURE:
                self.lines.append(f"Failed: {event.task.error}")
            case TaskEventType.CANCELATION:
                self.lines.append("Canceled")
            case TaskEventType.STARTED:
                pass


def images_of(env: Environment) -> list[np.ndarray[Any, Any]]:
    return [env.execute("segment.py", "load", (name,)) for name in ("coins", "moon", "page", "text")]


def test_basic(manager_root: Path) -> None:
    em = EnvironmentManager(manager_root)
    env = em.create("numpy", {"pip": ["numpy==2.2.4"]})
    env.launch()
    data = [3.0, 4.0]

    # submit() starts immediately by default, returns a Task
    task = env.submit("compute.py", "heavy_computation", args=(data,))
    # Block for the result
    task.wait_for()
    assert task.result == 5.0
    assert env.execute("compute.py", "numpy_version") == "2.2.4"
    env.exit()


def test_event_listener(env: Environment) -> None:
    printed = Printed()
    # start=False to register listener before dispatch
    task = env.submit("analysis.py", "process", args=([1, 2],), start=False)
    assert task.status is TaskStatus.PENDING
    task.listen(printed.on_event).start()
    task.wait_for()
    assert printed.lines == ["[50%] item 1", "[100%] item 2", "Done: 3"]


def test_event_listener_of_a_failure(env: Environment) -> None:
    printed = Printed()
    task = env.submit("analysis.py", "process_and_fail", args=([1],), start=False)
    with pytest.raises(ExecutionException, match=r"cannot analyze \[1\]"):
        task.listen(printed.on_event).start().wait_for()
    assert printed.lines == ["[50%] about to fail", "Failed: ValueError: cannot analyze [1]"]


def test_cancelation(env: Environment) -> None:
    running = threading.Event()  # where the example sleeps for five seconds
    task = env.submit("simulation.py", "run_simulation", args=({"steps": 100_000, "seconds": 0.001},))
    task.listen(lambda event: running.set() if event.type is TaskEventType.UPDATE else None)
    assert running.wait(30)
    if not task.status.is_finished():
        task.cancel()
        task.wait_for()
    assert task.status.name == "CANCELED"


def test_context_manager(env: Environment) -> None:
    printed = Printed()
    config = {"epochs": 3, "seconds": 0}
    with env.submit("training.py", "train_model", args=(config,), start=False) as task:
        task.listen(printed.on_event).start()
        # If we exit the block early (exception, break, etc.),
        # the task is automatically canceled and awaited.
        task.wait_for(timeout=300)
    # Task is guaranteed finished here
    assert task.status is TaskStatus.COMPLETED
    assert printed.lines[-1] == "Done: trained"


def test_context_manager_left_early(env: Environment) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        env.submit("training.py", "train_model", args=({"epochs": 100_000, "seconds": 0.001},), start=False) as task,
    ):
        task.start()
        _ = 1 / 0
    assert task.status is TaskStatus.CANCELED


def test_map_in_order(cellpose_env: ExternalEnvironment) -> None:
    env = cellpose_env
    env.launch(max_workers=4)  # 4 worker processes, same environment
    assert env.worker_count == 4
    images = images_of(env)
    # Process all images across 4 workers, results in order
    results = list(env.map("segment.py", "segment", images))
    assert [labels.shape for labels in results] == [image.shape for image in images]
    assert all(labels.max() > 10 for labels in results)
    env.exit()


def test_map_as_they_end(env: Environment, stardist_env: ExternalEnvironment) -> None:
    stardist_env.launch(max_workers=8)
    datasets = [300, 1, 1, 1]
    saved: list[int] = []
    # Results arrive as workers finish, not in submission order
    for result in stardist_env.map("analysis.py", "analyze", datasets, ordered=False):
        saved.append(result)  # noqa: PERF402 - as in the example
    assert saved == [1, 1, 1, 300]


def test_map_tasks_with_listeners(stardist_env: ExternalEnvironment) -> None:
    env = stardist_env
    env.launch(max_workers=4)
    images = images_of(env)
    lines: list[str] = []
    tasks = env.map_tasks("segment.py", "segment", images)
    # Attach progress listeners. The example formats `progress`, which is None before the first update.
    for task in tasks:
        task.listen(lambda e: lines.append(f"[{e.task.progress or 0:.0%}] {e.task.message}"))
    # Cancel all remaining tasks if one fails
    try:
        for task in tasks:
            task.wait_for()
    except ExecutionException:
        for t in tasks:
            t.cancel()
    assert [task.status for task in tasks] == [TaskStatus.COMPLETED] * 4
    assert lines.count("[100%] label") >= 4


def test_map_tasks_cancels_the_rest_when_one_fails(stardist_env: ExternalEnvironment) -> None:
    env = stardist_env
    env.launch(max_workers=2)
    tasks = env.map_tasks("segment.py", "segment_or_fail", [None, 1, 2, 3])
    with contextlib.suppress(ExecutionException):
        for task in tasks:
            task.wait_for()
    for t in tasks:
        t.cancel()
    concurrent.futures.wait([task.future for task in tasks], timeout=30)
    assert [task.status.name for task in tasks] == ["FAILED", "CANCELED", "CANCELED", "CANCELED"]


def test_a_listener_that_formats_a_missing_progress_harms_nobody(
    env: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    task = env.submit("compute.py", "fib", args=(5,), start=False)
    task.listen(lambda e: print(f"[{e.task.progress:.0%}] {e.task.message}"))  # as the example has it
    assert task.start().wait_for().result == 5
    assert "a listener of <Task" in caplog.text


def test_gpu_for_each_worker(env: Environment, stardist_env: ExternalEnvironment) -> None:
    env = stardist_env
    env.launch(max_workers=4, worker_env=lambda i: {"CUDA_VISIBLE_DEVICES": str(i)})
    batches = list(range(40))
    # Each worker uses a different GPU
    results = list(env.map("inference.py", "predict", batches))
    assert [batch for batch, _, _ in results] == batches
    pairs = {(device, pid) for _, device, pid in results}
    assert len({pid for _, pid in pairs}) == len({device for device, _ in pairs}) == len(pairs)
    assert {device for device, _ in pairs} <= {"0", "1", "2", "3"}


def test_two_environments_at_once(stardist_env: ExternalEnvironment, cellpose_env: ExternalEnvironment) -> None:
    for env in (stardist_env, cellpose_env):
        env.launch()
    image = stardist_env.execute("segment.py", "load", ("coins",))

    # Different environments: true parallelism (separate processes, separate deps)
    t1 = stardist_env.submit("segment.py", "segment", args=(image,))
    t2 = cellpose_env.submit("segment.py", "segment", args=(image,))
    concurrent.futures.wait([t1.future, t2.future])
    assert t1.result.shape == t2.result.shape == image.shape
    versions = [env.execute("compute.py", "numpy_version") for env in (stardist_env, cellpose_env)]
    assert versions == ["2.2.4", "2.3.5"]


def test_arrays_cross_between_numpy_1_and_2(make_environment: MakeEnvironment) -> None:
    with make_environment("old-numpy", {"pip": ["numpy==1.26.4"]}) as env:
        env.launch()
        for array in (np.arange(12.0).reshape(3, 4), np.asfortranarray(np.eye(3)), np.arange(10)[::2], np.array(7)):
            there = env.execute("compute.py", "heavy_computation", args=(array,))
            assert there == pytest.approx(float(np.linalg.norm(array)))
            back = env.execute("compute.py", "same", args=(array,))
            assert np.array_equal(back, array)
            assert back.dtype == array.dtype
        assert env.execute("compute.py", "numpy_version") == "1.26.4"


def test_await(manager_root: Path) -> None:
    em = EnvironmentManager(manager_root)

    async def main() -> int:
        env = em.create("numpy", {"pip": ["numpy==2.2.4"]})
        env.launch()
        # await directly resolves to the result
        result: int = await env.submit("compute.py", "fibonacci", args=(50,))
        env.exit()
        return result

    assert asyncio.run(main()) == 12586269025


def test_async_events(env: Environment) -> None:
    lines: list[str] = []

    async def monitor(task: Task[Any]) -> None:
        async for event in task.events():
            match event.type:
                case TaskEventType.UPDATE:
                    lines.append(f"Progress: {event.task.progress:.0%}")
                case TaskEventType.COMPLETION:
                    lines.append(f"Result: {event.task.result}")
                case _:
                    pass

    async def main() -> None:
        task = env.submit("compute.py", "long_work", args=(list(range(20)),))
        await monitor(task)

    asyncio.run(main())
    assert lines[-1] == "Result: 190"
    assert all(line.startswith("Progress: ") for line in lines[:-1])


def test_future(env: Environment) -> None:
    future = env.submit("compute.py", "fib", args=(50,)).future
    # ... do other work ...
    assert future.result(timeout=60) == 12586269025
    assert isinstance(future, concurrent.futures.Future)


def test_blocking_and_not(env: Environment) -> None:
    # Blocking (existing API, unchanged)
    result = env.execute("compute.py", "fibonacci", args=(50,))
    # Non-blocking (new task API)
    task = env.submit("compute.py", "fibonacci", args=(50,))
    task.wait_for()
    assert task.result == result
    # Or even shorter with Future
    assert env.submit("compute.py", "fibonacci", args=(50,)).future.result() == result


def test_typed(stardist_env: ExternalEnvironment) -> None:
    env = stardist_env
    env.launch()
    image = env.execute("segment.py", "load", ("coins",))
    task: Task[np.ndarray[Any, Any]] = env.submit("segment.py", "segment", args=(image,))
    masks: np.ndarray[Any, Any] = task.wait_for().result
    assert masks.dtype == np.int32


def test_timeout_then_cancel(env: Environment) -> None:
    task = env.submit("simulation.py", "run_simulation", args=({"steps": 100_000, "seconds": 0.001},))
    try:
        task.wait_for(timeout=0.05)  # the example waits for 30 s
        pytest.fail("it cannot have ended")
    except TimeoutError:
        assert not task.status.is_finished()
        task.cancel()
        task.wait_for()  # wait for cancellation to complete
    assert task.status is TaskStatus.CANCELED


def test_remote_code(env: Environment) -> None:
    printed = Printed()
    task = env.submit("remote_module.py", "long_computation", args=([1, 2, 3],), start=False)
    task.listen(printed.on_event).start().wait_for()
    assert task.result == [1, 4, 9]
    assert task.outputs == {"partial_results": [1, 4, 9]}
    assert printed.lines[0] == "[0%] Processing item 0"


def test_remote_code_without_a_caller_still_works(env: Environment) -> None:
    remote = env.import_module("remote_module.py")
    assert remote.expensive_operation(7) == 49
    assert remote.long_computation([2]) == [4]


def test_qt(env: Environment) -> None:
    """In a process of its own: a broken slot aborts PyQt6's interpreter."""
    folder = Path(__file__).parent / "spec"
    answer = subprocess.run(
        [sys.executable, str(folder / "qt_example.py"), str(env.prefix.python)],  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["bar 50", "text threshold", "failed ValueError: there is no image", "done 42"]
