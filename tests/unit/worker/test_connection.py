"""The caller's end of a worker's pipe; the worker's end is written by hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import join
from wetlands_rx._wire.messages import Finished, Up, Updated
from wetlands_rx._worker.connection import WorkerConnection
from wetlands_rx.exceptions import ProtocolError, WorkerDiedError
from wetlands_rx.testing import ManualDelivery

SOON = 10.0


class Owner:
    """Takes down what the reader tells."""

    def __init__(self) -> None:
        self.messages: list[Up] = []
        self.ends: list[ProtocolError | None] = []
        self.ended = threading.Event()
        self.heard = threading.Semaphore(0)
        self.threads: set[str] = set()

    def on_messages(self, messages: list[Up]) -> None:
        self.threads.add(threading.current_thread().name)
        self.messages += messages
        for _ in messages:
            self.heard.release()

    def on_end(self, error: ProtocolError | None) -> None:
        self.ends.append(error)
        self.ended.set()

    def wait_for_messages(self, count: int) -> None:
        for _ in range(count):
            assert self.heard.acquire(timeout=SOON)


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def delivery() -> ManualDelivery:
    return ManualDelivery()


@pytest.fixture
def theirs_and_connection(owner: Owner, delivery: ManualDelivery) -> Iterator[tuple[socket.socket, WorkerConnection]]:
    ours, theirs = socket.socketpair()
    connection = WorkerConnection(ours, "test", owner.on_messages, owner.on_end, delivery)
    connection.start()
    yield theirs, connection
    theirs.close()
    connection.thread.join(SOON)
    connection.close(None)


@pytest.fixture
def theirs(theirs_and_connection: tuple[socket.socket, WorkerConnection]) -> socket.socket:
    return theirs_and_connection[0]


@pytest.fixture
def connection(theirs_and_connection: tuple[socket.socket, WorkerConnection]) -> WorkerConnection:
    return theirs_and_connection[1]


def result(task: int, value: Any = None) -> bytes:
    return join(codec.encode_result(task, value))


def test_messages_come_in_order_on_the_reader_thread(owner: Owner, theirs: socket.socket) -> None:
    theirs.sendall(codec.encode_updates(1, [("a", 1, None), ("b", 2, None)]) + result(1, "x" * 1_000_000))
    owner.wait_for_messages(3)
    assert owner.messages == [
        Updated(1, "a", 1, None),
        Updated(1, "b", 2, None),
        Finished(1, "x" * 1_000_000),
    ]
    assert owner.threads == {"wetlands-reader-test"}


def test_the_end_is_told_once_and_last(owner: Owner, theirs: socket.socket) -> None:
    theirs.sendall(result(1))
    theirs.close()
    assert owner.ended.wait(SOON)
    assert (len(owner.messages), owner.ends) == (1, [None])


def test_half_a_message_is_no_message(owner: Owner, theirs: socket.socket) -> None:
    theirs.sendall(result(1) + result(2, "text")[:-1])
    theirs.close()
    assert owner.ended.wait(SOON)
    assert (owner.messages, owner.ends) == ([Finished(1, None)], [None])


@pytest.mark.parametrize(
    "wrong", [b"garbage that is long enough for a header", codec.encode_exit(), codec.encode_frame(codec.ERROR, 0, 1)]
)
def test_what_is_no_message_of_a_worker_ends_the_reading_after_what_came_before(
    owner: Owner, theirs: socket.socket, wrong: bytes
) -> None:
    theirs.sendall(result(1, "counts") + wrong)
    assert owner.ended.wait(SOON)
    assert owner.messages == [Finished(1, "counts")]
    assert isinstance(owner.ends[0], ProtocolError)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_reader_is_told_as_an_end(owner: Owner) -> None:
    def broken(_messages: list[Up]) -> None:
        raise ZeroDivisionError("our bug")

    ours, theirs = socket.socketpair()
    connection = WorkerConnection(ours, "broken", broken, owner.on_end, ManualDelivery())
    connection.start()
    theirs.sendall(result(1))
    assert owner.ended.wait(SOON)
    assert isinstance(owner.ends[0], ProtocolError)
    connection.thread.join(SOON)
    connection.close(None)
    theirs.close()


def test_frames_of_many_senders_stay_whole(connection: WorkerConnection, theirs: socket.socket) -> None:
    parts = [codec.encode_call(number, "/a.py", "f", (bytes([number]) * 100_000,), {}) for number in range(8)]
    received = bytearray()
    expected = sum(len(join(part)) for part in parts)
    threads = [threading.Thread(target=connection.send, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    theirs.settimeout(SOON)
    while len(received) < expected:
        received += theirs.recv(1 << 16)
    for thread in threads:
        thread.join(SOON)
    for part in parts:
        assert join(part) in received


def test_sending_to_a_worker_that_is_gone_is_refused(
    owner: Owner, connection: WorkerConnection, theirs: socket.socket
) -> None:
    theirs.close()
    assert not connection.send([b"x" * 100])
    assert not connection.send([b"x", b"y"])
    assert not connection.send_nowait(b"x")
    assert owner.ended.wait(SOON)
    connection.close(None)
    assert not connection.send([b"x"])
    assert not connection.send_nowait(b"x")


def test_a_small_frame_is_not_sent_to_a_worker_that_does_not_read(connection: WorkerConnection) -> None:
    sent = 0
    while connection.send_nowait(codec.encode_cancel(1)):
        sent += 1
        assert sent < 1_000_000
    assert sent > 0


def test_a_small_frame_does_not_wait_for_a_large_one(connection: WorkerConnection, theirs: socket.socket) -> None:
    sender = threading.Thread(target=connection.send, args=([b"x" * 10_000_000],))
    sender.start()
    theirs.settimeout(SOON)
    theirs.recv(1)  # it has begun
    assert not connection.send_nowait(codec.encode_exit())
    connection.close(None)  # and whoever waits there gets away
    sender.join(SOON)
    assert not sender.is_alive()


def test_the_reading_ends_though_somebody_holds_the_other_end_open(
    owner: Owner, connection: WorkerConnection, theirs: socket.socket
) -> None:
    theirs.sendall(result(1))
    connection.finish()
    assert owner.ended.wait(SOON)
    assert (owner.messages, owner.ends) == ([Finished(1, None)], [None])
    connection.finish()


# --- The stream


def test_the_messages_as_a_stream(
    owner: Owner, connection: WorkerConnection, theirs: socket.socket, delivery: ManualDelivery
) -> None:
    seen: list[object] = []
    connection.messages.subscribe(seen.append, on_completed=lambda: seen.append("completed"))
    theirs.sendall(codec.encode_updates(1, [("a", 1, None)]) + result(1, "value"))
    theirs.close()
    assert owner.ended.wait(SOON)
    connection.close(None)
    assert seen == []  # not by the reader
    delivery.run()
    assert seen == [Updated(1, "a", 1, None), Finished(1, "value"), "completed"]


def test_a_crash_is_an_error_of_the_stream_also_for_late_subscribers(
    owner: Owner, connection: WorkerConnection, theirs: socket.socket, delivery: ManualDelivery
) -> None:
    died = WorkerDiedError("worker", 3)
    errors: list[Exception] = []
    connection.messages.subscribe(on_error=errors.append)
    theirs.close()
    assert owner.ended.wait(SOON)
    connection.close(died)
    connection.messages.subscribe(on_error=errors.append)
    delivery.run()
    assert errors == [died, died]


def test_a_stream_asked_for_after_the_end_has_ended(
    owner: Owner, connection: WorkerConnection, theirs: socket.socket, delivery: ManualDelivery
) -> None:
    theirs.close()
    assert owner.ended.wait(SOON)
    connection.close(None)
    seen: list[str] = []
    connection.messages.subscribe(on_completed=lambda: seen.append("completed"))
    assert seen == ["completed"]


def test_a_subscriber_that_raises_does_not_stop_the_reading(
    owner: Owner,
    connection: WorkerConnection,
    theirs: socket.socket,
    delivery: ManualDelivery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_message: object) -> None:
        raise ValueError("no")

    connection.messages.subscribe(broken)
    theirs.sendall(result(1))
    owner.wait_for_messages(1)
    theirs.sendall(result(2))
    owner.wait_for_messages(1)
    delivery.run()
    assert "the messages of worker test" in caplog.text
