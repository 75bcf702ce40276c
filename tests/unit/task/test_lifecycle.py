"""Which status follows which: the whole table, row by row."""

from __future__ import annotations

import pytest

from wetlands_rx._task.lifecycle import (
    TRANSITIONS,
    CancelRequested,
    Dispatched,
    EnvironmentExited,
    Happening,
    PoolBroken,
    TaskStatus,
    WorkerLost,
    next_status,
)
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, OutputSet, Raised, Updated
from wetlands_rx.exceptions import ProtocolError, WorkerDiedError, WorkerPoolBroken

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus

DISPATCHED = Dispatched("worker 0")
CANCEL_REQUESTED = CancelRequested()
LOST = WorkerLost(WorkerDiedError("worker 0"))
BROKEN = PoolBroken(WorkerPoolBroken("env", "no"))
EXITED = EnvironmentExited()
UPDATED = Updated(1, "message", 1, 2)
OUTPUT = OutputSet(1, "key", "value")
FINISHED = Finished(1, "value")
RAISED = Raised(1, "ValueError: no", (), "builtins.ValueError", "raised")
ACKNOWLEDGED = CancelAcknowledged(1)

ALL: tuple[Happening, ...] = (
    DISPATCHED,
    CANCEL_REQUESTED,
    LOST,
    BROKEN,
    EXITED,
    UPDATED,
    OUTPUT,
    FINISHED,
    RAISED,
    ACKNOWLEDGED,
)

ROWS: list[tuple[TaskStatus, Happening, TaskStatus]] = [
    (PENDING, DISPATCHED, RUNNING),
    (PENDING, CANCEL_REQUESTED, CANCELED),
    (PENDING, BROKEN, FAILED),
    (PENDING, EXITED, CANCELED),
    (RUNNING, DISPATCHED, RUNNING),
    (RUNNING, UPDATED, RUNNING),
    (RUNNING, OUTPUT, RUNNING),
    (RUNNING, FINISHED, COMPLETED),
    (RUNNING, RAISED, FAILED),
    (RUNNING, ACKNOWLEDGED, CANCELED),
    (RUNNING, LOST, FAILED),
    (RUNNING, CANCEL_REQUESTED, CANCELED),
    (RUNNING, BROKEN, FAILED),
    (RUNNING, EXITED, CANCELED),
]


@pytest.mark.parametrize(("before", "happening", "after"), ROWS)
def test_row(before: TaskStatus, happening: Happening, after: TaskStatus) -> None:
    assert next_status(before, happening) is after


def test_the_table_has_no_other_rows() -> None:
    assert {(before, type(happening)) for before, happening, _ in ROWS} == set(TRANSITIONS)


@pytest.mark.parametrize("happening", [LOST, UPDATED, OUTPUT, FINISHED, RAISED, ACKNOWLEDGED])
def test_what_cannot_come_before_a_worker_has_the_task_is_an_error(happening: Happening) -> None:
    with pytest.raises(ProtocolError, match=f"{type(happening).__name__} came while the task was pending"):
        next_status(PENDING, happening)


@pytest.mark.parametrize("status", [COMPLETED, FAILED, CANCELED])
@pytest.mark.parametrize("happening", ALL)
def test_a_terminal_status_is_final(status: TaskStatus, happening: Happening) -> None:
    assert next_status(status, happening) is status


@pytest.mark.parametrize("status", list(TaskStatus))
def test_what_is_finished(status: TaskStatus) -> None:
    assert status.is_finished() is (status in (COMPLETED, FAILED, CANCELED))


def test_the_values_are_those_of_the_specification() -> None:
    assert [status.value for status in TaskStatus] == ["pending", "running", "completed", "failed", "canceled"]
