"""Run a function of an environment for each item of a stream."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Literal, TypeVar, overload

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._operators.checks import check_choice, check_kind
from wetlands_rx._operators.paced import Consumer, Flow, Paced
from wetlands_rx._operators.turns import DeliveryTurns, Newest, Running, call_out
from wetlands_rx._operators.windowed import Inner, Limits, Window
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._task.lifecycle import TaskStatus
from wetlands_rx._task.task import Task, notify_end
from wetlands_rx.environment import Environment, PathLike
from wetlands_rx.exceptions import ExecutionException

_A = TypeVar("_A")
_B = TypeVar("_B")

OnError = Literal["raise", "emit", "skip"]
"""What becomes of a failed item: the stream's error, a value (the exception itself), nothing."""

_Operator = Callable[[Observable[_A]], Observable[_B]]


@overload
def map_in(
    env: Environment,
    module: PathLike,
    function: str,
    *,
    ordered: bool = True,
    max_concurrent: int | None = None,
    window: int | None = None,
    on_error: OnError = "raise",
) -> _Operator[Any, Any]: ...
@overload
def map_in(
    env: Environment,
    module: Callable[[_A], _B],
    /,
    *,
    ordered: bool = True,
    max_concurrent: int | None = None,
    window: int | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> _Operator[_A, _B]: ...
@overload
def map_in(
    env: Environment,
    module: Callable[[_A], _B],
    /,
    *,
    ordered: bool = True,
    max_concurrent: int | None = None,
    window: int | None = None,
    on_error: Literal["emit"],
) -> _Operator[_A, _B | Exception]: ...
def map_in(
    env: Environment,
    module: PathLike | Callable[[Any], Any],
    function: str | None = None,
    *,
    ordered: bool = True,
    max_concurrent: int | None = None,
    window: int | None = None,
    on_error: OnError = "raise",
) -> _Operator[Any, Any]:
    """Run a function in an environment once for each item, over all its workers; the results go on.

        images:                     -a-b-c-----------|
        two workers:                 a----+          b and c are done first, and wait for a
        map_in(env, file, name):    -------ABC-------|
        ... ordered=False:          ----B--CA--------|

    Args:
        env: Where; it must be launched when the stream is subscribed to.
        module: The Python file that holds the function; or, instead of file and name, any function, as for
            `env.map`, which gives the results their type.
        function: Its name in that file. The item becomes its only positional argument.
        ordered: Results in the order of the items, or as the tasks end.
        max_concurrent: How many tasks are submitted and have not ended; twice as many as there are workers when None,
            so that none of them waits for the next item.
        window: How many items are submitted, or done and not taken by the next operator; twice `max_concurrent` when
            None.
        on_error: What becomes of an item whose task failed, was canceled, or could not be sent: `"raise"` ends the
            stream with its error, `"emit"` sends the exception on as a value, `"skip"` leaves the item out.
    Returns:
        An operator. It pulls from `from_items`, or from another `map_in`, only when it has room: two environments in
        one `pipe` hand over at most `window` items. What other sources push meanwhile waits here, without bound
        (`buffer_bounded` in front sets one). Disposing of the subscription cancels the tasks that have not ended.

    Which thread: all happens on delivery threads, by one at a time: items are submitted there, the observer is called
    there. What the observer raises is logged, and it goes on.
    Errors: `ExecutionException` of a failed task and `concurrent.futures.CancelledError` of a canceled one as
    `on_error` says, with `ordered` at its position, else at once. Ends the stream in any case: an error of the source,
    `NotLaunchedError`, `WorkerPoolBroken`, `FileNotFoundError`. What is submitted is canceled when the stream ends.
    Raises:
        TypeError: `env` is no environment, no function is named, or `max_concurrent` or `window` is no whole number.
        ValueError: `max_concurrent` or `window` is not at least 1, or there is no such `on_error`.
    """
    _check_on_error(on_error)
    limits = None if max_concurrent is None else Limits.of(max_concurrent, window)
    if window is not None:
        Limits.of(1, window)
    job = Job[Any](env, module, function)

    def operator(source: Observable[Any]) -> Observable[Any]:
        def begin(consumer: Consumer[Any], scheduler: abc.SchedulerBase | None) -> Flow:
            turns = DeliveryTurns(delivery_of(env))
            fitting = limits or Limits.of(2 * _worker_count(env), window)
            begin_with = partial(_begin_with, job, on_error)
            return Window("map_in", consumer, begin_with, fitting, turns, ordered=ordered).open(source, scheduler)

        return Paced(begin)

    return operator


@overload
def switch_map_in(
    env: Environment, module: PathLike, function: str, *, on_error: OnError = "raise"
) -> _Operator[Any, Any]: ...
@overload
def switch_map_in(
    env: Environment, module: Callable[[_A], _B], /, *, on_error: Literal["raise", "skip"] = "raise"
) -> _Operator[_A, _B]: ...
@overload
def switch_map_in(
    env: Environment, module: Callable[[_A], _B], /, *, on_error: Literal["emit"]
) -> _Operator[_A, _B | Exception]: ...
def switch_map_in(
    env: Environment,
    module: PathLike | Callable[[Any], Any],
    function: str | None = None,
    *,
    on_error: OnError = "raise",
) -> _Operator[Any, Any]:
    """Run a function in an environment for the newest item; an item that comes meanwhile cancels the running task.

        slider:                            -a----b-c--------|
        switch_map_in(env, file, name):    ----A------C-----|     b's task was canceled, its result is not awaited

    A task that waits for a worker never runs; a running one is asked to stop, and its function should look at
    `task.cancel_requested`: until it returns, its worker is busy. Items that come faster than they can be submitted
    are left out, but for the newest.

    Args:
        env: As for `map_in`.
        module: As for `map_in`.
        function: As for `map_in`.
        on_error: As for `map_in`, for the newest item's task; what becomes of the others is nobody's concern.
    Returns:
        An operator. Disposing of the subscription cancels the running task.

    Which thread: tasks are canceled in the source's thread; items are submitted, and the observer is called, on
    delivery threads. What the observer raises is logged, and it goes on.
    Errors: as for `map_in`; one of the source cancels the running task.
    Raises:
        TypeError: `env` is no environment, or no function is named.
        ValueError: there is no such `on_error`.
    """
    _check_on_error(on_error)
    return _single("switch_map_in", Job(env, module, function), on_error, replaces=True)


@overload
def exhaust_map_in(
    env: Environment, module: PathLike, function: str, *, on_error: OnError = "raise"
) -> _Operator[Any, Any]: ...
@overload
def exhaust_map_in(
    env: Environment, module: Callable[[_A], _B], /, *, on_error: Literal["raise", "skip"] = "raise"
) -> _Operator[_A, _B]: ...
@overload
def exhaust_map_in(
    env: Environment, module: Callable[[_A], _B], /, *, on_error: Literal["emit"]
) -> _Operator[_A, _B | Exception]: ...
def exhaust_map_in(
    env: Environment,
    module: PathLike | Callable[[Any], Any],
    function: str | None = None,
    *,
    on_error: OnError = "raise",
) -> _Operator[Any, Any]:
    """Run a function in an environment for an item; items that come while its task has not ended are left out.

        clicks:                             -a-b-------c-----|
        exhaust_map_in(env, file, name):    ------A-------C--|     b came while a's task ran

    Args:
        env: As for `map_in`.
        module: As for `map_in`.
        function: As for `map_in`.
        on_error: As for `map_in`.
    Returns:
        An operator. Disposing of the subscription cancels the running task.

    Which thread: items are submitted, and the observer is called, on delivery threads. What the observer raises is
    logged, and it goes on.
    Errors: as for `map_in`; one of the source cancels the running task.
    Raises:
        TypeError: `env` is no environment, or no function is named.
        ValueError: there is no such `on_error`.
    """
    _check_on_error(on_error)
    return _single("exhaust_map_in", Job(env, module, function), on_error, replaces=False)


class Job(Generic[_B]):
    """A function in an environment.

    Args:
        env: Where it runs.
        module: Its file; or the function itself, when it has no name here.
        function: Its name.
    Raises:
        TypeError: something of it is missing, or of another kind.
    """

    def __init__(self, env: Environment, module: PathLike | Callable[..., _B], function: str | None) -> None:
        check_kind("env", env, Environment)
        _check_function(module, function)
        self.env = env
        self._module = module
        self._function = function

    def in_(self, env: Environment) -> Job[_B]:
        """The same function in another environment."""
        return Job(env, self._module, self._function)

    def submit(self, *args: Any, **kwargs: Any) -> Task[_B]:
        """Run it; raises what `env.submit` raises."""
        if callable(self._module):
            return self.env.submit(self._module, args=args, kwargs=kwargs)
        return self.env.submit(self._module, self._function or "", args, kwargs)


def delivery_of(env: Environment) -> Delivery:
    """The delivery threads of an environment; raises `NotLaunchedError` when nothing runs there."""
    return env._runner().delivery  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the library's own door


def failure_of(task: Task[Any]) -> Exception | None:
    """Why an ended task has no result; None when it has one."""
    if task.status is TaskStatus.CANCELED:
        return concurrent.futures.CancelledError(f"{task!r} was canceled")
    return task.exception


def _check_on_error(on_error: object) -> None:
    check_choice("on_error", on_error, "raise", "emit", "skip")


def _check_function(module: object, function: object) -> None:
    if callable(module):
        if function is not None:
            raise TypeError(f"{module!r:.100} is a function already; its name {function!r:.100} is not wanted")
    elif not isinstance(module, (str, os.PathLike)):
        raise TypeError(f"module is {module!r:.100}; a Python file or a function is wanted")
    elif not isinstance(function, str) or not function:
        raise TypeError(f"the name of a function in {module!s:.100} is wanted, not {function!r:.100}")


def _worker_count(env: Environment) -> int:
    count: int = getattr(env, "worker_count", 1)  # not every kind of environment has workers
    return max(1, count)


def _begin_with(job: Job[_B], on_error: OnError, item: Any, inner: Inner[_B | Exception]) -> abc.DisposableBase:
    try:
        task = job.submit(item)
    except ExecutionException as error:  # the item cannot be sent
        _settle(inner, error, on_error)
        return Disposable()

    def ended() -> None:
        error = failure_of(task)
        if error is None:
            inner.only(task.result)
        else:
            _settle(inner, error, on_error)

    if not notify_end(task, ended):
        ended()
    return Disposable(task.cancel)


def _settle(inner: Inner[_B | Exception], error: Exception, on_error: OnError) -> None:
    if on_error == "emit":
        inner.only(error)
    else:
        inner.end(error if on_error == "raise" else None)


def _single(who: str, job: Job[_B], on_error: OnError, *, replaces: bool) -> _Operator[Any, Any]:
    def operator(source: Observable[Any]) -> Observable[Any]:
        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            return _Single(who, job, observer, on_error, replaces=replaces).open(source, scheduler)

        return Observable(subscribe)

    return operator


class _Single(Generic[_B]):
    """At most one task, for the newest item or for the first one."""

    def __init__(
        self, who: str, job: Job[_B], observer: abc.ObserverBase[Any], on_error: OnError, *, replaces: bool
    ) -> None:
        self._who = who
        self._job = job
        self._observer = observer
        self._on_error = on_error
        self._replaces = replaces
        self._turns = DeliveryTurns(delivery_of(job.env))
        self._running = Running()
        self._newest: Newest[Any] = Newest()
        self._source_ended = False
        self._closed = False

    def open(self, source: Observable[Any], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        subscription = source.subscribe(self._on_next, self._on_error_of_source, self._no_more, scheduler=scheduler)

        def dispose() -> None:
            self._closed = True
            subscription.dispose()
            self._running.dispose()

        return Disposable(dispose)

    # --- the source's threads

    def _on_next(self, item: Any) -> None:
        if self._replaces:
            self._running.clear()
            self._newest.put(item)
            self._turns.take(self._begin_with_newest)
        else:
            self._turns.take(partial(self._begin_if_idle, item))

    def _on_error_of_source(self, error: Exception) -> None:
        self._turns.take(partial(self._finish, error))

    def _no_more(self) -> None:
        self._turns.take(self._source_completed)

    # --- turns

    def _begin_with_newest(self) -> None:
        for item in self._newest.take():
            self._running.clear()
            self._begin_with(item)

    def _begin_if_idle(self, item: Any) -> None:
        if not self._running:
            self._begin_with(item)

    def _begin_with(self, item: Any) -> None:
        if self._closed:
            return
        try:
            task = self._job.submit(item)
        except ExecutionException as error:  # the item cannot be sent
            self._fail(error)
            return
        except Exception as error:  # noqa: BLE001 - no item can be sent; the observer is told
            self._finish(error)
            return
        self._running.add(task, Disposable(task.cancel))
        ended = partial(self._turns.take, partial(self._ended, task))
        if not notify_end(task, ended):
            ended()

    def _ended(self, task: Task[_B]) -> None:
        if not self._running.discard(task):
            return  # another item has taken its place
        error = failure_of(task)
        if error is None:
            self._tell(task.result)
        else:
            self._fail(error)
        self._finish_if_idle()

    def _source_completed(self) -> None:
        self._source_ended = True
        self._finish_if_idle()

    def _finish_if_idle(self) -> None:
        if self._source_ended and not self._running:
            self._finish(None)

    def _fail(self, error: Exception) -> None:
        if self._on_error == "raise":
            self._finish(error)
        elif self._on_error == "emit":
            self._tell(error)

    def _tell(self, value: Any) -> None:
        if not self._closed:
            call_out(self._who, self._observer.on_next, value)

    def _finish(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._running.dispose()
        if error is None:
            call_out(self._who, self._observer.on_completed)
        else:
            call_out(self._who, self._observer.on_error, error)
