"""Figures as Markdown and JSON."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import OURS, Bar, Measured

HEAD = [
    "| work | workers | system | median | lowest to highest | ours / it | bar |",
    "|---|---|---|---|---|---|---|",
]


def machine() -> dict[str, Any]:
    """Where and when this was measured; no name of the machine."""
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "processor": _processor(),
        "cores": multiprocessing.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def rows(result: Measured) -> Iterator[str]:
    """One line for each system, with the bars that concern it."""
    (work, unit, _, bars, digits), workers, figures = result
    for name, figure in figures.items():
        bar = ", ".join(_told(bar, result) for bar in bars if name == _row_of(bar))
        cells = [
            work,
            "" if workers is None else str(workers),
            name,
            f"{figure.median:,.{digits}f} {unit}",
            f"{figure.lowest:,.{digits}f} to {figure.highest:,.{digits}f}",
            "" if name == OURS else f"{figures[OURS].median / figure.median:.2f}",
            bar,
        ]
        yield f"| {' | '.join(cells)} |"
        work, workers = "", None


def _row_of(bar: Bar) -> str:
    """Of the peer, when there is one."""
    return bar.system if bar.over in (None, OURS) else bar.over


def _told(bar: Bar, result: Measured) -> str:
    digits = result.comparison.digits if bar.over is None else 2
    value, sign = bar.value(result.figures), "≤" if bar.most else "≥"
    limit = f"{bar.limit:,g}" if bar.over is not None else f"{bar.limit:,.{digits}f}"
    if bar.met(result.figures):
        return f"{value:,.{digits}f} {sign} {limit}"
    return f"**{value:,.{digits}f}, not {sign} {limit}**"


def markdown(results: Sequence[Measured]) -> str:
    """All of it as one table."""
    return "\n".join([*HEAD, *(line for result in results for line in rows(result)), ""])


def as_json(results: Sequence[Measured]) -> dict[str, Any]:
    """All of it as plain data."""
    return {
        "machine": machine(),
        "results": [
            {
                "work": result.comparison.work,
                "workers": result.workers,
                "unit": result.comparison.unit,
                "figures": {name: figure._asdict() for name, figure in result.figures.items()},
                "bars": [
                    {**bar._asdict(), "value": bar.value(result.figures), "met": bar.met(result.figures)}
                    for bar in result.comparison.bars
                ],
            }
            for result in results
        ],
    }
