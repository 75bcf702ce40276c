"""What tests submit by the function itself."""

from __future__ import annotations


def double(item: int) -> int:
    return item * 2


def refuse() -> None:
    raise ValueError("not here")
