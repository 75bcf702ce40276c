"""A runner that runs nothing: the test says what happens to each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wetlands_rx._remote.handle import task_id
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._task.call import Call, WorkerInfo, id_base
from wetlands_rx._task.lifecycle import Dispatched, Happening, WorkerLost
from wetlands_rx._testing.delivery import ManualDelivery
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, OutputSet, Raised, Updated
from wetlands_rx.exceptions import WetlandsError, WorkerDiedError
from wetlands_rx.task import Task

WORKER = WorkerInfo("fake", 0, 4711)
"""The worker that `FakeRunner` dispatches to."""


class FakeRunner:
    """Runs nothing: the test says what happens to each call. A `Runner`, so that it can stand behind real tasks.

    Args:
        delivery: Calls the listeners; by default on the test's own thread, as soon as something happens.

    Attributes:
        started: The calls that were given to it, in order.
        withdrawn: Those that were canceled while they waited, in order.
        asked: Those that were asked to stop while they ran, in order; one may be asked several times.
        refusal: Raised by the next `start()` calls when it is set, as a closed or broken pool does.
    """

    def __init__(self, delivery: Delivery | None = None) -> None:
        self._delivery = delivery if delivery is not None else ManualDelivery()
        self._waiting: list[Call] = []
        self._calls: dict[str, Call] = {}
        self.started: list[Call] = []
        self.withdrawn: list[Call] = []
        self.asked: list[Call] = []
        self.refusal: WetlandsError | None = None
        self._events: HotSubject[Any] = HotSubject("the events of a FakeRunner")
        self._events.open(self._delivery)

    # --- Runner

    @property
    def events(self) -> HotSubject[Any]:
        """The events of all its tasks."""
        return self._events

    @property
    def delivery(self) -> Delivery:
        """What calls the listeners."""
        return self._delivery

    def start(self, call: Call) -> None:
        """Take a call; it waits until the test dispatches it."""
        if self.refusal is not None:
            raise self.refusal
        self.started.append(call)
        self._waiting.append(call)
        self._calls[task_id(id_base(), call.number)] = call

    def withdraw(self, call: Call) -> bool:
        """Give back a call that was not dispatched."""
        if call not in self._waiting:
            return False
        self._waiting.remove(call)
        self.withdrawn.append(call)
        return True

    def ask_cancel(self, call: Call) -> None:
        """Take note; the test decides what the function makes of it."""
        self.asked.append(call)

    # --- For the test

    def task(self, target: str = "fake.py:function", *, start: bool = True) -> Task[Any]:
        """Make a task that this runner runs.

        Args:
            target: Its name.
            start: As for `env.submit`.
        """
        task: Task[Any] = Task(self, target, lambda _number: [])
        return task.start() if start else task

    def call(self, task: Task[Any]) -> Call:
        """What this runner was given for a task.

        Raises:
            KeyError: the task was not started.
        """
        return self._calls[task.id]

    def happen(self, task: Task[Any], *happenings: Happening) -> None:
        """Let things happen to a started task, in this order; its listeners are told before this returns."""
        post = self.call(task).post
        for happening in happenings:
            post(happening)
        if isinstance(self._delivery, ManualDelivery):
            self._delivery.run()

    def dispatch(self, task: Task[Any]) -> None:
        """A worker gets the task, which becomes RUNNING."""
        call = self.call(task)
        if call in self._waiting:
            self._waiting.remove(call)
        self.happen(task, Dispatched(WORKER))

    def update(
        self, task: Task[Any], message: str | None = None, *, current: int | None = None, maximum: int | None = None
    ) -> None:
        """The function reports progress."""
        self.happen(task, Updated(self.call(task).number, message, current, maximum))

    def set_output(self, task: Task[Any], key: str, value: Any) -> None:
        """The function publishes an output."""
        self.happen(task, OutputSet(self.call(task).number, key, value))

    def finish(self, task: Task[Any], value: Any = None) -> None:
        """The function returns: COMPLETED."""
        self.happen(task, Finished(self.call(task).number, value))

    def fail(
        self, task: Task[Any], error: str = "ValueError: no", traceback: Sequence[str] = (), remote_type: str = ""
    ) -> None:
        """The function raises: FAILED."""
        self.happen(task, Raised(self.call(task).number, error, tuple(traceback), remote_type, "raised"))

    def acknowledge(self, task: Task[Any]) -> None:
        """The function acknowledges a cancel and returns: CANCELED."""
        self.happen(task, CancelAcknowledged(self.call(task).number))

    def kill(self, task: Task[Any], signal: int = 9) -> None:
        """The worker that runs the task is killed: FAILED."""
        self.happen(task, WorkerLost(WorkerDiedError(str(WORKER), None, signal, (), task.name)))
