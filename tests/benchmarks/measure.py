"""Rounds in which ours and the peers take turns, so that a drift of the machine meets all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Benchmark = Callable[[], float]

OURS = "wetlands_rx"


class Figure(NamedTuple):
    """One benchmark of one system.

    Attributes:
        median: Of all rounds, in the unit of its comparison.
        lowest: Of all rounds.
        highest: Of all rounds.
    """

    median: float
    lowest: float
    highest: float


class Bar(NamedTuple):
    """What a figure is to reach, or its ratio to another one.

    Attributes:
        limit: Of the ratio, or of the figure itself.
        most: True when it is not to be exceeded, False when it is to be reached.
        over: The system whose figure is divided by; none: the figure itself counts.
        system: Whose figure it is.
    """

    limit: float
    most: bool
    over: str | None = None
    system: str = OURS

    def value(self, figures: Mapping[str, Figure]) -> float:
        """The ratio, or the figure."""
        figure = figures[self.system].median
        return figure if self.over is None else figure / figures[self.over].median

    def met(self, figures: Mapping[str, Figure]) -> bool:
        """True when it is reached."""
        value = self.value(figures)
        return value <= self.limit if self.most else value >= self.limit


def at_most(limit: float, over: str | None = None, system: str = OURS) -> Bar:
    return Bar(limit, True, over, system)


def at_least(limit: float, over: str | None = None, system: str = OURS) -> Bar:
    return Bar(limit, False, over, system)


class Comparison(NamedTuple):
    """Ours and the peers at the same work.

    Attributes:
        work: What they do.
        unit: Of the figures.
        systems: What is run; ours first.
        bars: What ours is to reach.
        digits: After the decimal point.
    """

    work: str
    unit: str
    systems: Mapping[str, Benchmark]
    bars: tuple[Bar, ...] = ()
    digits: int = 0


class Measured(NamedTuple):
    """A comparison and its figures."""

    comparison: Comparison
    workers: int | None
    figures: Mapping[str, Figure]


def measured(comparison: Comparison, workers: int | None, rounds: int) -> Measured:
    """Run each system once a round, `rounds` times, after one round that does not count."""
    seen: dict[str, list[float]] = {name: [] for name in comparison.systems}
    for number in range(rounds + 1):
        for name, benchmark in comparison.systems.items():
            gc.collect()  # what the one before left is not this one's work
            value = benchmark()
            if number:
                seen[name].append(value)
    figures = {name: Figure(statistics.median(values), min(values), max(values)) for name, values in seen.items()}
    return Measured(comparison, workers, figures)


def round_trip(call: Callable[[int], object], calls: int) -> float:
    """The median time of one call after the other, in microseconds."""
    times: list[float] = []
    for number in range(calls):
        before = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e6


def rate(work: Callable[[int], object], count: int) -> float:
    """How many a second, when `work` does so many."""
    before = time.perf_counter()
    work(count)
    return count / (time.perf_counter() - before)
