"""`wetlands-rx demo`: count things in pictures, in an isolated environment, where everyone can watch."""

from __future__ import annotations

import contextlib
import csv
import inspect
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from wetlands_rx._cli import demo_lines, plain_tasks
from wetlands_rx._cli.board import Board, End
from wetlands_rx._cli.follow import interrupts_ignored
from wetlands_rx._cli.items import UsageError
from wetlands_rx._cli.making import made
from wetlands_rx._cli.progress_lines import Row, clean, clean_lines, describe, seconds
from wetlands_rx._cli.screen import Screen
from wetlands_rx._cli.streams import OutputError
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import ProvisioningError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

NO_IMAGE = "unicorns"
"""There is no such image: the task that shows what a failure looks like."""
IMAGES = (
    "coins",
    "cell",
    "ihc",
    "hubble_deep_field",
    "moon",
    "retina",
    NO_IMAGE,
    "microaneurysms",
    "gravel",
    "brick",
    "page",
    "text",
    "coffee",
    "rocket",
    "camera",
    "horse",
)
PLAIN_IMAGES = ("berries", NO_IMAGE, *(name for name in plain_tasks.IMAGES if name != "berries"))

_HERE = Path(__file__).parent
_UPDATE_LINE_S = 0.25
_COLUMNS = ("image", "objects", "count", "median_area", "height", "width", "seconds", "worker", "overlay", "labels")
_ENDS: dict[TaskEventType, End] = {
    TaskEventType.COMPLETION: "done",
    TaskEventType.FAILURE: "failed",
    TaskEventType.CANCELATION: "canceled",
}


class _Kind(NamedTuple):
    """One of the two demos: its environment, the file of its functions, what they are called with."""

    make: Callable[[EnvironmentManager], ExternalEnvironment]
    functions: Path
    names: tuple[str, ...]


_FULL = _Kind(demo_lines.own_environment, _HERE / "demo_tasks.py", IMAGES)
_SMALL = _Kind(demo_lines.this_interpreter, _HERE / "plain_tasks.py", PLAIN_IMAGES)


def demo(root: Path, out: Path) -> int:
    """Carry out the command.

    Args:
        root: The folder of the environments.
        out: Where to write.
    Returns:
        The exit code: 0 when all went as it should, the failure and the cancel on purpose included.
    Raises:
        UsageError: nothing can be written to `out`.
        WetlandsError: the workers do not start.
    """
    screen = Screen(notes=sys.stdout, results=sys.stdout)
    began_at = time.monotonic()
    manager = EnvironmentManager(root, log_file_path=None)
    try:
        kind, environment = _prepare(manager, screen)
        functions = _copied(kind.functions, out)
        show = _Show(screen, len(kind.names) + 1)
        real = len(kind.names) - 1
        screen.note(f"{real} images, one that does not exist, and a search to be canceled half way; 2 workers:")
        tasks = demo_lines.count_things(environment, functions, list(kind.names), show)
    finally:
        with interrupts_ignored():  # bounded: workers that do not stop are killed
            manager.exit()
    screen.clear()
    summary = _summary(tasks, seconds(time.monotonic() - began_at))
    try:
        _write_counts(out / "counts.csv", tasks)
        (out / "summary.txt").write_text("\n".join([summary, "", *_ends(tasks)]) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}") from error
    for line in [summary, "", *_written(out), "", "The lines that did it:", "", *_lines(kind)]:
        screen.note(line)
    if kind is _FULL:
        screen.note()
        screen.note(f"Now you: wetlands-rx run {functions}:segment coins page --pip scikit-image")
    return 0 if _as_it_should(tasks) else 1


class _Show:
    """The listener of every task; called on a delivery thread while the main thread waits."""

    def __init__(self, screen: Screen, total: int) -> None:
        self._screen = screen
        self._board = Board(total)
        self._update_line_at = time.monotonic()

    def __call__(self, name: str, event: TaskEvent[Any]) -> None:
        """Show what happened to the task of this name."""
        with contextlib.suppress(BrokenPipeError, OutputError):  # the main thread meets it too, and ends
            self._show(name, event)

    def _show(self, name: str, event: TaskEvent[Any]) -> None:
        how = _ENDS.get(event.type)
        if how is None:
            row = Row(name, event.message, event.current, event.maximum)
            self._board.told(name, row)
            self._update_line(row)
        else:
            self._board.ends(name, how)
            for line in _end_lines(name, event.task):
                self._screen.note(line)
            if how == "failed":
                self._screen.note("      (the others go on)")
        self._screen.status(self._board.line)

    def _update_line(self, row: Row) -> None:
        now = time.monotonic()
        if not self._screen.live and row.message and now >= self._update_line_at + _UPDATE_LINE_S:
            self._update_line_at = now
            self._screen.note(f"  ... {describe(row)}")


def _prepare(manager: EnvironmentManager, screen: Screen) -> tuple[_Kind, ExternalEnvironment]:
    try:
        return _FULL, made("wetlands-demo", manager, _FULL.make, screen)
    except ProvisioningError as error:
        excuse = f"scikit-image cannot be installed here: {clean(error.reason)}"
        screen.note(f"{excuse}; a smaller demo on this very interpreter instead")
        return _SMALL, _SMALL.make(manager)


def _copied(functions: Path, out: Path) -> Path:
    """The functions write beside their file, so they run from a copy in the folder for the results."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(functions, out / functions.name))
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}") from error


def _end_lines(name: str, task: Task[Any]) -> list[str]:
    if task.status is TaskStatus.FAILED:
        trace = [f"      {line}" for line in clean_lines(task.traceback or ())]
        return [f"  {name:<18} FAILED: {clean(str(task.error))}", *trace]
    if task.status is TaskStatus.CANCELED:
        if task.started_at is None:
            return [f"  {name:<18} canceled before it began"]
        return [f"  {name:<18} canceled at {task.current}/{task.maximum}: it was asked to stop, and did"]
    found = _found(task)
    words = f"{found['count']:>4} {found['objects']}" if found else "done"
    return [f"  {name:<18} {words:<20} {seconds(task.elapsed):>7}  worker {_worker(task)}"]


def _summary(tasks: Mapping[str, Task[Any]], lasted: str) -> str:
    counted = _counted(tasks)
    ends = [task.status for task in tasks.values()]
    workers = {task.worker.pid for task in tasks.values() if task.worker is not None}
    failed, canceled = ends.count(TaskStatus.FAILED), ends.count(TaskStatus.CANCELED)
    things = sum(result["count"] for _, result in counted)
    what = f"{len(counted)} images, {things} things counted, {failed} failed, {canceled} canceled"
    return f"{what}, in {lasted} on {len(workers)} workers"


def _ends(tasks: Mapping[str, Task[Any]]) -> list[str]:
    return [line for name, task in tasks.items() for line in _end_lines(name, task)]


def _written(out: Path) -> list[str]:
    names = {
        "overview.png": "all pictures on one sheet",
        "overlays": "each picture with its things in color",
        "labels": "the number of the thing at each pixel, 16 bit",
        "counts.csv": "how many, how large, how long it took",
        "summary.txt": "what ended how",
        "demo_tasks.py": "the functions that ran",
        "plain_tasks.py": "the functions that ran",
    }
    return [f"{out / name}: {what}" for name, what in names.items() if (out / name).exists()]


def _lines(kind: _Kind) -> list[str]:
    functions: list[Callable[..., Any]] = [kind.make, demo_lines.is_half_way, demo_lines.count_things]
    source = "\n".join(inspect.getsource(function) for function in functions)
    return [f"    {line}".rstrip() for line in source.splitlines()]


def _write_counts(path: Path, tasks: Mapping[str, Task[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table: csv.DictWriter[str] = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        for task, result in _counted(tasks):
            table.writerow({**result, "seconds": f"{task.elapsed or 0:.3f}", "worker": _worker(task)})


def _counted(tasks: Mapping[str, Task[Any]]) -> list[tuple[Task[Any], dict[str, Any]]]:
    return [(task, found) for task in tasks.values() if (found := _found(task))]


def _found(task: Task[Any]) -> dict[str, Any]:
    """What `segment` returned; empty for a task that did not come so far, or did something else."""
    result: object = task.result if task.status is TaskStatus.COMPLETED else None
    return cast("dict[str, Any]", result) if isinstance(result, dict) else {}


def _worker(task: Task[Any]) -> str:
    return "" if task.worker is None else str(task.worker.index)


def _as_it_should(tasks: Mapping[str, Task[Any]]) -> bool:
    wanted = {NO_IMAGE: TaskStatus.FAILED, demo_lines.SEARCH: TaskStatus.CANCELED}
    return all(task.status is wanted.get(name, TaskStatus.COMPLETED) for name, task in tasks.items())
