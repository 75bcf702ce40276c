"""deliver_on(qt()), with PyQt6 and without a screen."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PyQt6 import sip
from PyQt6.QtCore import QCoreApplication, QTimer
from reactivex.subject import Subject

from tests.unit.operators.by_hand import SOON, Log
from wetlands_rx.operators import deliver_on, from_items, qt


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[QCoreApplication]:
    monkeypatch.setenv("QT_NO_GLIB", "1")  # GLib keeps a descriptor for the life of the process
    application = QCoreApplication([])
    yield application
    if not sip.isdeleted(application):
        sip.delete(application)
    gc.collect()


class Told(Log):
    """Leaves the event loop at the end of the stream."""

    def __init__(self, quits: bool = True) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self._quits = quits

    def on_next(self, value: Any) -> None:
        self.threads.add(threading.get_ident())
        super().on_next(value)

    def on_completed(self) -> None:
        super().on_completed()
        if self._quits:
            QCoreApplication.quit()


def run(application: QCoreApplication) -> None:
    end: Any = QTimer()
    end.timeout.connect(application.quit)
    end.start(int(1000 * SOON))
    application.exec()


def feed(source: Subject[int], count: int) -> threading.Thread:
    def send() -> None:
        for value in range(count):
            source.on_next(value)
        source.on_completed()

    feeder = threading.Thread(target=send)
    feeder.start()
    return feeder


def test_all_comes_in_order_on_the_applications_thread(application: QCoreApplication) -> None:
    told, source = Told(), Subject[int]()
    source.pipe(deliver_on(qt())).subscribe(told)
    feeder = feed(source, 20_000)
    run(application)
    feeder.join(SOON)
    assert told == [*map(str, range(20_000)), "|"]
    assert told.threads == {threading.get_ident()}


def test_one_may_subscribe_in_any_thread(application: QCoreApplication) -> None:
    told = Told()
    other = threading.Thread(target=lambda: from_items("ab").pipe(deliver_on(qt())).subscribe(told))
    other.start()
    run(application)
    other.join(SOON)
    assert told == ["a", "b", "|"]
    assert told.threads == {threading.get_ident()}


def test_a_flood_leaves_the_application_its_timers(application: QCoreApplication) -> None:
    """20 ms of work in each of 50 values: in one turn they would keep a click waiting for a second."""
    gaps: list[float] = []
    since = time.monotonic()

    def tick() -> None:
        nonlocal since
        now = time.monotonic()
        gaps.append(now - since)
        since = now

    timer: Any = QTimer()
    timer.timeout.connect(tick)
    timer.start(1)
    source: Subject[int] = Subject()
    told = Told()

    def busy(value: int) -> None:
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass
        told.on_next(value)

    source.pipe(deliver_on(qt())).subscribe(busy, on_completed=told.on_completed)
    feed(source, 50).join(SOON)
    run(application)
    timer.stop()
    assert len(told) == 51
    assert len(gaps) >= 10


def test_two_streams_take_turns(application: QCoreApplication) -> None:
    order: list[str] = []
    first, second = Subject[int](), Subject[int]()

    def slowly(name: str) -> Any:
        def on_value(_value: int) -> None:
            until = time.monotonic() + 0.005
            while time.monotonic() < until:
                pass
            order.append(name)

        return on_value

    first.pipe(deliver_on(qt())).subscribe(slowly("first"))
    second.pipe(deliver_on(qt())).subscribe(slowly("second"), on_completed=application.quit)
    for value in range(20):
        first.on_next(value)
    second.on_next(0)
    second.on_completed()
    run(application)
    assert order.index("second") < 19


def test_an_observer_that_raises_does_not_end_the_application(
    application: QCoreApplication, caplog: pytest.LogCaptureFixture
) -> None:
    told, source = Told(), Subject[int]()

    def picky(value: int) -> None:
        told.on_next(1 // value)

    source.pipe(deliver_on(qt())).subscribe(picky, told.on_error, told.on_completed)
    source.on_next(0)
    source.on_next(1)
    source.on_completed()
    run(application)
    assert told == ["1", "|"]
    assert len(caplog.records) == 1


def test_nothing_comes_after_disposal(application: QCoreApplication) -> None:
    told, source = Told(quits=False), Subject[int]()
    subscription = source.pipe(deliver_on(qt())).subscribe(told)
    source.on_next(1)
    subscription.dispose()
    application.processEvents()
    assert told == []
    assert not source.observers


def test_an_application_that_is_gone_is_left_quietly_and_a_new_one_is_served(application: QCoreApplication) -> None:
    told, source = Told(), Subject[int]()
    source.pipe(deliver_on(qt())).subscribe(told)
    sip.delete(application)
    source.on_next(1)
    assert not source.observers
    another = QCoreApplication([])
    try:
        from_items("a").pipe(deliver_on(qt())).subscribe(told)
        run(another)
    finally:
        sip.delete(another)
    assert told == ["a", "|"]


def test_without_an_application_there_is_an_error() -> None:
    assert Log(from_items("a").pipe(deliver_on(qt()))) == ["# RuntimeError"]
