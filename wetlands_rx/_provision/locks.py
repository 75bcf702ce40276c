"""One writer at a time, also among processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from wetlands_rx.exceptions import ProvisioningError

ORPHAN_WAIT_S = 600.0
_FIRST_POLL_S, _LAST_POLL_S = 0.005, 0.1
_OWNER_BYTES = 200


@contextmanager
def locked(
    path: Path,
    name: str,
    on_wait: Callable[[str], object] = lambda _who: None,
    orphan_wait_s: float = ORPHAN_WAIT_S,
) -> Generator[int]:
    """Hold the lock of an environment for the length of the block.

    It is the operating system's (`flock`), so it ends with the last process that has inherited the descriptor: a
    killed program leaves nothing to be cleaned up, and an installer that outlives it keeps the next one waiting.

    Args:
        path: The lock's file; made when it is missing, and never deleted.
        name: The environment's name, for an error.
        on_wait: Called once when somebody else holds the lock, with who that is.
        orphan_wait_s: How long to wait for a holder that outlives the program which took the lock. While that
            program lives there is no limit: it may be at a long build.
    Returns:
        The descriptor, for programs that must hold the lock too.
    Raises:
        ProvisioningError: the wait for an orphan took too long, or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, name, on_wait, orphan_wait_s)
        try:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
            yield descriptor
        finally:
            _release(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, name: str, on_wait: Callable[[str], object], orphan_wait_s: float) -> None:
    told = False
    pause_s = _FIRST_POLL_S
    orphaned_at: float | None = None
    while not _taken(descriptor, path, name):
        owner = os.pread(descriptor, _OWNER_BYTES, 0).decode("ascii", "replace")
        if not told:
            told = True
            on_wait(owner)
        if _lives(owner):
            orphaned_at = None
        else:
            orphaned_at = orphaned_at if orphaned_at is not None else time.monotonic()
            if time.monotonic() - orphaned_at >= orphan_wait_s:
                raise _still_held(path, name, owner, orphan_wait_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_POLL_S)


def _taken(descriptor: int, path: Path, name: str) -> bool:
    import fcntl  # not on every system

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ProvisioningError(
            name, f"{path} cannot be locked: {error.strerror}", hint="choose a root folder on a local disk"
        ) from error
    return True


def _release(descriptor: int) -> None:
    import fcntl

    # Closing would not do while a program that has inherited the descriptor lives.
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lives(owner: str) -> bool:
    pid = owner.removeprefix("pid ")
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _still_held(path: Path, name: str, owner: str, waited_s: float) -> ProvisioningError:
    holders = ", ".join(holding(path)) or "a process that cannot be seen from here"
    return ProvisioningError(
        name,
        f"after {waited_s:g} s it is still being written by {holders}, which {owner or 'a program'} left behind",
        hint=f"end that process (its lock is {path})",
    )


def holding(path: Path) -> list[str]:
    """The processes that have a file open, as `"uv (pid 12)"`, as far as one can see.

    Source: proc(5), `/proc/PID/fd`; empty on systems that have none.
    """
    wanted = os.path.realpath(path)
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = any(os.readlink(link) == wanted for link in (process / "fd").iterdir())
            if opened and int(process.name) != os.getpid():
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
        except OSError:
            continue  # it has ended, or is another user's
    return found
