"""A pool whose processes are fakes and whose clock is turned by hand."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tests.unit.worker.fakes import FakeProcess
from wetlands_rx._pool.pool import Pool
from wetlands_rx._task.call import Call, Runner
from wetlands_rx._task.streams import Streams
from wetlands_rx._wire import codec
from wetlands_rx._wire.messages import CallFunction, Configure, Exit, RunScript
from wetlands_rx._worker.output_lines import PrintedLine
from wetlands_rx._worker.process import OnLine
from wetlands_rx._worker.runtime import Runtime
from wetlands_rx.exceptions import (
    ExecutionException,
    NotLaunchedError,
    ProtocolError,
    WorkerDiedError,
    WorkerPoolBroken,
    WorkerStartError,
)
from wetlands_rx.task import Task, TaskStatus
from wetlands_rx.testing import ManualDelivery

SOON = 10.0
PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus


class Clock:
    """A supervisor that only keeps the time; `advance` makes it pass."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.changed = threading.Condition()

    def call_later(self, delay: float, function: Callable[[], None], /) -> None:
        with self.changed:
            self.due.append((delay, function))
            self.changed.notify_all()

    def advance(self, delay: float) -> None:
        """Wait until something is due after this delay, and do it."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(at == delay for at, _ in self.due), SOON), self.due
            function = next(function for at, function in self.due if at == delay)
            self.due.remove((delay, function))
        function()


class FakeRuntime:
    def __init__(self) -> None:
        self.supervisor = Clock()
        self.delivery = ManualDelivery()


class Processes:
    """Starts fakes; those that are to fail are said before."""

    def __init__(self) -> None:
        self.started: list[tuple[int, FakeProcess]] = []
        self.on_lines: dict[int, OnLine] = {}
        self.changed = threading.Condition()
        self.behaviour: Callable[[FakeProcess], None] = FakeProcess.hello
        self.error: Exception | None = None

    def start(self, index: int, on_line: OnLine) -> Any:
        if self.error is not None:
            raise self.error
        process = FakeProcess(pid=1000 + len(self.started))
        self.behaviour(process)
        with self.changed:
            self.started.append((index, process))
            self.on_lines[index] = on_line
            self.changed.notify_all()
        return process.as_process()

    def __getitem__(self, place: int) -> FakeProcess:
        """The n-th process ever started; waits for it."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.started) > place, SOON)
            return self.started[place][1]


def until(condition: Callable[[], object]) -> None:
    """Poll for what another thread does soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def clock(runtime: FakeRuntime) -> Clock:
    return runtime.supervisor


@pytest.fixture
def pool(processes: Processes, runtime: FakeRuntime) -> Iterator[Pool]:
    pool = Pool("env", processes.start, cast(Runtime, runtime), Streams("env"))
    yield pool
    pool.close(0.0)


def task_in(pool: Pool, *, start: bool = True) -> Task[Any]:
    runner: Runner = pool
    task: Task[Any] = Task(runner, "a.py:f", lambda number: codec.encode_call(number, "/a.py", "f", (), {}))
    return task.start() if start else task


def hear(process: FakeProcess) -> CallFunction:
    message = process.hear()
    if isinstance(message, Configure):
        message = process.hear()
    assert isinstance(message, CallFunction)
    return message


def answer(process: FakeProcess, value: Any = None) -> None:
    process.answer(hear(process).task, value)


# --- Launching


def now(pool: Pool) -> tuple[int, int, int, int]:
    statistics = pool.statistics()
    return statistics.workers, statistics.idle, statistics.busy, statistics.queued


def test_a_pool_serves_when_all_workers_are_ready(pool: Pool, processes: Processes) -> None:
    with pytest.raises(NotLaunchedError) as raised:
        task_in(pool)
    assert not raised.value.exited
    pool.launch(3, SOON)
    assert now(pool) == (3, 3, 0, 0)
    assert [worker.index for worker in pool.workers()] == [0, 1, 2]
    assert sorted(index for index, _ in processes.started) == [0, 1, 2]


def test_a_worker_that_ends_at_the_start_fails_the_launch(pool: Pool, processes: Processes) -> None:
    started: list[FakeProcess] = []

    def second_dies(process: FakeProcess) -> None:
        started.append(process)
        if len(started) == 2:
            process.die()
        else:
            process.hello()

    processes.behaviour = second_dies
    with pytest.raises(WorkerStartError, match="worker 1 did not start: its process ended with exit code 3") as raised:
        pool.launch(3, SOON)
    assert raised.value.stderr_tail == ("last words",)
    assert all(process.exited.is_set() for process in started)
    with pytest.raises(NotLaunchedError):
        task_in(pool)


def test_a_worker_that_says_nothing_fails_the_launch_in_time(pool: Pool, processes: Processes) -> None:
    processes.behaviour = lambda _process: None
    with pytest.raises(WorkerStartError, match=r"no answer after 0.05 s"):
        pool.launch(2, 0.05)
    assert all(process.killed.is_set() for _, process in processes.started)


def test_a_worker_that_talks_nonsense_fails_the_launch(pool: Pool, processes: Processes) -> None:
    processes.behaviour = lambda process: process.write(b"Welcome to the login shell of this machine!\n")
    with pytest.raises(WorkerStartError, match="no message of ours"):
        pool.launch(1, SOON)


@pytest.mark.parametrize("error", [FileNotFoundError("no such python"), PermissionError("not yours")])
def test_an_interpreter_that_cannot_be_started_fails_the_launch(
    pool: Pool, processes: Processes, error: OSError
) -> None:
    processes.error = error
    with pytest.raises(WorkerStartError, match=str(error)) as raised:
        pool.launch(2, SOON)
    assert raised.value.__cause__ is error


def test_an_error_of_worker_env_comes_out_of_the_launch(pool: Pool, processes: Processes) -> None:
    def first_only(process: FakeProcess) -> None:
        process.hello()
        processes.error = ZeroDivisionError("the user's")

    processes.behaviour = first_only
    with pytest.raises(ZeroDivisionError, match="the user's"):
        pool.launch(2, SOON)
    assert processes[0].exited.is_set()


# --- Running


def test_calls_go_to_idle_workers_and_wait_in_order_for_busy_ones(pool: Pool, processes: Processes) -> None:
    pool.launch(2, SOON)
    tasks = [task_in(pool) for _ in range(5)]
    assert [task.status for task in tasks] == [RUNNING, RUNNING, PENDING, PENDING, PENDING]
    assert now(pool) == (2, 0, 2, 3)
    assert tasks[0].worker is not None
    busy, free = processes[tasks[0].worker.index], processes[1 - tasks[0].worker.index]
    first = hear(busy).task
    heard: list[int] = []
    for _ in range(4):
        heard.append(hear(free).task)
        free.answer(heard[-1], len(heard))
    assert heard == sorted(heard)
    busy.answer(first, "first")
    assert [task.wait_for(SOON).result for task in tasks] == ["first", 1, 2, 3, 4]
    assert now(pool) == (2, 2, 0, 0)


def test_a_task_that_waits_can_be_canceled_and_is_never_sent(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    tasks = [task_in(pool) for _ in range(3)]
    tasks[1].cancel()
    assert tasks[1].status is CANCELED
    assert pool.statistics().queued == 1
    answer(processes[0], "first")
    answer(processes[0], "third")
    assert tasks[2].wait_for(SOON).result == "third"


def test_a_running_task_is_asked_to_stop(pool: Pool, processes: Processes) -> None:
    pool.launch(2, SOON)
    task = task_in(pool)
    task.cancel()
    assert task.worker is not None
    process = processes[task.worker.index]
    number = hear(process).task
    assert process.channel.is_canceled(number)
    process.channel.send([codec.encode_canceled(number)])
    assert task.wait_for(SOON).status is CANCELED


def test_records_and_lines_are_logged_with_where_they_come_from(
    pool: Pool, processes: Processes, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    pool.launch(1, SOON)
    task = task_in(pool)
    number = hear(processes[0]).task
    with caplog.at_level(logging.INFO, "wetlands_rx"):
        processes.on_lines[0]("stdout", PrintedLine("100 % printed", number, "a.py:f"))
        processes[0].channel.send([codec.encode_log(number, logging.WARNING, "100 % logged")])
        processes[0].answer(number)
        task.wait_for(SOON)
        processes.on_lines[0]("stderr", PrintedLine("afterwards"))
        runtime.delivery.run()
    facts = [
        (
            record.getMessage(),
            record.levelno,
            record.__dict__["call_target"],
            record.__dict__["task_id"],
            record.__dict__["stream"],
        )
        for record in caplog.records
    ]
    assert facts == [
        ("100 % printed", logging.INFO, "a.py:f", task.id, "stdout"),
        ("100 % logged", logging.WARNING, "a.py:f", task.id, None),
        ("afterwards", logging.INFO, None, None, "stderr"),
    ]
    assert {record.__dict__["env_name"] for record in caplog.records} == {"env"}
    assert {record.__dict__["worker_index"] for record in caplog.records} == {0}


def test_a_flood_of_lines_that_nobody_takes_costs_no_memory(
    pool: Pool, processes: Processes, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    pool.launch(1, SOON)
    with caplog.at_level(logging.INFO, "wetlands_rx"):
        for number in range(20_000):
            processes.on_lines[0]("stdout", PrintedLine(f"line {number}"))
        runtime.delivery.run()
    assert len(caplog.records) == 10_000


# --- Workers that die


def test_a_death_fails_the_running_task_alone_and_the_queue_goes_on(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    tasks = [task_in(pool) for _ in range(3)]
    hear(processes[0])
    processes[0].die()
    with pytest.raises(WorkerDiedError, match="exit code 3") as raised:
        tasks[0].wait_for(SOON)
    assert (raised.value.exit_code, raised.value.stderr_tail, raised.value.target) == (3, ("last words",), "a.py:f")
    for value in ("second", "third"):
        answer(processes[1], value)
    assert [task.wait_for(SOON).result for task in tasks[1:]] == ["second", "third"]
    assert pool.statistics().workers == 1


def test_poison_calls_never_end_the_pool(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    tasks = [task_in(pool) for _ in range(30)]
    for number in range(29):
        hear(processes[number])
        processes[number].die()
    answer(processes[29], "alive")
    assert tasks[-1].wait_for(SOON).result == "alive"
    assert [task.status for task in tasks[:-1]] == [FAILED] * 29


def test_a_death_while_idle_is_not_noticed_by_tasks(pool: Pool, processes: Processes, clock: Clock) -> None:
    pool.launch(1, SOON)
    processes[0].die()
    until(lambda: len(processes.started) == 2)
    task = task_in(pool)
    answer(processes[1], "fine")
    assert task.wait_for(SOON).result == "fine"


def test_idle_deaths_are_replaced_with_patience_and_then_the_pool_is_broken(
    pool: Pool, processes: Processes, clock: Clock
) -> None:
    pool.launch(1, SOON)
    for number, delay in enumerate((None, 0.2, 0.4, 0.8)):
        until(lambda: pool.statistics().idle == 1)
        processes[number].die()
        if delay is not None:
            clock.advance(delay)
    until(lambda: pool.statistics().idle == 1)
    processes[4].die()
    until(lambda: pool.broken)
    with pytest.raises(WorkerPoolBroken, match="exit code 3"):
        task_in(pool)


def test_tasks_that_wait_when_the_pool_breaks_fail_with_the_cause(
    pool: Pool, processes: Processes, clock: Clock
) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)
    processes.behaviour = FakeProcess.die
    hear(processes[0])
    processes[0].die()
    clock.advance(0.2)
    with pytest.raises(ExecutionException, match="keep dying") as raised:
        waiting.wait_for(SOON)
    assert isinstance(raised.value.__cause__, WorkerPoolBroken)
    assert "worker 0 did not start: its process ended with exit code 3" in str(raised.value)
    with pytest.raises(WorkerDiedError):
        running.wait_for(SOON)
    assert waiting.error is not None
    assert waiting.error.category == "pool"


@pytest.mark.parametrize("error", [ZeroDivisionError("the user's worker_env"), OSError("no more processes")])
def test_a_replacement_that_cannot_be_started_is_tried_once_more(
    pool: Pool, processes: Processes, clock: Clock, error: Exception
) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)
    processes.error = error
    hear(processes[0])
    processes[0].die()
    clock.advance(0.2)
    with pytest.raises(ExecutionException, match=str(error)):
        waiting.wait_for(SOON)
    assert pool.broken
    assert running.status is FAILED


def test_a_replacement_that_starts_at_the_second_try_serves(pool: Pool, processes: Processes, clock: Clock) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)
    processes.error = OSError("no more processes")
    hear(processes[0])
    processes[0].die()
    until(lambda: running.status is FAILED and clock.due)
    processes.error = None
    clock.advance(0.2)
    answer(processes[1], "late")
    assert waiting.wait_for(SOON).result == "late"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "too many open files"),
        OSError(errno.ENOMEM, "no memory"),
        BlockingIOError(errno.EAGAIN, "no more processes"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_shortage_does_not_break_the_pool(pool: Pool, processes: Processes, clock: Clock, error: Exception) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)
    processes.error = error
    hear(processes[0])
    processes[0].die()
    for delay in (0.2, 0.4, 0.8, 1.6, 3.2):
        clock.advance(delay)
    assert not pool.broken
    processes.error = None
    clock.advance(5.0)
    answer(processes[1], "late")
    assert waiting.wait_for(SOON).result == "late"
    assert running.status is FAILED


def test_a_worker_for_which_there_is_no_thread_leaves_no_process(
    pool: Pool, processes: Processes, clock: Clock
) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)

    def has_a_broken_pipe(process: FakeProcess) -> None:
        def no_thread(_function: object) -> None:
            raise RuntimeError("can't start new thread")

        process.on_exit = no_thread  # type: ignore[method-assign,assignment]  # the first step of a start

    processes.behaviour = has_a_broken_pipe
    hear(processes[0])
    processes[0].die()
    until(lambda: len(processes.started) == 2 and clock.due)
    assert processes[1].exited.is_set()
    assert pool.statistics().workers == 0
    processes.behaviour = FakeProcess.hello
    clock.advance(0.2)
    answer(processes[2], "late")
    assert waiting.wait_for(SOON).result == "late"
    assert running.status is FAILED


def test_a_replacement_has_less_time_to_say_hello_than_a_launch(pool: Pool, processes: Processes, clock: Clock) -> None:
    pool.launch(1, 60.0)
    processes.behaviour = lambda _process: None
    processes[0].die()
    clock.advance(20.0)
    assert processes[1].killed.is_set()


def test_a_launch_that_is_abandoned_ends_its_workers(pool: Pool, processes: Processes) -> None:
    processes.behaviour = lambda _process: None
    errors: list[BaseException] = []

    def launch() -> None:
        with pytest.raises(NotLaunchedError) as raised:
            pool.launch(2, 60.0)
        errors.append(raised.value)

    launching = threading.Thread(target=launch)
    launching.start()
    until(lambda: len(processes.started) == 2)
    pool.abandon()
    launching.join(SOON)
    assert len(errors) == 1
    assert all(process.killed.is_set() for _, process in processes.started)


def test_an_abandoned_launch_starts_nothing(pool: Pool, processes: Processes) -> None:
    pool.abandon()
    with pytest.raises(NotLaunchedError):
        pool.launch(2, 60.0)
    assert processes.started == []


def test_a_replacement_that_says_nothing_is_given_up(pool: Pool, processes: Processes, clock: Clock) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)
    processes.behaviour = lambda _process: None
    hear(processes[0])
    processes[0].die()
    clock.advance(SOON)  # as long as a launch may take
    clock.advance(0.2)
    clock.advance(SOON)
    with pytest.raises(ExecutionException, match="no answer after 10 s"):
        waiting.wait_for(SOON)
    assert running.status is FAILED
    assert processes[1].killed.is_set()
    assert processes[2].killed.is_set()


def test_a_replacement_that_answered_in_time_is_not_given_up(pool: Pool, processes: Processes, clock: Clock) -> None:
    pool.launch(1, SOON)
    hear_task = task_in(pool)
    hear(processes[0])
    processes[0].die()
    with pytest.raises(WorkerDiedError):
        hear_task.wait_for(SOON)
    until(lambda: pool.statistics().idle == 1)
    clock.advance(SOON)
    assert not processes[1].killed.is_set()


def test_garbage_on_the_pipe_is_the_cause_of_the_failure(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    task = task_in(pool)
    hear(processes[0])
    processes[0].write(b"#" * 100)
    with pytest.raises(WorkerDiedError) as raised:
        task.wait_for(SOON)
    assert isinstance(raised.value.__cause__, ProtocolError)


class Meddling:
    """A pool in which something happens between the decision to send a call and its sending."""

    def __init__(self, pool: Pool, meddle: Callable[[], object]) -> None:
        self._pool, self._meddle = pool, meddle
        self.delivery, self.events = pool.delivery, pool.events
        self.withdraw, self.ask_cancel = pool.withdraw, pool.ask_cancel

    def start(self, call: Call) -> None:
        post = call.post

        def post_and_meddle(*happenings: Any) -> None:
            call.post = post
            post(*happenings)
            self._meddle()

        call.post = post_and_meddle
        self._pool.start(call)


def task_in_meddled_pool(pool: Pool, meddle: Callable[[], object]) -> Task[Any]:
    task = task_in(pool, start=False)
    task._runner = Meddling(pool, meddle)  # pyright: ignore[reportPrivateUsage]
    return task.start()


def test_a_call_that_could_not_be_sent_is_first_in_line_again(pool: Pool, processes: Processes) -> None:
    """Its worker was gone before it got the call: it has not run."""
    pool.launch(1, SOON)
    others: list[Task[Any]] = []

    def end_the_worker_and_stand_in_line() -> None:
        processes.behaviour = lambda _process: None
        processes[0].die()
        others.extend(task_in(pool) for _ in range(2))
        until(lambda: len(processes.started) == 2)

    first = task_in_meddled_pool(pool, end_the_worker_and_stand_in_line)
    assert first.status is RUNNING
    processes[1].hello()
    for value in ("first", "second", "third"):
        answer(processes[1], value)
    assert [task.wait_for(SOON).result for task in (first, *others)] == ["first", "second", "third"]


def test_a_call_that_could_not_be_sent_and_was_canceled_meanwhile_never_runs(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    canceling = task_in(pool, start=False)

    def end_the_worker_and_cancel() -> None:
        processes[0].die()
        until(lambda: pool.statistics().idle == 1 and len(processes.started) == 2)
        canceling.cancel()

    canceling._runner = Meddling(pool, end_the_worker_and_cancel)  # pyright: ignore[reportPrivateUsage]
    canceling.start()
    assert canceling.wait_for(SOON).status is CANCELED
    after = task_in(pool)
    answer(processes[1], "after")
    assert after.wait_for(SOON).result == "after"


def test_a_cancel_below_the_pools_own_work_is_put_off(pool: Pool) -> None:
    """A signal handler or a finalizer may call us between any two lines."""
    pool.launch(1, SOON)
    task_in(pool)
    call = task_in(pool)._call  # pyright: ignore[reportPrivateUsage] - what is withdrawn
    assert call is not None
    with pool._lock:  # pyright: ignore[reportPrivateUsage] - as if interrupted there
        assert pool.withdraw(call) is None
    assert pool.withdraw(call) is True
    assert pool.withdraw(call) is False


def test_a_call_that_died_with_its_worker_is_not_kept(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    worker = pool.workers()[0]
    task = task_in(pool)
    hear(processes[0])
    processes[0].die()
    with pytest.raises(WorkerDiedError):
        task.wait_for(SOON)
    assert worker.held == []


# --- Closing


def test_closing_cancels_what_waits_and_asks_what_runs(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    running, waiting = task_in(pool), task_in(pool)
    number = hear(processes[0]).task
    heard: list[object] = []

    def work() -> None:
        while not processes[0].channel.is_canceled(number):
            pass
        heard.append(waiting.status)
        processes[0].channel.send([codec.encode_canceled(number)])
        processes[0].channel.end(number)
        heard.append(processes[0].hear())
        processes[0].die()

    worker = threading.Thread(target=work)
    worker.start()
    pool.close(SOON)
    worker.join(SOON)
    assert heard == [CANCELED, Exit()]
    assert (running.status, waiting.status) == (CANCELED, CANCELED)
    assert not processes[0].killed.is_set()
    with pytest.raises(NotLaunchedError) as raised:
        task_in(pool)
    assert raised.value.exited


def test_closing_kills_what_does_not_end_in_time(pool: Pool, processes: Processes) -> None:
    pool.launch(2, SOON)
    task = task_in(pool)
    pool.close(0.01)
    assert task.status is CANCELED
    assert all(process.killed.is_set() for _, process in processes.started)
    assert pool.statistics().workers == 0


def test_closing_does_not_wait_for_a_call_that_nobody_reads(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    big = b"x" * 50_000_000
    task: Task[Any] = Task(pool, "a.py:f", lambda number: codec.encode_call(number, "/a.py", "f", (big,), {}))
    sender = threading.Thread(target=task.start)
    sender.start()
    until(lambda: task.status is RUNNING)
    pool.close(0.0)
    sender.join(SOON)
    assert not sender.is_alive()
    assert task.wait_for(SOON).status is CANCELED


def test_closing_twice_is_harmless(pool: Pool) -> None:
    pool.launch(1, SOON)
    pool.close(0.0)
    pool.close(0.0)


def test_a_replacement_that_starts_during_the_close_is_ended(pool: Pool, processes: Processes, clock: Clock) -> None:
    pool.launch(1, SOON)
    task = task_in(pool)
    hear(processes[0])
    starting, closed = threading.Event(), threading.Event()

    def slow(process: FakeProcess) -> None:
        starting.set()
        assert closed.wait(SOON)

    processes.behaviour = slow
    processes[0].die()
    assert starting.wait(SOON)
    closer = threading.Thread(target=pool.close, args=(0.0,))
    closer.start()
    until(lambda: not _accepts(pool))
    closed.set()
    closer.join(SOON)
    assert processes[1].killed.wait(SOON)
    assert task.status is FAILED


def _accepts(pool: Pool) -> bool:
    try:
        task_in(pool)
    except NotLaunchedError:
        return False
    return True


def test_a_death_during_the_close_cancels(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    task = task_in(pool)
    processes.behaviour = FakeProcess.die
    pool.close(0.0)
    assert task.status is CANCELED
    assert len(processes.started) == 1


def test_scripts_are_calls_too(pool: Pool, processes: Processes) -> None:
    pool.launch(1, SOON)
    task: Task[None] = Task(pool, "s.py", lambda number: codec.encode_script(number, "/s.py", ["1"], "name"))
    task.start()
    processes[0].hear()
    message = processes[0].hear()
    assert isinstance(message, RunScript)
    processes[0].answer(message.task)
    assert task.wait_for(SOON).status is COMPLETED
