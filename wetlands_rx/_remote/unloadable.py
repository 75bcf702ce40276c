"""Which part of a pickle cannot be loaded. Only for a pickle whose loading has failed: this takes its time.

The pickle is read without executing anything, which tells what is inside what. Which instruction failed is known from
the error when a class was not found; else it is loaded once more, by the unpickler of the standard library that is
written in Python, which can count. When the two do not agree, nothing is said.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import sys
from time import monotonic
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from wetlands_rx._remote.places import Found, at_key, at_name, at_place, shortened

LONGEST_S = 2.0
"""What is not found within this time is not looked for any more."""
_MOST_BYTES = 1 << 25
_LOOK_EACH = 1024
_LONGEST_NAMED_S = 0.5
_MOST_NAMED_BYTES = 1 << 20
_MOST_MAKERS = 16
_NOT_FOUND = re.compile(r"Can't get attribute '([^']+)' on ")
_MAKERS = frozenset(
    ("copyreg.__newobj__", "copyreg.__newobj_ex__", "copyreg._reconstructor", "copy_reg._reconstructor")
)
_PureUnpickler: Any = pickle._Unpickler  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class _GivenUpError(Exception):
    """The time is over, or the pickle is none that we can read."""


class _Part:
    """What an instruction makes: a value, a container, an object.

    Attributes:
        kind: `"value"`, `"tuple"`, `"list"`, `"dict"`, `"set"`, `"name"` (of a class or function) or `"object"`.
        value: Of a value itself, of a name the dotted name.
        inner: The elements; keys and values of a dictionary take turns. Of an object: what was appended to it.
        pairs: The keys and values that were set on an object.
        made: Of an object: who made it, from what arguments, and how many of those `__reduce_ex__` gives before them.
        state: Of an object: its state.
    """

    __slots__ = ("inner", "kind", "made", "pairs", "state", "value")

    def __init__(self, kind: str, value: Any = None, inner: Sequence[_Part] = ()) -> None:
        self.kind = kind
        self.value = value
        self.inner: List[_Part] = list(inner)
        self.pairs: List[_Part] = []
        self.made: Optional[Tuple[_Part, _Part, int]] = None
        self.state: Optional[_Part] = None


class _Name(NamedTuple):
    """A class or function that the pickle names."""

    module: str
    name: str
    part: _Part


class _Reader:
    """Follows the instructions of a pickle without executing them.

    Attributes:
        root: The whole.
        by_step: The part that each instruction works on.
        names: The classes and functions, in the order in which they are looked up.
    """

    def __init__(self, pickled: bytes, until: float) -> None:
        import pickletools  # only here, and slow to import

        self.by_step: List[Optional[_Part]] = []
        self.names: List[_Name] = []
        self._stack: List[_Part] = []
        self._marks: List[List[_Part]] = []
        self._memo: Dict[int, _Part] = {}
        for count, (code, arg, _) in enumerate(pickletools.genops(pickled)):
            if not count % _LOOK_EACH and monotonic() > until:
                raise _GivenUpError
            self.by_step.append(self._follow(code.name, arg))
        self.root = self._stack[-1]

    def _follow(self, code: str, arg: Any) -> Optional[_Part]:
        if code in _VALUES:
            return self._push(_Part("value", _CONSTANTS.get(code, arg)))
        step = _STEPS.get(code)
        if step is None:
            raise _GivenUpError
        return step(self, arg)

    def _push(self, part: _Part) -> _Part:
        self._stack.append(part)
        return part

    def since_mark(self) -> List[_Part]:
        """What was made since the last mark."""
        parts, self._stack = self._stack, self._marks.pop()
        return parts

    # --- instructions

    def nothing(self, _: Any) -> None:
        """Of no meaning here."""

    def mark(self, _: Any) -> None:
        """Begin."""
        self._marks.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        """Drop the last one, or a mark."""
        if self._stack:
            self._stack.pop()
        else:
            self.since_mark()

    def pop_mark(self, _: Any) -> None:
        """Drop all since the mark."""
        self.since_mark()

    def dup(self, _: Any) -> None:
        """The last one again."""
        self._stack.append(self._stack[-1])

    def put(self, number: Any) -> None:
        """Remember the last one."""
        self._memo[len(self._memo) if number is None else int(number)] = self._stack[-1]

    def get(self, number: Any) -> None:
        """One that was remembered."""
        self._stack.append(self._memo[int(number)])

    def name(self, arg: Any) -> _Part:
        """A class or a function; the names are one argument, or the two last parts."""
        if arg is None:
            name, module = self._stack.pop().value, self._stack.pop().value
        else:
            module, name = arg.split(" ", 1)
        return self._push(self._named(module, name))

    def _named(self, module: str, name: str) -> _Part:
        part = _Part("name", name if module == "builtins" else "{}.{}".format(module, name))
        self.names.append(_Name(module, name, part))
        return part

    def make(self, skipped: int, function: _Part, args: _Part) -> _Part:
        """An object."""
        made = _Part("object")
        made.made = function, args, skipped
        return self._push(made)

    def reduce(self, _: Any) -> _Part:
        """Call."""
        args = self._stack.pop()
        return self.make(0, self._stack.pop(), args)

    def new(self, _: Any) -> _Part:
        """Call `__new__`."""
        args = self._stack.pop()
        return self.make(1, self._stack.pop(), args)

    def new_with_keywords(self, _: Any) -> _Part:
        """Call `__new__` with keyword arguments."""
        keywords, args = self._stack.pop(), self._stack.pop()
        return self.make(0, self._stack.pop(), _Part("tuple", None, [args, keywords]))

    def build(self, _: Any) -> _Part:
        """Set the state of the last one."""
        state = self._stack.pop()
        self._stack[-1].state = state
        return self._stack[-1]

    def append(self, _: Any) -> _Part:
        """Add the last one to the one before."""
        item = self._stack.pop()
        self._stack[-1].inner.append(item)
        return self._stack[-1]

    def extend(self, _: Any) -> _Part:
        """Add all since the mark to the one before it."""
        items = self.since_mark()
        self._stack[-1].inner += items
        return self._stack[-1]

    def set_item(self, _: Any) -> _Part:
        """Set the last one under the key before."""
        value, key = self._stack.pop(), self._stack.pop()
        return self._set([key, value])

    def set_items(self, _: Any) -> _Part:
        """Set all pairs since the mark."""
        return self._set(self.since_mark())

    def _set(self, pairs: List[_Part]) -> _Part:
        target = self._stack[-1]
        where = target.inner if target.kind == "dict" else target.pairs
        where += pairs
        return target


def _empty(kind: str) -> Callable[[_Reader, Any], _Part]:
    return lambda reader, _: reader._push(_Part(kind))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _of_marked(kind: str) -> Callable[[_Reader, Any], _Part]:
    def step(reader: _Reader, _: Any) -> _Part:
        parts = reader.since_mark()
        return reader._push(_Part(kind, None, parts))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    return step


def _tuple_of(count: int) -> Callable[[_Reader, Any], _Part]:
    def step(reader: _Reader, _: Any) -> _Part:
        stack = reader._stack  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        parts = stack[-count:]
        del stack[-count:]
        return reader._push(_Part("tuple", None, parts))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    return step


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES = ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_VALUES = frozenset((*_CONSTANTS, *_NUMBERS, *_TEXTS, *_BYTES, "NEXT_BUFFER"))
_STEPS: Dict[str, Callable[[_Reader, Any], Optional[_Part]]] = {
    "PROTO": _Reader.nothing,
    "FRAME": _Reader.nothing,
    "STOP": _Reader.nothing,
    "READONLY_BUFFER": _Reader.nothing,
    "MARK": _Reader.mark,
    "POP": _Reader.pop,
    "POP_MARK": _Reader.pop_mark,
    "DUP": _Reader.dup,
    "MEMOIZE": _Reader.put,
    "PUT": _Reader.put,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "GET": _Reader.get,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": _Reader.name,
    "REDUCE": _Reader.reduce,
    "NEWOBJ": _Reader.new,
    "NEWOBJ_EX": _Reader.new_with_keywords,
    "BUILD": _Reader.build,
    "EMPTY_LIST": _empty("list"),
    "EMPTY_TUPLE": _empty("tuple"),
    "EMPTY_DICT": _empty("dict"),
    "EMPTY_SET": _empty("set"),
    "LIST": _of_marked("list"),
    "TUPLE": _of_marked("tuple"),
    "DICT": _of_marked("dict"),
    "FROZENSET": _of_marked("set"),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _Reader.append,
    "APPENDS": _Reader.extend,
    "ADDITEMS": _Reader.extend,
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_items,
}


def unloadable(pickled: Any, buffers: Sequence[Any], error: BaseException, names: Sequence[str]) -> Optional[Found]:
    """Find the part that cannot be loaded.

    Args:
        pickled: The pickle.
        buffers: Its out-of-band buffers.
        error: What loading it raised.
        names: What the value is called, `["result"]`; when it is a tuple of several, what each of them is called.
    Returns:
        The part; None when it was not found.
    """
    view = memoryview(pickled)
    if view.nbytes > _MOST_BYTES or isinstance(error, MemoryError):
        return None
    until = monotonic() + LONGEST_S
    try:
        reader = _Reader(bytes(view), until)
        part, missing = _named_in(error, reader), True
        if part is None:
            part, missing = _failing(view, buffers, error, reader, until)
        return None if part is None else _described(part, _roots(reader.root, names), missing, until)
    except BaseException:  # noqa: BLE001 - it is damaged, or the user's code is asked for more than it is made for
        return None


def part_named(pickled: Any, module: str, name: str, names: Sequence[str]) -> Optional[Found]:
    """Find the part of a class, or made by a function, of this name; for a pickle that nobody may load.

    Args:
        pickled: The pickle.
        module: Where the class or function is.
        name: Its name in there.
        names: As in `unloadable`.
    Returns:
        The part; None when it was not found.
    """
    view = memoryview(pickled)
    if not name or view.nbytes > _MOST_NAMED_BYTES:
        return None
    until = monotonic() + _LONGEST_NAMED_S
    try:
        reader = _Reader(bytes(view), until)
        found = [one for one in reader.names if (one.module, one.name) == (module, name)]
        return _described(found[0].part, _roots(reader.root, names), True, until) if found else None
    except Exception:  # noqa: BLE001 - it is damaged, or worse
        return None


def _roots(root: _Part, names: Sequence[str]) -> List[Tuple[str, _Part]]:
    return [(names[0], root)] if len(names) == 1 else list(zip(names, root.inner))


def _named_in(error: BaseException, reader: _Reader) -> Optional[_Part]:
    """The class or function that was not found, when the error says so."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        wanted = error.name
        for module, name, part in reader.names:
            if (module == wanted or module.startswith(wanted + ".")) and not _is_known(module, name):
                return part
    match = _NOT_FOUND.match(str(error)) if type(error) is AttributeError else None
    if match is not None:
        for module, name, part in reader.names:
            if name == match[1] and not _is_known(module, name):
                return part
    return None


def _is_known(module: str, name: str) -> bool:
    """True when a class or function is there; nothing is imported for that."""
    place: Any = sys.modules.get(module)
    if place is None:
        return False
    for word in name.split("."):
        with contextlib.suppress(AttributeError):
            place = getattr(place, word)
            continue
        return False
    return True


class _Counter:
    """Counts instructions; a pickle that takes too long is given up."""

    def __init__(self, until: float) -> None:
        self.steps = 0
        self.looks_up = False
        self._until = until

    def step(self) -> None:
        """Another one begins."""
        self.steps += 1
        if not self.steps % _LOOK_EACH and monotonic() > self._until:
            raise _GivenUpError


class _Counting(_PureUnpickler):  # type: ignore[misc]
    """Loads, and counts the instructions."""

    def __init__(self, file: io.BytesIO, buffers: Sequence[Any], counter: _Counter) -> None:
        super().__init__(file, buffers=buffers)  # pyright: ignore[reportUnknownMemberType]
        self.counter = counter

    def find_class(self, module: str, name: str) -> Any:
        self.counter.looks_up = True
        found: Any = super().find_class(module, name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self.counter.looks_up = False
        return found  # pyright: ignore[reportUnknownVariableType]


def _counted(load: Callable[[Any], None]) -> Callable[[_Counting], None]:
    def step(unpickler: _Counting) -> None:
        unpickler.counter.step()
        load(unpickler)

    return step


_Counting.dispatch = {code: _counted(load) for code, load in _PureUnpickler.dispatch.items()}


def _failing(
    view: memoryview, buffers: Sequence[Any], error: BaseException, reader: _Reader, until: float
) -> Tuple[Optional[_Part], bool]:
    """Load it once more; the part that fails in the same way, and whether its class was not found."""
    counter = _Counter(until)
    try:
        _Counting(io.BytesIO(bytes(view)), tuple(buffers), counter).load()
    except BaseException as again:  # noqa: BLE001 - the user's code
        if type(again) is type(error) and counter.steps:
            return reader.by_step[counter.steps - 1], counter.looks_up
    return None, False


# --- paths


def _described(wanted: _Part, roots: Sequence[Tuple[str, _Part]], missing: bool, until: float) -> Optional[Found]:
    path, part = next(((path, part) for path, part in _all(roots, until) if part is wanted), (None, wanted))
    if path is None:
        return None
    name = _type_of(part)
    return Found(shortened(path), name, name, missing)


def _type_of(part: _Part) -> str:
    for _ in range(_MOST_MAKERS):  # one may be said to have made itself
        if part.made is None:
            break
        function, args, _ = part.made
        part = args.inner[0] if function.value in _MAKERS and args.inner else function
    return str(part.value) if part.kind == "name" else part.kind if part.kind != "value" else type(part.value).__name__


def _all(roots: Sequence[Tuple[str, _Part]], until: float) -> Iterator[Tuple[str, _Part]]:
    """Each part once, with the path to it; outer ones first."""
    waiting = list(reversed(roots))
    seen: Set[int] = set()
    while waiting:
        path, part = waiting.pop()
        if monotonic() > until:
            raise _GivenUpError
        if id(part) not in seen:
            seen.add(id(part))
            yield path, part
            waiting += reversed(list(_inside(path, part)))


def _inside(path: str, part: _Part) -> Iterator[Tuple[str, _Part]]:
    if part.kind == "dict":
        yield from _items(path, part.inner)
        return
    for place, inner in enumerate(part.inner):
        yield at_place(path, place) if part.kind == "set" else at_key(path, place), inner
    yield from _items(path, part.pairs)
    if part.made is not None:
        yield from _arguments(path, *part.made)
    if part.state is not None:
        yield from _state(path, part.state)


def _items(path: str, pairs: Sequence[_Part]) -> Iterator[Tuple[str, _Part]]:
    for place, (key, value) in enumerate(zip(pairs[::2], pairs[1::2])):
        yield at_place(path, place), key
        yield _at(path, key), value


def _at(path: str, key: _Part) -> str:
    if key.kind == "tuple" and all(part.kind == "value" for part in key.inner):
        return at_key(path, tuple(part.value for part in key.inner))
    return at_key(path, key.value) if key.kind == "value" else "{}[<{}>]".format(path, _type_of(key))


def _arguments(path: str, function: _Part, args: _Part, skipped: int) -> Iterator[Tuple[str, _Part]]:
    yield path, function  # the object's class, which has no path of its own
    for place, inner in enumerate(args.inner):
        if place == 0 and function.value in _MAKERS:
            yield path, inner
        else:
            yield "{}.__reduce_ex__(5)[1][{}]".format(path, place + skipped), inner


def _state(path: str, state: _Part) -> Iterator[Tuple[str, _Part]]:
    dictionaries = [state] if state.kind == "dict" else state.inner if state.kind == "tuple" else []
    if any(part.kind == "dict" for part in dictionaries) and len(dictionaries) <= 2:
        for dictionary in dictionaries:
            for key, value in zip(dictionary.inner[::2], dictionary.inner[1::2]):
                yield at_name(path, key.value), value
    else:
        yield path + ".__reduce_ex__(5)[2]", state
