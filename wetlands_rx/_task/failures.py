"""What became of a failed task, for people and for programs."""

from __future__ import annotations

from typing import Self

from wetlands_rx._remote.failures import describe
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.lifecycle import Happening, PoolBroken, WorkerLost
from wetlands_rx._wire.messages import Finished, FinishedUnopened, OutputSet, OutputUnopened, Raised
from wetlands_rx.exceptions import ExecutionException, SerializationError, WetlandsError, WorkerDiedError


class TaskError(str):
    """The one-line error of a failed task: a string that carries its facts.

    Attributes:
        category: `"raised"`, `"lookup"`, `"serialization"`, `"worker_died"` or `"pool"`.
        remote_type: The dotted name of the remote exception's class; empty when none was raised there.
        worker: Where it ran, or None.
        exit_code: The exit code of a worker that died, or None.
    """

    __slots__ = ("category", "exit_code", "remote_type", "worker")

    category: str
    remote_type: str
    worker: WorkerInfo | None
    exit_code: int | None

    def __new__(
        cls,
        error: str,
        category: str = "raised",
        remote_type: str = "",
        worker: WorkerInfo | None = None,
        exit_code: int | None = None,
    ) -> Self:
        """Make a string with these facts."""
        made = super().__new__(cls, error)
        made.category, made.remote_type, made.worker, made.exit_code = category, remote_type, worker, exit_code
        return made


def opened(happening: Happening) -> Happening:
    """Load a value whose loading may run user code; what it raises fails the task."""
    if isinstance(happening, FinishedUnopened):
        try:
            return Finished(happening.task, happening.packed.load())
        except BaseException as error:  # noqa: BLE001 - the user's code
            return _unloadable(happening.task, "the result", error)
    if isinstance(happening, OutputUnopened):
        try:
            key, value = happening.packed.load()
        except BaseException as error:  # noqa: BLE001 - the user's code
            return _unloadable(happening.task, "an output", error)
        return OutputSet(happening.task, key, value)
    return happening


def _unloadable(task: int, what: str, error: BaseException) -> Raised:
    failure = describe(error)
    return Raised(task, f"{what} cannot be loaded here: {failure.error}", failure.traceback, "", "serialization")


def failure_of(happening: Happening, target: str, worker: WorkerInfo | None) -> ExecutionException | None:
    """The exception of a task that ended in this way; None when it did not fail."""
    if isinstance(happening, Raised):
        kind = SerializationError if happening.kind == "serialization" else ExecutionException
        return kind(happening.error, happening.traceback, happening.remote_type, target, str(worker or ""))
    if isinstance(happening, WorkerLost):
        return happening.error
    if isinstance(happening, PoolBroken):
        failure = ExecutionException(str(happening.error), (), "", target)
        failure.__cause__ = happening.error
        return failure
    return None


def category(failure: ExecutionException) -> str:
    """The `TaskError.category` of a failure."""
    if isinstance(failure, WorkerDiedError):
        return "worker_died"
    if isinstance(failure, SerializationError):
        return "serialization"
    if isinstance(failure.__cause__, WetlandsError):
        return "pool"
    return "lookup" if failure.remote_type == "wetlands_rx.FunctionNotFound" else "raised"
