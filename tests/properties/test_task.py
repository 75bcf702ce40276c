"""A task's listeners, whatever is posted and whoever comes when."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._task.lifecycle import CancelRequested, Dispatched, EnvironmentExited, WorkerLost
from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    OutputSet,
    OutputUnopened,
    Raised,
    Updated,
)
from wetlands_rx._wire.packing import pack
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import WorkerDiedError
from wetlands_rx.task import TaskEvent, TaskEventType
from wetlands_rx.testing import WORKER, FakeRunner

STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
TERMINALS = (COMPLETION, FAILURE, CANCELATION)

UPDATES = [
    Updated(1, "a", 1, 9),
    Updated(1, None, None, None),
    OutputSet(1, "key", "value"),
    OutputUnopened(1, Packed(pack(("key", {1, 2}))[0])),
]
ENDS = [
    Finished(1, 42),
    FinishedUnopened(1, Packed(pack({1, 2})[0])),
    FinishedUnopened(1, Packed(b"no pickle")),
    OutputUnopened(1, Packed(b"no pickle")),
    Raised(1, "ValueError", (), "", "raised"),
    CancelAcknowledged(1),
    CancelRequested(),
    WorkerLost(WorkerDiedError("worker")),
    EnvironmentExited(),
]
MOVES = ["listen", "subscribe", "dispose", "raising", "nested", "future", "deliver"]
STEP = st.one_of(st.sampled_from(MOVES), st.sampled_from(UPDATES + ENDS), st.sampled_from(UPDATES))
Log = list[TaskEvent[Any]]


class Audience:
    """A task and all who listen to it; each move of a test is a method."""

    def __init__(self) -> None:
        self.runner = FakeRunner()
        self.task = self.runner.task()
        self.futures: list[Any] = []
        self.logs: list[Log] = []
        self.listen()
        self.post = self.runner.call(self.task).post

    def listen(self) -> None:
        log: Log = []
        self.logs.append(log)
        self.task.listen(log.append)

    def subscribe(self) -> None:
        log: Log = []
        self.logs.append(log)
        self.task.subscribe(log.append)

    def dispose(self) -> None:
        self.task.subscribe(lambda _event: None).dispose()

    def raising(self) -> None:
        def listener(_event: object) -> None:
            raise ValueError("a listener's own")

        self.task.listen(listener)

    def nested(self) -> None:
        def listener(_event: object) -> None:
            if len(self.logs) < 20:
                self.listen()

        self.task.listen(listener)

    def future(self) -> None:
        self.futures.append(self.task.future)

    def deliver(self) -> None:
        self.runner.happen(self.task)

    def play(self, steps: list[Any]) -> None:
        for step in steps:
            if isinstance(step, str):
                getattr(self, step)()
            else:
                self.post(step)


@given(st.lists(STEP, max_size=40), st.sampled_from(ENDS), st.booleans())
def test_every_listener_hears_the_same_story_from_its_moment_on(steps: list[Any], end: Any, delivered: bool) -> None:
    audience = Audience()
    audience.play([Dispatched(WORKER), *(["deliver"] if delivered else []), *steps, end, "deliver"])
    first = audience.logs[0]
    kinds = [event.type for event in first]
    assert kinds[0] is STARTED
    assert kinds[-1] in TERMINALS
    assert all(kind is UPDATE for kind in kinds[1:-1])
    for log in audience.logs:
        assert log, "everybody hears the end"
        assert [event.type for event in log] == kinds[len(kinds) - len(log) :]
        if len(log) > 1:
            assert log == first[len(first) - len(log) :], "one common order, one common event"
    assert audience.task.status.is_finished()
    audience.future()
    assert all(future.done() for future in audience.futures)
    audience.listen()
    assert [event.type for event in audience.logs[-1]] == [kinds[-1]]
