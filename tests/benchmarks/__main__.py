"""Run the benchmarks: `python -m tests.benchmarks [--rounds 5] [--workers 1 2] [rtt] [burst] [core] [updates]`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.pool
import platform
import sys
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import core, jobs
from tests.benchmarks.measure import Figure, burst, interleaved, load, round_trip, table
from wetlands_rx import EnvironmentManager
from wetlands_rx.environment import Environment

JOBS = Path(jobs.__file__)
NAMES = ("rtt", "burst", "core", "updates")
PEERS = ("ProcessPoolExecutor", "multiprocessing.Pool")


class Systems:
    """Ours and the peers, each with the same number of workers, started and warm."""

    def __init__(self, ours: Environment, executor: ProcessPoolExecutor, pool: multiprocessing.pool.Pool) -> None:
        self.ours, self.executor, self.pool = ours, executor, pool

    def rtt(self, calls: int) -> dict[str, Callable[[], float]]:
        ours, executor, pool = self.ours, self.executor, self.pool
        return {
            "wetlands_rx": lambda: round_trip(lambda n: ours.submit(JOBS, "echo", (n,)).wait_for().result, calls),
            PEERS[0]: lambda: round_trip(lambda n: executor.submit(jobs.echo, n).result(), calls),
            PEERS[1]: lambda: round_trip(lambda n: pool.apply(jobs.echo, (n,)), calls),
            "wetlands_rx, 1 update": lambda: round_trip(lambda n: ours.execute(JOBS, "report", (1,)), calls),
            "wetlands_rx, 10 updates": lambda: round_trip(lambda n: ours.execute(JOBS, "report", (10,)), calls),
        }

    def burst(self, calls: int) -> dict[str, Callable[[], float]]:
        ours, executor, pool = self.ours, self.executor, self.pool

        def our_burst(count: int) -> None:
            for task in [ours.submit(JOBS, "echo", (n,)) for n in range(count)]:
                task.wait_for()

        def our_burst_heard(count: int) -> None:
            heard: list[object] = []
            for task in [ours.submit(JOBS, "echo", (n,)).listen(heard.append) for n in range(count)]:
                task.wait_for()

        def their_burst(count: int) -> None:
            for future in [executor.submit(jobs.echo, n) for n in range(count)]:
                future.result()

        def pool_burst(count: int) -> None:
            for answer in [pool.apply_async(jobs.echo, (n,)) for n in range(count)]:
                answer.get()

        return {
            "wetlands_rx": lambda: burst(our_burst, calls),
            PEERS[0]: lambda: burst(their_burst, calls),
            PEERS[1]: lambda: burst(pool_burst, calls),
            "wetlands_rx, one listener each": lambda: burst(our_burst_heard, calls),
        }


@contextmanager
def systems(workers: int) -> Generator[Systems, None, None]:
    """Start all with `workers` workers; the peers by spawning, as their documentation advises beside threads."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as root,
        EnvironmentManager(root).load("here", sys.executable) as ours,
        ProcessPoolExecutor(workers, mp_context=context) as executor,
        context.Pool(workers) as pool,
    ):
        ours.launch(max_workers=workers)
        yield Systems(ours, executor, pool)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="pool sizes (default 1 2)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    names = options.names or list(NAMES)
    print(f"Python {platform.python_version()}, {multiprocessing.cpu_count()} cores, load {load():.1f}\n")
    results: dict[str, dict[str, Figure]] = {}
    if "core" in names:
        figures = interleaved(core.without_worker(), options.rounds)
        results["core"] = figures
        print(table("Tasks without a worker", "us or bytes", figures, (), digits=1))
        figures = interleaved(core.operators(), options.rounds)
        results["operators"] = figures
        print(table("Operators", "ratio", figures, (), digits=1))
    for workers in options.workers if {"rtt", "burst", "updates"} & set(names) else ():
        with systems(workers) as started:
            if "rtt" in names:
                figures = interleaved(started.rtt(2_000), options.rounds)
                results[f"rtt, {workers} workers"] = figures
                print(table(f"Round trip of a no-op, {workers} worker(s)", "us", figures, PEERS))
            if "burst" in names:
                figures = interleaved(started.burst(10_000), options.rounds)
                results[f"burst, {workers} workers"] = figures
                print(table(f"Burst of 10,000 no-ops, {workers} worker(s)", "calls/s", figures, PEERS))
            if "updates" in names:
                figures = interleaved({"wetlands_rx": lambda: core.updates(started.ours)}, options.rounds)
                results[f"updates, {workers} workers"] = figures
                print(table(f"100,000 updates to one listener, {workers} worker(s)", "updates/s", figures, ()))
    if options.json is not None:
        rows = {title: {name: f._asdict() for name, f in figures.items()} for title, figures in results.items()}
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
