"""Stories of happenings, in any order."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._task.lifecycle import (
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

HAPPENINGS: list[Happening] = [
    Dispatched("worker"),
    CancelRequested(),
    WorkerLost(WorkerDiedError("worker")),
    PoolBroken(WorkerPoolBroken("env", "no")),
    EnvironmentExited(),
    Updated(1, "a", 1, 2),
    OutputSet(1, "key", "value"),
    Finished(1, "value"),
    Raised(1, "ValueError", (), "", "raised"),
    CancelAcknowledged(1),
]
STORY = st.lists(st.sampled_from(HAPPENINGS), max_size=30)


@given(STORY)
def test_no_story_leaves_a_terminal_status(story: list[Happening]) -> None:
    status, ended = TaskStatus.PENDING, None
    for happening in story:
        with contextlib.suppress(ProtocolError):
            status = next_status(status, happening)
        assert ended is None or status is ended
        ended = status if status.is_finished() else None


@given(STORY)
def test_no_story_runs_a_task_that_was_not_dispatched_nor_returns_to_pending(story: list[Happening]) -> None:
    status, dispatched = TaskStatus.PENDING, False
    for happening in story:
        before = status
        with contextlib.suppress(ProtocolError):
            status = next_status(status, happening)
        dispatched = dispatched or isinstance(happening, Dispatched)
        assert dispatched or status is not TaskStatus.RUNNING
        assert before is TaskStatus.PENDING or status is not TaskStatus.PENDING
        assert dispatched or status is not TaskStatus.COMPLETED
