"""What goes wrong in the workers of these tests."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEATHS: dict[str, Callable[[], object]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGABRT": os.abort,
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "exit 3 of a thread": lambda: threading.Thread(target=os._exit, args=(3,)).start() or time.sleep(60),
    "end of the group": lambda: os.killpg(0, signal.SIGKILL),
}


def double(x: int) -> int:
    return 2 * x


def pid() -> int:
    return os.getpid()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def die(how: str) -> None:
    DEATHS[how]()


def double_or_die(x: int) -> int:
    if x < 0:
        os._exit(3)
    return 2 * x


def say_and_die(text: str) -> None:
    print("to stdout")
    print(text, file=sys.stderr, end="")
    sys.stderr.flush()
    os._exit(3)


def begin_and_wait(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


def busy_until(file: str) -> str:
    while not os.path.exists(file):
        time.sleep(0.001)
    return "done"


class DiesWhenLoaded:
    def __reduce__(self) -> Any:
        return os._exit, (3,)


class DiesWhenSent:
    def __reduce__(self) -> Any:
        os._exit(3)


def take(_value: Any) -> None:
    pass


def dies_when_sent() -> DiesWhenSent:
    return DiesWhenSent()


# --- The pipe


def sockets() -> list[int]:
    """The descriptors that are sockets: the pipe to the caller."""
    found: list[int] = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.append(int(name))
    return found


def write_to_the_pipe(data: bytes, then: str) -> str:
    for descriptor in sockets():
        os.write(descriptor, data)
    if then == "die":
        os._exit(3)
    if then == "wait":
        time.sleep(600)
    return "returned"


def close_everything(first: int, then: str) -> str:
    os.closerange(first, 1000)
    if then == "wait":
        time.sleep(600)
    return "returned"


def shut_down(how: int) -> str:
    for descriptor in sockets():
        socket.socket(fileno=os.dup(descriptor)).shutdown(how)
    time.sleep(600)
    return "returned"


def leave_grandchild(file: str, *, dies: bool, in_session: bool) -> int:
    """Start a process that holds the pipe open."""
    # The file is there whole or not at all: its writer may be killed at any moment after that.
    written = f"with open({file + '~'!r}, 'w') as pid: pid.write(str(os.getpid()))"
    program = f"import os, time\n{written}\nos.replace({file + '~'!r}, {file!r})\ntime.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", program], pass_fds=sockets(), start_new_session=not in_session
    )
    busy_until(file)
    if dies:
        os._exit(3)
    return child.pid


def fork_and(what: str) -> Any:
    """The child returns from the function too, or lives on."""
    child = os.fork()
    if child == 0:
        if what == "return":
            return "the child"
        if what == "raise":
            raise ValueError("the child")
        time.sleep(600)
    return child


def write_flood(megabytes: int, line: bool) -> str:
    text = ("x" * 1023 + ("\n" if line else "x")) * 1024
    for _ in range(megabytes):
        sys.stdout.write(text)
    return "done"


def exit_in_thread() -> str:
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()
    return "still here"


def stuck_in_native_code(file: str) -> None:
    """Holds the interpreter lock: no Python code of this process runs any more."""
    Path(file).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


def chatty_thread(seconds: float) -> str:
    """Leaves a thread that never ends."""
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    return "returned"
