"""Deliveries without threads: by hand, and in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from reactivex import abc
from reactivex.disposable import SerialDisposable
from reactivex.scheduler import VirtualTimeScheduler

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.mailbox import Deliverer, Errand, Mailbox, Work

LONGEST_S = 1_000_000.0
"""A wait that has not ended after so many virtual seconds never will."""
_IDLE_TURNS = 100
"""So often has an asyncio loop to go round without anything to do on the clock."""


class ManualDelivery(Delivery):
    """A `Delivery` without threads: listeners are called by `run`, on the thread that calls it."""

    def __init__(self) -> None:
        super().__init__(lambda _delay, _function: None)
        self._work: deque[Work] = deque()

    def schedule(self, mailbox: Mailbox[Any]) -> None:
        """Keep a mailbox for the next `run`."""
        self._work.append(mailbox)

    def soon(self, function: Callable[[], object]) -> None:
        """Keep a function for the next `run`."""
        self._work.append(Errand(function))

    def watch(self) -> None:
        """Do nothing: nobody is stuck here but the test itself."""

    def close(self, timeout: float) -> None:
        """Deliver what is left."""
        self.run()

    @property
    def waiting(self) -> int:
        """How many mailboxes and functions wait for `run`."""
        return len(self._work)

    def run(self) -> None:
        """Deliver until nothing waits, in the order in which it came."""
        while self._work:
            work = self._work.popleft()
            if work.drain(Deliverer()):
                self._work.append(work)


class VirtualDelivery(ManualDelivery):
    """A `Delivery` in virtual time: listeners are called at once, on the thread on which something happens.

    Whoever waits makes the time pass: the actions on the clock are done, in their order, until what is waited for has
    happened.

    Args:
        clock: Whose time it is.
    """

    def __init__(self, clock: VirtualTimeScheduler) -> None:
        super().__init__()
        self.now = self.monotonic = self._now
        self._clock = clock
        self._delivering = False
        self._waits = 0
        self._touched = False

    def _now(self) -> float:
        return self._clock.to_seconds(self._clock.clock)

    def later(self, delay: float, action: Callable[[], object]) -> abc.DisposableBase:
        """Do something after `delay` virtual seconds, and deliver what comes of it."""

        def act(_scheduler: abc.SchedulerBase, _state: object) -> None:
            action()
            self.touch()
            self.deliver()

        return self._clock.schedule_absolute(self._now() + delay, act)

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Call a function after `delay` virtual seconds."""
        self.later(delay, function)

    def schedule(self, mailbox: Mailbox[Any]) -> None:
        """Deliver now; after what is being delivered, if that is so."""
        super().schedule(mailbox)
        self.touch()
        self.deliver()

    def deliver(self) -> None:
        """Call whoever has to be called now, unless somebody is being called."""
        if self._delivering:
            return
        self._delivering = True
        try:
            self.run()
        finally:
            self._delivering = False

    def touch(self) -> None:
        """Something has happened: whoever waits has to look whether it was that."""
        self._touched = True
        if self._waits:
            self._clock.stop()

    def wait(self, happened: Callable[[float | None], bool], timeout: float | None) -> bool:
        """Let virtual time pass until something has happened.

        Args:
            happened: True when it has.
            timeout: In virtual seconds; None waits for ever.
        Returns:
            False when the time was over before.
        Raises:
            RuntimeError: nothing on the clock ends the wait; or it is called by an action of the clock, which is being
                advanced by somebody else.
        """
        self.run()  # also below a listener: others are told while it waits
        if happened(0.0):
            return True
        self._refuse_other_loops()
        since = self._now()
        over: list[bool] = []
        # What happens in the very moment in which the time is over is still in time: hence the second step.
        limit = SerialDisposable()
        if timeout is not None:
            limit.disposable = self.later(timeout, lambda: self.later(0.0, lambda: over.append(True)))
        try:
            while True:
                self.run()
                if happened(0.0):
                    return True
                if over:
                    return False
                if not self._pass_time() or self._now() - since > LONGEST_S:
                    raise RuntimeError(_ENDLESS)
        finally:
            limit.dispose()

    async def wait_async(self, woken: asyncio.Future[None]) -> None:
        """Let virtual time pass, between the turns of the loop's other tasks, until a future is resolved.

        Raises:
            RuntimeError: nothing on the clock ends the wait, and nothing else did in the loop's next turns.
        """
        idle, since = 0, self._now()
        while idle < _IDLE_TURNS and self._now() - since <= LONGEST_S:
            await asyncio.sleep(0)  # who else is ready goes first: time passes when all wait
            if woken.done():
                return
            self.run()
            idle = 0 if self._pass_time() else idle + 1
        raise RuntimeError(_ENDLESS)

    def _pass_time(self) -> bool:
        """Do the next actions on the clock until something has happened; False when there are none."""
        self._clock.stop()  # a wait further up the stack, which goes on afterwards
        self._touched = False
        self._waits += 1
        try:
            VirtualTimeScheduler.start(self._clock)  # that of a TestScheduler records an observable
        finally:
            self._waits -= 1
        return self._touched

    def _refuse_other_loops(self) -> None:
        """See whether a clock that is not advanced by a wait would do something if it were."""
        if self._waits:
            return
        probe = self._clock.schedule(lambda _scheduler, _state: self.touch())
        self._touched = False
        self._waits += 1
        try:
            VirtualTimeScheduler.start(self._clock)
        finally:
            self._waits -= 1
        probe.dispose()
        if not self._touched:
            raise RuntimeError(_NESTED)


_ENDLESS = (
    "nothing on the clock ends this wait. Does the fake function wait for a cancel, or for something that the test "
    "does only after this?"
)
_NESTED = (
    "this wait is called by an action of the clock that the test advances, and virtual time cannot pass inside of "
    "itself. Let the test wait instead, as with task.wait_for(): waits within waits are possible"
)
