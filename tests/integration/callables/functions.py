"""Functions and classes that a worker finds by this file."""

from __future__ import annotations


def top(x: int) -> int:
    return 10 * x


class Adder:
    def __init__(self, number: int) -> None:
        self.number = number

    def add(self, x: int) -> int:
        return self.number + x

    def __call__(self, x: int) -> int:
        return self.number - x

    @classmethod
    def made(cls, x: int) -> int:
        return cls(x).number
