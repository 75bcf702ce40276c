"""A task: one execution of a function in an environment, as stream, Future, awaitable, iterator and context manager.

    caller's threads    start, cancel, listen, wait_for, await ...
    reader thread       posts what the worker says; nobody listens: it is applied at once, else ...
    delivery thread     ... the task's mailbox applies it, resolves the Future, calls the listeners: in order, isolated

An unobserved task is a small slotted object: stream, mailbox, Future and waiters are built when somebody needs them.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._remote.handle import task_id
from wetlands_rx._streams.bridges import AsyncEvents, waker
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.mailbox import Mailbox, Step
from wetlands_rx._streams.subject import Listener, TerminalSubject, observer_ends
from wetlands_rx._task import text
from wetlands_rx._task.call import BUSY_S, Call, Runner, WorkerInfo, id_base, next_number
from wetlands_rx._task.events import FLOOD, TERMINAL_EVENTS, TaskEvent, TaskEventType, TaskOutput, event_of
from wetlands_rx._task.failures import TaskError, category, failure_of, opened
from wetlands_rx._task.future import TaskFuture
from wetlands_rx._task.lifecycle import (
    CANCELED,
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    CancelRequested,
    Dispatched,
    Happening,
    TaskStatus,
    next_status,
)
from wetlands_rx._wire.messages import Finished, FinishedUnopened, OutputSet, OutputUnopened, Updated
from wetlands_rx.exceptions import ExecutionException, InvalidStateError, WorkerDiedError

T = TypeVar("T")
_Waiter = Callable[[], None]

# One lock guards the fields of every 64th task; it is held for field accesses only, never while anything is called.
_GATES = [threading.Lock() for _ in range(64)]


def _renew_gates() -> None:
    """In a forked child: nobody will release what a thread of the parent held."""
    _GATES[:] = [threading.Lock() for _ in _GATES]


os.register_at_fork(after_in_child=_renew_gates)


_GOES_ON = frozenset((Dispatched, Updated, OutputSet, OutputUnopened))
_UNOPENED = frozenset((FinishedUnopened, OutputUnopened))


class Task(Observable[TaskEvent[T]], Generic[T]):
    """One execution of a function or script in an environment.

    Returned by `env.submit()` and its relatives; never made by hand. All members may be used from any thread.
    As a stream it never errors: a failure is a FAILURE event, then completion. It is hot: subscribing starts nothing,
    disposing of a subscription cancels nothing. Listeners run on a delivery thread, one at a time for one task.
    """

    __slots__ = (
        "_call",
        "_current",
        "_failure",
        "_finished_at",
        "_future",
        "_mailbox",
        "_maximum",
        "_message",
        "_number",
        "_operator_lock",
        "_outputs",
        "_result",
        "_runner",
        "_settled",
        "_started",
        "_started_at",
        "_status",
        "_subject",
        "_target",
        "_untold",
        "_waiters",
        "_worker",
    )

    # An Observable has __getitem__, which makes `list(task)` and `x in task` loop for ever.
    __iter__ = None
    __contains__ = None

    def __init__(self, runner: Runner, target: str, payload: Callable[[int], object]) -> None:
        """Made by environments.

        Args:
            runner: Who runs it.
            target: What is called, `"segment.py:segment"`.
            payload: Builds what the runner needs to run it, for this task's number, such as the frame for a worker;
                whatever it raises comes out here.
        """
        # Observable.__init__ would make a lock per task; `lock` below makes it when an operator asks.
        number = next_number()
        self._number = number
        self._runner = runner
        self._target = target
        self._status = PENDING
        self._started = False
        self._settled = self._untold = False
        self._call: Call | None = Call(number, payload(number), target, self._post)
        self._result: T | None = None
        self._failure: ExecutionException | None = None
        self._message: str | None = None
        self._current: int | None = None
        self._maximum: int | None = None
        self._outputs: dict[str, Any] | None = None
        self._worker: WorkerInfo | None = None
        self._started_at: float | None = None
        self._finished_at: float | None = None
        self._waiters: list[_Waiter] | None = None
        self._mailbox: Mailbox[Happening] | None = None
        self._subject: TerminalSubject[TaskEvent[T]] | None = None
        self._future: TaskFuture[T] | None = None
        self._operator_lock: threading.RLock | None = None

    # --- Read-only state ---

    @property
    def id(self) -> str:
        """A UUID, the same in the caller and in the worker."""
        return task_id(id_base(), self._number)

    @property
    def name(self) -> str:
        """What is called: `"segment.py:segment"`."""
        return self._target

    @property
    def status(self) -> TaskStatus:
        """Where the task stands."""
        return self._status

    @property
    def result(self) -> T:
        """The return value.

        Raises:
            InvalidStateError: the task is not COMPLETED; the text says what it is and what to do.
        """
        if self._status is COMPLETED:
            return cast(T, self._result)
        if self._status is FAILED:
            raise InvalidStateError(f"{self!r} has no result: it failed") from self._failure
        if self._status is CANCELED:
            raise InvalidStateError(f"{self!r} has no result: it was canceled")
        raise InvalidStateError(f"{self!r} has no result yet: use wait_for(), await, or its future")

    @property
    def error(self) -> TaskError | None:
        """What went wrong, in one line with its facts as attributes; None unless FAILED."""
        failure = self._failure
        if failure is None:
            return None
        exit_code = failure.exit_code if isinstance(failure, WorkerDiedError) else None
        return TaskError(failure.error, category(failure), failure.remote_type, self._worker, exit_code)

    @property
    def traceback(self) -> list[str] | None:
        """The remote traceback, a string a line; None unless FAILED."""
        return None if self._failure is None else list(self._failure.traceback)

    @property
    def exception(self) -> ExecutionException | None:
        """The exception object; None unless FAILED."""
        return self._failure

    @property
    def started(self) -> bool:
        """True once `start()` was called, or `cancel()` made that pointless."""
        return self._started

    @property
    def worker(self) -> WorkerInfo | None:
        """Which worker runs or ran it; None before."""
        return self._worker

    @property
    def started_at(self) -> float | None:
        """When a worker got it, in seconds since the epoch; None before."""
        return self._started_at

    @property
    def finished_at(self) -> float | None:
        """When it ended, in seconds since the epoch; None before."""
        return self._finished_at

    @property
    def elapsed(self) -> float | None:
        """Seconds since a worker got it, until it ended; None before."""
        since, until = self._started_at, self._finished_at
        if since is None:
            return None
        return max(0.0, (self._runner.delivery.now() if until is None else until) - since)

    # --- Progress ---

    @property
    def message(self) -> str | None:
        """The last progress message of the function."""
        return self._message

    @property
    def current(self) -> int | None:
        """How much is done, in units of the function's choice."""
        return self._current

    @property
    def maximum(self) -> int | None:
        """How much there is to do, in the same units."""
        return self._maximum

    @property
    def progress(self) -> float | None:
        """`current / maximum`, from 0 to 1; None when one of them is not known."""
        return text.ratio(self._current, self._maximum)

    @property
    def dropped_updates(self) -> int:
        """How many UPDATEs a listener was not told, because newer ones came faster than it returned.

        More than 65,536 events of a task do not wait for a listener: then the newest UPDATE takes the place of the one
        before it. Outputs and the events of the start and the end are never dropped.
        """
        mailbox = self._mailbox
        return mailbox.dropped if mailbox is not None else 0

    @property
    def progress_text(self) -> str:
        """Progress for people, such as `42/100 tile 42`; never raises, may be empty."""
        return text.progress_text(self._current, self._maximum, self._message)

    @property
    def outputs(self) -> dict[str, Any]:
        """The intermediate outputs by name, as far as they have come; a copy."""
        return dict(self._outputs or ())

    # --- Control ---

    def start(self) -> Self:
        """Give the task to its environment; does nothing when that was done before.

        Raises:
            NotLaunchedError: the environment has been exited meanwhile.
            WorkerPoolBroken: its workers keep dying.
        """
        with self._gate:
            call = None if self._started or self._status is not PENDING else self._call
            self._started = True
        if call is not None:
            self._hand_over(call)
        return self

    def _hand_over(self, call: Call) -> None:
        try:
            self._runner.start(call)
        except BaseException:
            self._started = False
            raise
        if call.cancel_requested:
            self.cancel()  # it came while the environment did not know the call yet

    def cancel(self) -> None:
        """Cancel the task. May be called from anywhere, a signal handler or a finalizer too.

        One that waits ends CANCELED at once and never runs. A running one is asked to stop: the function sees
        `task.cancel_requested`; it ends CANCELED when it acknowledges and returns, COMPLETED when it returns anyway.
        Does nothing when the task has ended.
        """
        gate, runner = self._gate, self._runner
        if not gate.acquire(timeout=BUSY_S):
            # This very thread holds it, below the finalizer or signal handler that calls us: later, elsewhere.
            runner.delivery.soon(self.cancel)
            return
        call = self._call
        never_started = False
        if call is not None:
            call.cancel_requested = True
            never_started, self._started = not self._started, True
        gate.release()
        if call is None:
            return
        withdrawn = never_started or runner.withdraw(call)
        if withdrawn is None:
            runner.delivery.soon(self.cancel)  # as above
        elif withdrawn:
            self._end_waiting()
        else:
            runner.ask_cancel(call)

    def _end_waiting(self) -> None:
        """The task is CANCELED before any worker had it: at once, though its listeners are told by their thread."""
        happening, future = CancelRequested(), None
        with self._gate:
            # A mailbox is empty before the first worker, so nothing is overtaken.
            early = self._mailbox is not None and self._status is PENDING
            if early:
                self._untold = self._apply(happening)
                future = self._future
        if future is not None:
            self._resolve(future)
        self._post(happening)

    def wait_for(self, timeout: float | None = None) -> Self:
        """Block until the task has ended and its listeners have been told.

        Args:
            timeout: In seconds; None waits as long as the task runs.
        Returns:
            The task, COMPLETED or CANCELED.
        Raises:
            ExecutionException: the task FAILED.
            TimeoutError: the time is over; the task goes on.
            RuntimeError: called by a listener of this task before its end, which would wait for itself.
            InvalidStateError: the task was never started and there is no timeout, so that nothing would end the wait.
        """
        if not self._settled:
            self._wait(timeout)
        self._raise_failure()
        return self

    def _raise_failure(self) -> None:
        failure = self._failure
        if failure is not None:
            # What the last raise has left on it would keep that caller's frames alive.
            failure.__context__ = None
            raise failure.with_traceback(None)

    def _wait(self, timeout: float | None) -> None:
        mailbox = self._mailbox
        if mailbox is not None and mailbox.owner == threading.get_ident():
            if self._status.is_finished():
                return
            raise RuntimeError(f"a listener of {self!r} cannot wait for it: its end is told after the listener")
        if not self._started and timeout is None:
            raise InvalidStateError(f"{self!r} was created with start=False: call start() before waiting for it")
        limit = checked_timeout(timeout)
        ended = threading.Lock()
        ended.acquire()
        if not self._add_waiter(ended.release):
            return
        if not self._runner.delivery.wait(partial(_acquired, ended), limit) and self._remove_waiter(ended.release):
            raise TimeoutError(f"{self!r} has not ended after {timeout:g} s; it goes on (cancel() asks it to stop)")

    # --- Observation ---

    def listen(self, callback: Callable[[TaskEvent[T]], Any]) -> Self:
        """Call `callback` with each event from now on, on a delivery thread; when the task has ended, with its
        terminal event, now and on this thread.

        What the callback raises is logged and harms nobody. Earlier UPDATEs are not repeated.

        Raises:
            TypeError: the callback cannot be called.
        """
        if not callable(callback):
            raise TypeError(f"a listener must be callable, and {callback!r} is not")
        self._subscribed(callback, None)
        return self

    def remove_listener(self, callback: Callable[[TaskEvent[T]], Any]) -> None:
        """Stop calling `callback`; the one that was registered last, when it was registered more than once.

        Does nothing when the task has ended: it lets its listeners go then.

        Raises:
            ValueError: it is not registered.
        """
        subject = self._subject
        listener = subject.listener_of(callback) if subject is not None else None
        if listener is not None and subject is not None:
            subject.remove(listener)
        elif not self._status.is_finished():
            raise ValueError(f"{callback!r} does not listen to {self!r}")

    def _subscribed(
        self, on_next: Callable[[TaskEvent[T]], Any], on_end: Callable[[Exception | None], Any] | None
    ) -> Listener[TaskEvent[T]]:
        subject, mailbox = self._observe()
        listener = Listener(on_next, on_end, self, mailbox.fence() if mailbox is not None else 0)
        if not subject.add(listener):
            subject.replay().subscribe(listener.hear, on_completed=lambda: listener.end(None))
            listener.active = False
        return listener

    def _subscribe_core(
        self, observer: abc.ObserverBase[TaskEvent[T]], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        listener = self._subscribed(observer.on_next, observer_ends(observer))
        subject = self._subject
        return Disposable(lambda: subject.remove(listener) if subject is not None else None)

    @property
    def lock(self) -> threading.RLock:  # type: ignore[override]
        """RxPY's operators lock their source with it; made when the first one asks."""
        with self._gate:
            if self._operator_lock is None:
                self._operator_lock = threading.RLock()
            return self._operator_lock

    def _observe(self) -> tuple[TerminalSubject[TaskEvent[T]], Mailbox[Happening] | None]:
        """The stream and, before the end, the mailbox that feeds it; both made on first need."""
        mailbox = self._open_mailbox()
        subject = self._subject
        if subject is None:
            hot: TerminalSubject[TaskEvent[T]] = TerminalSubject(self)
            with self._gate:
                if self._subject is None and not self._status.is_finished():
                    self._subject = hot
                subject = self._subject
        if subject is None:  # it has ended, and nobody has listened
            ended = TerminalSubject(self, self._terminal_event())
            with self._gate:
                if self._subject is None:
                    self._subject = ended
                subject = self._subject
        return subject, mailbox

    def _open_mailbox(self) -> Mailbox[Happening] | None:
        """From now on a delivery thread applies what happens; None when nothing more will."""
        mailbox = self._mailbox
        if mailbox is None and not self._settled:
            # Not under the gate: making objects may run finalizers.
            made: Mailbox[Happening] = Mailbox(self._deliver, self._runner.delivery, FLOOD)
            with self._gate:
                if not self._settled:
                    self._mailbox = mailbox = self._mailbox or made
        return mailbox

    # --- concurrent.futures ---

    @property
    def future(self) -> TaskFuture[T]:
        """A standard Future with the task's result; the same one each time."""
        future = self._future
        if future is not None:
            return future
        made: TaskFuture[T] = TaskFuture(self, self._runner.delivery.wait)
        self._open_mailbox()  # its callbacks are user code: they belong on a delivery thread
        with self._gate:
            future = self._future
            if future is None:
                future = self._future = made
            now = future is made and self._status.is_finished()  # else whoever applies the end finds the future
        if now:
            self._resolve(future)
        return future

    def _resolve(self, future: TaskFuture[T]) -> None:
        if self._status is CANCELED and future.cancelled():
            return  # by cancel(), at once
        if self._status is COMPLETED:
            future.set_result(cast(T, self._result))
        elif self._status is FAILED:
            future.set_exception(self._failure)
        else:
            future.resolve_canceled()

    # --- asyncio ---

    def __await__(self) -> Generator[Any, None, T]:  # type: ignore[override]
        """Wait in a coroutine, without blocking its loop; canceling the wait leaves the task alone.

        Returns:
            The result.
        Raises:
            ExecutionException: the task FAILED.
            asyncio.CancelledError: the task was CANCELED.
        """
        if not self._settled:
            yield from self._settle().__await__()
        self._raise_failure()
        if self._status is CANCELED:
            raise asyncio.CancelledError(f"{self!r} was canceled")
        return cast(T, self._result)

    async def _settle(self) -> None:
        """Wait until the task has ended, whatever its end."""
        woken, wake = waker()
        if self._add_waiter(wake):
            try:
                await self._runner.delivery.wait_async(woken)
            finally:
                self._remove_waiter(wake)

    def events(self) -> AsyncIterator[TaskEvent[T]]:
        """Iterate over the events from now on, in a coroutine; ends after the terminal event."""
        return AsyncEvents(
            lambda on_next, on_end: self.subscribe(on_next, on_completed=on_end), self._runner.delivery.wait_async
        )

    def __aiter__(self) -> AsyncIterator[TaskEvent[T]]:
        return self.events()

    # --- Context managers ---

    def __enter__(self) -> Self:
        """Start the task if that was not done."""
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Cancel the task if it has not ended, and wait for its end."""
        if not self._settled:
            self.cancel()
            self._wait(None)

    async def __aenter__(self) -> Self:
        """Start the task if that was not done."""
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Cancel the task if it has not ended, and await its end."""
        if not self._settled:
            self.cancel()
            await self._settle()

    # --- What happens to the task; called by its runner ---

    @property
    def _gate(self) -> threading.Lock:
        return _GATES[self._number & 63]

    def _post(self, *happenings: Happening) -> None:
        """Take what happened, in this order. From any thread; runs user code only in a mailbox, hence elsewhere."""
        last = happenings[-1]  # pyright: ignore[reportGeneralTypeIssues] - there is one
        unopened = type(last) in _UNOPENED or (len(happenings) > 1 and _any_unopened(happenings))
        if self._mailbox is None and (unopened or self._runner.events.observed):
            self._open_mailbox()  # opening a value, and telling observers, is for a delivery thread
        waiters = None
        with self._gate:
            mailbox = self._mailbox
            outputs = self._outputs  # a value that is replaced is let go after the gate: that may run user code
            if mailbox is None:
                for happening in happenings:
                    if self._call is not None and self._apply(happening):  # None: late news
                        self._settled = True
                        waiters, self._waiters = self._waiters, None
        del outputs
        if mailbox is not None:
            if type(last) not in _GOES_ON and self._runner.events.observed:
                self._runner.events.owes(self)  # its terminal event, before which the stream does not end
            mailbox.post(*happenings)
            if type(last) is Updated:  # then this is a reader thread, or the function's own
                mailbox.give_way()
        elif waiters is not None:
            for waiter in waiters:
                waiter()

    def _deliver(self, happening: Happening, number: int) -> list[Step]:
        """Apply what happened; returns the calls that tell the listeners. On a delivery thread."""
        if type(happening) in _UNOPENED:
            happening = opened(happening)
        ended = late = False
        with self._gate:
            before, outputs = self._status, self._outputs  # as in _post
            if self._call is not None:
                ended = self._apply(happening)
            elif self._untold and isinstance(happening, CancelRequested):
                ended, self._untold = True, False
            else:
                late = True
            subject, future = self._subject, self._future
        del outputs
        if late:
            self._runner.events.paid(self)
            return []
        if ended:
            return self._last_steps(subject, future)
        if isinstance(happening, Dispatched) and before is RUNNING:
            return []
        hot = self._runner.events
        if subject is None and not hot.observed:
            return []
        kind = TaskEventType.STARTED if isinstance(happening, Dispatched) else TaskEventType.UPDATE
        output = TaskOutput(happening.key, happening.value) if isinstance(happening, OutputSet) else None
        event = self._event(kind, output)
        hot.emit(event)
        return subject.emit(event, number) if subject is not None else []

    def _last_steps(self, subject: TerminalSubject[TaskEvent[T]] | None, future: TaskFuture[T] | None) -> list[Step]:
        event = self._terminal_event()
        hot = self._runner.events
        hot.emit(event)
        hot.paid(self)
        steps: list[Step] = []
        if future is not None:
            steps.append((None, lambda: self._resolve(future)))
        if subject is not None:
            steps.extend(subject.finish(event))
        steps.append((None, self._settle_now))
        return steps

    def _settle_now(self) -> None:
        """The end has been told: let go of whoever waits for that."""
        with self._gate:
            self._settled = True
            waiters, self._waiters = self._waiters, None
            if self._subject is None and self._mailbox is not None and not self._mailbox.dropped:
                self._mailbox = None  # it refers to the task: a cycle, and cycles keep results for long
        for waiter in waiters or ():
            waiter()

    def _apply(self, happening: Happening) -> bool:
        """Change the state; with the gate held. Returns True when this was the end."""
        before = self._status
        status = next_status(before, happening)
        if status is before:
            self._take_note(happening)
            return False
        # The status comes last: whoever reads it, without the gate, finds all that belongs to it.
        if isinstance(happening, Dispatched):
            self._worker = happening.worker
            self._started_at = self._runner.delivery.now()
            self._status = status
            return False
        if isinstance(happening, Finished):
            self._result = happening.value
        else:
            self._failure = failure_of(happening, self._target, self._worker)
        self._finished_at = self._runner.delivery.now()
        self._status = status
        self._call = None  # the arguments are free now
        return True

    def _take_note(self, happening: Happening) -> None:
        if isinstance(happening, Updated):
            if happening.message is not None:
                self._message = happening.message
            if happening.current is not None:
                self._current = happening.current
            if happening.maximum is not None:
                self._maximum = happening.maximum
        elif isinstance(happening, OutputSet):
            # Replaced, not changed: whoever copies it at this moment needs no lock.
            self._outputs = {**(self._outputs or {}), happening.key: happening.value}
        elif isinstance(happening, Dispatched):
            self._worker = happening.worker

    def _event(self, kind: TaskEventType, output: TaskOutput | None = None) -> TaskEvent[T]:
        now = self._runner.delivery.now()
        return event_of(self, kind, self._message, self._current, self._maximum, output, now, 1)

    def _terminal_event(self) -> TaskEvent[T]:
        return self._event(TERMINAL_EVENTS[self._status])

    def _add_waiter(self, waiter: _Waiter) -> bool:
        """Have `waiter` called, on a library thread, once the end has been told; False when it was already."""
        with self._gate:
            if self._settled:
                return False  # nobody would call it
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            return True

    def _remove_waiter(self, waiter: _Waiter) -> bool:
        with self._gate:
            if self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)
                return True
        return False

    # --- How it looks ---

    def _view(self) -> text.TaskView:
        failure = self._failure
        return text.TaskView(
            self.id,
            self._target,
            self._status.value,
            self._message,
            self._current,
            self._maximum,
            self.elapsed,
            None if failure is None else failure.error,
            None if failure is None else failure.traceback,
        )

    def __repr__(self) -> str:
        return text.line(self._view())

    def _repr_html_(self) -> str:
        return text.page(self._view())


def _any_unopened(happenings: tuple[Happening, ...]) -> bool:
    return not _UNOPENED.isdisjoint(map(type, happenings))


def _acquired(lock: threading.Lock, timeout: float | None) -> bool:
    return lock.acquire(timeout=-1 if timeout is None else timeout)


def checked_timeout(timeout: float | None) -> float | None:
    """A timeout in seconds as Python's locks take it: None, or from 0 to what they can wait at most.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not a number in the other sense.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"a timeout is a number of seconds or None, not {timeout!r}")
    if math.isnan(timeout):
        raise ValueError("a timeout cannot be nan")
    return min(max(0.0, timeout), threading.TIMEOUT_MAX)


def start_new(task: Task[T]) -> Task[T]:
    """For environments: start a task that nobody else knows yet; as `start`, and faster."""
    call = task._call  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the library's own door
    assert call is not None
    task._started = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above
    task._hand_over(call)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above
    return task


def notify_end(task: Task[Any], waiter: Callable[[], None]) -> bool:
    """For the library's own waiting: call `waiter` on a library thread once the task's end has been told.

    Returns:
        False when it has been told already: the waiter will not be called.
    """
    return task._add_waiter(waiter)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the library's own door


def forget_end(task: Task[Any], waiter: Callable[[], None]) -> None:
    """For the library's own waiting: do not call the `waiter` of `notify_end`, if it was not called before."""
    task._remove_waiter(waiter)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above


def delivery_of(task: Task[Any]) -> Delivery:
    """For the library's own waiting: the threads that tell a task's end."""
    return task._runner.delivery  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above


def cancel_soon(task: Task[Any]) -> None:
    """For finalizers: cancel a task from a delivery thread; takes no lock."""
    task._runner.delivery.soon(task.cancel)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above
