"""The environment of the calling process: the same tasks as with workers, on threads, with values by reference."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import math
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.calls import remote
from wetlands_rx import EnvironmentManager, operators
from wetlands_rx.exceptions import ExecutionException, InvalidStateError, RecipeError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.internal_environment import InternalEnvironment
from wetlands_rx.task import RemoteTaskHandle, Task, TaskEvent, TaskEventType, TaskStatus, WorkerInfo

REMOTE = remote.__file__
SOON = 30.0
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
Write = Callable[[str, str], str]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[EnvironmentManager]:
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        yield manager


@pytest.fixture
def env(manager: EnvironmentManager) -> InternalEnvironment:
    return manager.main_environment


@pytest.fixture
def two(env: InternalEnvironment) -> InternalEnvironment:
    """With two threads."""
    env.launch(max_workers=2)
    return env


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end at the latest, so that no function outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(file)

    return write


def running(task: Task[Any]) -> Task[Any]:
    """Wait until the function has reported that it runs."""
    reported = threading.Event()
    task.listen(lambda event: reported.set() if event.type is UPDATE else None).start()
    assert reported.wait(SOON)
    return task


def own_threads(env: InternalEnvironment) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"wetlands-{env.name}")]


# --- Calls


def test_a_call_in_every_form(env: InternalEnvironment) -> None:
    assert env.execute(REMOTE, "double", (21,)) == 42
    assert env.submit(REMOTE, "double", (21,)).wait_for(SOON).result == 42
    assert env.submit(REMOTE, "double", (21,)).future.result(SOON) == 42
    assert env.submit(remote.double, args=(21,)).wait_for(SOON).result == 42
    assert env.submit(Path(REMOTE), "echo", (1,), {"two": 2}).wait_for(SOON).result == ((1,), {"two": 2})
    assert env.import_module(REMOTE).double(21) == 42
    assert env.submit(REMOTE, "Model.predict", (3,)).wait_for(SOON).result == ("Model", 3)

    async def awaited() -> Any:
        return await env.submit(REMOTE, "double", (21,))

    assert asyncio.run(awaited()) == 42


def test_no_launch_is_needed_and_no_thread_is_there_before_the_first_task(env: InternalEnvironment) -> None:
    assert env.launched()
    assert env.worker_count == 1
    assert own_threads(env) == []
    assert env.execute(REMOTE, "pid") == os.getpid()
    assert [thread.name for thread in own_threads(env)] == ["wetlands-wetlands_main-0"]


def test_a_function_given_as_an_object_is_that_very_object(env: InternalEnvironment) -> None:
    seen: list[int] = []
    assert env.submit(seen.append, args=(1,)).wait_for(SOON).result is None
    assert env.submit(lambda: seen).wait_for(SOON).result is seen
    assert env.submit(functools.partial(max, 3), args=(2,)).wait_for(SOON).result == 3
    assert seen == [1]


def test_tasks_are_named_after_what_they_call(env: InternalEnvironment) -> None:
    assert env.submit(REMOTE, "double", (1,)).name == "remote.py:double"
    assert env.submit(remote.double, args=(1,)).name == "remote.py:double"
    assert env.submit(remote.Model().predict, args=(1,)).name == "remote.py:Model.predict"
    assert env.submit(functools.partial(math.sqrt, 4)).name == "math:sqrt"
    assert env.submit(lambda: None).name == (
        "test_internal_environment.py:test_tasks_are_named_after_what_they_call.<locals>.<lambda>"
    )


def test_values_go_by_reference(env: InternalEnvironment) -> None:
    image = np.zeros(3)
    outputs: list[Any] = []

    def change(array: Any, *, task: RemoteTaskHandle) -> Any:
        array += 1
        task.set_output("array", array)
        return array

    task = env.submit(change, args=(image,), start=False)
    task.listen(lambda event: outputs.append(event.output.value) if event.output else None)
    assert task.start().wait_for(SOON).result is image
    assert task.outputs["array"] is image
    assert [output is image for output in outputs] == [True]
    assert image.tolist() == [1, 1, 1]


def test_what_cannot_be_pickled_goes_and_comes(env: InternalEnvironment) -> None:
    lock = threading.Lock()
    assert env.execute(REMOTE, "identity", (lock,)) is lock
    assert type(env.execute(REMOTE, "a_lock")["deep"][0]) is type(lock)
    assert env.execute(REMOTE, "bad_output") == "no error"


def test_arguments_and_functions_are_let_go(env: InternalEnvironment) -> None:
    class Image:
        def ignore(self, other: Any) -> None:
            pass

    image, other, gone = Image(), Image(), [threading.Event(), threading.Event()]
    weakref.finalize(image, gone[0].set)
    weakref.finalize(other, gone[1].set)
    task = env.submit(image.ignore, args=(other,)).wait_for(SOON)
    del image, other
    assert all(event.wait(SOON) for event in gone)
    assert task.status is COMPLETED


def test_coroutine_functions(env: InternalEnvironment) -> None:
    async def slowly(task: RemoteTaskHandle) -> str:
        await asyncio.sleep(0)
        task.update("awaited")
        return "done"

    task = env.submit(slowly).wait_for(SOON)
    assert (task.result, task.message) == ("done", "awaited")


# --- Files


def test_an_edited_file_is_used_at_once(env: InternalEnvironment, write: Write) -> None:
    path = write("edited.py", "def f(): return 1")
    assert env.execute(path, "f") == 1
    write("edited.py", "def f(): return 'two'")
    assert env.execute(path, "f") == "two"


def test_two_files_of_one_name_and_their_neighbours(env: InternalEnvironment, write: Write) -> None:
    paths: list[str] = []
    for folder in ("a", "b"):
        write(f"{folder}/neighbour.py", f"name = {folder!r}")
        text = "import neighbour\ndef f():\n    import neighbour as late\n    return neighbour.name, late.name"
        paths.append(write(f"{folder}/same.py", text))
    names = [env.execute(path, "f") for path in (*paths, *paths)]
    assert names == [("a", "a"), ("b", "b"), ("a", "a"), ("b", "b")]


def test_the_programs_own_imports_are_as_before(env: InternalEnvironment, write: Write) -> None:
    write("neighbour_of_it.py", "")
    path = write("with_neighbour.py", "import neighbour_of_it\ndef f(): return True")
    before_path, before_modules = list(sys.path), set(sys.modules)
    assert env.execute(path, "f")
    env.exit()
    assert sys.path == before_path
    assert not {"neighbour_of_it", "with_neighbour"} & (set(sys.modules) - before_modules)
    assert env.execute(path, "f")


def test_a_file_that_the_program_has_imported_is_not_loaded_again(
    env: InternalEnvironment, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write("imported_by_us.py", "state = []\ndef f(): return state")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import imported_by_us  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

    try:
        assert env.execute(path, "f") is imported_by_us.state  # pyright: ignore[reportUnknownMemberType]
        write("imported_by_us.py", "def f(): return 'edited'")
        assert env.execute(path, "f") is imported_by_us.state  # pyright: ignore[reportUnknownMemberType]
    finally:
        del sys.modules["imported_by_us"]


def test_a_program_can_name_its_own_file(write: Write) -> None:
    path = write(
        "program.py",
        """
        from wetlands_rx import EnvironmentManager

        print("loaded")

        def name():
            return __name__

        with EnvironmentManager() as manager:
            print(manager.main_environment.execute(__file__, "name"))
        """,
    )
    answer = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=SOON, check=False)
    assert (answer.stdout, answer.stderr) == ("loaded\n__main__\n", "")


def test_many_threads_load_files_at_the_same_time(env: InternalEnvironment, write: Write) -> None:
    env.launch(max_workers=8)
    paths: list[str] = []
    for number in range(8):
        write(f"{number}/beside.py", f"number = {number}")
        paths.append(write(f"{number}/at_once.py", "from beside import number\ndef f(_): return number"))
    tasks = [(number, env.submit(paths[number], "f", (None,))) for _ in range(20) for number in range(8)]
    assert all(task.wait_for(SOON).result == number for number, task in tasks)


# --- Errors


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("fail", ("no",)),
        ("fail_with", ("KeyboardInterrupt",)),
        ("fail_with", ("SystemExit", 3)),
        ("fail_with", ("GeneratorExit",)),
        ("fail_with", ("MemoryError",)),
        ("fail_with_a_cause", ()),
        ("fail_nastily", ()),
        ("doubl", (1,)),
        ("nothing_like_it", ()),
        ("state", ()),
        ("double", ()),
    ],
)
def test_errors_read_the_same_as_from_a_worker(
    env: InternalEnvironment, here: ExternalEnvironment, function: str, args: tuple[Any, ...]
) -> None:
    here.launch()

    def error(place: InternalEnvironment | ExternalEnvironment) -> tuple[Any, ...]:
        task = place.submit(REMOTE, function, args)
        with pytest.raises(ExecutionException):
            task.wait_for(SOON)
        assert task.error is not None
        return str(task.error), task.error.category, task.error.remote_type, task.traceback

    assert error(env) == error(here)
    assert env.execute(REMOTE, "double", (2,)) == 4  # its thread lives on


def test_a_file_that_is_missing_or_broken(env: InternalEnvironment, write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no_such_file"):
        env.submit(tmp_path / "no_such_file.py", "f")
    with pytest.raises(ExecutionException, match=r"SyntaxError(.|\n)*broken\.py"):
        env.execute(write("broken.py", "def f(:"), "f")
    path = write("exiting.py", "import sys\nsys.exit(3)")
    task = env.submit(path, "f")
    with pytest.raises(ExecutionException, match="SystemExit: 3"):
        task.wait_for(SOON)
    assert task.traceback == [
        "Traceback (most recent call last):",
        f'  File "{path}", line 2, in <module>',
        "    sys.exit(3)",
        "SystemExit: 3",
    ]


def test_the_traceback_of_a_lambda_is_the_lambdas(env: InternalEnvironment) -> None:
    task = env.submit(lambda: 1 / 0)
    with pytest.raises(ExecutionException, match="ZeroDivisionError"):
        task.wait_for(SOON)
    assert task.traceback is not None
    (frame,) = (line for line in task.traceback if line.startswith("  File"))
    assert frame.endswith("in <lambda>")


# --- The handle


def test_updates_outputs_and_the_end_come_in_order(env: InternalEnvironment) -> None:
    events: list[TaskEvent[Any]] = []
    env.submit(REMOTE, "outputs", start=False).listen(events.append).start().wait_for(SOON)
    assert [event.type for event in events] == [STARTED, *[UPDATE] * 4, COMPLETION]
    assert [event.output for event in events[1:5]] == [("number", 3), ("set", {1, 2}), None, ("number", 4)]


def test_progress_of_the_specification(env: InternalEnvironment) -> None:
    lines: list[str] = []

    def on_event(event: TaskEvent[Any]) -> None:
        match event.type:
            case TaskEventType.UPDATE:
                lines.append(f"[{event.task.progress:.0%}] {event.task.message}")
            case TaskEventType.COMPLETION:
                lines.append(f"Done: {event.task.result}")
            case _:
                pass

    env.submit(REMOTE, "progress", args=(2,), start=False).listen(on_event).start().wait_for(SOON)
    assert lines == ["[50%] step 0", "[100%] step 1", "Done: done"]


def test_events_can_be_iterated_in_a_coroutine(env: InternalEnvironment) -> None:
    async def types() -> list[TaskEventType]:
        task = env.submit(REMOTE, "progress", (3,), start=False)
        events = task.events()
        task.start()
        return [event.type async for event in events]

    assert asyncio.run(types()) == [STARTED, UPDATE, UPDATE, UPDATE, COMPLETION]


def test_the_id_is_the_same_there_and_a_handle_is_mute_afterwards(
    env: InternalEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    handles: list[RemoteTaskHandle] = []

    def keep(task: RemoteTaskHandle) -> str:
        task.update("in time")
        handles.append(task)
        return task.id

    task = env.submit(keep).wait_for(SOON)
    handles[0].update("late")
    handles[0].set_output("late", 1)
    handles[0].log("late")
    handles[0].cancel()
    assert (task.result, task.message, task.outputs, task.status) == (task.id, "in time", {}, COMPLETED)
    env.exit()  # what was logged has been delivered then
    assert "late" not in caplog.text


def test_records_say_where_they_come_from(env: InternalEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    env.execute(REMOTE, "log", ("100%s of it",))
    env.exit()
    (record,) = (record for record in caplog.records if record.name == "wetlands_rx")
    assert (record.getMessage(), record.levelno) == ("100%s of it", logging.WARNING)
    where = {key: vars(record)[key] for key in ("log_source", "env_name", "call_target", "worker_index", "stream")}
    assert where == {
        "log_source": "execution",
        "env_name": "wetlands_main",
        "call_target": "remote.py:log",
        "worker_index": 0,
        "stream": None,
    }


def test_a_task_knows_its_thread(env: InternalEnvironment) -> None:
    task = env.submit(threading.get_ident).wait_for(SOON)
    assert task.worker == WorkerInfo("wetlands_main", 0, os.getpid())
    assert [task.result] == [thread.ident for thread in own_threads(env)]


# --- Cancel


def test_a_running_task_is_canceled_when_it_acknowledges(env: InternalEnvironment) -> None:
    for function in ("until_canceled", "leave_when_canceled", "fail_after_acknowledging"):
        task = running(env.submit(REMOTE, function, start=False))
        task.cancel()
        assert task.wait_for(SOON).status is CANCELED
    task = running(env.submit(REMOTE, "ignore_cancel", start=False))
    task.cancel()
    assert task.wait_for(SOON).result == "finished anyway"


def test_a_task_in_line_is_canceled_at_once_and_never_runs(env: InternalEnvironment, gate: threading.Event) -> None:
    ran: list[str] = []
    first = env.submit(gate.wait)
    second = env.submit(ran.append, args=("second",))
    third = env.submit(ran.append, args=("third",))
    assert [task.status for task in (first, second, third)] == [RUNNING, PENDING, PENDING]
    second.cancel()
    assert second.status is CANCELED
    gate.set()
    third.wait_for(SOON)
    assert ran == ["third"]


def test_a_with_block_cancels(env: InternalEnvironment) -> None:
    with env.submit(REMOTE, "until_canceled", start=False) as task:
        assert task.status is RUNNING
    assert task.status is CANCELED


# --- Scripts


def test_a_script_runs_as_python_would_run_it(env: InternalEnvironment, write: Write, tmp_path: Path) -> None:
    write("beside_script.py", "value = 'beside'")
    out = tmp_path / "out.txt"
    path = write(
        "script.py",
        """
        import sys
        from beside_script import value
        with open(sys.argv[1], "a") as file:
            print(__name__, sys.argv[2:], value, sys.modules["__main__"].__file__ == __file__, file=file)
        """,
    )
    argv, main, search = sys.argv, sys.modules["__main__"], list(sys.path)
    env.run_script(path, (out, 2, "three"))
    assert out.read_text() == "__main__ ['2', 'three'] beside True\n"
    assert (sys.argv, sys.modules["__main__"], sys.path) == (argv, main, search)
    assert "beside_script" not in sys.modules


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("", None),
        ("import sys; sys.exit()", None),
        ("import sys; sys.exit(0)", None),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('no')", "ValueError: no"),
    ],
)
def test_how_a_script_ends(env: InternalEnvironment, write: Write, ending: str, error: str | None) -> None:
    task = env.submit_script(write("script.py", ending))
    with contextlib.suppress(ExecutionException):
        task.wait_for(SOON)
    assert task.error == error
    assert task.status is (FAILED if error else COMPLETED)


def test_scripts_run_one_at_a_time_and_one_that_waits_can_be_canceled(
    two: InternalEnvironment, write: Write, tmp_path: Path
) -> None:
    path = write(
        "script.py",
        """
        import pathlib, sys, time
        here, end = map(pathlib.Path, sys.argv[1:])
        here.touch()
        while not end.exists():
            time.sleep(0.001)
        assert sys.argv[1:] == [str(here), str(end)]
        """,
    )
    end = tmp_path / "end"
    first = two.submit_script(path, (tmp_path / "first", end))
    two.execute(REMOTE, "busy_until", (str(tmp_path / "first"),))
    second = two.submit_script(path, (tmp_path / "second", end))
    second.cancel()
    assert second.wait_for(SOON).status is CANCELED
    assert not (tmp_path / "second").exists()
    end.touch()
    assert first.wait_for(SOON).status is COMPLETED
    two.run_script(path, (tmp_path / "third", end))


# --- Many


@pytest.mark.parametrize("ordered", [True, False])
def test_mapping(two: InternalEnvironment, *, ordered: bool) -> None:
    results = list(two.map(REMOTE, "double", range(100), ordered=ordered))
    assert (results if ordered else sorted(results)) == list(range(0, 200, 2))


def test_a_task_for_each_item(two: InternalEnvironment) -> None:
    tasks = two.map_tasks(REMOTE, "double", range(5)).wait_for(SOON)
    assert [task.result for task in tasks] == [0, 2, 4, 6, 8]


def test_a_failing_item_is_raised_at_its_place(env: InternalEnvironment) -> None:
    results = env.map(REMOTE, "double", [1, None, 3])
    assert next(results) == 2
    with pytest.raises(ExecutionException, match="TypeError"):
        next(results)


def test_as_many_run_at_the_same_time_as_there_are_threads(env: InternalEnvironment) -> None:
    env.launch(max_workers=3)
    assert env.worker_count == 3
    meeting = threading.Barrier(3)
    tasks = [env.submit(meeting.wait, args=(SOON,)) for _ in range(3)]
    assert sorted(task.wait_for(SOON).result for task in tasks) == [0, 1, 2]
    assert {task.worker.index for task in tasks if task.worker} == {0, 1, 2}


def test_a_later_launch_adds_threads_for_what_waits(env: InternalEnvironment, gate: threading.Event) -> None:
    first = env.submit(gate.wait)
    second = env.submit(REMOTE, "double", (2,))
    assert second.status is PENDING
    env.launch(max_workers=2)
    assert second.wait_for(SOON).result == 4
    assert first.status is RUNNING
    env.launch()
    assert env.worker_count == 2


def test_tasks_wait_in_line_and_run_in_order(env: InternalEnvironment) -> None:
    ran: list[int] = []
    for task in [env.submit(ran.append, args=(number,)) for number in range(100)]:
        task.wait_for(SOON)
    assert ran == list(range(100))


def test_standard_tools_see_the_futures(two: InternalEnvironment) -> None:
    futures = [two.submit(REMOTE, "double", (number,)).future for number in range(3)]
    assert sorted(future.result() for future in concurrent.futures.as_completed(futures, SOON)) == [0, 2, 4]


def test_operators_run_work_here_too(two: InternalEnvironment) -> None:
    results = operators.from_items(range(20)).pipe(operators.map_in(two, REMOTE, "double"))
    seen: list[int] = []
    done = threading.Event()
    results.subscribe(seen.append, on_completed=done.set)
    assert done.wait(SOON)
    assert seen == list(range(0, 40, 2))


def test_a_listener_may_submit_and_wait_on_the_only_thread(env: InternalEnvironment) -> None:
    seen: list[Any] = []

    def on_event(event: TaskEvent[Any]) -> None:
        if event.type is COMPLETION:
            seen.append(env.execute(REMOTE, "double", (event.task.result,)))

    env.submit(REMOTE, "double", (1,), start=False).listen(on_event).start().wait_for(SOON)
    assert seen == [4]


# --- Launch and exit


def test_what_threads_cannot_have_is_ignored_with_a_warning(
    env: InternalEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    env.launch(["export A=1"], worker_env=lambda index: {"A": str(index)}, results="safe")
    assert [record.getMessage().partition(" ignored")[0] for record in caplog.records] == [
        "environment wetlands_main: results is",
        "environment wetlands_main: worker_env is",
        "environment wetlands_main: additional_activate_commands are",
    ]
    with pytest.raises(ValueError, match="max_workers is 0"):
        env.launch(max_workers=0)


def test_the_exit_cancels_what_runs_and_what_waits_and_no_thread_is_left(two: InternalEnvironment) -> None:
    tasks = [running(two.submit(REMOTE, "until_canceled", start=False)) for _ in range(2)]
    tasks += [two.submit(REMOTE, "double", (1,)), two.submit(REMOTE, "double", (1,), start=False)]
    two.exit()
    assert [task.status for task in tasks] == [CANCELED] * 4
    assert own_threads(two) == []


def test_a_function_that_does_not_stop_goes_on_unheard_after_the_exit(
    env: InternalEnvironment, gate: threading.Event
) -> None:
    said: list[bool] = []

    def stubborn(task: RemoteTaskHandle) -> str:
        task.update("running")
        gate.wait()
        task.update("late")
        task.set_output("late", 1)
        said.append(task.cancel_requested)
        return "late"

    lives: list[str] = []
    env.workers.subscribe(lambda event: lives.append(event.type.name))
    task = running(env.submit(stubborn, start=False))
    (thread,) = own_threads(env)
    env.exit()
    assert (task.status, task.message) == (CANCELED, "running")
    assert lives == ["STARTED", "READY", "LOST"]  # it has not ended
    with pytest.raises(InvalidStateError, match="canceled"):
        _ = task.result
    gate.set()
    thread.join(SOON)
    assert not thread.is_alive()
    assert (task.status, task.message, task.outputs, said) == (CANCELED, "running", {}, [True])


def test_whoever_waits_is_woken_by_the_exit(env: InternalEnvironment) -> None:
    task = running(env.submit(REMOTE, "until_canceled", start=False))
    woken: list[TaskStatus] = []
    waiter = threading.Thread(target=lambda: woken.append(task.wait_for(SOON).status))
    waiter.start()
    env.exit()
    waiter.join(SOON)
    assert woken == [CANCELED]


def test_after_the_exit_it_works_again(env: InternalEnvironment) -> None:
    env.launch(max_workers=2)
    assert env.execute(REMOTE, "double", (1,)) == 2
    env.exit()
    env.exit()
    assert env.launched()
    assert env.worker_count == 1
    assert env.execute(REMOTE, "double", (1,)) == 2


def test_a_function_may_exit_its_own_environment(env: InternalEnvironment) -> None:
    ended = threading.Event()

    def leave() -> None:
        env.exit()
        ended.set()

    task = env.submit(leave)
    assert task.wait_for(SOON).status is CANCELED
    assert ended.wait(SOON)


def test_a_listener_may_exit_the_environment(env: InternalEnvironment) -> None:
    ended = threading.Event()

    def on_event(event: TaskEvent[Any]) -> None:
        env.exit()
        ended.set()

    env.submit(REMOTE, "double", (1,)).listen(on_event)
    assert ended.wait(SOON)


def test_a_context_manager_exits_it(manager: EnvironmentManager) -> None:
    with manager.main_environment as env:
        assert env.execute(REMOTE, "double", (1,)) == 2
    assert own_threads(env) == []


def test_the_end_of_the_interpreter_waits_for_no_idle_thread(write: Write) -> None:
    path = write(
        "program.py",
        """
        from wetlands_rx import EnvironmentManager

        print(EnvironmentManager().main_environment.submit(sum, args=([1, 2],)).wait_for().result)
        """,
    )
    answer = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=SOON, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "3\n", "")


def test_a_forked_child_has_threads_of_its_own(write: Write) -> None:
    path = write(
        "program.py",
        """
        import os
        from wetlands_rx import EnvironmentManager

        env = EnvironmentManager().main_environment
        assert env.submit(os.getpid).wait_for().result == os.getpid()
        child = os.fork()
        if child == 0:
            assert env.submit(os.getpid).wait_for().worker.pid == os.getpid()
            env.exit()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert env.submit(os.getpid).wait_for().result == os.getpid()
        """,
    )
    command = [sys.executable, "-W", "ignore", path]  # newer Pythons warn of a fork with threads
    answer = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


# --- The manager


def test_the_managers_environments_hold_it_once_it_was_used(manager: EnvironmentManager) -> None:
    assert manager.environments == {}
    env = manager.main_environment
    assert manager.environments == {"wetlands_main": env}
    assert manager.main_environment is env
    assert env.path == Path(sys.prefix)
    assert env.execute(REMOTE, "double", (1,)) == 2
    manager.exit()
    assert own_threads(env) == []


def test_no_other_environment_has_its_name(manager: EnvironmentManager) -> None:
    for name_it in (manager.create, manager.load, manager.remove):
        with pytest.raises(RecipeError, match=r"wetlands_main(.|\n)*choose another"):
            name_it("wetlands_main")


def test_arguments_of_a_function_object_are_named(env: InternalEnvironment) -> None:
    with pytest.raises(TypeError, match=r"wanted as args=\(\.\.\.\), not as \(1, 2\)"):
        env.submit(print, (1, 2))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
