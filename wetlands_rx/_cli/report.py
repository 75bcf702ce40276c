"""What a run tells: people on a screen, programs in lines of JSON, the folder for results."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

from wetlands_rx._cli.board import Board, End, InOrder
from wetlands_rx._cli.follow import Watcher, cancel_all
from wetlands_rx._cli.items import JSON
from wetlands_rx._cli.progress_lines import Row, clean, clean_lines, clip, describe, seconds
from wetlands_rx._cli.results import ResultFolder
from wetlands_rx._cli.screen import Screen
from wetlands_rx._cli.streams import put
from wetlands_rx._cli.values import jsonable, mention
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

_UPDATE_LINE_S = 1.0
_LONGEST_RESULT = 2000
_ENDS: dict[TaskEventType, End] = {
    TaskEventType.COMPLETION: "done",
    TaskEventType.FAILURE: "failed",
    TaskEventType.CANCELATION: "canceled",
}


class Item(NamedTuple):
    """One item of the run, and how it is called in a line for people."""

    value: JSON
    label: str


class Report(Watcher):
    """Tells of a batch as it goes. For the main thread only.

    Args:
        items: One for each task.
        tasks: The batch, by place; a task is taken out when its end has been told, so that its result can be freed.
        screen: For people.
        events: Where lines of JSON go, or None.
        folder: Where results are written, or None.
        ordered: Ends are told in the order of the items.
    """

    def __init__(
        self,
        items: Sequence[Item],
        tasks: dict[int, Task[Any]],
        screen: Screen,
        events: TextIO | None,
        folder: ResultFolder | None,
        *,
        ordered: bool,
    ) -> None:
        self.board = Board(len(items))
        self.interrupted = False
        self.not_found = False
        self._items, self._tasks = items, tasks
        self._screen, self._events, self._folder = screen, events, folder
        self._order: InOrder[tuple[int, Task[Any]]] = InOrder(ordered=ordered)
        self._tracebacks: set[tuple[str, ...]] = set()
        self._began_at = time.monotonic()
        self._update_line_at = self._began_at

    def on_event(self, index: int, event: TaskEvent[Any]) -> None:
        """Tell of it, or keep it until it is its turn."""
        if event.type is TaskEventType.STARTED:
            self.board.told(index, Row(self._items[index].label))
            self._emit("started", index, worker=_worker_index(event.task))
        elif event.type is TaskEventType.UPDATE:
            self._update(index, event)
        else:
            self.board.ends(index, _ENDS[event.type])
            for place, task in self._order.add(index, (index, event.task)):
                self._end(place, task)
        self._screen.status(self.board.line)

    def on_tick(self) -> None:
        """Keep the status line up to date."""
        self._screen.status(self.board.line)

    def on_log(self, text: str) -> None:
        """Show it, line by line."""
        for line in clean_lines([text]):
            self._screen.note(line)

    def on_interrupt(self) -> None:
        """Say what Ctrl-C leads to."""
        self.interrupted = True
        self._screen.note("interrupted: waiting for what runs to stop; Ctrl-C again ends it at once")

    def finish(self, workers: int) -> None:
        """Tell the ends that still wait for an earlier one, what will be killed, and the summary."""
        for place, task in self._order.rest():
            self._end(place, task)
        for index in sorted(self._tasks):
            self._killed(index)
        board, lasted_s = self.board, time.monotonic() - self._began_at
        killed = board.total - board.ended
        words = f"{board.counts()}{f', {killed} killed' if killed else ''}"
        if not self.not_found:
            self._screen.note(f"{words}, in {seconds(lasted_s)} with {workers} worker{'s' if workers > 1 else ''}")
        self._write(
            {
                "event": "summary",
                "total": board.total,
                "done": board.done,
                "failed": board.failed,
                "canceled": board.canceled,
                "killed": killed,
                "interrupted": self.interrupted,
                "seconds": round(lasted_s, 3),
                "workers": workers,
            }
        )

    def _update(self, index: int, event: TaskEvent[Any]) -> None:
        row = Row(self._items[index].label, event.message, event.current, event.maximum)
        self.board.told(index, row)
        told: dict[str, JSON] = {"message": event.message, "current": event.current, "maximum": event.maximum}
        if event.output is not None:
            told["output"] = {event.output.key: jsonable(event.output.value, mention)}
        self._emit("update", index, **told)
        now = time.monotonic()
        if not self._screen.live and now >= self._update_line_at + _UPDATE_LINE_S:
            self._update_line_at = now
            self._screen.note(f"{self.board.counts()} | {describe(row)}")

    def _end(self, index: int, task: Task[Any]) -> None:
        self._tasks.pop(index, None)
        told: dict[str, JSON] = {"seconds": None if task.elapsed is None else round(task.elapsed, 3)}
        if task.status is TaskStatus.COMPLETED:
            name = "result"
            told |= self._result(index, task.result)
        elif task.status is TaskStatus.FAILED:
            name = "failure"
            told |= {"error": str(task.error), "traceback": [*(task.traceback or ())]}
            self._failure(index, task)
        else:
            name = "canceled"
            if not self.not_found:
                self._screen.note(f"{self._items[index].label}: canceled")
        self._emit(name, index, **told)
        if self._folder is not None:
            if "files" in told:
                del told["result"]  # it is in the files
            self._folder.record({"index": index, "item": self._items[index].value, "status": task.status.value, **told})

    def _killed(self, index: int) -> None:
        item, label = self._items[index]
        self._screen.note(f"{label}: killed, since it did not stop")
        self._emit("canceled", index, killed=True)
        if self._folder is not None:
            self._folder.record({"index": index, "item": item, "status": "killed"})

    def _result(self, index: int, value: Any) -> dict[str, JSON]:
        label = self._items[index].label
        if self._folder is None:
            told: dict[str, JSON] = {"result": jsonable(value, mention)}
        else:
            plain, files = self._folder.write(index, label, value)
            told = {"result": plain, "files": [*files]}
        text = value if isinstance(value, str) else json.dumps(told["result"], ensure_ascii=False)
        self._screen.result(f"{label}: {clip(clean(text), _LONGEST_RESULT)}")
        return told

    def _failure(self, index: int, task: Task[Any]) -> None:
        label = self._items[index].label
        error, *more = clean_lines([str(task.error)])
        if task.error is not None and task.error.category == "lookup":
            if not self.not_found:  # the others cannot fare better
                self.not_found = True
                self._screen.note(f"wetlands-rx: {error}")
                cancel_all(self._tasks)
            return
        trace = clean_lines(task.traceback or ())
        frames = tuple(line for line in trace if line.startswith(" "))
        if frames and frames in self._tracebacks:
            self._screen.note(f"{label}: FAILED: {error} (at the same place as above)")
            return
        self._tracebacks.add(frames)
        self._screen.note(f"{label}: FAILED: {error}")
        if trace:
            where = f" ({clean(str(task.worker))})" if task.worker is not None else ""
            more = [f"remote traceback{where}:", *(f"  {line}" for line in trace)]
        for line in more:
            self._screen.note(f"  {line}")

    def _emit(self, name: str, index: int, **told: JSON) -> None:
        if self._events is not None:
            self._write({"event": name, "index": index, "item": self._items[index].value, **told})

    def _write(self, line: dict[str, JSON]) -> None:
        if self._events is not None:
            self._screen.clear()
            put(self._events, json.dumps(line) + "\n")


def _worker_index(task: Task[Any]) -> int | None:
    return None if task.worker is None else task.worker.index
