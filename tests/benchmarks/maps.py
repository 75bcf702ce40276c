"""Maps over many items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from tests.benchmarks import jobs
from tests.benchmarks.measure import OURS, Comparison, at_least, rate
from tests.benchmarks.systems import EXECUTOR, JOBLIB, JOBS, POOL, Systems, joblib_map

ITEMS = 100_000
NAPS, NAP_S = 64, 0.05


def comparisons(on: Systems) -> Iterator[Comparison]:
    yield one_by_one(on, ordered=True)
    yield one_by_one(on, ordered=False)
    yield automatic(on)
    yield naps(on)


def _taken(make: Callable[[], Iterable[Any]], count: int) -> float:
    """Items a second; all of them must come."""

    def run(wanted: int) -> None:
        if sum(1 for _ in make()) != wanted:
            raise AssertionError(f"{wanted} results were wanted")

    return rate(run, count)


def one_by_one(on: Systems, *, ordered: bool) -> Comparison:
    theirs = on.pool.imap if ordered else on.pool.imap_unordered
    name = f"{POOL}.{'imap' if ordered else 'imap_unordered'}"
    return Comparison(
        f"map of {ITEMS:,} trivial items, chunksize=1, {'ordered' if ordered else 'unordered'}",
        "items/s",
        {
            OURS: lambda: _taken(lambda: on.ours.map(JOBS, "echo", range(ITEMS), ordered=ordered, chunksize=1), ITEMS),
            name: lambda: _taken(lambda: theirs(jobs.echo, range(ITEMS), chunksize=1), ITEMS),
        },
        (at_least(1.5, name),),
    )


def automatic(on: Systems) -> Comparison:
    systems = {OURS: lambda: _taken(lambda: on.ours.map(JOBS, "echo", range(ITEMS)), ITEMS)}
    joblib = joblib_map(on.workers)
    if joblib is not None:
        systems[JOBLIB] = lambda: _taken(partial(joblib, jobs.echo, range(ITEMS)), ITEMS)
    bars = (at_least(1, JOBLIB),) if joblib is not None else ()
    return Comparison(f"map of {ITEMS:,} trivial items, chunks chosen by itself", "items/s", systems, bars)


def naps(on: Systems) -> Comparison:
    """Ideal is 1: as many naps at a time as there are workers."""

    def of_ideal(make: Callable[[], Iterable[Any]]) -> float:
        before = time.perf_counter()
        for _ in make():
            pass
        return NAPS * NAP_S / on.workers / (time.perf_counter() - before)

    return Comparison(
        f"map of {NAPS} items of {NAP_S * 1e3:.0f} ms, share of the ideal",
        "",
        {
            OURS: lambda: of_ideal(lambda: on.ours.map(JOBS, "nap", range(NAPS))),
            EXECUTOR: lambda: of_ideal(lambda: on.executor.map(jobs.nap, range(NAPS))),
        },
        (at_least(0.97),),
        digits=3,
    )
