"""Items and their outcomes on the wire."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import frames_of, join
from wetlands_rx._wire.items import (
    CANCELED_RECORD,
    PackedItem,
    Record,
    encode_items,
    encode_outcome,
    encode_outcomes,
    load_item,
    pack_item,
    read_records,
    record_of,
    record_of_failure,
)
from wetlands_rx._wire.messages import CallItems, ItemCanceled, ItemRaised, ItemsDone, ItemUnopened
from wetlands_rx._wire.target import FunctionValue
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import ProtocolError


def down(parts: Any) -> CallItems:
    (frame,) = frames_of(join(parts))
    message = codec.decode_down(frame)
    assert isinstance(message, CallItems)
    return message


def up(parts: Any) -> ItemsDone:
    (frame,) = frames_of(join(parts))
    (message,) = codec.decode_up(frame)
    assert isinstance(message, ItemsDone)
    return message


def whole(record: Record) -> bytes:
    assert isinstance(record, bytes)
    return record


class Other:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Other)

    __hash__ = None  # type: ignore[assignment]


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.tuples(inner, inner), max_leaves=20)


@given(items=st.lists(values, min_size=1), path=st.text(st.characters(exclude_characters="\0")))
def test_items_come_as_they_went(items: list[Any], path: str) -> None:
    message = down(encode_items(7, path, "f", [pack_item(item) for item in items]))
    assert (message.task, message.path, message.function) == (7, path, "f")
    assert [load_item(item) for item in message.items] == items


PATH_OF_PYTHON_313 = b"cpathlib._local\nPurePosixPath\n(Vsome\ntR."


@pytest.mark.parametrize("name", ["some", "some" * 20])
def test_a_path_of_python_313_is_loaded_by_every_other(name: str) -> None:
    pickled = PATH_OF_PYTHON_313.replace(b"some", name.encode())
    assert load_item(memoryview(pickled)) == PurePosixPath(name)
    assert Packed(pickled).load() == PurePosixPath(name)


def test_a_module_that_is_not_there_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        load_item(memoryview(b"cnowhere\nf\n."))


@pytest.mark.parametrize("items", [[1, 2], [b"one", b"two"]])
def test_a_function_by_value_travels_before_the_items(items: list[Any]) -> None:
    value = FunctionValue(b"\0code" * 100, "/folder", "/library")
    message = down(encode_items(7, "", "a.py:<lambda>", items, value))
    assert (message.path, message.function, message.value) == ("", "a.py:<lambda>", value)
    assert list(message.items) == items
    (item,) = down(encode_items(7, "", "f", [pack_item(np.arange(100_000.0))], value)).items
    assert load_item(item)[10] == 10.0


def test_an_item_with_buffers_travels_alone_and_its_copy_is_writable() -> None:
    image = np.arange(100_000.0)
    packed = pack_item(image)
    assert isinstance(packed, PackedItem)
    image += 1.0
    (item,) = down(encode_items(1, "/a.py", "f", [packed])).items
    loaded = load_item(item)
    assert loaded[10] == 10.0, "copied when it was packed"
    loaded += 1.0


def test_a_large_item_is_not_copied_into_its_frame() -> None:
    packed = pack_item("x" * 100_000)
    parts = encode_items(1, "/a.py", "f", [packed])
    assert parts[-1] is packed
    assert [load_item(item) for item in down(parts).items] == ["x" * 100_000]


@given(results=st.lists(values, min_size=1))
def test_outcomes_come_as_they_went(results: list[Any]) -> None:
    records = [record_of(value) for value in results]
    parts = list(map(whole, records))
    message = up(encode_outcomes(3, 5, len(results), 0.25, True, parts))
    assert (message.task, message.first, message.seconds, message.last) == (3, 5, 0.25, True)
    opened = [one.packed.load() if isinstance(one, ItemUnopened) else one for one in message.outcomes]
    assert opened == results


@given(results=st.lists(st.integers(), min_size=1) | st.lists(st.floats(allow_nan=False) | st.integers(), min_size=1))
def test_numbers_come_as_numbers(results: list[Any]) -> None:
    came = up(encode_outcomes(1, 0, len(results), 0.0, True, [whole(record_of(value)) for value in results])).outcomes
    assert (came, list(map(type, came))) == (results, list(map(type, results)))


def test_what_only_looks_like_numbers_is_refused() -> None:
    """As long as two records of that kind, but the second one is of another size."""
    records = whole(record_of(1)) + b"\x07" + whole(record_of(2))[1:]
    with pytest.raises(ProtocolError, match="malformed"):
        read_records(memoryview(records))


@pytest.mark.parametrize("value", [1, "x" * 100_000, np.arange(50_000.0)], ids=["small", "large", "array"])
def test_one_outcome_in_a_frame_of_its_own(value: Any) -> None:
    message = up(encode_outcome(9, record_of(value), 1.5))
    assert (message.task, message.first, message.seconds, message.last) == (9, 0, 1.5, True)
    assert np.array_equal(message.outcomes[0], value)


def test_outcomes_of_all_kinds() -> None:
    records = [
        record_of(Other()),
        record_of_failure("E: no", ["a", "b"], "m.E", "raised", None, b"pickle", "item"),
        CANCELED_RECORD,
    ]
    parts = list(map(whole, records))
    unopened, raised, canceled = up(encode_outcomes(1, 0, 3, 0.0, False, parts)).outcomes
    assert isinstance(unopened, ItemUnopened), "a class of the user's is not loaded by who reads"
    assert unopened.packed.load() == Other()
    assert raised == ItemRaised("E: no", ("a", "b"), "m.E", "raised", None, b"pickle", "item")
    assert isinstance(canceled, ItemCanceled)


@pytest.mark.parametrize("cut", [1, 8, 9, 10])
def test_records_that_are_cut_off_are_refused(cut: int) -> None:
    record = record_of("some text")
    with pytest.raises(ProtocolError, match="cut off"):
        read_records(memoryview(whole(record)[:-cut]))


def test_a_wrong_count_is_refused() -> None:
    (frame,) = frames_of(join(encode_outcomes(1, 0, 2, 0.0, True, [whole(record_of(None))])))
    with pytest.raises(ProtocolError, match="2 outcomes are announced, and 1"):
        codec.decode_up(frame)


def test_items_that_do_not_add_up_are_refused() -> None:
    whole = join(encode_items(1, "/a.py", "f", [b"abc", b"de"]))
    frame = frames_of(whole)[0]
    with pytest.raises(ProtocolError, match="2 items take"):
        codec.decode_down(frame._replace(body=bytes(frame.body) + b"x"))
