"""Do it again, twice, or elsewhere: operators over a run that can be begun anew."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, overload

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from wetlands_rx._operators.checks import check_callable, check_count, check_kind, check_not_negative
from wetlands_rx._operators.clock import Timer
from wetlands_rx._operators.turns import DeliveryTurns, InlineTurns, Running, call_out
from wetlands_rx._operators.work import Job, delivery_of, failure_of
from wetlands_rx._task.task import notify_end
from wetlands_rx.environment import Environment, PathLike
from wetlands_rx.exceptions import ExecutionException, WorkerDiedError

_T = TypeVar("_T")
_P = ParamSpec("_P")

_Operator = Callable[[Observable[_T]], Observable[_T]]


class Run(Observable[_T]):
    """A cold stream that runs something in an environment for each subscription; made by `run_in`.

    Attributes:
        env: Where.
    """

    def __init__(self, env: Environment, make: Callable[[Environment], Observable[_T]]) -> None:
        super().__init__()
        self.env = env
        self._make = make

    def in_(self, env: Environment) -> Observable[_T]:
        """The same in another environment."""
        return self._make(env)

    def through(self, operator: _Operator[_T]) -> Run[_T]:
        """The same with something done to it, wherever it runs."""
        return Run(self.env, lambda env: operator(self._make(env)))

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self._make(self.env).subscribe(observer, scheduler=scheduler)


@overload
def run_in(env: Environment, module: PathLike, function: str, /, *args: Any, **kwargs: Any) -> Run[Any]: ...
@overload
def run_in(env: Environment, module: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Run[_T]: ...
def run_in(env: Environment, module: PathLike | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Run[Any]:
    """A cold stream of one result: each subscription submits a task, disposing of it cancels the task.

        run_in(env, "segment.py", "segment", image):    -------R|        -----#    #: ExecutionException

    A task runs once; this is what the operators below begin anew. In a stream of items:
    `merge_map(lambda image: run_in(env, "segment.py", "segment", image).pipe(retry_on_worker_death(2)), 4)`.

    Args:
        env: Where.
        module: The Python file that holds the function; or, instead of file and name, any function, as for
            `env.submit`, which gives the result its type.
        args: The function's name, unless `module` is the function; then its positional arguments.
        kwargs: Its keyword arguments.
    Returns:
        The stream. The arguments are copied at each subscription.

    Which thread: the task is submitted in the subscriber's thread; the observer is called on a delivery thread.
    What it raises is logged.
    Errors: `ExecutionException`, `concurrent.futures.CancelledError` when somebody else cancels the task, and what
    `env.submit` raises.
    Raises:
        TypeError: `env` is no environment, or no function is named.
    """
    if callable(module):
        job, given = Job[Any](env, module, None), args
    else:
        job, given = Job[Any](env, module, args[0] if args else None), args[1:]

    def make(where: Environment) -> Observable[Any]:
        return Observable(lambda observer, _scheduler: _run(job.in_(where), given, kwargs, observer))

    return Run(env, make)


def _run(
    job: Job[_T], args: tuple[Any, ...], kwargs: dict[str, Any], observer: abc.ObserverBase[_T]
) -> abc.DisposableBase:
    turns = DeliveryTurns(delivery_of(job.env))
    task = job.submit(*args, **kwargs)

    def tell() -> None:
        error = failure_of(task)
        if error is not None:
            call_out("run_in", observer.on_error, error)
        else:
            call_out("run_in", observer.on_next, task.result)
            call_out("run_in", observer.on_completed)

    def ended() -> None:
        turns.take(tell)

    if not notify_end(task, ended):
        ended()
    return Disposable(task.cancel)


def retry_task(
    n: int,
    backoff: float | Callable[[int], float] = 0.0,
    when: Callable[[ExecutionException], bool] | None = None,
    *,
    scheduler: abc.SchedulerBase | None = None,
) -> Callable[[Observable[_T]], Observable[_T]]:
    """Begin a run anew when it fails, at most `n` times.

        source:             ----#   ----#   ----R|
        retry_task(2, 3):   -------------------------R|     3 s after each failure

    Args:
        n: How many more runs there may be.
        backoff: Seconds between a failure and the next run; or a function that gives them for the failure with this
            number, from 1.
        when: Says whether a failure is worth another run; all are when None.
        scheduler: Whose seconds they are; None: the library's clock.
    Returns:
        An operator for cold sources, such as `run_in`; subscribing anew to a `Task` would run nothing. Values that a
        run sent before its failure stay sent. Disposing cancels what runs and forgets what was to come.

    Which thread: values come in the source's. The next run begins in the thread of the failure, or of the scheduler
    (without one, a delivery thread).
    Errors: the last run's; those that are no `ExecutionException` at once, as when the environment was exited; what
    `backoff` or `when` raises; `ValueError` or `TypeError` when `backoff` gives no such number.
    Raises:
        TypeError: `n` is no whole number, `backoff` no number and no function, or `when` no function.
        ValueError: `n` or `backoff` is negative, or `backoff` not finite.
    """
    check_count("n", n, least=0)
    if not callable(backoff):
        check_not_negative("backoff", backoff)
    if when is not None:
        check_callable("when", when)
    pause = backoff if callable(backoff) else _constant(backoff)

    def again(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], given: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            return _Again(source, observer, n, pause, when or _always, scheduler or given).open(given)

        return Observable(subscribe)

    return partial(_wherever_it_runs, again)


def retry_on_worker_death(n: int) -> Callable[[Observable[_T]], Observable[_T]]:
    """Begin a run anew, at once, when its worker died, at most `n` times: for crashes and the out-of-memory killer.

        source:                     ---#   ---R|       #: WorkerDiedError
        retry_on_worker_death(1):   -------------R|

    Args:
        n: How many more runs there may be.
    Returns:
        An operator for cold sources, such as `run_in`. What the function itself raises is not tried again.

    Which thread: as for `retry_task`.
    Errors: the last run's; others than `WorkerDiedError` at once.
    Raises:
        TypeError: `n` is no whole number.
        ValueError: `n` is negative.
    """
    return retry_task(n, when=_is_worker_death)


def hedge(after: float, *, scheduler: abc.SchedulerBase | None = None) -> Callable[[Observable[_T]], Observable[_T]]:
    """Run a second time what takes long; the first result counts, the other run is canceled.

        1st run:     ------------R|
        2nd run:           --R|             begun after 6 s
        hedge(6):    --------R|             the 1st is canceled

    Args:
        after: Seconds without a value before the second run begins.
        scheduler: Whose seconds they are; None: the library's clock.
    Returns:
        An operator for cold sources, such as `run_in`; the function must not mind running twice.

    Which thread: values come in that of the run that counts. The second run begins in the scheduler's (without one,
    a delivery thread).
    Errors: that of the first run, when it comes before the second has begun; else that of the run that fails last.
    Raises:
        TypeError: `after` is no number.
        ValueError: `after` is negative or not finite.
    """
    check_not_negative("after", after)

    def hedged(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], given: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            return _Hedged(source, observer, after, scheduler or given).open(given)

        return Observable(subscribe)

    return partial(_wherever_it_runs, hedged)


def fallback_to(
    other_env: Environment, when: Callable[[Exception], bool] | None = None
) -> Callable[[Observable[_T]], Observable[_T]]:
    """Run what failed in another environment: on the processor what the graphics card has no memory for.

        in env:                   ----#
        in other_env:                 ------R|
        fallback_to(other_env):   ----------R|

    Args:
        other_env: Where to.
        when: Says whether an error is worth it; all are when None, also that the first environment is not launched.
    Returns:
        An operator for `run_in`, also after `retry_task`, `retry_on_worker_death` and `hedge`: what stands before it
        in the `pipe` is done in both places. Values that were sent before the failure stay sent.

    Which thread: values come in that of the run; the second run begins in the thread of the failure.
    Errors: that of the second run; the first one's where `when` says no; what `when` raises.
    Raises:
        TypeError: the source is not made by `run_in`, so that nobody knows what to run; `other_env` is no environment,
            or `when` no function.
    """
    check_kind("other_env", other_env, Environment)
    if when is not None:
        check_callable("when", when)

    def operator(source: Observable[_T]) -> Observable[_T]:
        if not isinstance(source, Run):
            raise TypeError(f"fallback_to wants what run_in returns, not {type(source).__name__}")
        run = source

        def make(env: Environment) -> Observable[_T]:
            return _otherwise(run.in_(env), run.in_(other_env), when or _always)

        return Run(run.env, make)

    return operator


def _wherever_it_runs(operator: _Operator[_T], source: Observable[_T]) -> Observable[_T]:
    return source.through(operator) if isinstance(source, Run) else operator(source)


def _constant(seconds: float) -> Callable[[int], float]:
    return lambda _failures: seconds


def _always(_error: Exception) -> bool:
    return True


def _is_worker_death(error: Exception) -> bool:
    return isinstance(error, WorkerDiedError)


def _otherwise(first: Observable[_T], second: Observable[_T], when: Callable[[Exception], bool]) -> Observable[_T]:
    def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        second_run = SerialDisposable()

        def failed(error: Exception) -> None:
            try:
                wanted = when(error)
            except Exception as own:  # noqa: BLE001 - the user's function; the observer is told
                observer.on_error(own)
                return
            if wanted:
                second_run.disposable = second.subscribe(observer, scheduler=scheduler)
            else:
                observer.on_error(error)

        first_run = first.subscribe(observer.on_next, failed, observer.on_completed, scheduler=scheduler)
        return CompositeDisposable(first_run, second_run)

    return Observable(subscribe)


class _Again(Generic[_T]):
    """Subscribes anew after a failure; in turns, so that a source that fails at once does not pile up calls."""

    def __init__(
        self,
        source: Observable[_T],
        observer: abc.ObserverBase[_T],
        left: int,
        pause: Callable[[int], float],
        when: Callable[[ExecutionException], bool],
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        self._source = source
        self._observer = observer
        self._left = left
        self._pause = pause
        self._when = when
        self._timer = Timer(scheduler)
        self._failures = 0
        self._turns = InlineTurns()
        self._running = Running()

    def open(self, scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        self._given = scheduler
        self._turns.take(self._begin)
        return CompositeDisposable(Disposable(self._running.dispose), Disposable(self._timer.close))

    def _begin(self) -> None:
        number = self._failures
        subscription = self._source.subscribe(
            self._observer.on_next,
            lambda error: self._turns.take(lambda: self._failed(number, error)),
            lambda: self._end(None),
            scheduler=self._given,
        )
        self._running.add(number, subscription)

    def _failed(self, number: int, error: Exception) -> None:
        self._running.discard(number)
        try:
            pause = self._next_pause(error)
        except Exception as own:  # noqa: BLE001 - the user's functions; the observer is told
            self._end(own)
            return
        if pause is None:
            self._end(error)
        elif pause > 0:
            forget = self._timer.after(pause, lambda: self._turns.take(self._begin))
            self._running.add(self, Disposable(forget))
        else:
            self._begin()

    def _next_pause(self, error: Exception) -> float | None:
        if not (self._left and isinstance(error, ExecutionException) and self._when(error)):
            return None
        self._left -= 1
        self._failures += 1
        pause = self._pause(self._failures)
        check_not_negative("backoff", pause)
        return pause

    def _end(self, error: Exception | None) -> None:
        self._timer.close()
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)


class _Hedged(Generic[_T]):
    """Two runs, of which the first to send a value, or to complete, counts."""

    def __init__(
        self,
        source: Observable[_T],
        observer: abc.ObserverBase[_T],
        after: float,
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        self._source = source
        self._observer = observer
        self._after = after
        self._timer = Timer(scheduler)
        self._turns = InlineTurns()
        self._running = Running()
        self._begun = 0
        self._counts: int | None = None

    def open(self, scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        self._given = scheduler
        forget = self._timer.after(self._after, lambda: self._turns.take(self._begin_second))
        self._turns.take(self._begin)
        return CompositeDisposable(Disposable(forget), Disposable(self._running.dispose), Disposable(self._timer.close))

    def _begin_second(self) -> None:
        if self._counts is None and self._running:
            self._begin()

    def _begin(self) -> None:
        number = self._begun
        self._begun += 1
        subscription = self._source.subscribe(
            lambda value: self._turns.take(lambda: self._got(number, value)),
            lambda error: self._turns.take(lambda: self._ended(number, error)),
            lambda: self._turns.take(lambda: self._ended(number, None)),
            scheduler=self._given,
        )
        self._running.add(number, subscription)

    def _is_first(self, number: int) -> bool:
        if self._counts is None:
            self._counts = number
            other = 1 - number
            self._running.stop(other)
        return self._counts == number

    def _got(self, number: int, value: _T) -> None:
        if self._is_first(number):
            call_out("hedge", self._observer.on_next, value)

    def _ended(self, number: int, error: Exception | None) -> None:
        if not self._running.discard(number):
            return
        if error is not None and self._counts is None and self._running:
            return  # the other one may still have a result
        if self._is_first(number):
            self._timer.close()
            if error is None:
                call_out("hedge", self._observer.on_completed)
            else:
                call_out("hedge", self._observer.on_error, error)
