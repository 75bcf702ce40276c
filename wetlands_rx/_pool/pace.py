"""Knows how long functions take, as far as they are short. Pure.

A function that has been seen to be far faster than a call is on its way may have several calls on the way at once.
"""

from __future__ import annotations

FAR_BELOW_S = 0.00025
"""What takes longer than this counts as long: a call is on its way for about a tenth of a millisecond."""
_FLOOR_S = 5e-7
"""What is too short to be measured takes so long."""
_MOST_TARGETS = 4096


class Pace:
    """The times of the functions of one pool. Not safe for several threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def learned(self, target: str, seconds: float, times: int = 1) -> None:
        """It has taken so long, or so many times took so long on average; long ones are believed at once."""
        known = self._seconds.get(target)
        if known is None:
            if len(self._seconds) >= _MOST_TARGETS:
                self._seconds.clear()
            self._seconds[target] = seconds
        elif seconds > known:
            self._seconds[target] = seconds
        else:
            self._seconds[target] = known + (seconds - known) * (1.0 - 0.875**times)

    def expected(self, target: str) -> float:
        """How many seconds a call will take; infinity when that is not known or not short."""
        seconds = self._seconds.get(target)
        return float("inf") if seconds is None or seconds > FAR_BELOW_S else max(seconds, _FLOOR_S)
