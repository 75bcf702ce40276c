"""Calls that travel all the way: through a real worker and back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import fnmatch
import logging
import math
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.calls import items, remote
from tests.support.oldest import oldest_interpreter
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import (
    ExecutionException,
    InvalidStateError,
    NotLaunchedError,
    SerializationError,
)
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

REMOTE = remote.__file__
SOON = 30.0
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
Write = Callable[[str, str], str]


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def env(here: ExternalEnvironment, request: pytest.FixtureRequest) -> ExternalEnvironment:
    here.launch(max_workers=request.param)
    return here


@pytest.fixture
def one(here: ExternalEnvironment) -> ExternalEnvironment:
    """With one worker."""
    here.launch()
    return here


@pytest.fixture
def two(here: ExternalEnvironment) -> ExternalEnvironment:
    """With two workers."""
    here.launch(max_workers=2)
    return here


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(file)

    return write


def listened(task: Task[Any]) -> list[TaskEvent[Any]]:
    """Start a task with a listener and wait for its end; its events."""
    events: list[TaskEvent[Any]] = []
    with contextlib.suppress(ExecutionException):
        task.listen(events.append).start().wait_for(SOON)
    return events


def running(task: Task[Any]) -> Task[Any]:
    """Wait until the function has reported that it runs."""
    reported = threading.Event()
    task.listen(lambda event: reported.set() if event.type is UPDATE else None).start()
    assert reported.wait(SOON)
    return task


# --- Calls


@pytest.mark.parametrize("x", [None, 3, "text", [1, 2.5], {"a": (1, b"b")}, "x" * 1_000_000, 10**100, {1, 2}])
def test_values_go_and_come(one: ExternalEnvironment, x: Any) -> None:
    assert one.execute(REMOTE, "identity", (x,)) == x


def test_a_call_in_every_form(env: ExternalEnvironment) -> None:
    assert env.execute(REMOTE, "double", (21,)) == 42
    assert env.submit(REMOTE, "double", (21,)).wait_for(SOON).result == 42
    assert env.submit(REMOTE, "double", (21,)).future.result(SOON) == 42
    assert env.submit(remote.double, args=(21,)).wait_for(SOON).result == 42
    assert env.submit(Path(REMOTE), "echo", (1,), {"two": 2}).wait_for(SOON).result == ((1,), {"two": 2})

    async def awaited() -> Any:
        return await env.submit(REMOTE, "double", (21,))

    assert asyncio.run(awaited()) == 42


def test_the_argument_may_be_changed_as_soon_as_submit_returns(one: ExternalEnvironment) -> None:
    values, image = [1, 2, 3], np.arange(100_000.0)
    task = one.submit(REMOTE, "echo", (values, image))
    values.clear()
    image[:] = -1
    (sent_values, sent_image), _ = task.wait_for(SOON).result
    assert sent_values == [1, 2, 3]
    np.testing.assert_array_equal(sent_image, np.arange(100_000.0))


@pytest.mark.parametrize("size", [0, 1, 1000, 5_000, 30_000, 2_000_000])
def test_arrays_arrive_equal_and_writable_on_both_sides(one: ExternalEnvironment, size: int) -> None:
    back = one.execute(REMOTE, "change", (np.arange(size, dtype=np.float64),))
    np.testing.assert_array_equal(back, np.arange(size, dtype=np.float64) + 1)
    back += 1
    np.testing.assert_array_equal(one.execute(REMOTE, "array", (size,)), np.arange(size))


def test_a_module_lives_on_in_its_worker(one: ExternalEnvironment) -> None:
    assert [one.execute(REMOTE, "count") for _ in range(3)] == [1, 2, 3]


def test_modules_can_be_imported_in_a_worker(one: ExternalEnvironment) -> None:
    assert one.execute(REMOTE, "imports") == ["hashlib", "json", "random", "sqlite3", "numpy"]


def test_methods_are_named_with_dots(one: ExternalEnvironment) -> None:
    assert one.execute(REMOTE, "Model.predict", (3,)) == ("Model", 3)
    assert one.submit(remote.Model.with_handle).wait_for(SOON).result == "RemoteTaskHandle"


def test_functions_of_the_standard_library_and_of_installed_packages(one: ExternalEnvironment, write: Write) -> None:
    assert one.submit(textwrap.dedent, args=("  a",)).wait_for(SOON).result == "a"
    assert one.submit(fnmatch.fnmatch, args=("a.py", "*.py")).wait_for(SOON).result is True
    elsewhere = write("elsewhere.py", "import os, textwrap, threading, numpy\ndef f(): return os.getpid()")
    assert one.execute(elsewhere, "f") == one.execute(REMOTE, "pid")


def test_two_files_of_one_name_and_their_neighbours(one: ExternalEnvironment, write: Write) -> None:
    paths: list[str] = []
    for folder in ("one", "two"):
        write(f"{folder}/neighbour.py", f"NAME = {folder!r}")
        paths.append(write(f"{folder}/same.py", "def f():\n    import neighbour\n    return neighbour.NAME"))
    assert [one.execute(path, "f") for path in paths * 2] == ["one", "two", "one", "two"]


def test_an_edited_file_is_used_at_once(one: ExternalEnvironment, write: Write) -> None:
    assert [one.execute(write("edited.py", f"def f(): return 'x' * {n}"), "f") for n in (1, 22, 333)] == [
        "x",
        "x" * 22,
        "x" * 333,
    ]


def test_coroutine_functions(one: ExternalEnvironment) -> None:
    task = one.submit(REMOTE, "coroutine", (21,), start=False)
    assert [event.message for event in listened(task)] == [None, "in a coroutine", "in a coroutine"]
    assert task.result == 42
    with pytest.raises(ExecutionException, match="ValueError: in a coroutine"):
        one.execute(REMOTE, "failing_coroutine")


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "answer"),
    [
        ("handle_first", (), {}, ("RemoteTaskHandle", 0)),
        ("handle_first", (), {"x": 3}, ("RemoteTaskHandle", 3)),
        ("handle_last", (1,), {}, (1, "RemoteTaskHandle")),
        ("handle_last", (1, "mine"), {}, (1, "mine")),
        ("handle_last", (1,), {"task": "mine"}, (1, "mine")),
        ("handle_keyword", (1, 2, 3), {}, ((1, 2, 3), "RemoteTaskHandle")),
        ("no_handle", (), {"a": 1}, {"a": 1}),
    ],
)
def test_who_gets_the_handle(
    one: ExternalEnvironment, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any
) -> None:
    assert one.execute(REMOTE, function, args, kwargs) == answer


# --- Errors


def test_an_error_tells_what_where_and_why(env: ExternalEnvironment) -> None:
    task = env.submit(REMOTE, "fail", ("too small %s",))
    with pytest.raises(ExecutionException) as raised:
        task.wait_for(SOON)
    error = raised.value
    assert (error.error, error.remote_type) == ("ValueError: too small %s", "builtins.ValueError")
    assert error.target == "remote.py:fail"
    assert task.worker is not None
    assert error.worker == str(task.worker)
    text = "\n".join(error.traceback)
    assert "in inner" in text
    assert "raise ValueError(text)" in text
    assert "_remote/loop.py" not in text
    assert pickle.loads(pickle.dumps(error)).traceback == error.traceback
    assert env.execute(REMOTE, "double", (1,)) == 2


def test_the_cause_of_an_error_is_in_its_traceback(one: ExternalEnvironment) -> None:
    with pytest.raises(ExecutionException, match="OwnError: outer") as raised:
        one.execute(REMOTE, "fail_with_a_cause")
    text = "\n".join(raised.value.traceback)
    assert "ZeroDivisionError" in text
    assert "direct cause" in text
    assert raised.value.remote_type == f"{raised.value.remote_type.rpartition('.')[0]}.OwnError"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("KeyboardInterrupt", ()),
        ("SystemExit", ()),
        ("SystemExit", (0,)),
        ("SystemExit", (3,)),
        ("GeneratorExit", ()),
        ("MemoryError", ()),
        ("OSError", (28, "No space left")),
    ],
)
def test_whatever_a_function_raises_the_worker_lives(
    one: ExternalEnvironment, name: str, args: tuple[Any, ...]
) -> None:
    before = one.execute(REMOTE, "pid")
    with pytest.raises(ExecutionException, match=name):
        one.execute(REMOTE, "fail_with", (name, *args))
    assert one.execute(REMOTE, "pid") == before


@pytest.mark.parametrize(
    ("function", "args", "text"),
    [
        ("fail_nastily", (), "Nasty: <its __str__ raised>"),
        ("recurse", (), "RecursionError"),
        ("a_lambda", (), r"result \(function a_lambda.<locals>.<lambda>\) cannot be sent to the caller"),
        ("a_lock", (), r"result\['deep'\]\[0\] \(_thread.lock\) cannot be sent to the caller"),
        ("no_pickle", ("ValueError",), "I stay here"),
        ("no_pickle", ("SystemExit",), "I stay here"),
        ("no_pickle", ("KeyboardInterrupt",), "I stay here"),
        ("unknown_class", (), r"result \(.*Local\) cannot be loaded in the calling process: .*remote"),
        ("dubble", (1,), r"remote.py has no function 'dubble'. Did you mean 'double'\?"),
        ("state", (), "'state' in remote.py is int, not a function"),
        ("double", (), r"double\(\) missing 1 required positional argument: 'x'"),
    ],
)
def test_what_goes_wrong_fails_its_task_alone(
    one: ExternalEnvironment, function: str, args: tuple[Any, ...], text: str
) -> None:
    before = one.execute(REMOTE, "pid")
    with pytest.raises(ExecutionException, match=text):
        one.execute(REMOTE, function, args)
    assert one.execute(REMOTE, "pid") == before


@pytest.mark.parametrize("function", ["a_lock", "unknown_class"])
def test_a_result_that_cannot_cross_is_a_serialization_error(one: ExternalEnvironment, function: str) -> None:
    task = one.submit(REMOTE, function)
    with pytest.raises(SerializationError):
        task.wait_for(SOON)
    assert task.error is not None
    assert task.error.category == "serialization"


def test_an_argument_that_cannot_be_pickled_is_named_at_once(one: ExternalEnvironment) -> None:
    with pytest.raises(SerializationError, match=r"args\[1\] \(_thread.lock\) cannot be sent to remote.py:echo"):
        one.submit(REMOTE, "echo", (1, threading.Lock()))
    with pytest.raises(SerializationError, match=r"kwargs\['a'\] \(function .*<lambda>\) cannot be sent"):
        one.submit(REMOTE, "echo", (), {"a": lambda: None})
    assert one.execute(REMOTE, "double", (1,)) == 2


def test_an_argument_that_cannot_be_loaded_there_fails_the_task(
    one: ExternalEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_here: Any = types.ModuleType("only_here")
    only_here.Own = type("Own", (), {"__module__": "only_here", "__qualname__": "Own"})
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    with pytest.raises(
        SerializationError, match=r"args\[0\] \(only_here.Own\) cannot be loaded in .*No module named 'only_here'"
    ):
        one.execute(REMOTE, "identity", (only_here.Own(),))
    assert one.execute(REMOTE, "double", (1,)) == 2


def test_a_file_that_is_missing_or_broken(one: ExternalEnvironment, write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        one.submit(tmp_path / "missing.py", "f")
    for text, error in [("def f(:", "SyntaxError"), ("import nothing_like_this", "ModuleNotFoundError")]:
        with pytest.raises(ExecutionException, match=error):
            one.execute(write("broken.py", text), "f")
    with pytest.raises(ExecutionException, match="SystemExit: 3"):
        one.execute(write("exiting.py", "import sys; sys.exit(3)"), "f")
    assert one.execute(write("broken.py", "def f(): return 'repaired'"), "f") == "repaired"


# --- Progress, outputs, records


def test_updates_come_in_order_and_complete(env: ExternalEnvironment) -> None:
    task = env.submit(REMOTE, "progress", (1000,), start=False)
    events = listened(task)
    assert [event.type for event in events] == [STARTED, *[UPDATE] * 1000, COMPLETION]
    assert [event.current for event in events[1:-1]] == list(range(1, 1001))
    assert events[500].message == "step 499"
    assert (task.progress, task.result) == (1.0, "done")


def test_numbers_of_numpy_become_pythons(one: ExternalEnvironment) -> None:
    task = one.submit(REMOTE, "numpy_progress").wait_for(SOON)
    assert (task.current, task.maximum, type(task.current), type(task.maximum)) == (3, 4.0, int, float)


def test_outputs_come_in_order_with_updates(one: ExternalEnvironment) -> None:
    task = one.submit(REMOTE, "outputs", start=False)
    events = listened(task)
    assert [event.output for event in events if event.type is UPDATE] == [
        ("number", 3),
        ("set", {1, 2}),
        None,
        ("number", 4),
    ]
    assert task.outputs == {"number": 4, "set": {1, 2}}


def test_an_output_that_cannot_be_pickled_is_the_functions_to_handle(one: ExternalEnvironment) -> None:
    answer = one.execute(REMOTE, "bad_output")
    assert answer.startswith(
        "SerializationError: output['lambda'] (function bad_output.<locals>.<lambda>) cannot be sent"
    )


def test_tracking_an_iterable(one: ExternalEnvironment) -> None:
    task = one.submit(REMOTE, "tracked", ([1, 2, 3],), start=False)
    assert [event.current for event in listened(task) if event.type is UPDATE] == [0, 1, 2, 3]
    assert (task.result, task.maximum, task.message) == (6, 3, "tracking")


def test_the_id_is_the_same_there_and_a_handle_is_mute_afterwards(one: ExternalEnvironment) -> None:
    task = one.submit(REMOTE, "handle_afterwards", start=False)
    events = listened(task)
    assert one.execute(REMOTE, "wait_for_late")
    assert task.result == task.id
    assert (task.message, task.outputs, [event.type for event in events]) == (None, {}, [STARTED, COMPLETION])


def records_until(caplog: pytest.LogCaptureFixture, count: int) -> list[logging.LogRecord]:
    deadline = time.monotonic() + SOON
    while len(caplog.records) < count:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.005)
    return list(caplog.records)


def test_records_say_where_they_come_from(one: ExternalEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "wetlands_rx"):
        one.execute(REMOTE, "log", ("100 %s",))
        (record,) = records_until(caplog, 1)
    facts = record.__dict__
    assert (record.getMessage(), record.levelno) == ("100 %s", logging.WARNING)
    assert (facts["log_source"], facts["env_name"], facts["call_target"], facts["worker_index"]) == (
        "execution",
        "here",
        "remote.py:log",
        0,
    )


def test_what_is_printed_is_logged(one: ExternalEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "wetlands_rx"):
        one.execute(REMOTE, "print_line", ("100 %s",))
        records = records_until(caplog, 3)
    assert sorted((record.getMessage(), record.__dict__["stream"]) for record in records) == [
        ("100 %s", "stderr"),
        ("100 %s", "stdout"),
        ("raw 100 %s", "stdout"),
    ]


# --- Cancel


def test_a_running_task_is_canceled_when_it_acknowledges(env: ExternalEnvironment) -> None:
    task = running(env.submit(REMOTE, "until_canceled", start=False))
    task.cancel()
    assert task.wait_for(SOON).status is CANCELED
    assert env.execute(REMOTE, "double", (1,)) == 2


def test_a_cancel_passes_sloppy_code(one: ExternalEnvironment) -> None:
    task = running(one.submit(REMOTE, "leave_when_canceled", start=False))
    task.cancel()
    assert task.wait_for(SOON).status is CANCELED


def test_a_function_that_returns_after_a_cancel_has_completed(one: ExternalEnvironment) -> None:
    task = running(one.submit(REMOTE, "ignore_cancel", start=False))
    task.cancel()
    assert task.wait_for(SOON).result == "finished anyway"


def test_a_function_that_raises_after_acknowledging_is_canceled(one: ExternalEnvironment) -> None:
    task = running(one.submit(REMOTE, "fail_after_acknowledging", start=False))
    task.cancel()
    assert task.wait_for(SOON).status is CANCELED


def test_a_cancel_right_after_the_submit(env: ExternalEnvironment) -> None:
    tasks = [env.submit(REMOTE, "until_canceled") for _ in range(20)]
    for task in tasks:
        task.cancel()
    assert {task.wait_for(SOON).status for task in tasks} == {CANCELED}
    assert env.execute(REMOTE, "double", (1,)) == 2


def test_a_task_in_line_is_canceled_at_once_and_never_runs(one: ExternalEnvironment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    busy = one.submit(REMOTE, "busy_until", (str(gate),))
    waiting = one.submit(REMOTE, "until_canceled", kwargs={"started": str(tmp_path / "started")})
    assert waiting.status is PENDING
    waiting.cancel()
    assert waiting.status is CANCELED
    gate.touch()
    busy.wait_for(SOON)
    assert one.execute(REMOTE, "double", (1,)) == 2
    assert not (tmp_path / "started").exists()


def test_many_cancels_of_a_task_that_does_not_look_block_nobody(one: ExternalEnvironment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    task = one.submit(REMOTE, "busy_until", (str(gate),))
    for _ in range(20_000):
        task.cancel()
    gate.touch()
    assert task.wait_for(SOON).status is COMPLETED


def test_with_blocks_cancel(one: ExternalEnvironment) -> None:
    with one.submit(REMOTE, "until_canceled", start=False) as task:
        pass
    assert task.status is CANCELED

    async def main() -> Task[Any]:
        async with one.submit(REMOTE, "until_canceled", start=False) as task:
            async for event in task:
                if event.type is UPDATE:
                    break
        return task

    assert asyncio.run(main()).status is CANCELED


# --- Scripts


def test_a_script_runs_as_python_would_run_it(one: ExternalEnvironment, write: Write, tmp_path: Path) -> None:
    write("beside.py", "NAME = 'beside'")
    script = write(
        "script.py",
        """
        import beside, json, sys
        json.dump([sys.argv, __name__, __file__, sys.path[0], beside.NAME], open(sys.argv[1], 'w'))
        """,
    )
    out = tmp_path / "out.json"
    task = one.submit_script(script, (out, 3)).wait_for(SOON)
    assert task.result is None
    assert out.read_text() == (
        f'[["{script}", "{out}", "3"], "__main__", "{script}", "{os.path.dirname(script)}", "beside"]'
    )
    one.run_script(script, (str(out),), run_name="other")
    assert '"other"' in out.read_text()
    assert one.execute(REMOTE, "surroundings")["argv"][0].endswith("module_executor.py")


@pytest.mark.parametrize("ending", ["", "sys.exit()", "sys.exit(0)", "sys.exit(None)", "raise SystemExit"])
def test_a_script_that_ends_well(one: ExternalEnvironment, write: Write, ending: str) -> None:
    assert one.submit_script(write("script.py", f"import sys\n{ending}")).wait_for(SOON).status is COMPLETED


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("sys.exit(3)", "SystemExit: 3"),
        ("sys.exit('no')", "SystemExit: no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('no')", "ValueError: no"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_script_that_ends_badly(one: ExternalEnvironment, write: Write, ending: str, error: str) -> None:
    script = write("script.py", f"import sys\n{ending}")
    with pytest.raises(ExecutionException, match=error) as raised:
        one.run_script(script)
    assert raised.value.target == "script.py"
    assert one.execute(REMOTE, "double", (1,)) == 2


# --- The oldest Python


def test_workers_in_the_oldest_python(tmp_path: Path) -> None:
    interpreter, version = oldest_interpreter()
    with EnvironmentManager(tmp_path / "oldest", log_file_path=None) as manager:
        oldest = manager.load("oldest", interpreter)
        oldest.launch(max_workers=2)
        assert oldest.execute(REMOTE, "python") == version
        assert oldest.execute(REMOTE, "echo", ({1, 2}, b"b" * 100_000), {"k": [None]}) == (
            ({1, 2}, b"b" * 100_000),
            {"k": [None]},
        )
        task = oldest.submit(REMOTE, "enum_progress", start=False)
        assert [event.current for event in listened(task)] == [None, 3, 3, 3]
        assert (type(task.current), task.outputs) == (int, {"set": {1, 2}})
        assert oldest.execute(REMOTE, "coroutine", (21,)) == 42
        with pytest.raises(ExecutionException, match="ValueError: no") as raised:
            oldest.execute(REMOTE, "fail", ("no",))
        assert "in inner" in "\n".join(raised.value.traceback)
        with pytest.raises(SerializationError, match="cannot be sent to the caller"):
            oldest.execute(REMOTE, "a_lock")
        canceled = running(oldest.submit(REMOTE, "until_canceled", start=False))
        canceled.cancel()
        assert canceled.wait_for(SOON).status is CANCELED
        assert list(oldest.map(REMOTE, "double", range(20))) == [2 * number for number in range(20)]


# --- Workers


def test_each_worker_has_its_own_variables(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch(max_workers=2, worker_env=lambda index: {"WORKER": f"number {index}"})
    files = [str(tmp_path / name) for name in ("a", "b")]
    tasks = [here.submit(REMOTE, "touch_and_wait", (file, files)) for file in files]
    pids = {task.wait_for(SOON).result for task in tasks}
    assert len(pids) == 2
    seen: dict[int, str | None] = {}
    while len(seen) < 2:
        task = here.submit(REMOTE, "variable", ("WORKER",)).wait_for(SOON)
        assert task.worker is not None
        seen[task.worker.index] = task.result
        here.submit(REMOTE, "variable", ("WORKER",))
    assert seen == {0: "number 0", 1: "number 1"}


@pytest.mark.parametrize(
    ("variables", "error"),
    [({"A": 1}, TypeError), ({1: "a"}, TypeError), ({"A=B": "c"}, ValueError), ({"": "c"}, ValueError)],
)
def test_variables_that_cannot_be_are_refused(
    here: ExternalEnvironment, variables: dict[Any, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        here.launch(worker_env=lambda _index: variables)
    assert not here.launched()


def test_the_surroundings_of_a_function_are_clean(
    here: ExternalEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "socket.py").write_text("raise ImportError('poisoned')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    here.launch()
    found = here.execute(REMOTE, "surroundings")
    package = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(REMOTE)))), "wetlands_rx")
    assert package not in found["path"]
    assert str(tmp_path) not in found["path"]
    assert found["installed"] == []
    assert not any(name.startswith(("wetlands_rx._streams", "wetlands_rx.task")) for name in found["ours"])
    assert found["main_thread"]
    assert found["stdin"] == ""
    # Three standard ones, the socket, the liveness pipe, the poll; the file of an arena, and two mappings of arenas.
    assert len(found["descriptors"]) <= 9


def test_two_workers_run_at_the_same_time(two: ExternalEnvironment, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a", "b")]
    assert two.map_tasks(REMOTE, "pid", []) == []
    results = [two.submit(REMOTE, "touch_and_wait", (file, files)) for file in files]
    assert len({task.wait_for(SOON).result for task in results}) == 2


def test_blocking_calls_of_many_threads_use_all_workers(two: ExternalEnvironment, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a", "b")]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(two.execute, REMOTE, "touch_and_wait", (file, files)) for file in files]
        pids = [call.result(SOON) for call in calls]
    assert len(set(pids)) == 2


def test_tasks_wait_in_line_and_run_in_order(env: ExternalEnvironment) -> None:
    tasks = env.map_tasks(REMOTE, "double", range(200))
    assert [task.wait_for(SOON).result for task in tasks] == [2 * number for number in range(200)]
    started = [task.started_at for task in tasks]
    assert started == sorted(started, key=lambda moment: moment or math.inf)


def test_a_task_is_running_only_when_a_worker_has_it(one: ExternalEnvironment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = one.submit(REMOTE, "busy_until", (str(gate),))
    second = one.submit(REMOTE, "double", (1,))
    assert (first.status, second.status, second.started_at) == (RUNNING, PENDING, None)
    gate.touch()
    assert second.wait_for(SOON).result == 2


# --- Listeners with a real pool


def test_a_listener_may_submit_and_wait_on_the_only_worker(one: ExternalEnvironment) -> None:
    results: list[Any] = []

    def on_event(event: TaskEvent[Any]) -> None:
        if event.type is COMPLETION:
            results.append(one.submit(REMOTE, "double", (event.task.result,)).wait_for(SOON).result)

    listened(one.submit(REMOTE, "double", (1,), start=False).listen(on_event))
    assert results == [4]


def test_a_listener_that_never_returns_holds_back_nobody(one: ExternalEnvironment) -> None:
    release = threading.Event()
    try:
        task = one.submit(REMOTE, "progress", (3,), start=False)
        heard: list[TaskEventType] = []
        task.listen(lambda _event: release.wait(SOON)).listen(lambda event: heard.append(event.type)).start()
        others = [listened(one.submit(REMOTE, "double", (number,), start=False)) for number in range(20)]
        assert all(events[-1].type is COMPLETION for events in others)
        assert task.wait_for(SOON).result == "done"
        assert task.future.result(SOON) == "done"
        assert heard == [STARTED, UPDATE, UPDATE, UPDATE, COMPLETION]
    finally:
        release.set()


def test_a_listener_may_exit_the_environment(one: ExternalEnvironment) -> None:
    done = threading.Event()

    def on_event(event: TaskEvent[Any]) -> None:
        if event.type is COMPLETION:
            one.exit()
            done.set()

    one.submit(REMOTE, "double", (1,), start=False).listen(on_event).start()
    assert done.wait(SOON)
    assert not one.launched()


# --- map


@pytest.mark.parametrize("ordered", [True, False])
def test_mapping(env: ExternalEnvironment, *, ordered: bool) -> None:
    results = list(env.map(REMOTE, "double", range(100), ordered=ordered))
    assert sorted(results) == [2 * number for number in range(100)]
    if ordered:
        assert results == sorted(results)


def test_mapping_as_they_end_does_not_wait_for_the_slow(two: ExternalEnvironment, tmp_path: Path) -> None:
    gate, open_gate = tmp_path / "gate", tmp_path / "open"
    open_gate.touch()
    results = two.map(REMOTE, "busy_until", [str(gate), str(open_gate), str(open_gate)], ordered=False, timeout=SOON)
    fast = [next(results), next(results)]
    gate.touch()
    assert next(results) not in fast
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("ordered", [True, False])
def test_mapping_starts_at_the_call(one: ExternalEnvironment, tmp_path: Path, *, ordered: bool) -> None:
    assert list(one.map(REMOTE, "double", [], ordered=ordered)) == []
    files = [str(tmp_path / name) for name in ("a", "b")]
    iterator = one.map(items.__file__, "touch", files, ordered=ordered)
    deadline = time.monotonic() + SOON
    while not os.path.exists(files[1]):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert list(iterator) == [None, None]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_late_item_ends_the_mapping(one: ExternalEnvironment, tmp_path: Path, *, ordered: bool) -> None:
    gate = tmp_path / "gate"
    results = one.map(REMOTE, "busy_until", [str(gate)] * 3, timeout=0.05, ordered=ordered)
    with pytest.raises(TimeoutError):
        next(results)
    assert list(results) == []
    gate.touch()
    assert one.execute(REMOTE, "double", (1,)) == 2


@pytest.mark.parametrize("ordered", [True, False])
def test_closing_a_mapping_cancels_what_is_left(one: ExternalEnvironment, *, ordered: bool) -> None:
    results: Any = one.map(items.__file__, "wait_for_cancel", range(50), ordered=ordered)
    results.close()
    assert list(results) == []
    assert one.execute(REMOTE, "double", (1,)) == 2


def test_a_failing_item_is_raised_at_its_place(env: ExternalEnvironment) -> None:
    results = env.map(REMOTE, "double", [1, 2, None, 4])
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(ExecutionException, match="TypeError"):
        next(results)
    assert list(results) == []


def test_a_failing_iterable_cancels_what_was_submitted(one: ExternalEnvironment) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one.map(REMOTE, "double", items())
    with pytest.raises(SerializationError):
        one.map(REMOTE, "double", [1, threading.Lock()])
    assert one.execute(REMOTE, "double", (1,)) == 2


# --- Modules that stand for remote ones


def test_an_imported_module_runs_its_functions_in_the_environment(one: ExternalEnvironment) -> None:
    module = one.import_module(REMOTE)
    assert module.double(21) == 42
    assert module.echo(1, two=2) == ((1,), {"two": 2})
    assert module.pid() == one.execute(REMOTE, "pid") != os.getpid()
    assert "double" in dir(module)
    assert "remote.py" in repr(module)
    with pytest.raises(ExecutionException, match="ValueError: no"):
        module.fail("no")
    with pytest.raises(AttributeError, match=r"Did you mean 'double'\?"):
        module.dubble(1)


# --- Commands


def test_commands_run_in_the_environment_and_their_output_is_kept(
    here: ExternalEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "wetlands_rx"):
        process = here.execute_commands(
            ["echo one", "echo two >&2", "python -c 'import sys; print(sys.executable)'"], wait=True
        )
    output = here.get_process_logger(process)
    assert output.get_stderr_output() == ["two"]
    assert output.get_stdout_output() == ["one", sys.executable]
    assert sorted(output.get_output()) == sorted(["one", "two", sys.executable])
    assert {record.getMessage() for record in caplog.records} >= {"one", "two"}
    assert {record.__dict__["env_name"] for record in caplog.records} == {"here"}


def test_the_first_command_that_fails_ends_them(here: ExternalEnvironment) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        here.execute_commands(["echo before", "false", "echo after"], wait=True)
    assert (raised.value.returncode, raised.value.output) == (1, "before")


def test_lines_are_told_as_they_come_and_can_be_waited_for(here: ExternalEnvironment) -> None:
    process = here.execute_commands(
        ["echo ready", "read line", "echo got $line"], popen_kwargs={"stdin": subprocess.PIPE}
    )
    output = here.get_process_logger(process)
    assert output.wait_for_line(lambda line: line == "ready", SOON) == "ready"
    heard: list[str] = []

    def broken(_line: str, _context: object) -> None:
        raise ValueError("a subscriber's own")

    output.subscribe(broken, include_history=False)
    output.subscribe(lambda line, _context: heard.append(line))
    assert output.wait_for_line(lambda line: line == "never", 0.01) is None
    assert process.stdin is not None
    process.stdin.write("it\n")
    process.stdin.close()
    assert output.wait_for_line(lambda line: line.startswith("got"), SOON, include_history=False) in ("got it", None)
    assert output.join(SOON)
    assert process.wait(SOON) == 0
    assert output.get_output() == ["ready", "got it"]
    assert heard[0] == "ready"
    assert output.wait_for_line(lambda line: line == "never") is None


def test_the_pipe_of_commands_that_are_not_logged_is_the_callers(here: ExternalEnvironment) -> None:
    process = here.execute_commands(["echo one", "echo two >&2"], log=False)
    assert process.communicate(timeout=SOON) == ("one\ntwo\n", None)
    with pytest.raises(KeyError):
        here.get_process_logger(process)


# --- Before, after, and at the end


def test_work_before_the_launch_and_after_the_exit_is_refused(here: ExternalEnvironment) -> None:
    with pytest.raises(NotLaunchedError, match=r"call launch\(\) first"):
        here.submit(REMOTE, "double", (1,))
    here.launch()
    unstarted = here.submit(REMOTE, "double", (1,), start=False)
    here.exit()
    here.exit()
    for refused in (
        lambda: here.submit(REMOTE, "double", (1,)),
        lambda: here.map(REMOTE, "double", [1]),
    ):
        with pytest.raises(NotLaunchedError, match="has exited"):
            refused()
    assert unstarted.start().status is TaskStatus.CANCELED  # it ended with its environment
    here.launch()
    assert here.execute(REMOTE, "double", (1,)) == 2


def test_launching_twice_keeps_the_workers(one: ExternalEnvironment) -> None:
    before = one.execute(REMOTE, "pid")
    one.launch(max_workers=3)
    assert (one.worker_count, one.execute(REMOTE, "pid")) == (1, before)


def test_the_exit_cancels_what_runs_and_what_waits(env: ExternalEnvironment) -> None:
    busy = [running(env.submit(REMOTE, "until_canceled", start=False)) for _ in range(env.worker_count)]
    events: list[TaskEventType] = []
    waiting = [env.submit(REMOTE, "until_canceled").listen(lambda event: events.append(event.type)) for _ in range(100)]
    env.exit()
    assert {task.wait_for(SOON).status for task in busy + waiting} == {CANCELED}
    assert events == [CANCELATION] * 100
    assert all(task.future.cancelled() for task in waiting)


def test_the_exit_ends_what_does_not_listen(one: ExternalEnvironment, tmp_path: Path) -> None:
    task = one.submit(REMOTE, "busy_until", (str(tmp_path / "never"),))
    began = time.monotonic()
    one.exit()
    assert time.monotonic() - began < SOON / 2
    assert task.wait_for(SOON).status is CANCELED
    with pytest.raises(InvalidStateError):
        _ = task.result


def test_whoever_waits_is_woken_by_the_exit(one: ExternalEnvironment) -> None:
    task = running(one.submit(REMOTE, "until_canceled", start=False))
    waiters = [threading.Thread(target=task.wait_for) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    one.exit()
    for waiter in waiters:
        waiter.join(SOON)
        assert not waiter.is_alive()


def test_the_end_of_the_interpreter_ends_the_workers(tmp_path: Path) -> None:
    program = f"""
        import sys
        from wetlands_rx import EnvironmentManager
        env = EnvironmentManager({str(tmp_path)!r}, log_file_path=None).load("here", sys.executable)
        env.launch(max_workers=2)
        running = [env.submit({REMOTE!r}, "until_canceled") for _ in range(50)]
        print(env.worker_count)
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=SOON, check=True
    )
    assert (answer.stdout, answer.stderr) == ("2\n", "")
