"""The workers of a fake environment: what `_pool.pool` does, without processes and threads.

It decides with the same `Dispatch` and the same `Restarts`, and tells tasks and streams the same in the same order.
"""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from wetlands_rx._pool.dispatch import Decision, Dispatch, Retire, Send
from wetlands_rx._pool.restarts import Restarts
from wetlands_rx._pool.tally import EnvironmentStatistics, Tally
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._task.call import Call, WorkerInfo
from wetlands_rx._task.lifecycle import EnvironmentExited, PoolBroken, WorkerLost
from wetlands_rx._task.streams import Streams, WorkerEvent, WorkerEventType, WorkerMessage
from wetlands_rx._testing.delivery import VirtualDelivery
from wetlands_rx._testing.functions import FakeCall, Functions
from wetlands_rx._testing.worker import FakeWorker
from wetlands_rx._wire import codec
from wetlands_rx._wire.messages import Hello, Logged
from wetlands_rx.exceptions import (
    NotLaunchedError,
    WetlandsError,
    WorkerDiedError,
    WorkerPoolBroken,
    WorkerStartError,
    describe_exit,
)
from wetlands_rx.logger import LogContext, log

_pids = itertools.count(10_000_000)
"""Of no process: systems count to 4,194,304 at most."""


class FakePool:
    """Runs the calls of one launch; a `Runner`.

    Args:
        environment: The environment's name.
        functions: What is called.
        delivery: Whose time it is.
        streams: Where what happens is shown.
        calls: Takes what is given to it.
        most_tasks: After so many calls another worker takes a worker's place; None: never.
    """

    def __init__(
        self,
        environment: str,
        functions: Functions,
        delivery: VirtualDelivery,
        streams: Streams,
        calls: list[FakeCall],
        most_tasks: int | None = None,
    ) -> None:
        self._most_tasks = most_tasks
        self._environment = environment
        self._functions = functions
        self._delivery = delivery
        self._streams = streams
        self._calls = calls
        streams.open(delivery)
        self._dispatch: Dispatch[Call] = Dispatch()
        self._restarts = Restarts()
        self._tally = Tally()
        self._size = 0
        self._closed = False
        self._broken: WorkerPoolBroken | None = None
        self.workers: dict[int, FakeWorker] = {}

    def launch(self, count: int) -> None:
        """Let so many workers be ready."""
        self.resize(count)

    def resize(self, count: int) -> None:
        """Have so many workers from now on; those too many end after their call."""
        before, self._size = self._size, count
        for index in range(before, count):
            if index not in self.workers:  # else an old one is still at its call, and its successor will come
                self._spawn(index)
        self._retire([index for index in self.workers if index >= count])

    def recycle(self) -> None:
        """Replace each worker; the busy ones after their call."""
        self._retire(list(self.workers))

    def _retire(self, indexes: list[int]) -> None:
        for index in indexes:
            self._carry_out(self._dispatch.retired(index))
        self._delivery.touch()

    def statistics(self) -> EnvironmentStatistics:
        """How many workers and calls there are now, and how those ended that have ended."""
        return self._tally.snapshot(len(self.workers), self._dispatch.idle, self._dispatch.queued)

    @property
    def serving(self) -> bool:
        """True while calls are taken."""
        return not self._closed and self._broken is None

    def close(self) -> None:
        """End all: tasks that have not ended are canceled, at once."""
        self._closed = True
        for call in self._dispatch.drained():
            self._tally.canceled += 1
            call.post(EnvironmentExited())
        for worker in list(self.workers.values()):
            self._dismiss(worker)
        self._delivery.touch()

    # --- Runner

    @property
    def delivery(self) -> VirtualDelivery:
        """What calls the listeners."""
        return self._delivery

    @property
    def events(self) -> HotSubject[Any]:
        """Where the events of all tasks go."""
        return self._streams.events

    def start(self, call: Call) -> None:
        """Give a call to an idle worker, or queue it; raises as a real pool does."""
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        self._calls.append(self._functions.read(call))
        send = self._dispatch.submitted(call)
        if send is not None:
            self._carry_out([send])
        self._delivery.touch()

    def withdraw(self, call: Call) -> bool:
        """Take back a call that no worker has yet."""
        self._delivery.touch()
        withdrawn = self._dispatch.withdrawn(call)
        self._tally.canceled += withdrawn
        return withdrawn

    def ask_cancel(self, call: Call) -> None:
        """Ask the function to stop."""
        for worker in list(self.workers.values()):
            worker.ask_cancel(call)
        self._delivery.touch()

    # --- FakeWorkerOwner

    @property
    def messages(self) -> HotSubject[WorkerMessage]:
        """Where the workers' messages go too."""
        return self._streams.messages

    def on_freed(self, worker: FakeWorker, call: Call, answer: object) -> None:
        """A worker has answered a call: it gets the next one."""
        self._restarts.served()
        self._tally.answered([answer])
        decisions = self._dispatch.freed(worker.index, [call])
        self._carry_out(decisions)
        if not decisions and self._broken is not None:
            self._dismiss(worker)

    def on_logged(self, worker: FakeWorker, call: Call, record: Logged) -> None:
        """A function has logged."""
        context = LogContext(
            log_source="execution",
            env_name=self._environment,
            call_target=call.target,
            worker_index=worker.index,
        )
        self._delivery.soon(partial(log, record.level, record.text, context))
        self._delivery.deliver()

    def on_lost(self, worker: FakeWorker, held: Call | None) -> None:
        """A worker was killed: its task fails, and another one comes."""
        del self.workers[worker.index]
        promised = self._dispatch.lost(worker.index)
        if held is None:  # it ended between the decision and the hand-over
            self._carry_out(self._dispatch.returned(promised))
        self._tally.lost += 1
        self._tally.failed += held is not None
        serving = self.serving and worker.index < self._size
        delay = self._restarts.lost(was_ready=True, had_call=held is not None) if serving else 0.0
        if delay is None:
            self._broken = WorkerPoolBroken(self._environment, str(self._start_error(worker)))
        self._tell(WorkerEventType.LOST, worker, describe_exit(worker.exit_code, worker.signal))
        if held is not None:
            died = WorkerDiedError(str(worker.info), worker.exit_code, worker.signal, (), held.target)
            held.post(WorkerLost(died))
        if serving:
            self._replace(worker.index, delay)

    # --- inside

    def _replace(self, index: int, delay: float | None) -> None:
        if delay is None:
            self._refuse_the_rest()
        elif delay == 0.0:
            self._spawn(index)
        else:
            self._delivery.later(delay, partial(self._spawn, index))

    def _spawn(self, index: int) -> None:
        if not self.serving:
            return
        info = WorkerInfo(self._environment, index, next(_pids))
        worker = self.workers[index] = FakeWorker(info, self._functions, self._delivery, self)
        self._tell(WorkerEventType.STARTED, worker)
        worker.send(Hello(codec.PROTOCOL_VERSION, sys.version_info[:3], info.pid, pickle.HIGHEST_PROTOCOL))
        self._restarts.started()
        decisions = self._dispatch.joined(index, self._most_tasks)
        self._tell(WorkerEventType.READY, worker)
        if worker.alive:  # else who was told it killed it
            self._carry_out(decisions)

    def _carry_out(self, decisions: Sequence[Decision[Call]]) -> None:
        """A fake worker has one call at a time, so that nothing is ever recalled."""
        for decision in decisions:
            if isinstance(decision, Send):
                for call in decision.calls:
                    self.workers[decision.worker].run(call)
            elif isinstance(decision, Retire):
                self._dismiss(self.workers[decision.worker])
                if decision.worker < self._size:
                    self._spawn(decision.worker)

    def _refuse_the_rest(self) -> None:
        """The pool is broken: nobody comes for those that wait, and who is idle goes."""
        assert self._broken is not None
        for call in self._dispatch.drained():
            self._tally.failed += 1
            call.post(PoolBroken(self._broken))
        for worker in list(self.workers.values()):
            if worker.call is None:
                self._dismiss(worker)

    def _dismiss(self, worker: FakeWorker) -> None:
        if self.workers.pop(worker.index, None) is None:
            return
        self._dispatch.lost(worker.index)
        held = worker.close()
        self._tell(WorkerEventType.EXITED, worker)
        if held is not None:
            self._tally.canceled += 1
            held.post(EnvironmentExited())

    def _tell(self, kind: WorkerEventType, worker: FakeWorker, reason: str | None = None) -> None:
        hot = self._streams.workers
        if hot.observed:
            hot.emit(WorkerEvent(kind, worker.info, reason, worker.exit_code, worker.signal, self._delivery.now()))

    def _start_error(self, worker: FakeWorker) -> WorkerStartError:
        how = f"its process {describe_exit(worker.exit_code, worker.signal)}"
        return WorkerStartError(f"environment {self._environment}, worker {worker.index}", how)

    def _refusal(self) -> WetlandsError | None:
        if self._closed:
            return NotLaunchedError(self._environment, exited=True)
        return self._broken
