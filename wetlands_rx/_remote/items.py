"""Runs a function once for each item of a call."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Sequence, Union

from wetlands_rx._wire.items import Record
from wetlands_rx._wire.values import Packed


class ItemsRun:
    """The items of a call. One thread runs them; another one may take back those that have not begun.

    Args:
        items: In order.
    """

    def __init__(self, items: Sequence[Union[memoryview, Packed, int, float]]) -> None:
        self._rest: Deque[Any] = deque(items)  # each of its operations is atomic

    def run(self, outcome_of: Callable[[Any], Record], add: Callable[[Record], None]) -> None:
        """Run all, on this thread, and hand on each outcome."""
        begin = self._rest.popleft
        while True:
            try:
                item = begin()
            except IndexError:
                return
            add(outcome_of(item))

    @property
    def left(self) -> int:
        """How many have not begun."""
        return len(self._rest)

    def take_back(self) -> int:
        """What has not begun will not begin here. Returns how many those are, from the end.

        The outcomes may be told to be complete before the caller hears of this: it counts what it has got.
        """
        taken = 0
        while True:
            try:
                self._rest.pop()
            except IndexError:
                return taken
            taken += 1
