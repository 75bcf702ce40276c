"""`NDArray` in one process, and between a process and those that it starts itself."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.blocks import held, held_bytes
from wetlands_rx._ndarray import dtypes
from wetlands_rx._wire import blocks
from wetlands_rx._wire.kept import number_kept, sweep
from wetlands_rx.exceptions import SerializationError, WetlandsError
from wetlands_rx.ndarray import (
    NDArray,
    SharedBlock,
    create_shared_array,
    get_shared_array,
    register_ndarray_pickle,
    release_shared_memory,
    share_array,
    share_manage_array,
    unregister,
    unwrap,
    update_ndarray,
    wrap,
)

ROOT = Path(__file__).parents[2]
MB = 1 << 20
WITHOUT_A_NAME = pytest.mark.parametrize("kind", ["without a name"], indirect=True)


def sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture(params=["without a name", "by name"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How blocks are made: each test holds for both."""
    if request.param == "by name":
        monkeypatch.setenv("WETLANDS_RX_SHARED_MEMORY", "named")
    elif not blocks.is_supported():
        pytest.skip("this system has no memory files")
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    gc.collect()
    for _ in range(1 + number_kept()):
        sweep()
    assert number_kept() == 0, "a block that nobody disposed of"


ARRAYS = {
    "one axis": np.arange(5, dtype="f4"),
    "C order": np.arange(24).reshape(2, 3, 4),
    "Fortran order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "every other": np.arange(10)[::2],
    "backwards": np.arange(10)[::-1],
    "neither order": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "repeated": np.broadcast_to(np.arange(3), (4, 3)),
    "read only": np.frombuffer(b"abcd", "u1"),
    "no axis": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "empty at the end": np.zeros((3, 0), "c16"),
    "bool": np.array([True, False]),
    "half": np.array([1.5], "f2"),
    "long double": np.array([1.5], "g"),
    "complex": np.array([1 + 2j]),
    "other byte order": np.arange(3, dtype=">i4"),
    "time": np.array(["2020-01-01", "NaT"], "M8[ns]"),
    "span": np.array([1, 2], "m8[ms]"),
    "text": np.array(["a", "längst"]),
    "bytes": np.array([b"a", b"bc"]),
    "void": np.zeros(2, "V3"),
    "fields": np.array([(1, (2.0, 3.0)), (4, (5.0, 6.0))], [("a", "i1"), ("b", "f8", (2,))]),
    "aligned fields": np.ones(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "fields with titles": np.ones(2, [(("The first", "a"), "i2"), ("b", "i4")]),
    "fields that overlap": np.ones(2, {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2], "itemsize": 9}),
    "fields in fields": np.zeros(2, [("a", [("b", ">i2"), ("c", "M8[D]")])]),
    "no fields": np.zeros(2, np.dtype([])),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_equal_whatever_its_dtype_and_order(name: str) -> None:
    array = ARRAYS[name]
    with NDArray(array) as shared:
        received = sent(shared)
        for one in (shared, received):
            assert (one.shape, one.dtype, one.nbytes) == (array.shape, array.dtype, array.nbytes)
            assert one.dtype.isalignedstruct == array.dtype.isalignedstruct
            np.testing.assert_array_equal(one.array, array)
            assert one.array.flags.writeable
        in_fortran_order = array.flags.f_contiguous and not array.flags.c_contiguous
        assert received.array.flags.f_contiguous if in_fortran_order else received.array.flags.c_contiguous


@pytest.mark.parametrize(
    "dtype",
    [np.dtype("O"), np.dtype([("a", "O")]), *([np.dtypes.StringDType()] if hasattr(np.dtypes, "StringDType") else [])],
    ids=str,
)
def test_a_dtype_with_python_objects_is_refused_with_a_way_out(dtype: Any) -> None:
    with pytest.raises(TypeError, match="astype"):
        NDArray(np.zeros(2, dtype))
    with pytest.raises(TypeError, match="pickled"):
        NDArray(shape=3, dtype=dtype)


def test_a_masked_array_is_refused_and_a_memmap_is_copied(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="mask"):
        NDArray(np.ma.masked_array([1, 2], [True, False]))
    mapped = np.memmap(tmp_path / "file", "i4", "w+", shape=(3,))
    mapped[:] = 7
    with NDArray(mapped) as shared:
        assert type(shared.array) is np.ndarray
        assert shared.array.tolist() == [7, 7, 7]
    del mapped


def test_anything_that_numpy_takes_for_an_array_can_be_shared() -> None:
    with NDArray([[1, 2], [3, 4]]) as shared:
        assert (shared.shape, shared.array.sum()) == ((2, 2), 10)


@pytest.mark.parametrize(("shape", "expected"), [((2, 3), (2, 3)), ([4], (4,)), (5, (5,)), ((), ()), ((0, 2), (0, 2))])
def test_without_an_array_there_are_zeros(shape: Any, expected: tuple[int, ...]) -> None:
    with NDArray(shape=shape, dtype="float32") as shared:
        assert (shared.shape, shared.dtype, shared.array.shape) == (expected, np.float32, expected)
        assert not shared.array.any()


def test_a_dtype_with_a_shape_gives_its_shape_to_the_array_as_in_numpy() -> None:
    with NDArray(shape=2, dtype=("f4", (3,))) as shared:
        assert (shared.shape, shared.dtype, shared.nbytes) == ((2, 3), np.float32, 24)


@pytest.mark.parametrize("given", [{}, {"shape": (3,)}, {"dtype": "f4"}])
def test_neither_an_array_nor_shape_and_dtype_is_an_error_that_says_what_is_needed(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="an array to copy, or both the shape and the dtype"):
        NDArray(**given)


def test_a_negative_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="negative"):
        NDArray(shape=(2, -1), dtype="u1")


@pytest.mark.parametrize("size", [1 << 45, 1 << 62, 1 << 70])
def test_more_than_there_is_is_a_memory_error(size: int) -> None:
    with pytest.raises(MemoryError, match=str(size)):
        NDArray(shape=size, dtype="u1")


def test_the_array_is_copied_and_what_is_received_is_the_same_memory() -> None:
    array = np.zeros(4)
    with NDArray(array) as shared:
        received, again = sent([shared, shared])
        array[0] = 1
        received.array[1] = 2
        again.array[2] = 3
        assert shared.array.tolist() == [0, 2, 3, 0]


def test_it_is_sent_as_a_small_description() -> None:
    with NDArray(np.zeros(MB)) as shared:
        assert len(pickle.dumps(shared)) < 300
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(shared, protocol)).shape == (MB,)


def test_numpy_takes_it_for_an_array() -> None:
    with NDArray(np.arange(4)) as shared:
        assert np.shares_memory(np.asarray(shared), shared.array)
        assert np.add(shared, 1).tolist() == [1, 2, 3, 4]
        assert np.asarray(shared, "f8").dtype == np.float64
        assert not np.shares_memory(np.array(shared), shared.array)
        with pytest.raises(ValueError, match="without a copy"):
            shared.__array__("f8", copy=False)


def test_what_it_shows() -> None:
    with NDArray(np.zeros((2, 3), "f4")) as shared:
        assert repr(shared).startswith("<NDArray of shape (2, 3) and dtype float32, ")
        assert repr(shared.shm).startswith("SharedBlock(")
    assert "shape (2, 3)" in repr(shared)
    assert "closed" in repr(shared.shm)


def test_a_copy_is_the_same_memory_and_a_deep_copy_is_not() -> None:
    with NDArray(np.zeros(3)) as shared, copy.deepcopy(shared) as other:
        same = copy.copy(shared)
        same.array[0] = 1
        other.array[1] = 2
        assert shared.array.tolist() == [1, 0, 0]
        assert other.array.tolist() == [0, 2, 0]


# --- who frees it


def test_after_dispose_nobody_can_have_it_and_those_who_do_keep_it() -> None:
    shared = NDArray(np.arange(3))
    received, pickled, array = sent(shared), pickle.dumps(shared), shared.array
    shared.dispose()
    shared.dispose()
    with pytest.raises(SerializationError, match=r"shape \(3,\).*disposed of"):
        pickle.loads(pickled)
    for one in (shared, received):
        with pytest.raises(SerializationError, match="disposed of"):
            pickle.dumps(one)
    with pytest.raises(ValueError, match="closed or disposed of"):
        _ = shared.array
    with pytest.raises(ValueError, match="closed or disposed of"):
        _ = shared.shm.buf
    assert (shared.shape, shared.dtype) == ((3,), np.int64)
    received.array[0] = 5
    assert array.tolist() == received.array.tolist() == [5, 1, 2]
    assert issubclass(SerializationError, WetlandsError)


def test_whoever_received_it_can_dispose_of_it() -> None:
    shared = NDArray(np.arange(3))
    sent(shared).dispose()
    with pytest.raises(SerializationError, match="disposed of"):
        pickle.dumps(shared)
    assert shared.array.tolist() == [0, 1, 2]


def test_close_lets_go_of_the_array_and_unlink_of_the_block() -> None:
    shared = NDArray(np.arange(3))
    shared.close()
    with pytest.raises(ValueError, match="closed"):
        _ = shared.array
    assert sent(shared).array.tolist() == [0, 1, 2]
    shared.unlink()
    with pytest.raises(SerializationError):
        pickle.dumps(shared)


def test_an_array_lives_as_long_as_somebody_uses_it() -> None:
    array = NDArray(np.arange(3)).array
    gc.collect()
    assert array.tolist() == [0, 1, 2]
    with NDArray(np.arange(3)) as shared:
        view = shared.array[1:]
        buffer = shared.shm.buf
    gc.collect()
    assert (view.tolist(), buffer[0]) == ([1, 2], 0)


@WITHOUT_A_NAME
def test_one_that_was_never_sent_needs_no_dispose() -> None:
    for _ in range(3):
        NDArray(np.zeros(MB))
    gc.collect()
    assert not held()


def test_thousands_that_were_sent_and_disposed_of_leave_nothing() -> None:
    for number in range(2000):
        received = sent(NDArray(np.array(number)))
        assert received.array == number
        received.dispose()
    assert number_kept() <= 2
    assert len(os.listdir("/proc/self/fd")) < 500


def test_many_threads_make_send_and_dispose_at_once() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(100):
                with NDArray(np.full(10, number)) as shared:
                    received = sent([shared, shared])[turn % 2]
                    assert received.array.tolist() == [number] * 10
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not errors


@WITHOUT_A_NAME
def test_the_memory_is_back_at_once_while_others_still_hold_a_descriptor() -> None:
    shared = NDArray(np.ones(MB))
    spare = os.open(shared.shm.name, os.O_RDWR)
    try:
        assert held_bytes() > 8 * MB
        shared.dispose()
        assert held_bytes() < MB
    finally:
        os.close(spare)


@WITHOUT_A_NAME
def test_the_memory_stays_while_a_forked_child_has_it() -> None:
    shared = NDArray(np.ones(MB))
    assert shared.array[0] == 1
    go, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go[0], 1)
        os.write(told[1], b"%d" % int(shared.array.sum()))
        os._exit(0)
    shared.dispose()
    os.write(go[1], b"!")
    os.waitpid(child, 0)
    assert os.read(told[0], 100) == b"%d" % MB
    for end in (*go, *told):
        os.close(end)


def test_a_forked_child_disposes_of_nothing_that_is_its_parents() -> None:
    with NDArray(np.arange(3)) as shared:
        child = os.fork()
        if child == 0:
            with shared:
                pass
            shared.dispose()
            os._exit(0)
        os.waitpid(child, 0)
        assert sent(shared).array.tolist() == [0, 1, 2]


# --- other processes

TAKE = """
import pickle, sys
sys.path.insert(0, {root!r})
shared = pickle.loads(bytes.fromhex(sys.stdin.readline()))
shared.shm.buf[0] = 7
print(shared.shape, shared.nbytes, "numpy" in sys.modules, flush=True)
"""


def in_a_child(program: str, given: str = "") -> str:
    command = [sys.executable, "-W", "error", "-c", program.format(root=str(ROOT))]
    answer = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def test_another_process_has_the_same_memory_and_needs_no_numpy_for_it() -> None:
    with NDArray(np.zeros((2, 3), "u1")) as shared:
        for _ in range(2):  # the end of one that attached takes the block from nobody
            assert in_a_child(TAKE, pickle.dumps(shared).hex()) == "(2, 3) 6 False\n"
            assert shared.array.tolist() == [[7, 0, 0], [0, 0, 0]]
            shared.array[...] = 0


MAKE = """
import pickle, sys
sys.path.insert(0, {root!r})
import numpy as np
from wetlands_rx.ndarray import NDArray
print(pickle.dumps([NDArray(np.full(1000, 3.0)) for _ in range(3)]).hex(), flush=True)
sys.stdin.readline()
"""


def test_what_a_process_made_is_held_until_its_parent_has_received_it() -> None:
    command = [sys.executable, "-W", "error", "-c", MAKE.format(root=str(ROOT))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pickled = bytes.fromhex(process.stdout.readline())
        received: list[NDArray] = pickle.loads(pickled)
        process.stdin.write("\n")
    assert [one.array.sum() for one in received] == [3000, 3000, 3000]
    for one in received:
        one.dispose()
    with pytest.raises(SerializationError, match=f"process {process.pid}, which held it, has ended|disposed of"):
        pickle.loads(pickled)


END = """
import pickle, sys
sys.path.insert(0, {root!r})
import numpy as np
from wetlands_rx.ndarray import NDArray
kept = NDArray(np.zeros(1000))
pickle.dumps(kept)
lost = NDArray(np.zeros(1000))
array = NDArray(np.zeros(1000)).array
"""


def test_a_process_that_disposes_of_nothing_ends_quietly_and_leaves_nothing() -> None:
    assert in_a_child(END) == ""


# --- the block


def test_a_given_block_of_multiprocessing_is_used() -> None:
    shm = SharedMemory(create=True, size=24)
    shared = NDArray(shm=shm, shape=(3,), dtype="i8")
    assert shared.shm is shm
    shared.array[:] = [1, 2, 3]
    assert sent(shared).array.tolist() == [1, 2, 3]
    assert shm.buf is not None
    assert shm.buf[0] == 1
    assert in_a_child(TAKE, pickle.dumps(shared).hex()) == "(3,) 24 False\n"
    assert shared.array[0] == 7
    shared.dispose()
    with pytest.raises(FileNotFoundError):
        SharedMemory(shm.name)


def test_a_given_block_is_not_copied_into() -> None:
    shm = SharedMemory(create=True, size=8)
    with NDArray(np.array([5], "i8"), shm=shm) as shared:
        assert shared.array.tolist() == [0]


def test_a_block_of_ours_can_be_given_too() -> None:
    with NDArray(np.arange(4, dtype="u1")) as shared:
        other = NDArray(shm=shared.shm, shape=(2, 2), dtype="u1")
        other.array[1, 1] = 9
        assert shared.array.tolist() == [0, 1, 2, 9]
        with pytest.raises(ValueError, match=r"takes 80 bytes, and the block .* has 4"):
            NDArray(shm=shared.shm, shape=(10,), dtype="f8")


def test_the_block_can_be_sent_by_itself() -> None:
    with NDArray(np.frombuffer(b"abc", "u1")) as shared:
        received: SharedBlock = sent(shared.shm)
        assert (bytes(received.buf), received.size) == (b"abc", 3)
        received.close()
        with pytest.raises(ValueError, match="closed"):
            _ = received.buf
    with pytest.raises(SerializationError, match="disposed of"):
        pickle.dumps(shared.shm)


# --- as in Wetlands 1.x


def test_an_ndarray_that_fits_is_used_again() -> None:
    first = update_ndarray(np.arange(3))
    assert update_ndarray(np.arange(3) + 1, first) is first
    assert first.array.tolist() == [1, 2, 3]
    assert update_ndarray(None, first, (3,), "i8") is first
    second = update_ndarray(np.zeros((2, 2)), first)
    assert second is not first
    with pytest.raises(ValueError, match="disposed of"):
        _ = first.array
    third = update_ndarray(None, second, (5,), "u1")
    assert (third.shape, third.dtype) == ((5,), np.uint8)
    third.dispose()
    with pytest.raises(ValueError, match="shape"):
        update_ndarray()


def test_an_array_and_its_block_are_wrapped_and_unwrapped() -> None:
    register_ndarray_pickle()
    shared, shm = share_array(np.arange(3))
    wrapper = sent(wrap(shared, shm))
    assert (wrapper["shape"], wrapper["dtype"], wrapper["name"]) == ((3,), np.int64, shm.name)
    other, handle = unwrap(wrapper)
    other[0] = 9
    assert shared.tolist() == [9, 1, 2]
    handle.close()
    unregister(shm)
    release_shared_memory(shm)
    release_shared_memory(None)
    zeros, block = create_shared_array((2,), "f4")
    assert zeros.tolist() == [0, 0]
    release_shared_memory(block, unlink=False)


def test_the_managers_close_and_free() -> None:
    with share_manage_array(np.arange(3)) as wrapper:
        with get_shared_array(wrapper) as array:
            array[0] = 9
            del array
        with get_shared_array(sent(wrapper)) as again:
            assert again.tolist() == [9, 1, 2]
        pickled = pickle.dumps(wrapper)
    with pytest.raises(SerializationError):
        pickle.loads(pickled)


def test_a_wrapper_of_wetlands_1x_is_only_a_name() -> None:
    shm = SharedMemory(create=True, size=8)
    assert shm.buf is not None
    shm.buf[0] = 3
    array, handle = unwrap({"name": shm.name, "shape": (8,), "dtype": "u1"})
    assert array.tolist() == [3, 0, 0, 0, 0, 0, 0, 0]
    handle.close()
    shm.close()
    shm.unlink()
    with pytest.raises(SerializationError, match="disposed of"):
        unwrap({"name": shm.name, "shape": (8,), "dtype": "u1"})


# --- systems


def test_a_python_without_memfd_create_asks_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    block = blocks.create(10, memoryview(b"0123456789"))
    assert block.map()[block.offset :] == b"0123456789"


def test_a_full_memory_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MemoryError, match="shared array of 8 bytes"):
        NDArray(shape=8, dtype="u1")


def test_an_environment_without_numpy_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with NDArray(np.arange(3)) as shared:
        received = sent(shared)
        monkeypatch.setitem(sys.modules, "numpy", None)
        with pytest.raises(ModuleNotFoundError, match=r"no numpy.*\.shm\.buf"):
            _ = received.array
        assert received.shape == (3,)


@WITHOUT_A_NAME
def test_what_stands_at_the_address_now_is_not_opened(tmp_path: Path) -> None:
    with NDArray(np.arange(3)) as shared:
        address = pickle.dumps(shared)
        number = int(shared.shm.name.rpartition("/")[2])
    os.mkfifo(tmp_path / "fifo")
    pipe = os.open(tmp_path / "fifo", os.O_RDWR)
    if pipe != number:
        os.dup2(pipe, number)
        os.close(pipe)
    try:
        with pytest.raises(SerializationError, match="disposed of"):
            pickle.loads(address)
    finally:
        os.close(number)


@WITHOUT_A_NAME
def test_when_no_descriptor_is_left_the_error_says_so() -> None:
    with NDArray(np.arange(3)) as shared:
        command = [sys.executable, "-W", "error", "-c", FULL.format(root=str(ROOT))]
        given = pickle.dumps(shared).hex()
        answer = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
        assert "SerializationError" in answer.stderr
        assert "Too many open files" in answer.stderr


FULL = """
import os, pickle, resource, sys
sys.path.insert(0, {root!r})
from wetlands_rx.ndarray import NDArray
given = bytes.fromhex(sys.stdin.readline())
import numpy, wetlands_rx.exceptions
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1,) * 2)
pickle.loads(given)
"""


def test_a_dtype_of_another_package_travels_as_its_pickle() -> None:
    assert dtypes.dtype_of(pickle.dumps(np.dtype("f4"))) == np.float32


ACTIONS: dict[str, Callable[[NDArray], object]] = {
    "dispose": NDArray.dispose,
    "unregister too": lambda shared: shared.dispose(unregister=True),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_dispose_as_in_wetlands_1x(action: str) -> None:
    shared = NDArray(np.arange(3))
    sent(shared)
    ACTIONS[action](shared)
    with pytest.raises(ValueError, match="disposed of"):
        _ = shared.array
