"""The thread that watches descriptors and keeps the time."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

import pytest

from wetlands_rx._worker.supervisor import Supervisor

SOON = 10.0


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_it_has_no_thread_before_there_is_a_need() -> None:
    before = threading.active_count()
    supervisor = Supervisor()
    assert threading.active_count() == before
    supervisor.close()


def test_functions_are_called_in_the_order_of_their_times(supervisor: Supervisor) -> None:
    called: list[str] = []
    end = threading.Event()
    supervisor.call_later(0.5, end.set)
    supervisor.call_later(0.25, lambda: called.append("second"))
    supervisor.call_later(0.0, lambda: called.append("first"))
    supervisor.call_later(0.25, lambda: called.append("third"))
    assert end.wait(SOON)
    assert called == ["first", "second", "third"]


def test_an_earlier_timer_does_not_wait_for_a_later_one(supervisor: Supervisor) -> None:
    end = threading.Event()
    supervisor.call_later(1000.0, lambda: None)
    supervisor.call_later(0.0, end.set)
    assert end.wait(SOON)


def test_a_function_may_set_the_next_timer(supervisor: Supervisor) -> None:
    end = threading.Event()
    supervisor.call_later(0.0, lambda: supervisor.call_later(0.0, end.set))
    assert end.wait(SOON)


def test_a_function_that_raises_is_logged_and_the_thread_lives(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    end = threading.Event()

    def broken() -> None:
        raise ValueError("no")

    with caplog.at_level(logging.ERROR, "wetlands_rx"):
        supervisor.call_later(0.0, broken)
        supervisor.call_later(0.0, end.set)
        assert end.wait(SOON)
    assert "ValueError: no" in caplog.text


def test_a_descriptor_is_watched_until_it_is_not(supervisor: Supervisor, pipe: tuple[int, int]) -> None:
    read, write = pipe
    heard: list[bytes] = []
    came = threading.Semaphore(0)

    def on_readable() -> None:
        heard.append(os.read(read, 100))
        came.release()

    supervisor.watch(read, on_readable)
    for data in (b"one", b"two"):
        os.write(write, data)
        assert came.acquire(timeout=SOON)
    supervisor.unwatch(read)
    os.write(write, b"three")
    passed = threading.Event()
    supervisor.call_later(0.0, passed.set)
    assert passed.wait(SOON)
    assert heard == [b"one", b"two"]


def test_a_descriptor_may_be_let_go_by_its_own_function(supervisor: Supervisor, pipe: tuple[int, int]) -> None:
    read, write = pipe
    calls: list[int] = []
    passed = threading.Event()

    def on_readable() -> None:
        calls.append(1)
        supervisor.unwatch(read)
        supervisor.call_later(0.0, passed.set)

    supervisor.watch(read, on_readable)
    os.write(write, b"x")
    assert passed.wait(SOON)
    again = threading.Event()
    supervisor.call_later(0.0, again.set)
    assert again.wait(SOON)
    assert calls == [1]


def test_a_number_that_was_let_go_may_be_watched_again(supervisor: Supervisor, pipe: tuple[int, int]) -> None:
    read, write = pipe
    supervisor.watch(read, lambda: None)
    supervisor.unwatch(read)
    heard = threading.Event()
    supervisor.watch(read, lambda: (os.read(read, 10), heard.set())[1])
    os.write(write, b"x")
    assert heard.wait(SOON)


def test_letting_go_of_a_stranger_is_harmless(supervisor: Supervisor, pipe: tuple[int, int]) -> None:
    supervisor.unwatch(pipe[0])


@pytest.mark.parametrize("wrong", ["closed", "twice", "a file"])
def test_a_descriptor_that_cannot_be_watched_does_not_end_the_thread(
    supervisor: Supervisor, pipe: tuple[int, int], wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    end = threading.Event()
    file = os.open(__file__, os.O_RDONLY)
    try:
        if wrong == "twice":
            supervisor.watch(pipe[0], lambda: None)
        descriptor = {"closed": 10**6, "twice": pipe[0], "a file": file}[wrong]
        with caplog.at_level(logging.ERROR, "wetlands_rx"):
            supervisor.watch(descriptor, lambda: None)
            supervisor.call_later(0.0, end.set)
            assert end.wait(SOON)
            supervisor.close()  # what was asked for before has been tried
    finally:
        os.close(file)
    assert "the supervisor failed" in caplog.text


def test_a_closed_supervisor_forgets_and_accepts_nothing(pipe: tuple[int, int]) -> None:
    supervisor = Supervisor()
    called: list[int] = []
    supervisor.call_later(1000.0, lambda: called.append(1))
    supervisor.close()
    supervisor.close()
    supervisor.call_later(0.0, lambda: called.append(2))
    supervisor.watch(pipe[0], lambda: called.append(3))
    supervisor.unwatch(pipe[0])
    assert called == []


def test_it_may_be_closed_by_its_own_thread() -> None:
    supervisor = Supervisor()
    closed = threading.Event()
    supervisor.call_later(0.0, lambda: (supervisor.close(), closed.set())[1])
    assert closed.wait(SOON)


def test_a_finalizer_may_hand_a_function_over_while_the_lock_is_held(supervisor: Supervisor) -> None:
    """The garbage collector runs finalizers anywhere, also inside a function of the supervisor itself."""
    started, called = threading.Event(), threading.Event()
    supervisor.call_later(0.0, started.set)
    assert started.wait(SOON)
    with supervisor._lock:  # pyright: ignore[reportPrivateUsage]
        supervisor.call_soon(called.set)
    assert called.wait(SOON)


def test_what_is_handed_over_before_the_thread_starts_is_called_when_it_does(supervisor: Supervisor) -> None:
    called: list[int] = []
    end = threading.Event()
    supervisor.call_soon(lambda: called.append(1))
    assert called == []
    supervisor.call_later(0.0, lambda: supervisor.call_soon(end.set))
    assert end.wait(SOON)
    assert called == [1]


def test_handing_over_to_a_closed_supervisor_is_harmless() -> None:
    supervisor = Supervisor()
    supervisor.close()
    supervisor.call_soon(lambda: None)


def test_a_log_handler_that_raises_does_not_end_the_thread(supervisor: Supervisor) -> None:
    class Raising(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise SystemExit("the handler")

    logger, handler = logging.getLogger("wetlands_rx"), Raising()
    logger.addHandler(handler)
    end = threading.Event()
    supervisor.watch(10**6, lambda: None)
    supervisor.call_later(0.0, end.set)
    assert end.wait(SOON)
    logger.removeHandler(handler)
