"""What one wants to know of a stream of task events."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from reactivex import Observable, abc
from reactivex import operators as ops

from wetlands_rx._operators.checks import check_choice, check_kind, check_not_negative
from wetlands_rx._streams.bridges import BlockingItems
from wetlands_rx._task.text import ratio
from wetlands_rx.exceptions import ExecutionException
from wetlands_rx.task import TaskEvent, TaskEventType

_T = TypeVar("_T")

_TERMINAL = (TaskEventType.COMPLETION, TaskEventType.FAILURE, TaskEventType.CANCELATION)


def updates() -> Callable[[Observable[TaskEvent[_T]]], Observable[TaskEvent[_T]]]:
    """The UPDATE events alone.

        task:         -S-u-u-C|
        updates():    ---u-u--|

    Which thread: the source's. Errors: the source's.
    """
    return ops.filter(_is_update)


def terminal() -> Callable[[Observable[TaskEvent[_T]]], Observable[TaskEvent[_T]]]:
    """The last event of each task alone: its COMPLETION, FAILURE or CANCELATION.

        task:          -S-u-u-C|
        terminal():    -------C|

    Which thread: the source's. Errors: the source's; a failure is a value here.
    """
    return ops.filter(_is_terminal)


def progress(min_step: float = 0.01) -> Callable[[Observable[TaskEvent[Any]]], Observable[float]]:
    """How far one task is, from 0 to 1; ends with 1.0 when it completes.

        task (current of 4):    -S-1-1-2-4-C|
        progress():             ---+---+-+--|     0.25, 0.5, 1.0

    Args:
        min_step: A value is sent when it differs from the one before by at least this much; 1.0 always is, once.
    Returns:
        An operator for the events of one task. Events before `current` and `maximum` are known say nothing.

    Which thread: the source's. Errors: the source's; a task that fails or is canceled just ends here.
    Raises:
        TypeError: `min_step` is no number.
        ValueError: `min_step` is negative or not finite.
    """
    check_not_negative("min_step", min_step)

    def operator(source: Observable[TaskEvent[Any]]) -> Observable[float]:
        def subscribe(
            observer: abc.ObserverBase[float], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            last: float | None = None

            def on_next(event: TaskEvent[Any]) -> None:
                nonlocal last
                share = _share(event)
                if share is not None and share != last and _is_step(last, share, min_step):
                    last = share
                    observer.on_next(share)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


def outputs(key: str) -> Callable[[Observable[TaskEvent[Any]]], Observable[Any]]:
    """The values that the function publishes under a name with `task.set_output(key, value)`, each as it comes.

        task:               -S-mask-u-preview-C|
        outputs("mask"):    ---M---------------|

    Which thread: the source's. Errors: the source's.
    Raises:
        TypeError: `key` is no string.
    """
    check_kind("key", key, str)

    def value_of(event: TaskEvent[Any]) -> Any:
        return event.output.value if event.output is not None else None

    def has_key(event: TaskEvent[Any]) -> bool:
        return event.output is not None and event.output.key == key

    def operator(source: Observable[TaskEvent[Any]]) -> Observable[Any]:
        return source.pipe(ops.filter(has_key), ops.map(value_of))

    return operator


def results(on_error: Literal["raise", "skip"] = "raise") -> Callable[[Observable[TaskEvent[_T]]], Observable[_T]]:
    """The results of tasks, from the events of one or of many; a failure becomes the stream's error.

        task:         -S-u-u-C|           -S-u-F|
        results():    -------R|           -----#       #: ExecutionException

    Args:
        on_error: `"skip"` leaves failed and canceled tasks out; `failures()` shows the failed ones.
    Returns:
        An operator.

    Which thread: the source's.
    Errors: the source's; the `ExecutionException` of the first task that fails and
    `concurrent.futures.CancelledError` for the first that is canceled, unless skipped.
    Raises:
        ValueError: there is no such `on_error`.
    """
    check_choice("on_error", on_error, "raise", "skip")

    def operator(source: Observable[TaskEvent[_T]]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            def on_next(event: TaskEvent[_T]) -> None:
                if event.type is TaskEventType.COMPLETION:
                    observer.on_next(event.task.result)
                elif on_error == "raise" and event.type in _TERMINAL:
                    observer.on_error(_error_of(event))

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


def failures() -> Callable[[Observable[TaskEvent[Any]]], Observable[ExecutionException]]:
    """The exceptions of failed tasks, as values, from the events of one task or of many.

        tasks:         -C-F-X-F-C|     X: canceled, which is no failure
        failures():    ---e---e--|

    Which thread: the source's. Errors: the source's.
    """

    def operator(source: Observable[TaskEvent[Any]]) -> Observable[ExecutionException]:
        return source.pipe(ops.filter(_is_failure), ops.map(_exception_of))

    return operator


def _is_update(event: TaskEvent[Any]) -> bool:
    return event.type is TaskEventType.UPDATE


def _is_terminal(event: TaskEvent[Any]) -> bool:
    return event.type in _TERMINAL


def _is_failure(event: TaskEvent[Any]) -> bool:
    return event.type is TaskEventType.FAILURE


def _exception_of(event: TaskEvent[Any]) -> ExecutionException:
    failure = event.task.exception
    assert failure is not None  # it is set before anybody is told
    return failure


def _error_of(event: TaskEvent[Any]) -> Exception:
    if event.type is TaskEventType.FAILURE:
        return _exception_of(event)
    return concurrent.futures.CancelledError(f"{event.task!r} was canceled")


def _share(event: TaskEvent[Any]) -> float | None:
    if event.type is TaskEventType.COMPLETION:
        return 1.0
    return ratio(event.current, event.maximum) if event.type is TaskEventType.UPDATE else None


def _is_step(last: float | None, share: float, min_step: float) -> bool:
    return last is None or share == 1.0 or abs(share - last) >= min_step - 1e-12


def iterate(timeout: float | None = None) -> Callable[[Observable[_T]], BlockingItems[_T]]:
    """An iterator that blocks: for code that loops instead of listening. The last one of a `pipe`.

        task:                         -S-u-u-C|
        task.pipe(iterate()):         next() returns S, u, u, C, then raises StopIteration

        with task.pipe(updates(), iterate(timeout=60)) as events:  # leaving the block unsubscribes
            for event in events:
                print(event.task.progress_text)

    Args:
        timeout: How long `next()` may wait for an item, in seconds; then it raises TimeoutError and unsubscribes. None
            waits as long as the stream goes on.
    Returns:
        An operator that subscribes at once. What comes faster than it is taken is kept: put `conflate` or
        `buffer_bounded` before it where that may be much.

    Which thread: `next()` runs on yours. Errors: the stream's, raised by `next()`.
    Raises:
        TypeError: `timeout` is no number.
        ValueError: `timeout` is negative or not finite.
    """
    if timeout is not None:
        check_not_negative("timeout", timeout)
    return lambda source: BlockingItems(source, timeout)
