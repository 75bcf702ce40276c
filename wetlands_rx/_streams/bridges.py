"""From streams to what Python programs wait with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from reactivex.abc import DisposableBase

_T = TypeVar("_T")


class AsyncEvents(AsyncIterator[_T], Generic[_T]):
    """An async iterator over a stream that other threads feed; wakes its loop once per batch.

    Like an async generator it has ended for good when a wait for its next event is canceled.

    Args:
        subscribe: Subscribes two callbacks, for an event and for the end; returns the subscription.
    """

    def __init__(self, subscribe: Callable[[Callable[[_T], None], Callable[[], None]], DisposableBase]) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._waiting: deque[_T] = deque()
        self._ended = False
        self._wake: Callable[[], None] | None = None
        self._subscription = subscribe(self._on_next, self._on_end)

    def __aiter__(self) -> AsyncEvents[_T]:
        return self

    async def __anext__(self) -> _T:
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                if self._ended:
                    raise StopAsyncIteration
                woken, self._wake = waker()
            try:
                await woken
            except asyncio.CancelledError:
                await self.aclose()  # nobody may come back for what would be kept
                raise

    async def aclose(self) -> None:
        """Unsubscribe, and end the iteration; the work goes on."""
        self._subscription.dispose()
        with self._lock:
            self._ended = True
            self._wake = None
            self._waiting.clear()

    def _on_next(self, event: _T) -> None:
        with self._lock:
            self._waiting.append(event)
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _on_end(self) -> None:
        with self._lock:
            self._ended = True
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()


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
