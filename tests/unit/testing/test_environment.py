"""What code under test sees of a fake environment, beside what it sees of a real one (tests/integration)."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from reactivex.testing import TestScheduler

from tests.unit.testing import real
from wetlands_rx.exceptions import ExecutionException, NotLaunchedError, SerializationError
from wetlands_rx.task import RemoteTaskHandle, Task, TaskEventType, TaskStatus
from wetlands_rx.testing import FakeEnvironment

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
Steps = Generator[float | None, None, Any]


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


@pytest.fixture
def env(clock: TestScheduler) -> FakeEnvironment:
    env = FakeEnvironment(clock)

    @env.function("work.py")
    def slow(item: int, *, task: RemoteTaskHandle) -> Steps:
        yield 10
        task.update("half", current=1, maximum=2)
        yield 10
        return item * 2

    @env.function("work.py")
    def echo(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    env.launch()
    return env


def failed(task: Task[Any]) -> ExecutionException:
    with pytest.raises(ExecutionException) as raised:
        task.wait_for()
    return raised.value


# --- Functions


def test_a_generator_says_how_the_work_goes_in_virtual_time(env: FakeEnvironment, clock: TestScheduler) -> None:
    seen: list[tuple[float, TaskEventType, str | None]] = []
    task = env.submit("work.py", "slow", (21,), start=False)
    task.listen(lambda event: seen.append((event.time, event.type, event.message))).start()
    clock.advance_to(100)
    assert task.result == 42
    assert seen == [
        (0, TaskEventType.STARTED, None),
        (10, TaskEventType.UPDATE, "half"),
        (20, TaskEventType.COMPLETION, "half"),
    ]


def test_a_plain_function_takes_no_time_but_waits_for_the_clock(env: FakeEnvironment, clock: TestScheduler) -> None:
    task = env.submit("work.py", "echo", (1,), {"two": 2})
    assert task.status is RUNNING
    clock.start()
    assert task.result == ((1,), {"two": 2})
    assert task.elapsed == 0


def test_each_worker_runs_one_call_at_a_time(clock: TestScheduler, env: FakeEnvironment) -> None:
    env.exit()
    env.launch(max_workers=2)
    tasks = env.map_tasks("work.py", "slow", [1, 2, 3])
    clock.advance_to(20)
    assert [task.status for task in tasks] == [COMPLETED, COMPLETED, RUNNING]
    clock.advance_to(40)
    assert [task.finished_at for task in tasks] == [20, 20, 40]


@pytest.mark.parametrize("path", ["work.py", Path("work.py"), "/plugins/here/work.py", Path("here") / "work.py"])
def test_a_function_is_found_by_the_end_of_its_path(env: FakeEnvironment, path: str | Path) -> None:
    assert env.execute(path, "echo", (1,)) == ((1,), {})


def test_a_longer_path_tells_two_files_of_one_name_apart(env: FakeEnvironment) -> None:
    env.function("a/work.py", "which")(lambda: "a")
    env.function("b/work.py", "which")(lambda: "b")
    assert env.execute("/plugins/a/work.py", "which") == "a"
    assert env.execute("/plugins/b/work.py", "which") == "b"


def test_the_function_registered_last_counts(env: FakeEnvironment) -> None:
    @env.function("work.py", "echo")
    def newer(*_: Any) -> str:
        return "new"

    assert env.execute("work.py", "echo") == "new"


def test_a_function_that_is_submitted_itself_runs(env: FakeEnvironment) -> None:
    assert env.submit(real.double, args=(21,)).wait_for().result == 42


def test_another_function_may_stand_for_one_that_is_submitted_itself(env: FakeEnvironment) -> None:
    @env.function(real.double)
    def said(item: int) -> str:
        return f"twice {item}"

    assert env.submit(real.double, args=(21,)).wait_for().result == "twice 21"


def test_a_function_without_a_name_runs_as_a_copy_with_what_it_holds(env: FakeEnvironment) -> None:
    heard: list[int] = []

    def hear(item: int) -> list[int]:
        heard.append(item)
        return heard

    task = env.submit(hear, args=(1,))
    heard.append(5)
    assert task.wait_for().result == [1]
    assert heard == [5]
    assert list(env.map(lambda x: x + 1, [1, 2])) == [2, 3]
    assert env.calls[0].target == "test_environment.py:" + hear.__qualname__
    assert (env.calls[0].path, env.calls[0].args) == ("", (1,))


def test_a_function_without_a_name_is_handed_over_when_nothing_is_copied() -> None:
    with FakeEnvironment(pickles=False) as env:
        env.launch()
        heard: list[int] = []
        assert env.submit(heard.append, args=(1,)).wait_for().result is None
        assert list(env.map(lambda x: heard.append(x), [2, 3])) == [None, None]  # noqa: PLW0108 - has no name
        assert heard == [1, 2, 3]


def test_two_functions_of_one_name_are_two(env: FakeEnvironment) -> None:
    one, other = (lambda number=number: number for number in (1, 2))
    first, second = env.submit(one), env.submit(other)
    assert (first.wait_for().result, second.wait_for().result) == (1, 2)


def test_a_function_of_a_module_runs_and_another_may_stand_for_it(env: FakeEnvironment) -> None:
    assert env.submit(math.sqrt, args=(4,)).wait_for().result == 2.0

    @env.function(math.sqrt)
    def _(x: int) -> int:
        return -x

    assert env.execute(math.sqrt, args=(4,)) == -4
    assert env.calls[-1].target == "math:sqrt"


def test_another_function_may_stand_for_one_without_a_name(env: FakeEnvironment) -> None:
    def work() -> str:
        return "itself"

    @env.function(work)
    def _() -> str:
        return "another"

    assert env.execute(work) == "another"


def test_a_function_that_cannot_travel_is_refused(env: FakeEnvironment) -> None:
    with pytest.raises(SerializationError, match="captured variable 'env'"):
        env.submit(lambda: env)


def test_an_unknown_function_fails_the_task_and_the_nearest_is_named(env: FakeEnvironment) -> None:
    failure = failed(env.submit("work.py", "ecco"))
    assert failure.error == "work.py has no function 'ecco'. Did you mean 'echo'?"
    assert failure.remote_type == "wetlands_rx.FunctionNotFound"


def test_an_unknown_file_fails_the_task_and_all_that_is_registered_is_named(env: FakeEnvironment) -> None:
    assert "registered: work.py:echo, work.py:slow" in failed(env.submit("play.py", "echo")).error


def test_a_module_has_the_functions_that_were_registered_for_it(env: FakeEnvironment) -> None:
    module = env.import_module("work.py")
    assert dir(module) == ["echo", "slow"]
    assert module.slow(2) == 4
    with pytest.raises(AttributeError, match="Did you mean 'echo'"):
        _ = module.ecco


def test_a_script_is_a_function_of_its_run_name(env: FakeEnvironment) -> None:
    ran: list[tuple[str, ...]] = []

    @env.function("train.py", "__main__")
    def train(*argv: str) -> None:
        ran.append(argv)

    env.run_script("train.py", (1, "two"))
    assert ran == [("1", "two")]


def test_a_function_declared_async_is_run_to_its_end(env: FakeEnvironment) -> None:
    @env.function("work.py")
    async def later() -> int:
        return 7

    assert env.execute("work.py", "later") == 7


def test_what_is_no_time_fails_the_task(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def wrong() -> Generator[Any, None, None]:
        yield "soon"

    assert "yields seconds" in failed(env.submit("work.py", "wrong")).error


def test_the_traceback_of_a_failure_shows_the_fake_function_alone(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def broken() -> None:
        raise ValueError("no")

    failure = failed(env.submit("work.py", "broken"))
    assert failure.error == "ValueError: no"
    assert [line for line in failure.traceback if line.startswith("  File")] == [
        line for line in failure.traceback if "test_environment.py" in line
    ]


# --- Calls


def test_calls_are_kept_in_order_with_their_arguments(env: FakeEnvironment) -> None:
    task = env.submit("work.py", "echo", ([1],), {"two": 2})
    env.submit_script("train.py", ("--fast",))
    first, second = env.calls
    assert (first.target, first.args, first.kwargs, first.task_id) == ("work.py:echo", ([1],), {"two": 2}, task.id)
    assert (second.target, second.args) == ("train.py:__main__", ("--fast",))
    assert repr(first) == "<FakeCall work.py:echo args=([1],) kwargs={'two': 2}>"


def test_arguments_and_results_are_copies(env: FakeEnvironment) -> None:
    given: list[int] = [1]
    task = env.submit("work.py", "echo", (given,))
    given.append(2)
    (received,), _ = task.wait_for().result
    assert received == [1]
    assert env.calls[0].args == ([1],)


def test_what_cannot_travel_is_refused(env: FakeEnvironment) -> None:
    with pytest.raises(SerializationError, match=r"args\[0\] \(function .*<lambda>\) cannot be sent to work.py:echo"):
        env.submit("work.py", "echo", (lambda: 1,))
    env.function("work.py", "unsendable")(lambda: lambda: 1)
    assert isinstance(failed(env.submit("work.py", "unsendable")), SerializationError)


class Unloadable:
    def __reduce__(self) -> Any:
        return real.refuse, ()


def test_arguments_that_cannot_be_loaded_fail_the_task(env: FakeEnvironment) -> None:
    failure = failed(env.submit("work.py", "echo", (Unloadable(),)))
    assert isinstance(failure, SerializationError)
    assert "cannot be loaded in environment 'fake': ValueError" in failure.error
    assert failure.path == "args[0]"


def test_without_pickling_the_objects_themselves_go_and_come() -> None:
    env = FakeEnvironment(pickles=False)

    @env.function("work.py")
    def same(item: object) -> object:
        return item

    env.launch()
    item = object()
    assert env.execute("work.py", "same", (item,)) is item
    assert env.calls[0].args[0] is item


# --- Launching


def test_calls_are_refused_before_launch_and_after_exit() -> None:
    env = FakeEnvironment()
    env.function("work.py", "f")(lambda: 1)
    for exited in (False, True):
        with pytest.raises(NotLaunchedError) as raised:
            env.submit("work.py", "f")
        assert raised.value.exited is exited
        assert not env.launched()
        env.launch()
        assert env.execute("work.py", "f") == 1
        env.exit()


def test_launching_again_changes_nothing(env: FakeEnvironment) -> None:
    env.launch(max_workers=3)
    assert env.worker_count == 1
    with pytest.raises(ValueError, match="max_workers is 0"):
        env.launch(max_workers=0)


def test_exit_cancels_what_has_not_ended_and_closes_its_functions(env: FakeEnvironment, clock: TestScheduler) -> None:
    closed: list[bool] = []

    @env.function("work.py")
    def endless() -> Steps:
        try:
            yield
        finally:
            closed.append(True)

    tasks = [env.submit("work.py", "endless"), env.submit("work.py", "slow", (1,))]
    tasks.append(env.submit("work.py", "slow", (1,), start=False))
    clock.advance_to(1)
    with env:
        pass
    assert [task.status for task in tasks] == [CANCELED] * 3
    assert closed == [True]
    clock.advance_to(100)
    assert [task.status for task in tasks] == [CANCELED] * 3


def test_how_it_looks(env: FakeEnvironment) -> None:
    env.map_tasks("work.py", "slow", [1, 2])
    assert repr(env) == "<FakeEnvironment fake: 1 worker (1 busy), 1 queued>"
    env.exit()
    assert repr(env) == "<FakeEnvironment fake: not launched>"


# --- In the function


def test_logged_records_say_where_they_come_from(env: FakeEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    @env.function("work.py")
    def talk(*, task: RemoteTaskHandle) -> None:
        task.log("100 % done", logging.WARNING)

    with caplog.at_level(logging.INFO, logger="wetlands_rx"):
        env.submit("work.py", "talk").wait_for()
    (record,) = caplog.records
    assert record.getMessage() == "100 % done"
    assert vars(record)["call_target"] == "work.py:talk"
    assert vars(record)["env_name"] == "fake"


def test_outputs_and_tracked_items_come(env: FakeEnvironment) -> None:
    @env.function("work.py")
    def tiles(*, task: RemoteTaskHandle) -> Steps:
        for tile in task.track("abc"):
            task.set_output(tile, task.id)
            yield 1

    task = env.submit("work.py", "tiles").wait_for()
    assert task.outputs == dict.fromkeys("abc", task.id)
    assert (task.progress, task.elapsed) == (1.0, 3)


def test_a_bare_yield_waits_until_the_task_is_asked_to_stop(env: FakeEnvironment, clock: TestScheduler) -> None:
    @env.function("work.py")
    def patient(*, task: RemoteTaskHandle) -> Steps:
        yield
        task.raise_if_canceled()

    task = env.submit("work.py", "patient")
    clock.advance_to(1000)
    assert task.status is RUNNING
    task.cancel()
    clock.advance_to(1001)
    assert task.status is CANCELED


def test_a_cancel_is_seen_and_may_be_ignored(env: FakeEnvironment, clock: TestScheduler) -> None:
    seen: list[bool] = []

    @env.function("work.py")
    def stubborn(*, task: RemoteTaskHandle) -> Steps:
        yield 5
        seen.append(task.cancel_requested)
        yield
        return "done"

    task = env.submit("work.py", "stubborn")
    task.cancel()
    assert task.wait_for().result == "done"
    assert seen == [True]
    assert clock.clock == 5


def test_a_task_that_is_canceled_while_it_waits_never_runs(env: FakeEnvironment, clock: TestScheduler) -> None:
    first, second = env.map_tasks("work.py", "slow", [1, 2])
    heard: list[TaskEventType] = []
    second.listen(lambda event: heard.append(event.type))
    second.cancel()
    assert second.status is CANCELED
    assert heard == [TaskEventType.CANCELATION]
    clock.advance_to(100)
    assert (first.status, second.worker) == (COMPLETED, None)
