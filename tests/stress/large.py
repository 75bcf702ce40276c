"""What the workers of `test_large_messages.py` run."""

from __future__ import annotations

from typing import Any


def size(value: Any) -> int:
    return len(value)


def data(count: int) -> bytes:
    return bytes(count)


def same(value: Any) -> Any:
    return value
