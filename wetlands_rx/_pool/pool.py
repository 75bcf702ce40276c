"""Carries out what dispatch decides, and replaces lost workers.

Locks: one, around the decisions. It is never held while anything is sent, posted or waited for.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakSet

from wetlands_rx._pool.dispatch import MOST_BYTES, Dispatch, Recall, Retire, Send
from wetlands_rx._pool.pace import Pace
from wetlands_rx._pool.restarts import Restarts
from wetlands_rx._pool.tally import EnvironmentStatistics, Tally
from wetlands_rx._remote.handle import task_id
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._streams.mailbox import Mailbox, Step
from wetlands_rx._task.call import BUSY_S, Work, id_base
from wetlands_rx._task.events import TaskEvent
from wetlands_rx._task.items import Items
from wetlands_rx._task.lifecycle import CancelRequested, EnvironmentExited, PoolBroken, WorkerLost
from wetlands_rx._task.streams import MOST_RECORDS, Streams, WorkerEvent, WorkerEventType
from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.decoders import decoders_for
from wetlands_rx._wire.messages import Finished, FinishedUnopened, ItemsDone, Logged
from wetlands_rx._worker.connection import ReaderThread
from wetlands_rx._worker.output_lines import PrintedLine
from wetlands_rx._worker.process import OnLine, WorkerProcess
from wetlands_rx._worker.runtime import Runtime
from wetlands_rx._worker.worker import Terminal, Worker
from wetlands_rx.exceptions import (
    NotLaunchedError,
    WetlandsError,
    WorkerDiedError,
    WorkerPoolBroken,
    WorkerStartError,
    describe_exit,
)
from wetlands_rx.logger import LogContext, log, logger

_EXIT_GRACE_S = 1.0
_KILL_GRACE_S = 5.0
_REPLACEMENT_TIMEOUT_S = 20.0
"""How long a replacement may take to say hello: callers wait meanwhile, and one like it has started before."""
_SENDER = "wetlands-sender"
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


class _State(Enum):
    STARTING = "starting"
    SERVING = "serving"
    BROKEN = "broken"
    CLOSED = "closed"
    DISOWNED = "disowned"


_Decision = Send[Work] | Recall | Retire
_Order = tuple[Worker, _Decision]


class WorkerPlan(NamedTuple):
    """How workers live.

    Attributes:
        preload: Modules that each imports before it is ready: names, or paths of Python files.
        most_tasks: A worker ends after so many calls, and another one comes; None: never.
        results: Whether what they send may be anything, `"pickle"`, or only plain data, `"safe"`.
    """

    preload: tuple[str, ...] = ()
    most_tasks: int | None = None
    results: str = "pickle"


class _Replacement(NamedTuple):
    """What follows a worker's end: another one after `delay` seconds, or the end of the pool for these calls."""

    delay: float | None = None
    refused: list[Work] | None = None


def _ready_or_gone(worker: Worker, timeout: float) -> None:
    if not worker.ready and worker.death is None:
        worker.give_up(f"no answer after {timeout:g} s")


def _for_want(error: BaseException | None) -> bool:
    """True when something was not to be had now, such as descriptors, memory or threads."""
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    # The standard library says no more than this of a thread that the system refuses.
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "new thread" in str(error))


class Pool:
    """The workers of one environment; runs calls (it is a `Runner`).

    Args:
        environment: The environment's name.
        start_process: Starts the process of the worker with this index; its printed lines go to the function given.
        runtime: The threads to deliver and to watch with.
        streams: Where what happens is shown too.
        plan: How its workers live; without anything special by default.
        arena: Through which arrays go to them; closed with the pool.
    """

    def __init__(
        self,
        environment: str,
        start_process: Callable[[int, OnLine], WorkerProcess],
        runtime: Runtime,
        streams: Streams,
        plan: WorkerPlan | None = None,
        arena: Arena | None = None,
    ) -> None:
        self.arena = arena
        self._environment = environment
        self._start_process = start_process
        self._plan = plan or WorkerPlan()
        self._decoders = decoders_for(self._plan.results)
        self._runtime = runtime
        self.streams = streams
        streams.open(runtime.delivery)
        self._lock = threading.Lock()  # guards the fields below
        self._pace = Pace()
        self._dispatch: Dispatch[Work] = Dispatch(self._expected)
        self._restarts = Restarts()
        self._tally = Tally()
        self._size = 0  # workers with an index below it are replaced when they end
        self._growing = 0  # from this index on, a worker that cannot be started is not
        self._workers: dict[int, Worker] = {}
        self._starting: set[int] = set()
        self._ending: list[Worker] = []
        self._state = _State.STARTING
        self._cause: WorkerStartError | None = None
        self._python = (0, 0)
        self._missing = 0
        self._start_timeout = 0.0
        self._abandoned = False
        self._launched = threading.Event()
        self._news = threading.Condition(self._lock)  # of workers that are ready, or lost
        self._resizing = threading.Lock()  # one at a time; held while workers start
        self._logs: Mailbox[logging.LogRecord] = Mailbox(_handle, runtime.delivery)
        self._pid = os.getpid()
        _pools.add(self)

    @property
    def results(self) -> str:
        """What the workers may send: `"pickle"` or `"safe"`."""
        return self._plan.results

    # --- launching and ending; the caller's threads

    def launch(self, count: int, timeout: float) -> None:
        """Start the workers, all at once, and wait until each is ready.

        Args:
            count: How many.
            timeout: In seconds, for all together.
        Raises:
            WorkerStartError: one did not start; none is left.
            NotLaunchedError: it was abandoned meanwhile; none is left.
        """
        self._missing, self._start_timeout = count, timeout
        self._size = self._growing = count
        try:
            for index in range(count):
                if self._abandoned:
                    break
                self._spawn(index)
            failure = self._started_within(timeout)
        except BaseException:
            self.close(0.0)
            raise
        if failure is not None:
            self.close(0.0)
            raise failure

    def _started_within(self, timeout: float) -> WorkerStartError | NotLaunchedError | None:
        started = self._launched.wait(timeout)
        with self._lock:
            if self._abandoned:
                return NotLaunchedError(self._environment, exited=True)
            late = [worker for worker in self._workers.values() if not worker.ready]
            if started or not late:
                return self._cause
        return WorkerStartError(self._name(late[0].index), f"no answer after {timeout:g} s", late[0].stderr_tail)

    def resize(self, count: int, timeout: float) -> None:
        """Have so many workers from now on. New ones are ready on return; those too many end after their call.

        Args:
            count: How many.
            timeout: How long the new ones may take, in seconds, together.
        Raises:
            WorkerStartError: a new one did not start; there are as many as before.
            NotLaunchedError, WorkerPoolBroken: the pool ended meanwhile.
        """
        with self._resizing:
            with self._lock:
                if self._state is not _State.SERVING:
                    raise self.refusal()
                before, self._growing, self._cause = self._size, self._size, None
            self._resize_to(count)
            try:
                self._grown_within(range(before, count), timeout)
            except BaseException:
                self._resize_to(before)
                raise
            finally:
                with self._lock:
                    self._growing = self._size

    def _resize_to(self, count: int) -> None:
        with self._lock:
            self._size = count
            decisions: list[_Decision] = []
            for index in self._workers:
                if index >= count:
                    decisions += self._dispatch.retired(index)
            starting = [worker for index, worker in self._workers.items() if index >= count and not worker.ready]
            orders = self._orders(decisions)
        for worker in starting:
            self._end(worker)
        self._carry_out(orders)

    def _grown_within(self, indexes: range, timeout: float) -> None:
        for index in indexes:
            if self._claims(index):  # else an old one is still at its call, and its successor will come
                self._spawn(index)
        with self._lock:
            if not self._news.wait_for(lambda: self._settled(indexes), timeout):
                late = next(index for index in indexes if not self._is_up(index))
                raise WorkerStartError(self._name(late), f"no answer after {timeout:g} s")
            if self._cause is not None and self._state is _State.SERVING:
                raise self._cause
            if self._state is not _State.SERVING:
                raise self.refusal()

    def _settled(self, indexes: range) -> bool:
        ended = self._state is not _State.SERVING or self._cause is not None
        return ended or all(map(self._is_up, indexes))

    def _is_up(self, index: int) -> bool:
        worker = self._workers.get(index)
        return worker is not None and (worker.ready or worker.exiting)

    def recycle(self, timeout: float) -> None:
        """Replace each worker by a new process: the idle ones now, the busy ones after what they run.

        Args:
            timeout: How long to wait for the end of the idle ones, in seconds.
        Raises:
            NotLaunchedError, WorkerPoolBroken: there are no workers.
        """
        with self._lock:
            if self._state is not _State.SERVING:
                raise self.refusal()
            decisions: list[_Decision] = []
            for index in self._workers:
                decisions += self._dispatch.retired(index)
            orders = self._orders(decisions)
        self._carry_out(orders)
        deadline = time.monotonic() + timeout
        for worker, decision in orders:
            if isinstance(decision, Retire):
                worker.wait(deadline - time.monotonic())

    def abandon(self) -> None:
        """Let the `launch` that another thread is at fail soon; without effect on a pool that has been launched."""
        self._abandoned = True
        self._launched.set()

    def close(self, grace: float = _EXIT_GRACE_S) -> None:
        """End all: what waits is canceled at once, what runs is asked to stop and killed after `grace` seconds."""
        with self._lock:
            if self._state in (_State.CLOSED, _State.DISOWNED):
                return
            self._state = _State.CLOSED
            calls = self._dispatch.drained()
            self._tally.canceled += sum(call.size for call in calls)
            workers = list(self._workers.values())
            self._news.notify_all()
        for call in calls:
            call.post(EnvironmentExited())
        for worker in workers:
            worker.ask_exit()
        deadline = time.monotonic() + grace
        for worker in workers:
            if not worker.wait(deadline - time.monotonic()):
                worker.kill()
        deadline = time.monotonic() + _KILL_GRACE_S
        with self._lock:
            workers += self._ending
        for worker in workers:
            worker.join(deadline - time.monotonic())
        if self.arena is not None:
            self.arena.close()

    # --- running calls (Runner); any thread

    @property
    def delivery(self) -> Delivery:
        """The threads that call listeners."""
        return self._runtime.delivery

    @property
    def events(self) -> HotSubject[TaskEvent[Any]]:
        """Where the events of all tasks go."""
        return self.streams.events

    def start(self, call: Work) -> None:
        """Give a call to an idle worker, or queue it.

        Raises:
            NotLaunchedError: the pool has been closed.
            WorkerPoolBroken: its workers keep dying.
            WetlandsError: this process was forked from the one whose workers they are.
        """
        with self._lock:
            if self._state is not _State.SERVING:
                raise self.refusal()
            send = self._dispatch.submitted(call)
            worker = self._workers[send.worker] if send is not None else None
        if worker is not None:
            self._hand_over(worker, [call])

    def start_items(self, items: Items) -> None:
        """Give items to the workers, as many as each has room for, and queue the rest; raises as `start`."""
        with self._lock:
            if self._state is not _State.SERVING:
                raise self.refusal()
            orders = self._orders(self._dispatch.added(items))
        self._carry_out(orders)

    def withdraw(self, call: Work) -> bool | None:
        """Take back a call that no worker has yet; None when this thread is at work here already."""
        if not self._lock.acquire(timeout=BUSY_S):
            return None
        try:
            withdrawn = self._dispatch.withdrawn(call)
            if withdrawn:
                self._tally.canceled += call.size
            return withdrawn
        finally:
            self._lock.release()

    def ask_cancel(self, call: Work) -> None:
        """Ask the function to stop; when that would block, from a delivery thread."""
        asked = [worker.cancel(call) for worker in self.workers()]
        if not all(asked):
            self.delivery.soon(lambda: self._insist_on_cancel(call))

    def _insist_on_cancel(self, call: Work) -> None:
        for worker in self.workers():
            worker.insist_on_cancel(call)

    # --- looking

    def statistics(self) -> EnvironmentStatistics:
        """How many workers and calls there are now, and how those ended that have ended."""
        with self._lock:
            if self._state is _State.DISOWNED:
                return EnvironmentStatistics()
            return self._tally.snapshot(len(self._workers), self._dispatch.idle, self._dispatch.queued)

    def workers(self) -> list[Worker]:
        """The workers of this moment, by index."""
        with self._lock:
            if self._state is _State.DISOWNED:
                return []
            return [self._workers[index] for index in sorted(self._workers)]

    @property
    def python(self) -> tuple[int, int]:
        """The Python of the workers, once they are launched: all are of one environment."""
        return self._python

    @property
    def broken(self) -> bool:
        """True when the workers kept dying and the pool was given up."""
        return self._state is _State.BROKEN

    @property
    def disowned(self) -> bool:
        """True in a process that was forked from the one whose workers they are."""
        return self._state is _State.DISOWNED

    def disown(self) -> None:
        """In a forked child: leave the workers to the parent. The locks may be held by threads that are not here."""
        self._lock = threading.Lock()
        self._state = _State.DISOWNED
        if self.arena is not None:
            self.arena.disown()

    def refusal(self) -> WetlandsError:
        """Why no call is taken."""
        if self._state is _State.BROKEN:
            return WorkerPoolBroken(self._environment, str(self._cause))
        if self._state is _State.DISOWNED:
            return WetlandsError(
                f"the workers of environment {self._environment!r} belong to process {self._pid}, which launched them, "
                f"and not to this one ({os.getpid()}), which was forked from it"
            )
        return NotLaunchedError(self._environment, exited=self._state is _State.CLOSED)

    # --- what workers tell (WorkerOwner); their reader threads

    def on_ready(self, worker: Worker) -> None:
        """A worker has said hello."""
        with self._lock:
            self._restarts.started()
            self._python = worker.python
            if self._state is _State.STARTING:
                self._missing -= 1
                if self._missing == 0:
                    self._state = _State.SERVING
                    self._launched.set()
            decisions = self._dispatch.joined(worker.index, self._plan.most_tasks)
            if worker.index >= self._size:
                decisions += self._dispatch.retired(worker.index)
            orders = self._orders(decisions)
            self._news.notify_all()
        self._tell(WorkerEventType.READY, worker)
        self._carry_out(orders)

    def on_freed(self, worker: Worker, answers: list[tuple[Work, Terminal]]) -> None:
        """A worker has answered calls."""
        left: list[Work] = []
        with self._lock:
            self._restarts.served()
            self._tally.answered(answer for _, answer in answers)
            for call, answer in answers:
                if isinstance(answer, ItemsDone):
                    if answer.outcomes:
                        count = len(answer.outcomes)
                        self._pace.learned(call.target, answer.seconds / count, count)
                    if isinstance(call, Items) and (rest := call.rest()) is not None:
                        left.append(rest)  # it was taken back at the last moment, and that is told after this
                elif isinstance(answer, Finished | FinishedUnopened):
                    self._pace.learned(call.target, answer.seconds)
            orders = self._orders(self._dispatch.freed(worker.index, [call for call, _ in answers]))
        if orders:
            self._carry_out(orders)
        if left:
            self._take_back(left)

    def on_outcomes(self, done: ItemsDone) -> None:
        """A worker has brought outcomes of items, and goes on with others."""
        with self._lock:
            self._tally.answered([done])

    def on_recalled(self, worker: Worker, calls: list[Work], rest: Work | None) -> None:
        """A worker has given back what it had not begun."""
        returned = [rest, *calls] if rest is not None else calls
        self._take_back(returned, lambda wanted: self._dispatch.recalled(worker.index, calls, wanted))

    def on_logged(self, worker: Worker, call: Work, record: Logged) -> None:
        """A function has logged; handlers are the user's code, so a delivery thread calls them."""
        context = LogContext(
            log_source="execution",
            env_name=self._environment,
            call_target=call.target,
            task_id=task_id(id_base(), call.number),
            worker_index=worker.index,
        )
        log(record.level, record.text, context, self.streams.logs, self._logs.post)

    def on_line(self, index: int, stream: str, line: PrintedLine) -> None:
        """A worker has printed a line. On the supervisor's thread."""
        if not self.streams.logs.observed and not logger.isEnabledFor(logging.INFO):
            return  # before the context: most lines are read by nobody
        context = LogContext(log_source="execution", env_name=self._environment, worker_index=index, stream=stream)
        if line.task is not None:
            context["call_target"] = line.target
            context["task_id"] = task_id(id_base(), line.task)
        log(logging.INFO, line.text, context, self.streams.logs, self._handle_line)

    def on_lost(self, worker: Worker, begun: list[Work], others: list[Work]) -> None:
        """A worker's process has ended, for whatever reason."""
        decision = _Replacement()
        with self._lock:
            if self._workers.get(worker.index) is not worker:
                return
            del self._workers[worker.index]
            ended, self._ending = self._ending, [worker]  # the old ones, and what they hold, go after the lock
            self._ending += [other for other in ended if other.connection.thread.is_alive()]
            self._dispatch.lost(worker.index)
            self._tally.lost += not worker.exiting
            before = self._state
            if before is _State.STARTING:
                self._cause = self._cause or self._start_error(worker)
            elif before is _State.SERVING:
                decision = self._succession(worker, had_call=bool(begun))
            self._news.notify_all()
        self._launched.set()
        self._tell_end(worker)
        self._take_back([*self._failed(begun, worker), *others])
        self._replace(worker.index, decision)

    # --- inside

    def _expected(self, call: Work) -> float:
        """For dispatch: how long the function of a call takes."""
        return self._pace.expected(call.target)

    def _orders(self, decisions: Sequence[_Decision]) -> list[_Order]:
        """Whom decisions concern; with the lock held, for a worker's successor has the same index."""
        return [(self._workers[decision.worker], decision) for decision in decisions]

    def _carry_out(self, orders: Sequence[_Order]) -> None:
        for worker, decision in orders:
            if isinstance(decision, Send):
                self._hand_over(worker, decision.calls)
            elif isinstance(decision, Recall):
                worker.recall()
            else:
                self._end(worker)

    def _end(self, worker: Worker) -> None:
        """Let a worker that has nothing to do end; it has no longer than a moment for that."""
        worker.ask_exit()
        self._runtime.supervisor.call_later(_EXIT_GRACE_S, worker.kill)

    def _hand_over(self, worker: Worker, calls: list[Work]) -> None:
        if len(calls) == 1 and calls[0].bytes > MOST_BYTES and isinstance(threading.current_thread(), ReaderThread):
            # More than the pipe takes at once: a reader that waits for a worker would leave its own one unread.
            sender = threading.Thread(target=self._hand_over_now, args=(worker, calls), name=_SENDER, daemon=True)
            with contextlib.suppress(RuntimeError):  # there is no thread to be had
                sender.start()
                return
        self._hand_over_now(worker, calls)

    def _hand_over_now(self, worker: Worker, calls: list[Work]) -> None:
        refused, lost = worker.run(calls)
        refused = [*self._failed(lost, worker), *refused]
        if refused:
            self._take_back(refused)

    def _take_back(self, calls: Sequence[Work], decide: Callable[[list[Work]], list[_Decision]] | None = None) -> None:
        """Calls that have not begun go to other workers, unless they were canceled meanwhile or there is no pool."""
        with self._lock:
            # Looked at with the lock held: a cancel that comes later finds them in the queue.
            canceled = [call for call in calls if call.cancel_requested]
            refusal = None if self._state is _State.SERVING else self.refusal()
            wanted = [] if refusal is not None else [call for call in calls if call not in canceled]
            orders = self._orders((decide or self._dispatch.returned)(wanted))
        if refusal is not None:
            canceled = list(calls)
        for call in canceled:
            end = _end_of(call, refusal)
            self._count_end(end, call.size)
            call.post(end)
        self._carry_out(orders)

    def _count_end(self, end: object, count: int) -> None:
        """Count calls that end without an answer."""
        with self._lock:
            if isinstance(end, WorkerLost | PoolBroken):
                self._tally.failed += count
            else:
                self._tally.canceled += count

    def _succession(self, worker: Worker, *, had_call: bool) -> _Replacement:
        """Who comes after a worker; with the lock held."""
        if worker.index >= self._size:
            return _Replacement()
        if worker.exiting:
            return _Replacement(0.0)  # it was asked to, and that is no fault
        if worker.index >= self._growing and not worker.ready:
            self._cause = self._start_error(worker)  # whoever makes the pool grow is told
            return _Replacement()
        delay = self._restarts.lost(was_ready=worker.ready, had_call=had_call)
        return self._decide(self._start_error(worker), delay)

    def _failed(self, begun: Sequence[Work], worker: Worker) -> list[Work]:
        """Fail what ran when a worker ended; returns the items of it that had not begun."""
        left: list[Work] = []
        for call in begun:
            if not call.size:
                continue  # items that had all been answered or given back: only the word that they are over was missing
            loss = self._loss(call, worker)
            self._count_end(loss, 1 if isinstance(loss, WorkerLost) else call.size)
            call.post(loss)
            if isinstance(call, Items) and (rest := call.rest()) is not None:
                left.append(rest)
        return left

    def _loss(self, call: Work, worker: Worker) -> EnvironmentExited | WorkerLost:
        if self._state is _State.CLOSED:
            return EnvironmentExited()
        death = worker.death
        assert death is not None  # it is set before anybody is told
        died = WorkerDiedError(str(worker.info), death.exit_code, death.signal, death.stderr_tail, call.target)
        died.__cause__ = worker.error
        return WorkerLost(died)

    def _decide(self, cause: WorkerStartError, delay: float | None) -> _Replacement:
        """What follows a worker's end; with the lock held."""
        if delay is not None:
            return _Replacement(delay)
        self._state, self._cause = _State.BROKEN, cause
        return _Replacement(None, self._dispatch.drained())

    def _replace(self, index: int, decision: _Replacement) -> None:
        if decision.refused is not None:
            self._refuse(decision.refused)
        elif decision.delay == 0.0:
            self._respawn(index)
        elif decision.delay is not None:
            self._runtime.supervisor.call_later(decision.delay, lambda: self._respawn(index))

    def _refuse(self, calls: list[Work]) -> None:
        """The pool is broken: nobody will come for these."""
        broken = PoolBroken(WorkerPoolBroken(self._environment, str(self._cause)))
        for call in calls:
            self._count_end(broken, call.size)
            call.post(broken)
        for worker in self.workers():
            worker.ask_exit()

    def _tell(self, kind: WorkerEventType, worker: Worker) -> None:
        hot = self.streams.workers
        if hot.observed:
            hot.emit(WorkerEvent(kind, worker.info))

    def _tell_end(self, worker: Worker) -> None:
        hot = self.streams.workers
        if not hot.observed:
            return
        death = worker.death
        assert death is not None  # it is set before anybody is told
        if worker.exiting:
            hot.emit(WorkerEvent(WorkerEventType.EXITED, worker.info, None, death.exit_code, death.signal))
        else:
            reason = str(worker.error or describe_exit(death.exit_code, death.signal))
            hot.emit(WorkerEvent(WorkerEventType.LOST, worker.info, reason, death.exit_code, death.signal))

    def _spawn(self, index: int) -> Worker:
        def on_line(stream: str, line: PrintedLine) -> None:
            self.on_line(index, stream, line)

        try:
            start = partial(self._start_process, index, on_line)
            worker = Worker(self._environment, index, start, self, self._decoders)
        except BaseException as error:
            self._starting.discard(index)
            if isinstance(error, (OSError, RuntimeError)):
                raise WorkerStartError(self._name(index), str(error)) from error
            raise
        with self._lock:
            closed = self._state in (_State.CLOSED, _State.BROKEN)
            self._starting.discard(index)  # together with the next line: it may end at once, and then be replaced
            if not closed:
                self._workers[index] = worker
        try:
            worker.start(id_base(), self._plan.preload)
        except BaseException:  # a thread more than the system allows
            with self._lock:
                if self._workers.get(index) is worker:
                    del self._workers[index]
            worker.discard()
            raise
        self._tell(WorkerEventType.STARTED, worker)
        if closed:
            worker.kill()  # the end was asked for while it started
        return worker

    def _respawn(self, index: int) -> None:
        if not self._claims(index):
            return
        timeout = self._start_timeout
        if not self._plan.preload:
            timeout = min(timeout, _REPLACEMENT_TIMEOUT_S)
        try:
            worker = self._spawn(index)
        except Exception as error:  # noqa: BLE001 - whatever it is, calls wait for a decision
            self._not_started(index, error)
        else:
            self._runtime.supervisor.call_later(timeout, lambda: _ready_or_gone(worker, timeout))

    def _claims(self, index: int) -> bool:
        """True when a worker with this index is wanted, and nobody else starts one."""
        with self._lock:
            free = index not in self._workers and index not in self._starting
            wanted = self._state is _State.SERVING and index < self._size and free
            if wanted:
                self._starting.add(index)
        return wanted

    def _not_started(self, index: int, error: Exception) -> None:
        cause = error
        if not isinstance(cause, WorkerStartError):
            cause = WorkerStartError(self._name(index), f"{type(error).__name__}: {error}")
            cause.__cause__ = error
        with self._lock:
            if self._state is not _State.SERVING:
                return
            delay = self._restarts.not_started(for_want=_for_want(error) or _for_want(error.__cause__))
            decision = self._decide(cause, delay)
        self._replace(index, decision)

    def _name(self, index: int) -> str:
        return f"environment {self._environment}, worker {index}"

    def _start_error(self, worker: Worker) -> WorkerStartError:
        death = worker.death
        if worker.error is not None:
            how = str(worker.error)
        else:
            how = f"its process {describe_exit(death.exit_code, death.signal) if death is not None else 'ended'}"
        return WorkerStartError(self._name(worker.index), how, death.stderr_tail if death is not None else ())

    def _handle_line(self, record: logging.LogRecord) -> None:
        if self._logs.pending < MOST_RECORDS:  # else they are dropped, so that output costs no memory
            self._logs.post(record)


def _end_of(call: Work, refusal: WetlandsError | None) -> CancelRequested | PoolBroken | EnvironmentExited:
    """How a call ends that has not begun and will not."""
    if call.cancel_requested:
        return CancelRequested()
    return PoolBroken(refusal) if isinstance(refusal, WorkerPoolBroken) else EnvironmentExited()


def _handle(record: logging.LogRecord, number: int) -> tuple[Step, ...]:
    logger.handle(record)
    return ()


_pools: WeakSet[Pool] = WeakSet()


def _disown_all() -> None:
    for pool in list(_pools):
        pool.disown()


os.register_at_fork(after_in_child=_disown_all)
