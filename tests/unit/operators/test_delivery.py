"""deliver_on: each place calls the observer in its own thread, in order."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from reactivex.subject import Subject

from tests.unit.operators.by_hand import FILE, SOON, ByHand, Log
from wetlands_rx.operators import asyncio_loop, deliver_on, from_items, map_in, thread, tk

COUNT = 2000


class Recorder(Log):
    """Also remembers in which threads it was told, and when the end came."""

    def __init__(self, at_end: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.threads: set[str] = set()
        self._at_end = at_end

    def on_next(self, value: Any) -> None:
        self.threads.add(threading.current_thread().name)
        super().on_next(value)

    def on_error(self, error: Exception) -> None:
        super().on_error(error)
        self._end()

    def on_completed(self) -> None:
        super().on_completed()
        self._end()

    def _end(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.ended.set()
        if self._at_end is not None:
            self._at_end()


def feed(source: Subject[int], count: int = COUNT) -> threading.Thread:
    """Send numbers, then the end, from another thread."""

    def run() -> None:
        for value in range(count):
            source.on_next(value)
        source.on_completed()

    feeder = threading.Thread(target=run)
    feeder.start()
    return feeder


ALL = [*map(str, range(COUNT)), "|"]


# --- thread


def test_a_thread_of_its_own_hears_all_in_order_and_ends() -> None:
    recorder, source = Recorder(), Subject[int]()
    source.pipe(deliver_on(thread("mine"))).subscribe(recorder)
    feed(source).join(SOON)
    assert recorder.ended.wait(SOON)
    assert recorder == ALL
    (name,) = recorder.threads
    assert name.startswith("wetlands-mine-")


def test_disposing_ends_the_thread_and_the_calls() -> None:
    recorder, source = Recorder(), Subject[int]()
    source.pipe(deliver_on(thread())).subscribe(recorder).dispose()
    source.on_next(1)
    assert not source.observers
    assert recorder == []


def test_an_observer_that_raises_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    recorder, source = Recorder(), Subject[int]()

    def picky(value: int) -> None:
        if value == 0:
            raise ValueError(value)
        recorder.on_next(value)

    source.pipe(deliver_on(thread())).subscribe(picky, recorder.on_error, recorder.on_completed)
    feed(source, 2).join(SOON)
    assert recorder.ended.wait(SOON)
    assert recorder == ["1", "|"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


class BrokenHandler(logging.Handler):
    """A log handler of the user's that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(record.getMessage())


@pytest.fixture
def broken_handler() -> Iterator[None]:
    handler = BrokenHandler()
    logging.getLogger("wetlands_rx").addHandler(handler)
    yield
    logging.getLogger("wetlands_rx").removeHandler(handler)


@pytest.mark.usefixtures("broken_handler")
def test_neither_an_observer_that_exits_nor_a_log_that_fails_ends_the_thread() -> None:
    recorder, source = Recorder(), Subject[int]()

    def leave(value: int) -> None:
        recorder.on_next(value)
        sys.exit(1)

    source.pipe(deliver_on(thread())).subscribe(leave, recorder.on_error, recorder.on_completed)
    feed(source, 2).join(SOON)
    assert recorder.ended.wait(SOON)
    assert recorder == ["0", "1", "|"]


def test_a_source_that_cannot_be_opened_leaves_no_thread() -> None:
    env = ByHand()
    env.exit()
    log = Log(from_items("abc").pipe(map_in(env, FILE, "work"), deliver_on(thread("unopened"))))
    assert log == ["# NotLaunchedError"]
    for left in [left for left in threading.enumerate() if left.name.startswith("wetlands-unopened")]:
        left.join(SOON)
        assert not left.is_alive()


def test_values_come_before_the_error() -> None:
    recorder, source = Recorder(), Subject[int]()
    source.pipe(deliver_on(thread())).subscribe(recorder)
    source.on_next(1)
    source.on_error(OSError())
    assert recorder.ended.wait(SOON)
    assert recorder == ["1", "# OSError"]


def test_a_source_with_a_pace_is_taken_a_little_ahead_only() -> None:
    pulled: list[int] = []
    go, recorder = threading.Event(), Recorder()

    def slow(value: int) -> None:
        go.wait(SOON)
        recorder.on_next(value)

    items = (pulled.append(item) or item for item in range(COUNT))
    from_items(items).pipe(deliver_on(thread())).subscribe(slow, recorder.on_error, recorder.on_completed)
    assert len(pulled) == 256
    go.set()
    assert recorder.ended.wait(SOON)
    assert recorder == ALL


# --- asyncio


def test_the_loop_hears_all_in_order_in_its_thread() -> None:
    async def main() -> Recorder:
        done, source = asyncio.Event(), Subject[int]()
        recorder = Recorder(done.set)
        source.pipe(deliver_on(asyncio_loop())).subscribe(recorder)
        feeder = feed(source)
        await asyncio.wait_for(done.wait(), SOON)
        feeder.join(SOON)
        return recorder

    recorder = asyncio.run(main())
    assert recorder == ALL
    assert recorder.threads == {threading.current_thread().name}


def test_a_flood_does_not_keep_the_loop_for_itself() -> None:
    async def main() -> int:
        done, source = asyncio.Event(), Subject[int]()

        def busy(_value: int) -> None:
            sum(range(20_000))

        source.pipe(deliver_on(asyncio_loop())).subscribe(busy, on_completed=done.set)
        feed(source, 300).join(SOON)
        others = 0
        while not done.is_set():
            await asyncio.sleep(0)
            others += 1
        return others

    assert asyncio.run(main()) > 2


@pytest.mark.parametrize("request_to_end", [KeyboardInterrupt, SystemExit])
def test_a_request_to_end_the_program_gets_through_in_the_main_thread_and_the_rest_is_heard(
    request_to_end: type[BaseException],
) -> None:
    loop, source, log = asyncio.new_event_loop(), Subject[int](), Log()

    def first_ends(value: int) -> None:
        log.on_next(value)
        if value == 1:
            raise request_to_end

    def both_end() -> None:
        log.on_completed()
        loop.stop()

    source.pipe(deliver_on(asyncio_loop(loop))).subscribe(first_ends, on_completed=both_end)
    source.on_next(1)
    source.on_next(2)
    source.on_completed()
    with pytest.raises(request_to_end):
        loop.run_forever()
    assert log == ["1"]
    loop.run_forever()
    loop.close()
    assert log == ["1", "2", "|"]


def test_a_loop_that_is_closed_is_left_quietly() -> None:
    loop, source, log = asyncio.new_event_loop(), Subject[int](), Log()
    source.pipe(deliver_on(asyncio_loop(loop))).subscribe(log)
    loop.close()
    source.on_next(1)
    assert not source.observers
    assert log == []


def test_without_a_running_loop_one_must_be_given() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio_loop()


# --- tkinter


class Window:
    """What is used of a tkinter window; the test is its main loop."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []

    def after(self, ms: int, func: Callable[[], object], /) -> str:
        assert ms > 0
        self.due.append(func)
        return "after#0"

    def turn(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


def test_a_window_looks_for_what_has_come_in_its_own_thread() -> None:
    window, recorder, source = Window(), Recorder(), Subject[int]()
    source.pipe(deliver_on(tk(window))).subscribe(recorder)
    feed(source).join(SOON)
    assert recorder == []
    while not recorder.ended.is_set():
        window.turn()
    assert recorder == ALL
    assert recorder.threads == {threading.current_thread().name}


def test_a_window_stops_looking_when_the_stream_has_ended_or_nobody_listens() -> None:
    window, source = Window(), Subject[int]()
    source.pipe(deliver_on(tk(window))).subscribe(Recorder())
    source.pipe(deliver_on(tk(window))).subscribe(Recorder()).dispose()
    source.on_completed()
    window.turn()
    window.turn()
    assert window.due == []


def test_disposing_inside_the_observer_is_the_end() -> None:
    window, source, log = Window(), Subject[int](), Log()

    def once(value: int) -> None:
        log.on_next(value)
        subscription.dispose()

    subscription = source.pipe(deliver_on(tk(window))).subscribe(once)
    source.on_next(1)
    source.on_next(2)
    window.turn()
    window.turn()
    assert log == ["1"]
