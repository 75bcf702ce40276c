"""What functions that go by value refer to."""

from __future__ import annotations

FACTOR = 10


def scaled(x: int) -> int:
    return FACTOR * x
