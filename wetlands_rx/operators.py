"""Operators for `pipe`: run work for the items of a stream, look at tasks, tame a flood, change threads, try again.

    images.pipe(
        map_in(cellpose, "segment.py", "segment"),      # in one environment ...
        map_in(torch, "classify.py", "classify"),       # ... then in another, at most a window apart
        deliver_on(qt()),                               # on the GUI's thread
    ).subscribe(show)

Each returns a `Callable[[Observable[A]], Observable[B]]`, so that types go through `pipe`. In the diagrams of their
descriptions time goes to the right, `|` is the end and `#` an error.
"""

from __future__ import annotations

from wetlands_rx._operators.clock import library_scheduler
from wetlands_rx._operators.delivery import Place, asyncio_loop, deliver_on, thread, tk
from wetlands_rx._operators.flow import buffer_bounded, conflate, serialize, timeout_total
from wetlands_rx._operators.paced import from_items
from wetlands_rx._operators.qt_place import qt
from wetlands_rx._operators.resilience import Run, fallback_to, hedge, retry_on_worker_death, retry_task, run_in
from wetlands_rx._operators.views import failures, iterate, outputs, progress, results, terminal, updates
from wetlands_rx._operators.windowed import concat_map_eager, merge_map
from wetlands_rx._operators.work import exhaust_map_in, map_in, switch_map_in

__all__ = [
    "Place",
    "Run",
    "asyncio_loop",
    "buffer_bounded",
    "concat_map_eager",
    "conflate",
    "deliver_on",
    "exhaust_map_in",
    "failures",
    "fallback_to",
    "from_items",
    "hedge",
    "iterate",
    "library_scheduler",
    "map_in",
    "merge_map",
    "outputs",
    "progress",
    "qt",
    "results",
    "retry_on_worker_death",
    "retry_task",
    "run_in",
    "serialize",
    "switch_map_in",
    "terminal",
    "thread",
    "timeout_total",
    "tk",
    "updates",
]
