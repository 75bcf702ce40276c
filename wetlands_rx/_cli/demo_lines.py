"""The lines that `wetlands-rx demo` runs, and prints afterwards. Read them there, or from the functions below."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import reactivex
from reactivex import operators as ops

from wetlands_rx import EnvironmentManager, Task, TaskEvent, TaskStatus
from wetlands_rx.external_environment import ExternalEnvironment

Show = Callable[[str, TaskEvent[Any]], None]
Tasks = dict[str, Task[Any]]
SEARCH = "all thresholds"


def own_environment(manager: EnvironmentManager) -> ExternalEnvironment:
    return manager.create("wetlands-demo", {"pip": ["scikit-image"]})  # there the next time


def this_interpreter(manager: EnvironmentManager) -> ExternalEnvironment:
    return manager.load("here", sys.executable)


def is_half_way(event: TaskEvent[Any]) -> bool:
    return event.current == 50


def count_things(env: ExternalEnvironment, functions: Path, names: list[str], show: Show) -> Tasks:
    env.launch(max_workers=2)  # two processes in that environment

    search = env.submit(functions, "try_all_thresholds", args=(names[0],), start=False)
    half_way = search.pipe(ops.filter(is_half_way))  # a Task is an Observable of its events
    half_way.subscribe(lambda event: event.task.cancel())  # asks; the function stops by itself

    tasks = {SEARCH: search.start()}
    tasks |= zip(names, env.map_tasks(functions, "segment", names), strict=True)  # one each
    for name, task in tasks.items():
        task.listen(partial(show, name))  # started, each update, one end
    reactivex.merge(*tasks.values()).run()  # until all have ended, whatever their end

    good = [name for name in names if tasks[name].status is TaskStatus.COMPLETED]
    env.submit(functions, "overview", args=(good,)).wait_for()
    return tasks
