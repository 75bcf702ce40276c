"""What happens once in a process, and so is measured in a new one: `python -m tests.benchmarks.once NAME`."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import jobs
from tests.benchmarks.measure import OURS, Comparison, at_most
from tests.benchmarks.systems import EXECUTOR, JOBS

QUEUED = 50_000
IDLE_S = 2.0


def comparisons() -> Iterator[Comparison]:
    yield Comparison("import", "ms", {OURS: imported}, (at_most(30),), digits=1)
    yield Comparison(
        "first result of 1 worker, after the import",
        "ms",
        {OURS: _new("answered", "1"), EXECUTOR: _new("executor_answered", "1")},
        (at_most(150),),
    )
    yield Comparison(
        "all of 4 workers have answered",
        "ms",
        {OURS: _new("answered", "4"), EXECUTOR: _new("executor_answered", "4")},
        (at_most(350),),
    )
    yield Comparison(
        f"memory of each of {QUEUED:,} queued tasks, its argument included",
        "bytes",
        {OURS: _new("queued"), EXECUTOR: _new("executor_queued")},
        (at_most(1500),),
    )
    yield Comparison("memory (PSS) of an idle worker", "MB", {OURS: _new("idle_memory")}, (at_most(12),), digits=1)
    yield Comparison("processor time of an idle worker", "%", {OURS: _new("idle_cpu")}, (at_most(0),), digits=2)


def _new(name: str, *arguments: str) -> Callable[[], float]:
    command = [sys.executable, "-m", __name__, name, *arguments]
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def imported() -> float:
    """In a process that has imported nothing of this yet."""
    code = "import time; t = time.perf_counter(); import wetlands_rx; print((time.perf_counter() - t) * 1e3)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def answered(workers: int) -> float:
    from wetlands_rx import EnvironmentManager

    with tempfile.TemporaryDirectory() as root:
        before = time.perf_counter()
        with EnvironmentManager(root).load("here", sys.executable) as env:
            env.launch(max_workers=workers)
            for task in [env.submit(JOBS, "echo", (n,)) for n in range(workers)]:
                task.wait_for()
            return (time.perf_counter() - before) * 1e3


def executor_answered(workers: int) -> float:
    before = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        for future in [executor.submit(jobs.echo, n) for n in range(workers)]:
            future.result()
        return (time.perf_counter() - before) * 1e3


def queued() -> float:
    from wetlands_rx import EnvironmentManager

    with tempfile.TemporaryDirectory() as root, EnvironmentManager(root).load("here", sys.executable) as env:
        env.launch()
        go = os.path.join(root, "go")
        env.submit(JOBS, "wait_for_file", (go,))
        used, _kept = _growth(partial(env.submit, JOBS, "echo"))
        Path(go).touch()
        return used


def executor_queued() -> float:
    with (
        tempfile.TemporaryDirectory() as root,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor,
    ):
        go = os.path.join(root, "go")
        executor.submit(jobs.wait_for_file, go)
        used, kept = _growth(lambda arguments: executor.submit(jobs.echo, *arguments))
        for future in kept:
            future.cancel()
        Path(go).touch()
        return used


def _growth(submit: Callable[[tuple[int]], Any]) -> tuple[float, list[Any]]:
    process = psutil.Process()
    kept = [submit((number,)) for number in range(1000)]  # what is needed once
    before = process.memory_info().rss
    kept += [submit((number,)) for number in range(QUEUED)]
    return (process.memory_info().rss - before) / QUEUED, kept


def _idle_worker(measure: Callable[[psutil.Process], float]) -> float:
    from wetlands_rx import EnvironmentManager

    with tempfile.TemporaryDirectory() as root, EnvironmentManager(root).load("here", sys.executable) as env:
        env.launch()
        worker = env.submit(JOBS, "echo", (1,)).wait_for().worker
        assert worker is not None
        return measure(psutil.Process(worker.pid))


def idle_memory() -> float:
    return _idle_worker(lambda worker: worker.memory_full_info().pss / 1e6)


def idle_cpu() -> float:
    def used(worker: psutil.Process) -> float:
        time.sleep(0.1)
        before = sum(worker.cpu_times()[:2])
        time.sleep(IDLE_S)
        return (sum(worker.cpu_times()[:2]) - before) / IDLE_S * 100

    return _idle_worker(used)


def main() -> None:
    name, *arguments = sys.argv[1:]
    function: Callable[..., float] = globals()[name]
    print(function(*map(int, arguments)))


if __name__ == "__main__":
    main()
