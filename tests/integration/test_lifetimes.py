"""Launches and exits that meet each other, on several threads and in forked processes."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import NotLaunchedError, WetlandsError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import TaskEvent, TaskStatus

SOON = 30.0


class Gate:
    """A `worker_env` that the test holds up."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, index: int) -> dict[str, str]:
        self.entered.set()
        assert self.opened.wait(SOON)
        return {}


class Doing(threading.Thread):
    """Does something on another thread and keeps what comes of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(name="doing")
        self.error: BaseException | None = None
        self._work = work
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.error = error

    def ended(self) -> BaseException | None:
        self.join(SOON)
        assert not self.is_alive()
        return self.error


def until(condition: Callable[[], object]) -> None:
    """Poll for what another thread does soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_waiting(here: ExternalEnvironment, *, unwanted: bool = False) -> bool:
    turn = here._turn  # pyright: ignore[reportPrivateUsage] - nothing else tells
    return turn is not None and turn.unwanted == unwanted


def until_begun(here: ExternalEnvironment, launch: Doing) -> None:
    until(lambda: is_waiting(here) or not launch.is_alive())


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def function(tmp_path: Path) -> str:
    file = tmp_path / "functions.py"
    file.write_text(
        "def double(number):\n"
        "    return 2 * number\n"
        "def wait(task):\n"
        "    task.update('running')\n"
        "    while True:\n"
        "        task.raise_if_canceled()\n"
    )
    return str(file)


def test_a_second_launch_waits_for_the_first(here: ExternalEnvironment, gate: Gate) -> None:
    first = Doing(lambda: here.launch(worker_env=gate))
    assert gate.entered.wait(SOON)
    second = Doing(lambda: here.launch(max_workers=2))
    second.join(0.05)
    assert second.is_alive()
    gate.opened.set()
    assert (first.ended(), second.ended()) == (None, None)
    assert here.launched()
    assert here.worker_count == 1


def test_a_second_launch_takes_over_from_one_that_failed(here: ExternalEnvironment, gate: Gate) -> None:
    def fails(index: int) -> dict[str, str]:
        gate(index)
        raise ZeroDivisionError

    first = Doing(lambda: here.launch(worker_env=fails))
    assert gate.entered.wait(SOON)
    second = Doing(lambda: here.launch(max_workers=2))
    gate.opened.set()
    assert isinstance(first.ended(), ZeroDivisionError)
    assert second.ended() is None
    assert here.worker_count == 2


def test_an_exit_ends_the_launch_of_another_thread(here: ExternalEnvironment, gate: Gate) -> None:
    launch = Doing(lambda: here.launch(worker_env=gate))
    assert gate.entered.wait(SOON)
    end = Doing(here.exit)
    until(lambda: is_waiting(here, unwanted=True))
    gate.opened.set()
    assert end.ended() is None
    assert not here.launched()
    error = launch.ended()
    assert isinstance(error, NotLaunchedError)
    assert error.exited
    here.launch()
    assert here.launched()


def test_exits_and_launches_at_any_moment_leave_no_doubt(here: ExternalEnvironment) -> None:
    for number in range(8):
        launch = Doing(lambda: here.launch(max_workers=2))
        until_begun(here, launch)
        threading.Event().wait(number * 0.01)  # wherever the launch is by then
        here.exit()
        assert not here.launched()
        assert launch.ended() is None or isinstance(launch.error, NotLaunchedError)


def test_a_second_exit_waits_for_the_first(here: ExternalEnvironment, function: str) -> None:
    here.launch()
    task = here.submit(function, "double", (1,))
    ends = [Doing(here.exit) for _ in range(4)]
    assert [end.ended() for end in ends] == [None] * 4
    assert task.status.is_finished()
    assert not here.launched()


def test_when_any_exit_returns_all_has_ended(here: ExternalEnvironment, function: str) -> None:
    seen: list[tuple[TaskStatus, int]] = []
    here.launch()
    task = here.submit(function, "wait")

    def end() -> None:
        here.exit()
        seen.append((task.status, sum(thread.name.startswith("wetlands-") for thread in threading.enumerate())))

    assert [thread.ended() for thread in [Doing(end) for _ in range(4)]] == [None] * 4
    assert seen == [(TaskStatus.CANCELED, 0)] * 4


def test_a_worker_env_cannot_launch_or_exit_its_own_environment(here: ExternalEnvironment) -> None:
    errors: list[str] = []

    def meddles(_index: int) -> dict[str, str]:
        for meddle in (here.launch, here.exit):
            with pytest.raises(RuntimeError) as raised:
                meddle()
            errors.append(str(raised.value))
        return {}

    here.launch(worker_env=meddles)
    assert [("launched" in error, "exit" in error) for error in errors] == [(True, False), (False, True)]
    assert here.launched()


@pytest.mark.parametrize("by_listener", ["exit", "launch"])
def test_a_listener_may_call_exit_and_launch_while_another_thread_exits(
    here: ExternalEnvironment, function: str, by_listener: str
) -> None:
    told, exiting, done = threading.Event(), threading.Event(), threading.Event()
    errors: list[BaseException | None] = []

    def meddle(event: TaskEvent[Any]) -> None:
        if not event.task.status.is_finished() or done.is_set():
            return
        told.set()
        assert exiting.wait(SOON)
        errors.append(None)
        try:
            getattr(here, by_listener)()
        except RuntimeError as error:
            errors[-1] = error
        done.set()

    here.launch()
    here.submit(function, "double", (1,), start=False).listen(meddle).start()
    assert told.wait(SOON)
    end = Doing(here.exit)
    until(lambda: is_waiting(here))
    exiting.set()
    begin = time.monotonic()
    assert end.ended() is None
    assert time.monotonic() - begin < 4.0  # less than an exit waits for listeners
    assert done.is_set()
    assert [type(error) for error in errors] == [type(None) if by_listener == "exit" else RuntimeError]
    assert not here.launched()


def test_a_listener_may_exit_its_environment(here: ExternalEnvironment, function: str) -> None:
    here.launch()
    task = here.submit(function, "double", (1,), start=False)
    task.listen(lambda event: here.exit() if event.task.status.is_finished() else None).start()
    until(lambda: not here.launched())
    here.exit()


# --- worker_env


def test_worker_env_is_asked_once_per_worker_in_the_callers_thread(here: ExternalEnvironment, tmp_path: Path) -> None:
    file = tmp_path / "functions.py"
    file.write_text("import os\ndef variable(): return os.environ['WHO']\ndef die(): os._exit(3)\n")
    asked: list[tuple[int, threading.Thread]] = []

    def worker_env(index: int) -> dict[str, str]:
        asked.append((index, threading.current_thread()))
        return {"WHO": f"number {index}, asked {len(asked)}"}

    here.launch(max_workers=2, worker_env=worker_env)
    with pytest.raises(WetlandsError):
        here.execute(str(file), "die")
    with pytest.raises(WetlandsError):
        here.execute(str(file), "die")
    seen: set[str] = set()
    while len(seen) < 2:
        seen.update(task.wait_for(SOON).result for task in [here.submit(str(file), "variable") for _ in range(4)])
    assert seen == {"number 0, asked 1", "number 1, asked 2"}
    assert asked == [(0, threading.current_thread()), (1, threading.current_thread())]


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (None, r"worker_env\(1\) must return a mapping of texts to texts, not NoneType"),
        ([("A", "B")], "not list"),
        ({"A": 1}, r"worker_env\(1\) must return texts: 'A' has the value 1"),
        ({b"A": "B"}, "b'A'"),
    ],
)
def test_what_is_wrong_with_worker_env_is_said_before_anything_starts(
    here: ExternalEnvironment, variables: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        here.launch(max_workers=2, worker_env=lambda index: variables if index else {})
    assert not here.launched()


# --- Forks


def in_forked_child(work: Callable[[], str]) -> str:
    """What a forked child says; an alarm ends one that hangs."""
    import signal

    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: it is what this is about
        child = os.fork()
    if child == 0:
        signal.alarm(int(SOON))
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 - the parent reads it
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def nothing_after(work: Callable[[], None]) -> Callable[[], str]:
    def do() -> str:
        work()
        return ""

    return do


def test_a_forked_child_is_refused_at_once(here: ExternalEnvironment, function: str) -> None:
    here.launch()
    said = in_forked_child(lambda: str(here.execute(function, "double", (1,))))
    assert said.startswith("WetlandsError: ")
    assert f"belong to process {os.getpid()}, which launched them" in said
    assert "belong to process" in in_forked_child(nothing_after(here.launch))
    assert here.execute(function, "double", (2,)) == 4


def test_a_forked_child_cannot_end_its_parents_workers(here: ExternalEnvironment, function: str) -> None:
    here.launch()
    task = here.submit(function, "wait")

    def ends() -> str:
        here.exit()
        task.cancel()
        here.exit()
        return f"{here.launched()} {here.worker_count} {here!r}"

    assert in_forked_child(ends).startswith("False 0 <Environment here: 0 workers (0 busy)")
    assert not task.status.is_finished()
    task.cancel()
    assert task.wait_for(SOON).status.is_finished()
    assert here.execute(function, "double", (3,)) == 6


def test_a_child_forked_while_locks_are_held_is_refused_all_the_same(here: ExternalEnvironment, function: str) -> None:
    here.launch()
    pool = here._pool  # pyright: ignore[reportPrivateUsage]
    assert pool is not None
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with here._lock, pool._lock:  # pyright: ignore[reportPrivateUsage]
            held.set()
            assert release.wait(SOON)

    holder = Doing(hold)
    assert held.wait(SOON)
    try:
        assert "belong to process" in in_forked_child(lambda: str(here.execute(function, "double", (1,))))
        assert in_forked_child(nothing_after(here.exit)) == ""
    finally:
        release.set()
    assert holder.ended() is None


# --- Commands


def test_waiting_for_commands_does_not_wait_for_what_they_leave_running(here: ExternalEnvironment) -> None:
    begin = time.monotonic()
    process = here.execute_commands(["sleep 60 &", "echo $!", "echo done"], wait=True)
    assert time.monotonic() - begin < 4.0  # the background child holds the pipe for longer
    logger = here.get_process_logger(process)
    number, done = logger.get_output()
    assert (process.returncode, done) == (0, "done")
    os.kill(int(number), 15)  # it has been left running
    assert logger.join(SOON)


def test_a_forked_child_may_launch_an_environment_of_its_own(
    here: ExternalEnvironment, function: str, tmp_path: Path
) -> None:
    here.launch()

    def launches() -> str:
        heard: list[str] = []
        with EnvironmentManager(tmp_path).load("mine", sys.executable) as mine:
            mine.launch()
            task = mine.submit(function, "double", (2,), start=False)
            task.listen(lambda event: heard.append(event.type.name)).start().wait_for(SOON)
            return f"{task.result} {heard}"

    assert in_forked_child(launches) == "4 ['STARTED', 'COMPLETION']"
    assert here.execute(function, "double", (3,)) == 6
