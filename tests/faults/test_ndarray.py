"""Processes that die with a shared array: nothing is left, and nobody else loses it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.faults.helpers import SOON, kill, runs, text_in, until
from tests.integration.arrays import shared as remote
from tests.support.blocks import held, held_bytes, holders
from wetlands_rx.exceptions import SerializationError, WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.ndarray import NDArray

ROOT = Path(__file__).parents[2]
REMOTE = remote.__file__
MB = 1 << 20

CALLER = """
import sys
import zlib
sys.path.insert(0, {root!r})
import numpy as np
from wetlands_rx import EnvironmentManager
from wetlands_rx.ndarray import NDArray
manager = EnvironmentManager({folder!r}, log_file_path=None)
env = manager.load("here", sys.executable)
env.launch()
image = NDArray(np.ones(1000000))
made = env.execute({remote!r}, "make_and_keep", (1000000, 1.0))
env.execute({remote!r}, "use_and_wait", (image, {file!r}))
"""


def test_the_death_of_the_caller_leaves_nothing(tmp_path: Path) -> None:
    program = CALLER.format(root=str(ROOT), folder=str(tmp_path / "w"), remote=REMOTE, file=str(tmp_path / "pid"))
    with subprocess.Popen([sys.executable, "-c", program]) as caller:
        worker = int(text_in(tmp_path / "pid"))
        inodes = set(held(caller.pid)) | set(held(worker))
        assert len(inodes) == 2
        kill(caller.pid)
    until(lambda: not runs(worker), "a worker outlived its caller")
    until(lambda: not any(map(holders, inodes)), "somebody holds the array of a dead process")


def test_the_death_of_a_worker_takes_the_array_from_nobody(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    with NDArray(np.ones(MB)) as image:
        task = here.submit(REMOTE, "use_and_wait", (image, str(tmp_path / "pid")))
        kill(int(text_in(tmp_path / "pid")))
        with pytest.raises(WorkerDiedError):
            task.wait_for(SOON)
        assert image.array.sum() == MB
        assert here.execute(REMOTE, "total", (image,)) == MB
        assert held_bytes() > 8 * MB
    assert held_bytes() < MB


def test_the_death_of_the_worker_that_made_it_takes_it_from_nobody(here: ExternalEnvironment) -> None:
    here.launch()
    made: NDArray = here.execute(REMOTE, "make_and_keep", (MB, 1.0))
    (inode,) = held()
    first = here.execute(REMOTE, "pid")
    kill(first)
    until(lambda: not runs(first))
    assert here.execute(REMOTE, "total", (made,)) == MB
    assert holders(inode)
    made.dispose()
    until(lambda: not holders(inode), "it has not been freed")


def test_results_that_nobody_has_looked_at_survive_their_worker(here: ExternalEnvironment) -> None:
    here.launch()
    results = here.map(REMOTE, "make_of_item", [5, 6, 7], chunksize=1)
    kill(here.execute(REMOTE, "pid"))  # it comes after them
    for made in results:
        assert made.array.tolist() == [made.shape[0]] * made.shape[0]
        made.dispose()


def test_what_a_dead_worker_had_not_sent_is_gone(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    task = here.submit(REMOTE, "make_and_wait", (MB, str(tmp_path / "pid")))
    worker = int(text_in(tmp_path / "pid"))
    (inode,) = held(worker)
    kill(worker)
    with pytest.raises(WorkerDiedError):
        task.wait_for(SOON)
    until(lambda: not holders(inode), "somebody holds the array of a dead process")


def test_an_address_in_a_dead_process_is_an_error(here: ExternalEnvironment) -> None:
    here.launch()
    pickled: bytes = here.execute(REMOTE, "pickled", (10,))
    here.exit()
    with pytest.raises(SerializationError, match=r"process \d+, which held it, has ended"):
        pickle.loads(zlib.decompress(pickled))
