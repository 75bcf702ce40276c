"""The house itself: the leak check sees what it must, and the worker's files stay old and small."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.shared_memory import SharedMemory

import pytest

from tests.support.leaks import left_behind, settled, take_stock


@contextmanager
def waiting_thread() -> Generator[str]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left-alone-7")
    thread.start()
    yield "thread left-alone-7"
    end.set()
    thread.join()


@contextmanager
def waiting_process() -> Generator[str]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield f"process {process.pid}"
    process.communicate()


@contextmanager
def open_pipe() -> Generator[str]:
    ends = os.pipe()
    yield f"descriptor {ends[0]} -> pipe:"
    for end in ends:
        os.close(end)


@contextmanager
def shared_block() -> Generator[str]:
    block = SharedMemory(create=True, size=1)
    yield f"shared memory {block.name}"
    block.close()
    block.unlink()


@pytest.mark.parametrize("holding", [waiting_thread, waiting_process, open_pipe, shared_block])
def test_what_a_test_leaves_behind_is_named_until_it_is_gone(
    holding: Callable[[], AbstractContextManager[str]],
) -> None:
    before = take_stock()
    with holding() as name:
        left = [str(thing) for thing in left_behind(before, take_stock())]
        assert any(line.startswith(name) for line in left), left
    assert settled(before) == []
