"""Arrays through shared memory, to real workers and back."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.helpers import until
from wetlands_rx._wire.arena import Arena
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import TaskStatus

FILE = Path(__file__).parent / "arrays" / "remote.py"
SOON = 60.0
COUNT = 200_000
"""Elements, of 8 bytes: far more than what goes through the pipe."""


@pytest.fixture
def one(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch()
    return here


@pytest.fixture
def two(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch(max_workers=2)
    return here


def arena_of(env: ExternalEnvironment) -> Arena:
    arena = env._arena()  # pyright: ignore[reportPrivateUsage]
    assert arena is not None
    return arena


def leases_of(env: ExternalEnvironment) -> list[int]:
    """How many arrays of each worker this process holds."""
    return [len(worker._process.leases or ()) for worker in env._runner().workers()]  # pyright: ignore[reportPrivateUsage]


def numbers(value: float = 0.0) -> Any:
    return np.full(COUNT, value)


KINDS: list[Callable[[], Any]] = [
    lambda: np.arange(COUNT),
    lambda: np.arange(COUNT, dtype="f4").reshape(-1, 100),
    lambda: np.asfortranarray(np.ones((2, COUNT))),
    lambda: np.ones((COUNT, 2))[:, 0],
    lambda: np.arange(COUNT).astype("M8[s]"),
    lambda: np.zeros(COUNT, [("x", "f4"), ("label", "U5")]),
    lambda: np.zeros(COUNT, "?"),
    lambda: np.ones(COUNT, "c16"),
    lambda: np.array(["text", "é"] * COUNT),
    lambda: np.array([None, 1, "x"] * 1000, dtype=object),
    lambda: np.array(3.5),
    lambda: np.zeros((0, 5)),
    lambda: np.broadcast_to(np.float32(3), (COUNT,)),
]


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_kind_of_array_there_and_back(one: ExternalEnvironment, kind: int) -> None:
    array = KINDS[kind]()
    for back in (one.execute(FILE, "same", (array,)), *one.map(FILE, "same", [array, array])):
        assert (type(back), back.dtype, back.shape) == (np.ndarray, array.dtype, array.shape)
        assert back.flags.writeable == array.flags.writeable
        np.testing.assert_array_equal(back, array)


def test_masked_arrays_and_mapped_files(one: ExternalEnvironment, tmp_path: Path) -> None:
    masked = np.ma.masked_greater(numbers(1.0).cumsum(), 100.0)
    back = one.execute(FILE, "same", (masked,))
    assert type(back) is np.ma.MaskedArray
    np.testing.assert_array_equal(back.mask, masked.mask)
    assert float(back.sum()) == float(masked.sum())
    np.save(tmp_path / "a.npy", numbers(2.0))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert one.execute(FILE, "described", (mapped,)) == ("ndarray", "float64", (COUNT,), True, False)


def test_arguments_results_items_and_outputs_go_through_the_arenas(one: ExternalEnvironment) -> None:
    arena = arena_of(one)
    array = numbers(1.0)
    assert one.execute(FILE, "total", (array,)) == COUNT
    assert arena.taken == 1
    assert one.execute(FILE, "total", (), {"array": array}) == COUNT
    assert list(one.map(FILE, "total", [array] * 3)) == [COUNT] * 3
    assert arena.taken == 5
    results = [one.execute(FILE, "zeros", (COUNT,)), *one.map(FILE, "zeros", [COUNT] * 2)]
    assert leases_of(one) == [3]
    task = one.submit(FILE, "publish", (array,)).wait_for(SOON)
    assert task.outputs["image"][0] == 5.0
    assert leases_of(one) == [4]  # four earlier outputs were dropped when the next one came
    del results, task
    until(lambda: gc.collect() >= 0 and leases_of(one) == [0])
    assert arena.in_use == 0


def test_what_arrives_belongs_to_whoever_has_it(one: ExternalEnvironment) -> None:
    array = numbers(1.0)
    there = one.execute(FILE, "add_one", (array,))
    assert (array[0], there[0]) == (1.0, 2.0)
    again = one.execute(FILE, "add_one", (there,))
    there[:] = 9.0
    assert (again[0], again[-1]) == (2.0 + 1.0, 3.0)


def test_results_that_are_kept_are_not_overwritten(two: ExternalEnvironment) -> None:
    kept = [two.execute(FILE, "zeros", (COUNT, float(n))) for n in range(40)]
    assert [(array[0], array[-1]) for array in kept] == [(n, n) for n in range(40)]
    assert sum(leases_of(two)) == 40


def test_an_array_that_a_function_keeps_is_not_overwritten(one: ExternalEnvironment) -> None:
    one.execute(FILE, "keep", (numbers(1.0),))
    for n in range(5):
        assert one.execute(FILE, "total", (numbers(float(n)),)) == n * COUNT
    assert one.execute(FILE, "first_kept") == (1.0, 1.0)
    assert arena_of(one).in_use == 1
    one.execute(FILE, "drop_kept")
    assert arena_of(one).in_use == 0


def test_results_live_longer_than_their_workers(here: ExternalEnvironment) -> None:
    here.launch()
    first = here.execute(FILE, "zeros", (COUNT, 1.0))
    here.recycle()
    second = here.execute(FILE, "zeros", (COUNT, 2.0))
    here.exit()
    third = first + second
    assert (first[0], first[-1], second[-1], third[0]) == (1.0, 1.0, 2.0, 3.0)
    first[:] = 4.0
    del second
    assert first[-1] == 4.0


def test_a_call_that_is_canceled_in_the_queue_leaves_nothing(one: ExternalEnvironment, tmp_path: Path) -> None:
    go = tmp_path / "go"
    running = one.submit(FILE, "wait_for_file", (numbers(1.0), str(go)))
    waiting = [one.submit(FILE, "total", (numbers(),)) for _ in range(20)]
    unstarted = one.submit(FILE, "total", (numbers(),), start=False)
    assert arena_of(one).in_use == 22
    for task in (*waiting, unstarted):
        task.cancel()
    go.touch()
    assert running.wait_for(SOON).result == COUNT
    for task in waiting:
        task.wait_for(SOON)
    until(lambda: arena_of(one).in_use == 0)


def test_calls_that_are_recalled_keep_their_arrays(two: ExternalEnvironment, tmp_path: Path) -> None:
    """Calls of a fast function are handed over together; one that turns out slow gives back those behind it."""
    for _ in range(50):
        two.execute(FILE, "wait_for_file", (numbers(), str(FILE)))
    go = tmp_path / "go"
    tasks = [two.submit(FILE, "wait_for_file", (numbers(float(n)), str(go if n == 0 else FILE))) for n in range(60)]
    for n, task in enumerate(tasks[1:], 1):
        assert task.wait_for(SOON).result == n * COUNT
    go.touch()
    tasks[0].wait_for(SOON)
    assert arena_of(two).in_use == 0


def test_beyond_the_limit_arrays_go_through_the_pipe(one: ExternalEnvironment) -> None:
    arena = arena_of(one)
    arena._most = 7 * COUNT * 4  # pyright: ignore[reportPrivateUsage]
    tasks = [one.submit(FILE, "same", (numbers(float(n)),), start=False) for n in range(8)]
    assert arena.taken == 3
    assert arena.in_use <= 3
    for n, task in enumerate(tasks):
        assert task.start().wait_for(SOON).result[-1] == n


def test_without_shared_memory_results_come_through_the_pipe(one: ExternalEnvironment) -> None:
    one.execute(FILE, "close_arena")
    back = one.execute(FILE, "add_one", (numbers(1.0),))
    assert (back[0], back[-1], back.flags.writeable) == (2.0, 2.0, True)
    assert leases_of(one) == [0]


def test_a_result_of_the_users_own_type_goes_with_its_task(one: ExternalEnvironment) -> None:
    """A delivery thread opens it; nothing of that keeps it until the garbage collector comes."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            assert one.execute(FILE, "boxed", (numbers(),)).array[0] == 0.0
        until(lambda: leases_of(one) == [0])
    finally:
        gc.enable()


def test_a_worker_without_an_arena_of_its_own(here: ExternalEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's arena was made, and then there were no addresses, or no descriptors, for another one."""
    monkeypatch.setattr("wetlands_rx._worker.process.arena_file", lambda: None)
    here.launch()
    for n in range(3):
        back = here.execute(FILE, "add_one", (numbers(float(n)),))
        assert (back[0], back[-1], back.flags.writeable) == (n + 1, n + 1, True)
    assert arena_of(here).taken == 3
    until(lambda: arena_of(here).in_use == 0)  # what came back through the pipe was still in it


def test_idle_memory_is_given_back(one: ExternalEnvironment) -> None:
    arena = arena_of(one)
    assert one.execute(FILE, "total", (numbers(1.0),)) == COUNT
    assert arena.backed >= COUNT * 8
    until(lambda: arena.backed == 0, "an idle arena kept its memory")
    assert one.execute(FILE, "total", (numbers(2.0),)) == 2 * COUNT


def test_idle_memory_of_a_worker_is_given_back(one: ExternalEnvironment) -> None:
    """Also after calls that followed each other closely, and what comes free while the worker does nothing."""
    kept = one.execute(FILE, "zeros", (COUNT,))
    tasks = [
        one.submit(FILE, "total", (np.float64(n),)) if n % 2 else one.submit(FILE, "zeros", (COUNT,))
        for n in range(100)
    ]
    assert [task.wait_for(SOON).status for task in tasks] == [TaskStatus.COMPLETED] * 100
    del tasks
    until(lambda: memory_of_results(one) <= 2 * COUNT * 8, "an idle worker kept its memory")
    assert memory_of_results(one) >= COUNT * 8
    del kept
    until(lambda: memory_of_results(one) < COUNT * 8, "an idle worker kept the memory that came free")


def memory_of_results(env: ExternalEnvironment) -> int:
    """How much the arena has through which the arrays of the only worker come."""
    (worker,) = env._runner().workers()  # pyright: ignore[reportPrivateUsage]
    leases = worker._process.leases  # pyright: ignore[reportPrivateUsage]
    assert leases is not None
    files = [file.stat() for file in Path(f"/proc/{worker.info.pid}/fd").iterdir()]
    return next(file.st_blocks * 512 for file in files if file.st_ino == leases._inode)  # pyright: ignore[reportPrivateUsage]


def test_what_a_canceled_item_returns_stays_nowhere(one: ExternalEnvironment) -> None:
    items = [numbers()] * 3
    assert all(isinstance(out, Exception) for out in one.map(FILE, "cancel_and_return", items, on_error="return"))
    assert one.execute(FILE, "arena_here") == [0]


def test_a_process_that_a_function_forked_sees_no_other_data(one: ExternalEnvironment, tmp_path: Path) -> None:
    go = tmp_path / "go"
    child = one.execute(FILE, "child_reads", (numbers(3.0), str(go)))
    for n in range(5):
        one.execute(FILE, "total", (numbers(float(n)),))
    assert arena_of(one).in_use == 1
    go.touch()
    assert one.execute(FILE, "word_of_child", (child,)) == "same"
    for _ in range(16):  # now and then it is looked whether the child is still there
        one.execute(FILE, "total", (numbers(),))
    assert arena_of(one).in_use == 0


def test_a_process_that_the_caller_forked_sees_no_other_data(one: ExternalEnvironment) -> None:
    array = one.execute(FILE, "zeros", (COUNT, 3.0))
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go_read, 1)
        os.write(said_write, b"same" if array[0] == array[-1] == 3.0 else b"changed")
        os._exit(0)
    del array
    for n in range(5):
        one.execute(FILE, "zeros", (COUNT, float(n)))
    os.write(go_write, b"x")
    assert os.read(said_read, 10) == b"same"
    os.waitpid(child, 0)
    for descriptor in (go_read, go_write, said_read, said_write):
        os.close(descriptor)
    for _ in range(16):
        one.execute(FILE, "zeros", (COUNT,))


def test_a_process_forked_while_a_worker_is_reaped_frees_nothing(one: ExternalEnvironment) -> None:
    array = one.execute(FILE, "zeros", (COUNT, 3.0))
    process = one._runner().workers()[0]._process  # pyright: ignore[reportPrivateUsage]
    pipe, process._alive_write = process._alive_write, 1 << 20  # pyright: ignore[reportPrivateUsage] - it is closed
    child = os.fork()
    if child == 0:
        del array
        os._exit(0)
    process._alive_write = pipe  # pyright: ignore[reportPrivateUsage]
    os.waitpid(child, 0)
    assert one.execute(FILE, "arena_here") == [1]
    del array
    one.execute(FILE, "zeros", (COUNT, 3.0))
    assert one.execute(FILE, "arena_here") == [0]


AT_THE_END = """
import builtins, os, sys, time
from wetlands_rx import EnvironmentManager
env = EnvironmentManager(sys.argv[1]).load("here", sys.executable)
env.launch()
builtins.kept = [env.execute(sys.argv[2], "zeros", (200_000,)) for _ in range(3)]
builtins.task = env.submit(sys.argv[2], "total", (kept[0],), start=False)
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    os.read(read, 1)  # until the parent has ended
    os._exit(0)
"""


def test_a_map_that_was_closed_keeps_no_results(two: ExternalEnvironment) -> None:
    results = two.map(FILE, "same", (numbers(float(n)) for n in range(100)), buffersize=8)
    assert next(results)[0] == 0.0
    until(lambda: sum(leases_of(two)) >= 5)
    results.close()
    until(lambda: arena_of(two).in_use == 0 and leases_of(two) == [0, 0])
    assert next(results, None) is None


def test_a_program_ends_in_silence_with_arrays_and_forked_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", AT_THE_END, str(tmp_path), str(FILE)]
    program = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, timeout=SOON)
    assert (program.returncode, program.stderr) == (0, "")


def test_many_arrays_in_one_value(one: ExternalEnvironment) -> None:
    value = {n: (np.full(9_000 + n, n), [np.full(COUNT // 10, n)]) for n in range(50)}
    back = one.execute(FILE, "same", (value,))
    np.testing.assert_equal(back, value)
    last = back[49][1][0]
    del back
    gc.collect()
    assert leases_of(one) == [1]
    assert last[-1] == 49


def test_ten_thousand_images_through_a_window(two: ExternalEnvironment) -> None:
    arena = arena_of(two)
    images = (np.full((64, 64), n, "f8") for n in range(3_000))  # 32 kB, and every tenth far larger
    values = (np.full(COUNT, n) if n % 10 == 0 else image for n, image in enumerate(images))
    result = None
    for n, result in enumerate(two.map(FILE, "same", values, buffersize=8)):
        assert result.flat[0] == result.flat[-1] == n
    del result
    assert arena.taken == 300
    assert arena.backed <= 16 * COUNT * 8
    assert arena.in_use == 0
