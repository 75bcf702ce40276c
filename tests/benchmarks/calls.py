"""Calls one after the other, many at once, and beside a large one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks import jobs
from tests.benchmarks.measure import OURS, Comparison, at_least, at_most, rate, round_trip
from tests.benchmarks.systems import EXECUTOR, JOBS, POOL, Systems

LARGE_BYTES = 200_000_000
STALLED_S = 10.0


def comparisons(on: Systems) -> Iterator[Comparison]:
    """Those that need nothing but small calls."""
    yield round_trips(on)
    for calls in (10_000, 100_000):
        yield burst(on, calls)
    yield growth(on)
    yield heard(on)
    yield impatient(on)


def round_trips(on: Systems) -> Comparison:
    ours, calls = on.ours, 2000
    one, ten = f"{OURS}, 1 update", f"{OURS}, 10 updates"
    return Comparison(
        "round trip of a no-op",
        "us",
        {
            OURS: lambda: round_trip(lambda n: ours.submit(JOBS, "echo", (n,)).wait_for().result, calls),
            EXECUTOR: lambda: round_trip(lambda n: on.executor.submit(jobs.echo, n).result(), calls),
            POOL: lambda: round_trip(lambda n: on.pool.apply(jobs.echo, (n,)), calls),
            one: lambda: round_trip(lambda n: ours.execute(JOBS, "report", (1,)), calls),
            ten: lambda: round_trip(lambda n: ours.execute(JOBS, "report", (10,)), calls),
        },
        (at_most(0.5, EXECUTOR), at_most(0.7, POOL), at_most(1.5, OURS, one), at_most(3, OURS, ten)),
    )


def our_burst(on: Systems, calls: int) -> None:
    for task in [on.ours.submit(JOBS, "echo", (n,)) for n in range(calls)]:
        task.wait_for()


def executors_burst(on: Systems, calls: int) -> None:
    for future in [on.executor.submit(jobs.echo, n) for n in range(calls)]:
        future.result()


def pools_burst(on: Systems, calls: int) -> None:
    for answer in [on.pool.apply_async(jobs.echo, (n,)) for n in range(calls)]:
        answer.get()


def burst(on: Systems, calls: int) -> Comparison:
    return Comparison(
        f"burst of {calls:,} no-ops, each with its own task",
        "calls/s",
        {
            OURS: lambda: rate(partial(our_burst, on), calls),
            EXECUTOR: lambda: rate(partial(executors_burst, on), calls),
            POOL: lambda: rate(partial(pools_burst, on), calls),
        },
        (at_least(5, EXECUTOR), at_least(2, POOL)),
    )


def growth(on: Systems) -> Comparison:
    def run() -> float:
        small = 10_000 / rate(partial(our_burst, on), 10_000)
        return 100_000 / rate(partial(our_burst, on), 100_000) / small

    return Comparison("burst, t(100,000) / t(10,000)", "", {OURS: run}, (at_most(12),), digits=1)


def heard(on: Systems) -> Comparison:
    def ours(calls: int) -> None:
        events: list[object] = []
        for task in [on.ours.submit(JOBS, "echo", (n,)).listen(events.append) for n in range(calls)]:
            task.wait_for()

    calls = 10_000
    return Comparison(
        f"burst of {calls:,}, one listener each",
        "calls/s",
        {OURS: lambda: rate(ours, calls), EXECUTOR: lambda: rate(partial(executors_burst, on), calls)},
        (at_least(2, EXECUTOR),),
    )


def impatient(on: Systems) -> Comparison:
    """With threads that take turns a thousand times as often as they would; a call that does not end raises."""

    def run() -> float:
        longest = 0.0
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for number in range(20_000):
                since = time.perf_counter()
                on.ours.submit(JOBS, "echo", (number,)).wait_for(STALLED_S)
                longest = max(longest, time.perf_counter() - since)
        finally:
            sys.setswitchinterval(before)
        return longest * 1e3

    return Comparison("longest of 20,000 round trips at switch interval 1 us", "ms", {OURS: run}, digits=1)


def beside_a_large_one(on: Systems) -> Iterator[Comparison]:
    """What small calls wait for while one with 200 MB is sent to another worker.

    Beside it: what they wait for when two processes that have nothing to do with them copy as much, as sender and
    receiver do. With two processors for four threads that is for the system's scheduler to say, not for a library.
    """
    image = np.ones(LARGE_BYTES, np.uint8)
    for name, value in (("array", image), ("bytes", image.tobytes())):
        yield Comparison(
            f"longest small call while {LARGE_BYTES // 10**6} MB of {name} go to another worker",
            "ms",
            {
                OURS: partial(
                    _longest_beside,
                    lambda: on.ours.execute(JOBS, "echo", (1,)),
                    lambda value=value: on.ours.submit(JOBS, "size", (value,)).wait_for(),
                ),
                f"{OURS}, beside strangers": partial(
                    _longest_beside, lambda: on.ours.execute(JOBS, "echo", (1,)), _strangers
                ),
                EXECUTOR: partial(
                    _longest_beside,
                    lambda: on.executor.submit(jobs.echo, 1).result(),
                    lambda value=value: on.executor.submit(jobs.size, value).result(),
                ),
            },
            (at_most(5),),
            digits=1,
        )


def _strangers() -> None:
    code = f"import numpy; image = numpy.ones({LARGE_BYTES}, numpy.uint8); image.copy()"
    for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]:
        process.wait()


def _longest_beside(small: Callable[[], Any], large: Callable[[], Any]) -> float:
    over = threading.Event()
    longest = 0.0

    def call_on() -> None:
        nonlocal longest
        while not over.is_set():
            since = time.perf_counter()
            small()
            longest = max(longest, time.perf_counter() - since)

    beside = threading.Thread(target=call_on)
    beside.start()
    try:
        large()
    finally:
        over.set()
        beside.join()
    return longest * 1e3
