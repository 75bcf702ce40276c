"""A worker process that is no process: the test sits at the other end of its socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, cast

from wetlands_rx._remote.channel import Channel
from wetlands_rx._remote.page import LeftBehind, SharedPage
from wetlands_rx._wire import codec
from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import CallFunction, Down
from wetlands_rx._worker.process import Death, WorkerProcess, memory_file


class FakeProcess:
    """Does what `WorkerProcess` does, by hand.

    Attributes:
        channel: The worker's end of the pipe.
        killed: Set when somebody killed it.
    """

    def __init__(self, pid: int = 4711, death: Death | None = None) -> None:
        self.pid = pid
        self.socket, self._theirs = socket.socketpair()
        self._theirs.settimeout(10.0)
        self.page = SharedPage(memory_file())
        self.arena: Arena | None = None
        self.leases: Leases | None = None
        self.began, self.left_behind = 0, LeftBehind(b"", 0, b"")
        self.channel = Channel(self._theirs, self.page)
        self.killed = threading.Event()
        self.exited = threading.Event()
        self.ended_by_us = self._reaped = False
        self._death = death or Death(3, None, ("last words",))
        self._on_exit: Callable[[], None] | None = None

    def as_process(self) -> WorkerProcess:
        return cast(WorkerProcess, self)

    # --- For the test

    def hello(self) -> None:
        self.channel.send([codec.encode_hello((3, 11, 0), self.pid)])

    def hear(self) -> Down:
        message = self.channel.next_message()
        assert message is not None
        return message

    def hear_call(self) -> CallFunction:
        message = self.hear()
        assert isinstance(message, CallFunction)
        return message

    def answer(self, task: int, value: Any = None) -> None:
        self.channel.send(codec.encode_result(task, value))

    def write(self, data: bytes) -> None:
        self._theirs.sendall(data)

    def close_pipe(self) -> None:
        """Its end of the socket closes, as at the end of a process."""
        self.channel.close()

    def die(self) -> None:
        """The process ends: its socket closes, and it is noticed."""
        self.exited.set()
        self.close_pipe()

    def die_holding_the_pipe(self) -> None:
        """The process ends, but something it started keeps the socket open."""
        self.exited.set()
        if self._on_exit is not None:
            self._on_exit()

    # --- As WorkerProcess

    def on_exit(self, function: Callable[[], None]) -> None:
        self._on_exit = function

    def wait(self, timeout: float) -> bool:
        return self.exited.wait(max(0.0, timeout))

    def kill(self) -> None:
        self.killed.set()
        self.die()

    def reap(self, grace: float = 0.0) -> Death:
        if not self.wait(grace):
            self.ended_by_us = True
            self.kill()
        self.channel.close()
        if not self._reaped:
            self._reaped = True
            self.began, self.left_behind = self.page.began(), self.page.left_behind()
            self.page.close()
        return self._death

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        return self._death.stderr_tail
