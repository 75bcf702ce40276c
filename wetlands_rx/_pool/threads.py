"""Runs calls on threads of the caller's own process: the same decisions as for worker processes, nothing to replace.

Locks: one, around the decisions. Under it a call is put into the inbox of its thread, so that none is lost between
the two; it is never held while anything is run, posted or waited for.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from logging import LogRecord
from queue import SimpleQueue
from typing import Any

from wetlands_rx._pool.dispatch import Decision, Dispatch, Send
from wetlands_rx._pool.local_calls import LocalLine, run_call
from wetlands_rx._pool.local_modules import modules
from wetlands_rx._pool.tally import EnvironmentStatistics, Tally
from wetlands_rx._remote.handle import task_id
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._streams.mailbox import Mailbox, Step
from wetlands_rx._task.call import BUSY_S, Call, WorkerInfo, id_base
from wetlands_rx._task.events import TaskEvent
from wetlands_rx._task.lifecycle import Dispatched, EnvironmentExited, PoolBroken
from wetlands_rx._task.streams import Streams, WorkerEvent, WorkerEventType
from wetlands_rx._wire.messages import Logged
from wetlands_rx.exceptions import NotLaunchedError, WetlandsError
from wetlands_rx.logger import LogContext, log, logger

EXIT_GRACE_S = 1.0


class _Worker:
    """A thread, and what it is at.

    Attributes:
        inbox: Its next call; None ends it.
        line: The way of the present call's news; None between calls.
    """

    def __init__(self, pool: ThreadPool, info: WorkerInfo) -> None:
        self.info = info
        self.inbox: SimpleQueue[Call | None] = SimpleQueue()
        self.line: LocalLine | None = None
        self._pool = pool
        name = f"wetlands-{info.environment}-{info.index}"
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def _serve(self) -> None:
        while True:
            call = self.inbox.get()
            if call is None:
                return
            self._pool.run(self, call)
            del call  # before the wait: it holds the arguments


class ThreadPool:
    """The threads of one environment; runs calls (it is a `Runner`). The first one starts with the first call.

    Args:
        environment: The environment's name.
        delivery: The threads that call listeners.
        streams: Where what happens is shown too.
    """

    def __init__(self, environment: str, delivery: Delivery, streams: Streams) -> None:
        self._environment = environment
        self._delivery = delivery
        self._streams = streams
        streams.open(delivery)
        self._lock = threading.Lock()  # guards the fields below
        self._dispatch: Dispatch[Call] = Dispatch()
        self._workers: dict[int, _Worker] = {}
        self._tally = Tally()
        self._closed = False
        self._logs: Mailbox[LogRecord] = Mailbox(_handle, delivery)

    @property
    def size(self) -> int:
        """How many threads there are now."""
        return len(self._workers)

    def statistics(self) -> EnvironmentStatistics:
        """How many threads and calls there are now, and how those ended that have ended."""
        with self._lock:
            return self._tally.snapshot(len(self._workers), self._dispatch.idle, self._dispatch.queued)

    def grow(self, count: int) -> None:
        """See to it that there are at least so many threads.

        Raises:
            RuntimeError: the system has no more threads.
        """
        while (worker := self._new_worker(count)) is not None:
            try:
                worker.thread.start()
            except RuntimeError as error:
                self._not_started(worker, error)
                raise
            self._tell(worker, WorkerEventType.STARTED, WorkerEventType.READY)
            with self._lock:
                for decision in () if self._closed else self._dispatch.joined(worker.info.index):
                    self._carry_out(decision)

    def close(self, grace: float = EXIT_GRACE_S) -> None:
        """End all: what waits is canceled at once, what runs is asked to stop and waited for at most `grace` seconds.

        A function that still runs then goes on, for a thread cannot be killed; its task is CANCELED, nothing is heard
        from it any more, and its thread ends with it.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = self._dispatch.drained()
            workers = list(self._workers.values())
            lost = [(worker, self._dispatch.lost(worker.info.index)) for worker in workers]
            for worker in workers:
                worker.inbox.put(None)
        for call in waiting:
            call.post(EnvironmentExited())
        running = [(worker, call) for worker, calls in lost for call in calls]
        for _, call in running:
            call.cancel_requested = True
        deadline = time.monotonic() + grace
        for worker in workers:
            if worker.thread.ident is not None and worker.thread is not threading.current_thread():
                worker.thread.join(max(0.0, deadline - time.monotonic()))
        for worker, call in running:
            _abandon(worker, call)
        for worker in workers:
            self._tell_end(worker)

    # --- running calls (Runner); any thread

    @property
    def delivery(self) -> Delivery:
        """The threads that call listeners."""
        return self._delivery

    @property
    def events(self) -> HotSubject[TaskEvent[Any]]:
        """Where the events of all tasks go."""
        return self._streams.events

    def start(self, call: Call) -> None:
        """Give a call to an idle thread, or queue it.

        Raises:
            NotLaunchedError: the pool has been closed.
            RuntimeError: the system has no thread for it.
        """
        if not self._workers:
            self.grow(1)
        worker = None
        with self._lock:
            if self._closed:
                raise NotLaunchedError(self._environment, exited=True)
            send = self._dispatch.submitted(call)
            if send is not None:
                worker = self._workers[send.worker]
                worker.inbox.put(call)
        if worker is not None:  # its thread says so too; here, so that the task is RUNNING when this returns
            call.post(Dispatched(worker.info))

    def withdraw(self, call: Call) -> bool | None:
        """Take back a call that no thread has yet; None when this thread is at work here already."""
        if not self._lock.acquire(timeout=BUSY_S):
            return None
        try:
            withdrawn = self._dispatch.withdrawn(call)
            self._tally.canceled += withdrawn
            return withdrawn
        finally:
            self._lock.release()

    def ask_cancel(self, call: Call) -> None:
        """Do nothing: the function looks at the call's own `cancel_requested`."""

    # --- on its threads

    def run(self, worker: _Worker, call: Call) -> None:
        """Run a call and tell its task; a thread of the pool's own calls this."""
        if self._closed:
            call.post(EnvironmentExited())
            return
        line = worker.line = LocalLine(call, lambda call, record: self._on_logged(worker.info, call, record))
        line.post(Dispatched(worker.info))
        answer = run_call(call, line, modules)
        with self._lock:  # the next call is on its way before anybody hears of this one
            self._tally.answered([answer])
            decisions = self._dispatch.freed(worker.info.index, [call])
            for decision in decisions:
                self._carry_out(decision)
        worker.line = None
        line.post(answer)
        if not decisions:
            modules.leave()

    def _on_logged(self, worker: WorkerInfo, call: Call, record: Logged) -> None:
        context = LogContext(
            log_source="execution",
            env_name=self._environment,
            call_target=call.target,
            task_id=task_id(id_base(), call.number),
            worker_index=worker.index,
        )
        # Handlers are the user's code, so a delivery thread calls them.
        log(record.level, record.text, context, self._streams.logs, self._logs.post)

    # --- inside

    def _carry_out(self, decision: Decision[Call]) -> None:
        """With the lock held: a thread has one call at a time, so that nothing is ever recalled."""
        if isinstance(decision, Send):
            for call in decision.calls:
                self._workers[decision.worker].inbox.put(call)

    def _tell(self, worker: _Worker, *kinds: WorkerEventType) -> None:
        hot = self._streams.workers
        if hot.observed:
            for kind in kinds:
                hot.emit(WorkerEvent(kind, worker.info))

    def _tell_end(self, worker: _Worker) -> None:
        hot = self._streams.workers
        if not hot.observed:
            return
        if worker.thread.is_alive():
            hot.emit(
                WorkerEvent(WorkerEventType.LOST, worker.info, "its function goes on, and a thread cannot be killed")
            )
        else:
            hot.emit(WorkerEvent(WorkerEventType.EXITED, worker.info))

    def _new_worker(self, count: int) -> _Worker | None:
        with self._lock:
            if self._closed or len(self._workers) >= count:
                return None
            index = next(index for index in itertools.count() if index not in self._workers)
            worker = self._workers[index] = _Worker(self, WorkerInfo(self._environment, index, os.getpid()))
            return worker

    def _not_started(self, worker: _Worker, error: RuntimeError) -> None:
        with self._lock:
            del self._workers[worker.info.index]
            waiting = [] if self._workers else self._dispatch.drained()
        for call in waiting:
            call.post(PoolBroken(WetlandsError(f"environment {self._environment!r} got no thread: {error}")))

    def disown(self) -> None:
        """In a forked child: the threads are the parent's, and so is whoever holds the lock."""
        self._lock, self._closed = threading.Lock(), True


def _handle(record: LogRecord, number: int) -> tuple[Step, ...]:
    logger.handle(record)
    return ()


def _abandon(worker: _Worker, call: Call) -> None:
    line = worker.line
    if line is not None:
        line.cut()
    call.post(EnvironmentExited())  # late news when the function has answered
