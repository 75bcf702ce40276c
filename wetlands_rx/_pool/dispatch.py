"""Decides which call goes to which worker. Pure: happenings in, decisions out; no thread, clock or stream.

First in, first out; no worker is idle while a call waits. A worker has one call at a time, except that short ones, as
the pace of their function says, are given out several at once, so that worker and caller need not wait for each other.
What a worker has not begun is recalled when another one has nothing to do, or when it is silent while others answer.

A call that leaves goes to whoever asked, so that no call, with what it holds of the user's, ends in here while the
owner's lock is held.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

MOST_HELD = 256
"""A worker never has more calls than this."""
AHEAD_S = 0.002
"""A worker has no more calls than take it about so long."""
MOST_BYTES = 65536
"""Nor larger ones than this together: a busy worker does not read, and its pipe must not fill."""
SILENT_S = 0.02
"""A worker that has not answered while each of the others answered calls of so long is held up by a long call."""
LEAST_S = 2e-5
"""So long a call counts at least for that: what it costs beside the time of its function."""


class Waits(Protocol):
    """What dispatch must know of a call.

    Attributes:
        waiting: It stands in the queue. Set here and nowhere else.
    """

    waiting: bool

    @property
    def size(self) -> int:
        """How many times the function is to run: 1, or more for what can be cut."""
        ...

    @property
    def bytes(self) -> int:
        """How large it is, or the next piece of it."""
        ...

    def cut(self, good: int, most: int) -> Self:
        """Take off a piece for a worker, or all: of about a `good` size, and never more than `most`."""
        ...


_UNKNOWN = float("inf")
_C = TypeVar("_C", bound=Waits)
_C_contra = TypeVar("_C_contra", bound=Waits, contravariant=True)


class Send(NamedTuple, Generic[_C]):
    """A decision: give these calls to this worker."""

    worker: int
    calls: list[_C]


class Recall(NamedTuple):
    """A decision: ask this worker for the calls that it has not begun."""

    worker: int


class Retire(NamedTuple):
    """A decision: end this worker, which has nothing left and gets nothing more."""

    worker: int


Decision = Send[_C] | Recall | Retire


class Expects(Protocol[_C_contra]):
    """Says how long calls take."""

    def __call__(self, call: _C_contra, /) -> float:
        """In seconds, once; infinity when it is not known: then the call must be a worker's only one."""
        ...


def one_at_a_time(call: object) -> float:
    """Nothing is known, so no worker gets a second call before it has answered the first."""
    return _UNKNOWN


class _Worker(Generic[_C]):
    __slots__ = ("asked", "heard", "held", "left", "retiring", "seconds")

    def __init__(self, most: int | None, heard: float) -> None:
        self.held: dict[_C, float] = {}  # in the order in which it runs them, and how long each takes
        self.seconds = 0.0  # for which that keeps it busy
        self.left = most  # calls it may still get; None: any number
        self.heard = heard  # the time of all that had been answered, by anybody, when it answered last
        self.asked = False  # it was asked for what it has not begun
        self.retiring = False


class Dispatch(Generic[_C]):
    """The queue and the workers of a pool. Not safe for several threads: its owner holds a lock.

    Args:
        expected: Says how long calls take; by default nobody knows.
    """

    def __init__(self, expected: Expects[_C] = one_at_a_time) -> None:
        self._expected = expected
        self._queue: OrderedDict[_C, None] = OrderedDict()
        self._idle: list[int] = []  # the last one goes first: its caches are warm, and its core is awake
        self._workers: dict[int, _Worker[_C]] = {}
        self._queued = 0
        self._answered = 0.0  # seconds

    @property
    def queued(self) -> int:
        """How many calls wait for a worker, each item counted."""
        return self._queued

    @property
    def idle(self) -> int:
        """How many workers wait for a call."""
        return len(self._idle)

    @property
    def held(self) -> int:
        """How many calls the workers have."""
        return sum(len(worker.held) for worker in self._workers.values())

    def submitted(self, call: _C) -> Send[_C] | None:
        """A call came in."""
        if not self._idle:
            self._enqueue(call)
            return None
        index = self._idle.pop()
        self._hold(self._workers[index], call, self._seconds(call, self._expected(call)))
        return Send(index, [call])

    def added(self, call: _C) -> list[Decision[_C]]:
        """A call came in that can be cut: there may be something for each idle worker."""
        self._enqueue(call)
        return self._sends()

    def returned(self, calls: Sequence[_C]) -> list[Decision[_C]]:
        """Calls come back from a worker that was gone, in the order in which it had them: their turn is next."""
        for call in reversed(calls):
            self._enqueue(call)
            self._queue.move_to_end(call, last=False)
        return self._sends()

    def joined(self, worker: int, most: int | None = None) -> list[Decision[_C]]:
        """A worker is ready for its first call; it gets `most` in its life."""
        self._workers[worker] = _Worker(most, self._answered)
        decisions = self._next(worker)
        if self._idle and self._idle[-1] == worker:
            self._idle.insert(0, self._idle.pop())  # the first one that joined gets the first call
        return decisions

    def freed(self, worker: int, calls: Iterable[_C]) -> list[Decision[_C]]:
        """A worker has answered calls."""
        state = self._workers.get(worker)
        if state is None:
            return []  # it was lost meanwhile
        held, answered = state.held, self._answered
        for call in calls:
            seconds = held.pop(call, 0.0)
            answered += seconds if LEAST_S < seconds < _UNKNOWN else LEAST_S
        self._answered = state.heard = answered
        state.seconds = sum(held.values())
        return self._next(worker)

    def recalled(self, worker: int, calls: Iterable[_C], wanted: Sequence[_C] | None = None) -> list[Decision[_C]]:
        """A worker has given back what it had not begun, in the order in which it had them: their turn is next.

        Args:
            worker: Which.
            calls: What it gave back.
            wanted: Those of them that are still to run; by default all.
        """
        calls = list(calls)
        state = self._workers.get(worker)
        if state is None:
            return []  # it was lost meanwhile, and its calls have come back that way
        state.asked = False
        for call in calls:
            state.held.pop(call, None)
        if state.left is not None:
            state.left += sum(call.size for call in (calls if wanted is None else wanted))
        for call in state.held:
            state.held[call] = _UNKNOWN  # it is held up by a long one
        state.seconds = sum(state.held.values())
        decisions = self.returned(calls if wanted is None else wanted)
        if not state.held and worker not in self._idle:
            decisions += self._next(worker)
        return decisions

    def lost(self, worker: int) -> list[_C]:
        """A worker is gone. Returns the calls it had, in the order in which it runs them."""
        if worker in self._idle:
            self._idle.remove(worker)
        state = self._workers.pop(worker, None)
        return [] if state is None else list(state.held)

    def retired(self, worker: int) -> list[Decision[_C]]:
        """A worker gets nothing more: it is to end when it has answered what it runs."""
        state = self._workers.get(worker)
        if state is None or state.retiring:
            return []
        state.retiring = True
        if worker in self._idle:
            self._idle.remove(worker)
            return [Retire(worker)]
        return [Recall(worker)] if self._asks(state) else []

    def withdrawn(self, call: _C) -> bool:
        """The caller wants a call back. Returns True when it waited: it will never be sent."""
        if not call.waiting:
            return False
        call.waiting = False
        del self._queue[call]
        self._queued -= call.size
        return True

    def drained(self) -> list[_C]:
        """No worker will come: the calls that waited, in order."""
        calls = list(self._queue)
        for call in calls:
            call.waiting = False
        self._queue.clear()
        self._queued = 0
        return calls

    def _enqueue(self, call: _C) -> None:
        call.waiting = True
        self._queue[call] = None
        self._queued += call.size

    def _sends(self) -> list[Decision[_C]]:
        """Give the idle something to do."""
        decisions: list[Decision[_C]] = []
        while self._queue and self._idle:
            index = self._idle.pop()
            decisions.append(Send(index, self._filled(self._workers[index])))
        return decisions

    def _next(self, index: int) -> list[Decision[_C]]:
        """What a worker that has room does next, and what that means for the others."""
        worker = self._workers[index]
        if worker.retiring or (worker.left is not None and worker.left <= 0):
            if worker.held:
                return []
            worker.retiring = True
            return [Retire(index)]
        calls = self._filled(worker)
        decisions: list[Decision[_C]] = [Send(index, calls)] if calls else []
        if not worker.held:
            self._idle.append(index)
        if len(self._workers) > 1:
            decisions += self._recalls()
        return decisions

    def _filled(self, worker: _Worker[_C]) -> list[_C]:
        """Take from the queue what a worker has room for."""
        queue, taken = self._queue, list[_C]()
        # In steps of half of what it may have, and no more than its share of what waits.
        if not queue or (worker.held and (2 * len(worker.held) > MOST_HELD or 2 * worker.seconds > AHEAD_S)):
            return taken
        share = max(1, self._queued // (2 * len(self._workers) - 1)) if len(self._workers) > 1 else self._queued
        if worker.left is not None:
            share = min(share, worker.left)
        while queue and share > 0 and len(worker.held) < MOST_HELD:
            call = next(iter(queue))
            once = self._expected(call)
            seconds = self._seconds(call, once)
            if worker.held and worker.seconds + seconds > AHEAD_S:
                break
            piece = self._cut(call, share, once, worker.left)
            share -= piece.size
            self._hold(
                worker, piece, self._seconds(piece, once, piece.size) if call.size > 1 or piece is not call else seconds
            )
            taken.append(piece)
        return taken

    def _cut(self, call: _C, share: int, once: float, left: int | None) -> _C:
        """Take the first call of the queue, or a piece of it that takes half as long as what a worker may have."""
        piece = (
            call
            if call.size == 1
            else call.cut(min(share, max(1, int(AHEAD_S / 2 / once))), call.size if left is None else left)
        )
        if piece is call:
            del self._queue[call]
            call.waiting = False
        self._queued -= piece.size
        return piece

    @staticmethod
    def _seconds(call: _C, once: float, times: int = 1) -> float:
        """How long a call counts as taking: by its time, or by its size."""
        return _UNKNOWN if once == _UNKNOWN else max(once * times, AHEAD_S * call.bytes / MOST_BYTES)

    def _hold(self, worker: _Worker[_C], call: _C, seconds: float) -> None:
        if not worker.held:
            worker.heard = self._answered
        worker.held[call] = seconds
        worker.seconds += seconds
        if worker.left is not None:
            worker.left -= call.size

    def _recalls(self) -> list[Recall]:
        """Ask back what would wait in vain: of all who have a second call when somebody is idle, else of the silent."""
        anybody = bool(self._idle) and not self._queue
        long_ago = self._answered - SILENT_S * (len(self._workers) - 1)
        return [
            Recall(index)
            for index, worker in self._workers.items()
            if (anybody or worker.heard < long_ago) and self._asks(worker)
        ]

    @staticmethod
    def _asks(worker: _Worker[_C]) -> bool:
        if worker.asked or not worker.held or (len(worker.held) == 1 and next(iter(worker.held)).size == 1):
            return False
        worker.asked = True
        return True
