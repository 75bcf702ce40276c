"""Time for operators: a scheduler that is given, or the library's own threads. Never a thread per item."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from reactivex import abc
from reactivex.disposable import SerialDisposable

from wetlands_rx._operators.turns import Action, DeliveryTurns
from wetlands_rx._streams.schedulers import DeliveryScheduler
from wetlands_rx._worker import runtime


def library_scheduler() -> abc.SchedulerBase:
    """A scheduler for RxPY's own timed operators, such as `debounce`, `sample` and `timeout`.

    Given none, these start a thread for each item. Each scheduler that this returns runs its actions one at a time on
    a delivery thread; what one raises is logged and harms no other. It keeps threads only while something is due.

        slider.pipe(ops.debounce(0.15, scheduler=library_scheduler()), switch_map_in(env, "segment.py", "segment"))
    """
    return DeliveryScheduler(lambda: runtime.acquire().delivery, runtime.release)


class Timer:
    """Calls back after a time; one for each subscription. One call is to come at a time: a new one replaces it.

    Args:
        scheduler: Whose time it is. None: the library's supervisor waits, and a delivery thread calls.
    """

    def __init__(self, scheduler: abc.SchedulerBase | None) -> None:
        self._scheduler = scheduler
        self._leases = [runtime.acquire()] if scheduler is None else []
        self._shared = self._leases[0] if self._leases else None
        self._turns = DeliveryTurns(self._shared.delivery) if self._shared is not None else None
        self._pending = SerialDisposable()

    def after(self, seconds: float, action: Action) -> Callable[[], None]:
        """Call `action` after this many seconds.

        Returns:
            A function that prevents it, if it is not too late.
        """
        call = self._begin(seconds, action)
        self._pending.disposable = call
        return call.dispose

    def _begin(self, seconds: float, action: Action) -> abc.DisposableBase:
        if self._scheduler is not None:
            return self._scheduler.schedule_relative(seconds, lambda _scheduler, _state: action())
        assert self._shared is not None
        assert self._turns is not None
        call = _Call(self._turns, action)
        self._shared.supervisor.call_later(seconds, call.due)
        return call

    def close(self) -> None:
        """Let the library's threads go; nothing is called any more. From any thread, and more than once."""
        self._pending.dispose()
        with contextlib.suppress(IndexError):  # closed before
            self._leases.pop()
            runtime.release()


class _Call(abc.DisposableBase):
    """All that the supervisor holds until a time has come, also when nobody waits for it any more: then it is empty."""

    def __init__(self, turns: DeliveryTurns, action: Action) -> None:
        self._turns: DeliveryTurns | None = turns
        self._action: Action | None = action

    def due(self) -> None:
        """The time has come; on the supervisor's thread."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.take(self._run)

    def _run(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()

    def dispose(self) -> None:
        """Prevent the call."""
        self._turns = self._action = None
