"""Workers are killed at any moment of maps: each item ends once, and all of them are counted."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from typing import Literal

import pytest

from tests.integration.maps import functions
from tests.stress.together import SOON
from wetlands_rx.environment import WorkerEvent, WorkerEventType
from wetlands_rx.exceptions import WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment

FILE = functions.__file__
ITEMS = 20_000


class Ready:
    """The workers that are ready, each with its process."""

    def __init__(self, env: ExternalEnvironment) -> None:
        self._pids: dict[int, int] = {}
        env.workers.subscribe(self._took)

    def _took(self, event: WorkerEvent) -> None:
        if event.type is WorkerEventType.READY:
            self._pids[event.worker.index] = event.worker.pid
        elif event.type is WorkerEventType.LOST:
            self._pids.pop(event.worker.index, None)

    def kill_one(self) -> None:
        for index, pid in list(self._pids.items())[:1]:
            del self._pids[index]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("chunk", ["auto", 50])
def test_kills_at_any_moment_fail_only_what_ran(here: ExternalEnvironment, chunk: int | Literal["auto"]) -> None:
    ready, chance = Ready(here), random.Random(4)
    here.launch(max_workers=2)
    failed = 0
    for _ in range(20):
        kills = {chance.randrange(ITEMS) for _ in range(2)}
        results = here.map(FILE, "same", range(ITEMS), chunksize=chunk, on_error="return", timeout=SOON)
        count = 0
        for place, result in enumerate(results):
            if result != place:
                assert isinstance(result, WorkerDiedError), (place, result)
                failed += 1
            if place in kills:
                ready.kill_one()
            count += 1
        assert count == ITEMS
    now = here.statistics()
    assert (now.done, now.failed, now.queued) == (20 * ITEMS - failed, failed, 0)
