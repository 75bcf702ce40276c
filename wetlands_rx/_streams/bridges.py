"""From streams to what Python programs wait with."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase

_T = TypeVar("_T")


class AsyncEvents(AsyncIterator[_T], Generic[_T]):
    """An async iterator over a stream that other threads feed; wakes its loop once per batch.

    Like an async generator it has ended for good when a wait for its next event is canceled. One that is dropped, as
    after a `break`, keeps nothing more and is unsubscribed when the next event comes.

    Args:
        subscribe: Subscribes two callbacks, for an event and for the end; returns the subscription.
        wait: Waits until what is delivered has resolved a future; by default just for the future.
    """

    def __init__(
        self,
        subscribe: Callable[[Callable[[_T], None], Callable[[], None]], DisposableBase],
        wait: Callable[[asyncio.Future[None]], Awaitable[None]] | None = None,
    ) -> None:
        self._wait = wait if wait is not None else _resolved
        self._inbox: _Inbox[_T] = _Inbox()  # what the stream holds: it must not hold the iterator
        self._inbox.subscription = subscribe(self._inbox.on_next, self._inbox.on_end)

    def __aiter__(self) -> AsyncEvents[_T]:
        return self

    async def __anext__(self) -> _T:
        inbox = self._inbox
        while True:
            if inbox.waiting:
                return inbox.waiting.popleft()
            if inbox.ended:
                raise StopAsyncIteration
            woken, wake = waker()
            inbox.wakes.append(wake)
            if inbox.waiting or inbox.ended:
                continue  # it came in between, and may have found nobody to wake
            try:
                await self._wait(woken)
            except asyncio.CancelledError:
                await self.aclose()  # nobody may come back for what would be kept
                raise

    async def aclose(self) -> None:
        """Unsubscribe, and end the iteration; the work goes on."""
        inbox = self._inbox
        inbox.dropped = True
        if inbox.subscription is not None:
            inbox.subscription.dispose()
        inbox.waiting.clear()
        inbox.on_end()

    def __del__(self) -> None:
        self._inbox.dropped = True  # no more than that: a finalizer may run anywhere, while any lock is held


class BlockingItems(Iterator[_T], Generic[_T]):
    """An iterator over a stream that other threads feed; `next()` blocks until an item, the end or the timeout.

    A context manager: leaving it unsubscribes.

    Args:
        source: Is subscribed to now.
        timeout: How long `next()` may wait, in seconds; None waits as long as the stream goes on.
    """

    def __init__(self, source: Observable[_T], timeout: float | None) -> None:
        self._timeout = timeout
        self._queue: _Queue[_T] = _Queue()  # what the stream holds: it must not hold the iterator
        queue = self._queue
        queue.subscription = source.subscribe(queue.on_next, queue.news.put, lambda: queue.news.put(None))

    def __iter__(self) -> BlockingItems[_T]:
        return self

    def __next__(self) -> _T:
        """The next item.

        Raises:
            StopIteration: the stream has completed, or `close` was called.
            TimeoutError: no item came in time; the subscription is ended.
            Exception: the stream's own error.
        """
        try:
            news = self._queue.news.get(timeout=self._timeout)
        except Empty:
            self.close()
            raise TimeoutError(f"no item came within {self._timeout:g} s") from None
        if isinstance(news, tuple):
            return news[0]
        self.close()
        if news is None:
            raise StopIteration
        raise news

    def close(self) -> None:
        """Unsubscribe, and end the iteration, also of a thread that waits in `next()`; the work goes on."""
        queue = self._queue
        queue.drop()
        with contextlib.suppress(Empty):
            while True:
                queue.news.get_nowait()
        queue.news.put(None)

    def __enter__(self) -> BlockingItems[_T]:
        return self

    def __exit__(self, *_exc: object) -> None:
        """Unsubscribe."""
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_queue"):
            self._queue.dropped = True  # no more than that: a finalizer may run anywhere, while any lock is held


class _Queue(Generic[_T]):
    """Between the thread that delivers and the one that iterates: an item in a tuple, an error, or None for the end."""

    def __init__(self) -> None:
        self.subscription: DisposableBase | None = None
        self.news: SimpleQueue[tuple[_T] | Exception | None] = SimpleQueue()
        self.dropped = False  # nobody iterates any more

    def on_next(self, item: _T) -> None:
        if self.dropped:
            self.drop()
        else:
            self.news.put((item,))

    def drop(self) -> None:
        self.dropped = True
        if self.subscription is not None:
            self.subscription.dispose()


class _Inbox(Generic[_T]):
    """Between the thread that delivers and the loop that iterates. No lock: a deque's methods are atomic."""

    def __init__(self) -> None:
        self.subscription: DisposableBase | None = None
        self.waiting: deque[_T] = deque()
        self.wakes: deque[Callable[[], None]] = deque()
        self.ended = False
        self.dropped = False  # nobody iterates any more

    def on_next(self, event: _T) -> None:
        if self.dropped:
            self.waiting.clear()
            if self.subscription is not None:
                self.subscription.dispose()
            return
        self.waiting.append(event)
        self._wake()

    def on_end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(IndexError):  # no more; aclose() may take them at the same time
            while True:
                self.wakes.popleft()()


async def _resolved(woken: asyncio.Future[None]) -> None:
    await woken


def waker() -> tuple[asyncio.Future[None], Callable[[], None]]:
    """A future of the running loop, and a function that any thread may call to resolve it.

    The function is harmless when the loop has been closed or the future canceled meanwhile.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(resolve)

    return future, wake
