"""Mailboxes: any thread posts, one delivery thread at a time handles, in the order of posting, with no lock held."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from wetlands_rx._streams.report import described, report

_T = TypeVar("_T")

_COMPACT = 4096
MOST_WAITING = 65_536
"""So many items wait at a time, and are kept for one party; what may be merged is merged then."""
TURN_S, TURN_ITEMS = 0.005, 1024
"""After so long, or so many items, a mailbox lets others have their turn."""

AHEAD = 16_384
"""A producer that is so many items ahead lets the delivery thread catch up, as long as that goes fast."""
FAST_ITEMS, FAST_S = 100, 0.02
"""So many in this time; who is slower is not waited for, and not tried again within `_SLOW_S`."""
_SLOW_S = 1.0
_PAUSE_S = 0.001


class Party(Protocol):
    """Somebody who is told things, one at a time.

    Attributes:
        late: What is kept for a party that has not come back; None for all others. Set by the mailbox.
    """

    late: deque[Any] | None

    def hear(self, item: Any) -> None:
        """Take something; this is where the user's code runs."""
        ...

    def described(self) -> str:
        """Its name for the log; never raises."""
        ...


Step = tuple[Party, Any] | tuple[None, Callable[[], object]]
"""A call into the user's code: who is to hear what; or a function, for a party that is called only once."""


class Work(Protocol):
    """What a delivery thread does at a time: empty a mailbox, or one errand."""

    def drain(self, deliverer: Deliverer) -> bool:
        """Do it; True when there is more to do later."""
        ...

    def overtake(self, deliverer: Deliverer, begun: float) -> bool:
        """Give up waiting for a call that began before `begun`: mark the deliverer.

        Returns:
            True when there is more to do at once.
        """
        ...


class Threads(Protocol):
    """Who empties mailboxes."""

    @property
    def closing(self) -> bool:
        """Nobody waits any longer for what may be left out."""
        ...

    def schedule(self, mailbox: Mailbox[Any]) -> None:
        """Let a thread empty this mailbox soon. From any thread."""
        ...

    def watch(self) -> None:
        """See to it that stuck calls are noticed while anything is being delivered."""
        ...


class Deliverer:
    """Who empties mailboxes: a delivery thread, or a test by hand.

    Attributes:
        work: What it is at.
        since: When its present call began, in seconds of the monotonic clock.
        overtaken: Who has not come back from that call so long that others go on with the work; None until then.
        mute: It calls no listener: too many have not come back.
    """

    __slots__ = ("mute", "overtaken", "since", "work")

    def __init__(self) -> None:
        self.work: Work | None = None
        self.since = 0.0
        self.overtaken: Callable[[], str] | None = None
        self.mute = False


class Mergeable(Protocol[_T]):
    """What a mailbox may leave out when more waits than it keeps. Pure: called with its lock held."""

    def merged(self, older: _T, newer: _T) -> _T | None:
        """One item that stands for both; None when none of them may be left out."""
        ...

    def replaceable(self, heard: Any) -> bool:
        """True for what a party need not hear when there is something newer of its kind."""
        ...


def _somebody() -> str:
    return "a Future's callback or a log handler"


class Errand:
    """A single call."""

    __slots__ = ("_function", "_lock", "_over")

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._lock = threading.Lock()  # guards the field below
        self._over = False

    def drain(self, deliverer: Deliverer) -> bool:
        """Call it."""
        _call(self._function)
        with self._lock:
            self._over = True
        return False

    def overtake(self, deliverer: Deliverer, begun: float) -> bool:
        """Nothing waits behind it, but its thread is missing."""
        with self._lock:
            if not self._over and deliverer.since <= begun:
                deliverer.overtaken = partial(described, self._function)
        return False


class Mailbox(Generic[_T]):
    """Any thread posts; one delivery thread at a time handles, in the order of posting, with no lock held.

    Handling an item gives the calls that it leads to; the next item is handled when they have been made. A party whose
    call does not come back, or which keeps the mailbox behind for that long, is overtaken: it is called by no other
    thread meanwhile and told the rest later, but the others go on.

    Args:
        handle: Receives each item and its number in the order of posting; returns the calls.
        threads: Who empties it.
        mergeable: What may be left out in a flood; by default nothing, and then it grows without bound.
        most_waiting: Beyond so many it is; by default `MOST_WAITING`.

    Attributes:
        accepted: How many items were posted, without those that were merged.
        dropped: How many items or calls were left out.
        owner: The thread that empties it now, by its ident.
        threads: Who empties it from the next time on.
    """

    __slots__ = (
        "_busy",
        "_called",
        "_calling",
        "_fenced",
        "_handle",
        "_handled",
        "_head",
        "_holder",
        "_lock",
        "_mark",
        "_mergeable",
        "_most_waiting",
        "_place",
        "_slow_until",
        "_spent",
        "_steps",
        "_turn",
        "_waiting",
        "accepted",
        "dropped",
        "owner",
        "threads",
    )

    def __init__(
        self,
        handle: Callable[[_T, int], Sequence[Step]],
        threads: Threads,
        mergeable: Mergeable[_T] | None = None,
        most_waiting: int | None = None,
    ) -> None:
        self._handle = handle
        self.threads = threads
        self._mergeable = mergeable
        self._most_waiting = MOST_WAITING if most_waiting is None else most_waiting
        self._lock = threading.Lock()  # guards the fields below, and every party's `late`
        self._waiting: list[_T | None] = []  # no deque: that takes 0.7 kB, and most mailboxes hold one item
        self._head = 0  # those before it have been taken
        self._steps: Sequence[Step] = ()  # the calls of the item that is being handled ...
        self._place = 0  # ... made so far
        self._busy = False  # scheduled or being emptied
        self._holder: Deliverer | None = None  # who empties it
        self._calling = False  # it is inside a call ...
        self._called: Party | None = None  # ... to this party
        self._handled = 0
        self._mark = 0  # when so many are handled, it was not behind ...
        self._spent = 0.0  # ... for longer than this, in seconds of its own turns
        self._turn = 0.0
        self._slow_until = 0.0
        self._fenced = -1
        self.accepted = 0
        self.dropped = 0
        self.owner: int | None = None

    def post(self, *items: _T) -> None:
        """Add items. From any thread; returns at once."""
        with self._lock:
            for item in items:
                if len(self._waiting) - self._head < self._most_waiting or not self._merged(item):
                    self._waiting.append(item)
                    self.accepted += 1
            scheduled, self._busy = self._busy, True
        if scheduled:
            self.threads.watch()
        else:
            self.threads.schedule(self)

    @property
    def pending(self) -> int:
        """How many items wait."""
        return len(self._waiting) - self._head

    def give_way(self) -> None:
        """Let the delivery thread catch up with the thread that posts, which can be the faster one by far.

        Takes as long as listeners that are fast need, and once a second 0.02 s when they are slow.
        """
        since, before = time.monotonic(), self._handled
        while self.pending > AHEAD and since >= self._slow_until:
            time.sleep(_PAUSE_S)
            now, handled = time.monotonic(), self._handled
            if now - since >= FAST_S:
                if handled - before < FAST_ITEMS:
                    self._slow_until = now + _SLOW_S
                since, before = now, handled

    def fence(self) -> int:
        """Say that somebody listens from now on. Returns the number of the first item that he hears.

        What comes next does not take the place of an item before it: he would not hear it.
        """
        with self._lock:
            self._fenced = first = self.accepted
        return first

    def _merged(self, item: _T) -> bool:
        """With the lock held: let the item stand for the last one that waits too."""
        if self.accepted == self._fenced:
            return False
        older = self._waiting[-1]
        merged = None if older is None or self._mergeable is None else self._mergeable.merged(older, item)
        if merged is None:
            return False
        self._waiting[-1] = merged
        self.dropped += 1
        return True

    def drain(self, deliverer: Deliverer) -> bool:
        """Handle what waits, on a delivery thread.

        Returns:
            True when it stopped early to let other mailboxes have their turn.
        """
        lock, monotonic = self._lock, time.monotonic
        party: Party | None = None
        until = self._begin(deliverer) + TURN_S
        last = self._handled + TURN_ITEMS
        while True:
            # The user's objects are let go of outside the lock: their finalizers may post.
            what = _kept = taken = None
            with lock:
                if self._holder is not deliverer:
                    break
                self._calling = False
                steps, place = self._steps, self._place
                if place < len(steps):
                    self._place = place + 1
                elif not self._waiting or deliverer.since >= until or self._handled >= last:
                    _kept = self._let_go()
                    return bool(self._waiting)
                else:
                    taken = self._take()
            if taken is not None:
                self._steps = steps = self._opened(*taken)
                place, self._place = 0, 1
                if not steps:
                    deliverer.since = monotonic()
                    continue
            party, what = steps[place]
            if party is not None and ((party.late is not None and self._keep(party, what)) or deliverer.mute):
                continue
            deliverer.since = monotonic()  # first, then who, then that: overtaking looks in the other order
            self._called = party
            self._calling = True
            try:
                if party is not None:
                    party.hear(what)
                else:
                    what()
            except BaseException:  # noqa: BLE001 - the user's code: even SystemExit must not end this thread
                report("a delivery failed")
        self._catch_up(deliverer, party)
        return False

    def _opened(self, item: _T, number: int) -> Sequence[Step]:
        try:
            return self._handle(item, number)
        except BaseException:  # noqa: BLE001 - opening a value runs the user's code
            report("a delivery failed")
            return ()

    def _take(self) -> tuple[_T, int]:
        """With the lock held: the next item, and its number."""
        waiting, head = self._waiting, self._head
        item = waiting[head]
        waiting[head] = None
        head += 1
        if head == len(waiting):
            waiting.clear()
            head = 0
        elif head == _COMPACT:
            del waiting[:head]
            head = 0
        self._head = head
        number = self._handled
        self._handled = number + 1
        return cast(_T, item), number

    def _begin(self, deliverer: Deliverer) -> float:
        now = time.monotonic()
        deliverer.since = now
        with self._lock:
            self._holder, self.owner, self._turn = deliverer, threading.get_ident(), now
            if self._handled >= self._mark:
                self._mark, self._spent = self.accepted, 0.0
        return now

    def overtake(self, deliverer: Deliverer, begun: float) -> bool:
        """Go on without the party of the present call, when that began before `begun`. On the clock's thread.

        Likewise without one that is called again and again and cannot keep up: what waited when the turn of this
        mailbox began, and it is its turn since before `begun`, is not handled yet.

        Returns:
            True when something waits: the mailbox must be scheduled again.
        """
        with self._lock:
            if self._holder is not deliverer or not self._calling:
                return False
            behind = self._handled < self._mark and self._turn - self._spent <= begun and self._called is not None
            if deliverer.since > begun and not behind:
                return False
            party = self._called
            deliverer.overtaken = _somebody if party is None else party.described
            if party is not None:
                party.late = deque()
            self._busy = self._place < len(self._steps) or bool(self._waiting)
            self._holder, self.owner, self._calling, self._called = None, None, False, None
            self._mark = 0
            return self._busy

    def _let_go(self) -> Sequence[Step]:
        """With the lock held: the turn is over. Returns what may be freed only without it."""
        done, self._steps, self._place = self._steps, (), 0
        self._busy, self._holder, self.owner, self._called = bool(self._waiting), None, None, None
        self._spent += time.monotonic() - self._turn
        return done

    def _keep(self, party: Party, what: Any) -> bool:
        """Keep something for a party that has not come back; False when it has."""
        replaced = None
        with self._lock:
            late = party.late
            if late is None:
                return False
            if len(late) >= self._most_waiting and self._replaces(what, late[-1]):
                replaced, late[-1] = late[-1], what
                self.dropped += 1
            else:
                late.append(what)
        del replaced  # not with the lock held
        return True

    def _replaces(self, newer: Any, older: Any) -> bool:
        mergeable = self._mergeable
        return mergeable is not None and mergeable.replaceable(older) and mergeable.replaceable(newer)

    def _catch_up(self, deliverer: Deliverer, party: Party | None) -> None:
        """Back from a call that was overtaken: tell the party what it missed."""
        what = None
        while party is not None:
            what = None  # as in `drain`
            with self._lock:
                late = party.late
                if not late:
                    party.late = None
                    return
                what = late.popleft()
                deliverer.since = time.monotonic()
                left_out = self.threads.closing and bool(late) and self._replaces(late[0], what)
                self.dropped += left_out
            if not left_out:
                _call(partial(party.hear, what))


def _call(call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException:  # noqa: BLE001 - the user's code: even SystemExit must not end a delivery thread
        report("a delivery failed")
