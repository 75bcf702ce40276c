"""Looking at other processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

SOON = 30.0


def until(condition: Callable[[], object], what: str = "") -> None:
    """Poll for what another process does soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def text_in(file: Path) -> str:
    """The text of a file that another process writes; waits for it."""
    until(lambda: file.exists() and file.read_text(), f"nobody wrote {file}")
    return file.read_text()


def runs(pid: int) -> bool:
    """True unless the process has ended, or is only waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
