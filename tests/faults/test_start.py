"""Interpreters that are none, or not for long."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import remote
from tests.faults.helpers import SOON, kill, runs, text_in, until
from wetlands_rx._pool.pool import Pool
from wetlands_rx._task.call import Runner
from wetlands_rx._task.streams import Streams
from wetlands_rx._worker import runtime
from wetlands_rx._worker.process import OnLine, WorkerProcess
from wetlands_rx._worker.runtime import Runtime
from wetlands_rx.environment import Environment, EnvironmentStatistics
from wetlands_rx.exceptions import ExecutionException, WorkerDiedError, WorkerStartError

REMOTE = remote.__file__


class PoolEnvironment(Environment):
    """The workers of an environment on any program whatever."""

    name = "strange"

    def __init__(self, shared: Runtime, python: Path) -> None:
        self._shared = shared
        self.python = python
        self.pool = Pool(self.name, self._start_process, shared, Streams(self.name))

    def _start_process(self, _index: int, on_line: OnLine) -> WorkerProcess:
        return WorkerProcess(self.python, dict(os.environ), self._shared.supervisor, on_line)

    def _runner(self) -> Runner:
        return self.pool

    def launched(self) -> bool:
        return not self.pool.broken

    def resize(self, max_workers: int) -> None: ...

    def recycle(self) -> None: ...

    def statistics(self) -> EnvironmentStatistics:
        return EnvironmentStatistics()

    def exit(self) -> None:
        self.pool.close()


@pytest.fixture
def shared() -> Iterator[Runtime]:
    yield runtime.acquire()
    runtime.release()


Program = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Write a shell script that stands for an interpreter."""

    def program(text: str) -> Path:
        file = tmp_path / "python"
        fresh = tmp_path / "python.new"
        fresh.write_text("#!/bin/sh\n" + textwrap.dedent(text))
        fresh.chmod(0o755)
        fresh.rename(file)
        return file

    return program


@pytest.fixture
def environment(shared: Runtime, program: Program) -> Iterator[PoolEnvironment]:
    environment = PoolEnvironment(shared, program(f'exec {sys.executable} "$@"'))
    yield environment
    environment.exit()


PYTHON = f'exec {sys.executable} -S -c "import os, sys, time; %s" "$@"'
STARTS = {
    "ends": ("exit 0", "its process ended with exit code 0", ()),
    "ends with an error": ("echo no numpy >&2; exit 3", "its process ended with exit code 3", ("no numpy",)),
    "crashes": ("kill -SEGV $$", "SIGSEGV", ()),
    "hangs": ("exec sleep 600", "no answer after 0.2 s", ()),
    "says too little": (PYTHON % "os.write(int(sys.argv[2]), b'hi'); time.sleep(600)", "no answer after 0.2 s", ()),
    "says something else": (
        PYTHON % "os.write(int(sys.argv[2]), b'#' * 99); time.sleep(600)",
        "no message of ours",
        (),
    ),
    "closes the pipe": (PYTHON % "os.close(int(sys.argv[2])); time.sleep(600)", "closed its end of the pipe", ()),
    "says something and ends": (PYTHON % "os.write(int(sys.argv[2]), b'#' * 99)", "no message of ours", ()),
}


@pytest.mark.parametrize(("text", "words", "tail"), STARTS.values(), ids=STARTS.keys())
@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_that_is_no_worker_fails_the_launch(
    environment: PoolEnvironment, program: Program, text: str, words: str, tail: tuple[str, ...], workers: int
) -> None:
    program(text)
    with pytest.raises(WorkerStartError, match=words) as raised:
        environment.pool.launch(workers, 0.2 if "no answer" in words else SOON)
    assert raised.value.stderr_tail == tail


def test_a_program_that_is_missing_or_not_executable(environment: PoolEnvironment, tmp_path: Path) -> None:
    environment.python = tmp_path / "missing"
    with pytest.raises(WorkerStartError, match="No such file"):
        environment.pool.launch(1, SOON)


def test_an_interpreter_that_is_too_old_says_so(environment: PoolEnvironment, program: Program) -> None:
    program(f"""exec {sys.executable} -c '
import sys
sys.version_info = (3, 7, 9)
sys.argv = sys.argv[1:]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"), dict(__name__="__main__", __file__=sys.argv[0]))
' "$@" """)
    with pytest.raises(WorkerStartError, match=r"a worker needs Python 3\.8 or newer; this environment has 3.7"):
        environment.pool.launch(1, SOON)


def test_a_replacement_that_cannot_start_fails_the_queue_with_the_cause(
    environment: PoolEnvironment, program: Program
) -> None:
    environment.pool.launch(1, SOON)
    poison, waiting = environment.submit(REMOTE, "die", ("exit 3",)), environment.submit(REMOTE, "double", (1,))
    program("echo the disk is gone >&2; exit 4")
    with pytest.raises(WorkerDiedError):
        poison.wait_for(SOON)
    with pytest.raises(ExecutionException, match="the disk is gone"):
        waiting.wait_for(SOON)
    assert environment.pool.broken


def test_a_replacement_that_hangs_at_the_start_fails_the_queue_in_time(
    environment: PoolEnvironment, program: Program
) -> None:
    environment.pool.launch(1, SOON)
    environment.pool._start_timeout = 0.3  # pyright: ignore[reportPrivateUsage] - nobody wants to wait a minute
    program("exec sleep 600")
    poison, waiting = environment.submit(REMOTE, "die", ("exit 3",)), environment.submit(REMOTE, "double", (1,))
    with pytest.raises(WorkerDiedError):
        poison.wait_for(SOON)
    with pytest.raises(ExecutionException, match=r"no answer after 0\.3 s"):
        waiting.wait_for(SOON)
    assert environment.pool.broken


def test_a_worker_killed_at_the_start_is_replaced(
    environment: PoolEnvironment, program: Program, tmp_path: Path
) -> None:
    environment.pool.launch(1, SOON)
    program(f'echo $$ > {tmp_path}/pid; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; exec {sys.executable} "$@"')
    poison, waiting = environment.submit(REMOTE, "die", ("exit 3",)), environment.submit(REMOTE, "double", (21,))
    with pytest.raises(WorkerDiedError):
        poison.wait_for(SOON)
    pid = int(text_in(tmp_path / "pid"))
    (tmp_path / "go").touch()
    kill(pid)
    assert waiting.wait_for(SOON).result == 42


def test_a_launch_that_is_interrupted_leaves_nothing(
    environment: PoolEnvironment, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(f"echo $$ > {tmp_path}/pid; exec sleep 600")

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            text_in(tmp_path / "pid")
            raise KeyboardInterrupt

    monkeypatch.setattr(environment.pool, "_launched", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        environment.pool.launch(1, SOON)
    pid = int(text_in(tmp_path / "pid"))
    until(lambda: not runs(pid))


def test_a_process_that_has_ended_before_it_is_watched_is_noticed(shared: Runtime, program: Program) -> None:
    process: Any = WorkerProcess(program("exit 3"), {}, shared.supervisor)
    assert process.reap(SOON).exit_code == 3
    noticed = threading.Event()
    process.on_exit(noticed.set)
    passed = threading.Event()
    shared.supervisor.call_later(0.0, passed.set)
    assert passed.wait(SOON), "the supervisor lives"
    assert process.reap().exit_code == 3
    process.socket.close()
