"""One array, many workers: real workers on `NDArray`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.arrays import shared as remote
from tests.support.blocks import held, held_bytes
from tests.support.oldest import oldest_interpreter
from wetlands_rx._wire.kept import number_kept, sweep
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import SerializationError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.ndarray import NDArray
from wetlands_rx.task import Task, TaskEvent, TaskEventType

REMOTE = remote.__file__
SOON = 60.0
MB = 1 << 20
BY_NAME = {"WETLANDS_RX_SHARED_MEMORY": "named"}


@pytest.fixture(params=["without a name", "by name"])
def two(
    request: pytest.FixtureRequest, here: ExternalEnvironment, monkeypatch: pytest.MonkeyPatch
) -> ExternalEnvironment:
    """Two workers, and both ways to share memory."""
    variables: dict[str, str] = {}
    if request.param == "by name":
        variables = BY_NAME
        monkeypatch.setenv(*next(iter(BY_NAME.items())))
    here.launch(max_workers=2, worker_env=lambda _: variables)
    return here


@pytest.fixture
def one(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch()
    return here


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    gc.collect()
    for _ in range(1 + number_kept()):
        sweep()
    assert number_kept() == 0, "a block that nobody disposed of"


def test_it_is_an_argument_also_inside_containers(two: ExternalEnvironment) -> None:
    with NDArray(np.ones(10)) as ones, NDArray(np.full(10, 2.0)) as twos:
        assert two.execute(REMOTE, "total", (ones,)) == 10
        assert two.execute(REMOTE, "totals", ({"a": [ones, twos], "b": [twos]},)) == {"a": [10, 20], "b": [20]}
        assert two.execute(REMOTE, "total", kwargs={"image": twos}) == 20


def test_what_a_worker_writes_is_seen_by_all(two: ExternalEnvironment) -> None:
    with NDArray(shape=(4, 5), dtype="f4") as image:
        two.execute(REMOTE, "fill", (image, 3))
        assert (image.array == 3).all()
        image.array[0] = 0
        assert [two.execute(REMOTE, "total", (image,)) for _ in range(4)] == [45] * 4


def test_many_workers_write_into_one_array(two: ExternalEnvironment) -> None:
    with NDArray(np.zeros((64, 1000))) as image:
        workers = set(two.map(REMOTE, "write_own_row", [(image, row) for row in range(64)], chunksize=1))
        np.testing.assert_array_equal(image.array, np.repeat(np.arange(64.0), 1000).reshape(64, 1000))
    assert len(workers) <= 2


def test_it_is_an_item_of_a_map_and_its_result(two: ExternalEnvironment) -> None:
    images = [NDArray(np.full(3, number)) for number in range(8)]
    for image, back in zip(images, two.map(REMOTE, "same", images), strict=True):
        back.array[0] = 100
        assert image.array[0] == 100
        image.dispose()


def test_a_worker_makes_one_and_returns_it(two: ExternalEnvironment) -> None:
    made = two.execute(REMOTE, "make", (1000, 3.0))
    assert (type(made), made.shape, made.array.sum()) == (NDArray, (1000,), 3000)
    with made:
        assert two.execute(REMOTE, "total", (made,)) == 3000  # whichever worker it is
        two.execute(REMOTE, "fill", (made, 4))
        assert made.array.sum() == 4000


def test_results_of_a_map_are_made_by_workers(two: ExternalEnvironment) -> None:
    for made in two.map(REMOTE, "make_of_item", range(20)):
        assert made.array.tolist() == [made.shape[0]] * made.shape[0]
        made.dispose()


def test_it_is_an_output(two: ExternalEnvironment) -> None:
    outputs: list[TaskEvent[Any]] = []
    task: Task[Any] = two.submit(REMOTE, "make_and_publish", (10,), start=False).listen(outputs.append).start()
    first, again, other = task.wait_for(SOON).result
    early: NDArray = task.outputs["early"]
    early.array[0] = 5
    assert first.array[0] == again.array[0] == 5
    assert other.array.sum() == 20
    assert TaskEventType.COMPLETION in [event.type for event in outputs]
    for made in (first, other):
        made.dispose()


def test_the_memory_that_the_caller_disposes_of_is_free_at_once_everywhere(one: ExternalEnvironment) -> None:
    worker = one.execute(REMOTE, "pid")
    with NDArray(np.ones(MB)) as image:
        one.execute(REMOTE, "total", (image,))
        assert held_bytes(worker, os.getpid()) > 8 * MB
    made = one.execute(REMOTE, "make", (MB, 1.0))
    assert held_bytes(worker, os.getpid()) > 8 * MB
    made.dispose()
    assert held_bytes(worker, os.getpid()) < MB


def test_a_worker_that_made_thousands_does_not_grow(one: ExternalEnvironment) -> None:
    worker = one.execute(REMOTE, "pid")
    for turn in range(1000):
        made = one.execute(REMOTE, "make", (1000, 1.0))
        if turn % 2:
            made.dispose()  # and the others are only let go of
        del made
    assert len(held(worker)) <= 20
    gc.collect()
    assert not held()


def test_a_result_outlives_its_worker(two: ExternalEnvironment) -> None:
    results = [two.submit(REMOTE, "make", (1000, number)) for number in range(4)]
    arrays = [task.wait_for(SOON).result for task in results]
    if "named" in os.environ.get("WETLANDS_RX_SHARED_MEMORY", ""):
        arrays = [made.array for made in arrays]  # a name ends with the process that made it
    two.exit()
    assert [np.asarray(made).sum() for made in arrays] == [0, 1000, 2000, 3000]
    if isinstance(arrays[0], NDArray):
        two.launch()
        assert two.execute(REMOTE, "total", (arrays[3],)) == 3000
        for made in arrays:
            made.dispose()


def test_a_result_that_nobody_has_looked_at_outlives_its_worker(here: ExternalEnvironment) -> None:
    here.launch(max_workers=1, max_tasks_per_worker=1)
    results = here.map(REMOTE, "make_of_item", [5, 6, 7], chunksize=1)
    assert here.execute(REMOTE, "pid") > 0  # behind them: their workers are gone
    for made in results:
        assert made.array.tolist() == [made.shape[0]] * made.shape[0]
        made.dispose()


def test_after_dispose_a_worker_keeps_what_it_has_and_cannot_have_it_again(two: ExternalEnvironment) -> None:
    two.resize(1)
    image = NDArray(np.ones(10))
    two.execute(REMOTE, "keep_array", (image,))
    waiting = two.submit(REMOTE, "total", (image,), start=False)
    image.dispose()
    assert two.execute(REMOTE, "total_of_kept") == 10
    with pytest.raises(SerializationError, match="disposed of"):
        two.submit(REMOTE, "total", (image,))
    with pytest.raises(SerializationError, match=r"args\[0\] .* cannot be loaded.*shape \(10,\).*disposed of"):
        waiting.start().wait_for(SOON)
    two.execute(REMOTE, "forget")


def test_a_worker_disposes_of_the_callers(two: ExternalEnvironment) -> None:
    image = NDArray(np.ones(10))
    two.execute(REMOTE, "dispose", (image,))
    with pytest.raises(SerializationError, match="disposed of"):
        two.submit(REMOTE, "total", (image,))
    assert image.array.sum() == 10
    image.dispose()


def test_a_result_that_the_worker_uses_on_is_shared_with_it(two: ExternalEnvironment) -> None:
    two.resize(1)
    with two.execute(REMOTE, "make_and_keep", (10, 1.0)) as made:
        made.array[0] = 11
        assert two.execute(REMOTE, "total_of_kept_ndarray") == 20
    two.execute(REMOTE, "forget")


def test_a_child_that_a_worker_forks_takes_nothing_away(two: ExternalEnvironment) -> None:
    with NDArray(np.ones(10)) as image:
        assert two.execute(REMOTE, "fork_and_leave", (image,)) == 10
        assert two.execute(REMOTE, "total", (image,)) == 10


def test_the_oldest_python_has_the_same_memory_without_numpy(tmp_path: Path) -> None:
    python, version = oldest_interpreter()
    with EnvironmentManager(tmp_path, log_file_path=None) as manager, NDArray(np.arange(6, dtype="u1")) as image:
        old = manager.load("old", python)
        for variables in ({}, BY_NAME):
            old.launch(max_workers=2, worker_env=lambda _, variables=variables: variables)
            assert old.execute(REMOTE, "described", (image,)) == ((6,), 6, image.array[:4].tobytes(), False)
            if version != sys.version_info[:2]:
                assert "no numpy" in old.execute(REMOTE, "dtype_without_numpy", (image,))
            old.execute(REMOTE, "increment_first_byte", (image,))
            back = old.execute(REMOTE, "same", (image,))
            assert back.array[0] == image.array[0]
            old.exit()
        assert image.array.tolist() == [2, 1, 2, 3, 4, 5]


PAIRS = [("3.8", "numpy==1.19.5"), ("3.9", "numpy==1.24.4"), ("3.10", "numpy==1.26.4"), ("3.13", "numpy>=2.1")]


@pytest.mark.network
@pytest.mark.parametrize(("python", "numpy"), PAIRS)
def test_another_python_and_another_numpy(tmp_path: Path, python: str, numpy: str) -> None:
    with EnvironmentManager(tmp_path, log_file_path=None) as manager:
        env = manager.create("other", {"python": python, "pip": [numpy]})
        env.launch()
        with NDArray(np.zeros((2, 3), [("a", "f4"), ("t", "M8[ns]")])) as image:
            back = env.execute(REMOTE, "same", (image,))
            assert (back.shape, back.dtype) == (image.shape, image.dtype)
        with NDArray(np.asfortranarray(np.ones((2, 3)))) as image:
            env.execute(REMOTE, "fill", (image, 2))
            assert env.execute(REMOTE, "total", (image,)) == image.array.sum() == 12
        with env.execute(REMOTE, "make", (10, 3.0)) as made:
            assert made.array.tolist() == [3.0] * 10
