"""Values with one part somewhere inside, to look for that part."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

Wrap = Callable[[Any, Any], Any]


class Plain:
    def __init__(self, held: Any) -> None:
        self.before = 1
        self.held = held


class Slotted:
    __slots__ = ("__private", "before")

    def __init__(self, held: Any) -> None:
        self.before = 1
        self.__private = held

    @property
    def held(self) -> Any:
        return self.__private


class Both(Slotted):
    def __init__(self, held: Any) -> None:
        super().__init__(0)
        self.own = held


@dataclasses.dataclass
class Data:
    before: Any
    held: Any


class Pair(NamedTuple):
    before: Any
    held: Any


class Reduces:
    def __init__(self, held: Any) -> None:
        self.kept = held

    def __reduce__(self) -> Any:
        return Reduces, (self.kept,)


class Gives:
    """Pickles a state that is not what it holds."""

    def __init__(self, held: Any) -> None:
        self.kept = held

    def __getstate__(self) -> Any:
        return [[self.kept]]

    def __setstate__(self, state: Any) -> None:
        self.kept = state[0][0]


class Listed(list[Any]):
    pass


class Mapped(dict[Any, Any]):
    pass


class Failed(Exception):
    pass


def _failed(held: Any, beside: Any) -> Failed:
    error = Failed(1)
    error.held = held  # type: ignore[attr-defined]
    return error


WRAPS: list[Wrap] = [
    lambda held, beside: [beside, held],
    lambda held, beside: (held, beside),
    lambda held, beside: (beside, beside, beside, held),
    lambda held, beside: {"a": beside, "key": held},
    lambda held, beside: {(1, "x"): held, None: beside},
    lambda held, beside: collections.OrderedDict([("z", beside), ("y", held)]),
    lambda held, beside: collections.defaultdict(list, {2.5: held}),
    lambda held, beside: collections.deque([beside, held]),
    lambda held, beside: Plain(held),
    lambda held, beside: Slotted(held),
    lambda held, beside: Both(held),
    lambda held, beside: Data(beside, held),
    lambda held, beside: Pair(beside, held),
    lambda held, beside: Reduces(held),
    lambda held, beside: Gives(held),
    lambda held, beside: Listed([beside, held]),
    lambda held, beside: Mapped(a=beside, b=held),
    lambda held, beside: Failed(beside, held),
    _failed,
]
OF_HASHABLE: list[Wrap] = [
    lambda held, beside: {1, held, "z"},
    lambda held, beside: frozenset((held,)),
    lambda held, beside: {held: beside},
]


@st.composite
def nested(draw: st.DrawFn, make: Callable[[], Any], most: int = 8) -> tuple[Any, Any]:
    """A value, and the part in it that `make` made."""
    part = value = make()
    beside = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=3), st.just(Plain(3)))
    for wrap in draw(st.lists(st.sampled_from([*WRAPS, *OF_HASHABLE]), max_size=most)):
        if wrap in OF_HASHABLE and not _is_hashable(value):
            continue
        value = wrap(value, draw(beside))
    return value, part


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def at(path: str, value: Any) -> Any:
    """What a path leads to."""
    return eval(path, {"value": value, "list": list, "vars": vars})
