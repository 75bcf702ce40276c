"""Messages beyond what 31 and 32 bits can count. `-m "not slow"` leaves them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from wetlands_rx.external_environment import ExternalEnvironment

FILE = Path(__file__).parent / "large.py"
GIB = 1 << 30
NEEDED = 4
"""So many times the message: here, on its way, there, and what Python copies to make it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def env(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch()
    return here


def argument(env: ExternalEnvironment, size: int) -> object:
    return env.execute(FILE, "size", (bytes(size),))


def result(env: ExternalEnvironment, size: int) -> object:
    return len(env.execute(FILE, "data", (size,)))


def item(env: ExternalEnvironment, size: int) -> object:
    return next(env.map(FILE, "size", [bytes(size)]))


def text_item(env: ExternalEnvironment, size: int) -> object:
    return next(env.map(FILE, "size", ["x" * size]))


def array(env: ExternalEnvironment, size: int) -> object:
    sent: Any = np.zeros(size, np.uint8)
    sent[-1] = 7
    back = env.execute(FILE, "same", (sent,))
    return back.nbytes if back[-1] == 7 and back[0] == 0 else "changed"


def array_through_the_pipe(env: ExternalEnvironment, size: int) -> object:
    arena: Any = env._arena()  # pyright: ignore[reportPrivateUsage]
    arena._most = 0
    return env.execute(FILE, "size", (np.zeros(size, np.uint8),))


@pytest.mark.parametrize(
    ("gib", "send"),
    [
        (2.1, argument),
        (4.2, argument),
        (2.1, result),
        (4.2, result),
        (4.2, item),
        (2.1, text_item),
        (4.2, array),
        (4.2, array_through_the_pipe),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)).replace("_", " "),
)
def test_a_message_of_many_gigabytes(
    env: ExternalEnvironment, gib: float, send: Callable[[ExternalEnvironment, int], object]
) -> None:
    size = int(gib * GIB)
    if psutil.virtual_memory().available < NEEDED * size:
        pytest.skip(f"needs {NEEDED * gib:.0f} GiB of memory")
    assert send(env, size) == size
