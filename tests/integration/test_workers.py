"""The workers of an environment: how many, for how long, with what, and what is said of them."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.maps import functions
from wetlands_rx.environment import EnvironmentStatistics
from wetlands_rx.exceptions import InvalidStateError, NotLaunchedError, WorkerDiedError, WorkerStartError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.internal_environment import InternalEnvironment
from wetlands_rx.task import TaskStatus
from wetlands_rx.testing import FakeEnvironment

FILE = functions.__file__
SOON = 60.0


def until(condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def pids(env: ExternalEnvironment) -> set[int]:
    """Of all workers."""
    return {int(pid) for pid in re.findall(r"<tr><td>\d+</td><td>(\d+)</td>", env._repr_html_())}  # pyright: ignore[reportPrivateUsage]


# --- resize


def test_more_workers_are_ready_on_return(here: ExternalEnvironment, tmp_path: Path) -> None:
    seen: list[int] = []

    def worker_env(index: int) -> dict[str, str]:
        seen.append(index)
        return {"GPU": str(index)}

    here.launch(worker_env=worker_env)
    before = pids(here)
    here.resize(3)
    assert here.statistics().idle == 3
    assert before < pids(here)
    assert seen == [0, 1, 2]
    gate = str(tmp_path / "gate")
    tasks = [here.submit(FILE, "variable", ("GPU", gate)) for _ in range(3)]
    until(lambda: here.statistics().busy == 3)
    Path(gate).touch()
    assert sorted(task.wait_for(SOON).result for task in tasks) == ["0", "1", "2"]


def test_fewer_workers_end_when_they_are_idle_or_after_their_call(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch(max_workers=3)
    gate = tmp_path / "gate"
    tasks = [here.submit(FILE, "gated", ((x, str(gate)),)) for x in range(3)]
    here.resize(1)
    later = here.submit(FILE, "double", (4,))
    assert here.worker_count == 3
    gate.touch()
    assert [task.wait_for(SOON).result for task in [*tasks, later]] == [0, 1, 2, 8]
    until(lambda: here.worker_count == 1)
    assert here.statistics().lost == 0
    here.resize(2)
    assert here.statistics().idle == 2


def test_a_worker_that_cannot_start_leaves_the_others_as_they_were(here: ExternalEnvironment) -> None:
    here.launch(worker_env=lambda index: {"PYTHONHOME": "/nowhere"} if index else {})
    with pytest.raises(WorkerStartError, match=r"worker [12] did not start"):
        here.resize(3)
    until(lambda: here.worker_count == 1)
    assert here.execute(FILE, "double", (2,)) == 4
    here.resize(1)


def test_resizing_while_work_goes_on_loses_nothing(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)
    results = here.map(FILE, "double", range(20_000), ordered=False, chunksize=1)
    tasks = [here.submit(FILE, "double", (x,)) for x in range(2000)]
    for size in (3, 1, 2):
        here.resize(size)
        here.recycle()
    assert sorted(results) == [2 * x for x in range(20_000)]
    assert [task.wait_for(SOON).result for task in tasks] == [2 * x for x in range(2000)]
    until(lambda: here.worker_count == 2)
    assert here.statistics().done == 22_000


@pytest.mark.parametrize("count", [0, -1])
def test_no_workers_at_all_is_refused(here: ExternalEnvironment, count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        here.resize(count)
    with pytest.raises(TypeError, match="whole number"):
        here.resize(1.5)  # type: ignore[arg-type]


def test_without_a_launch_there_is_nothing_to_resize(here: ExternalEnvironment) -> None:
    for what in (lambda: here.resize(2), here.recycle):
        with pytest.raises(NotLaunchedError):
            what()


# --- recycle, max_tasks_per_worker


def test_idle_workers_are_replaced_at_once(here: ExternalEnvironment) -> None:
    here.launch(max_workers=2)
    before = pids(here)
    here.recycle()
    assert not before & running()
    assert here.execute(FILE, "double", (2,)) == 4
    until(lambda: here.statistics().idle == 2)
    assert not before & pids(here)
    assert here.statistics().lost == 0


def running() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def test_busy_workers_are_replaced_after_their_call(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    (before,) = pids(here)
    task = here.submit(FILE, "gated", ((7, str(tmp_path / "gate")),))
    here.recycle()
    assert pids(here) == {before}
    (tmp_path / "gate").touch()
    assert task.wait_for(SOON).result == 7
    assert here.execute(FILE, "pid") != before


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunk", ["auto", 1, 10])
def test_a_worker_ends_after_so_many_calls(here: ExternalEnvironment, workers: int, chunk: Any) -> None:
    here.launch(max_workers=workers, max_tasks_per_worker=10)
    served = list(here.map(FILE, "pid_for", range(200), chunksize=chunk))
    assert max(served.count(pid) for pid in set(served)) <= 10
    assert len(set(served)) >= 20
    tasks = [here.submit(FILE, "pid_for", (x,)) for x in range(100)]
    pids_of_tasks = [task.wait_for(SOON).result for task in tasks]
    assert max(pids_of_tasks.count(pid) for pid in set(pids_of_tasks)) <= 10
    assert here.statistics().lost == 0


# --- preload, worker_timeout


def test_modules_are_there_before_the_first_call(here: ExternalEnvironment, tmp_path: Path) -> None:
    file = tmp_path / "heavy.py"
    file.write_text("import time\nloaded_at = time.monotonic()\ndef when():\n    return loaded_at\n")
    here.launch(preload=["wave", file])
    ready_at = time.monotonic()
    assert here.execute(file, "when") < ready_at
    assert here.execute(FILE, "has_module", ("wave",)) is True


@pytest.mark.parametrize("module", ["no_such_module", "raises.py"])
def test_what_cannot_be_imported_fails_the_launch_and_leaves_nothing(
    here: ExternalEnvironment, tmp_path: Path, module: str
) -> None:
    (tmp_path / "raises.py").write_text("1 / 0\n")
    given: Any = tmp_path / module if module.endswith(".py") else module
    with pytest.raises(WorkerStartError, match=r"ZeroDivisionError|no_such_module"):
        here.launch(max_workers=2, preload=[given])
    assert not here.launched()
    assert here.worker_count == 0


def test_what_is_no_list_of_modules_is_refused(here: ExternalEnvironment, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"such as \['numpy'\]"):
        here.launch(preload="numpy")
    with pytest.raises(FileNotFoundError):
        here.launch(preload=[tmp_path / "none.py"])
    for timeout in (0, -1):
        with pytest.raises(ValueError, match="worker_timeout"):
            here.launch(worker_timeout=timeout)
    with pytest.raises(ValueError, match="max_tasks_per_worker is 0"):
        here.launch(max_tasks_per_worker=0)


def test_a_launch_waits_only_as_long_as_it_is_told(here: ExternalEnvironment, tmp_path: Path) -> None:
    file = tmp_path / "slow.py"
    file.write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(WorkerStartError, match=r"no answer after 0\.5 s"):
        here.launch(preload=[file], worker_timeout=0.5)
    assert here.worker_count == 0


# --- execute, exit


def test_execute_from_many_threads_uses_all_workers(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch(max_workers=3)
    gate = tmp_path / "gate"
    got: list[int] = []

    def execute(x: int) -> None:
        got.append(here.execute(FILE, "gated", ((x, str(gate)),)))

    threads = [threading.Thread(target=execute, args=(x,)) for x in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: here.statistics().busy == 3)
    gate.touch()
    for thread in threads:
        thread.join(SOON)
    assert sorted(got) == [0, 1, 2]


def test_an_exit_does_not_wait_for_an_execute(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    raised: list[BaseException] = []

    def execute() -> None:
        try:
            here.execute(FILE, "gated", ((1, str(tmp_path / "never")),))
        except InvalidStateError as error:
            raised.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    until(lambda: here.statistics().busy == 1)
    here.exit()
    thread.join(SOON)
    assert not thread.is_alive()
    assert len(raised) == 1


# --- statistics


def test_calls_and_items_are_counted(here: ExternalEnvironment, tmp_path: Path) -> None:
    assert here.statistics() == EnvironmentStatistics()
    here.launch(max_workers=2)
    assert here.statistics() == EnvironmentStatistics(workers=2, idle=2)
    assert list(here.map(FILE, "touchy", range(70), on_error="skip")) == [x for x in range(70) if x % 7 != 3]
    here.execute(FILE, "double", (1,))
    with pytest.raises(WorkerDiedError):
        here.execute(FILE, "logged", ((55, str(tmp_path)),))
    until(lambda: here.statistics().idle == 2)
    assert here.statistics() == EnvironmentStatistics(workers=2, idle=2, lost=1, done=61, failed=11)
    gates = [here.submit(FILE, "gated", ((x, str(tmp_path / "never")),)) for x in range(5)]
    results = here.map(FILE, "double", range(100))
    assert here.statistics() == EnvironmentStatistics(2, 0, 2, 1, 103, 61, 11)
    assert "2 workers (2 busy), 103 queued, 61 done, 11 failed, 1 worker lost" in repr(here)
    gates[4].cancel()
    results.close()
    assert (here.statistics().queued, here.statistics().canceled) == (2, 101)
    here.exit()
    assert all(task.status is TaskStatus.CANCELED for task in gates)
    assert here.statistics() == EnvironmentStatistics(lost=1, done=61, failed=11, canceled=105)


def test_the_others_count_too() -> None:
    internal = InternalEnvironment()
    assert internal.statistics() == EnvironmentStatistics()
    assert list(internal.map(FILE, "touchy", range(10), on_error="skip")) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert (internal.statistics().done, internal.statistics().failed) == (9, 1)
    assert "9 done, 1 failed" in repr(internal)
    internal.resize(2)
    internal.recycle()
    assert internal.worker_count == 2
    internal.exit()

    fake = FakeEnvironment()

    @fake.function("work.py")
    def slow(x: int) -> Any:
        yield 10
        if x == 3:
            raise ValueError(x)
        return x

    fake.launch(max_workers=2, max_tasks_per_worker=2)
    first = fake.worker(0)
    assert list(fake.map("work.py", "slow", range(6), on_error="skip")) == [0, 1, 2, 4, 5]
    assert fake.statistics() == EnvironmentStatistics(workers=2, idle=2, done=5, failed=1)
    assert fake.worker(0) is not first
    task = fake.submit("work.py", "slow", (1,))
    fake.resize(1)
    fake.recycle()
    assert task.wait_for(SOON).result == 1
    assert fake.statistics().workers == 1
    fake.worker(0).kill()
    assert (fake.statistics().lost, fake.statistics().workers) == (1, 1)
    fake.exit()
    assert fake.statistics().done == 6
