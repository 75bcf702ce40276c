"""Workers that die: exactly the running task fails, and all else goes on."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults import remote
from tests.faults.helpers import SOON, kill, runs, text_in, until
from wetlands_rx.exceptions import ProtocolError, WorkerDiedError, WorkerPoolBroken
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

REMOTE = remote.__file__
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
WORKERS = pytest.mark.parametrize("workers", [1, 3])


def died(task: Task[Any]) -> WorkerDiedError:
    with pytest.raises(WorkerDiedError) as raised:
        task.wait_for(SOON)
    assert task.status is FAILED
    return raised.value


def serves(env: ExternalEnvironment, workers: int = 1) -> None:
    """All workers are there and answer."""
    until(lambda: env.worker_count == workers, "a lost worker was not replaced")
    assert env.execute(REMOTE, "double", (21,)) == 42


@pytest.mark.parametrize(
    ("how", "exit_code", "signal_number"),
    [
        ("SIGKILL", None, signal.SIGKILL),
        ("SIGTERM", None, signal.SIGTERM),
        ("SIGSEGV", None, signal.SIGSEGV),
        ("SIGABRT", None, signal.SIGABRT),
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("exit 3 of a thread", 3, None),
        ("end of the group", None, signal.SIGKILL),
    ],
)
@WORKERS
def test_a_death_in_a_task_fails_that_task_alone(
    here: ExternalEnvironment, how: str, exit_code: int | None, signal_number: int | None, workers: int
) -> None:
    here.launch(max_workers=workers)
    before = [here.submit(REMOTE, "double", (number,)) for number in range(6)]
    poison = here.submit(REMOTE, "die", (how,))
    after = [here.submit(REMOTE, "double", (number,)) for number in range(6)]
    error = died(poison)
    assert (error.exit_code, error.signal) == (exit_code, signal_number)
    assert error.target == "remote.py:die"
    assert [task.wait_for(SOON).result for task in before + after] == [0, 2, 4, 6, 8, 10] * 2
    serves(here, workers)


@WORKERS
def test_many_deaths_never_end_the_pool(here: ExternalEnvironment, workers: int) -> None:
    here.launch(max_workers=workers)
    numbers = [-1 if number % 3 == 0 else number for number in range(30)]
    tasks = here.map_tasks(REMOTE, "double_or_die", numbers)
    for number, task in zip(numbers, tasks, strict=True):
        if number < 0:
            died(task)
        else:
            assert task.wait_for(SOON).result == 2 * number
    serves(here, workers)


def test_the_last_words_of_a_worker_are_kept(here: ExternalEnvironment) -> None:
    here.launch()
    error = died(here.submit(REMOTE, "say_and_die", ("first line\nlast line",)))
    assert error.stderr_tail == ("first line", "last line")
    assert "last line" in error.error


def test_the_story_of_a_task_whose_worker_died(here: ExternalEnvironment) -> None:
    here.launch()
    events: list[TaskEvent[Any]] = []
    task = here.submit(REMOTE, "die", ("SIGKILL",), start=False).listen(events.append).start()
    died(task)
    assert [event.type for event in events] == [TaskEventType.STARTED, TaskEventType.FAILURE]
    assert task.error is not None
    assert (task.error.category, task.traceback) == ("worker_died", [])
    assert isinstance(task.future.exception(SOON), WorkerDiedError)


def test_a_worker_killed_from_outside(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    task = here.submit(REMOTE, "begin_and_wait", (str(tmp_path / "pid"),))
    waiting = here.submit(REMOTE, "double", (21,))
    kill(int(text_in(tmp_path / "pid")))
    assert died(task).signal == signal.SIGKILL
    assert waiting.wait_for(SOON).result == 42


def test_a_worker_killed_while_idle_is_replaced(here: ExternalEnvironment) -> None:
    here.launch()
    for _ in range(10):
        before = here.execute(REMOTE, "pid")
        kill(before)
        until(lambda before=before: pid_of_worker(here) != before)
        serves(here)


def pid_of_worker(env: ExternalEnvironment) -> int:
    """The process of the first worker; 0 while there is none."""
    shown = re.search(r"<tr><td>0</td><td>(\d+)</td>", env._repr_html_())  # pyright: ignore[reportPrivateUsage]
    return int(shown[1]) if shown else 0


def test_a_kill_at_any_moment_of_a_stream_of_calls_hangs_nobody(here: ExternalEnvironment) -> None:
    """The call that was being handed over may fail; all others are answered."""
    here.launch(max_workers=2)
    for _ in range(10):
        victim = here.execute(REMOTE, "pid")
        tasks = [here.submit(REMOTE, "double", (number,)) for number in range(20)]
        kill(victim)
        tasks += [here.submit(REMOTE, "double", (number,)) for number in range(20)]
        failed = 0
        for task in tasks:
            try:
                task.wait_for(SOON)
            except WorkerDiedError:
                failed += 1
        assert failed <= 1
    serves(here, 2)


@pytest.mark.parametrize(("function", "args"), [("take", (remote.DiesWhenLoaded(),)), ("dies_when_sent", ())])
def test_a_death_while_a_value_is_loaded_or_sent(
    here: ExternalEnvironment, function: str, args: tuple[Any, ...]
) -> None:
    here.launch()
    assert died(here.submit(REMOTE, function, args)).exit_code == 3
    serves(here)


def test_a_call_whose_worker_died_before_it_had_it_all_runs_on_another_one(here: ExternalEnvironment) -> None:
    here.launch()
    victim = here.execute(REMOTE, "pid")
    os.kill(victim, signal.SIGSTOP)
    array = np.zeros(50_000_000, dtype=np.uint8)
    tasks: list[Task[Any]] = []
    sender = threading.Thread(target=lambda: tasks.append(here.submit(REMOTE, "take", (array,))))
    sender.start()  # it waits until the pipe has room
    until(lambda: "(1 busy)" in repr(here))
    kill(victim)
    sender.join(SOON)
    assert tasks[0].wait_for(SOON).status is COMPLETED
    assert tasks[0].worker is not None
    assert tasks[0].worker.pid != victim


def test_a_stopped_worker_goes_on_where_it_was(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    task = here.submit(REMOTE, "busy_until", (str(tmp_path / "gate"),))
    victim = pid_of_worker(here)
    os.kill(victim, signal.SIGSTOP)
    (tmp_path / "gate").touch()
    with pytest.raises(TimeoutError):
        task.wait_for(0.05)
    os.kill(victim, signal.SIGCONT)
    assert task.wait_for(SOON).result == "done"


def test_the_exit_does_not_wait_for_a_stopped_worker(here: ExternalEnvironment) -> None:
    here.launch()
    victim = here.execute(REMOTE, "pid")
    os.kill(victim, signal.SIGSTOP)
    array = np.zeros(50_000_000, dtype=np.uint8)
    tasks: list[Task[Any]] = []
    sender = threading.Thread(target=lambda: tasks.append(here.submit(REMOTE, "take", (array,))))
    sender.start()
    until(lambda: "(1 busy)" in repr(here))
    here.exit()
    sender.join(SOON)
    assert not sender.is_alive()
    assert tasks[0].wait_for(SOON).status is CANCELED
    assert not runs(victim)


def test_a_thread_that_exits_ends_nobody(here: ExternalEnvironment) -> None:
    here.launch()
    assert here.execute(REMOTE, "exit_in_thread") == "still here"


def test_a_thread_that_never_ends_does_not_hold_up_the_exit(here: ExternalEnvironment) -> None:
    here.launch()
    assert here.execute(REMOTE, "chatty_thread", (600,)) == "returned"
    here.exit()


# --- The pipe


@pytest.mark.parametrize(
    ("garbage", "then"),
    [
        (b"x", "return"),  # less than a header: it is noticed with the answer
        (b"hello\n" * 10, "return"),
        (b"hello\n" * 10, "wait"),
        (b"hello\n" * 10, "die"),
        (b"\0" * 100_000, "return"),
        (b"\0" * 100_000, "wait"),
    ],
)
def test_garbage_on_the_pipe_fails_the_task(here: ExternalEnvironment, garbage: bytes, then: str) -> None:
    here.launch()
    error = died(here.submit(REMOTE, "write_to_the_pipe", (garbage, then)))
    assert isinstance(error.__cause__, ProtocolError)
    serves(here)


@pytest.mark.parametrize("then", ["return", "wait"])
@pytest.mark.parametrize("first", [0, 3])
def test_a_worker_that_closes_all_its_descriptors(here: ExternalEnvironment, first: int, then: str) -> None:
    here.launch()
    died(here.submit(REMOTE, "close_everything", (first, then)))
    serves(here)


@pytest.mark.parametrize("how", ["read", "write", "both"])
def test_a_worker_that_shuts_its_pipe_down(here: ExternalEnvironment, how: str) -> None:
    import socket

    here.launch()
    shut = {"read": socket.SHUT_RD, "write": socket.SHUT_WR, "both": socket.SHUT_RDWR}[how]
    task = here.submit(REMOTE, "shut_down", (shut,))
    if how == "read":  # it can still answer; nobody is told until it is needed
        with pytest.raises(TimeoutError):
            task.wait_for(0.05)
        here.exit()
        assert task.wait_for(SOON).status is CANCELED
        return
    error = died(task)
    assert "closed its end of the pipe" in str(error.__cause__)
    assert (error.exit_code, error.signal) == (None, None), "we ended it, not the system"
    serves(here)


@pytest.mark.parametrize("in_session", [True, False])
def test_a_death_is_noticed_though_a_grandchild_holds_the_pipe_open(
    here: ExternalEnvironment, tmp_path: Path, *, in_session: bool
) -> None:
    here.launch()
    task = here.submit(REMOTE, "leave_grandchild", (str(tmp_path / "pid"),), {"dies": True, "in_session": in_session})
    began = time.monotonic()
    assert died(task).exit_code == 3
    assert time.monotonic() - began < SOON / 2
    grandchild = int(text_in(tmp_path / "pid"))
    serves(here)
    if in_session:
        until(lambda: not runs(grandchild), "what a worker started outlives it")
    else:
        kill(grandchild)


def test_what_a_worker_started_ends_with_it(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    grandchild = here.execute(REMOTE, "leave_grandchild", (str(tmp_path / "pid"),), {"dies": False, "in_session": True})
    assert runs(grandchild)
    here.exit()
    until(lambda: not runs(grandchild), "what a worker started outlives it")


@pytest.mark.parametrize("what", ["return", "raise", "wait"])
def test_a_function_that_forks_answers_once(here: ExternalEnvironment, what: str) -> None:
    here.launch()
    child = here.execute(REMOTE, "fork_and", (what,))
    assert isinstance(child, int)
    serves(here)
    here.exit()
    until(lambda: not runs(child))


@pytest.mark.parametrize("line", [True, False])
def test_a_flood_of_output_blocks_nobody(here: ExternalEnvironment, *, line: bool) -> None:
    here.launch()
    assert here.execute(REMOTE, "write_flood", (64, line)) == "done"


# --- The end of a pool


def test_workers_that_keep_dying_idle_break_the_pool_and_a_launch_revives_it(here: ExternalEnvironment) -> None:
    here.launch()
    for _ in range(5):
        until(lambda: "1 worker (0 busy)" in repr(here))
        victim = pid_of_worker(here)
        kill(victim)
        until(lambda victim=victim: pid_of_worker(here) != victim)
    until(lambda: not here.launched())
    with pytest.raises(WorkerPoolBroken, match="signal 9"):
        here.submit(REMOTE, "double", (1,))
    here.launch()
    serves(here)


def test_a_replacement_has_the_variables_of_the_worker_it_replaces(here: ExternalEnvironment) -> None:
    asked: list[int] = []

    def worker_env(index: int) -> dict[str, str]:
        asked.append(index)
        if len(asked) > 1:
            raise ZeroDivisionError("the user's, asked again")
        return {"WETLANDS_RX_TEST": f"worker {index}"}

    here.launch(worker_env=worker_env)
    died(here.submit(REMOTE, "die", ("exit 3",)))
    assert here.execute(REMOTE, "variable", ("WETLANDS_RX_TEST",)) == "worker 0"


def test_many_launches_and_exits_leave_nothing(here: ExternalEnvironment) -> None:
    """The fixture that watches every test counts threads, processes and descriptors."""
    for number in range(15):
        here.launch(max_workers=1 + number % 2)
        if number % 3 == 0:
            here.submit(REMOTE, "die", ("SIGKILL",))
        here.exit()
