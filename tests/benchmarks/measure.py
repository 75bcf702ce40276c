"""Rounds in which ours and the peers take turns, so that a drift of the machine meets all of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Benchmark = Callable[[], float]


class Figure(NamedTuple):
    """One benchmark of one system.

    Attributes:
        median: Microseconds a call, or calls a second, as the benchmark says.
        lowest: Of all rounds.
        highest: Of all rounds.
    """

    median: float
    lowest: float
    highest: float


def interleaved(systems: Mapping[str, Benchmark], rounds: int) -> dict[str, Figure]:
    """Run each system once a round, `rounds` times, after one round that does not count."""
    seen: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds + 1):
        for name, benchmark in systems.items():
            value = benchmark()
            if number:
                seen[name].append(value)
    return {name: Figure(statistics.median(values), min(values), max(values)) for name, values in seen.items()}


def round_trip(call: Callable[[int], object], calls: int) -> float:
    """The median time of one call after the other, in microseconds."""
    times: list[float] = []
    for number in range(calls):
        before = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e6


def burst(submit_all: Callable[[int], object], calls: int) -> float:
    """Calls a second, when all are submitted and then waited for."""
    before = time.perf_counter()
    submit_all(calls)
    return calls / (time.perf_counter() - before)


def load() -> float:
    """The machine's load average over the last minute: above the number of cores, absolute figures mean little."""
    return os.getloadavg()[0]


def table(title: str, unit: str, figures: Mapping[str, Figure], against: Sequence[str], digits: int = 0) -> str:
    """Figures as Markdown, with the ratios of the first system to the peers named."""
    lines = [f"### {title}", "", f"| system | median, {unit} | lowest | highest | ours / it |", "|---|---|---|---|---|"]
    ours = next(iter(figures.values()))
    for name, figure in figures.items():
        ratio = f"{ours.median / figure.median:.2f}" if name in against else ""
        cells = [f"{value:,.{digits}f}" for value in figure]
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio} |")
    return "\n".join([*lines, ""])
