"""No worker outlives its caller, and no caller's child touches its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import remote
from tests.faults.helpers import SOON, kill, runs, text_in, until

REMOTE = remote.__file__
Host = Callable[..., "subprocess.Popen[str]"]

BEGIN = """
import os, sys, threading, time
from pathlib import Path
from wetlands_rx import EnvironmentManager
folder, remote = Path(sys.argv[1]), sys.argv[2]
def begin(target, daemon=False):
    threading.Thread(target=target, daemon=daemon).start()
env = EnvironmentManager(folder / "wetlands", log_file_path=None).load("here", sys.executable)
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Start a program that uses the library, given as text; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def host(text: str) -> subprocess.Popen[str]:
        program = BEGIN + textwrap.dedent(text)
        process = subprocess.Popen(
            # Newer Pythons warn of a fork beside threads: the tests do it on purpose.
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(tmp_path), REMOTE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield host
    for process in started:
        process.kill()
        process.communicate()


LAUNCHES = {
    "launched by the main thread": "env.launch(max_workers=2)",
    "launched by a thread that has ended": """
thread = threading.Thread(target=lambda: env.launch(max_workers=2))
thread.start()
thread.join()
""",
}


@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES.keys())
@pytest.mark.parametrize("function", ["begin_and_wait", "stuck_in_native_code"])
def test_workers_end_with_a_host_that_is_killed(host: Host, tmp_path: Path, launch: str, function: str) -> None:
    process = host(
        launch
        + f"""
busy = env.submit(remote, {function!r}, (str(folder / "busy"),))
(folder / "idle").write_text(str(env.execute(remote, "pid")))
time.sleep(600)
"""
    )
    pids = [int(text_in(tmp_path / name)) for name in ("idle", "busy")]
    assert len(set(pids)) == 2
    assert all(runs(pid) for pid in pids)
    process.kill()
    process.wait(SOON)
    until(lambda: not any(runs(pid) for pid in pids), "a worker outlives its host")


def test_workers_end_with_a_killed_host_whose_forked_child_lives_on(host: Host, tmp_path: Path) -> None:
    process = host(
        """
        env.launch(max_workers=2)
        child = os.fork()
        if child == 0:
            (folder / "child").write_text(str(os.getpid()))
            time.sleep(600)
        busy = env.submit(remote, "stuck_in_native_code", (str(folder / "busy"),))
        (folder / "idle").write_text(str(env.execute(remote, "pid")))
        time.sleep(600)
        """
    )
    pids = [int(text_in(tmp_path / name)) for name in ("idle", "busy")]
    child = int(text_in(tmp_path / "child"))
    try:
        process.kill()
        process.wait(SOON)
        until(lambda: not any(runs(pid) for pid in pids), "a worker outlives its host")
        assert runs(child)
    finally:
        kill(child)


@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(0)", "env.exit(); sys.exit()"])
def test_the_end_of_a_forked_child_leaves_the_workers_alone(host: Host, end: str) -> None:
    process = host(
        f"""
        env.launch()
        before = env.execute(remote, "pid")
        child = os.fork()
        if child == 0:
            {end}
        assert os.waitpid(child, 0)[1] == 0
        assert env.execute(remote, "pid") == before
        assert env.execute(remote, "double", (21,)) == 42
        env.exit()
        print("fine")
        """
    )
    assert process.communicate(timeout=SOON)[0] == "fine\n"


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "sys.exit(0)",
        "env.submit(remote, 'double', (1,)).listen(lambda event: time.sleep(0.2))",
        "env.submit(remote, 'begin_and_wait', (str(folder / 'never'),)).listen(lambda event: sys.exit(3))",
        "[env.submit(remote, 'double', (n,)) for n in range(5000)]",
        "wait = env.submit(remote, 'begin_and_wait', (str(folder / 'x'),)).wait_for; begin(wait, daemon=True)",
        "begin(lambda: [env.submit(remote, 'double', (n,)) for n in range(10)])",
    ],
)
def test_a_host_that_ends_by_itself_is_quick_and_silent_and_leaves_nothing(
    host: Host, end: str, tmp_path: Path
) -> None:
    process = host(
        f"""
env.launch(max_workers=2)
(folder / "pid").write_text(str(env.execute(remote, "pid")))
{end}
"""
    )
    out, _ = process.communicate(timeout=SOON)
    if "listen(" not in end:  # of a listener that raises, or does not come back, the log tells
        assert out == ""
    assert process.returncode == 0
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not runs(pid))


def test_an_interrupt_in_the_terminal_is_the_hosts_business(host: Host, tmp_path: Path) -> None:
    """Workers have a session of their own: the same Ctrl-C does not reach them."""
    process = host(
        """
        import signal
        os.setsid()
        env.launch()
        before = env.execute(remote, "pid")
        interrupts = []
        signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
        (folder / "ready").write_text("now")
        while not interrupts:
            time.sleep(0.005)
        assert env.execute(remote, "pid") == before
        print("fine")
        """
    )
    text_in(tmp_path / "ready")
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=SOON)[0] == "fine\n"


def test_waiting_can_be_interrupted(host: Host, tmp_path: Path) -> None:
    process = host(
        """
        env.launch()
        task = env.submit(remote, "begin_and_wait", (str(folder / "busy"),))
        try:
            task.wait_for()
        except KeyboardInterrupt:
            print("interrupted", task.status.value)
        """
    )
    text_in(tmp_path / "busy")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=SOON)[0] == "interrupted running\n"
