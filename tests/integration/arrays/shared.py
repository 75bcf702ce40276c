"""What the workers of `test_ndarray.py` run; some of them have no numpy."""

from __future__ import annotations

import os
import pickle
import sys
import time
from typing import Any

from wetlands_rx.ndarray import NDArray

kept: list[Any] = []


def pid(_item: Any = None) -> int:
    return os.getpid()


def total(image: NDArray) -> float:
    return float(image.array.sum())


def totals(images: dict[str, list[NDArray]]) -> dict[str, list[float]]:
    return {name: [total(image) for image in several] for name, several in images.items()}


def fill(image: NDArray, value: float) -> None:
    image.array[...] = value


def write_own_row(item: tuple[NDArray, int]) -> int:
    image, row = item
    image.array[row] = row
    return os.getpid()


def described(image: NDArray) -> tuple[Any, ...]:
    return image.shape, image.nbytes, bytes(image.shm.buf[:4]), "numpy" in sys.modules


def dtype_without_numpy(image: NDArray) -> str:
    try:
        return str(image.dtype)
    except ModuleNotFoundError as error:
        return str(error)


def increment_first_byte(image: NDArray) -> None:
    image.shm.buf[0] += 1


def same(value: Any) -> Any:
    return value


def make(count: int, value: float) -> NDArray:
    import numpy as np

    return NDArray(np.full(count, value))


def make_of_item(count: int) -> NDArray:
    return make(count, count)


def make_and_publish(count: int, *, task: Any) -> list[NDArray]:
    made = make(count, 1.0)
    task.set_output("early", made)
    return [made, made, make(count, 2.0)]


def make_and_keep(count: int, value: float) -> NDArray:
    kept.append(make(count, value))
    return kept[-1]


def dispose(image: NDArray) -> None:
    image.dispose()


def keep_array(image: NDArray) -> int:
    kept.append(image.array)
    return os.getpid()


def total_of_kept() -> float:
    return float(kept[-1].sum())


def total_of_kept_ndarray() -> float:
    return total(kept[-1])


def forget() -> None:
    kept.clear()


def fork_and_leave(image: NDArray) -> float:
    """The child disposes of what it has from its parent, and ends."""
    child = os.fork()
    if child == 0:
        with image:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    return total(image)


def pickled(count: int) -> bytes:
    """In a container that hides from the library that it is on its way."""
    import zlib

    return zlib.compress(pickle.dumps(make(count, 1.0)))


def make_and_wait(count: int, file: str) -> None:
    use_and_wait(make(count, 1.0), file)


def use_and_wait(image: NDArray, file: str) -> None:
    kept.append(image.array)
    with open(file + "~", "w") as pid_file:
        pid_file.write(str(os.getpid()))
    os.replace(file + "~", file)
    time.sleep(600)
