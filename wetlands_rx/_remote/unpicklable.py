"""Which part of a value cannot be pickled. Only for a value whose pickling has failed: this takes its time.

The pickler of the standard library that is written in Python pickles once more into nothing, and remembers what is
inside what. Where it fails is the part that is wanted; the real pickler is asked whether it says so too, so that what
is named here is never picklable.
"""

from __future__ import annotations

import pickle
from collections import deque
from time import monotonic
from types import MemberDescriptorType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type

from wetlands_rx._remote.places import Found, at_key, at_name, at_place, found_at
from wetlands_rx._wire.arrays import kind_of

LONGEST_S = 2.0
"""What is not found within this time is not looked for any more."""
_LOOK_EACH = 256
_CONTAINERS: Tuple[Any, ...] = (tuple, list, deque, set, frozenset)
_items_of: Callable[[Any], Any] = vars(dict)["items"]
_DEEP = 100
"""What fails for want of a stack below this depth fails for its depth, whatever stands there."""
_MOST_TRIALS = 8
"""So many parts are tried alone, from the inside out."""
_WRAPS = 3
"""An attribute's value is at most so far below its object: in a dictionary in a tuple that is the object's state."""
_PurePickler: Any = pickle._Pickler  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class _GivenUpError(BaseException):
    """The time is over."""


class _Nowhere:
    """A file that keeps nothing; pickling into it ends when the time is over."""

    def __init__(self, until: float) -> None:
        self._until = until

    def write(self, data: Any) -> int:
        if monotonic() > self._until:
            raise _GivenUpError
        return len(data)


def _ignore(buffer: Any) -> None:
    """Of an array the content does not matter."""


class _Entry:
    """An object that is being pickled, and what its `__reduce_ex__` gave, if it was asked."""

    __slots__ = ("reduced", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.reduced: Optional[Tuple[Any, Any]] = None


class _Tracer(_PurePickler):  # type: ignore[misc]
    """Pickles, and after a failure `chain` holds what was being pickled, from the outside in."""

    def __init__(self, until: float) -> None:
        super().__init__(_Nowhere(until), 5, buffer_callback=_ignore)  # pyright: ignore[reportUnknownMemberType]
        self.chain: List[_Entry] = []
        self._until = until
        self._count = 0

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        self._count += 1
        if not self._count % _LOOK_EACH and monotonic() > self._until:
            raise _GivenUpError
        self.chain.append(_Entry(obj))
        super().save(obj, save_persistent_id)  # pyright: ignore[reportUnknownMemberType]
        self.chain.pop()  # not after a failure

    def save_reduce(self, func: Any, args: Any, state: Any = None, *rest: Any, **options: Any) -> None:
        self.chain[-1].reduced = args, state
        super().save_reduce(func, args, state, *rest, **options)  # pyright: ignore[reportUnknownMemberType]


def unpicklable(named: Sequence[Tuple[str, Any]], *, interruptible: bool = False) -> Optional[Found]:
    """Find the deepest part that cannot be pickled.

    Args:
        named: Values, and what each is called: `("args[0]", image)`.
        interruptible: Let a KeyboardInterrupt through, which may be somebody's who waits; nothing else is raised.
    Returns:
        The part; None when each value can be pickled for itself, or none was found in time.
    """
    search = _Search(monotonic() + LONGEST_S, interruptible)
    try:
        for name, value in named:
            if search.fails(value):
                return search.inside(name, value)
    except KeyboardInterrupt:
        if interruptible:
            raise
    except BaseException:  # noqa: BLE001 - the user's code: it is asked for more than it is made for
        return None
    return None


class _Search:
    def __init__(self, until: float, interruptible: bool) -> None:
        self._until = until
        self._through: Tuple[Type[BaseException], ...] = (KeyboardInterrupt,) if interruptible else ()

    def fails(self, value: Any) -> bool:
        """True when a value cannot be pickled for itself."""
        try:
            pickle.Pickler(_Nowhere(self._until), 5, buffer_callback=_ignore).dump(value)
        except self._through:
            raise
        except _GivenUpError:
            return False
        except BaseException:  # noqa: BLE001 - pickling runs the user's code
            return True
        return False

    def inside(self, name: str, value: Any) -> Found:
        """The deepest part of a value that is known to fail."""
        tracer = _Tracer(self._until)
        try:
            tracer.dump(value)
        except self._through:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            if not isinstance(error, RecursionError) or len(tracer.chain) < _DEEP:
                return self._deepest(name, tracer.chain) or found_at(name, value)
        return found_at(name, value)

    def _deepest(self, name: str, chain: Sequence[_Entry]) -> Optional[Found]:
        try:
            parts = list(_parts(name, chain))
            for path, part in parts[: -_MOST_TRIALS - 1 : -1]:
                if self.fails(part):
                    return found_at(path, part)
        except Exception:  # noqa: BLE001 - an object that lets nobody look into it
            return None
        return None


def _parts(name: str, chain: Sequence[_Entry]) -> Iterator[Tuple[str, Any]]:
    """What was being pickled, from the outside in, with a path for each; ends where there is no path."""
    path, place = name, 0
    while place + 1 < len(chain):
        inner = [entry.value for entry in chain[place + 1 : place + 1 + _WRAPS]]
        entry = chain[place]
        step = _step(path, entry.value, inner) if entry.reduced else _element(path, entry.value, inner[0], 1)
        step = step or _reduced(path, entry.reduced, inner)
        if step is None:
            return
        path, deeper = step
        place += deeper
        yield path, chain[place].value


_Step = Optional[Tuple[str, int]]
"""A longer path, and so many entries further down."""


def _step(path: str, parent: Any, inner: Sequence[Any]) -> _Step:
    """From an object to what it holds, past the tuples and dictionaries that exist only in its pickle."""
    for deeper, child in enumerate(inner, 1):
        for name, value in _attributes(parent):
            if value is child:
                return at_name(path, name), deeper
        step = _element(path, parent, child, deeper)
        if step is not None:
            return step
    return None


def _attributes(parent: Any) -> Iterator[Tuple[Any, Any]]:
    """The attributes of an object that can be had without running its code."""
    try:
        own: Any = object.__getattribute__(parent, "__dict__")
    except AttributeError:
        own = None
    if type(own) is dict:
        yield from list(own.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    for kind in kind_of(parent).__mro__:
        members: Dict[str, Any] = dict(kind.__dict__)
        for name, member in members.items():
            if type(member) is MemberDescriptorType and name != "__dict__":
                try:
                    yield name, member.__get__(parent, kind)
                except AttributeError:  # a slot that holds nothing
                    continue
    if isinstance(parent, BaseException):
        yield "args", vars(BaseException)["args"].__get__(parent)


def _element(path: str, parent: Any, child: Any, deeper: int) -> _Step:
    """From a container to what it holds."""
    if isinstance(parent, dict):
        return _of_dict(path, parent, child, deeper)  # pyright: ignore[reportUnknownArgumentType]
    for kind in _CONTAINERS:
        if isinstance(parent, kind):
            for place, value in enumerate(kind.__iter__(parent)):
                if value is child:
                    return _at(path, parent, place), deeper
    return None


def _of_dict(path: str, parent: Dict[Any, Any], child: Any, deeper: int) -> _Step:
    for place, (key, value) in enumerate(_items_of(parent)):
        if value is child:
            return at_key(path, key), deeper
        if key is child:
            return at_place(path, place), deeper
    return None


def _at(path: str, parent: Any, place: int) -> str:
    if isinstance(parent, (set, frozenset)):
        return at_place(path, place)
    kind = kind_of(parent)
    fields = getattr(kind, "_fields", ())
    if isinstance(parent, tuple) and len(fields) > place:
        return at_name(path, fields[place])
    return at_key(path, place)


def _reduced(path: str, reduced: Optional[Tuple[Any, Any]], inner: Sequence[Any]) -> _Step:
    """From an object to what only its `__reduce_ex__` gives."""
    if reduced is None:
        return None
    args, state = reduced
    path += ".__reduce_ex__(5)"
    if inner[0] is args or inner[0] is state:
        return "{}[{}]".format(path, 1 if inner[0] is args else 2), 1
    if len(inner) > 1 and isinstance(inner[0], tuple):  # without the class, which was pickled before
        return _element(path + "[1]", args, inner[1], 2)
    return None
