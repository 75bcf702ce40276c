"""Counts how calls end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    ItemCanceled,
    ItemRaised,
    ItemsDone,
    Raised,
)

_DONE = (Finished, FinishedUnopened)


@dataclass(frozen=True, slots=True)
class EnvironmentStatistics:
    """An environment at one moment; what is counted is counted since its launch.

    Attributes:
        workers: How many workers there are.
        idle: How many of them are ready and have nothing to do.
        busy: How many of them run something, or start.
        lost: How many ended without being asked to.
        queued: How many calls wait for a worker; each item of a map is one.
        done: How many have returned.
        failed: How many have failed.
        canceled: How many were canceled.
    """

    workers: int = 0
    idle: int = 0
    busy: int = 0
    lost: int = 0
    queued: int = 0
    done: int = 0
    failed: int = 0
    canceled: int = 0

    def __str__(self) -> str:
        return self.described(_workers(self.workers))

    def described(self, workers: str) -> str:
        """In one line, which begins with `workers`."""
        ends = [(self.done, "done"), (self.failed, "failed"), (self.canceled, "canceled")]
        more = "".join(f", {count} {what}" for count, what in ends if count)
        lost = f", {_workers(self.lost)} lost" if self.lost else ""
        return f"{workers} ({self.busy} busy), {self.queued} queued{more}{lost}"


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"


class Tally:
    """The counters of one pool. Not safe for several threads: its owner holds a lock."""

    def __init__(self) -> None:
        self.lost = 0
        self.done = 0
        self.failed = 0
        self.canceled = 0

    def answered(self, answers: Iterable[object]) -> None:
        """A worker has answered calls, or brought outcomes of items."""
        for answer in answers:
            if isinstance(answer, _DONE):
                self.done += 1
            elif isinstance(answer, ItemsDone):
                self._outcomes(answer.outcomes)
            elif isinstance(answer, CancelAcknowledged):
                self.canceled += 1
            elif isinstance(answer, Raised):
                self.failed += 1

    def _outcomes(self, outcomes: list[object]) -> None:
        kinds = list(map(type, outcomes))
        failed, canceled = kinds.count(ItemRaised), kinds.count(ItemCanceled)
        self.failed += failed
        self.canceled += canceled
        self.done += len(kinds) - failed - canceled

    def snapshot(self, workers: int, idle: int, queued: int) -> EnvironmentStatistics:
        """Take a snapshot of a pool with so many workers and waiting calls."""
        return EnvironmentStatistics(
            workers, idle, workers - idle, self.lost, queued, self.done, self.failed, self.canceled
        )
