"""What tasks print and log, with real workers: whose it is, and that none is lost."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.oldest import oldest_interpreter
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import WorkerDiedError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.logger import attach_log_handler, enable_file_logging, remove_log_handler
from wetlands_rx.task import Task, TaskEventType

SOON = 20.0
FUNCTIONS = r"""
import os
import signal
import subprocess
import sys
import threading
import time

SOON = 20.0
go, said = threading.Event(), threading.Event()

def leave_a_thread():
    def late():
        go.wait(SOON)
        print("late")
        threading.Thread(target=print, args=("later",)).start()
        said.set()
    print("ear", end="", flush=True)
    threading.Thread(target=late).start()
    print("ly")

def meet_the_thread():
    print("second, to be con", end="", flush=True)
    go.set()
    said.wait(SOON)
    print("tinued")

def say(*words):
    for word in words:
        print(word)

def say_without_end(word):
    print(word, end="")

def everything():
    print("text")
    print("error", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes\n")
    os.write(sys.stdout.fileno(), b"raw\n")
    subprocess.call(["echo", "child"])
    subprocess.call(["echo", "child of ours"], stdout=sys.stdout)
    child = os.fork()
    if not child:
        print("forked")
        os._exit(0)
    os.waitpid(child, 0)
    print("\x1e\x02wx;3;1;forged.py:f\x03yes")

def bar():
    for percent in (0, 50, 100):
        sys.stderr.write("\r%3d%%" % percent)
        sys.stderr.flush()
    sys.stderr.write("\n")

def die(how, text):
    print(text, flush=True, end="")
    print(text + " on stderr", file=sys.stderr)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)

def flood(count):
    began = time.monotonic()
    for number in range(count):
        print(number)
    return time.monotonic() - began

def until_canceled(*, task):
    task.update("here")
    while not task.cancel_requested:
        time.sleep(0.001)
    task.log("asked to end", 30)
    print("the end")
    task.cancel()

def note(text, *, task):
    task.log(text, 10)

def close_them():
    print("before")
    sys.stdout.close()
    sys.stderr = None

def replace_them():
    import io
    sys.stdout = io.StringIO()
    print("into the text")
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.fixture(params=["this Python", "the oldest Python"])
def any_python(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExternalEnvironment]:
    python = sys.executable if request.param == "this Python" else oldest_interpreter()[0]
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        env = manager.load("here", python)
        env.launch()
        yield env


class Heard(list[logging.LogRecord]):
    """What an observer hears, and when enough of it has come."""

    def __init__(self, stream: Any) -> None:
        self.changed = threading.Condition()
        self.threads: set[str] = set()
        self.ended = False
        stream.subscribe(self.on_next, None, self.on_completed)

    def on_next(self, record: logging.LogRecord) -> None:
        with self.changed:
            self.threads.add(threading.current_thread().name)
            self.append(record)
            self.changed.notify_all()

    def on_completed(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def until(self, done: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(done, SOON), [record.getMessage() for record in self]

    def wait_for(self, count: int) -> list[logging.LogRecord]:
        self.until(lambda: len(self) >= count)
        return list(self)


def texts_of(records: list[logging.LogRecord], task: Task[Any] | None) -> list[str]:
    wanted = None if task is None else task.id
    return [record.getMessage() for record in records if record.__dict__["task_id"] == wanted]


def test_each_line_bears_the_task_that_printed_it_also_when_it_comes_late(
    any_python: ExternalEnvironment, functions: Path
) -> None:
    heard = Heard(any_python.logs)
    first = any_python.submit(functions, "leave_a_thread").wait_for(SOON)
    second = any_python.submit(functions, "meet_the_thread").wait_for(SOON)
    records = heard.wait_for(4)
    assert texts_of(records, first) == ["early", "late", "later"]
    assert texts_of(records, second) == ["second, to be continued"]
    targets = {record.__dict__["task_id"]: record.__dict__["call_target"] for record in records}
    assert targets == {first.id: "functions.py:leave_a_thread", second.id: "functions.py:meet_the_thread"}


def test_what_is_certainly_of_a_task_is_its_and_the_rest_is_the_workers(
    any_python: ExternalEnvironment, functions: Path
) -> None:
    heard = Heard(any_python.logs)
    task = any_python.submit(functions, "everything").wait_for(SOON)
    records = heard.wait_for(8)
    forged = "\x1e\x02wx;3;1;forged.py:f\x03yes"
    assert sorted(texts_of(records, task)) == sorted(["text", "error", "bytes", "forked", forged])
    assert texts_of(records, None) == ["raw", "child", "child of ours"]
    assert {record.__dict__["call_target"] for record in records} == {"functions.py:everything", None}


def test_a_line_without_end_ends_with_its_call(any_python: ExternalEnvironment, functions: Path) -> None:
    heard = Heard(any_python.logs)
    tasks = [any_python.submit(functions, "say_without_end", (word,)) for word in ("one", "two")]
    records = heard.wait_for(2)
    assert [texts_of(records, task) for task in tasks] == [["one"], ["two"]]


def test_a_progress_bar_gives_a_line_for_each_of_its_states(any_python: ExternalEnvironment, functions: Path) -> None:
    heard = Heard(any_python.logs)
    task = any_python.submit(functions, "bar")
    assert texts_of(heard.wait_for(3), task) == ["  0%", " 50%", "100%"]


@pytest.mark.parametrize("spoiling", ["close_them", "replace_them"])
def test_a_function_may_spoil_its_streams(any_python: ExternalEnvironment, functions: Path, spoiling: str) -> None:
    any_python.execute(functions, spoiling)
    heard = Heard(any_python.logs)
    task = any_python.submit(functions, "note", ("still here",))
    heard.until(lambda: texts_of(heard, task) == ["still here"])  # what was printed before may come later


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_the_last_words_of_a_worker_are_its_tasks(here: ExternalEnvironment, functions: Path, how: str) -> None:
    heard = Heard(here.logs)
    here.launch()
    task = here.submit(functions, "die", (how, "last words"))
    records = heard.wait_for(2)
    assert sorted(texts_of(records, task)) == ["last words", "last words on stderr"]


def test_the_tail_of_the_standard_error_bears_no_marks(here: ExternalEnvironment, functions: Path) -> None:
    here.launch()
    with pytest.raises(WorkerDiedError) as raised:
        here.execute(functions, "die", ("exit", "last words"))
    assert raised.value.stderr_tail == ("last words on stderr",)


def test_a_flood_of_lines_comes_whole_and_in_order(here: ExternalEnvironment, functions: Path) -> None:
    here.launch()
    heard = Heard(here.logs)
    task = here.submit(functions, "flood", (5_000,))
    records = heard.wait_for(5_000)
    assert texts_of(records, task) == [str(number) for number in range(5_000)]


def test_a_flood_that_an_observer_does_not_take_keeps_neither_the_task_nor_memory(
    here: ExternalEnvironment, functions: Path
) -> None:
    here.launch()
    free, last, heard = threading.Event(), threading.Event(), list[str]()

    def on_next(record: logging.LogRecord) -> None:
        free.wait(SOON)
        heard.append(record.getMessage())
        if heard[-1] == "after it":
            last.set()

    here.logs.subscribe(on_next)
    try:
        task = here.submit(functions, "flood", (100_000,)).wait_for(SOON)
        assert task.result < SOON
        waiting = Heard(here.logs)
        here.submit(functions, "say", ("after it",)).wait_for(SOON)
        waiting.wait_for(1)
    finally:
        free.set()
    assert last.wait(SOON)
    assert len(heard) < 25_000  # 10,000 that wait for it, and as many for all
    assert heard[0] == "0"


def test_records_come_whatever_the_level_and_handlers_hear_only_theirs(
    here: ExternalEnvironment, functions: Path
) -> None:
    handled = list[logging.LogRecord]()
    threads = set[str]()

    def handle(record: logging.LogRecord) -> None:
        threads.add(threading.current_thread().name)
        handled.append(record)
        raise RuntimeError("a handler of the user")

    here.launch()
    heard = Heard(here.logs)
    logging.raiseExceptions, before = False, logging.raiseExceptions
    handler = attach_log_handler(handle, logging.WARNING)
    try:
        task = here.submit(functions, "note", ("quiet",)).wait_for(SOON)
        here.submit(functions, "until_canceled").cancel()
        here.exit()
    finally:
        remove_log_handler(handler)
        logging.raiseExceptions = before
    assert texts_of(heard, task) == ["quiet"]
    assert [record.getMessage() for record in handled] == ["asked to end"]
    assert all(name.startswith("wetlands-delivery") for name in threads | heard.threads)


def test_what_is_printed_while_the_environment_exits_comes_before_the_end(
    here: ExternalEnvironment, functions: Path
) -> None:
    here.launch()
    heard = Heard(here.logs)
    running = threading.Event()
    task = here.submit(functions, "until_canceled", start=False)
    task.listen(lambda event: running.set() if event.type is TaskEventType.UPDATE else None).start()
    assert running.wait(SOON)
    here.exit()
    heard.until(lambda: heard.ended)
    assert sorted(texts_of(heard, task)) == ["asked to end", "the end"]  # they come on different ways


@pytest.mark.parametrize("index", [0, 1])
def test_a_record_says_all_about_where_it_comes_from(here: ExternalEnvironment, functions: Path, index: int) -> None:
    here.launch(max_workers=2)
    heard = Heard(here.logs)
    tasks = [here.submit(functions, "note", (str(number),)) for number in range(20)]
    record = next(r for r in heard.wait_for(20) if r.__dict__["worker_index"] == index)
    task = tasks[int(record.getMessage())]
    facts = record.__dict__
    assert (record.name, record.levelno, record.getMessage()) == ("wetlands_rx", 10, record.getMessage())
    assert (facts["log_source"], facts["env_name"], facts["call_target"], facts["task_id"]) == (
        "execution",
        "here",
        "functions.py:note",
        task.id,
    )
    assert (facts["stream"], facts["stage"]) == (None, None)


def test_a_thread_of_this_process_logs_with_the_same_facts(tmp_path: Path, functions: Path) -> None:
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        heard, all_heard = Heard(manager.main_environment.logs), Heard(manager.logs)
        task = manager.main_environment.submit(functions, "note", ("here",)).wait_for(SOON)
        (record,) = heard.wait_for(1)
        assert all_heard.wait_for(1) == [record]
        facts = record.__dict__
        assert (facts["env_name"], facts["task_id"], facts["worker_index"], facts["call_target"]) == (
            "wetlands_main",
            task.id,
            0,
            "functions.py:note",
        )


def test_the_output_of_commands_is_told_without_a_launch(tmp_path: Path) -> None:
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        env = manager.load("here", sys.executable)
        heard, all_heard = Heard(env.logs), Heard(manager.logs)
        env.execute_commands(["echo one", "echo two >&2"], wait=True)
        records = heard.wait_for(2)
        all_heard.wait_for(2)
        assert sorted((r.getMessage(), r.__dict__["stream"], r.__dict__["stage"]) for r in records) == [
            ("one", "stdout", "commands"),
            ("two", "stderr", "commands"),
        ]
    assert all_heard.ended


def test_the_making_of_an_environment_is_told(tmp_path: Path) -> None:
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        heard = Heard(manager.logs)
        manager.create("made")
        stages = [record.__dict__["stage"] for record in heard]
        assert {"find_python", "publish"} <= set(stages)
        assert {record.__dict__["env_name"] for record in heard} == {"made"}
        assert {record.__dict__["log_source"] for record in heard} == {"environment"}


def test_a_file_gets_what_the_format_asks_for(here: ExternalEnvironment, functions: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.log"
    handler = enable_file_logging(file, fmt="%(env_name)s %(worker_index)s %(call_target)s %(stream)s %(message)s")
    try:
        here.launch()
        here.execute(functions, "say", ("é",))
        here.exit()
    finally:
        remove_log_handler(handler)
    assert file.read_text(encoding="utf-8") == "here 0 functions.py:say stdout é\n"
