"""Load pickles of somebody who is not trusted: plain data and arrays, and nothing that runs anything.

A loader of our own, which knows only the instructions that plain data needs in protocols 4 and 5: none of them makes an
object of a class, sets an attribute, or calls what a name stands for. A name stands for a `Maker`: a function of ours
that looks at what it is given.

What else a pickle can do is to take long, or much. A tuple that holds the same tuple twice, and so on, many times, has
more elements than there are atoms, and as a key it would be hashed element by element; many keys can have one hash; a
function of ours can be asked for the same thing over and over. So that is counted, and there is so much of it for each
byte of the pickle.
"""

from __future__ import annotations

import collections
import pickle
import re
import struct
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

from wetlands_rx._wire.arrays import kind_of
from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.makers import Maker, NotAllowed, maker_for, require
from wetlands_rx._wire.memory import LARGE_BYTES

_FREE_WORK = 20_000
_WORK_PER_BYTE = 8
_DEEPEST_KEY = 64
"""A tuple in a tuple is hashed on the stack of the thread."""
_MOST_ALIKE = 64
"""So many keys of one container may have the same hash: each is compared with all the others."""
_LIGHT_KEYS = frozenset((type(None), bool, float, str, bytes))
"""Whose hashes nobody can choose, or hardly differ."""
_SMALL_INT = 1 << 60
"""Below, an `int` is its own hash."""
_PROTOCOLS = (4, 5)
_FLOATS = re.compile(rb"(?:G.{8}){1,1000}", re.DOTALL)
_ORDERED_DICT: Any = collections.OrderedDict
_DEQUE: Any = collections.deque


class _Loader:
    """One pickle on its way to be a value.

    Args:
        pickled: The pickle.
        buffers: Its out-of-band buffers.
    """

    def __init__(self, pickled: Buffer, buffers: Iterable[Buffer]) -> None:
        small = len(pickled) < LARGE_BYTES and type(pickled) is not bytes
        self._data = bytes(pickled) if small else pickled  # it is read faster then
        self._buffers = iter(buffers)
        self._at = 0
        self.stack: List[Any] = []
        self._below: List[List[Any]] = []  # what was there before each mark
        self._memo: List[Any] = []
        self._left = _FREE_WORK + _WORK_PER_BYTE * len(self._data)
        self._hashes: Dict[int, Tuple[Any, Dict[int, int]]] = {}  # by the id of the container, which is held there

    def load(self) -> Any:
        data, steps, stop = self._data, _STEPS, pickle.STOP[0]
        while True:
            at = self._at
            code = data[at]
            self._at = at + 1
            if code == stop:
                break
            step = steps.get(code)
            if step is None:
                raise NotAllowed("the pickle has the instruction {!r}, which no plain data needs".format(chr(code)))
            step(self)
        require(self._at == len(data) and len(self.stack) == 1 and not self._below, "a value")
        return self._plain(self.stack)[0]

    def spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise NotAllowed("the pickle is made to take long")

    def _take(self, count: int) -> Buffer:
        at, end = self._at, self._at + count
        if count < 0 or end > len(self._data):
            raise NotAllowed("the pickle is cut off")
        self._at = end
        return self._data[at:end]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _since_mark(self) -> List[Any]:
        items, self.stack = self.stack, self._below.pop()
        return self._plain(items)

    @staticmethod
    def _plain(items: List[Any]) -> List[Any]:
        if Maker in set(map(type, items)):
            raise NotAllowed("the pickle keeps a function")
        return items

    # --- keys

    def _look_at_keys(self, target: Any, keys: Sequence[Any]) -> None:
        """Refuse keys with which a dictionary or set would take long, or more of the stack than there is."""
        kinds = set(map(kind_of, keys))
        if kinds <= _LIGHT_KEYS:
            return
        if kinds == {int} and min(keys) > -_SMALL_INT and max(keys) < _SMALL_INT:
            return
        _, alike = self._hashes.setdefault(id(target), (target, {}))
        for key in keys:
            before = self._left
            self._weigh(key)
            code = hash(key)
            others = alike.get(code, 0)
            alike[code] = others + 1
            if others >= _MOST_ALIKE:
                raise NotAllowed("the pickle has many keys with the same hash")
            self.spend((before - self._left) * others // 8)

    def _weigh(self, key: Any) -> None:
        """Count the elements of a key, each as often as it occurs."""
        level = [key]
        for _ in range(_DEEPEST_KEY):
            inner: List[Any] = []
            for one in level:
                kind = kind_of(one)
                if kind is tuple:
                    self.spend(1 + len(one))
                    inner.extend(one)
                elif kind is int:
                    self.spend(1 + one.bit_length() // 64)
                else:
                    self.spend(1 + len(one) // 4 if kind is frozenset else 8)
            if not inner:
                return
            level = inner
        raise NotAllowed("the pickle has a key of more than {} levels".format(_DEEPEST_KEY))

    # --- instructions

    def _nothing(self) -> None:
        """Of no meaning here."""

    def load_proto(self) -> None:
        version = self._number(1)
        if version not in _PROTOCOLS:
            raise NotAllowed("the pickle has protocol {}, and not 4 or 5".format(version))

    def load_frame(self) -> None:
        self._take(8)  # how much follows, for who reads from a file

    def load_mark(self) -> None:
        self._below.append(self.stack)
        self.stack = []

    def load_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self._below.pop()

    def load_pop_mark(self) -> None:
        self.stack = self._below.pop()

    def load_memoize(self) -> None:
        self._memo.append(self.stack[-1])

    def load_get(self) -> None:
        self.stack.append(self._memo[self._number(1)])

    def load_long_get(self) -> None:
        self.stack.append(self._memo[self._number(4)])

    def load_float(self) -> None:
        run = _FLOATS.match(self._data, self._at - 1)  # a list of them has many
        if run is None:
            raise NotAllowed("the pickle is cut off")
        self._at = run.end()
        self.stack += [number for (number,) in _FLOAT.iter_unpack(run.group())]

    def load_int(self) -> None:
        self.stack.append(int.from_bytes(self._take(4), "little", signed=True))

    def load_int1(self) -> None:
        self.stack.append(self._number(1))

    def load_int2(self) -> None:
        self.stack.append(self._number(2))

    def load_long1(self) -> None:
        self.stack.append(int.from_bytes(self._take(self._number(1)), "little", signed=True))

    def load_long4(self) -> None:
        self.stack.append(int.from_bytes(self._take(self._number(4)), "little", signed=True))

    def load_text(self, size: int) -> None:
        self.stack.append(str(self._take(self._number(size)), "utf-8", "surrogatepass"))

    def load_bytes(self, size: int) -> None:
        self.stack.append(bytes(self._take(self._number(size))))

    def load_bytearray(self) -> None:
        self.stack.append(bytearray(self._take(self._number(8))))

    def load_next_buffer(self) -> None:
        buffer = next(self._buffers, None)
        if buffer is None:
            raise NotAllowed("the pickle has more buffers than have come")
        self.stack.append(memoryview(buffer))

    def load_readonly_buffer(self) -> None:
        require(type(self.stack[-1]) is memoryview, "a buffer")
        self.stack[-1] = self.stack[-1].toreadonly()

    def load_tuple(self) -> None:
        items = tuple(self._since_mark())
        self.stack.append(items)

    def load_tuple_of(self, count: int) -> None:
        stack = self.stack
        require(len(stack) >= count, "a tuple")
        stack[-count:] = [tuple(self._plain(stack[-count:]))]

    def load_list(self) -> None:
        self.stack.append([])

    def load_append(self) -> None:
        self._extend(self._plain([self.stack.pop()]))

    def load_appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: List[Any]) -> None:
        target = self.stack[-1]
        kind = kind_of(target)
        require(kind is list or kind is _DEQUE, "a list")
        target.extend(items)

    def load_dict(self) -> None:
        self.stack.append({})

    def load_set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self._plain([key, value]))

    def load_set_items(self) -> None:
        self._set(self._since_mark())

    def _set(self, items: List[Any]) -> None:
        target = self.stack[-1]
        kind = kind_of(target)
        require((kind is dict or kind is _ORDERED_DICT) and len(items) % 2 == 0, "a dictionary")
        keys = items[::2]
        self._look_at_keys(target, keys)
        target.update(zip(keys, items[1::2]))

    def load_empty_set(self) -> None:
        self.stack.append(set())

    def load_add_items(self) -> None:
        items, target = self._since_mark(), self.stack[-1]
        require(type(target) is set, "a set")
        self._look_at_keys(target, items)
        target.update(items)

    def load_frozenset(self) -> None:
        items = self._since_mark()
        self._look_at_keys(items, items)
        self.stack.append(frozenset(items))

    def load_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        require(type(name) is str and type(module) is str, "a name")
        self.stack.append(maker_for(module, name))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        maker = self.stack[-1]
        require(type(maker) is Maker and type(args) is tuple, "a call")
        self.spend(1 + len(args))
        self.stack[-1] = maker.make(self.spend, *args)


_FLOAT = struct.Struct(">xd")
_Step = Callable[[_Loader], None]


def _push(value: Any) -> _Step:
    return lambda loader: loader.stack.append(value)


def _sized(step: Callable[[_Loader, int], None], size: int) -> _Step:
    return lambda loader: step(loader, size)


_STEPS: Dict[int, _Step] = {
    code[0]: step
    for code, step in [
        (pickle.PROTO, _Loader.load_proto),
        (pickle.FRAME, _Loader.load_frame),
        (pickle.MARK, _Loader.load_mark),
        (pickle.POP, _Loader.load_pop),
        (pickle.POP_MARK, _Loader.load_pop_mark),
        (pickle.MEMOIZE, _Loader.load_memoize),
        (pickle.BINGET, _Loader.load_get),
        (pickle.LONG_BINGET, _Loader.load_long_get),
        (pickle.NONE, _push(None)),
        (pickle.NEWTRUE, _push(True)),
        (pickle.NEWFALSE, _push(False)),
        (pickle.BINFLOAT, _Loader.load_float),
        (pickle.BININT, _Loader.load_int),
        (pickle.BININT1, _Loader.load_int1),
        (pickle.BININT2, _Loader.load_int2),
        (pickle.LONG1, _Loader.load_long1),
        (pickle.LONG4, _Loader.load_long4),
        (pickle.SHORT_BINUNICODE, _sized(_Loader.load_text, 1)),
        (pickle.BINUNICODE, _sized(_Loader.load_text, 4)),
        (pickle.BINUNICODE8, _sized(_Loader.load_text, 8)),
        (pickle.SHORT_BINBYTES, _sized(_Loader.load_bytes, 1)),
        (pickle.BINBYTES, _sized(_Loader.load_bytes, 4)),
        (pickle.BINBYTES8, _sized(_Loader.load_bytes, 8)),
        (pickle.BYTEARRAY8, _Loader.load_bytearray),
        (pickle.NEXT_BUFFER, _Loader.load_next_buffer),
        (pickle.READONLY_BUFFER, _Loader.load_readonly_buffer),
        (pickle.EMPTY_TUPLE, _push(())),
        (pickle.TUPLE, _Loader.load_tuple),
        (pickle.TUPLE1, _sized(_Loader.load_tuple_of, 1)),
        (pickle.TUPLE2, _sized(_Loader.load_tuple_of, 2)),
        (pickle.TUPLE3, _sized(_Loader.load_tuple_of, 3)),
        (pickle.EMPTY_LIST, _Loader.load_list),
        (pickle.APPEND, _Loader.load_append),
        (pickle.APPENDS, _Loader.load_appends),
        (pickle.EMPTY_DICT, _Loader.load_dict),
        (pickle.SETITEM, _Loader.load_set_item),
        (pickle.SETITEMS, _Loader.load_set_items),
        (pickle.EMPTY_SET, _Loader.load_empty_set),
        (pickle.ADDITEMS, _Loader.load_add_items),
        (pickle.FROZENSET, _Loader.load_frozenset),
        (pickle.STACK_GLOBAL, _Loader.load_name),
        (pickle.REDUCE, _Loader.load_reduce),
    ]
}


def loads(pickled: Buffer, buffers: Iterable[Buffer] = ()) -> Any:
    """Load plain data.

    Args:
        pickled: A pickle of protocol 4 or 5.
        buffers: Its out-of-band buffers.
    Raises:
        NotAllowed: it is something else, or would take long.
        UnpicklingError: it is no pickle, or the values in it cannot be.
        ImportError: it has arrays, and there is no numpy here.
        MemoryError: there is not enough memory.
    """
    try:
        return _Loader(pickled, buffers).load()
    except (pickle.UnpicklingError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise pickle.UnpicklingError("the pickle is damaged: {!r}".format(error)) from error
