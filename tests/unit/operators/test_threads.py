"""Several threads at once, switched as often as the interpreter can: nothing lost, nothing twice, one at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex.subject import Subject

from tests.unit.operators.by_hand import SOON
from wetlands_rx.operators import (
    buffer_bounded,
    concat_map_eager,
    conflate,
    deliver_on,
    from_items,
    merge_map,
    serialize,
    thread,
)

THREADS = 4
EACH = 150


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Witness:
    """Sees whether two threads are inside at once, and whether anything comes after the end."""

    def __init__(self, source: Observable[Any]) -> None:
        self.values: list[Any] = []
        self.complaints: list[str] = []
        self.ended = threading.Event()
        self._inside = 0
        self.subscription = source.subscribe(self._on_next, self._on_error, self._on_end)

    def _on_next(self, value: Any) -> None:
        self._enter("value")
        self.values.append(value)
        self._inside -= 1

    def _on_error(self, error: Exception) -> None:
        self.complaints.append(f"{error!r}")
        self._on_end()

    def _on_end(self) -> None:
        self._enter("end")
        self.ended.set()
        self._inside -= 1

    def _enter(self, what: str) -> None:
        self._inside += 1
        if self._inside > 1:
            self.complaints.append(f"{what} while another one is told")
        if self.ended.is_set():
            self.complaints.append(f"{what} after the end")


def producers(send: Callable[[int], None]) -> list[threading.Thread]:
    def run(begin: int) -> None:
        for value in range(begin, begin + EACH):
            send(value)

    started = [threading.Thread(target=run, args=(number * EACH,)) for number in range(THREADS)]
    for producer in started:
        producer.start()
    return started


def joined(threads: list[threading.Thread]) -> None:
    for one in threads:
        one.join(SOON)
        assert not one.is_alive()


def each_in_order(values: list[int]) -> bool:
    """What one producer sent has kept its order."""
    return all(
        mine == sorted(mine) for number in range(THREADS) if (mine := [v for v in values if v // EACH == number])
    )


@pytest.mark.parametrize(
    "operator", [serialize(), buffer_bounded(3), deliver_on(thread()), merge_map(reactivex.of, THREADS)]
)
def test_producers_on_several_threads(operator: Callable[[Observable[Any]], Observable[Any]]) -> None:
    source: Subject[int] = Subject()
    witness = Witness(source.pipe(operator))
    joined(producers(source.on_next))
    source.on_completed()
    assert witness.ended.wait(SOON)
    assert witness.complaints == []
    assert sorted(witness.values) == list(range(THREADS * EACH))


@pytest.mark.parametrize("operator", [serialize(), buffer_bounded(3), deliver_on(thread())])
def test_a_producers_own_order_is_kept(operator: Callable[[Observable[Any]], Observable[Any]]) -> None:
    source: Subject[int] = Subject()
    witness = Witness(source.pipe(operator))
    joined(producers(source.on_next))
    source.on_completed()
    assert witness.ended.wait(SOON)
    assert each_in_order(witness.values)


def test_conflating_what_threads_send_keeps_the_contract() -> None:
    source: Subject[int] = Subject()
    witness = Witness(source.pipe(conflate(0.0005)))
    joined(producers(source.on_next))
    source.on_next(-1)
    source.on_completed()
    assert witness.ended.wait(SOON)
    assert witness.complaints == []
    assert witness.values[-1] == -1


@pytest.mark.parametrize("operator", [merge_map, concat_map_eager])
def test_inner_streams_on_threads_of_their_own(operator: Any) -> None:
    """Each inner stream sends two values from a new thread."""
    threads: list[threading.Thread] = []

    def run(item: int) -> Observable[int]:
        inner: Subject[int] = Subject()

        def send() -> None:
            inner.on_next(2 * item)
            inner.on_next(2 * item + 1)
            inner.on_completed()

        def subscribe(observer: Any, _scheduler: Any = None) -> Any:
            subscription = inner.subscribe(observer)
            sender = threading.Thread(target=send)
            threads.append(sender)
            sender.start()
            return subscription

        return reactivex.create(subscribe)

    witness = Witness(from_items(range(EACH)).pipe(operator(run, THREADS, 6)))
    assert witness.ended.wait(SOON)
    joined(threads)
    assert witness.complaints == []
    ordered = witness.values if operator is concat_map_eager else sorted(witness.values)
    assert ordered == list(range(2 * EACH))


def test_disposing_while_others_send() -> None:
    for _ in range(30):
        source: Subject[int] = Subject()
        witness = Witness(source.pipe(buffer_bounded(1), deliver_on(thread())))
        sending = producers(source.on_next)
        witness.subscription.dispose()
        joined(sending)
        assert witness.complaints == []
        assert not source.observers
