"""What a pool handles of a task, and what a task needs of whoever runs it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from wetlands_rx._task.lifecycle import Happening
from wetlands_rx._wire.arena import Block
from wetlands_rx._wire.bodies import SharedParts

if TYPE_CHECKING:
    from wetlands_rx._streams.delivery import Delivery
    from wetlands_rx._streams.hot import HotSubject

BUSY_S = 0.02
"""Our locks are held for microseconds: whoever waits this long for one holds it himself, further up his stack."""

_numbers = itertools.count(1)
_NUMBER_BITS = 48


class Post(Protocol):
    """Takes what happens to a task, in order; from any thread, never runs user code on it."""

    def __call__(self, *happenings: Happening) -> None: ...


class Call:
    """One execution: what its runner needs to run it, and where its news go.

    Attributes:
        number: Unique in this process; the wire names the task by it.
        payload: What to run, as its runner wants it: the parts of a frame, ready to send, for a worker process.
        target: `"segment.py:segment"`.
        post: Takes whatever happens to the task.
        cancel_requested: The caller wants it to stop; whoever sends the call down looks once more after sending.
        waiting: It stands in a queue; kept by the dispatcher.
        size: How often its function is to run.
    """

    size = 1
    __slots__ = ("cancel_requested", "number", "payload", "post", "target", "waiting")

    def __init__(self, number: int, payload: Any, target: str, post: Post) -> None:
        self.number = number
        self.payload = payload
        self.target = target
        self.post = post
        self.cancel_requested = False
        self.waiting = False

    @property
    def bytes(self) -> int:
        """The size of a payload that is a frame."""
        return sum(map(len, self.payload))

    @property
    def blocks(self) -> Sequence[Block]:
        """What its payload refers to in the arena."""
        payload = self.payload
        return payload.blocks if type(payload) is SharedParts else ()

    def cut(self, good: int, most: int) -> Self:
        """All of it: one execution is never cut."""
        return self


class Work(Protocol):
    """What a pool of worker processes handles: a `Call`, or a map's `Items`; attributes as there."""

    number: int
    cancel_requested: bool
    waiting: bool

    @property
    def target(self) -> str: ...
    @property
    def payload(self) -> Any: ...
    @property
    def post(self) -> Post: ...
    @property
    def size(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def blocks(self) -> Sequence[Block]: ...
    def cut(self, good: int, most: int) -> Self: ...


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker ran a task.

    Attributes:
        environment: The environment's name.
        index: The worker's place in the pool, from 0; a replacement keeps it.
        pid: Its process.
    """

    environment: str
    index: int
    pid: int

    def __str__(self) -> str:
        return f"environment {self.environment}, worker {self.index}, pid {self.pid}"


class Runner(Protocol):
    """Whoever runs calls: a pool of workers, the caller's own process, a fake."""

    @property
    def delivery(self) -> Delivery:
        """The threads that call listeners."""
        ...

    @property
    def events(self) -> HotSubject[Any]:
        """Where the events of all its tasks go."""
        ...

    def start(self, call: Call) -> None:
        """Run a call as soon as a worker is free.

        Raises:
            WetlandsError: there is none and there will be none.
        """
        ...

    def withdraw(self, call: Call) -> bool | None:
        """Take back a call that no worker has yet; False when one has it, or had it.

        None when that cannot be told now: this very thread is at work in the runner, below a signal handler or a
        finalizer. Ask again from another thread.
        """
        ...

    def ask_cancel(self, call: Call) -> None:
        """Ask the function to stop; without effect when the call has ended."""
        ...


def next_number() -> int:
    """The number of a new task."""
    return next(_numbers)


@cache
def id_base() -> int:
    """What the ids of this process have in common: a version 4 UUID, whose last 48 bits take the number."""
    import uuid

    return uuid.uuid4().int >> _NUMBER_BITS << _NUMBER_BITS
