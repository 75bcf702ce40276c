"""Read by the type checkers, never run: shared arrays beside those of numpy."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from wetlands_rx import Task
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.ndarray import NDArray, SharedMemoryLike, get_shared_array, share_manage_array, update_ndarray


def a_shared_array_is_used_as_one_of_numpy(env: ExternalEnvironment, image: npt.NDArray[np.float32]) -> None:
    with NDArray(image) as shared:
        assert_type(shared, NDArray)
        assert_type(shared.array, npt.NDArray[Any])
        assert_type(shared.shape, tuple[int, ...])
        assert_type(shared.dtype, np.dtype[Any])
        assert_type(shared.shm, SharedMemoryLike)
        assert_type(shared.shm.buf[0], int)
        task: Task[NDArray] = env.submit("segment.py", "segment", args=(shared,))
        assert_type(task.wait_for().result, NDArray)
        typed: npt.NDArray[np.float32] = shared.array
        also_typed: npt.NDArray[np.float32] = np.asarray(shared, np.float32)
        del typed, also_typed


def it_is_made_in_many_ways(block: SharedMemory, other: NDArray) -> None:
    made = [
        NDArray([[1, 2]]),
        NDArray(shape=(3, 4), dtype="float32"),
        NDArray(shape=3, dtype=np.uint8),
        NDArray(None, block, (3,), np.dtype("i4")),
        NDArray(shm=other.shm, shape=[3], dtype=np.int64),
        update_ndarray(np.zeros(3), other),
    ]
    assert_type(made, list[NDArray])
    with share_manage_array(np.zeros(3)) as wrapper, get_shared_array(wrapper) as array:
        assert_type(array, npt.NDArray[Any])
