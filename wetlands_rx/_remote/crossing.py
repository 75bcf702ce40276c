"""What to say of a value that cannot cross between caller and worker; the same words on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Sequence, Tuple, Union

from wetlands_rx._remote.failures import Failure, describe
from wetlands_rx._wire.arrays import numpy_if_loaded
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import SerializationError

if TYPE_CHECKING:
    from wetlands_rx._remote.places import Found

_TYPE = "{}.{}".format(SerializationError.__module__, SerializationError.__qualname__)
_TOO_DEEP = "it is nested too deeply: pass it in another form"


class Side(NamedTuple):
    """Where something is to be loaded.

    Attributes:
        where: `"in environment 'seg'"`.
        advice: What to do about a class that is missing there.
    """

    where: str
    advice: str


CALLER = Side("in the calling process", "return plain values, or install its package there too")


def environment_side(name: str) -> Side:
    """The workers of an environment."""
    advice = "define it in the file of the function, or install its package there"
    return Side("in environment {!r}".format(name), advice)


def unsendable(
    what: str,
    named: Sequence[Tuple[str, Any]],
    to: str,
    error: BaseException,
    advice: str,
    *,
    interruptible: bool = False,
) -> Failure:
    """What to say when pickling has failed.

    Args:
        what: What was to be sent, in case that the part at fault is not found.
        named: Its values, and what each is called.
        to: To whom.
        error: What pickling raised.
        advice: What to do about it.
        interruptible: Let a KeyboardInterrupt through, which may be somebody's who waits.
    """
    from wetlands_rx._remote.unpicklable import unpicklable  # a start of a worker need not wait for it

    found = unpicklable(named, interruptible=interruptible)
    if isinstance(error, RecursionError):
        advice = _TOO_DEEP
    return _failure(error, "cannot be sent to {}".format(to), what, found, advice)


def not_loaded(
    what: str, names: Sequence[str], value: Union[Packed, memoryview, bytes], error: BaseException, side: Side
) -> Failure:
    """What to say when loading has failed.

    Args:
        what: What was to be loaded, in case that the part at fault is not found.
        names: What it is called; when it is a tuple of several, what each of them is called.
        value: The pickle.
        error: What loading raised.
        side: Where.
    """
    from wetlands_rx._remote.unloadable import unloadable  # a start of a worker need not wait for it

    packed = value if isinstance(value, Packed) else Packed(value)
    found = unloadable(packed.pickle, packed.buffers, error, names) if packed.trusted else None  # it loads once more
    advice = "it must be importable there: {}".format(side.advice) if found is not None and found.missing else ""
    return _failure(error, "cannot be loaded {}".format(side.where), what, found, advice)


def refused(what: str, names: Sequence[str], value: Packed, error: BaseException, allowed: str) -> Failure:
    """What to say of a value that was not loaded because its sender is not trusted.

    Args:
        what: What it is, in case that the part at fault is not found.
        names: As in `not_loaded`.
        value: The pickle, which nobody may load.
        error: Why it was refused; the attributes of a `NotAllowed` lead to the part.
        allowed: What would not be.
    """
    from wetlands_rx._remote.unloadable import part_named  # as above

    type_name = getattr(error, "type_name", "")
    found = part_named(value.pickle, getattr(error, "module", ""), getattr(error, "name", ""), names)
    path = found.path if found is not None else ""
    shown = " ({})".format(type_name) if type_name else ""
    advice = 'return nothing but {}, or trust the environment with launch(results="pickle")'.format(allowed)
    text = '{}{} cannot be loaded in the calling process with results="safe": {}; {}'
    return Failure(text.format(path or what, shown, error, advice), (), "", path=path, type_name=type_name)


def function_not_loaded(name: str, error: BaseException, side: Side) -> Failure:
    """What to say of a function that was sent itself, and could not be loaded."""
    missing = isinstance(error, (ImportError, AttributeError))
    advice = "what it uses must be importable there: {}".format(side.advice) if missing else ""
    return _failure(error, "cannot be loaded {}".format(side.where), name, None, advice)


def _failure(error: BaseException, how: str, what: str, found: Optional[Found], advice: str) -> Failure:
    failure = describe(error)
    text = "{} {}{}: {}".format(found or what, how, _by_numpy(failure.error, found), failure.error)
    if advice:
        text += "; " + advice
    path, type_name = (found.path, found.type_name) if found else ("", "")
    return failure._replace(error=text, remote_type=_TYPE, path=path, type_name=type_name)


def _by_numpy(error: str, found: Optional[Found]) -> str:
    """Which numpy is here, when it may be the reason: the other side may have another one."""
    numpy = numpy_if_loaded()
    about = "numpy" in error or (found is not None and found.type_name.startswith("numpy."))
    return " by numpy {}".format(numpy.__version__) if numpy is not None and about else ""
