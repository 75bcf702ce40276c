"""Pickles as somebody hostile would build them, instruction by instruction; none of them may do anything here."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wetlands_rx._wire.arrays import kind_of

CALLED: list[object] = []
"""What a hostile pickle has done in this process."""

PROTO = b"\x80\x05"
MARK, STOP, REDUCE, BUILD, NEWOBJ, APPEND, APPENDS = b"(", b".", b"R", b"b", b"\x81", b"a", b"e"
MEMOIZE, TUPLE, EMPTY_TUPLE, LIST, DICT, SET, NONE = b"\x94", b"t", b")", b"]", b"}", b"\x8f", b"N"
TWICE = b"\x94h\x00\x86"


def canary(*args: object) -> None:
    CALLED.append(args)


class Canary:
    def __init__(self, *args: object) -> None:
        CALLED.append(args)

    def __setstate__(self, state: object) -> None:
        CALLED.append(state)

    def __hash__(self) -> int:
        CALLED.append("hash")
        return 1


class Hostile(NamedTuple):
    name: str
    pickled: bytes
    buffers: tuple[bytes | bytearray, ...] = ()


def text(string: str) -> bytes:
    data = string.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def data(value: Any) -> bytes:
    """A plain value as part of a pickle; without memo."""
    return b"B" + struct.pack("<I", len(value)) + value if isinstance(value, bytes) else _plain(value)


def _plain(value: Any) -> bytes:  # noqa: PLR0911
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool) or value is None:
        return {True: b"\x88", False: b"\x89", None: NONE}[value]
    if isinstance(value, int):
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8b" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    kind = kind_of(value)
    if kind is tuple:
        return MARK + b"".join(map(data, value)) + TUPLE
    if kind is list:
        return LIST + MARK + b"".join(map(data, value)) + APPENDS
    assert kind is dict
    return DICT + MARK + b"".join(data(part) for pair in value.items() for part in pair) + b"u"


def name(module: str, word: str) -> bytes:
    return text(module) + text(word) + b"\x93"


def made(module: str, word: str, *args: bytes) -> bytes:
    return name(module, word) + MARK + b"".join(args) + TUPLE + REDUCE


def whole(*parts: bytes) -> bytes:
    return PROTO + b"".join(parts) + STOP


def array(dtype: object, shape: tuple[object, ...], buffer: bytes = b"\x97", *, order: str = "C") -> bytes:
    parts = [buffer, data(dtype), data(shape), data(order), data(True)]
    return made("wetlands_rx._wire.arrays", "rebuilt", *parts)


COMMAND = "echo x >> $WETLANDS_CANARY"
CODE = "__import__('tests.support.hostile').support.hostile.canary()"
HERE = "tests.support.hostile"
CALLS: list[tuple[str, str, tuple[object, ...]]] = [
    ("os", "system", (COMMAND,)),
    ("posix", "system", (COMMAND,)),
    ("nt", "system", (COMMAND,)),
    ("os", "popen", (COMMAND,)),
    ("os", "execvp", ("true", ["true"])),
    ("os", "_exit", (3,)),
    ("os", "kill", (0, 9)),
    ("subprocess", "Popen", (["sh", "-c", COMMAND],)),
    ("subprocess", "check_output", (["sh", "-c", COMMAND],)),
    ("pty", "spawn", ("sh",)),
    ("builtins", "eval", (CODE,)),
    ("builtins", "exec", (CODE,)),
    ("builtins", "compile", (CODE, "x", "exec")),
    ("builtins", "__import__", (HERE,)),
    ("builtins", "getattr", ("", "format")),
    ("builtins", "open", ("wetlands-never", "w")),
    ("builtins", "map", (1, 2)),
    ("builtins", "print", ("x",)),
    ("builtins", "input", ()),
    ("builtins", "breakpoint", ()),
    ("builtins", "object", ()),
    ("builtins", "type", ("x", (), {})),
    ("builtins", "list", ((1,),)),
    ("builtins", "complex.from_number", (1.0,)),
    ("__builtin__", "eval", (CODE,)),
    ("operator", "attrgetter", ("system",)),
    ("operator", "methodcaller", ("system", COMMAND)),
    ("functools", "partial", (1,)),
    ("functools", "reduce", (1, [2])),
    ("importlib", "import_module", (HERE,)),
    ("importlib.util", "spec_from_file_location", ("x", "x.py")),
    ("runpy", "run_path", ("x.py",)),
    ("ctypes", "CDLL", ("libc.so.6",)),
    ("ctypes", "string_at", (0,)),
    ("copyreg", "_reconstructor", (1, 2, None)),
    ("copyreg", "__newobj__", (1,)),
    ("copy_reg", "_reconstructor", (1, 2, None)),
    ("_codecs", "encode", ("x", "latin1")),
    ("codecs", "decode", (b"x", "zip")),
    ("types", "CodeType", (0, 0)),
    ("types", "FunctionType", (0, {})),
    ("marshal", "loads", (b"x",)),
    ("pickle", "loads", (b"cos\nsystem\n.",)),
    ("_pickle", "loads", (b"cos\nsystem\n.",)),
    ("shutil", "rmtree", ("wetlands-never",)),
    ("socket", "create_connection", (("127.0.0.1", 9),)),
    ("webbrowser", "open", ("x",)),
    ("code", "interact", ()),
    ("timeit", "timeit", (CODE,)),
    ("multiprocessing.shared_memory", "SharedMemory", ("x",)),
    ("threading", "Thread", ()),
    ("signal", "raise_signal", (9,)),
    ("pathlib", "Path.write_text", ("x",)),
    ("pathlib", "os.system", (COMMAND,)),
    ("datetime", "sys.exit", ()),
    ("collections", "abc.sys.exit", ()),
    ("collections", "namedtuple", ("x", "y")),
    ("collections", "defaultdict", ()),
    ("numpy", "load", ("x",)),
    ("numpy", "dtype", ("O",)),
    ("numpy._core.multiarray", "_reconstruct", (1, (0,), b"b")),
    ("numpy.core.multiarray", "scalar", (1, b"")),
    ("wetlands_rx._wire.makers", "maker_for", ("os", "system")),
    ("wetlands_rx._wire.arrays", "numpy_if_loaded", ()),
    ("wetlands_rx.ndarray", "_received", (b"x",)),
    ("wetlands_rx.exceptions", "rebuilt", (b"cos\nsystem\n.",)),
    (HERE, "canary", (1,)),
    (HERE, "Canary", (1,)),
]


def calls() -> Iterator[Hostile]:
    for module, word, args in CALLS:
        yield Hostile(f"call {module}.{word}", whole(made(module, word, *map(data, args))))


SCALAR = ("wetlands_rx._wire.arrays", "rebuilt_scalar")
MASKED = ("wetlands_rx._wire.arrays", "rebuilt_masked")
RECORD = {
    "names": ["x"],
    "formats": ["<f8"],
    "offsets": [0],
    "titles": [None],
    "itemsize": 8,
    "aligned": False,
    "record": False,
}
EIGHT = data(b"12345678")
ROOM = b"\x96" + struct.pack("<Q", 8) + b"12345678"


INSTRUCTIONS: dict[str, bytes] = {
    "GLOBAL": b"cos\nsystem\n" + data((COMMAND,)) + REDUCE,
    "GLOBAL of protocol 0": b"cposix\nsystem\n" + MARK + b"S'true'\n" + TUPLE + REDUCE,
    "INST": MARK + text("true") + b"ios\nsystem\n",
    "OBJ": MARK + name("collections", "OrderedDict") + b"o",
    "NEWOBJ": name("collections", "OrderedDict") + EMPTY_TUPLE + NEWOBJ,
    "NEWOBJ_EX": name("collections", "OrderedDict") + EMPTY_TUPLE + DICT + b"\x92",
    "NEWOBJ of ours": name(HERE, "Canary") + EMPTY_TUPLE + NEWOBJ,
    "BUILD on a dictionary": DICT + data({"update": 1}) + BUILD,
    "BUILD on a list": LIST + data({"append": 1}) + BUILD,
    "BUILD on an ordered dictionary": made("collections", "OrderedDict") + data({"items": 1}) + BUILD,
    "BUILD on a function": name("collections", "OrderedDict") + data({"__call__": 1}) + BUILD,
    "BUILD on an array": array("<f8", (1,), ROOM) + data((1, (1,), "O", False, [1])) + BUILD,
    "BUILD on a path": made("pathlib", "PurePosixPath", text("/a")) + data((None, {"_str": "/etc"})) + BUILD,
    "EXT1": b"\x82\x01",
    "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "PERSID": b"P1\n",
    "BINPERSID": text("1") + b"Q",
    "DUP": text("1") + b"2" + b"\x86",
    "PUT with a giant index": NONE + b"p99999999999999999999\n",
    "LONG_BINPUT": NONE + b"r\xff\xff\xff\xff",
    "GET": b"g0\n",
    "INT of many digits": b"I" + b"9" * 10_000 + b"\n",
    "LONG of many digits": b"L" + b"9" * 10_000 + b"L\n",
    "STRING": b"S'x'\n",
    "UNICODE": b"Vx\n",
    "FLOAT": b"F1e9999\n",
    "protocol 2": b"\x80\x02]",
    "protocol 6": b"\x80\x06]",
    "not memoized": b"h\x05",
    "not memoized, by far": b"j\xff\xff\xff\xff",
    "an unknown instruction": b"\xff",
    "nothing to memoize": MEMOIZE,
    "nothing to call": REDUCE,
    "no mark": TUPLE,
    "no mark to pop": b"1",
    "nothing to pop": b"0",
    "a mark left": MARK + NONE,
    "two values": NONE + NONE,
    "no value": b"",
    "APPEND to nothing": NONE + APPEND,
    "a giant text": b"\x8d" + b"\xff" * 7 + b"\x7f",
    "a giant bytes": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "a giant bytearray": b"\x96" + b"\x00\x00\x00\x00\x10\x00\x00\x00",
    "a giant int": b"\x8b\xff\xff\xff\x7f",
    "a negative int": b"\x8b\xff\xff\xff\xff",
    "a cut off float": b"G1234",
    "wrong UTF-8": b"X\x01\x00\x00\x00\xff",
    "a frame beyond the end": b"\x95\x01",
    "a name that is no text": NONE + NONE + b"\x93",
    "a function as the result": name("collections", "deque"),
    "a function in a list": LIST + name("collections", "deque") + APPEND,
    "a function in a tuple": name("collections", "deque") + b"\x85",
    "a function as a key": DICT + name("collections", "deque") + NONE + b"s",
    "a function as an argument": name("collections", "deque") + name("builtins", "slice") + b"\x85" + REDUCE,
    "a function in a set": SET + MARK + name("collections", "deque") + b"\x90",
    "a function in a frozenset": MARK + name("collections", "deque") + b"\x91",
    "a call of a list": LIST + EMPTY_TUPLE + REDUCE,
    "a call with a list": name("collections", "OrderedDict") + LIST + REDUCE,
    "a call with too much": made("collections", "OrderedDict", NONE, NONE),
    "APPENDS to a dictionary": DICT + MARK + NONE + APPENDS,
    "APPENDS to a bytearray": b"\x96" + b"\0" * 8 + MARK + data(1) + APPENDS,
    "APPENDS to an array": array("<f8", (1,), ROOM) + MARK + NONE + APPENDS,
    "SETITEM of a list": LIST + data(0) + NONE + b"s",
    "SETITEM of a bytearray": made("builtins", "bytearray", data(b"1")) + data(0) + data(1) + b"s",
    "SETITEM of an array": array("<f8", (1,), ROOM) + data(0) + data(1) + b"s",
    "SETITEMS, an odd number": DICT + MARK + NONE + b"u",
    "ADDITEMS to a list": LIST + MARK + NONE + b"\x90",
    "a list as a key": DICT + LIST + NONE + b"s",
    "NEXT_BUFFER beyond the end": b"\x97",
    "READONLY_BUFFER of a list": LIST + b"\x98",
}
TYPES: dict[str, bytes] = {
    "complex of texts": made("builtins", "complex", text("1"), text("2")),
    "bytearray of a number": made("builtins", "bytearray", data(1 << 40)),
    "bytearray of a text": made("builtins", "bytearray", text("x"), text("latin1")),
    "range of texts": made("builtins", "range", text("x")),
    "range of giants": made("builtins", "range", data(1 << 100_000), data(1 << 1_000_000)),
    "slice of a list": made("builtins", "slice", LIST),
    "deque of items": made("collections", "deque", data([1])),
    "deque of a text as length": made("collections", "deque", EMPTY_TUPLE, text("x")),
    "date of numbers": made("datetime", "date", data(2020), data(1), data(1)),
    "date of too much": made("datetime", "date", data(b"12345")),
    "date that is none": made("datetime", "date", data(b"\x00\x00\x00\x00")),
    "time with a list as zone": made("datetime", "time", data(b"\0" * 6), LIST),
    "time that is none": made("datetime", "time", data(b"\x7f\xff\xff\xff\xff\xff")),
    "datetime with a text as zone": made("datetime", "datetime", data(b"\x07\xe4\x01\x01\0\0\0\0\0\0"), text("UTC")),
    "datetime that is none": made("datetime", "datetime", data(b"\xff" * 10)),
    "timedelta of floats": made("datetime", "timedelta", data(1e308)),
    "timedelta of a giant": made("datetime", "timedelta", data(1 << 1_000_000)),
    "timezone of a number": made("datetime", "timezone", data(1)),
    "decimal of a tuple": made("decimal", "Decimal", data((0, (1,), 1 << 62))),
    "decimal of many digits": made("decimal", "Decimal", text("9" * 1_000_000)),
    "decimal of a word": made("decimal", "Decimal", text("word")),
    "fraction of floats": made("fractions", "Fraction", data(1.5)),
    "fraction of an exponent": made("fractions", "Fraction", text("1e999999999")),
    "fraction of giants": made("fractions", "Fraction", data(1 << 1_000_000), data((1 << 999_999) + 1)),
    "fraction by zero": made("fractions", "Fraction", data(1), data(0)),
    "path of a number": made("pathlib", "PurePosixPath", data(1)),
}


def nested(levels: int) -> object:
    made_of: object = "<f8"
    for _ in range(levels):
        made_of = {**RECORD, "formats": [made_of]}
    return made_of


ARRAYS: dict[str, bytes] = {
    "dtype of objects": array("O", (1,), ROOM),
    "dtype of objects, with a sign": array("|O", (1,), ROOM),
    "dtype with a comma": array("f4,O", (1,), ROOM),
    "dtype of a word": array("object", (1,), ROOM),
    "dtype of texts of any length": array("T", (1,), ROOM),
    "dtype of texts of any length, with a size": array("|T16", (1,), b"\x96" + struct.pack("<Q", 16) + b"\xff" * 16),
    "dtype without bytes": array("V0", (1 << 40,), ROOM),
    "dtype of a giant item, and none": array("V2000000000", (0,), ROOM),
    "dtype with objects in a field": array({**RECORD, "formats": ["|O"]}, (1,), ROOM),
    "dtype with objects in a field of a field": array(
        {**RECORD, "formats": [{**RECORD, "formats": ["O8"]}]}, (1,), ROOM
    ),
    "dtype with objects in a subarray": array(("O", (1,)), (1,), ROOM),
    "dtype of a giant subarray": array(("<f8", (1 << 62, 1 << 62)), (0,), ROOM),
    "dtype of a subarray of texts": array(("<f8", ("x",)), (1,), ROOM),
    "dtype nested too deeply": array(nested(12), (1,), ROOM),
    "dtype with fields outside": array({**RECORD, "offsets": [1 << 20]}, (1,), ROOM),
    "dtype with a negative field": array({**RECORD, "offsets": [-8]}, (1,), ROOM),
    "dtype with too few formats": array({**RECORD, "formats": []}, (1,), ROOM),
    "dtype with other keys": array({"names": ["x"], "formats": ["O"]}, (1,), ROOM),
    "dtype of a list": array([("x", "O")], (1,), ROOM),
    "dtype of a number": array(1, (1,), ROOM),
    "shape that is too large": array("<f8", (2,), ROOM),
    "shape that overflows": array("<f8", (1 << 62, 1 << 62), ROOM),
    "shape that is negative": array("<f8", (-1,), ROOM),
    "shape of a giant": array("<f8", (1 << 100,), ROOM),
    "shape of a text": array("<f8", ("x",), ROOM),
    "order of a word": array("<f8", (1,), ROOM, order="A"),
    "buffer of bytes": array("<f8", (1,), EIGHT),
    "buffer of a list": array("<f8", (1,), LIST),
    "buffer of a number": array("<f8", (1,), data(8)),
    "buffer that did not come": array("<f8", (1,)),
    "scalar of objects": made(*SCALAR, EIGHT, text("O")),
    "scalar of too little": made(*SCALAR, EIGHT, text("<U1000")),
    "scalar of a list": made(*SCALAR, LIST, text("<f8")),
    "recarray of a list": made("wetlands_rx._wire.arrays", "rebuilt_records", LIST),
    "masked array of a list": made(*MASKED, LIST, NONE, NONE, data(False)),
    "masked array with a mask of another shape": made(
        *MASKED, array("<f8", (0, 1 << 40), ROOM), array("|b1", (1,), ROOM), NONE, data(False)
    ),
    "masked array with a mask of numbers": made(
        *MASKED, array("<f8", (1,), ROOM), array("<f8", (1,), ROOM), NONE, data(False)
    ),
    "masked array filled with a list": made(*MASKED, array("<f8", (1,), ROOM), NONE, data([[1], [2]]), data(False)),
    "masked array filled with a text": made(*MASKED, array("<f8", (1,), ROOM), NONE, text("x"), data(False)),
    "masked array with a hard list": made(*MASKED, array("<f8", (1,), ROOM), NONE, NONE, LIST),
}


def laughs(levels: int = 60) -> bytes:
    """A tuple of two, each of which is the same tuple of two, and so on."""
    return EMPTY_TUPLE + b"".join(MEMOIZE + b"h" + bytes([level]) + b"\x86" for level in range(levels))


def collisions(make: str, count: int = 20_000) -> bytes:
    """Keys with one hash."""
    alike_of: dict[str, Callable[[int], bytes]] = {
        "int": lambda n: data((n + 2) * ((1 << 61) - 1)),
        "complex": lambda n: made("builtins", "complex", data(-1000003.0 * n), data(float(n))),
        "fraction": lambda n: made("fractions", "Fraction", data(n * ((1 << 61) - 1) + 1), data(1)),
        "tuple": lambda n: data(((n + 2) * ((1 << 61) - 1),)),
        "decimal": lambda n: made("decimal", "Decimal", text(str((n + 2) * ((1 << 61) - 1)))),
    }
    alike = alike_of[make]
    return DICT + MARK + b"".join(alike(n) + NONE for n in range(count)) + b"u"


def copies(module: str, word: str, argument: bytes, count: int) -> bytes:
    """The same thing made of the same arguments over and over."""
    function = name(module, word) + MEMOIZE + b"0"
    return function + argument + MEMOIZE + b"0" + LIST + MARK + b"h\x00h\x01R" * count + APPENDS


BOMBS: dict[str, bytes] = {
    "laughs as a key": DICT + laughs() + NONE + b"s",
    "laughs in a set": SET + MARK + laughs() + b"\x90",
    "laughs in a frozenset": MARK + laughs() + b"\x91",
    "laughs as a shape": made(
        "wetlands_rx._wire.arrays", "rebuilt", ROOM, text("<f8"), laughs(), text("C"), data(True)
    ),
    "laughs as a dtype": made("wetlands_rx._wire.arrays", "rebuilt", ROOM, laughs(), data((1,)), text("C"), data(True)),
    "a deep key": DICT + EMPTY_TUPLE + b"\x85" * 1_000_000 + NONE + b"s",
    "many heavy keys": EMPTY_TUPLE
    + b"".join(MEMOIZE + b"h" + bytes([level]) + b"\x86" for level in range(12))
    + MEMOIZE
    + LIST
    + MARK
    + (DICT + b"h\x0cNs") * 50_000
    + APPENDS,
    **{f"keys with one hash: {make}": collisions(make) for make in ("int", "complex", "fraction", "tuple", "decimal")},
    "keys with one hash, one by one": DICT
    + b"".join(data((n + 2) * ((1 << 61) - 1)) + NONE + b"s" for n in range(20_000)),
    "copies of a bytearray": copies("builtins", "bytearray", data((bytes(100_000),)), 50_000),
    "copies of a path": copies("pathlib", "PurePosixPath", data(("a/" * 50_000,)), 50_000),
    "copies of a decimal": copies("decimal", "Decimal", data(("9" * 7_000,)), 100_000),
    "a dtype over and over": copies(*SCALAR, data((b"12345678", nested(8))), 50_000),
}


def corpus() -> list[Hostile]:
    """All of them; each must end in an error."""
    made_up = {**INSTRUCTIONS, **TYPES, **ARRAYS, **BOMBS}
    return [*calls(), *(Hostile(title, whole(body)) for title, body in made_up.items()), *truncated()]


def truncated() -> Iterator[Hostile]:
    good = pickle.dumps({"a": [1, 2.5, "x", b"y", (None, {3})]}, 5)
    for end in range(len(good)):
        yield Hostile(f"cut off at {end}", good[:end])
    yield Hostile("something behind the end", good + b"x")
