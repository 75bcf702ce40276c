"""Where in a pickle the part is that cannot be loaded: cases that the properties do not draw."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support import hostile
from wetlands_rx._remote import unloadable as module
from wetlands_rx._remote.places import Found
from wetlands_rx._remote.unloadable import part_named, unloadable
from wetlands_rx._wire.packing import pack


@pytest.fixture
def only_here() -> Iterator[Any]:
    """A module that is gone after the test, or before."""
    made: Any = types.ModuleType("only_here")
    exec("class Own: pass\ndef function(): pass", made.__dict__)
    sys.modules["only_here"] = made
    yield made
    sys.modules.pop("only_here", None)


def find(pickled: Any, buffers: Any = (), names: Any = ("x",)) -> Found | None:
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - the user's code
        pickle.loads(pickled, buffers=buffers)
    return unloadable(pickled, buffers, raised.value, names)


class Counts:
    loaded = 0

    def __reduce__(self) -> Any:
        return count, ()


def count() -> int:
    Counts.loaded += 1
    return Counts.loaded


class NeedsTwo(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class Refuses:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __setstate__(self, state: Any) -> None:
        raise state["error"]


class Changes:
    """Raises something else the second time."""

    kinds: ClassVar[list[type[Exception]]] = []

    def __reduce__(self) -> Any:
        return change, ()


def change() -> Any:
    raise Changes.kinds.pop()


class Key:
    hashes = True

    def __init__(self) -> None:
        self.some = "state"

    def __hash__(self) -> int:
        if not Key.hashes:
            raise TypeError("no")
        return 1


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_object_that_raises_when_its_state_is_set(error: BaseException) -> None:
    assert find(pickle.dumps({"a": [Refuses(error)]})) == Found(
        "x['a'][0]", f"{__name__}.Refuses", f"{__name__}.Refuses"
    )


def test_an_exception_whose_constructor_wants_more() -> None:
    found = find(pickle.dumps((1, NeedsTwo("a", "b"))))
    assert found is not None
    assert (found.path, found.type_name, found.missing) == ("x[1]", f"{__name__}.NeedsTwo", False)


def test_a_key_that_has_no_hash() -> None:
    pickled = pickle.dumps([0, {Key(): 1}])
    Key.hashes = False
    try:
        assert find(pickled) == Found("x[1]", "dict", "dict")
    finally:
        Key.hashes = True


def test_arguments_have_names_of_their_own(only_here: Any) -> None:
    pickled = pickle.dumps(((1,), {"key": only_here.Own()}))
    del sys.modules["only_here"]
    found = find(pickled, (), ["args", "kwargs"])
    assert found is not None
    assert found.path == "kwargs['key']"


def test_nothing_is_run_once_more_for_a_class_that_is_not_found(only_here: Any) -> None:
    pickled = pickle.dumps([Counts(), only_here.Own()])
    del sys.modules["only_here"]
    before = Counts.loaded
    found = find(pickled)
    assert found is not None
    assert found.path == "x[1]"
    assert Counts.loaded == before + 1


def test_a_name_that_its_module_lacks(only_here: Any) -> None:
    pickled = pickle.dumps([len, only_here.Own, only_here.function])
    del only_here.function
    assert find(pickled) == Found("x[2]", "only_here.function", "only_here.function", missing=True)


def test_a_module_that_fails_when_it_is_imported(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "breaks_when_imported.py").write_text("class Own: pass\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module: Any = __import__("breaks_when_imported")
    pickled = pickle.dumps([1, module.Own()])
    del sys.modules["breaks_when_imported"]
    (tmp_path / "breaks_when_imported.py").write_text("raise SystemExit(3)  # longer than before\n")
    found = find(pickled)
    assert found is not None
    assert (found.path, found.type_name, found.missing) == ("x[1]", "breaks_when_imported.Own", True)


def test_buffers_beside_the_pickle_are_looked_past(only_here: Any) -> None:
    pickled, buffers = pack([np.zeros(1000), {"own": only_here.Own(), "no": Refuses(ValueError("no"))}])
    found = find(pickled, tuple(buffers))
    assert found is not None
    assert found.path == "x[1]['no']"
    del sys.modules["only_here"]
    found = find(pickled, tuple(buffers))
    assert found is not None
    assert found.path == "x[1]['own']"


def test_a_failure_that_is_another_one_the_second_time_tells_nothing() -> None:
    pickled = pickle.dumps([Changes()])
    Changes.kinds = [ValueError, KeyError]
    assert find(pickled) is None
    Changes.kinds = [ValueError, ValueError]
    assert find(pickled) is not None


@pytest.mark.parametrize(
    "pickled", [b"", b"\x80", b"\x80\x05N", b"garbage", pickle.dumps([1, 2])[:-1], b"\x80\x05\x82\x01.", b"]]e."]
)
def test_what_is_no_pickle_of_ours_tells_nothing(pickled: bytes) -> None:
    assert find(pickled) is None


def test_what_takes_too_long_or_no_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = pickle.dumps([[number] for number in range(5000)] + [Refuses(MemoryError())])
    assert find(pickled) is None
    pickled = pickle.dumps([[number] for number in range(5000)] + [Refuses(ValueError("no"))])
    assert find(pickled) is not None
    monkeypatch.setattr(module, "LONGEST_S", -1.0)
    assert find(pickled) is None


# --- of a pickle that nobody may load


def test_a_part_is_found_by_its_name_without_loading_anything() -> None:
    command = hostile.made("os", "system", hostile.text("x"))
    rows = hostile.LIST + hostile.MARK + hostile.data(1) + command + hostile.APPENDS
    pickled = hostile.whole(hostile.DICT, hostile.MARK, hostile.text("a"), rows, b"u")
    found = part_named(pickled, "os", "system", ["result"])
    assert found is not None
    assert found.path == "result['a'][1]"
    assert part_named(pickled, "os", "popen", ["result"]) is None
    assert part_named(pickled, "", "", ["result"]) is None


def test_a_part_is_looked_for_in_all_that_is_hostile_without_harm() -> None:
    for one in hostile.corpus():
        for place, name, _ in hostile.CALLS[:2]:
            part_named(one.pickled, place, name, ["result"])
    assert not hostile.CALLED


def test_an_object_that_is_said_to_have_made_itself_is_no_end_of_search() -> None:
    arguments = hostile.LIST + hostile.MEMOIZE
    itself = hostile.name("copyreg", "_reconstructor") + arguments + hostile.REDUCE + hostile.MEMOIZE
    closed = itself + b"h\x00h\x01a0"
    pickled = hostile.whole(hostile.DICT, hostile.MARK, closed, hostile.name("os", "system"), b"u")
    part_named(pickled, "os", "system", ["result"])


def test_what_is_nested_too_deeply_to_be_described_in_time_has_no_path() -> None:
    deep = hostile.LIST * 150_000 + hostile.name("os", "system") + hostile.APPEND * 150_000
    found = part_named(hostile.whole(deep), "os", "system", ["result"])
    assert found is None or found.path.startswith("result[0][0]")
