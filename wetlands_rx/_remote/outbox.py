"""Answers on their way: kept for a moment, so that many travel together, where they outlive the process."""

from __future__ import annotations

from typing import NamedTuple

from wetlands_rx._remote.page import OUTBOX_BYTES, SharedPage


class Outcomes(NamedTuple):
    """Outcomes of the call that runs: the place of the first one, how many, and their records."""

    first: int
    number: int
    records: bytes


class Outbox:
    """Frames of calls that have ended, then outcomes of items of the call that runs. Its owner holds a lock.

    Args:
        page: Where they are kept.
    """

    def __init__(self, page: SharedPage) -> None:
        self._page = page
        self._frames = self._end = 0
        self._first = self._count = 0

    @property
    def has_frames(self) -> bool:
        """True when there are frames."""
        return self._frames > 0

    def add_frame(self, frame: bytes) -> bool:
        """Take the answer of a call that has ended; False when there is no room."""
        end = self._frames + len(frame)
        if end > OUTBOX_BYTES:
            return False
        self._page.put(self._frames, frame)
        self._frames = self._end = end
        self._first = self._count = 0
        self._page.filled(end, 0, end)
        return True

    def take_frames(self) -> bytes:
        """Take out all frames; the outcomes stay. They count as sent only when `sent` was called."""
        return self._page.read(0, self._frames)

    def frames_sent(self) -> None:
        """Forget the frames."""
        records = self._page.read(self._frames, self._end)
        self._page.put(0, records)
        self._frames, self._end = 0, len(records)
        self._page.filled(0, self._first, self._end)

    def add_outcome(self, record: bytes) -> bool:
        """Take the record of the next item's outcome; False when there is no room."""
        end = self._end + len(record)
        if end > OUTBOX_BYTES:
            return False
        self._page.put(self._end, record)
        self._end = end
        self._count += 1
        self._page.filled(self._frames, self._first, end)
        return True

    @property
    def outcomes(self) -> Outcomes:
        """The outcomes that there are."""
        return Outcomes(self._first, self._count, self._page.read(self._frames, self._end))

    def outcomes_sent(self, count: int) -> None:
        """Forget the outcomes, and count on behind so many of them."""
        self._first += count
        self._count, self._end = 0, self._frames
        self._page.filled(self._frames, self._first, self._end)

    def call_ends(self) -> None:
        """The next call begins with its first item."""
        self._first = self._count = 0
        self._end = self._frames
        self._page.filled(self._frames, 0, self._end)
