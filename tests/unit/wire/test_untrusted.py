"""Of a worker that is not trusted each message is read as of any other one, or ends in an error that names it."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import numpy as np
import pytest

from tests.support import hostile
from wetlands_rx._wire import codec, items, untrusted
from wetlands_rx._wire.decoders import TRUSTED, decoders_for
from wetlands_rx._wire.frames import BUFFERS, PLAIN, SHARED, Frame, frames_of
from wetlands_rx._wire.messages import FinishedUnopened, ItemUnopened, OutputUnopened
from wetlands_rx.exceptions import ProtocolError

PLAIN_RECORD = ("builtins.ValueError", "x", None, (), None, None, False, ())


def frame_of(parts: Any) -> Frame:
    data = parts if isinstance(parts, bytes) else b"".join(bytes(part) for part in parts)
    (frame,) = frames_of(data)
    return frame


ORDINARY: dict[str, Any] = {
    "hello": codec.encode_hello((3, 8, 1), 12),
    "log": codec.encode_log(1, 20, "a line"),
    "updates": codec.encode_updates(1, [("a", 1, 2), (None, 0.5, None)]),
    "canceled": codec.encode_canceled(3),
    "recalled": codec.encode_recalled([1, 2], 3, 4),
    "error": codec.encode_error(1, "ValueError: x", ["a", "b"], "builtins.ValueError", "raised"),
    "error with a cause": codec.encode_error(
        1,
        "x",
        ["a"],
        "b",
        "serialization",
        (*PLAIN_RECORD[:4], PLAIN_RECORD, None, True, (PLAIN_RECORD,)),
        b"",
        "p",
        "t",
    ),
    "result": codec.encode_result(1, {"a": 1, "b": 2.5}, 0.5),
    "nothing": codec.encode_result(1, None),
    "output": codec.encode_output(1, "key", (1, 2)),
    **{
        f"items {value!r}": items.encode_outcome(1, items.record_of(value), 0.5)
        for value in (1, 2.5, None, "x", [1, 2], 2**70)
    },
    "items raised": items.encode_outcome(1, items.record_of_failure("x", ["a"], "b", "raised", PLAIN_RECORD), 0.0),
    "items canceled": items.encode_outcome(1, items.CANCELED_RECORD, 0.0),
    "items large": items.encode_outcome(1, items.record_of("x" * 3000), 0.0),
    "items two": items.encode_outcomes(1, 5, 2, 0.1, False, [items.record_of(1), items.record_of("b")]),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_message_is_read_as_of_any_other_worker(name: str) -> None:
    frame = frame_of(ORDINARY[name])
    assert untrusted.decode_up(frame) == codec.decode_up(frame)


def test_the_decoders_are_those_asked_for() -> None:
    assert decoders_for("pickle") is TRUSTED
    assert decoders_for("safe").up is untrusted.decode_up
    assert decoders_for("safe").records is untrusted.read_records


def test_arrays_come_in_results_outputs_and_items() -> None:
    array = np.arange(100_000.0)
    (finished,) = untrusted.decode_up(frame_of(codec.encode_result(1, [array])))
    (output,) = untrusted.decode_up(frame_of(codec.encode_output(1, "key", array)))
    record: Any = items.record_of(array)
    (done,) = untrusted.decode_up(frame_of(items.encode_large_outcome(1, 0, 0.0, True, record)))
    messages: Any = finished, output, done
    finished, output, done = messages
    for value in (finished.value[0], output.value, done.outcomes[0]):
        assert np.array_equal(value, array)
        value[0] = 7.0


def test_what_is_large_is_not_opened_by_the_reader() -> None:
    value = list(range(10_000))
    (finished,) = untrusted.decode_up(frame_of(codec.encode_result(1, value)))
    assert isinstance(finished, FinishedUnopened)
    assert finished.packed.load() == value


def test_a_value_that_is_refused_is_left_to_who_opens_it() -> None:
    bad = hostile.corpus()[0].pickled
    record = struct.pack("<QB", len(bad), 16 | PLAIN) + bad
    (finished,) = untrusted.decode_up(Frame(codec.RESULT, PLAIN, 1, b"\0\0\0\0" + bad))
    (output,) = untrusted.decode_up(Frame(codec.OUTPUT, PLAIN, 1, bad))
    (outcome,) = untrusted.read_records(memoryview(record))
    assert isinstance(finished, FinishedUnopened)
    assert isinstance(output, OutputUnopened)
    assert isinstance(outcome, ItemUnopened)
    for packed in (finished.packed, output.packed, outcome.packed):
        assert not packed.trusted
        assert packed.claimed() is packed
        with pytest.raises(pickle.UnpicklingError):
            packed.load()


def test_the_pickle_of_an_exception_is_dropped() -> None:
    harm = pickle.dumps(ValueError("x"))
    (raised,) = untrusted.decode_up(frame_of(codec.encode_error(1, "x", [], "t", "raised", None, harm)))
    assert raised.original == b""  # type: ignore[union-attr]
    record: Any = items.record_of_failure("x", [], "t", "raised", None, harm)
    (outcome,) = untrusted.read_records(memoryview(record))
    assert outcome.original == b""


LIST: list[int] = []


def pickled(value: object) -> bytes:
    return pickle.dumps(value, 5)


def records(*outcomes: bytes, count: int = 1) -> bytes:
    return struct.pack("<IIIB", 0, count, 0, 1) + b"".join(outcomes)


def record(kind: int, body: bytes) -> bytes:
    return struct.pack("<QB", len(body), kind) + body


def twice(levels: int) -> tuple[Any, ...]:
    made = PLAIN_RECORD
    for _ in range(levels):
        made = (*PLAIN_RECORD[:4], made, made, False, ())
    return made


def table(*sizes: int, places: bytes = b"") -> bytes:
    return struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes) + places


ERRORS: dict[str, tuple[Any, ...]] = {
    "of numbers": (1, 2, 3, 4),
    "with too much": ("x", (), "t", "raised", None, b"", "", "", ValueError),
    "of no known kind": ("x", (), "t", "fun"),
    "with a list as its kind": ("x", (), "t", []),
    "with a list of lines": ("x", ["a"], "t", "raised"),
    "with lines of numbers": ("x", (1,), "t", "raised"),
    "with a text as its pickle": ("x", (), "t", "raised", None, "x"),
    "with a number as its path": ("x", (), "t", "raised", None, b"", 1),
    "with a text as its record": ("x", (), "t", "raised", "record"),
    "with a short record": ("x", (), "t", "raised", ("a", "b")),
    "with a record of lists": ("x", (), "t", "raised", ("a", "b", None, [], None, None, False, ())),
    "with records without end": ("x", (), "t", "raised", twice(60)),
}
WRONG: dict[str, tuple[int, bytes]] = {
    "no such message": (99, b""),
    "no result": (codec.RESULT, b"\0"),
    "no log": (codec.LOG, b""),
    "a log of a list": (codec.LOG, pickled([20, "x"])),
    "a log at a level that is a list": (codec.LOG, pickled((LIST, "x"))),
    "a log at a level that is true": (codec.LOG, pickled((True, "x"))),
    "a log at a giant level": (codec.LOG, pickled((10**5000, "x"))),
    "a log of a number": (codec.LOG, pickled((20, 1))),
    "a log with more": (codec.LOG, pickled((20, "x", 1))),
    "a hello of texts": (codec.HELLO, pickled(("4", (3, 11, 0), 1, 5))),
    "a hello from a Python of texts": (codec.HELLO, pickled((4, ("3", "11", "0"), 1, 5))),
    "a hello from a short Python": (codec.HELLO, pickled((4, (3,), 1, 5))),
    "a hello from a negative process": (codec.HELLO, pickled((4, (3, 11, 0), -1, 5))),
    "updates that are none": (codec.UPDATES, pickled(None)),
    "updates of a dictionary": (codec.UPDATES, pickled({"a": 1})),
    "updates of numbers": (codec.UPDATES, pickled([1])),
    "updates of a number as text": (codec.UPDATES, pickled([(1, 1, 1)])),
    "updates to a list": (codec.UPDATES, pickled([("x", LIST, 1)])),
    "updates to a truth": (codec.UPDATES, pickled([("x", True, 1)])),
    "updates to a giant": (codec.UPDATES, pickled([("x", 10**5000, 1)])),
    "updates to half of it": (codec.UPDATES, pickled([("x", 1)])),
    "a recall of texts": (codec.RECALLED, pickled((("x",), 1, 1))),
    "a recall of a list": (codec.RECALLED, pickled(([1], 1, 1))),
    "a recall of less than nothing": (codec.RECALLED, pickled(((), 1, -5))),
    "a recall of a giant": (codec.RECALLED, pickled(((), 10**50, 1))),
    "a recall of half": (codec.RECALLED, pickled(((), 1, 0.5))),
    "an output of a list": (codec.OUTPUT, pickled(["key", 1])),
    "an output under a list": (codec.OUTPUT, pickled((LIST, 1))),
    "an output under nothing": (codec.OUTPUT, pickled((None, 1))),
    "an output of three": (codec.OUTPUT, pickled(("key", 1, 2))),
    "items: more than have come": (items.ITEMS_DONE, records(record(8, b""), count=2)),
    "items: fewer than have come": (items.ITEMS_DONE, records(record(8, b""), record(8, b""))),
    "items: cut off": (items.ITEMS_DONE, records(struct.pack("<QB", 1 << 40, 8))),
    "items: cut off in the head": (items.ITEMS_DONE, records(b"123")),
    "items: no such outcome": (items.ITEMS_DONE, records(record(1, b""))),
    "items: a short number": (items.ITEMS_DONE, records(record(32, b"1"))),
    "items: a buffer without a table": (items.ITEMS_DONE, records(record(16 | BUFFERS, b"1"))),
    **{f"an error {name}": (codec.ERROR, pickled(told)) for name, told in ERRORS.items() if name != "with too much"},
    **{
        f"items: an error {name}": (items.ITEMS_DONE, records(record(4, pickled(told))))
        for name, told in ERRORS.items()
        if name != "with too much"
    },
    "an error with too much": (codec.ERROR, pickled((*ERRORS["with too much"][:8], 1))),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_message_that_lies_about_its_form_is_an_error(name: str) -> None:
    kind, body = WRONG[name]
    with pytest.raises(ProtocolError):
        untrusted.decode_up(Frame(kind, PLAIN, 1, body))


BODIES: dict[str, tuple[int, bytes]] = {
    "more parts than there are bytes": (BUFFERS, struct.pack("<I", 0xFFFFFFFF)),
    "no parts": (BUFFERS, table()),
    "parts of other sizes": (BUFFERS, table(5, 1 << 40) + b"12345"),
    "an arena that there is not": (BUFFERS | SHARED, table(5, 8, places=struct.pack("<QI", 0, 0)) + b"12345"),
    "places that are cut off": (BUFFERS | SHARED, table(5, 8)),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_lies_about_its_buffers_is_an_error(name: str) -> None:
    flags, body = BODIES[name]
    for frame in (Frame(codec.RESULT, flags, 1, b"\0\0\0\0" + body), Frame(codec.OUTPUT, flags, 1, body)):
        with pytest.raises(ProtocolError):
            untrusted.decode_up(frame)


@pytest.mark.parametrize("kind", [codec.LOG, codec.HELLO, codec.UPDATES, codec.RECALLED, codec.ERROR])
@pytest.mark.parametrize("flags", [0, PLAIN, BUFFERS, 255])
def test_no_message_of_any_kind_is_loaded_by_the_ordinary_loader(kind: int, flags: int) -> None:
    for one in hostile.calls():
        with pytest.raises(ProtocolError):
            untrusted.decode_up(Frame(kind, flags, 1, one.pickled))
    assert not hostile.CALLED
