"""Time for operators: a scheduler that is given, or the library's own threads. Never a thread per item."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from reactivex import abc

from wetlands_rx._operators.turns import Action, DeliveryTurns
from wetlands_rx._worker import runtime


class Timer:
    """Calls back after a time; one for each subscription.

    Args:
        scheduler: Whose time it is. None: the library's supervisor waits, and a delivery thread calls.
    """

    def __init__(self, scheduler: abc.SchedulerBase | None) -> None:
        self._scheduler = scheduler
        self._leases = [runtime.acquire()] if scheduler is None else []
        self._shared = self._leases[0] if self._leases else None
        self._turns = DeliveryTurns(self._shared.delivery) if self._shared is not None else None

    def after(self, seconds: float, action: Action) -> Callable[[], None]:
        """Call `action` after this many seconds.

        Returns:
            A function that prevents it, if it is not too late.
        """
        once = _Once(action)
        turns = self._turns
        if self._shared is not None and turns is not None:
            self._shared.supervisor.call_later(seconds, lambda: turns.take(once.run))
        elif self._scheduler is not None:
            pending = self._scheduler.schedule_relative(seconds, lambda _scheduler, _state: once.run())
            return lambda: (once.forget(), pending.dispose())[0]
        return once.forget

    def close(self) -> None:
        """Let the library's threads go; nothing is called any more. From any thread, and more than once."""
        with contextlib.suppress(IndexError):  # closed before
            self._leases.pop()
            runtime.release()


class _Once:
    """What a timer holds: an action that can be forgotten, with all that it keeps alive."""

    def __init__(self, action: Action) -> None:
        self._action: Action | None = action

    def run(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()

    def forget(self) -> None:
        self._action = None
