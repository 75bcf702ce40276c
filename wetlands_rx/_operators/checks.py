"""What operators are told is checked when they are made, not when the first item comes. Pure."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises TypeError for what is no whole number, ValueError for one below `least`."""
    if not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r:.100}; a whole number is wanted")
    if int(value) < least:
        raise ValueError(f"{name} is {value}; {f'at least {least} is needed' if least else 'it cannot be negative'}")


def check_positive(name: str, value: object) -> None:
    """Raises TypeError for what is no number, ValueError for one that is not positive and finite."""
    if not 0 < _number(name, value) < math.inf:
        raise ValueError(f"{name} is {value}; it must be positive and finite")


def check_not_negative(name: str, value: object) -> None:
    """Raises TypeError for what is no number, ValueError for one that is negative or not finite."""
    if not 0 <= _number(name, value) < math.inf:
        raise ValueError(f"{name} is {value}; it must be finite and cannot be negative")


def check_choice(name: str, value: object, *choices: str) -> None:
    """Raises ValueError for what is none of them."""
    if value not in choices:
        words = ", ".join(f'"{choice}"' for choice in choices[:-1])
        raise ValueError(f'{name} is {value!r:.100}; it is {words} or "{choices[-1]}"')


def check_callable(name: str, value: object) -> None:
    """Raises TypeError for what cannot be called."""
    if not callable(value):
        raise TypeError(f"{name} is {value!r:.100}; a function is wanted")


def check_kind(name: str, value: object, kind: type) -> None:
    """Raises TypeError for what is not of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r:.100}; {kind.__name__} is wanted")


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r:.100}; a number is wanted")
    return float(value)
