"""Whether a process that was forked from this one still sees some shared memory."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator


def children_see(inode: int, other_than: int = 0) -> bool:
    """True when a child of this process has the file with this inode mapped, or when that cannot be told.

    Args:
        inode: Of a file without a name.
        other_than: A child that may.
    """
    try:
        children = [pid for pid in _children() if pid != other_than]
    except OSError:
        return True
    return any(_sees(pid, inode) for pid in children)


def _children() -> Iterator[int]:
    tasks = "/proc/self/task"
    readable = False
    for task in os.listdir(tasks):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(tasks, task, "children")) as file:
            readable = True  # else the thread has ended; or the kernel does not tell
            yield from map(int, file.read().split())
    if not readable:
        raise FileNotFoundError(os.path.join(tasks, "children"))


def _sees(pid: int, inode: int) -> bool:
    try:
        with open("/proc/{}/maps".format(pid)) as file:
            return any(line.split()[4] == str(inode) for line in file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
