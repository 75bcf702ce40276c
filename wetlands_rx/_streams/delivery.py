"""Delivery threads: where listeners are called, so that no reader thread ever runs user code.

One thread serves all mailboxes. Only when a listener does not come back, and something else waits, another thread is
started: a listener that blocks for ever costs one thread and delays the others by about 20 ms. What its own mailbox
still holds goes on without it after about a second; what it missed is kept, and told to it when it comes back. Its
thread serves nobody else any more, and ends then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from wetlands_rx._streams.report import described, report, warn

_T = TypeVar("_T")

STALL_S = 0.02
"""A call that takes longer than this is considered stuck while something else waits."""
HELD_BACK_S = 1.0
"""A call that takes longer than this holds its mailbox back no longer."""
MOST_THREADS = 64
"""So many threads deliver at a time; those whose call was overtaken are not among them."""
MOST_OVERTAKEN = 1000
"""When so many calls do not come back, listeners are called no more: tasks end without them, and the log says so."""
CLOSING_HELD_BACK_S = 0.1
"""`HELD_BACK_S` while closing."""
CLOSING_PATIENCE_S = 0.5
"""A call that takes longer than this is not waited for at the end."""
_BATCH = 1024


class CallLater(Protocol):
    """Runs a function on a library thread after a delay in seconds; the function must be quick."""

    def __call__(self, delay: float, function: Callable[[], None], /) -> None: ...


class Party(Protocol):
    """Somebody who is called, one call at a time.

    Attributes:
        late: What is kept for a party that has not come back from a call; None for all others. Set by the mailbox.
    """

    late: deque[Callable[[], None]] | None

    def described(self) -> str:
        """Its name for the log; never raises."""
        ...


Step = tuple[Party | None, Callable[[], None]]
"""A call into the user's code, and whose call it is; None for a party that is called only once."""


class CallSoon(Protocol):
    """Runs a quick function on a library thread soon; takes no lock and starts no thread."""

    def __call__(self, function: Callable[[], None], /) -> None: ...


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


class Delivery:
    """Empties mailboxes, each mailbox by one thread at a time.

    Args:
        call_later: The clock that looks for stuck calls.
        name: Goes into the threads' names.
        call_soon: Has the first thread started when a finalizer is the first to need one.
        stall_s: See `STALL_S`.
        held_back_s: See `HELD_BACK_S`.
        most_threads: See `MOST_THREADS`.
        most_overtaken: See `MOST_OVERTAKEN`.
    """

    def __init__(
        self,
        call_later: CallLater,
        name: str = "wetlands-delivery",
        *,
        call_soon: CallSoon | None = None,
        stall_s: float = STALL_S,
        held_back_s: float = HELD_BACK_S,
        most_threads: int = MOST_THREADS,
        most_overtaken: int = MOST_OVERTAKEN,
    ) -> None:
        self._call_later = call_later
        self._call_soon: CallSoon = call_soon or partial(call_later, 0.0)
        self._name = name
        self._stall_s = stall_s
        self._held_back_s = held_back_s
        self._most_threads = most_threads
        self._most_overtaken = most_overtaken
        self._ready: SimpleQueue[Work | None] = SimpleQueue()  # None only wakes: look whether to end
        self._lock = threading.Lock()  # guards the fields below
        self._threads: list[_DeliveryThread] = []
        self._ended: list[_DeliveryThread] = []  # about to end
        self._overtaken: list[_DeliveryThread] = []  # they end when their call comes back
        self._muted = False  # the log says so
        self._named: set[str] = set()  # whose call was overtaken, and the log says so
        self._started = 0
        self._watching = False
        self._closed = False

    def schedule(self, mailbox: Mailbox[Any]) -> None:
        """Let a thread empty this mailbox soon. From any thread."""
        self._ready.put(mailbox)
        if not self._threads:
            self._ensure_thread()
        self.watch()

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function on a delivery thread. For finalizers, which may run anywhere: takes no lock."""
        self._ready.put(Errand(function))
        if not self._threads:
            self._call_soon(self._ensure_thread)

    def wait(self, happened: Callable[[float | None], bool], timeout: float | None) -> bool:
        """Block the calling thread until something that is told by delivery has happened.

        Args:
            happened: Waits for it that many seconds, or for ever; True when it has happened.
            timeout: In seconds; None waits for ever.
        Returns:
            False when the time was over before.
        """
        return happened(timeout)

    def watch(self) -> None:
        """See to it that stuck calls are noticed while anything is being delivered."""
        if not self._watching and self._begin_watching():
            self._call_later(self._stall_s, self._look)

    def close(self, timeout: float) -> None:
        """End the threads after what is scheduled has been delivered.

        Args:
            timeout: How long to wait for them, in seconds. A call that does not come back is waited for no longer than
                `CLOSING_PATIENCE_S`: its thread ends when it does. A thread does not wait for itself.
        """
        with self._lock:
            self._closed = True
            self._held_back_s = min(self._held_back_s, CLOSING_HELD_BACK_S)
        self._ready.put(None)
        began = time.monotonic()
        while thread := self._worth_waiting_for(began):
            left = began + timeout - time.monotonic()
            if left <= 0.0:
                return
            thread.join(min(left, self._stall_s or STALL_S))

    def _worth_waiting_for(self, began: float) -> _DeliveryThread | None:
        """A thread that is worth waiting for; None when there is none but those whose call does not come back."""
        with self._lock:
            threads = self._threads + self._ended + self._overtaken
        impatient = time.monotonic() - CLOSING_PATIENCE_S
        for thread in threads:
            stuck = thread.deliverer.work is not None and max(thread.deliverer.since, began) < impatient
            if not stuck and thread is not threading.current_thread() and thread.is_alive():
                return thread
        return None

    def _begin_watching(self) -> bool:
        with self._lock:
            began, self._watching = not self._watching, True
        return began

    def _ensure_thread(self) -> None:
        with self._lock:
            if not self._threads:
                self._start_thread()

    def _start_thread(self) -> None:
        thread = _DeliveryThread(f"{self._name}-{self._started}", self._serve)
        with contextlib.suppress(RuntimeError):  # the system has none left: the clock tries again
            thread.start()
            self._started += 1
            self._threads.append(thread)

    def _serve(self, thread: _DeliveryThread) -> None:
        deliverer = thread.deliverer
        while True:
            work = self._next(thread)
            if work is None:
                return
            deliverer.since = time.monotonic()
            deliverer.mute = len(self._overtaken) >= self._most_overtaken
            if deliverer.mute and not self._muted:
                self._muted = True
                self.soon(partial(warn, "%d listeners do not come back: no more are called", self._most_overtaken))
            deliverer.work = work
            self.watch()  # the clock may have looked between the queue and this line, and gone
            more = work.drain(deliverer)
            deliverer.work = None
            if more:
                self._ready.put(work)
            if deliverer.overtaken is not None:
                self._leave(thread)
                return
            del work  # before the wait: it keeps a task alive, or what a finalizer handed over

    def _next(self, thread: _DeliveryThread) -> Work | None:
        """Wait for something to do; None when the thread must end."""
        while True:
            try:
                work = self._ready.get(block=not self._closed)
            except Empty:
                if self._ends(thread):
                    return None
                continue
            if work is not None:
                return work

    def _ends(self, thread: _DeliveryThread) -> bool:
        with self._lock:
            # Removed before the look: whoever schedules something now sees no thread, or is seen by this look.
            self._threads.remove(thread)
            if not self._ready.empty():
                self._threads.append(thread)
                return False
            self._ended = [other for other in self._ended if other.is_alive()] + [thread]
            if self._threads:
                self._ready.put(None)  # the next one, which waits
            return True

    def _leave(self, thread: _DeliveryThread) -> None:
        """Back from a call that was overtaken: others have gone on, and there are enough of them."""
        with self._lock:
            for threads in (self._threads, self._overtaken):
                if thread in threads:
                    threads.remove(thread)
            self._ended = [other for other in self._ended if other.is_alive()] + [thread]

    def _look(self) -> None:
        """Look for stuck calls; on the clock's thread."""
        now = time.monotonic()
        with self._lock:
            self._watching = False  # before the look: what begins after it finds nobody watching
            busy = [(work, thread) for thread in self._threads if (work := thread.deliverer.work)]
        for work, thread in busy:
            if work.overtake(thread.deliverer, now - self._held_back_s):
                self._ready.put(work)
            if (who := thread.deliverer.overtaken) is not None:
                self._set_aside(thread)
                if not self._closed:  # then it may only be slow, and is overtaken sooner
                    self.soon(partial(self._warn, who))
        with self._lock:
            waiting = not self._ready.empty()
            stuck = sum(thread in self._threads and now - thread.deliverer.since >= self._stall_s for _, thread in busy)
            if waiting and stuck == len(self._threads) < self._most_threads:
                self._start_thread()
        if busy or waiting:
            self.watch()

    def _set_aside(self, thread: _DeliveryThread) -> None:
        with self._lock:
            if thread in self._threads:  # else it came back in this moment
                self._threads.remove(thread)
                self._overtaken.append(thread)

    def _warn(self, who: Callable[[], str]) -> None:
        """Say whose call was overtaken, once; on a delivery thread, for the log's handlers are user code."""
        name = who()
        if name not in self._named:
            self._named.add(name)
            warn("%s does not come back; the others go on, and what it misses is kept for it", name)


class _DeliveryThread(threading.Thread):
    def __init__(self, name: str, serve: Callable[[_DeliveryThread], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._serve = serve
        self.deliverer = Deliverer()

    def run(self) -> None:
        self._serve(self)


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
        try:
            self._function()
        except BaseException:  # noqa: BLE001 - as in `Mailbox.drain`
            report("a delivery failed")
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

    Handling an item gives the calls that it leads to; the next item is handled when they have been made. A call that
    does not come back is overtaken: its party misses nothing and is called by no other thread meanwhile, but the rest
    goes on.

    Args:
        handle: Receives each item and its number in the order of posting; returns the calls.
        delivery: The threads.
    """

    __slots__ = (
        "_busy",
        "_called",
        "_calling",
        "_delivery",
        "_handle",
        "_handled",
        "_holder",
        "_lock",
        "_steps",
        "_waiting",
        "accepted",
        "owner",
    )

    def __init__(self, handle: Callable[[_T, int], Iterable[Step]], delivery: Delivery) -> None:
        self._handle = handle
        self._delivery = delivery
        self._lock = threading.Lock()  # guards the fields below, and every party's `late`
        self._waiting: deque[_T] = deque()
        self._steps: deque[Step] = deque()
        self._busy = False  # scheduled or being emptied
        self._holder: Deliverer | None = None  # who empties it
        self._calling = False  # it is inside a call ...
        self._called: Party | None = None  # ... to this party
        self._handled = 0
        self.accepted = 0
        self.owner: int | None = None

    def post(self, item: _T) -> None:
        """Add an item. From any thread; returns at once."""
        with self._lock:
            self._waiting.append(item)
            self.accepted += 1
            scheduled, self._busy = self._busy, True
        if scheduled:
            self._delivery.watch()
        else:
            self._delivery.schedule(self)

    @property
    def pending(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def drain(self, deliverer: Deliverer) -> bool:
        """Handle what waits, on a delivery thread.

        Returns:
            True when it stopped early to let other mailboxes have their turn.
        """
        waiting, steps, lock = self._waiting, self._steps, self._lock
        party: Party | None = None
        number = 0
        with lock:
            self._holder, self.owner = deliverer, threading.get_ident()
        for _ in range(_BATCH):
            # The user's objects are let go of here, never with the lock held: their finalizers may post.
            call: Callable[[], None] | None = None
            item: Any = None
            _called = party  # kept over what follows
            with lock:
                if self._holder is not deliverer:
                    break
                deliverer.since = time.monotonic()
                if steps:
                    party, call = steps.popleft()
                    if party is not None and (party.late is not None or deliverer.mute):
                        if party.late is not None:
                            party.late.append(call)
                        continue
                    self._called, self._calling = party, True
                elif waiting:
                    self._calling = False  # nobody overtakes while an item is handled: the next ones build on it
                    item, number = waiting.popleft(), self._handled
                    self._handled += 1
                else:
                    self._let_go(busy=False)
                    return False
            try:
                if call is not None:
                    call()
                else:
                    steps.extend(self._handle(item, number))
            except BaseException:  # noqa: BLE001 - the user's code: even SystemExit must not end this thread
                report("a delivery failed")
        with lock:
            if self._holder is deliverer:
                self._let_go(busy=True)
                return True
        self._catch_up(deliverer, party)
        return False

    def overtake(self, deliverer: Deliverer, begun: float) -> bool:
        """Go on without the party of the present call, when that began before `begun`. On the clock's thread.

        Returns:
            True when something waits: the mailbox must be scheduled again.
        """
        with self._lock:
            if self._holder is not deliverer or not self._calling or deliverer.since > begun:
                return False
            party = self._called
            deliverer.overtaken = _somebody if party is None else party.described
            if party is not None:
                party.late = deque()
            self._let_go(busy=bool(self._steps or self._waiting))
            return self._busy

    def _let_go(self, *, busy: bool) -> None:
        self._busy, self._holder, self.owner = busy, None, None
        self._calling, self._called = False, None

    def _catch_up(self, deliverer: Deliverer, party: Party | None) -> None:
        """Back from a call that was overtaken: tell the party what it missed."""
        call = None
        while party is not None:
            call = None  # as in `drain`
            with self._lock:
                if not party.late:
                    party.late = None
                    return
                call = party.late.popleft()
                deliverer.since = time.monotonic()
            try:
                call()
            except BaseException:  # noqa: BLE001 - as in `drain`
                report("a delivery failed")
