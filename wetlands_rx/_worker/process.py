"""Start, watch and end the process of a worker, with all that it starts itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple
from weakref import WeakSet

from wetlands_rx._remote.page import PAGE_BYTES, LeftBehind, SharedPage
from wetlands_rx._wire.forks import children_see
from wetlands_rx._wire.leases import Leases
from wetlands_rx._worker.arenas import CallersArena, arena_file, seal
from wetlands_rx._worker.output_lines import OutputLines, PrintedLine
from wetlands_rx._worker.supervisor import Supervisor

_EXECUTOR = Path(__file__).resolve().parent.parent / "module_executor.py"
_TAIL_LINES = 20
_READ_BYTES = 1 << 16
_READS = 4
"""So often a pipe is read in its turn: thousands of lines, which take their time."""
_MOST_READS = 16
"""As many as empty the largest pipe that Linux allows to everybody."""
_REAP_S = 10.0

OnLine = Callable[[str, PrintedLine], None]
"""Takes the name of a stream, `"stdout"` or `"stderr"`, and a line; on the supervisor's thread."""


class Death(NamedTuple):
    """How a process ended: its exit code, or the signal that ended it; neither when we ended it."""

    exit_code: int | None
    signal: int | None
    stderr_tail: tuple[str, ...]


class WorkerProcess:
    """The process of a worker: its own session, a socket to it, and a pipe whose end kills it.

    Args:
        python: The interpreter to run.
        variables: The complete environment of the process.
        supervisor: Watches for its exit and its output.
        on_line: Receives its output.
        arena: Through which arrays go to it; None: through the socket, and back too.
    Raises:
        OSError: the interpreter cannot be started.

    Attributes:
        pid: Of the process.
        began: After its end: the number of the call that began last, or 0.
        left_behind: After its end: what it had done and not sent.
        ended_by_us: It was ended here, and not by itself.
        leases: Of the arena through which arrays come from it.
    """

    def __init__(
        self,
        python: Path,
        variables: Mapping[str, str],
        supervisor: Supervisor,
        on_line: OnLine | None = None,
        arena: CallersArena | None = None,
    ) -> None:
        self._supervisor = supervisor
        self.arena = arena
        self.leases: Leases | None = None
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self.socket, other_end = socket.socketpair()
            ours.callback(self.socket.close)
            theirs.callback(other_end.close)
            alive_read, self._alive_write = os.pipe()
            ours.callback(os.close, self._alive_write)
            theirs.callback(os.close, alive_read)
            page = memory_file()
            theirs.callback(os.close, page)
            self._page = SharedPage(os.dup(page))
            ours.callback(self._page.close)
            inherited = [other_end.fileno(), alive_read, page]
            arguments = [*inherited, *self._arenas(inherited, theirs)]
            self._popen = subprocess.Popen(
                [str(python), str(_EXECUTOR), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(variables),
                pass_fds=inherited,
                start_new_session=True,  # a Ctrl-C in the terminal is the caller's business
            )
            ours.pop_all()  # they stay open
        self.pid = self._popen.pid
        stdout, stderr = _pipes(self._popen)
        self._pipes = (
            _OutputPipe("stdout", stdout.fileno(), on_line),
            _OutputPipe("stderr", stderr.fileno(), on_line),
        )
        for pipe in self._pipes:
            supervisor.watch(pipe.descriptor, partial(self._pump, pipe))
        self._pidfd = _pidfd_of(self.pid)
        self._reaping = threading.Lock()
        self._death: Death | None = None
        self.began = 0
        self.left_behind = LeftBehind(b"", 0, b"")
        self.ended_by_us = False
        _living.add(self)

    def _arenas(self, inherited: list[int], theirs: contextlib.ExitStack) -> tuple[int, ...]:
        """What the process must know of the arenas; their files go to those it inherits."""
        arena = self.arena
        descriptor = -1 if arena is None else arena.file_for_another()
        if arena is None or descriptor < 0:  # there is none, or an exit is on its way, and ends the process too
            return ()
        theirs.callback(os.close, descriptor)
        inherited.append(descriptor)
        known = (descriptor, arena.file_size)
        file = arena_file()
        if file is None:  # then arrays go to it, and come back through the socket
            return known
        theirs.callback(os.close, file.descriptor)
        try:
            self.leases = Leases(file.descriptor, file.size, self._children_see)
        except (OSError, ValueError):  # others have taken the addresses meanwhile
            return known
        inherited.append(file.descriptor)
        _leases.add(self.leases)
        return (*known, *file)

    def _children_see(self, inode: int) -> bool:
        return children_see(inode, self.pid)

    def on_exit(self, function: Callable[[], None]) -> None:
        """Call a function when the process ends, also while a grandchild holds its socket open; before `reap`."""
        if self._pidfd >= 0 and self._death is None:  # after its end the number may be somebody else's
            self._supervisor.watch(self._pidfd, lambda: self._exited(function))

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the process; False when it still runs after `timeout` seconds."""
        try:
            self._popen.wait(max(0.0, timeout))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process and all of its session, at once."""
        if self._popen.poll() is None:
            self._kill_session()

    def reap(self, grace: float = 0.0) -> Death:
        """Collect the process after its end, or end it; close all that belongs to it. Idempotent.

        Args:
            grace: How long it may take to end by itself, in seconds.
        """
        with self._reaping:
            if self._death is not None:
                return self._death
            if not self.wait(grace):
                self.ended_by_us = True
                self.kill()
                self.wait(_REAP_S)
            self._kill_session()  # what it started outlives it otherwise
            for pipe in self._pipes:
                self._supervisor.unwatch(pipe.descriptor)
                pipe.pump(_MOST_READS)
            if self._pidfd >= 0:
                self._supervisor.unwatch(self._pidfd)
                os.close(self._pidfd)
            for file in _pipes(self._popen):
                file.close()
            os.close(self._alive_write)
            self.began, self.left_behind = self._page.began(), self._page.left_behind()
            self._page.close()
            code = self._popen.returncode
            signal_number = -code if code is not None and code < 0 else None
            self._death = Death(
                None if code is None or code < 0 else code,
                None if self.ended_by_us else signal_number,
                self.stderr_tail,
            )
            return self._death

    def let_go(self) -> None:
        """In a forked child of the caller: this end of the pipes belongs to the caller alone."""
        if self._death is None:
            self.socket.close()
            with contextlib.suppress(OSError):  # a thread that is not here was reaping it, and had closed this
                os.close(self._alive_write)

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines on its standard error, oldest first."""
        return tuple(self._pipes[1].tail)

    def _kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it
            os.killpg(self.pid, signal.SIGKILL)

    def _exited(self, function: Callable[[], None]) -> None:
        self._supervisor.unwatch(self._pidfd)
        function()

    def _pump(self, pipe: _OutputPipe) -> None:
        if not pipe.pump():
            self._supervisor.unwatch(pipe.descriptor)


_living: WeakSet[WorkerProcess] = WeakSet()


_leases: WeakSet[Leases] = WeakSet()


def _let_go_of_all() -> None:
    for leases in _all_leases():  # before all else: the child would give back what the parent uses
        leases.disown()
    for process in list(_living):
        process.let_go()


def _forks() -> None:
    for leases in _all_leases():
        leases.forks()


def _all_leases() -> list[Leases]:
    while True:
        with contextlib.suppress(RuntimeError):  # a worker starts in this moment
            return list(_leases)


# A process that the caller forks would keep its workers alive, and their pipes open, when the caller has died.
os.register_at_fork(before=_forks, after_in_child=_let_go_of_all)


def _pidfd_of(pid: int) -> int:
    """A descriptor that can be read when the process has ended; -1 where the system has none."""
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError:  # a kernel before 5.3, or no descriptor is left: then the end of the socket has to do
        return -1


def memory_file() -> int:
    """A descriptor of a file for a `SharedPage`, which has no name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("wetlands-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, PAGE_BYTES)
        seal(descriptor)
        return descriptor
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, PAGE_BYTES)
    return descriptor


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout, process.stderr


class _OutputPipe:
    """The reading end of a worker's standard output or error."""

    def __init__(self, name: str, descriptor: int, on_line: OnLine | None) -> None:
        self.descriptor = descriptor
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._name = name
        self._on_line = on_line
        self._lines = OutputLines()
        self._lock = threading.Lock()  # one reader at a time
        os.set_blocking(descriptor, False)

    def pump(self, reads: int = _READS) -> bool:
        """Read what is there, a piece at each of so many reads; False at the end of the stream."""
        lines: list[PrintedLine] = []
        with self._lock:
            goes_on = self._read(lines, reads)
        for line in lines:
            self.tail.append(line.text)
            if self._on_line is not None:
                self._on_line(self._name, line)
        return goes_on

    def _read(self, lines: list[PrintedLine], reads: int) -> bool:
        for _ in range(reads):  # then other workers have their turn
            try:
                data = os.read(self.descriptor, _READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                lines.extend(self._lines.ended())
                return False
            lines.extend(self._lines.received(data))
        return True
