"""What the tests of operators share: an environment whose tasks the test drives, and virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.testing import TestScheduler
from reactivex.testing.mockobserver import MockObserver

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._task.call import Runner
from wetlands_rx.environment import Environment, EnvironmentStatistics
from wetlands_rx.exceptions import NotLaunchedError
from wetlands_rx.task import Task
from wetlands_rx.testing import FakeRunner, ManualDelivery

SOON = 10.0
FILE = __file__


def work(item: Any) -> str:
    """A function that tasks of these tests name; nobody calls it."""
    return str(item)


class ByHand(Environment):
    """An environment whose tasks do what the test says.

    Attributes:
        runner: Drives them.
        tasks: All that were submitted, in order.
        items: Their only arguments.
        quick: Tasks end before `submit` returns.
    """

    def __init__(self, delivery: Delivery | None = None) -> None:
        self.name = "by hand"
        self.runner = FakeRunner(delivery)
        self.tasks: list[Task[Any]] = []
        self.items: list[Any] = []
        self.worker_count = 2
        self.gone = False
        self.quick = False

    def submit(self, *args: Any, **options: Any) -> Task[Any]:
        task: Task[Any] = super().submit(*args, **options)
        arguments = options.get("args", args[2] if len(args) > 2 else ())
        self.tasks.append(task)
        self.items.append(arguments[0] if arguments else None)
        if self.quick:
            self.finish(-1, "quick")
        return task

    def deliver(self) -> None:
        """Let the delivery thread have its turn."""
        assert isinstance(self.runner.delivery, ManualDelivery)
        self.runner.delivery.run()

    def finish(self, place: int, value: Any = None) -> None:
        """The task of this place returns."""
        self._dispatch(place)
        self.runner.finish(self.tasks[place], value)

    def fail(self, place: int, error: str = "ValueError: no") -> None:
        """The function of this place raises."""
        self._dispatch(place)
        self.runner.fail(self.tasks[place], error)

    def kill(self, place: int) -> None:
        """The worker of this place dies."""
        self._dispatch(place)
        self.runner.kill(self.tasks[place])

    def _dispatch(self, place: int) -> None:
        if self.tasks[place].status.value == "pending":
            self.runner.dispatch(self.tasks[place])

    @property
    def states(self) -> list[str]:
        """Where the tasks stand."""
        return [task.status.value for task in self.tasks]

    def _runner(self) -> Runner:
        if self.gone:
            raise NotLaunchedError(self.name)
        return self.runner

    def launched(self) -> bool:
        return not self.gone

    def resize(self, max_workers: int) -> None: ...

    def recycle(self) -> None: ...

    def statistics(self) -> EnvironmentStatistics:
        return EnvironmentStatistics()

    def exit(self) -> None:
        self.gone = True


class Log(list[str], abc.ObserverBase[Any]):
    """What an observer was told, in words."""

    def __init__(self, source: Observable[Any] | None = None) -> None:
        super().__init__()
        if source is not None:
            self.subscription = source.subscribe(self.on_next, self.on_error, self.on_completed)

    def on_next(self, value: Any) -> None:
        self.append(str(value))

    def on_error(self, error: Exception) -> None:
        self.append(f"# {type(error).__name__}")

    def on_completed(self) -> None:
        self.append("|")


def at(scheduler: TestScheduler, time: float, action: Callable[[], object]) -> None:
    """Do something at a virtual time."""

    def act(_scheduler: object, _state: object) -> None:
        action()

    scheduler.schedule_absolute(float(time), act)


def seen(observer: MockObserver[Any]) -> list[tuple[float, str]]:
    """What a virtual observer was told and when, in words."""
    told: list[tuple[float, str]] = []
    for message in observer.messages:
        log = Log()
        notification: Any = message.value
        notification.accept(log.on_next, log.on_error, log.on_completed)
        told.append((message.time, log[0]))
    return told
