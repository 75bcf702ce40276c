"""Where in a value something is, and what it is, in words."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from wetlands_rx._wire.arrays import kind_of

_MOST_PATH = 300
_MOST_KEY = 60
_PLAIN_KEYS = frozenset((type(None), bool, int, float, complex, str, bytes))


class Found(NamedTuple):
    """The part of a value that cannot cross.

    Attributes:
        path: A Python expression that leads to it, `"args[0]['model'].lock"`; its middle is left out when it is long.
        type_name: The name of its class, `"_thread.lock"`.
        text: What it is, for people: `"function <lambda>"`.
        missing: It cannot be loaded because its class, or function, is not found here.
    """

    path: str
    type_name: str
    text: str
    missing: bool = False

    def __str__(self) -> str:
        return "{} ({})".format(self.path, self.text) if self.text else self.path


def found_at(path: str, value: Any) -> Found:
    """The part that is this value."""
    return Found(shortened(path), name_of_type(type(value)), described(value))


def shortened(path: str) -> str:
    """A path of a length that can be read."""
    if len(path) <= _MOST_PATH:
        return path
    half = _MOST_PATH // 2
    return "{} ... {}".format(path[:half], path[-half:])


def name_of_type(kind: Any) -> str:
    """`"segment.Config"`; without the module for what is built in."""
    module, name = kind.__module__, kind.__qualname__
    return name if module == "builtins" else "{}.{}".format(module, name)


def described(value: Any) -> str:
    """What a value is: the name of its class; of a function, a class or a module its own name too."""
    kind = kind_of(value)
    if kind in (FunctionType, BuiltinFunctionType):
        return "function {}".format(value.__qualname__)
    if issubclass(kind, type):
        return "class {}".format(name_of_type(value))
    if kind is ModuleType:
        return "module {}".format(value.__name__)
    return name_of_type(kind)


def at_key(path: str, key: Any) -> str:
    """The path to what a dictionary holds under a key."""
    return "{}[{}]".format(path, _key(key))


def at_name(path: str, name: Any) -> str:
    """The path to an attribute."""
    if type(name) is str and name.isidentifier():
        return "{}.{}".format(path, name)
    return at_key("vars({})".format(path), name)


def at_place(path: str, place: int) -> str:
    """The path to what has no name: a key of a dictionary, an element of a set."""
    return "list({})[{}]".format(path, place)


def _key(key: Any) -> str:
    kind = kind_of(key)
    plain = kind in _PLAIN_KEYS or (kind is tuple and all(type(part) in _PLAIN_KEYS for part in key))
    if kind is str or kind is bytes:
        key = key[:_MOST_KEY]
    # Any other one would have its own code run for its text.
    text = repr(key) if plain else "<{}>".format(name_of_type(kind))
    return text if len(text) <= _MOST_KEY else "{}...".format(text[: _MOST_KEY - 3])
