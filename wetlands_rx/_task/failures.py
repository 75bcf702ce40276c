"""What became of a failed task, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from wetlands_rx._remote.crossing import CALLER, not_loaded, refused
from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.lifecycle import Happening, PoolBroken, WorkerLost
from wetlands_rx._wire.messages import Finished, FinishedUnopened, OutputSet, OutputUnopened, Raised
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import (
    ExecutionException,
    RemoteException,
    SerializationError,
    WetlandsError,
    WorkerDiedError,
    with_cause,
)


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
            return _unloadable(happening.task, "the result", ["result"], happening.packed, error)
    if isinstance(happening, OutputUnopened):
        try:
            key, value = happening.packed.load()
            return OutputSet(happening.task, _text(key), value)
        except BaseException as error:  # noqa: BLE001 - the user's code
            return _unloadable(
                happening.task, "an output", ["the name of the output", "output"], happening.packed, error
            )
    return happening


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the name of an output must be a text, not {type(key).__name__}")
    return key


def _unloadable(task: int, what: str, names: Sequence[str], packed: Packed, error: BaseException) -> Raised:
    if packed.trusted:
        failure = not_loaded(what, names, packed, error, CALLER)
    else:
        from wetlands_rx._wire.makers import ALLOWED_TYPES  # loaded already

        failure = refused(what, names, packed, error, ALLOWED_TYPES)
    return failure._replace(remote_type="").message(task, "serialization")


def failure_of(happening: Happening, target: str, worker: WorkerInfo | None) -> ExecutionException | None:
    """The exception of a task that ended in this way; None when it did not fail."""
    if isinstance(happening, Raised):
        error, lines, kind, remote = happening.error, happening.traceback, happening.remote_type, happening.remote
        told = RemoteException.of(remote, lines)
        where, original = str(worker or ""), happening.original
        if happening.kind == "serialization":
            path, type_name = happening.path, happening.type_name
            return SerializationError(error, lines, kind, target, where, told, original, path, type_name)
        return with_cause(ExecutionException(error, lines, kind, target, where, told, original), happening.cause)
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
