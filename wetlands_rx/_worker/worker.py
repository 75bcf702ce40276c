"""One worker: a process, the connection to it, and the calls it holds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._task.call import BUSY_S, Work, WorkerInfo
from wetlands_rx._task.items import Items, Outcomes
from wetlands_rx._task.lifecycle import Dispatched
from wetlands_rx._task.streams import Streams, WorkerMessage
from wetlands_rx._wire import codec
from wetlands_rx._wire.decoders import TRUSTED, Decoders
from wetlands_rx._wire.frames import frames_of
from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    Hello,
    ItemsDone,
    Logged,
    OutputSet,
    OutputUnopened,
    Raised,
    Recalled,
    Up,
    Updated,
)
from wetlands_rx._worker.connection import WorkerConnection
from wetlands_rx._worker.process import Death, WorkerProcess
from wetlands_rx.exceptions import ProtocolError, WorkerDiedError

_END_GRACE_S = 0.5
_TERMINALS = (Finished, FinishedUnopened, Raised, CancelAcknowledged)
_OTHERS = (Hello, Recalled, Logged, ItemsDone)
_End = Finished | FinishedUnopened | Raised | CancelAcknowledged
Terminal = _End | ItemsDone
_TaskNews = _End | Updated | OutputSet | OutputUnopened


class Handover(NamedTuple):
    """What became of calls that could not be given to a worker.

    Attributes:
        refused: It was gone already: they have not begun.
        lost: It ended while it was given the calls, and had begun this one.
    """

    refused: list[Work]
    lost: list[Work]


_TAKEN = Handover([], [])


class _Heard:
    """What the messages of one read say: calls that have ended, what each task is told, and outcomes of items."""

    __slots__ = ("answers", "news", "outcomes")

    def __init__(self) -> None:
        self.answers: list[tuple[Work, Terminal]] = []
        self.news: list[tuple[Work, list[_TaskNews]]] = []  # what follows each other for one call is posted at once
        self.outcomes: list[Outcomes] = []


class WorkerOwner(Protocol):
    """Who is told about a worker, on its reader thread."""

    @property
    def delivery(self) -> Delivery:
        """The threads that call observers."""
        ...

    @property
    def streams(self) -> Streams:
        """Where its messages go too."""
        ...

    def on_ready(self, worker: Worker) -> None:
        """It has said hello."""
        ...

    def on_freed(self, worker: Worker, answers: list[tuple[Work, Terminal]]) -> None:
        """It has answered calls."""
        ...

    def on_outcomes(self, done: ItemsDone) -> None:
        """It has brought outcomes of items, and goes on with others of the same call."""
        ...

    def on_recalled(self, worker: Worker, calls: list[Work], rest: Work | None) -> None:
        """It has given calls back, in the order in which it had them: they have not begun.

        Args:
            worker: Which.
            calls: The calls.
            rest: Before them: items of the call that it is at.
        """
        ...

    def on_logged(self, worker: Worker, call: Work, record: Logged) -> None:
        """A function has logged."""
        ...

    def on_lost(self, worker: Worker, begun: list[Work], others: list[Work]) -> None:
        """Its process has ended, as `worker.death` says. The last news of this worker.

        Args:
            worker: Which.
            begun: The call that it was at, if any.
            others: Those that it had not begun, in the order in which it had them.
        """
        ...


class Worker:
    """Sends calls to its process and brings the news of each to its task.

    Args:
        environment: The environment's name.
        index: Its place in the pool, from 0.
        start_process: Starts the process.
        owner: Is told what happens.
        decoders: How what it says is read.
    """

    def __init__(
        self,
        environment: str,
        index: int,
        start_process: Callable[[], WorkerProcess],
        owner: WorkerOwner,
        decoders: Decoders = TRUSTED,
    ) -> None:
        self.index = index
        self.ready = False
        self.python = (0, 0)  # until it is ready
        self.answered = 0
        self._owner = owner
        self._decoders = decoders
        self._lock = threading.Lock()  # guards the fields below
        self._held: dict[int, Work] = {}
        self._handing: set[int] = set()
        self._canceling: set[int] = set()
        self._exiting = False
        self._ended = self._over = False
        self.death: Death | None = None
        self.error: ProtocolError | None = None
        self._process = start_process()
        self.info = WorkerInfo(environment, index, self._process.pid)
        self._dispatched = Dispatched(self.info)
        self.connection = WorkerConnection(
            self._process.socket,
            f"{environment}-{index}",
            self._on_messages,
            self._on_end,
            owner.delivery,
            self._process.leases,
            decoders,
        )

    def start(self, id_base: int, preload: Sequence[str] = ()) -> None:
        """Begin to listen to the process, which imports these modules before it says hello."""
        self._process.on_exit(self.connection.finish)  # before anybody can reap it
        self.connection.start()
        self.connection.send([codec.encode_configure(self.info.environment, self.index, id_base, preload)])

    def discard(self) -> None:
        """End the process of a worker that could not be started; nobody is told."""
        self._process.kill()
        self.death = self._process.reap()
        self._let_go_of_arena()
        self.connection.close(None)

    @property
    def held(self) -> list[Work]:
        """The calls it was given and has not answered."""
        return list(self._held.values())

    def run(self, calls: Sequence[Work]) -> Handover:
        """Send calls down; it runs them one after the other. From any thread."""
        with self._lock:
            if self._ended:
                return Handover(list(calls), [])
            for call in calls:
                self._held[call.number] = call
                self._handing.add(call.number)
                for block in call.blocks:  # not later: at the end of the process all that it was given is reclaimed
                    block.give(self)
        dispatched = self._dispatched
        for call in calls:
            call.post(dispatched)
        if len(calls) == 1:
            self.connection.send(calls[0].payload)
        else:
            self.connection.send([b"".join([part for call in calls for part in call.payload])])
        return self._handed(calls)

    def _handed(self, calls: Sequence[Work]) -> Handover:
        numbers = [call.number for call in calls]
        with self._lock:
            ended = self._ended
            if not ended:
                self._handing.difference_update(numbers)
            left = [call for call in calls if self._held.pop(call.number, None)] if ended else []
        if not ended:  # what could not be sent is told with the end, which is about to come
            for call in calls:
                if call.cancel_requested:
                    self.insist_on_cancel(call)
            return _TAKEN
        begun, others = self._begun(left)
        _take_blocks_back(others)
        with self._lock:
            self._handing.difference_update(numbers)
            last = self._over and not self._handing
        if last:
            self._let_go_of_arena()
        return Handover(others, begun)

    def recall(self) -> None:
        """Ask for the calls that it has not begun. From any thread; never blocks for long."""
        if not self.connection.send_nowait(codec.encode_recall()):
            self._owner.delivery.soon(lambda: self.connection.send([codec.encode_recall()]))

    def cancel(self, call: Work) -> bool:
        """Ask the function to stop, when this worker has it and was not asked before: a busy worker does not read.

        Returns:
            False when that cannot be done without blocking: `insist_on_cancel` does it, from another thread.
        """
        if not self._lock.acquire(timeout=BUSY_S):
            return False  # this very thread holds it, below a signal handler or a finalizer
        try:
            asks = self._asks(call.number)
        finally:
            self._lock.release()
        if not asks or self.connection.send_nowait(codec.encode_cancel(call.number)):
            return True
        with self._lock:
            self._canceling.discard(call.number)
            return self._ended

    def insist_on_cancel(self, call: Work) -> None:
        """As `cancel`; blocks while the worker does not read."""
        if self._must_ask(call):
            self.connection.send([codec.encode_cancel(call.number)])

    def _must_ask(self, call: Work) -> bool:
        with self._lock:
            return self._asks(call.number)

    def _asks(self, number: int) -> bool:
        # Who is handing it over right now asks afterwards.
        asks = number in self._held and number not in self._handing and number not in self._canceling
        if asks:
            self._canceling.add(number)
        return asks

    def ask_exit(self) -> None:
        """Ask what runs to stop, and the process to end after it. Never blocks for long, whatever the process does."""
        self._exiting = True
        for call in self.held:
            call.cancel_requested = True  # for whoever is handing it over right now
            if self._must_ask(call):
                self.connection.send_nowait(codec.encode_cancel(call.number))
        self.connection.send_nowait(codec.encode_exit())

    @property
    def exiting(self) -> bool:
        """It was asked to end."""
        return self._exiting

    def give_up(self, reason: str) -> None:
        """End the process because it did something that it must not do."""
        self.error = self.error or ProtocolError(reason)
        self.kill()

    def join(self, timeout: float) -> None:
        """Wait until its last news has been told; not from its own thread."""
        thread = self.connection.thread
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(max(0.0, timeout))

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the process, in seconds; False when it still runs."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        self._process.kill()

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines on its standard error."""
        return self._process.stderr_tail

    def _on_messages(self, messages: list[Up]) -> None:
        hot = self._owner.streams.messages
        if hot.observed:
            for message in messages:
                hot.emit(WorkerMessage(self.info, message))
        heard = _Heard()
        for message in messages:
            if isinstance(message, _OTHERS):
                self._on_other(message, heard)
                continue
            call = self._held.get(message.task)
            if call is None:
                continue  # late news of a task that has ended
            if isinstance(message, _TERMINALS):
                del self._held[message.task]
                heard.answers.append((call, message))
            if heard.news and heard.news[-1][0] is call:
                heard.news[-1][1].append(message)
            else:
                heard.news.append((call, [message]))
        self._tell(heard)

    def _tell(self, heard: _Heard) -> None:
        if heard.answers:
            self.answered += len(heard.answers)
            if self._canceling:
                self._canceling.difference_update([call.number for call, _ in heard.answers])
            self._owner.on_freed(self, heard.answers)  # the next calls are on their way before anybody hears of these
        for call, happenings in heard.news:
            call.post(*happenings)
        for outcomes in heard.outcomes:
            outcomes.tell()

    def _on_other(self, message: Hello | Recalled | Logged | ItemsDone, heard: _Heard) -> None:
        if isinstance(message, ItemsDone):
            self._on_items(message, heard)
        elif isinstance(message, Hello):
            self._greeted(message)
        elif isinstance(message, Recalled):
            self._given_back(message)
        elif (call := self._held.get(message.task)) is not None:
            self._owner.on_logged(self, call, message)

    def _on_items(self, done: ItemsDone, heard: _Heard) -> None:
        call = self._held.get(done.task)
        if not isinstance(call, Items):
            return  # late news of a call that has ended
        outcomes = call.take(done)
        if outcomes is not None and not (heard.outcomes and heard.outcomes[-1].joined(outcomes)):
            heard.outcomes.append(outcomes)
        self.answered += len(done.outcomes) - done.last
        if done.last:
            del self._held[done.task]
            heard.answers.append((call, done))
        else:
            self._owner.on_outcomes(done)

    def _given_back(self, recalled: Recalled) -> None:
        calls = [call for number in recalled.calls if (call := self._held.pop(number, None)) is not None]
        self._canceling.difference_update(recalled.calls)
        running = self._held.get(recalled.running)
        rest = running.give_back(recalled.left) if isinstance(running, Items) else None
        _take_blocks_back(calls)
        self._owner.on_recalled(self, calls, rest)

    def _greeted(self, hello: Hello) -> None:
        if self.ready:
            raise ProtocolError("the worker said hello twice")
        if hello.protocol != codec.PROTOCOL_VERSION:
            raise ProtocolError(f"the worker speaks protocol {hello.protocol}, we speak {codec.PROTOCOL_VERSION}")
        self.python = hello.python[:2]
        self.ready = True
        self._owner.on_ready(self)

    def _on_end(self, error: ProtocolError | None) -> None:
        # The socket of a process that ends is closed a moment before its exit code is there.
        self.death = self._process.reap(_END_GRACE_S if error is None else 0.0)
        if error is None and self._process.ended_by_us:
            error = ProtocolError("the worker closed its end of the pipe and went on")
        self.error = self.error or error
        self._hear_what_was_left()
        with self._lock:
            self._ended = True
            # What it had begun it may have freed, and others may have that now.
            _take_blocks_back([call for call in self._held.values() if call.number != self._process.began])
            # Who is handing a call over right now finds out by itself.
            held = [call for number, call in self._held.items() if number not in self._handing]
            for call in held:
                del self._held[call.number]
        self.connection.close(None if self._exiting else self.error or self._died())
        if self._process.arena is not None:
            self._process.arena.reclaim(self)
        begun, others = self._begun(held)
        with self._lock:
            self._over = True
            last = not self._handing  # who is handing something over reads what was left of that
        if last:
            self._let_go_of_arena()
        self._owner.on_lost(self, begun, others)

    def _let_go_of_arena(self) -> None:
        """After the last message that refers to it."""
        if self._process.leases is not None:
            self._process.leases.owner_ended()

    def _hear_what_was_left(self) -> None:
        """The answers that it had not sent yet."""
        frames = self._process.left_behind.frames
        with contextlib.suppress(ProtocolError):  # the user's code may write there
            decode, leases = self._decoders.up, self._process.leases
            messages = [message for frame in frames_of(frames) for message in decode(frame, leases)]
            self._on_messages(messages)

    def _begun(self, calls: Sequence[Work]) -> tuple[list[Work], list[Work]]:
        """After the end: which of the calls it held had begun, and the others."""
        began = self._process.began
        begun = [call for call in calls if call.number == began]
        for call in begun:
            if isinstance(call, Items):
                with contextlib.suppress(ProtocolError):  # the user's code may write there
                    _, first, records = self._process.left_behind
                    outcomes = self._decoders.records(memoryview(records), self._process.leases)
                    done = ItemsDone(began, first, outcomes, 0.0, last=False)
                    taken = call.take(done)
                    if taken is not None:
                        self._owner.on_outcomes(done._replace(outcomes=taken.values))
                        taken.tell()
        return begun, [call for call in calls if call.number != began]

    def _died(self) -> WorkerDiedError:
        death = self.death
        assert death is not None
        return WorkerDiedError(str(self.info), death.exit_code, death.signal, death.stderr_tail)


def _take_blocks_back(calls: Sequence[Work]) -> None:
    """What calls refer to in the arena is the caller's again: the process has not begun them, or is dead."""
    for call in calls:
        for block in call.blocks:
            block.take_back()
