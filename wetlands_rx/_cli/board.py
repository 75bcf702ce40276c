"""What is known of a batch of tasks at one moment, and the order in which their ends are told. Pure."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from wetlands_rx._cli.progress_lines import Row, counts, status_line

T = TypeVar("T")
End = Literal["done", "failed", "canceled"]


class Board:
    """Counts the tasks of a batch and remembers what the running ones last said.

    Args:
        total: How many tasks there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._running: dict[str | int, Row] = {}
        self._ended: dict[End, int] = {"done": 0, "failed": 0, "canceled": 0}

    @property
    def done(self) -> int:
        """How many gave a result."""
        return self._ended["done"]

    @property
    def failed(self) -> int:
        """How many raised."""
        return self._ended["failed"]

    @property
    def canceled(self) -> int:
        """How many were canceled."""
        return self._ended["canceled"]

    @property
    def ended(self) -> int:
        """How many have ended, whatever their end."""
        return sum(self._ended.values())

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    def told(self, key: str | int, row: Row) -> None:
        """A task started, or said how far it is."""
        self._running[key] = row

    def ends(self, key: str | int, how: End) -> None:
        """A task has ended."""
        self._running.pop(key, None)
        self._ended[how] += 1

    def counts(self) -> str:
        """What has ended, in words."""
        return counts(self.done, self.failed, self.canceled, self.total)

    def line(self, width: int) -> str:
        """The status line, `width` columns wide at most."""
        return status_line(self.counts(), self.ended, self.total, list(self._running.values()), width)


class InOrder(Generic[T]):
    """Holds things back until all before them have come.

    Args:
        ordered: False lets everything through at once.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._waiting: dict[int, T] = {}

    def add(self, index: int, thing: T) -> list[T]:
        """Take the thing at this place; returns what may go on now, in order."""
        if not self._ordered:
            return [thing]
        self._waiting[index] = thing
        ready: list[T] = []
        while self._next in self._waiting:
            ready.append(self._waiting.pop(self._next))
            self._next += 1
        return ready

    def rest(self) -> list[T]:
        """What still waits for something before it, in order; nobody waits any longer."""
        rest = [self._waiting[index] for index in sorted(self._waiting)]
        self._waiting.clear()
        return rest
