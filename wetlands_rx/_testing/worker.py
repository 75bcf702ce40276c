"""A worker without a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wetlands_rx._streams.hot import HotSubject
from wetlands_rx._task.call import Call, WorkerInfo
from wetlands_rx._task.lifecycle import Dispatched
from wetlands_rx._task.streams import WorkerMessage
from wetlands_rx._testing.delivery import VirtualDelivery
from wetlands_rx._testing.execution import Execution
from wetlands_rx._testing.functions import FakeCall, Functions, message_of
from wetlands_rx._wire.messages import (
    CancelAcknowledged,
    Finished,
    FinishedUnopened,
    Hello,
    ItemsDone,
    Logged,
    Raised,
    Recalled,
    Up,
)


class FakeWorkerOwner(Protocol):
    """Who is told about a fake worker."""

    @property
    def messages(self) -> HotSubject[WorkerMessage]:
        """Where its messages go too."""
        ...

    def on_freed(self, worker: FakeWorker, call: Call, answer: object) -> None:
        """It has answered a call."""
        ...

    def on_logged(self, worker: FakeWorker, call: Call, record: Logged) -> None:
        """A function has logged."""
        ...

    def on_lost(self, worker: FakeWorker, held: Call | None) -> None:
        """It has ended; `held` was not answered."""
        ...


class FakeWorker:
    """A worker of a `FakeEnvironment`: runs one call at a time, in virtual time.

    Given by `FakeEnvironment.worker(index)`; when it is killed another one takes its place, like a real one.

    Attributes:
        info: What tasks show as their worker; its `pid` is made up.
        answered: How many calls it has answered.
        exit_code: With which it ended, or None.
        signal: The number of the signal that ended it, or None.
    """

    def __init__(
        self, info: WorkerInfo, functions: Functions, delivery: VirtualDelivery, owner: FakeWorkerOwner
    ) -> None:
        self.info = info
        self.answered = 0
        self.exit_code: int | None = None
        self.signal: int | None = None
        self._functions = functions
        self._delivery = delivery
        self._owner = owner
        self._held: Call | None = None
        self._execution: Execution | None = None
        self._ended = False

    @property
    def index(self) -> int:
        """Its place in the pool, from 0."""
        return self.info.index

    @property
    def call(self) -> FakeCall | None:
        """What it runs; None when it is idle."""
        return None if self._held is None else self._functions.read(self._held)

    @property
    def alive(self) -> bool:
        """False once it was killed, or its environment exited."""
        return not self._ended

    # --- For the test

    def kill(self, signal: int = 9) -> None:
        """End it as a signal ends a process; does nothing when it has ended.

        The task it runs is FAILED with `WorkerDiedError`, another worker takes its place, and the queue goes on.
        """
        self._end(None, signal)

    def exit(self, code: int = 1) -> None:
        """End it as a call of `os._exit(code)` ends a process; else as `kill`."""
        self._end(code, None)

    def send(self, *messages: Up) -> None:
        """Send messages as if they came out of its pipe, whatever the function does.

        A message that ends the task, such as `Finished`, ends the function too. News of tasks that this worker does
        not run are late, and have no effect, as with a real worker.

        Args:
            messages: Of the kinds in `wetlands_rx.testing`; `worker.call.number` is the `task` in them.
        """
        self._hear_all(messages)

    # --- For its pool

    def run(self, call: Call) -> None:
        """Begin with a call; its function runs when the clock goes on."""
        self._held = call
        call.post(Dispatched(self.info))
        if self._held is call:  # a listener may have killed it meanwhile
            message, environment = message_of(call), self.info.environment
            self._execution = Execution(message, self._functions, self._delivery, self._hear_all, environment)
            if call.cancel_requested:
                self._execution.ask_cancel()

    def ask_cancel(self, call: Call) -> None:
        """Ask the function to stop, when this worker has it."""
        if self._held is call and self._execution is not None:
            self._execution.ask_cancel()

    def close(self) -> Call | None:
        """End it because its environment exits; the call it had."""
        self._ended = True
        self.exit_code = 0
        return self._let_go()

    def _end(self, code: int | None, signal: int | None) -> None:
        if self._ended:
            return
        self._ended = True
        self.exit_code, self.signal = code, signal
        self._owner.on_lost(self, self._let_go())
        self._delivery.touch()

    def _let_go(self) -> Call | None:
        held, self._held = self._held, None
        execution, self._execution = self._execution, None
        if execution is not None:
            execution.close()
        return held

    def _hear_all(self, messages: Sequence[Up]) -> None:
        for message in messages:
            if not self._ended:
                self._hear(message)

    def _hear(self, message: Up) -> None:
        if self._owner.messages.observed:
            self._owner.messages.emit(WorkerMessage(self.info, message))
        call = self._held
        if isinstance(message, Hello | Recalled | ItemsDone) or call is None or message.task != call.number:
            return  # late news of a task that has ended
        if isinstance(message, Logged):
            self._owner.on_logged(self, call, message)
            return
        if isinstance(message, Finished | FinishedUnopened | Raised | CancelAcknowledged):
            self._let_go()
            self.answered += 1
            self._owner.on_freed(self, call, message)  # the next call is on its way before anybody hears of this one
        call.post(message)
        self._delivery.touch()

    def __repr__(self) -> str:
        call = self.call
        state = "ended" if self._ended else "idle" if call is None else f"runs {call.target}"
        return f"<FakeWorker {self.index} of {self.info.environment}: {state}>"
