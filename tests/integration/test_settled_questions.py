"""The questions that the design has settled, each answered by real workers.

Answered elsewhere, and not asked twice:

- A queued task is PENDING.
    test_calls.py::test_a_task_is_running_only_when_a_worker_has_it
- `wait_for()` returns after the listeners saw the end, but not never, when one of them does not return;
  at once in a listener of the end; and is an error in one before.
    unit/task/test_task.py::test_a_wait_ends_after_the_listeners_were_told
    test_calls.py::test_a_listener_that_never_returns_holds_back_nobody
    unit/task/test_task.py::test_a_terminal_listener_may_wait_for_its_own_task
    unit/task/test_task.py::test_a_listener_cannot_wait_for_its_own_task_before_the_end
- `error` is a text with facts, `traceback` a list of lines.
    unit/task/test_task.py::test_an_error_is_a_string_that_can_be_pickled_and_compared
    unit/task/test_task.py::test_an_error_says_of_what_kind_it_is
    unit/task/test_task.py::test_the_error_of_a_lost_worker_carries_how_it_ended
    unit/task/test_task.py::test_the_traceback_is_a_copy
- Work before the launch or after the exit is refused.
    test_calls.py::test_work_before_the_launch_and_after_the_exit_is_refused
- Scripts end well with the code 0, and badly with others.
    test_calls.py::test_a_script_that_ends_well
    test_calls.py::test_a_script_that_ends_badly
- `SystemExit` and its like fail the task and leave the worker alive.
    test_calls.py::test_whatever_a_function_raises_the_worker_lives
- Files of one name are two modules, each with its neighbours; an edited file is reloaded.
    test_calls.py::test_two_files_of_one_name_and_their_neighbours
    test_calls.py::test_an_edited_file_is_used_at_once
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.calls import remote
from wetlands_rx.exceptions import InvalidStateError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskStatus

REMOTE = remote.__file__
SOON = 30.0
SHORT = 0.01
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus


@pytest.fixture
def one(here: ExternalEnvironment) -> ExternalEnvironment:
    """With one worker."""
    here.launch()
    return here


def busy(env: ExternalEnvironment, gate: Path) -> Task[Any]:
    """A task that a worker has, until the file is there."""
    task = env.submit(REMOTE, "busy_until", (str(gate),))
    assert task.status is RUNNING
    return task


def assert_serves(env: ExternalEnvironment, worker: int) -> None:
    """The worker is the one that it was, and its reader reads."""
    assert env.execute(REMOTE, "pid") == worker


def test_a_task_that_is_started_again_in_every_status_runs_once(one: ExternalEnvironment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = busy(one, gate)
    task = one.submit(REMOTE, "count", start=False)
    before = one.submit(REMOTE, "count")
    task.start().start()
    assert task.status is PENDING
    first.start()
    gate.touch()
    assert task.wait_for(SOON).result == before.wait_for(SOON).result + 1
    task.start()
    first.start()
    assert one.execute(REMOTE, "count") == task.result + 1


def test_a_canceled_future_of_a_queued_task_is_canceled_at_once_and_the_reader_goes_on(
    one: ExternalEnvironment, tmp_path: Path
) -> None:
    worker, gate = one.execute(REMOTE, "pid"), tmp_path / "gate"
    first = busy(one, gate)
    queued = one.submit(REMOTE, "double", (1,))
    assert queued.future.cancel()
    assert (queued.future.cancelled(), queued.status) == (True, CANCELED)
    gate.touch()
    first.wait_for(SOON)
    assert_serves(one, worker)


def test_a_canceled_future_of_a_running_task_takes_the_result_that_comes_all_the_same(
    one: ExternalEnvironment,
) -> None:
    worker = one.execute(REMOTE, "pid")
    task = one.submit(REMOTE, "ignore_cancel")
    assert not task.future.cancel()
    assert not task.future.cancel()
    assert task.future.result(SOON) == task.wait_for(SOON).result == "finished anyway"
    assert_serves(one, worker)


def test_a_wait_of_asyncio_that_takes_too_long_leaves_the_task_and_the_reader_alone(
    one: ExternalEnvironment, tmp_path: Path
) -> None:
    worker, gate = one.execute(REMOTE, "pid"), tmp_path / "gate"
    task = busy(one, gate)

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, SHORT)
        assert task.status is RUNNING
        gate.touch()
        await asyncio.wait_for(task, SOON)

    asyncio.run(main())
    assert task.status is COMPLETED
    assert_serves(one, worker)


def test_a_wait_of_asyncio_for_the_future_cancels_the_task_as_asyncio_does_and_the_reader_goes_on(
    one: ExternalEnvironment,
) -> None:
    worker = one.execute(REMOTE, "pid")
    task = one.submit(REMOTE, "until_canceled")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(task.future), SHORT)

    asyncio.run(main())
    assert task.wait_for(SOON).status is CANCELED
    assert task.future.cancelled()
    assert_serves(one, worker)


def each_as_it_ends(futures: list[Any], timeout: float) -> None:
    for _ in concurrent.futures.as_completed(futures, timeout):
        pass


@pytest.mark.parametrize("wait", [concurrent.futures.wait, each_as_it_ends])
def test_canceled_tasks_wake_who_waits_for_their_futures(one: ExternalEnvironment, wait: Callable[..., object]) -> None:
    tasks = [one.submit(REMOTE, "until_canceled") for _ in range(3)]
    futures = [task.future for task in tasks]
    waiter = threading.Thread(target=wait, args=(futures, SOON))
    waiter.start()
    for task in tasks:
        task.cancel()
    waiter.join(SOON / 2)
    assert not waiter.is_alive()
    assert all(future.cancelled() for future in futures)


def test_an_async_with_block_is_left_quietly_when_it_has_canceled(one: ExternalEnvironment) -> None:
    async def main() -> list[Task[Any]]:
        async with one.submit(REMOTE, "until_canceled", start=False) as running:
            assert running.status is RUNNING
            async with one.submit(REMOTE, "double", (1,), start=False) as queued:
                assert queued.status is PENDING
        return [running, queued]

    assert [task.status for task in asyncio.run(main())] == [CANCELED, CANCELED]


def test_who_catches_the_standard_invalid_state_error_catches_ours(one: ExternalEnvironment) -> None:
    task = one.submit(REMOTE, "double", (1,), start=False)
    with pytest.raises(concurrent.futures.InvalidStateError) as raised:
        _ = task.result
    assert isinstance(raised.value, InvalidStateError)


def test_a_function_is_found_by_the_path_of_its_file_and_never_by_the_name_alone(
    one: ExternalEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        one.submit("json", "loads", ("1",))
    paths = [tmp_path / "random.py", tmp_path / "folder" / "random.py"]
    for place, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"import random, beside\ndef f(): return {place}, beside.NAME, random.__file__")
        (path.parent / "beside.py").write_text(f"NAME = 'beside {place}'")
    other = tmp_path / "other.py"
    other.write_text("import random\ndef f(): return random.random() < 1")
    monkeypatch.chdir(tmp_path)
    for place, path in enumerate(["random.py", "folder/random.py"]):
        where, beside, standard = one.execute(path, "f")
        assert (where, beside) == (place, f"beside {place}")
        assert Path(standard) not in paths
    assert one.execute(other, "f")
