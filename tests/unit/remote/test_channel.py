"""The worker's end of the pipe, and the handle of a function: the other end is read by hand."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from enum import IntEnum
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest

from wetlands_rx._remote import channel as channel_module
from wetlands_rx._remote.channel import KEPT_S, MOST_UPDATES, Channel, send_all
from wetlands_rx._remote.handle import CallState, RemoteTaskHandle, task_id
from wetlands_rx._remote.items import ItemsRun
from wetlands_rx._remote.page import SharedPage
from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import FrameDecoder, frames_of, join
from wetlands_rx._wire.items import encode_items, load_item, pack_item, read_records, record_of
from wetlands_rx._wire.messages import (
    CallFunction,
    CallItems,
    Configure,
    Exit,
    Finished,
    ItemsDone,
    Logged,
    OutputSet,
    OutputUnopened,
    Recalled,
    RunScript,
    Up,
    Updated,
)
from wetlands_rx._worker.process import memory_file
from wetlands_rx.exceptions import SerializationError, TaskCanceled

TASK = 7


class Caller:
    """The other end."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._decoder = FrameDecoder()
        self._messages: list[Up] = []

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def call(self, task: int = TASK) -> None:
        self.send(join(codec.encode_call(task, "/a.py", "f", (), {})))

    def hear(self, count: int) -> list[Up]:
        """The next messages; waits for them."""
        self.socket.settimeout(10)
        while len(self._messages) < count:
            received = self.socket.recv_into(self._decoder.writable())
            assert received, "the channel was closed"
            for frame in self._decoder.received(received):
                self._messages += codec.decode_up(frame)
        heard, self._messages = self._messages[:count], self._messages[count:]
        return heard

    def hear_now(self) -> list[Up]:
        """What has come so far."""
        self.socket.setblocking(False)
        try:
            while True:
                received = self.socket.recv_into(self._decoder.writable())
                for frame in self._decoder.received(received):
                    self._messages += codec.decode_up(frame)
        except BlockingIOError:
            heard, self._messages = self._messages, []
            return heard


class Clock:
    """Time stands still; whoever sleeps is woken by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeping, self.wake = threading.Event(), threading.Event()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _seconds: float) -> None:
        self.sleeping.set()
        assert self.wake.wait(10)


@pytest.fixture
def page() -> Iterator[SharedPage]:
    with contextlib.closing(SharedPage(memory_file())) as page:
        yield page


@pytest.fixture
def ends(page: SharedPage) -> Iterator[tuple[Channel, Caller]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours, page), Caller(theirs)


@pytest.fixture
def channel(ends: tuple[Channel, Caller]) -> Channel:
    return ends[0]


@pytest.fixture
def caller(ends: tuple[Channel, Caller]) -> Caller:
    return ends[1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, channel: Channel, caller: Caller) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(channel_module, "time", clock)
    yield clock
    caller.socket.close()
    clock.wake.set()
    flushing = [thread for thread in threading.enumerate() if thread.name == "wetlands-updates"]
    for _ in range(1000):
        if not any(thread.is_alive() for thread in flushing):
            return
        with contextlib.suppress(OSError):  # its thread ends when it finds out that nobody reads
            channel.send_update(0, None, None, None)
        flushing[0].join(0.01)
    pytest.fail("the thread that sends late updates does not end")


# --- Answers


def answered(channel: Channel, task: int) -> None:
    channel.answer(codec.encode_result(task, task))
    channel.end(task)


def results(messages: list[Up]) -> list[int]:
    return [message.value for message in messages if isinstance(message, Finished)]


def test_answers_travel_together_while_calls_wait(channel: Channel, caller: Caller, clock: Clock) -> None:
    for task in (1, 2, 3):
        caller.call(task)
    channel.next_message()
    answered(channel, 1)
    assert results(caller.hear_now()) == [], "another call waits: its answer will go along"
    channel.next_message()
    answered(channel, 2)
    channel.next_message()
    assert results(caller.hear_now()) == [1, 2], "the last one may take long"
    answered(channel, 3)
    assert results(caller.hear_now()) == [3]


def test_an_answer_that_has_waited_a_moment_goes(channel: Channel, caller: Caller, clock: Clock) -> None:
    for task in (1, 2, 3):
        caller.call(task)
    channel.next_message()
    answered(channel, 1)
    channel.next_message()
    clock.now += 2 * KEPT_S
    answered(channel, 2)
    assert results(caller.hear_now()) == [1, 2]
    channel.next_message()
    answered(channel, 3)


def test_what_is_said_after_an_answer_comes_after_it(channel: Channel, caller: Caller, clock: Clock) -> None:
    for task in (1, 2):
        caller.call(task)
    caller.call(3)
    channel.next_message()
    answered(channel, 1)
    channel.next_message()
    channel.send_update(2, "on the way", None, None)
    finished, updated = caller.hear(2)
    assert isinstance(finished, Finished)
    assert isinstance(updated, Updated)
    answered(channel, 2)
    channel.next_message()
    answered(channel, 3)


def test_answers_that_were_not_sent_outlive_the_worker(
    page: SharedPage, channel: Channel, caller: Caller, clock: Clock
) -> None:
    for task in (1, 2, 3, 4):
        caller.call(task)
    for task in (1, 2):
        channel.next_message()
        answered(channel, task)
    channel.next_message()
    left = page.left_behind()
    heard = [message for frame in frames_of(left.frames) for message in codec.decode_up(frame)]
    assert results(heard) == [1, 2]
    assert page.began() == 3
    channel.next_message()
    assert page.left_behind().frames == b""


def items(channel: Channel, caller: Caller, task: int, count: int) -> ItemsRun:
    caller.send(join(encode_items(task, "/a.py", "f", [pack_item(x) for x in range(count)])))
    message = channel.next_message()
    assert isinstance(message, CallItems)
    run = ItemsRun(message.items)
    channel.runs(run)
    return run


def test_outcomes_that_were_not_sent_outlive_the_worker(page: SharedPage, channel: Channel, caller: Caller) -> None:
    run = items(channel, caller, 1, 5)
    run.run(lambda item: record_of(load_item(item)), partial(channel.add_outcome, 1))
    left = page.left_behind()
    assert (left.first, read_records(memoryview(left.records))) == (0, [0, 1, 2, 3, 4])
    channel.flush(outcomes=True)
    assert page.left_behind() == (b"", 5, b"")
    channel.add_outcome(1, record_of(5))
    left = page.left_behind()
    assert (left.first, read_records(memoryview(left.records))) == (5, [5])
    channel.end_outcomes(1)
    channel.end(1)
    assert page.left_behind() == (b"", 0, b"")
    first, last = caller.hear(2)
    assert isinstance(first, ItemsDone)
    assert isinstance(last, ItemsDone)
    assert (first.first, first.outcomes, first.last) == (0, [0, 1, 2, 3, 4], False)
    assert (last.first, last.outcomes, last.last) == (5, [5], True)


def test_the_last_outcomes_are_sent_at_once_though_calls_wait(
    page: SharedPage, channel: Channel, caller: Caller, clock: Clock
) -> None:
    """In the page a frame would be written over the records that it is made of."""
    caller.send(join(encode_items(1, "/a.py", "f", [pack_item(x) for x in range(2)])))
    caller.call(2)
    message = channel.next_message()
    assert isinstance(message, CallItems)
    channel.runs(ItemsRun(message.items))
    channel.add_outcome(1, record_of("a"))
    channel.end_outcomes(1)
    channel.end(1)
    (done,) = caller.hear_now()
    assert isinstance(done, ItemsDone)
    assert (done.outcomes, done.last) == (["a"], True)
    assert page.left_behind() == (b"", 0, b"")
    channel.next_message()
    answered(channel, 2)


def test_large_outcomes_are_sent_on_the_way(page: SharedPage, channel: Channel, caller: Caller) -> None:
    items(channel, caller, 1, 4)
    values = ["a", "b" * 50_000, "c" * 50_000, "d" * 100_000, "e"]
    heard: list[Up] = []
    for value in values:
        channel.add_outcome(1, record_of(value))
        heard += caller.hear_now()
    channel.end_outcomes(1)
    channel.end(1)
    heard += caller.hear_now()
    outcomes: list[Any] = []
    for message in heard:
        assert isinstance(message, ItemsDone)
        assert message.first == len(outcomes)
        outcomes += message.outcomes
    assert outcomes == values
    assert page.left_behind() == (b"", 0, b"")


def test_items_that_have_not_begun_are_given_back(channel: Channel, caller: Caller) -> None:
    run = items(channel, caller, 1, 5)
    caller.call(2)
    begun: list[int] = []

    def outcome_of(item: Any) -> Any:
        begun.append(load_item(item))
        if len(begun) == 2:
            caller.send(codec.encode_recall())
            assert not channel.is_canceled(1)
        return record_of(None)

    run.run(outcome_of, partial(channel.add_outcome, 1))
    assert begun == [0, 1]
    (recalled,) = caller.hear(1)
    assert recalled == Recalled((2,), 1, 3)
    channel.end_outcomes(1)
    channel.end(1)


# --- Receiving


def test_messages_come_in_order(channel: Channel, caller: Caller) -> None:
    caller.send(codec.encode_configure("env", 0, 5))
    caller.call(1)
    caller.send(join(codec.encode_script(2, "/s.py", [], "__main__")), codec.encode_exit())
    kinds = [type(channel.next_message()) for _ in range(4)]
    assert kinds == [Configure, CallFunction, RunScript, Exit]


def test_the_end_of_the_pipe_is_no_message(channel: Channel, caller: Caller) -> None:
    caller.call()
    caller.socket.close()
    assert isinstance(channel.next_message(), CallFunction)
    assert channel.next_message() is None
    assert channel.next_message() is None
    assert not channel.is_canceled(TASK)


def begun(channel: Channel, caller: Caller) -> None:
    caller.call()
    assert isinstance(channel.next_message(), CallFunction)


def test_a_cancel_is_seen_at_the_next_look(channel: Channel, caller: Caller) -> None:
    begun(channel, caller)
    assert not channel.is_canceled(TASK)
    caller.send(codec.encode_cancel(TASK))
    assert channel.is_canceled(TASK)
    assert channel.is_canceled(TASK)


def test_a_cancel_that_came_with_the_call_is_seen(channel: Channel, caller: Caller) -> None:
    caller.send(join(codec.encode_call(TASK, "/a.py", "f", (), {})), codec.encode_cancel(TASK))
    assert isinstance(channel.next_message(), CallFunction)
    assert channel.is_canceled(TASK)


def test_a_cancel_of_another_task_concerns_nobody(channel: Channel, caller: Caller) -> None:
    begun(channel, caller)
    caller.send(codec.encode_cancel(TASK - 1))
    assert not channel.is_canceled(TASK)
    channel.end(TASK)
    caller.call(TASK + 1)
    assert isinstance(channel.next_message(), CallFunction)


def test_a_cancel_that_comes_too_late_is_forgotten(channel: Channel, caller: Caller) -> None:
    begun(channel, caller)
    channel.end(TASK)
    caller.send(codec.encode_cancel(TASK))
    caller.call(TASK + 1)
    message = channel.next_message()
    assert isinstance(message, CallFunction)
    assert message.task == TASK + 1
    assert not channel.is_canceled(TASK + 1)
    assert not channel.is_canceled(TASK)


def test_what_comes_while_a_function_looks_is_kept_for_later(channel: Channel, caller: Caller) -> None:
    begun(channel, caller)
    caller.call(TASK + 1)
    caller.send(codec.encode_cancel(TASK + 1), codec.encode_exit())
    assert not channel.is_canceled(TASK)
    channel.end(TASK)
    message = channel.next_message()
    assert isinstance(message, CallFunction)
    assert channel.is_canceled(TASK + 1)
    channel.end(TASK + 1)
    assert channel.next_message() == Exit()


def test_a_look_from_many_threads_finds_the_cancel(channel: Channel, caller: Caller) -> None:
    begun(channel, caller)
    found: list[bool] = []

    def look() -> None:
        while not channel.is_canceled(TASK):
            pass
        found.append(True)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    caller.send(codec.encode_cancel(TASK))
    for thread in threads:
        thread.join(10)
    assert found == [True] * 4


# --- Sending


def test_the_first_update_goes_at_once_and_those_that_follow_share_a_frame(
    channel: Channel, caller: Caller, clock: Clock
) -> None:
    channel.send_update(TASK, "first", 1, 3)
    assert caller.hear_now() == [Updated(TASK, "first", 1, 3)]
    channel.send_update(TASK, "second", 2, None)
    channel.send_update(TASK, "third", 3, None)
    assert caller.hear_now() == []
    channel.send(codec.encode_result(TASK, None))
    assert caller.hear_now() == [
        Updated(TASK, "second", 2, None),
        Updated(TASK, "third", 3, None),
        Finished(TASK, None),
    ]


def test_an_update_after_a_while_goes_at_once(channel: Channel, caller: Caller, clock: Clock) -> None:
    for number in range(3):
        clock.now += 1.0
        channel.send_update(TASK, None, number, None)
        assert caller.hear_now() == [Updated(TASK, None, number, None)]


def test_the_last_update_of_a_burst_is_sent_without_being_pushed(
    channel: Channel, caller: Caller, clock: Clock
) -> None:
    channel.send_update(TASK, None, 1, None)
    channel.send_update(TASK, None, 2, None)
    assert clock.sleeping.wait(10)
    clock.wake.set()
    assert caller.hear(2) == [Updated(TASK, None, 1, None), Updated(TASK, None, 2, None)]


def test_a_full_batch_is_sent_whatever_the_time(channel: Channel, caller: Caller, clock: Clock) -> None:
    for number in range(MOST_UPDATES + 1):
        channel.send_update(TASK, None, number, None)
    assert len(caller.hear_now()) == MOST_UPDATES + 1


def test_updates_of_two_tasks_do_not_mix(channel: Channel, caller: Caller, clock: Clock) -> None:
    channel.send_update(1, None, 1, None)
    channel.send_update(1, None, 2, None)
    channel.send_update(2, None, 3, None)
    channel.send(codec.encode_result(2, None))
    assert caller.hear_now() == [
        Updated(1, None, 1, None),
        Updated(1, None, 2, None),
        Updated(2, None, 3, None),
        Finished(2, None),
    ]


def test_many_parts_are_sent_whole(caller: Caller) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parts = [bytes([number % 256]) * (number % 1700) for number in range(3000)]
        received = bytearray()

        def receive() -> None:
            while data := theirs.recv(1 << 16):
                received.extend(data)

        reader = threading.Thread(target=receive)
        reader.start()
        send_all(ours, parts)
        ours.close()
        reader.join(10)
        assert received == b"".join(parts)


def test_a_frame_with_a_large_array_is_sent_whole(channel: Channel, caller: Caller) -> None:
    array = np.arange(300_000)
    sender = threading.Thread(target=lambda: channel.send(codec.encode_result(TASK, (array, b"more"))))
    sender.start()
    (message,) = caller.hear(1)
    sender.join(10)
    assert isinstance(message, Finished)
    np.testing.assert_array_equal(message.value[0], array)


# --- The handle


@pytest.fixture
def state() -> CallState:
    return CallState()


@pytest.fixture
def handle(channel: Channel, state: CallState, clock: Clock) -> RemoteTaskHandle:
    return RemoteTaskHandle(channel, TASK, 1 << 64, state)


class Level(IntEnum):
    THREE = 3


@pytest.mark.parametrize(
    ("given", "crosses"),
    [
        (None, None),
        (3, 3),
        (2.5, 2.5),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(2.5), 2.5),
        (np.float64(2.5), 2.5),
        (np.bool_(True), 1.0),
        (np.array(3), 3),
        (Level.THREE, 3),
        (True, 1),
        (Fraction(1, 2), 0.5),
        (10**30, 10**30),
    ],
)
def test_numbers_cross_as_pythons_own(handle: RemoteTaskHandle, caller: Caller, given: Any, crosses: Any) -> None:
    handle.update(current=given, maximum=given)
    (message,) = caller.hear_now()
    assert message == Updated(TASK, None, crosses, crosses)
    assert isinstance(message, Updated)
    assert type(message.current) in (int, float, type(None))


@pytest.mark.parametrize("given", ["3", [], object(), 1j])
def test_what_is_no_number_is_an_error_in_the_function(handle: RemoteTaskHandle, caller: Caller, given: Any) -> None:
    with pytest.raises(TypeError, match="progress must be a number"):
        handle.update("message", current=given)
    assert caller.hear_now() == []


def test_a_message_of_any_kind_becomes_text(handle: RemoteTaskHandle, caller: Caller) -> None:
    class Text(str):
        __slots__ = ()

    handle.update(Text("text"))
    (message,) = caller.hear_now()
    assert isinstance(message, Updated)
    assert type(message.message) is str


def test_outputs_and_records_come_after_the_updates_before_them(handle: RemoteTaskHandle, caller: Caller) -> None:
    handle.update("one")
    handle.update("two")
    handle.set_output("key", 3)
    handle.update("three")
    handle.log("100 %s", logging.ERROR)
    assert caller.hear_now() == [
        Updated(TASK, "one", None, None),
        Updated(TASK, "two", None, None),
        OutputSet(TASK, "key", 3),
        Updated(TASK, "three", None, None),
        Logged(TASK, logging.ERROR, "100 %s"),
    ]


def test_an_output_of_a_users_class_is_left_unopened(handle: RemoteTaskHandle, caller: Caller) -> None:
    handle.set_output("key", {1, 2})
    (message,) = caller.hear_now()
    assert isinstance(message, OutputUnopened)
    assert message.packed.load() == ("key", {1, 2})


def test_an_output_that_cannot_be_pickled_is_an_error_in_the_function(handle: RemoteTaskHandle, caller: Caller) -> None:
    with pytest.raises(SerializationError, match=r"output\['key'\] \(function .*<lambda>\) cannot be sent"):
        handle.set_output("key", lambda: None)
    assert caller.hear_now() == []


def test_after_the_function_has_ended_the_handle_is_mute(
    handle: RemoteTaskHandle, caller: Caller, state: CallState
) -> None:
    state.ended = True
    handle.update("late")
    handle.set_output("key", 3)
    handle.set_output("key", lambda: None)
    handle.log("late")
    assert caller.hear_now() == []


def test_both_sides_derive_the_same_id(handle: RemoteTaskHandle) -> None:
    assert handle.id == task_id(1 << 64, TASK)


def test_leaving_when_canceled(handle: RemoteTaskHandle, channel: Channel, caller: Caller, state: CallState) -> None:
    begun(channel, caller)
    handle.raise_if_canceled()
    assert not state.acknowledged
    caller.send(codec.encode_cancel(TASK))
    assert handle.cancel_requested
    with pytest.raises(TaskCanceled):
        handle.raise_if_canceled()
    assert state.acknowledged


@pytest.mark.parametrize(
    ("iterable", "total", "maximum"),
    [
        (["a", "b"], None, 2),
        (iter(["a", "b"]), None, 2),
        ((letter for letter in "ab"), None, None),
        ((letter for letter in "ab"), 5, 5),
        (["a", "b"], 5, 5),
        ([], None, None),
    ],
)
def test_tracking_reports_each_item(
    handle: RemoteTaskHandle, caller: Caller, clock: Clock, iterable: Any, total: int | None, maximum: int | None
) -> None:
    items: list[str] = []
    for item in handle.track(iterable, total, "doing"):
        clock.now += 1.0
        items.append(item)
    assert items == (["a", "b"] if items else [])
    assert caller.hear_now() == [Updated(TASK, "doing", done, maximum) for done in range(len(items) + 1)]


def test_tracking_leaves_the_function_on_a_cancel(
    handle: RemoteTaskHandle, channel: Channel, caller: Caller, state: CallState
) -> None:
    begun(channel, caller)
    items: list[int] = []

    def function() -> None:
        for item in handle.track(range(10)):
            items.append(item)
            if item == 2:
                caller.send(codec.encode_cancel(TASK))

    with pytest.raises(TaskCanceled):
        function()
    assert items == [0, 1, 2]
    assert state.acknowledged


def test_a_closed_channel_in_a_forked_child_leaves_the_parents_pipe_open(channel: Channel, caller: Caller) -> None:
    """What `os.register_at_fork` does in the child, on a copy of the descriptor."""
    page = SharedPage(memory_file())
    copy = Channel(socket.socket(fileno=os.dup(caller.socket.fileno())), page)
    copy.close()
    page.close()
    caller.call()
    assert isinstance(channel.next_message(), CallFunction)
