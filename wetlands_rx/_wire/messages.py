"""What crosses the pipe, typed. Named tuples: making one costs 0.2 us, a frozen dataclass 0.5.

`task` is the number of the task that a message belongs to: its place in the caller's count of tasks.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from wetlands_rx._wire.target import FunctionValue
from wetlands_rx._wire.values import Packed


class CallFunction(NamedTuple):
    """Down: run a function. `packed` holds `(args, kwargs)`; path, function and value are as in `_wire.target`."""

    task: int
    path: str
    function: str
    packed: Packed
    value: Optional[FunctionValue] = None


class CallItems(NamedTuple):
    """Down: run a function once for each item, one after the other; path, function and value as in `CallFunction`."""

    task: int
    path: str
    function: str
    items: Sequence[Union[memoryview, Packed, int, float]]
    value: Optional[FunctionValue] = None


class RunScript(NamedTuple):
    """Down: run a file as a script."""

    task: int
    path: str
    args: Tuple[str, ...]
    run_name: str


class CancelTask(NamedTuple):
    """Down: the caller asks a running task to stop."""

    task: int


class Configure(NamedTuple):
    """Down, once, before anything else: what a worker must know about itself, and import before it says hello."""

    environment: str
    worker: int
    id_base: int
    preload: Tuple[str, ...] = ()


class Exit(NamedTuple):
    """Down: end the process after the current call."""


class Recall(NamedTuple):
    """Down: give the calls back that you have not begun."""


class Recalled(NamedTuple):
    """Up: these calls have not begun here and will not; the answer to a `Recall`.

    Nor will the last `left` items of the call that runs.
    """

    calls: Tuple[int, ...]
    running: int = 0
    left: int = 0


class Hello(NamedTuple):
    """Up, once, before anything else, after `Configure`: the worker is ready."""

    protocol: int
    python: Tuple[int, int, int]
    pid: int
    pickle_protocol: int


class Finished(NamedTuple):
    """Up: the function returned, after so many seconds."""

    task: int
    value: Any
    seconds: float = 0.0


class FinishedUnopened(NamedTuple):
    """Up: the function returned a value whose loading may run the user's code, so no reader thread loads it."""

    task: int
    packed: Packed
    seconds: float = 0.0


class Raised(NamedTuple):
    """Up: the function raised, or could not be found or answered for.

    `kind` says which: `"raised"`, `"lookup"`, `"serialization"`. The rest is optional: the exception as plain data,
    for `RemoteException.of`; its pickle; the path and the type of what cannot cross; and, when caller and worker are
    one process, the exception that the pickle gives: this one never crosses.
    """

    task: int
    error: str
    traceback: Tuple[str, ...]
    remote_type: str
    kind: str
    remote: Optional[Tuple[Any, ...]] = None
    original: bytes = b""
    path: str = ""
    type_name: str = ""
    cause: Optional[BaseException] = None


class ItemRaised(NamedTuple):
    """Of one item: the function raised, or could not be found or answered for; as `Raised`."""

    error: str
    traceback: Tuple[str, ...]
    remote_type: str
    kind: str
    remote: Optional[Tuple[Any, ...]] = None
    original: bytes = b""
    path: str = ""
    type_name: str = ""


class ItemUnopened(NamedTuple):
    """Of one item: a value whose loading may run the user's code."""

    packed: Packed


class ItemCanceled(NamedTuple):
    """Of one item: it did not run, or the function acknowledged the cancel."""


Outcome = Any
"""Of one item: the value itself, or one of the three above."""


class ItemsDone(NamedTuple):
    """Up: outcomes of items that follow each other.

    Attributes:
        task: The call that brought the items.
        first: The place of the first one in it.
        outcomes: What became of each.
        seconds: How long they took together.
        last: The call has ended.
    """

    task: int
    first: int
    outcomes: List[Outcome]
    seconds: float
    last: bool


class CancelAcknowledged(NamedTuple):
    """Up: the function acknowledged the cancel and has ended."""

    task: int


class Updated(NamedTuple):
    """Up: progress. None means: unchanged."""

    task: int
    message: Optional[str]
    current: Optional[int]
    maximum: Optional[int]


class OutputSet(NamedTuple):
    """Up: an intermediate output."""

    task: int
    key: str
    value: Any


class OutputUnopened(NamedTuple):
    """Up: an intermediate output `(key, value)` whose loading may run the user's code."""

    task: int
    packed: Packed


class Logged(NamedTuple):
    """Up: a record for the caller's logging."""

    task: int
    level: int
    text: str


Down = Union[CallFunction, CallItems, RunScript, CancelTask, Configure, Exit, Recall]
Up = Union[
    Hello,
    Finished,
    FinishedUnopened,
    Raised,
    CancelAcknowledged,
    Updated,
    OutputSet,
    OutputUnopened,
    Logged,
    Recalled,
    ItemsDone,
]
Keywords = Dict[str, Any]
