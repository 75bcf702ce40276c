"""Large arguments and results: they hold up nobody, and arrive whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.maps import functions
from wetlands_rx.exceptions import WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment

FILE = functions.__file__
SOON = 60.0
LARGE = 8_000_000


@pytest.fixture
def two(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch(max_workers=2)
    return here


def values() -> list[Any]:
    whole = np.arange(LARGE, dtype=np.uint8)
    return [
        whole,
        np.arange(2 * LARGE, dtype=np.uint8)[::2],
        np.asfortranarray(whole.reshape(1000, -1)),
        whole.tobytes(),
        bytearray(whole.tobytes()),
        "é" * (LARGE // 2),
        {"image": whole, "raw": [whole.tobytes(), whole]},
    ]


@pytest.mark.parametrize("place", range(len(values())))
def test_large_values_come_back_equal_beside_small_calls(two: ExternalEnvironment, place: int) -> None:
    value = values()[place]
    tasks = [two.submit(FILE, "same", (value if n % 3 == 0 else n,)) for n in range(12)]
    for n, task in enumerate(tasks):
        np.testing.assert_equal(task.wait_for(SOON).result, value if n % 3 == 0 else n)
    np.testing.assert_equal(list(two.map(FILE, "same", [1, value, 2, value])), [1, value, 2, value])


def test_what_arrives_can_be_written_to_and_is_nobody_elses(two: ExternalEnvironment) -> None:
    image = np.zeros(LARGE, np.uint8)
    first = two.submit(FILE, "same", (image,))
    image[:] = 1
    second = two.submit(FILE, "same", (image,))
    there, other = first.wait_for(SOON).result, second.wait_for(SOON).result
    there[:3] = 7
    assert (int(there.max()), int(other.min()), int(image.max())) == (7, 1, 1)
    assert not there[3:].any()


def test_a_large_call_that_waited_for_a_worker_is_sent_while_the_other_worker_is_heard(
    two: ExternalEnvironment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    held = [two.submit(FILE, "gated", ((n, str(gate)),)) for n in range(2)]
    image = np.ones(LARGE, np.uint8)
    large = [two.submit(FILE, "same", (image,)) for _ in range(4)]
    small = [two.submit(FILE, "double", (n,)) for n in range(100)]
    gate.touch()
    assert [task.wait_for(SOON).result for task in held] == [0, 1]
    assert [task.wait_for(SOON).result for task in small] == [2 * n for n in range(100)]
    for task in large:
        np.testing.assert_equal(task.wait_for(SOON).result, image)


def test_a_worker_that_dies_with_large_calls_in_the_queue_loses_none_of_them(
    two: ExternalEnvironment, tmp_path: Path
) -> None:
    image = np.ones(LARGE, np.uint8)
    doomed = two.submit(FILE, "logged", ((55, str(tmp_path)),))
    large = [two.submit(FILE, "same", (image,)) for _ in range(6)]
    with pytest.raises(WorkerDiedError):
        doomed.wait_for(SOON)
    for task in large:
        assert task.wait_for(SOON).result.sum() == LARGE


def test_an_exit_while_large_calls_are_on_their_way_ends_them(two: ExternalEnvironment) -> None:
    image = np.ones(10 * LARGE, np.uint8)
    tasks = [two.submit(FILE, "same", (image,)) for _ in range(6)]
    two.exit()
    assert all(task.wait_for(SOON).status.is_finished() for task in tasks)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there /proc tells the size")
def test_large_bytes_are_not_copied_on_their_way(two: ExternalEnvironment) -> None:
    raw = bytes(40 * LARGE)
    two.execute(FILE, "length", (b"",))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    assert two.execute(FILE, "length", (raw,)) == len(raw)
    assert peak() - before < len(raw) // 2


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
