"""A task without a worker: what happens to it is said by hand."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase

from wetlands_rx._task.lifecycle import (
    CancelRequested,
    Dispatched,
    EnvironmentExited,
    Happening,
    PoolBroken,
)
from wetlands_rx._wire.messages import Finished, FinishedUnopened, OutputSet, OutputUnopened, Raised, Updated
from wetlands_rx._wire.packing import pack
from wetlands_rx._wire.values import Packed
from wetlands_rx.exceptions import (
    ExecutionException,
    InvalidStateError,
    NotLaunchedError,
    SerializationError,
    WorkerDiedError,
    WorkerPoolBroken,
)
from wetlands_rx.task import Task, TaskError, TaskEvent, TaskEventType, TaskList, TaskOutput, TaskStatus
from wetlands_rx.testing import WORKER, FakeRunner

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
TERMINALS = {COMPLETED: COMPLETION, FAILED: FAILURE, CANCELED: CANCELATION}
Event = TaskEvent[Any]


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


def test_late_news_of_a_task_that_nobody_observes_change_nothing(runner: FakeRunner) -> None:
    task = ended(runner, COMPLETED)
    runner.happen(task, Updated(0, "late", 1, 2), OutputSet(0, "late", 1))
    assert (task.status, task.message, task.progress, task.outputs) == (COMPLETED, None, None, {})


def types(events: list[Event]) -> list[TaskEventType]:
    return [event.type for event in events]


def ended(runner: FakeRunner, status: TaskStatus) -> Task[Any]:
    task = runner.task()
    if status is not CANCELED:
        runner.dispatch(task)
    if status is COMPLETED:
        runner.finish(task, 42)
    elif status is FAILED:
        runner.fail(task, "ValueError: no", ["Traceback", "ValueError: no"], "builtins.ValueError")
    else:
        task.cancel()
    assert task.status is status
    return task


# --- Its state


def test_a_new_task_knows_nothing_yet(runner: FakeRunner) -> None:
    task = runner.task("segment.py:segment")
    assert (task.status, task.name, UUID(task.id).version) == (PENDING, "segment.py:segment", 4)
    assert (task.message, task.current, task.maximum, task.progress, task.progress_text) == (None, None, None, None, "")
    assert (task.error, task.traceback, task.exception, task.worker) == (None, None, None, None)
    assert (task.started_at, task.finished_at, task.elapsed, task.outputs) == (None, None, None, {})


def test_ids_are_unique(runner: FakeRunner) -> None:
    assert len({runner.task().id for _ in range(100)}) == 100


def test_a_dispatched_task_runs_on_a_worker(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    assert (task.status, task.worker) == (RUNNING, WORKER)
    assert task.started_at is not None
    assert task.elapsed is not None
    assert task.finished_at is None


def test_a_task_that_completed(runner: FakeRunner) -> None:
    task = ended(runner, COMPLETED)
    assert task.result == 42
    assert (task.error, task.traceback, task.exception) == (None, None, None)
    assert task.started_at is not None
    assert task.finished_at is not None
    assert task.elapsed == pytest.approx(task.finished_at - task.started_at)


def test_a_task_that_failed(runner: FakeRunner) -> None:
    task = ended(runner, FAILED)
    assert task.error == "ValueError: no"
    assert isinstance(task.error, TaskError)
    assert (task.error.category, task.error.remote_type) == ("raised", "builtins.ValueError")
    assert (task.error.worker, task.error.exit_code) == (WORKER, None)
    assert task.traceback == ["Traceback", "ValueError: no"]
    assert isinstance(task.exception, ExecutionException)
    assert task.exception.target == task.name
    assert str(WORKER) in str(task.exception)


def test_the_traceback_is_a_copy(runner: FakeRunner) -> None:
    task = ended(runner, FAILED)
    first, second = task.traceback, task.traceback
    assert first is not None
    first.clear()
    assert task.traceback == second


@pytest.mark.parametrize(
    ("status", "words"),
    [(PENDING, "no result yet"), (RUNNING, "no result yet"), (FAILED, "it failed"), (CANCELED, "it was canceled")],
)
def test_there_is_no_result_but_of_a_completed_task(runner: FakeRunner, status: TaskStatus, words: str) -> None:
    task = ended(runner, status) if status.is_finished() else runner.task()
    if status is RUNNING:
        runner.dispatch(task)
    with pytest.raises(InvalidStateError, match=words) as raised:
        _ = task.result
    assert raised.value.__cause__ is task.exception


@pytest.mark.parametrize(
    ("happening", "category", "kind", "exit_code"),
    [
        (Raised(0, "ValueError: no", (), "builtins.ValueError", "raised"), "raised", ExecutionException, None),
        (Raised(0, "no function", (), "wetlands_rx.FunctionNotFound", "lookup"), "lookup", ExecutionException, None),
        (Raised(0, "cannot be sent", (), "", "serialization"), "serialization", SerializationError, None),
        (PoolBroken(WorkerPoolBroken("env", "no")), "pool", ExecutionException, None),
    ],
)
def test_an_error_says_of_what_kind_it_is(
    runner: FakeRunner, happening: Happening, category: str, kind: type[Exception], exit_code: int | None
) -> None:
    task = runner.task()
    runner.dispatch(task)
    runner.happen(task, happening)
    assert task.error is not None
    assert (task.error.category, type(task.exception), task.error.exit_code) == (category, kind, exit_code)


def test_the_error_of_a_lost_worker_carries_how_it_ended(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    runner.kill(task, signal=11)
    assert task.error is not None
    assert task.error.category == "worker_died"
    assert isinstance(task.exception, WorkerDiedError)
    assert (task.exception.signal, task.exception.exit_code) == (11, None)


def test_a_broken_pool_is_the_cause_of_the_failure(runner: FakeRunner) -> None:
    task, broken = runner.task(), WorkerPoolBroken("env", "no")
    runner.happen(task, PoolBroken(broken))
    assert task.exception is not None
    assert task.exception.__cause__ is broken


def test_an_error_is_a_string_that_can_be_pickled_and_compared() -> None:
    error = TaskError("no", "worker_died", "a.B", WORKER, 3)
    assert error == "no"
    assert pickle.loads(pickle.dumps(str(error))) == "no"


# --- Progress


def test_progress_keeps_what_an_update_does_not_say(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    runner.update(task, "begin", current=1, maximum=4)
    assert (task.message, task.current, task.maximum, task.progress) == ("begin", 1, 4, 0.25)
    runner.update(task, current=2)
    assert (task.message, task.current, task.maximum, task.progress_text) == ("begin", 2, 4, "2/4 begin")
    runner.update(task, "end")
    assert (task.message, task.current) == ("end", 2)


def test_outputs_are_a_copy_and_the_last_of_a_name_counts(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    for value in ([1], [2]):
        runner.set_output(task, "list", value)
    runner.set_output(task, "other", None)
    assert task.outputs == {"list": [2], "other": None}
    task.outputs.clear()
    assert task.outputs == {"list": [2], "other": None}


def test_a_value_that_only_the_user_can_open_is_opened_on_delivery() -> None:
    runner = FakeRunner()
    task = runner.task()
    runner.dispatch(task)
    runner.happen(task, OutputUnopened(0, packed(("key", {1, 2}))), FinishedUnopened(0, packed({3})))
    assert (task.outputs, task.result) == ({"key": {1, 2}}, {3})


def packed(value: object) -> Packed:
    return Packed(pack(value)[0])


class Bomb:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return explode, (self.error,)


def explode(error: type[BaseException]) -> None:
    raise error("boom")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("listened", [False, True])
def test_a_value_that_cannot_be_opened_fails_its_task_alone(
    runner: FakeRunner, error: type[BaseException], *, listened: bool
) -> None:
    task, other = runner.task(), runner.task()
    events: list[Event] = []
    if listened:
        task.listen(events.append)
    for each in (task, other):
        runner.dispatch(each)
    runner.happen(task, FinishedUnopened(0, packed(Bomb(error))))
    runner.finish(other)
    assert (task.status, other.status) == (FAILED, COMPLETED)
    assert isinstance(task.exception, SerializationError)
    assert "cannot be loaded in the calling process" in task.exception.error
    assert task.exception.path == "result"
    assert types(events) == ([STARTED, FAILURE] if listened else [])


def test_an_output_that_cannot_be_opened_fails_the_task(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    runner.happen(task, OutputUnopened(0, packed(("key", Bomb(ValueError)))))
    assert task.status is FAILED
    runner.finish(task)
    assert task.status is FAILED


# --- Start


def test_a_task_is_started_once(runner: FakeRunner) -> None:
    task = runner.task(start=False)
    assert runner.started == []
    assert task.start() is task
    assert task.start().start() is task
    assert len(runner.started) == 1


@pytest.mark.parametrize("status", list(TERMINALS))
def test_starting_an_ended_task_does_nothing(runner: FakeRunner, status: TaskStatus) -> None:
    task = ended(runner, status)
    before = len(runner.started)
    task.start()
    assert (len(runner.started), task.status) == (before, status)


def test_a_start_that_was_refused_may_be_repeated(runner: FakeRunner) -> None:
    task = runner.task(start=False)
    runner.refusal = NotLaunchedError("env")
    with pytest.raises(NotLaunchedError):
        task.start()
    assert task.status is PENDING
    runner.refusal = None
    task.start()
    assert len(runner.started) == 1


# --- Cancel


def test_canceling_a_task_that_was_never_started(runner: FakeRunner) -> None:
    task = runner.task(start=False)
    task.cancel()
    task.start()
    assert (task.status, runner.started) == (CANCELED, [])


def test_canceling_a_task_that_waits_for_a_worker(runner: FakeRunner) -> None:
    task = runner.task()
    task.cancel()
    assert task.status is CANCELED
    assert runner.withdrawn == runner.started
    assert runner.asked == []


def test_canceling_a_running_task_asks_it(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    task.cancel()
    assert task.status is RUNNING
    assert runner.asked == [runner.call(task)]
    assert runner.call(task).cancel_requested
    runner.acknowledge(task)
    assert task.status is CANCELED


def test_a_result_after_a_cancel_request_counts(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    task.cancel()
    runner.finish(task, "done")
    assert (task.status, task.result) == (COMPLETED, "done")


@pytest.mark.parametrize("status", list(TERMINALS))
def test_canceling_an_ended_task_does_nothing(runner: FakeRunner, status: TaskStatus) -> None:
    task = ended(runner, status)
    asked = len(runner.asked)
    task.cancel()
    assert (task.status, len(runner.asked)) == (status, asked)


def test_a_cancel_that_comes_while_the_runner_takes_the_call_is_not_lost(runner: FakeRunner) -> None:
    class Interrupting(FakeRunner):
        def start(self, call: Any) -> None:
            task.cancel()  # another thread, at the worst moment: the runner does not know the call yet
            super().start(call)

    interrupted = Interrupting()
    task = interrupted.task(start=False)
    task.start()
    assert task.status is CANCELED
    assert interrupted.withdrawn == interrupted.started


def test_the_exit_of_the_environment_cancels(runner: FakeRunner) -> None:
    waiting, running = runner.task(), runner.task()
    runner.dispatch(running)
    for task in (waiting, running):
        runner.happen(task, EnvironmentExited())
    assert (waiting.status, running.status) == (CANCELED, CANCELED)


# --- Listeners


@pytest.mark.parametrize("subscribe", ["listen", "subscribe"])
def test_listeners_hear_the_whole_story(runner: FakeRunner, subscribe: str) -> None:
    task = runner.task(start=False)
    events: list[Event] = []
    getattr(task, subscribe)(events.append)
    task.start()
    runner.dispatch(task)
    runner.update(task, "one", current=1, maximum=2)
    runner.set_output(task, "key", "value")
    runner.finish(task, 42)
    assert types(events) == [STARTED, UPDATE, UPDATE, COMPLETION]
    assert all(event.task is task for event in events)
    assert events[1].output is None
    assert events[2].output == TaskOutput("key", "value")
    assert [event.message for event in events] == [None, "one", "one", "one"]
    assert [event.attempt for event in events] == [1, 1, 1, 1]


def test_while_a_listener_runs_the_task_shows_the_state_of_its_event(runner: FakeRunner) -> None:
    task = runner.task()
    seen: list[tuple[TaskStatus, int | None, int | None]] = []
    task.listen(lambda event: seen.append((event.task.status, event.task.current, event.current)))
    post = runner.call(task).post
    for happening in (Dispatched(WORKER), Updated(0, None, 1, 3), Updated(0, None, 2, 3), Finished(0, None)):
        post(happening)
    assert seen == []
    runner.happen(task)
    assert seen == [(RUNNING, None, None), (RUNNING, 1, 1), (RUNNING, 2, 2), (COMPLETED, 2, 2)]


@pytest.mark.parametrize("status", list(TERMINALS))
@pytest.mark.parametrize("form", ["listen", "subscribe", "operators"])
def test_a_late_listener_gets_the_terminal_event_alone_and_at_once(
    runner: FakeRunner, status: TaskStatus, form: str
) -> None:
    task = ended(runner, status)
    events: list[Event] = []
    completed: list[bool] = []
    if form == "listen":
        task.listen(events.append)
    elif form == "subscribe":
        task.subscribe(events.append, on_completed=lambda: completed.append(True))
    else:
        task.pipe(ops.filter(lambda _event: True)).subscribe(events.append, on_completed=lambda: completed.append(True))
    assert types(events) == [TERMINALS[status]]
    assert completed == ([] if form == "listen" else [True])


def test_a_listener_in_the_middle_hears_no_old_updates(runner: FakeRunner) -> None:
    task = runner.task()
    runner.dispatch(task)
    runner.update(task, "old")
    events: list[Event] = []
    task.listen(events.append)
    runner.update(task, "new")
    runner.finish(task)
    assert [(event.type, event.message) for event in events] == [(UPDATE, "new"), (COMPLETION, "new")]


def test_a_listener_hears_nothing_that_was_accepted_before_it_came(runner: FakeRunner) -> None:
    task = runner.task()
    first, second = list[Event](), list[Event]()
    task.listen(first.append)
    post = runner.call(task).post
    post(Dispatched(WORKER))
    post(Updated(0, "old", None, None))
    task.listen(second.append)
    post(Updated(0, "new", None, None))
    runner.happen(task, Finished(0, None))
    assert [event.message for event in first] == [None, "old", "new", "new"]
    assert [event.message for event in second] == ["new", "new"]


@pytest.mark.parametrize("kind", [STARTED, UPDATE, COMPLETION])
def test_a_listener_added_by_a_listener_hears_the_rest_and_one_terminal(
    runner: FakeRunner, kind: TaskEventType
) -> None:
    task = runner.task()
    added: list[Event] = []
    task.listen(lambda event: void(task.listen(added.append)) if event.type is kind else None)
    runner.dispatch(task)
    runner.update(task, "now")
    runner.finish(task)
    assert types(added) == {STARTED: [UPDATE, COMPLETION], UPDATE: [COMPLETION], COMPLETION: [COMPLETION]}[kind]


def void(_: object) -> None:
    pass


@pytest.mark.parametrize("form", ["listen", "subscribe"])
def test_a_listener_that_raises_disturbs_nobody(
    runner: FakeRunner, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    task = runner.task()
    events: list[Event] = []
    future_told: list[bool] = []

    def broken(event: Event) -> None:
        raise SystemExit(event.type.value)

    getattr(task, form)(broken)
    task.listen(events.append)
    task.future.add_done_callback(lambda _future: future_told.append(True))
    runner.dispatch(task)
    runner.update(task)
    runner.finish(task, 42)
    assert types(events) == [STARTED, UPDATE, COMPLETION]
    assert task.wait_for().result == 42
    assert future_told == [True]
    assert repr(task) in caplog.text


def test_a_late_listener_that_raises_disturbs_nobody(runner: FakeRunner, caplog: pytest.LogCaptureFixture) -> None:
    task = ended(runner, COMPLETED)
    task.listen(lambda event: explode(ValueError))
    events: list[Event] = []
    task.listen(events.append)
    assert types(events) == [COMPLETION]
    assert "boom" in caplog.text


def test_a_removed_listener_hears_nothing_more(runner: FakeRunner) -> None:
    task = runner.task()
    events: list[Event] = []
    task.listen(events.append)
    runner.dispatch(task)
    task.remove_listener(events.append)
    runner.finish(task)
    assert types(events) == [STARTED]


def test_a_listener_may_remove_itself_and_others(runner: FakeRunner) -> None:
    task = runner.task()
    told: list[str] = []

    def first(_event: Event) -> None:
        told.append("first")
        task.remove_listener(first)
        task.remove_listener(second)

    def second(_event: Event) -> None:
        told.append("second")

    task.listen(first).listen(second)
    runner.dispatch(task)
    runner.finish(task)
    assert told == ["first"]


def test_a_listener_registered_twice_is_told_twice_and_removed_once(runner: FakeRunner) -> None:
    task = runner.task()
    events: list[Event] = []
    task.listen(events.append).listen(events.append)
    runner.dispatch(task)
    assert types(events) == [STARTED, STARTED]
    task.remove_listener(events.append)
    runner.finish(task)
    assert types(events) == [STARTED, STARTED, COMPLETION]


def test_removing_a_stranger_is_an_error(runner: FakeRunner) -> None:
    task = runner.task()
    with pytest.raises(ValueError, match="does not listen"):
        task.remove_listener(void)


def test_removing_a_listener_after_the_end_does_nothing(runner: FakeRunner) -> None:
    """Whoever removes it cannot know whether the end came first."""
    task = runner.task()
    events: list[Event] = []
    task.listen(events.append)
    runner.dispatch(task)
    runner.finish(task)
    task.remove_listener(events.append)
    assert types(events) == [STARTED, COMPLETION]


def test_disposing_of_a_subscription_stops_the_news_and_not_the_work(runner: FakeRunner) -> None:
    task = runner.task()
    events: list[Event] = []
    subscription = task.subscribe(events.append)
    runner.dispatch(task)
    subscription.dispose()
    runner.finish(task, 42)
    assert types(events) == [STARTED]
    assert task.result == 42
    assert runner.asked == []


def test_a_removed_listener_and_an_ended_task_keep_nothing_alive(runner: FakeRunner) -> None:
    class Listener:
        def __call__(self, _event: Event) -> None: ...

    task = runner.task()
    removed, kept = Listener(), Listener()
    freed = [weakref.ref(removed), weakref.ref(kept)]
    task.listen(removed).listen(kept)
    task.remove_listener(removed)
    runner.dispatch(task)
    runner.finish(task)
    del removed, kept
    gc.collect()
    assert [reference() for reference in freed] == [None, None]


def test_a_rerun_is_no_second_start(runner: FakeRunner) -> None:
    task = runner.task()
    events: list[Event] = []
    task.listen(events.append)
    runner.dispatch(task)
    runner.dispatch(task)
    runner.finish(task)
    assert types(events) == [STARTED, COMPLETION]


@pytest.mark.parametrize("status", list(TERMINALS))
def test_nothing_comes_after_the_terminal_event(runner: FakeRunner, status: TaskStatus) -> None:
    task = runner.task()
    events: list[Event] = []
    task.listen(events.append)
    if status is not CANCELED:
        runner.dispatch(task)
    {
        COMPLETED: lambda: runner.finish(task, 42),
        FAILED: lambda: runner.fail(task),
        CANCELED: lambda: runner.happen(task, CancelRequested()),
    }[status]()
    before = (task.status, task.error, task.finished_at, types(events))
    for late in (
        Updated(0, "late", 1, 2),
        Finished(0, "late"),
        Raised(0, "late", (), "", "raised"),
        EnvironmentExited(),
        FinishedUnopened(0, packed(Bomb(ValueError))),
    ):
        runner.happen(task, late)
    assert (task.status, task.error, task.finished_at, types(events)) == before
    assert task.message is None


# --- The stream


def test_a_task_is_an_observable_that_never_errors(runner: FakeRunner) -> None:
    assert isinstance(runner.task(), Observable)
    task = ended(runner, FAILED)
    errors: list[Exception] = []
    events: list[Event] = []
    task.subscribe(events.append, on_error=errors.append)
    assert (types(events), errors) == ([FAILURE], [])


def test_operators_work_on_tasks(runner: FakeRunner) -> None:
    task = runner.task()
    seen: list[object] = []
    task.pipe(
        ops.filter(lambda event: event.type is UPDATE),
        ops.map(lambda event: event.current),
        ops.scan(lambda total, current: (total or 0) + (current or 0)),
    ).subscribe(seen.append, on_completed=lambda: seen.append("end"))
    runner.dispatch(task)
    for current in (1, 2, 3):
        runner.update(task, current=current)
    runner.finish(task)
    assert seen == [1, 3, 6, "end"]


def test_merging_tasks_inside_a_listener_of_one_of_them(runner: FakeRunner) -> None:
    import reactivex

    tasks = [runner.task() for _ in range(3)]
    seen: list[Event] = []
    reactivex.merge(*tasks).subscribe(seen.append)
    for task in tasks:
        runner.dispatch(task)
        runner.finish(task)
    assert types(seen) == [STARTED, COMPLETION] * 3


def test_a_subscription_is_disposable_twice(runner: FakeRunner) -> None:
    task = runner.task()
    subscription: DisposableBase = task.subscribe(void)
    subscription.dispose()
    subscription.dispose()
    runner.dispatch(task)
    runner.finish(task)


def test_a_task_is_no_collection(runner: FakeRunner) -> None:
    """An Observable has `__getitem__`: without care, these would never end."""
    task: Any = runner.task()
    with pytest.raises(TypeError):
        list(task)
    with pytest.raises(TypeError):
        _ = 1 in task
    with pytest.raises(TypeError):
        _a, _b = task
    with pytest.raises(TypeError):
        for _ in task:
            pass


# --- Waiting


def test_waiting_for_an_ended_task_returns_it(runner: FakeRunner) -> None:
    completed, canceled = ended(runner, COMPLETED), ended(runner, CANCELED)
    assert completed.wait_for() is completed
    assert canceled.wait_for(0) is canceled


def test_waiting_for_a_failed_task_raises_the_same_error_each_time(runner: FakeRunner) -> None:
    task = ended(runner, FAILED)
    depths: list[int] = []
    for _ in range(3):
        with pytest.raises(ExecutionException) as raised:
            task.wait_for()
        assert raised.value is task.exception
        depths.append(len(raised.traceback))
    assert len(set(depths)) == 1, "the traceback grows"


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_a_wait_that_takes_too_long_leaves_the_task_alone(runner: FakeRunner, timeout: float) -> None:
    task = runner.task()
    runner.dispatch(task)
    with pytest.raises(TimeoutError, match="it goes on"):
        task.wait_for(timeout)
    assert (task.status, runner.asked) == (RUNNING, [])
    runner.finish(task, 42)
    assert task.wait_for(timeout).result == 42


def test_waiting_without_bound_for_what_was_never_started_is_an_error(runner: FakeRunner) -> None:
    task = runner.task(start=False)
    with pytest.raises(InvalidStateError, match=r"call start\(\)"):
        task.wait_for()
    with pytest.raises(TimeoutError):
        task.wait_for(0)


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e12, 10.0])
def test_a_wait_ends_with_the_task(runner: FakeRunner, timeout: float | None) -> None:
    task = runner.task()
    runner.dispatch(task)
    waiting, results = threading.Event(), list[Any]()

    def wait() -> None:
        waiting.set()
        results.append(task.wait_for(timeout).result)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert waiting.wait(10)
    runner.finish(task, 42)
    for thread in threads:
        thread.join(10)
    assert results == [42, 42, 42]


def test_a_wait_ends_after_the_listeners_were_told(runner: FakeRunner) -> None:
    task = runner.task()
    order: list[str] = []
    seen = threading.Event()

    def slow(event: Event) -> None:
        if event.type is COMPLETION:
            with pytest.raises(TimeoutError):
                waiter.join(0.0)
                if waiter.is_alive():
                    raise TimeoutError
            order.append("listener")

    task.listen(slow)

    def wait() -> None:
        seen.set()
        task.wait_for(10)
        order.append("waiter")

    runner.dispatch(task)
    waiter = threading.Thread(target=wait)
    waiter.start()
    assert seen.wait(10)
    runner.finish(task)
    waiter.join(10)
    assert order == ["listener", "waiter"]


@pytest.mark.parametrize("kind", [STARTED, UPDATE])
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_listener_cannot_wait_for_its_own_task_before_the_end(
    runner: FakeRunner, kind: TaskEventType, timeout: float | None
) -> None:
    task = runner.task()
    raised: list[Exception] = []

    def on_event(event: Event) -> None:
        if event.type is kind:
            try:
                event.task.wait_for(timeout)
            except RuntimeError as error:
                raised.append(error)

    task.listen(on_event)
    runner.dispatch(task)
    runner.update(task)
    runner.finish(task)
    assert len(raised) == 1
    assert "cannot wait for it" in str(raised[0])


def test_a_with_block_of_its_own_task_inside_a_listener_does_not_wait_for_itself(
    runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    task = runner.task()

    def on_event(event: Event) -> None:
        if event.type is STARTED:
            with task:
                pass

    task.listen(on_event)
    runner.dispatch(task)
    assert "cannot wait for it" in caplog.text
    assert runner.asked == [runner.call(task)]


@pytest.mark.parametrize("status", list(TERMINALS))
def test_a_terminal_listener_may_wait_for_its_own_task(runner: FakeRunner, status: TaskStatus) -> None:
    task = runner.task()
    answers: list[object] = []

    def on_event(event: Event) -> None:
        if event.type in TERMINALS.values():
            try:
                answers.append(event.task.wait_for())
            except ExecutionException as error:
                answers.append(error)

    task.listen(on_event)
    runner.dispatch(task)
    if status is COMPLETED:
        runner.finish(task)
    elif status is FAILED:
        runner.fail(task)
    else:
        runner.acknowledge(task)
    assert answers == [task.exception or task]


def test_a_listener_may_wait_for_another_ended_task(runner: FakeRunner) -> None:
    other, task = ended(runner, COMPLETED), runner.task()
    results: list[Any] = []
    task.listen(lambda _event: results.append(other.wait_for().result))
    runner.dispatch(task)
    assert results == [42]


# --- Context manager


def test_a_with_block_starts_and_cancels_and_waits(runner: FakeRunner) -> None:
    task = runner.task(start=False)
    with task as entered:
        assert entered is task
        assert len(runner.started) == 1
    assert task.status is CANCELED


def test_a_with_block_lets_an_ended_task_be(runner: FakeRunner) -> None:
    with runner.task() as task:
        runner.dispatch(task)
        runner.finish(task, 42)
    assert (task.result, runner.asked) == (42, [])


def test_a_with_block_passes_its_own_exception_on(runner: FakeRunner) -> None:
    task = runner.task(start=False)
    with pytest.raises(ZeroDivisionError), task:
        _ = 1 / 0
    assert task.status is CANCELED


def test_a_with_block_of_a_running_task_waits_for_its_answer(runner: FakeRunner) -> None:
    class Obliging(FakeRunner):
        def ask_cancel(self, call: Any) -> None:
            super().ask_cancel(call)
            self.acknowledge(task)

    obliging = Obliging()
    task = obliging.task(start=False)
    with task:
        obliging.dispatch(task)
    assert task.status is CANCELED


# --- How it looks


def test_what_a_console_shows(runner: FakeRunner) -> None:
    task = runner.task("segment.py:segment")
    assert repr(task) == f"<Task {task.id[-8:]} segment.py:segment pending>"
    runner.dispatch(task)
    runner.update(task, "tile 1", current=1, maximum=2)
    runner.fail(task, "ValueError: no")
    assert "segment.py:segment failed 1/2 tile 1 'ValueError: no'" in repr(task)


def test_what_a_notebook_shows_is_escaped(runner: FakeRunner) -> None:
    evil = "<img src=x onerror=alert(1)>"
    task = runner.task(evil)
    runner.dispatch(task)
    runner.update(task, evil)
    runner.fail(task, evil, [evil])
    shown = task._repr_html_()  # pyright: ignore[reportPrivateUsage] - the notebook's door
    assert "<img" not in shown
    assert shown.count("&lt;img") == 4


# --- Consistent at every moment


def test_no_moment_shows_a_status_without_what_belongs_to_it(runner: FakeRunner) -> None:
    """Another thread may look between any two lines."""
    completed, failed = runner.task(), runner.task()
    looks = 0

    def look(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal looks
        if not frame.f_code.co_filename.endswith("_task/task.py"):
            return None
        if event == "line":
            looks += 1
            for task in (completed, failed):
                status = task.status
                assert status is PENDING or (task.worker is WORKER and task.started_at)
                assert status is not COMPLETED or (task.result == 42 and task.finished_at)
                assert status is not FAILED or (task.error == "ValueError: no" and task.finished_at)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        for task in (completed, failed):
            runner.dispatch(task)
        runner.finish(completed, 42)
        runner.fail(failed)
    finally:
        sys.settrace(before)
    assert looks > 20
    assert (completed.status, failed.status) == (COMPLETED, FAILED)


# --- Many tasks


def test_canceling_a_list_leaves_no_task_to_start(runner: FakeRunner) -> None:
    tasks = TaskList(runner.task() for _ in range(5))
    tasks.cancel()
    assert {task.status for task in tasks} == {CANCELED}
    assert runner.withdrawn == runner.started[::-1], "the last first, so that none of them starts"


def test_waiting_for_a_list(runner: FakeRunner) -> None:
    tasks = TaskList([ended(runner, COMPLETED), ended(runner, CANCELED)])
    assert tasks.wait_for() is tasks
    tasks.append(ended(runner, FAILED))
    with pytest.raises(ExecutionException):
        tasks.wait_for()
    open_tasks = TaskList([runner.task(), ended(runner, FAILED)])
    with pytest.raises(TimeoutError):
        open_tasks.wait_for(0)
