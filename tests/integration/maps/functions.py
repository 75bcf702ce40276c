"""What the workers of the map tests run."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def double(x: int) -> int:
    return 2 * x


def touchy(x: int) -> int:
    """Fails for every seventh."""
    if x % 7 == 3:
        raise ValueError(f"not {x}")
    return x


def logged(job: tuple[int, str]) -> int:
    """Note that it ran; some numbers end the process, some wait for a file."""
    x, folder = job
    with open(os.path.join(folder, "log"), "a") as file:
        file.write(f"{x}\n")
    if x % 100 == 55:
        os._exit(5)
    return x


def gated(job: tuple[int, str]) -> int:
    """Wait for a file, when one is named."""
    x, gate = job
    while gate and not os.path.exists(gate):
        time.sleep(0.001)
    return x


def unsendable(x: int) -> Any:
    return threading.Lock() if x == 2 else x


def image(x: int) -> NDArray[np.float64]:
    return np.full((300, 300), x, dtype=np.float64)


def mean(image: NDArray[np.float64]) -> float:
    image += 1.0  # it is ours, and may be changed
    return float(image.mean())


def path_of(path: Path) -> Path:
    return path / "x"


def same(x: Any) -> Any:
    return x


def large(x: int) -> str:
    return str(x) * 100_000


async def awaited(x: int) -> int:
    await asyncio.sleep(0)
    return -x


def with_handle(x: int, task: Any) -> str:
    task.update("on the way", current=x)
    return str(task.id)


def acknowledges(x: int, task: Any) -> int:
    if x == 2:
        task.cancel()
    return x


def variable(job: str, gate: str) -> str:
    while not os.path.exists(gate):
        time.sleep(0.001)
    return os.environ[job]


def pid() -> int:
    return os.getpid()


def pid_for(x: int) -> int:
    return os.getpid()


def has_module(name: str) -> bool:
    return name in sys.modules


def length(value: bytes) -> int:
    return len(value)
