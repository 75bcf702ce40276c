"""An async iterator over a stream holds nothing once nobody iterates."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable

import pytest
from reactivex.abc import DisposableBase
from reactivex.disposable import Disposable

from wetlands_rx._streams.bridges import AsyncEvents


class Event:
    """Something to which one can refer weakly."""


class Stream:
    """Keeps what was subscribed, as a task does."""

    def __init__(self) -> None:
        self.on_next: Callable[[Event], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.disposed = 0

    def subscribe(self, on_next: Callable[[Event], None], on_end: Callable[[], None]) -> DisposableBase:
        self.on_next, self.on_end = on_next, on_end
        return Disposable(self._dispose)

    def _dispose(self) -> None:
        self.disposed += 1

    def send(self) -> weakref.ref[Event]:
        assert self.on_next is not None
        event = Event()
        self.on_next(event)
        return weakref.ref(event)

    def end(self) -> None:
        assert self.on_end is not None
        self.on_end()


async def leave_after_one(stream: Stream) -> None:
    async for _event in AsyncEvents(stream.subscribe):
        break


def subscribed_and_left(stream: Stream) -> None:
    async def run() -> None:
        leaving = asyncio.ensure_future(leave_after_one(stream))
        await asyncio.sleep(0)
        stream.send()
        await leaving

    asyncio.run(run())
    gc.collect()


def test_after_a_break_nothing_piles_up_and_the_subscription_ends() -> None:
    stream = Stream()
    subscribed_and_left(stream)
    later = [stream.send() for _ in range(3)]
    assert [ref() for ref in later] == [None] * 3
    assert stream.disposed == 1


def test_what_waited_when_the_iterator_was_dropped_goes_with_the_next_event() -> None:
    stream = Stream()
    events = AsyncEvents(stream.subscribe)
    waiting = stream.send()
    assert waiting() is not None
    del events
    stream.send()
    assert waiting() is None


def test_dropping_an_iterator_calls_nobody() -> None:
    """It may happen while any lock is held."""
    stream = Stream()
    events = AsyncEvents(stream.subscribe)
    del events
    assert stream.disposed == 0
    stream.end()


def test_closing_unsubscribes_and_lets_go_of_what_waits() -> None:
    stream = Stream()

    async def run() -> None:
        events = AsyncEvents(stream.subscribe)
        waiting = stream.send()
        await events.aclose()
        assert waiting() is None
        assert stream.disposed == 1
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    asyncio.run(run())


def test_a_finalizer_of_an_event_may_send_another() -> None:
    stream = Stream()
    sent: list[int] = []

    class Dying(Event):
        def __del__(self) -> None:
            sent.append(1)
            stream.send()

    async def run() -> None:
        events = AsyncEvents(stream.subscribe)
        assert stream.on_next is not None
        for _ in range(3):
            stream.on_next(Dying())
        await asyncio.wait_for(events.aclose(), 10.0)

    asyncio.run(run())
    assert len(sent) == 3


def test_every_event_of_another_thread_arrives_in_order() -> None:
    seen: list[int] = []
    ends: list[Callable[[], None]] = []
    nexts: list[Callable[[int], None]] = []

    def subscribe(on_next: Callable[[int], None], on_end: Callable[[], None]) -> DisposableBase:
        nexts.append(on_next)
        ends.append(on_end)
        return Disposable()

    def feed() -> None:
        for number in range(5000):
            nexts[0](number)
        ends[0]()

    async def run() -> None:
        events = AsyncEvents(subscribe)
        thread = threading.Thread(target=feed)
        thread.start()
        seen.extend([event async for event in events])
        thread.join(10.0)

    asyncio.run(asyncio.wait_for(run(), 10.0))
    assert seen == list(range(5000))
