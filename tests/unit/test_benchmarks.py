"""What the benchmarks make of figures; the benchmarks themselves are run by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import OURS, Comparison, Measured, at_least, at_most, measured
from tests.benchmarks.report import as_json, markdown, rows

ROOT = Path(__file__).parents[2]


def result(ours: list[float], peer: list[float]) -> Measured:
    """Of one round that does not count and three that do."""

    def system(values: list[float]) -> Iterator[float]:
        yield from values

    mine, other = system([0.0, *ours]), system([99.0, *peer])
    systems = {OURS: lambda: next(mine), "peer": lambda: next(other)}
    bars = (at_least(2, "peer"), at_most(20), at_most(2, OURS, "peer"))
    return measured(Comparison("work", "calls/s", systems, bars), 2, len(ours))


def test_medians_of_the_rounds_that_count() -> None:
    figures = result([10, 30, 14], [4, 5, 6]).figures
    assert figures[OURS] == (14, 10, 30)
    assert figures["peer"] == (5, 4, 6)


def test_each_bar_stands_once_with_the_system_that_it_is_about() -> None:
    ours, peer = rows(result([10, 30, 14], [4, 5, 6]))
    assert ours == "| work | 2 | wetlands_rx | 14 calls/s | 10 to 30 |  | 14 ≤ 20 |"
    assert peer == "|  |  | peer | 5 calls/s | 4 to 6 | 2.80 | 2.80 ≥ 2, 0.36 ≤ 2 |"


def test_a_missed_bar_is_plain_to_see() -> None:
    missed = result([21, 21, 21], [20, 20, 20])
    assert "**21, not ≤ 20**" in markdown([missed])
    assert "**1.05, not ≥ 2**" in markdown([missed])
    assert [bar["met"] for bar in as_json([missed])["results"][0]["bars"]] == [False, False, True]


def test_the_command_writes_what_it_measured(tmp_path: Path) -> None:
    files = tmp_path / "figures.json", tmp_path / "table.md"
    command = [sys.executable, "-m", "tests.benchmarks", "operators", "--rounds", "1"]
    run = [*command, "--json", str(files[0]), "--markdown", str(files[1])]
    shown = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "0 of 0 bars missed" in shown
    figures = json.loads(files[0].read_text())
    assert [one["work"].split(",")[0] for one in figures["results"]] == ["merge_map", "concat_map_eager"]
    assert files[1].read_text().count("wetlands_rx") == 2


def test_an_unknown_name_is_refused() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "speed"]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert "there is no benchmark 'speed': core, operators, once, calls, maps, updates, large" in run.stderr
