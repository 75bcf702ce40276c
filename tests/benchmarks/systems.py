"""Ours and the peers, started and warm."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.benchmarks import jobs
from wetlands_rx import EnvironmentManager
from wetlands_rx.external_environment import ExternalEnvironment

JOBS = Path(jobs.__file__)
EXECUTOR, POOL, JOBLIB = "ProcessPoolExecutor", "multiprocessing.Pool", "joblib"


class Systems:
    """Ours and those of the standard library, each with the same number of workers."""

    def __init__(
        self, workers: int, ours: ExternalEnvironment, executor: ProcessPoolExecutor, pool: multiprocessing.pool.Pool
    ) -> None:
        self.workers = workers
        self.ours, self.executor, self.pool = ours, executor, pool


@contextmanager
def started(workers: int) -> Generator[Systems, None, None]:
    """Start all with `workers` workers; the peers by spawning, as their documentation advises beside threads."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as root,
        EnvironmentManager(root).load("here", sys.executable) as ours,
        ProcessPoolExecutor(workers, mp_context=context) as executor,
        context.Pool(workers) as pool,
    ):
        ours.launch(max_workers=workers)
        yield Systems(workers, ours, executor, pool)


def joblib_map(workers: int) -> Callable[[Callable[..., Any], Iterable[Any]], list[Any]] | None:
    """joblib's parallel loop; None when it is not installed, or would run everything in this process."""
    if workers == 1 or find_spec("joblib") is None:
        return None
    import joblib  # pyright: ignore[reportMissingTypeStubs] - a peer, and optional

    def run(function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        parallel: Any = joblib.Parallel(n_jobs=workers)
        delayed: Any = joblib.delayed(function)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return list(parallel(delayed(item) for item in items))

    return run
