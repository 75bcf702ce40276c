"""Subjects that user code cannot break."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from reactivex.subject import ReplaySubject

from wetlands_rx._streams.mailbox import Step
from wetlands_rx._streams.subject import Last, Listener, SerialSubject, TerminalSubject


class Log(list[str]):
    def next(self, name: str) -> Callable[[Any], None]:
        return lambda event: self.append(f"{name} {event}")

    def listener(self, name: str, since: int = 0) -> Listener[Any]:
        return Listener(self.next(name), lambda error: self.append(f"{name} end {error}"), "it", since)


@pytest.fixture
def log() -> Log:
    return Log()


def make(calls: list[Step]) -> None:
    for party, what in calls:
        assert party is not None
        party.hear(what)


# --- Listener


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_a_listener_raises_is_logged_with_its_name(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_event: object) -> None:
        raise error

    Listener(broken, broken, "the source").hear(Last("event"))
    assert [record.getMessage() for record in caplog.records] == [
        f"a listener of the source raised: {__name__}.{broken.__qualname__}",
        f"a listener of the source raised at its end: {__name__}.{broken.__qualname__}",
    ]
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


def test_a_listener_hears_nothing_after_its_end(log: Log) -> None:
    listener = log.listener("a")
    listener.hear(Last(1))
    listener.hear(Last(2))
    assert log == ["a 1", "a end None"]


# --- SerialSubject


def test_events_reach_all_in_the_order_of_subscription(log: Log) -> None:
    subject = SerialSubject[int]()
    subject.subscribe(log.next("a"))
    subject.subscribe(log.next("b"))
    subject.emit(1)
    subject.emit(2)
    assert log == ["a 1", "b 1", "a 2", "b 2"]


def test_what_an_observer_emits_comes_after_all_have_heard_the_present_event(log: Log) -> None:
    subject = SerialSubject[int]()

    def again(event: int) -> None:
        log.append(f"a {event}")
        if event < 3:
            subject.emit(event + 1)

    subject.subscribe(again)
    subject.subscribe(log.next("b"))
    subject.emit(1)
    assert log == ["a 1", "b 1", "a 2", "b 2", "a 3", "b 3"]


def test_an_observer_that_raises_harms_neither_the_producer_nor_its_neighbours(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    subject = SerialSubject[int]("the source")

    def broken(_event: int) -> None:
        raise ValueError("no")

    subject.subscribe(broken)
    subject.subscribe(log.next("b"), on_completed=lambda: log.append("b end"))
    subject.emit(1)
    subject.emit(2)
    subject.end()
    assert log == ["b 1", "b 2", "b end"]
    assert "a listener of the source raised" in caplog.text


def test_an_observer_that_subscribes_another_adds_it_from_the_next_event_on(log: Log) -> None:
    subject = SerialSubject[int]()
    subscribed: list[object] = []

    def on_event(event: int) -> None:
        if not subscribed:
            subscribed.append(subject.subscribe(log.next("late")))
        log.append(f"a {event}")

    subject.subscribe(on_event)
    subject.emit(1)
    subject.emit(2)
    assert log == ["a 1", "a 2", "late 2"]


def test_an_observer_that_was_disposed_of_hears_nothing_more_even_of_a_queued_event(log: Log) -> None:
    subject = SerialSubject[int]()

    def on_event(event: int) -> None:
        log.append(f"a {event}")
        if event == 1:
            subject.emit(2)
            second.dispose()

    subject.subscribe(on_event)
    second = subject.subscribe(log.next("b"))
    subject.emit(1)
    assert log == ["a 1", "a 2"]
    assert subject.observed


def test_it_is_not_observed_after_the_last_observer_went() -> None:
    subject = SerialSubject[int]()
    assert not subject.observed
    subscription = subject.subscribe(lambda _event: None)
    assert subject.observed
    subscription.dispose()
    assert not subject.observed


@pytest.mark.parametrize("error", [None, ValueError("broken")])
def test_the_first_end_counts_and_later_subscribers_get_it(log: Log, error: Exception | None) -> None:
    subject = SerialSubject[int]()

    def subscribe(name: str) -> None:
        subject.subscribe(
            log.next(name),
            on_error=lambda raised: log.append(f"{name} error {raised}"),
            on_completed=lambda: log.append(f"{name} completed"),
        )

    subscribe("a")
    subject.end(error)
    subject.end(KeyError("too late"))
    subject.emit(1)
    subscribe("b")
    how = "completed" if error is None else "error broken"
    assert log == [f"a {how}", f"b {how}"]


def test_an_end_inside_an_event_comes_after_that_event_for_all(log: Log) -> None:
    subject = SerialSubject[int]()
    subject.subscribe(lambda _event: subject.end())
    subject.subscribe(log.next("b"), on_completed=lambda: log.append("b end"))
    subject.emit(1)
    assert log == ["b 1", "b end"]


def test_an_observer_is_never_entered_by_two_threads_and_nothing_is_lost() -> None:
    subject = SerialSubject[tuple[int, int]]()
    entered = threading.Lock()
    seen: list[tuple[int, int]] = []
    other: list[tuple[int, int]] = []

    def on_event(event: tuple[int, int]) -> None:
        assert entered.acquire(blocking=False), "two threads at once"
        seen.append(event)
        entered.release()

    subject.subscribe(on_event)
    subject.subscribe(other.append)
    start = threading.Barrier(4)

    def produce(producer: int) -> None:
        start.wait()
        for number in range(500):
            subject.emit((producer, number))

    threads = [threading.Thread(target=produce, args=(producer,)) for producer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [(producer, number) for producer in range(4) for number in range(500)]
    assert seen == other
    for producer in range(4):
        assert [number for who, number in seen if who == producer] == list(range(500))


# --- TerminalSubject


def test_a_listener_hears_what_was_accepted_after_it_came(log: Log) -> None:
    subject = TerminalSubject[str]("it")
    subject.add(log.listener("early"))
    subject.add(log.listener("late", since=2))
    for number, event in enumerate(("zero", "one", "two")):
        make(subject.emit(event, number))
    assert log == ["early zero", "early one", "early two", "late two"]


def test_the_terminal_event_comes_once_and_completes(log: Log) -> None:
    subject = TerminalSubject[str]("it")
    assert subject.add(log.listener("a"))
    assert subject.add(log.listener("b", since=99))
    make(subject.finish("terminal"))
    assert subject.finish("another") == []
    subject.replay().subscribe(log.next("late"))
    assert log == ["a terminal", "a end None", "b terminal", "b end None", "late terminal"]


def test_whoever_comes_between_finish_and_its_calls_gets_the_replay_and_nothing_twice(log: Log) -> None:
    subject = TerminalSubject[str]("it")
    subject.add(log.listener("a"))
    calls = subject.finish("terminal")
    assert not subject.add(log.listener("b"))
    subject.replay().subscribe(log.next("b"), on_completed=lambda: log.append("b end"))
    make(calls)
    assert log == ["b terminal", "b end", "a terminal", "a end None"]


def test_the_replay_is_one_replay_subject_for_all_late_subscribers(log: Log) -> None:
    subject = TerminalSubject[str]("it", "terminal")
    assert isinstance(subject.replay(), ReplaySubject)
    assert subject.replay() is subject.replay()
    for name in ("a", "b"):
        subject.replay().subscribe(log.next(name), on_completed=lambda name=name: log.append(f"{name} end"))
    assert log == ["a terminal", "a end", "b terminal", "b end"]


def test_the_replay_is_over_when_subscribe_returns_also_inside_another_replay(log: Log) -> None:
    """With RxPY's default scheduler the inner one would wait for the outer one."""
    outer, inner = TerminalSubject[str]("outer", "o"), TerminalSubject[str]("inner", "i")

    def on_outer(event: str) -> None:
        inner.replay().subscribe(log.next("inner"))
        log.append(f"outer {event}")

    outer.replay().subscribe(on_outer)
    assert log == ["inner i", "outer o"]


def test_a_removed_listener_hears_nothing_more_even_when_its_call_was_prepared(log: Log) -> None:
    subject = TerminalSubject[str]("it")
    listener = log.listener("a")
    subject.add(listener)
    calls = subject.emit("event", 0)
    subject.remove(listener)
    make(calls)
    make(subject.finish("terminal"))
    assert log == []
