"""Make an environment while somebody watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from wetlands_rx._cli.logs import records_into
from wetlands_rx._cli.progress_lines import clean, clip, seconds
from wetlands_rx._cli.screen import Screen
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.external_environment import ExternalEnvironment


def made(
    name: str, manager: EnvironmentManager, make: Callable[[EnvironmentManager], ExternalEnvironment], screen: Screen
) -> ExternalEnvironment:
    """Make an environment, or take it when it is there, and say so.

    Args:
        name: Its name.
        manager: Where it belongs.
        make: Makes it with the manager.
        screen: Shows what is going on.
    """

    def show(record: logging.LogRecord) -> None:
        screen.status(lambda width: clip(f"{name}: {clean(record.getMessage())}", width - 1))

    there, began_at = manager.environment_exists(name), time.monotonic()
    if not there:
        screen.note(f"making environment {name}, which may take a minute ...")
    with records_into(show):
        environment = make(manager)
    lasted = "is there" if there else f"made in {seconds(time.monotonic() - began_at)}"
    screen.note(f"environment {name} {lasted}: {environment.path}")
    return environment
