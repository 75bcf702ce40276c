"""`wetlands-rx run`: a function of the user, once per item, over the workers of an isolated environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wetlands_rx._cli.follow import follow, interrupts_ignored
from wetlands_rx._cli.items import JSON, UsageError, label, read_items
from wetlands_rx._cli.making import made
from wetlands_rx._cli.places import recipe_name
from wetlands_rx._cli.report import Item, Report
from wetlands_rx._cli.results import ResultFolder
from wetlands_rx._cli.screen import Screen
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.external_environment import ExternalEnvironment

DONE, SOME_FAILED, NOT_FOUND, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class RunOptions:
    """What the command line of `wetlands-rx run` says.

    Attributes:
        target: `FILE:FUNCTION`.
        items: As given; see `read_items`.
        json_items: Each item is JSON.
        pip: Packages of the environment.
        python: Its Python version, or None for the one at hand.
        environment: An existing prefix or interpreter to use instead, or None.
        workers: How many; None for one per processor, at most one per item.
        ordered: Results in the order of the items, else as they come.
        out: The folder for results, or None.
        json: Events as JSON on stdout instead of results for people.
        grace: How long a running function may take to stop after Ctrl-C, in seconds.
        root: The folder of the environments.
    """

    target: str
    items: Sequence[str]
    json_items: bool
    pip: Sequence[str]
    python: str | None
    environment: str | None
    workers: int | None
    ordered: bool
    out: Path | None
    json: bool
    grace: float
    root: Path


def run(options: RunOptions) -> int:
    """Carry out the command.

    Returns:
        The exit code: 0 when no item failed, 1 when one did, 2 when the function is not there, 130 after Ctrl-C.
    Raises:
        UsageError: the command line cannot be carried out; nothing was started.
        WetlandsError: the environment could not be made or started.
        KeyboardInterrupt: Ctrl-C before the first item was given to a worker; nothing is left.
    """
    file, function = _target(options.target)
    if options.environment is not None and (options.pip or options.python):
        raise UsageError("--environment uses what is there, --pip and --python make one: give one or the other")
    values: Sequence[JSON] = read_items(options.items, sys.stdin, as_json=options.json_items)
    items = [Item(value, label(value)) for value in values] if options.items else [Item(None, function)]
    workers = options.workers or max(1, min(_processors(), len(items)))
    screen = Screen(notes=sys.stderr, results=sys.stderr if options.json else sys.stdout)
    with ExitStack() as stack:
        folder = stack.enter_context(ResultFolder(options.out, len(items))) if options.out else None
        manager = EnvironmentManager(options.root, log_file_path=None)
        stack.callback(_exit, manager)
        environment = _environment(manager, options, screen)
        environment.launch(max_workers=workers)
        calls = [(value,) for value in values] if options.items else [()]
        tasks = {
            index: environment.submit(file, function, args=arguments, start=False)
            for index, arguments in enumerate(calls)
        }
        events = sys.stdout if options.json else None
        report = Report(items, tasks, screen, events, folder, ordered=options.ordered)
        follow(tasks, report, grace=options.grace, leave=partial(_exit, manager))
        report.finish(workers)
    if report.interrupted:
        return INTERRUPTED
    if report.not_found:
        return NOT_FOUND
    return SOME_FAILED if report.board.failed else DONE


def _target(text: str) -> tuple[Path, str]:
    file, colon, function = text.rpartition(":")
    if not colon or not file or not function:
        raise UsageError(f"{text!r} does not name a function: write FILE:FUNCTION, such as segment.py:segment")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{file} is {'a folder' if path.is_dir() else 'not there'}, so it holds no {function!r}")
    return path.resolve(), function


def _environment(manager: EnvironmentManager, options: RunOptions, screen: Screen) -> ExternalEnvironment:
    if options.environment is not None:
        return manager.load("run", options.environment)
    name = recipe_name(options.python, options.pip)
    dependencies: dict[str, Any] = {"pip": list(options.pip)}
    if options.python is not None:
        dependencies["python"] = options.python
    return made(name, manager, lambda manager: manager.create(name, dependencies), screen)


def _exit(manager: EnvironmentManager) -> None:
    with interrupts_ignored():  # bounded: workers that do not stop are killed
        manager.exit()


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
