"""Short calls are on their way to a worker several at once: none is delayed, lost or run twice for that."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.stress import remote
from tests.stress.together import SOON
from wetlands_rx.exceptions import WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskStatus

REMOTE = remote.__file__
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus


class Steps:
    """Submits steps, and knows which have run."""

    def __init__(self, env: ExternalEnvironment, folder: Path) -> None:
        self.env = env
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()

    def submit(self, x: int, waits_for: str = "", *, dies: bool = False) -> Task[Any]:
        gate = str(self.folder / waits_for) if waits_for else ""
        return self.env.submit(REMOTE, "step", (x, str(self.log), gate, dies))

    def learn(self) -> None:
        """Let it be known that they are short."""
        for task in [self.submit(-1) for _ in range(100)]:
            task.wait_for(SOON)
        self.log.write_text("")

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    def ran(self) -> Counter[int]:
        return Counter(map(int, self.log.read_text().split()))


@pytest.fixture
def steps(here: ExternalEnvironment, tmp_path: Path) -> Steps:
    return Steps(here, tmp_path)


def test_a_long_call_among_short_ones_delays_no_other(here: ExternalEnvironment, steps: Steps) -> None:
    here.launch(max_workers=2)
    steps.learn()
    tasks = [steps.submit(x, "gate" if x == 300 else "") for x in range(1000)]
    for x, task in enumerate(tasks):
        if x != 300:
            assert task.wait_for(SOON).result == 2 * x
    assert tasks[300].status is RUNNING
    steps.open("gate")
    assert tasks[300].wait_for(SOON).result == 600
    assert steps.ran() == Counter(range(1000)), "each once"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_death_among_short_calls_fails_the_one_that_ran(
    here: ExternalEnvironment, steps: Steps, workers: int
) -> None:
    here.launch(max_workers=workers)
    steps.learn()
    poison = range(50, 1000, 150)
    tasks = [steps.submit(x, dies=x in poison) for x in range(1000)]
    for x, task in enumerate(tasks):
        if x in poison:
            with pytest.raises(WorkerDiedError, match="exit code 3"):
                task.wait_for(SOON)
        else:
            assert task.wait_for(SOON).result == 2 * x
    assert steps.ran() == Counter(range(1000)), "each once"


def test_a_short_call_that_waits_at_a_worker_is_canceled_there(
    here: ExternalEnvironment, steps: Steps, tmp_path: Path
) -> None:
    here.launch()
    steps.learn()
    # Another function, for a long call makes those of its own function long.
    first = here.submit(REMOTE, "gated", (0, str(tmp_path / "first")))
    group = [steps.submit(1, "never"), *(steps.submit(x) for x in range(2, 6))]
    assert [task.status for task in group] == [PENDING] * 5
    steps.open("first")
    first.wait_for(SOON)
    deadline = time.monotonic() + SOON
    while group[4].status is PENDING:
        assert time.monotonic() < deadline, "they went to the worker together"
    group[3].cancel()
    group[1].cancel()
    group[0].cancel()  # it ends when it has heard of this, and thus of those before
    assert [task.wait_for(SOON).status for task in group] == [COMPLETED, CANCELED, COMPLETED, CANCELED, COMPLETED]
    assert steps.ran() == Counter([1, 3, 5])


def test_an_exit_ends_what_waits_at_a_worker(here: ExternalEnvironment, steps: Steps) -> None:
    here.launch(max_workers=2)
    steps.learn()
    tasks = [steps.submit(x, "never" if x % 100 == 50 else "") for x in range(1000)]
    here.exit()
    assert {task.wait_for(SOON).status for task in tasks} <= {COMPLETED, CANCELED}
    assert max(steps.ran().values()) == 1
