"""Less, one at a time, bounded, in time: what happens between a fast source and a slow consumer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar, overload

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from wetlands_rx._operators.checks import check_callable, check_choice, check_count, check_positive
from wetlands_rx._operators.clock import Timer
from wetlands_rx._operators.paced import Consumer, Flow, Paced, open_source
from wetlands_rx._operators.turns import InlineTurns, Overflow, Store, call_out

_T = TypeVar("_T")


@overload
def conflate(
    period: float, *, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[_T]], Observable[_T]]: ...
@overload
def conflate(
    period: float, key: Callable[[_T], Hashable], *, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[_T]], Observable[_T]]: ...
def conflate(
    period: float, key: Callable[[_T], Hashable] | None = None, *, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[_T]], Observable[_T]]:
    """At most one value each `period` seconds, always the newest; the last one is never lost.

        source:         -abcde-------f-g|
        conflate(3):    -a--d--e-----f-(g|)

    The first value goes on at once, and so does one that comes after a quiet period. What waits when the source ends
    goes on before the end does, at once. Nothing runs while nothing waits.

    Args:
        period: In seconds.
        key: Gives the values that may replace each other the same key; the newest one of each key goes on. For the
            events of many tasks: `key=lambda event: event.task`, so that no task's end is replaced.
        scheduler: Whose seconds they are: a `TestScheduler`, a widget toolkit's. None: the library's clock.
    Returns:
        An operator.

    Which thread: the source's or the scheduler's (without one, a delivery thread), one at a time. What the observer
    raises is logged, and it goes on.
    Errors: the source's, after what waits; what `key` raises.
    Raises:
        TypeError: `period` is no number, or `key` no function.
        ValueError: `period` is not positive and finite.
    """
    check_positive("period", period)
    if key is not None:
        check_callable("key", key)
    key_of: Callable[[_T], Hashable] = key if key is not None else _no_key

    def operator(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], given: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            conflated = _Conflated(observer, period, key_of, Timer(scheduler or given))
            return conflated.open(source, given)

        return Observable(subscribe)

    return operator


def serialize() -> Callable[[Observable[_T]], Observable[_T]]:
    """Make a stream that several threads feed keep the Rx contract: one call at a time, nothing after the end.

        thread 1:       -a---c|
        thread 2:       -b-----d
        serialize():    -ab--c|      b is delivered by the thread that delivers a

    Which thread: that of the producer who comes first; the others hand over and go on. No lock is held while the
    observer is called, and what it emits itself comes after what waits. What it raises is logged, and it goes on.
    Errors: the source's.
    """

    def operator(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            turns = InlineTurns()

            def hand_in(call: Callable[..., None], *arguments: Any) -> None:
                turns.take(partial(call_out, "serialize", call, *arguments))

            return source.subscribe(
                partial(hand_in, observer.on_next),
                partial(hand_in, observer.on_error),
                partial(hand_in, observer.on_completed),
                scheduler=scheduler,
            )

        return Observable(subscribe)

    return operator


def buffer_bounded(n: int, overflow: Overflow = "block") -> Callable[[Observable[_T]], Observable[_T]]:
    """Let at most `n` values wait for a consumer that is not ready.

        source:                              -abcdef---|
        consumer is ready:                   -+-----+-+-+
        buffer_bounded(2, "drop_oldest"):    -a-----e-f|

    A consumer is not ready while another thread is inside it, and while the operator directly after this one has no
    room: `map_in`, `merge_map` and `concat_map_eager` with a full window, `deliver_on` with a busy thread.

    Args:
        n: How many values may wait.
        overflow: What becomes of one more: `"block"` makes the producer's thread wait for room, `"drop_oldest"`
            leaves the oldest out, `"latest"` leaves all that wait out, `"error"` ends the stream with `BufferError`
            after what waits. With `"block"` the producer's thread must not be the one that makes room; the thread that
            is inside the consumer does not wait for itself.
    Returns:
        An operator.

    Which thread: the producer's, or the one in which the next operator asks for more; one at a time, with no lock
    held. What the observer raises is logged, and it goes on.
    Errors: the source's, after what waits; `BufferError`.
    Raises:
        TypeError: `n` is no whole number.
        ValueError: `n` is not at least 1, or there is no such `overflow`.
    """
    check_count("n", n)
    check_choice("overflow", overflow, "block", "drop_oldest", "latest", "error")

    def operator(source: Observable[_T]) -> Observable[_T]:
        def begin(consumer: Consumer[_T], scheduler: abc.SchedulerBase | None) -> Flow:
            return _Buffered(consumer, n, overflow).open(source, scheduler)

        return Paced(begin)

    return operator


def timeout_total(
    seconds: float, *, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[_T]], Observable[_T]]:
    """End with `TimeoutError` when the source has not ended so many seconds after it was subscribed to.

        source:              -a-b-----c-|
        timeout_total(6):    -a-b--#            #: TimeoutError; the source is disposed of

    RxPY's own `timeout` starts anew with each value. Disposing of a source that runs tasks cancels them (`map_in`,
    `run_in`); a `Task` itself goes on.

    Args:
        seconds: For all of it.
        scheduler: Whose seconds they are; None: the library's clock.
    Returns:
        An operator.

    Which thread: the source's; the error, the scheduler's (without one, a delivery thread). One at a time. What the
    observer raises is logged, and it goes on.
    Errors: the source's; `TimeoutError`.
    Raises:
        TypeError: `seconds` is no number.
        ValueError: `seconds` is not positive and finite.
    """
    check_positive("seconds", seconds)

    def operator(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], given: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            return _InTime(observer, seconds, Timer(scheduler or given)).open(source, given)

        return Observable(subscribe)

    return operator


def _no_key(_value: object) -> None:
    return None


class _Timed(Generic[_T]):
    """An operator with a clock: what the source and the clock say is done in turns."""

    def __init__(self, who: str, observer: abc.ObserverBase[_T], timer: Timer) -> None:
        self._who = who
        self._observer = observer
        self._timer = timer
        self._turns = InlineTurns()
        self._subscription: abc.DisposableBase | None = None
        self._ended = False

    def open(self, source: Observable[_T], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        self._begin()
        self._subscription = source.subscribe(
            lambda value: self._take(self._got, value),
            lambda error: self._take(self._end, error),
            lambda: self._take(self._end, None),
            scheduler=scheduler,
        )
        if self._ended:
            self._subscription.dispose()
        return Disposable(self._dispose)

    def _begin(self) -> None:
        """What is due before the source is subscribed to."""

    def _got(self, value: _T) -> None:
        call_out(self._who, self._observer.on_next, value)

    def _before_end(self) -> None:
        """What is due before the end is told."""

    def _take(self, action: Callable[..., None], *arguments: Any) -> None:
        self._turns.take(lambda: None if self._ended else action(*arguments))

    def _end(self, error: Exception | None) -> None:
        self._before_end()
        self._dispose()
        if error is None:
            call_out(self._who, self._observer.on_completed)
        else:
            call_out(self._who, self._observer.on_error, error)

    def _dispose(self) -> None:
        self._ended = True
        if self._subscription is not None:
            self._subscription.dispose()
        self._timer.close()


class _Conflated(_Timed[_T]):
    def __init__(
        self, observer: abc.ObserverBase[_T], period: float, key: Callable[[_T], Hashable], timer: Timer
    ) -> None:
        super().__init__("conflate", observer, timer)
        self._period = period
        self._key = key
        self._waiting: dict[Hashable, _T] = {}
        self._resting = True  # a period has gone by without a value

    def _got(self, value: _T) -> None:
        try:
            key = self._key(value)
            self._waiting[key] = value
        except Exception as error:  # noqa: BLE001 - the user's function, and its result's hash; the observer is told
            self._end(error)
            return
        if self._resting:
            self._tick()

    def _tick(self) -> None:
        self._resting = not self._waiting
        if not self._resting:
            self._before_end()
            if not self._ended:
                self._timer.after(self._period, partial(self._take, self._tick))

    def _before_end(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for value in waiting.values():
            if not self._ended:
                call_out(self._who, self._observer.on_next, value)


class _InTime(_Timed[_T]):
    def __init__(self, observer: abc.ObserverBase[_T], seconds: float, timer: Timer) -> None:
        super().__init__("timeout_total", observer, timer)
        self._seconds = seconds
        self._forget: Callable[[], None] | None = None

    def _begin(self) -> None:
        error = TimeoutError(f"not completed within {self._seconds:g} s")
        self._forget = self._timer.after(self._seconds, partial(self._take, self._end, error))

    def _dispose(self) -> None:
        if self._forget is not None:
            self._forget()
        super()._dispose()


class _Buffered(Generic[_T]):
    """Between a source and a consumer: keeps what the consumer has not asked for."""

    def __init__(self, consumer: Consumer[_T], size: int, overflow: Overflow) -> None:
        self._consumer = consumer
        self._size = size
        self._store: Store[_T] = Store(size, overflow)
        self._turns = InlineTurns()
        self._source: Flow | None = None
        self._wanted = 0
        self._started = False
        self._source_ended = False
        self._error: Exception | None = None
        self._closed = False

    def open(self, source: Observable[_T], scheduler: abc.SchedulerBase | None) -> Flow:
        self._source = open_source(source, self, scheduler)
        if self._closed:
            self._source.dispose()
        return self

    # --- the consumer's side (Flow); any thread

    def request(self, count: int, /) -> None:
        self._turns.take(partial(self._add_wanted, count))

    def dispose(self) -> None:
        self._closed = True
        self._store.close()
        if self._source is not None:
            self._source.dispose()

    # --- the source's side (Consumer); any thread

    def on_next(self, value: _T, /) -> None:
        if self._closed or self._source_ended:
            return
        if self._store.put(value):
            self._turns.take(self._hand_on)
        else:
            if self._source is not None:
                self._source.dispose()
            self.on_error(BufferError(f"{self._size} values wait already"))

    def on_error(self, error: Exception, /) -> None:
        self._turns.take(partial(self._no_more, error))

    def on_completed(self) -> None:
        self._turns.take(partial(self._no_more, None))

    # --- turns

    def _add_wanted(self, count: int) -> None:
        self._wanted += count
        if not self._started and self._source is not None:
            self._started = True
            self._source.request(self._size)
        self._hand_on()

    def _no_more(self, error: Exception | None) -> None:
        if not self._source_ended:
            self._source_ended, self._error = True, error
            self._hand_on()

    def _hand_on(self) -> None:
        self._store.enter()
        try:
            while self._wanted > 0 and not self._closed:
                values = self._store.take()
                if not values:
                    break
                self._wanted -= 1
                call_out("buffer_bounded", self._consumer.on_next, values[0])
                if self._started and self._source is not None:
                    self._source.request(1)
        finally:
            self._store.leave()
        if self._source_ended and not self._closed and not self._store:
            self._finish()

    def _finish(self) -> None:
        self.dispose()
        if self._error is None:
            call_out("buffer_bounded", self._consumer.on_completed)
        else:
            call_out("buffer_bounded", self._consumer.on_error, self._error)
