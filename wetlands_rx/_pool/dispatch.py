"""Decides which call goes to which worker. Pure: happenings in, sends out; no thread, clock or stream.

First in, first out; one call per worker at a time; no worker is idle while a call waits. A call that leaves goes to
whoever asked, so that no call, with what it holds of the user's, ends in here while the owner's lock is held.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, Protocol, TypeVar


class Waits(Protocol):
    """What dispatch must know of a call: whether it stands in the queue. Set here and nowhere else."""

    waiting: bool


_C = TypeVar("_C", bound=Waits)


class Send(NamedTuple, Generic[_C]):
    """A decision: give this call to this worker."""

    worker: int
    call: _C


class Dispatch(Generic[_C]):
    """The queue and the idle workers of a pool. Not safe for several threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._queue: OrderedDict[_C, None] = OrderedDict()
        self._idle: deque[int] = deque()
        self._busy: dict[int, _C] = {}

    @property
    def queued(self) -> int:
        """How many calls wait for a worker."""
        return len(self._queue)

    @property
    def idle(self) -> int:
        """How many workers wait for a call."""
        return len(self._idle)

    def submitted(self, call: _C) -> Send[_C] | None:
        """A call came in."""
        if not self._idle:
            call.waiting = True
            self._queue[call] = None
            return None
        worker = self._idle.popleft()
        self._busy[worker] = call
        return Send(worker, call)

    def returned(self, call: _C) -> Send[_C] | None:
        """A call comes back from a worker that was gone: its turn is next."""
        send = self.submitted(call)
        if send is None:
            self._queue.move_to_end(call, last=False)
        return send

    def joined(self, worker: int) -> Send[_C] | None:
        """A worker is ready for its first call."""
        return self._next(worker)

    def freed(self, worker: int) -> Send[_C] | None:
        """A worker has answered its call."""
        if self._busy.pop(worker, None) is None:
            return None  # it was lost meanwhile
        return self._next(worker)

    def lost(self, worker: int) -> _C | None:
        """A worker is gone. Returns the call it had."""
        if worker in self._idle:
            self._idle.remove(worker)
        return self._busy.pop(worker, None)

    def withdrawn(self, call: _C) -> bool:
        """The caller wants a call back. Returns True when it waited: it will never be sent."""
        if not call.waiting:
            return False
        call.waiting = False
        del self._queue[call]
        return True

    def drained(self) -> list[_C]:
        """No worker will come: the calls that waited, in order."""
        calls = list(self._queue)
        for call in calls:
            call.waiting = False
        self._queue.clear()
        return calls

    def _next(self, worker: int) -> Send[_C] | None:
        if not self._queue:
            self._idle.append(worker)
            return None
        call, _ = self._queue.popitem(last=False)
        call.waiting = False
        self._busy[worker] = call
        return Send(worker, call)
