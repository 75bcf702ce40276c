"""The path that is told leads to the part that cannot cross."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.nested import at, nested
from wetlands_rx._remote.unloadable import unloadable
from wetlands_rx._remote.unpicklable import unpicklable
from wetlands_rx._wire.values import Packed


@given(nested(threading.Lock))
def test_the_path_leads_to_what_cannot_be_pickled(drawn: tuple[Any, Any]) -> None:
    value, part = drawn
    found = unpicklable([("other", 1), ("value", value), ("more", part)])
    assert found is not None
    assert at(found.path, value) is part
    assert found.type_name == "_thread.lock"


@given(nested(lambda: 1))
def test_nothing_is_told_of_what_can_be_pickled(drawn: tuple[Any, Any]) -> None:
    assert unpicklable([("value", drawn[0])]) is None


class Refuses:
    """Cannot be loaded while the switch is on."""

    on = False

    def __reduce__(self) -> Any:
        return refuse, ()


def refuse() -> Refuses:
    if Refuses.on:
        raise ValueError("no")
    return Refuses()


only_here: Any = types.ModuleType("only_here")
only_here.Own = type("Own", (), {"__module__": "only_here", "__qualname__": "Own"})


@given(nested(only_here.Own), st.integers(2, 5))
def test_the_path_leads_to_what_is_not_found(drawn: tuple[Any, Any], protocol: int) -> None:
    value, part = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "only_here", only_here)
        pickled = pickle.dumps(value, protocol)
    with pytest.raises(ModuleNotFoundError) as raised:
        pickle.loads(pickled)
    found = unloadable(pickled, (), raised.value, ["value"])
    assert found is not None
    assert (found.type_name, found.missing) == ("only_here.Own", True)
    if protocol >= 4:  # an older one writes sets in another way than `__reduce_ex__(5)` does
        assert at(found.path, value) is part


@given(nested(Refuses), st.integers(2, 5))
def test_the_path_leads_to_what_cannot_be_loaded(drawn: tuple[Any, Any], protocol: int) -> None:
    value, part = drawn
    pickled = pickle.dumps(value, protocol)
    Refuses.on = True
    try:
        with pytest.raises(ValueError, match="no") as raised:
            pickle.loads(pickled)
        found = unloadable(pickled, (), raised.value, ["value"])
    finally:
        Refuses.on = False
    assert found is not None
    assert (found.type_name, found.missing) == (f"{__name__}.refuse", False)
    if protocol >= 4:
        assert at(found.path, value) is part


@given(nested(only_here.Own), st.data())
def test_a_damaged_pickle_raises_nothing_here(drawn: tuple[Any, Any], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "only_here", only_here)
        pickled = bytearray(pickle.dumps(drawn[0], 5))
    place = data.draw(st.integers(0, len(pickled) - 1))
    del pickled[place : place + data.draw(st.integers(1, 8))]
    try:
        Packed(bytes(pickled)).load()
    except Exception as error:  # noqa: BLE001 - whatever it is
        found = unloadable(bytes(pickled), (), error, ["value"])
        assert found is None or found.path.startswith(("value", "list(", "vars("))
