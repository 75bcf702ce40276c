"""Benchmarks beside peers: `python -m tests.benchmarks [NAME ...] [--rounds 5] [--workers 1 2] [--json FILE] ...`.

Ours and each peer take turns within a round. What counts are the ratios: the figures themselves are the machine's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import arrays, calls, core, maps, once
from tests.benchmarks.measure import Comparison, Measured, measured
from tests.benchmarks.report import HEAD, as_json, machine, markdown, rows
from tests.benchmarks.systems import Systems, started

ALONE: dict[str, Callable[[], Iterator[Comparison]]] = {
    "core": core.without_worker,
    "operators": core.operators,
    "once": once.comparisons,
}
WITH_WORKERS: dict[str, Callable[[Systems], Iterator[Comparison]]] = {
    "calls": calls.comparisons,
    "maps": maps.comparisons,
    "updates": lambda on: iter([core.flood(on)]),
    "large": calls.beside_a_large_one,
    "arrays": arrays.comparisons,
}
NAMES = [*ALONE, *WITH_WORKERS]


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; by default all")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="sizes of the pools (default 1 2)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: {', '.join(NAMES)}")
    return options


def _results(options: argparse.Namespace) -> Iterator[Measured]:
    names = options.names or NAMES
    for name, alone in ALONE.items():
        if name in names:
            for comparison in alone():
                yield measured(comparison, None, options.rounds)
    wanted = [make for name, make in WITH_WORKERS.items() if name in names]
    for workers in options.workers if wanted else ():
        with started(workers) as systems:
            for make in wanted:
                if (make is not calls.beside_a_large_one or workers > 1) and (
                    make is not arrays.comparisons or workers == 1
                ):  # the one needs another worker, the others are about one
                    for comparison in make(systems):
                        yield measured(comparison, workers, options.rounds)


def main() -> int:
    options = _parsed()
    print(", ".join(f"{name} {value}" for name, value in machine().items()), *HEAD, sep="\n", flush=True)
    results: list[Measured] = []
    for result in _results(options):
        results.append(result)
        print(*rows(result), sep="\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(results), indent=2) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(markdown(results))
    missed = [(result, bar) for result in results for bar in result.comparison.bars if not bar.met(result.figures)]
    print(f"\n{len(missed)} of {sum(len(result.comparison.bars) for result in results)} bars missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
