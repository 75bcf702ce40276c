"""Arrays there and back. What happens once in a process is measured in a new one: `... .arrays NAME BYTES`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil

from tests.benchmarks import jobs
from tests.benchmarks.limit import limit
from tests.benchmarks.measure import OURS, Comparison, at_least, at_most
from tests.benchmarks.systems import EXECUTOR, JOBS, Systems
from wetlands_rx import EnvironmentManager

LIMIT = "two copies and nothing else"
MB, GB = 10**6, 10**9
BARS = {1: 5.0, 16: 8.0, 100: 8.0, 1000: 8.0}
TASKS = 1000


def comparisons(on: Systems) -> Iterator[Comparison]:
    for megabytes, bar in BARS.items():
        yield echo(on, megabytes, bar)
    yield many(on)
    yield Comparison(
        "first echo of 16 MB in a fresh pool",
        "ms",
        {OURS: _new("first", 16 * MB), LIMIT: _new("first_limit", 16 * MB)},
        (at_most(2, LIMIT),),
        digits=1,
    )
    yield Comparison(
        "first echo of 100 MB in a fresh pool",
        "ms",
        {OURS: _new("first", 100 * MB), LIMIT: _new("first_limit", 100 * MB)},
        (at_most(2, LIMIT),),
        digits=1,
    )
    yield Comparison(
        "echo of 1 GB: memory of all processes at most, over that of the arrays alive",
        "",
        {OURS: _new("peak", GB)},
        (at_most(2),),
        digits=2,
    )
    yield in_place(on)


def numbers(size: int) -> Any:
    return np.random.default_rng(1).random(size // 4, "f4")


def seconds(echoes: Callable[[Any], Any], array: Any) -> float:
    """The median time of an echo."""
    times: list[float] = []
    for _ in range(max(5, min(100, 400 * MB // array.nbytes))):
        before = time.perf_counter()
        back = echoes(array)
        times.append(time.perf_counter() - before)
        if back[0] != array[0] or back[-1] != array[-1]:
            raise AssertionError("the array came back changed")
        del back
    return sorted(times)[len(times) // 2]


def echo(on: Systems, megabytes: int, bar: float) -> Comparison:
    array = numbers(megabytes * MB)

    def speed(echoes: Callable[[Any], Any]) -> float:
        return 2 * array.nbytes / GB / seconds(echoes, array)

    def least() -> float:
        with limit(array.nbytes) as machine:
            machine.echo(array)
            return speed(machine.echo)

    systems: dict[str, Callable[[], float]] = {
        OURS: lambda: speed(lambda a: on.ours.execute(JOBS, "echo", (a,))),
        LIMIT: least,
    }
    if megabytes <= 100:
        systems[EXECUTOR] = lambda: speed(lambda a: on.executor.submit(jobs.echo, a).result())
    return Comparison(
        f"echo of a float32 array of {megabytes} MB, both ways counted", "GB/s", systems, (at_least(bar),), digits=1
    )


def many(on: Systems) -> Comparison:
    arrays = [np.full(MB // 4, number, "f4") for number in range(8)]

    def run(submit: Callable[[Any], Any]) -> float:
        before = time.perf_counter()
        for number, task in enumerate([submit(arrays[number % 8]) for number in range(TASKS)]):
            if task.result()[-1] != number % 8:
                raise AssertionError("another array came back")
        return 2 * TASKS * arrays[0].nbytes / GB / (time.perf_counter() - before)

    return Comparison(
        f"{TASKS:,} tasks at once, each with 1 MB there and back",
        "GB/s",
        {
            OURS: lambda: run(lambda a: on.ours.submit(JOBS, "echo", (a,)).future),
            EXECUTOR: lambda: run(lambda a: on.executor.submit(jobs.echo, a)),
        },
        (at_least(4),),
        digits=1,
    )


def in_place(on: Systems) -> Comparison:
    """A call that writes one element of an array of 1 GB."""
    from wetlands_rx.ndarray import NDArray

    def run() -> float:
        with NDArray(shape=(GB // 4,), dtype="f4") as shared:
            times: list[float] = []
            for number in range(1, 200):
                before = time.perf_counter()
                on.ours.execute(JOBS, "write_first", (shared, number))
                times.append(time.perf_counter() - before)
                if shared.array[0] != number:
                    raise AssertionError("it was not written")
        return sorted(times)[len(times) // 2] * 1e3

    return Comparison("call that changes an NDArray of 1 GB in place", "ms", {OURS: run}, (at_most(1),), digits=3)


def _new(name: str, size: int) -> Callable[[], float]:
    command = [sys.executable, "-m", __name__, name, str(size)]
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def first(size: int) -> float:
    """Milliseconds of the first echo of a large array; a small one went before, so that all is imported."""
    array, small = numbers(size), numbers(100)
    with tempfile.TemporaryDirectory() as root, EnvironmentManager(root).load("here", sys.executable) as env:
        env.launch()
        env.execute(JOBS, "echo", (small,))
        before = time.perf_counter()
        back = env.execute(JOBS, "echo", (array,))
        elapsed = time.perf_counter() - before
        if back[-1] != array[-1]:
            raise AssertionError("the array came back changed")
    return elapsed * 1e3


def first_limit(size: int) -> float:
    array = numbers(size)
    with limit(size) as machine:
        before = time.perf_counter()
        machine.echo(array)
        return (time.perf_counter() - before) * 1e3


def peak(size: int) -> float:
    """How much memory is used at most, over that of the argument and the result that are alive here."""
    array = numbers(size)
    most, done = 0, threading.Event()
    with tempfile.TemporaryDirectory() as root, EnvironmentManager(root).load("here", sys.executable) as env:
        env.launch()
        worker = env.submit(JOBS, "echo", (1,)).wait_for().worker
        assert worker is not None
        processes = [psutil.Process(), psutil.Process(worker.pid)]

        def watch() -> None:
            nonlocal most
            while not done.is_set():
                most = max(most, sum(process.memory_full_info().pss for process in processes))

        thread = threading.Thread(target=watch)
        thread.start()
        for _ in range(5):
            if env.execute(JOBS, "echo", (array,))[-1] != array[-1]:  # it is gone before the next one comes
                raise AssertionError("the array came back changed")
        done.set()
        thread.join()
    return most / (2 * size)


def main() -> None:
    name, size = sys.argv[1:]
    function: Callable[[int], float] = {"first": first, "first_limit": first_limit, "peak": peak}[name]
    print(function(int(size)))


if __name__ == "__main__":
    main()
