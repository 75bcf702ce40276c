"""Schedulers for RxPY's own timed operators, which start a thread per item when they are given none."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler.scheduler import Scheduler

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.mailbox import Mailbox, Step

_S = TypeVar("_S")


class DeliveryScheduler(Scheduler):
    """Runs actions on delivery threads, one at a time, in the order in which they are due.

    What an action raises is logged, and the next ones run all the same: RxPY's `EventLoopScheduler` ends for good, and
    silently, with the first action that raises.

    Args:
        acquire: Gives the delivery; called once for each action that waits.
        release: Called when that action has run or was disposed of.
    """

    def __init__(self, acquire: Callable[[], Delivery], release: Callable[[], None]) -> None:
        super().__init__()
        self._acquire = acquire
        self._release = release
        self._lock = threading.Lock()  # guards the field below
        self._mailbox: Mailbox[_Due] | None = None
        self._pid = os.getpid()

    def schedule(self, action: typing.ScheduledAction[_S], state: _S | None = None) -> abc.DisposableBase:
        """Run an action soon."""
        return self.schedule_relative(0.0, action, state)

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[_S], state: _S | None = None
    ) -> abc.DisposableBase:
        """Run an action after a time, in seconds."""
        delivery = self._acquire()
        due = _Due(lambda: self.invoke_action(action, state), self._release)
        mailbox = self._mailbox_of(delivery)
        delay = self.to_seconds(duetime)
        if delay > 0.0:
            delivery.call_later(delay, lambda: mailbox.post(due))
        else:
            mailbox.post(due)
        return due

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[_S], state: _S | None = None
    ) -> abc.DisposableBase:
        """Run an action at a time."""
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)

    def _mailbox_of(self, delivery: Delivery) -> Mailbox[_Due]:
        made: Mailbox[_Due] = Mailbox(_run, delivery)
        if self._pid != os.getpid():  # in a forked child: nobody goes on with what a thread of the parent was at
            self._pid, self._lock, self._mailbox = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._mailbox is None:
                self._mailbox = made
            else:
                self._mailbox.threads = delivery  # those of before may have ended meanwhile
            return self._mailbox


class _Due(abc.DisposableBase):
    """An action that waits for its time; empty when it has run or was disposed of."""

    def __init__(self, run: Callable[[], abc.DisposableBase | None], release: Callable[[], None]) -> None:
        self._lock = threading.Lock()  # guards the field below
        self._run: Callable[[], abc.DisposableBase | None] | None = run
        self._release = release
        self._inner = SingleAssignmentDisposable()

    def run(self) -> None:
        """Run it, unless it was disposed of."""
        run = self._taken()
        if run is None:
            return
        try:
            inner = run()
            if inner is not None:
                self._inner.disposable = inner
        finally:
            self._release()

    def dispose(self) -> None:
        """Never run it; what it has scheduled itself neither."""
        waited = self._taken() is not None
        self._inner.dispose()
        if waited:
            self._release()

    def _taken(self) -> Callable[[], abc.DisposableBase | None] | None:
        with self._lock:
            run, self._run = self._run, None
        return run


def _run(due: _Due, _number: int) -> tuple[Step, ...]:
    due.run()
    return ()
