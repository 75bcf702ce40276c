"""Workers and callers are killed while arrays are on their way: no memory is left, and no array is torn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.helpers import kill, runs, until
from wetlands_rx.exceptions import WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment

FILE = Path(__file__).parent.parent / "integration" / "arrays" / "remote.py"
SOON = 60.0
COUNT = 200_000


@pytest.fixture
def env(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch()
    return here


def numbers(value: float = 1.0) -> Any:
    return np.full(COUNT, value)


def nothing_is_in_use(env: ExternalEnvironment) -> bool:
    arena = env._arena()  # pyright: ignore[reportPrivateUsage]
    assert arena is not None
    return arena.in_use == 0


def pid_of(env: ExternalEnvironment) -> int:
    worker = env.submit(FILE, "total", (numbers(),)).wait_for(SOON).worker
    assert worker is not None
    return worker.pid


def still_serves(env: ExternalEnvironment) -> None:
    assert env.execute(FILE, "total", (numbers(2.0),)) == 2 * COUNT
    until(lambda: nothing_is_in_use(env), "a block stayed taken")


def test_killed_before_the_call_comes(env: ExternalEnvironment) -> None:
    kill(pid_of(env))
    assert env.execute(FILE, "total", (numbers(),)) == COUNT
    still_serves(env)


def test_killed_while_calls_wait(env: ExternalEnvironment, tmp_path: Path) -> None:
    pid = pid_of(env)
    first = env.submit(FILE, "begin_and_wait", (numbers(), str(tmp_path / "never")))
    until((tmp_path / "never.began").exists)
    others = [env.submit(FILE, "add_one", (numbers(float(n)),)) for n in range(10)]
    kill(pid)
    _failure(first)
    for n, task in enumerate(others):
        result = task.wait_for(SOON).result
        assert result[0] == result[-1] == n + 1
    del others, first
    still_serves(env)


def _failure(task: Any) -> None:
    with pytest.raises(WorkerDiedError):
        task.wait_for(SOON)


def test_killed_while_the_function_has_the_array(env: ExternalEnvironment) -> None:
    task = env.submit(FILE, "die_with", (numbers(),))
    _failure(task)
    still_serves(env)


def test_killed_while_the_answer_is_pickled(env: ExternalEnvironment) -> None:
    task = env.submit(FILE, "die_while_answering", (numbers(),))
    _failure(task)
    still_serves(env)


def test_killed_while_it_keeps_an_array(env: ExternalEnvironment) -> None:
    env.execute(FILE, "keep", (numbers(),))
    assert not nothing_is_in_use(env)
    kill(pid_of(env))
    still_serves(env)


def test_killed_while_the_caller_has_results(env: ExternalEnvironment) -> None:
    pid = pid_of(env)
    results = [env.execute(FILE, "zeros", (COUNT, float(n))) for n in range(3)]
    kill(pid)
    still_serves(env)
    more = [env.execute(FILE, "zeros", (COUNT, 7.0)) for _ in range(3)]
    assert [(array[0], array[-1]) for array in results] == [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]
    assert [array[-1] for array in more] == [7.0] * 3


def test_killed_again_and_again_in_a_map_of_arrays(env: ExternalEnvironment) -> None:
    env.resize(2)
    done = failed = 0
    result = None
    for number, result in enumerate(
        env.map(FILE, "add_one", (numbers(float(n)) for n in range(400)), on_error="return", buffersize=16)
    ):
        if isinstance(result, Exception):
            assert isinstance(result, WorkerDiedError)
            failed += 1
        else:
            assert result[0] == result[-1] == number + 1
            done += 1
        if number % 40 == 20:
            kill(pid_of(env))
    del result
    assert done + failed == 400
    assert failed <= 20
    still_serves(env)


CALLER = """
import sys, numpy as np
from wetlands_rx import EnvironmentManager
env = EnvironmentManager(sys.argv[1]).load("here", sys.executable)
env.launch(max_workers=2)
kept = [env.execute(sys.argv[2], "zeros", (200_000, 1.0)) for _ in range(5)]
env.execute(sys.argv[2], "keep", (kept[0],))
tasks = [env.submit(sys.argv[2], "wait_for_file", (kept[0], "/nowhere")) for _ in range(10)]
print(*(worker.info.pid for worker in env._pool.workers()), flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_a_caller_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CALLER, str(tmp_path), str(FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        workers = [int(pid) for pid in caller.stdout.readline().split()]
        assert len(workers) == 2
        kill(caller.pid)
        caller.wait(SOON)
    until(lambda: not any(map(runs, workers)), "a worker outlived its caller")
    assert not any("wetlands" in name for name in os.listdir("/dev/shm"))  # nor was there ever a name


def test_killed_when_it_had_let_go_of_an_array_that_others_have_now(env: ExternalEnvironment, tmp_path: Path) -> None:
    env.resize(2)
    never, go = tmp_path / "never", tmp_path / "go"
    first = env.submit(FILE, "empty_and_wait", ([numbers()], str(never)))
    until((tmp_path / "never.began").exists)
    until(lambda: nothing_is_in_use(env))
    second = env.submit(FILE, "begin_and_wait", (numbers(2.0), str(go)))
    until((tmp_path / "go.began").exists)
    (worker,) = [worker for worker in env._runner().workers() if worker.info == first.worker]  # pyright: ignore[reportPrivateUsage]
    kill(worker.info.pid)
    _failure(first)
    del first
    worker.join(SOON)  # until then it may hold what the call referred to
    third = env.submit(FILE, "total", (numbers(3.0),))
    go.touch()
    assert second.wait_for(SOON).result == 2 * COUNT
    assert third.wait_for(SOON).result == 3 * COUNT
    del second, third
    still_serves(env)


def test_a_worker_that_ends_by_itself_frees_nothing_that_waits(env: ExternalEnvironment, tmp_path: Path) -> None:
    """What it has not begun is sent to its successor, and must not be given to anybody else before."""
    for _ in range(50):
        env.execute(FILE, "end_worker", (numbers(), ""))
    go = tmp_path / "go"
    first = env.submit(FILE, "end_worker", (numbers(), str(go)))
    until((tmp_path / "go.began").exists)
    others = [env.submit(FILE, "total", (numbers(float(n)),)) for n in range(20)]
    go.touch()
    _failure(first)
    more = [env.submit(FILE, "total", (numbers(float(n)),)) for n in range(20, 40)]
    assert [task.wait_for(SOON).result for task in (*others, *more)] == [n * COUNT for n in range(40)]
    del first, others, more
    still_serves(env)
