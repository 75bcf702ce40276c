"""What this process holds at one moment, so that a test which leaves something behind can be named.

Things are compared by label and number, not by identity: a worker that a session-wide environment replaces
while a test runs is one thing gone and one of the same label come, which is no leak.
Source: proc(5), for /proc/PID/fd, /proc/PID/task/TID/children and /proc/PID/maps.
"""

from __future__ import annotations

import gc
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

POLL_S = 0.01
_TRACKER = "multiprocessing.resource_tracker"  # the standard library keeps one for the life of the process
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, order=True)
class Thing:
    """One thing that a process holds.

    Attributes:
        kind: `"thread"`, `"process"`, `"descriptor"` or `"shared memory"`.
        label: What it is, with every number replaced by `#`.
        which: The particular one: a thread's name, a process id, a descriptor's number and target, a file's name.
    """

    kind: str
    label: str
    which: str

    def __str__(self) -> str:
        return f"{self.kind} {self.which}"


Stock = frozenset[Thing]


def take_stock() -> Stock:
    """List what this process holds right now."""
    return frozenset((*_threads(), *_processes(), *_descriptors(), *_shared_memory()))


def left_behind(before: Stock, now: Stock) -> list[Thing]:
    """Name the things of `now` that are more than `before` had of the same label."""
    excess = Counter(_group(thing) for thing in now)
    excess.subtract(Counter(_group(thing) for thing in before))
    left: list[Thing] = []
    for thing in sorted(now - before):
        if excess[_group(thing)] > 0:
            excess[_group(thing)] -= 1
            left.append(thing)
    return left


def settled(before: Stock, within_s: float = 2.0, keeps: Iterable[str] = ()) -> list[Thing]:
    """Wait until nothing but `before` is left, or the time is up.

    Args:
        before: What may be there.
        within_s: How long to wait at most.
        keeps: Pieces of text; a thing whose description contains one of them may stay.
    Returns:
        What is left; empty as soon as nothing is.
    """
    allowed = tuple(keeps)
    deadline = time.monotonic() + within_s
    while True:
        left = [thing for thing in left_behind(before, take_stock()) if not any(text in str(thing) for text in allowed)]
        if not left or time.monotonic() > deadline:
            return left
        gc.collect()
        time.sleep(POLL_S)


@dataclass
class Ledger:
    """What is known to be there.

    Attributes:
        adopted: What fixtures of the whole session hold on purpose.
        reported: What tests have been blamed for.
    """

    adopted: set[Thing] = field(default_factory=set[Thing])
    reported: set[Thing] = field(default_factory=set[Thing])

    @contextmanager
    def adopting(self) -> Generator[None]:
        """Whatever is new at the end of the block belongs to the session, not to the test that asked for it."""
        before = take_stock()
        yield
        self.adopted |= take_stock() - before


def _group(thing: Thing) -> tuple[str, str]:
    return thing.kind, thing.label


def _blank(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _threads() -> Iterator[Thing]:
    for thread in threading.enumerate():
        yield Thing("thread", _blank(thread.name), thread.name)


def _processes() -> Iterator[Thing]:
    for pid in _descendants(os.getpid()):
        words = _command(pid)
        if words and _TRACKER not in words:
            yield Thing("process", _blank(words), f"{pid} ({words})")


def _descendants(pid: int) -> Iterator[int]:
    """Children first; unlike a scan of all of /proc this costs next to nothing when there are none."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        children = [int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile, or this kernel has no such file
        children = [] if tasks.parent.parent.exists() else [child.pid for child in psutil.Process(pid).children()]
    for child in children:
        yield child
        yield from _descendants(child)


def _command(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return " ".join(process.cmdline()) or f"{process.name()}, {process.status()}"
    except psutil.Error:
        return ""


def _descriptors() -> Iterator[Thing]:
    directory = Path("/proc/self/fd")
    if not directory.exists():
        return
    own = _tracker_descriptor()
    for entry in os.listdir(directory):
        try:
            target = os.readlink(directory / entry)
        except OSError:  # the one that read the directory
            continue
        if entry != own:
            yield Thing("descriptor", _blank(target), f"{entry} -> {target}")


def _tracker_descriptor() -> str:
    from multiprocessing import resource_tracker

    descriptor: int | None = getattr(getattr(resource_tracker, "_resource_tracker", None), "_fd", None)
    return str(descriptor)


def _shared_memory() -> Iterator[Thing]:
    if not _SHARED_MEMORY.exists():
        return
    names = os.listdir(_SHARED_MEMORY)
    foreign = _mapped_by_others() if names else frozenset[str]()
    for name in names:
        if name not in foreign:
            yield Thing("shared memory", name, name)


def _mapped_by_others() -> frozenset[str]:
    """Names of blocks that processes outside our tree use: another program on this machine is at work."""
    ours = {os.getpid(), *_descendants(os.getpid())}
    used: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) in ours:
            continue
        try:
            maps = (process / "maps").read_text()
        except OSError:
            continue
        used.update(re.findall(r"/dev/shm/(\S+)", maps))
    return frozenset(used)
