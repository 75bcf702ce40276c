"""Decides whether a lost worker is replaced, and when. Pure.

A death that took a running call with it used that call up, so it can never loop: such a worker is replaced at once,
however often. Only deaths without a call count, because they would repeat for ever.
A shortage of descriptors or memory in the caller passes: it is waited out for longer.
"""

from __future__ import annotations

_MOST_AT_START = 2
_MOST_IDLE = 5
_BACK_OFF_S = (0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)


class Restarts:
    """Counts the deaths of one pool. Not safe for several threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._at_start = 0
        self._idle = 0
        self._short = 0

    def served(self) -> None:
        """A worker answered a call: the environment is sound."""
        self._at_start = self._idle = self._short = 0

    def started(self) -> None:
        """A worker said hello."""
        self._at_start = 0

    def lost(self, *, was_ready: bool, had_call: bool) -> float | None:
        """A worker died by itself.

        Args:
            was_ready: It had said hello.
            had_call: A call was running on it.
        Returns:
            After how many seconds to replace it; None when the pool must be given up.
        """
        if had_call:
            return 0.0
        if was_ready:
            self._idle += 1
            if self._idle >= _MOST_IDLE:
                return None
            return _BACK_OFF_S[self._idle - 1]
        return self._failed_at_start()

    def not_started(self, *, for_want: bool) -> float | None:
        """A worker could not be started.

        Args:
            for_want: The system or this process had too little of something.
        Returns:
            As of `lost`.
        """
        if not for_want:
            return self._failed_at_start()
        self._short += 1
        if self._short >= len(_BACK_OFF_S):
            return None
        return _BACK_OFF_S[self._short]

    def _failed_at_start(self) -> float | None:
        self._at_start += 1
        if self._at_start >= _MOST_AT_START:
            return None
        return _BACK_OFF_S[self._at_start]
