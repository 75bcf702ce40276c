"""Threads that begin together."""

from __future__ import annotations

import threading
from collections.abc import Callable

SOON = 60.0


def at_once(*functions: Callable[[], object]) -> None:
    """Run functions on threads of their own, which begin together; an exception in one fails the test."""
    start = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        start.wait()
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive(), "a hang"
    if errors:
        raise errors[0]
