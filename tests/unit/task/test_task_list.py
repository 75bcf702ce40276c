"""A batch as one: its events, results, snapshots, and how it is awaited."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler import VirtualTimeScheduler
from reactivex.testing import TestScheduler

from wetlands_rx.exceptions import ExecutionException, InvalidStateError
from wetlands_rx.progress import BatchSnapshot, snapshots
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskList, TaskStatus
from wetlands_rx.testing import FakeRunner, ManualDelivery

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = TaskStatus
STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
BOTH = pytest.mark.parametrize("ordered", [True, False])
SOON = 20.0


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def tasks(runner: FakeRunner) -> TaskList[Any]:
    return TaskList(runner.task() for _ in range(3))


@pytest.fixture
def endings(runner: FakeRunner, tasks: TaskList[Any]) -> TaskList[Any]:
    """The first one failed, the second one was canceled, the third one returned 42."""
    runner.dispatch(tasks[0])
    runner.fail(tasks[0])
    tasks[1].cancel()
    runner.dispatch(tasks[2])
    runner.finish(tasks[2], 42)
    return tasks


def told(source: Observable[Any]) -> list[Any]:
    """What a new subscriber is told; its end as "|"."""
    log: list[Any] = []
    source.subscribe(log.append, log.append, lambda: log.append("|"))
    return log


def kinds(tasks: TaskList[Any], log: list[Any]) -> list[tuple[int, TaskEventType] | str]:
    def place_of(event: TaskEvent[Any]) -> int:
        return tasks.index(event.task)

    return [news if news == "|" else (place_of(news), news.type) for news in log]


def events_of(tasks: TaskList[Any]) -> Observable[Any]:
    return tasks.events


def snapshots_of(tasks: TaskList[Any]) -> Observable[Any]:
    return tasks.snapshots()


def refuse(_news: object) -> None:
    raise ZeroDivisionError


STREAMS = pytest.mark.parametrize("of", [events_of, snapshots_of])


# --- Events


def test_events_of_all_tasks_come_as_one_stream_that_ends_with_the_last(
    runner: FakeRunner, tasks: TaskList[Any]
) -> None:
    log = told(tasks.events)
    runner.dispatch(tasks[1])
    runner.dispatch(tasks[0])
    runner.update(tasks[1], "half")
    runner.fail(tasks[1])
    runner.finish(tasks[0])
    tasks[2].cancel()
    runner.happen(tasks[2])
    assert kinds(tasks, log) == [
        (1, STARTED),
        (0, STARTED),
        (1, UPDATE),
        (1, FAILURE),
        (0, COMPLETION),
        (2, CANCELATION),
        "|",
    ]


def test_a_late_subscriber_hears_how_the_ended_tasks_ended(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    runner.dispatch(tasks[2])
    runner.finish(tasks[2], 42)
    log = told(tasks.events)
    assert kinds(tasks, log) == [(2, COMPLETION)]
    assert log[0].task.result == 42
    tasks.cancel()
    runner.happen(tasks[0])
    assert kinds(tasks, log)[1:] == [(1, CANCELATION), (0, CANCELATION), "|"]
    assert kinds(tasks, told(tasks.events)) == [(0, CANCELATION), (1, CANCELATION), (2, COMPLETION), "|"]


def test_while_its_event_is_told_a_task_shows_that_state(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    seen: list[tuple[TaskStatus, str | None]] = []

    def look(event: TaskEvent[Any]) -> None:
        seen.append((event.task.status, event.task.message))

    tasks.events.subscribe(look)
    runner.dispatch(tasks[0])
    runner.update(tasks[0], "one")
    runner.update(tasks[0], "two")
    assert seen == [(RUNNING, None), (RUNNING, "one"), (RUNNING, "two")]


def test_events_of_tasks_that_begin_while_a_subscriber_is_called_come_after(
    runner: FakeRunner, tasks: TaskList[Any]
) -> None:
    log: list[Any] = []

    def cancel_the_others(event: TaskEvent[Any]) -> None:
        if event.type is STARTED:
            tasks[1].cancel()
            runner.happen(tasks[1])
        log.append(event)

    tasks.events.subscribe(cancel_the_others)
    runner.dispatch(tasks[0])
    assert kinds(tasks, log) == [(0, STARTED), (1, CANCELATION)]


def test_a_subscriber_that_raises_is_alone_with_that(
    runner: FakeRunner, tasks: TaskList[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        tasks.events.subscribe(refuse)
        log = told(tasks.events)
        for task in tasks:
            runner.dispatch(task)
            runner.finish(task)
    assert log[-1] == "|"
    assert len(log) == 7
    assert "<TaskList 0 of 3 done" in caplog.text
    assert [task.status for task in tasks] == [COMPLETED] * 3


@STREAMS
def test_disposing_cancels_nothing_and_keeps_nothing(
    runner: FakeRunner, tasks: TaskList[Any], of: Callable[[TaskList[Any]], Observable[Any]]
) -> None:
    class Display:
        def show(self, _news: object) -> None: ...

    display = Display()
    subscription = of(tasks).subscribe(display.show)
    runner.dispatch(tasks[0])
    gone = weakref.ref(display)
    subscription.dispose()
    del display, subscription
    gc.collect()
    assert gone() is None
    assert [task.status for task in tasks] == [RUNNING, PENDING, PENDING]


def test_an_empty_list_is_over_at_once() -> None:
    tasks: TaskList[int] = TaskList()
    assert told(tasks.events) == ["|"]
    assert told(tasks.snapshots()) == [BatchSnapshot(eta=0.0), "|"]
    assert list(tasks.results()) == list(tasks.results(ordered=False)) == []
    assert tasks.wait_for() is tasks
    assert asyncio.run(awaited(tasks)) == []


def test_a_task_that_is_in_the_list_twice_is_heard_once(runner: FakeRunner) -> None:
    task = runner.task()
    twice = TaskList([task, task])
    log = told(twice.events)
    runner.dispatch(task)
    runner.finish(task, 42)
    assert kinds(twice, log) == [(0, STARTED), (0, COMPLETION), "|"]
    assert list(twice.results()) == list(twice.results(ordered=False)) == asyncio.run(awaited(twice)) == [42, 42]


def test_a_stream_that_nobody_subscribes_to_observes_no_task(tasks: TaskList[Any]) -> None:
    streams = tasks.events, tasks.snapshots()
    assert not any(task._mailbox for task in tasks)  # pyright: ignore[reportPrivateUsage]
    streams[0].subscribe()
    assert all(task._mailbox for task in tasks)  # pyright: ignore[reportPrivateUsage]


# --- Results


@BOTH
def test_an_error_comes_at_its_place_and_the_iteration_goes_on(endings: TaskList[Any], *, ordered: bool) -> None:
    results = endings.results(ordered)
    assert iter(results) is results
    with pytest.raises(ExecutionException):
        next(results)
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    assert next(results) == 42
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)


def test_results_come_in_the_order_of_the_list_or_as_the_tasks_end(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    in_order, as_they_end = tasks.results(), tasks.results(ordered=False)
    for place in (2, 0, 1):
        runner.dispatch(tasks[place])
        runner.finish(tasks[place], place)
    assert list(in_order) == [0, 1, 2]
    assert list(as_they_end) == [2, 0, 1]


@BOTH
def test_a_late_result_is_waited_for_again(runner: FakeRunner, tasks: TaskList[Any], *, ordered: bool) -> None:
    results = tasks.results(ordered, timeout=0)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            next(results)
    for place, task in enumerate(tasks):
        assert task.status is PENDING
        runner.dispatch(task)
        runner.finish(task, place)
    assert list(results) == [0, 1, 2]


@BOTH
def test_leaving_the_iteration_cancels_nothing(runner: FakeRunner, tasks: TaskList[Any], *, ordered: bool) -> None:
    results: Any = tasks.results(ordered, timeout=0)
    results.close()
    with pytest.raises(StopIteration):
        next(results)
    del results
    gc.collect()
    runner.happen(tasks[0])
    assert [task.status for task in tasks] == [PENDING] * 3


@BOTH
def test_a_task_that_nobody_has_started_is_not_waited_for(runner: FakeRunner, *, ordered: bool) -> None:
    tasks = TaskList([runner.task(), *(runner.task(start=False) for _ in range(2))])
    results = tasks.results(ordered)
    runner.dispatch(tasks[0])
    runner.finish(tasks[0], 0)
    assert next(results) == 0
    for _ in range(2):
        with pytest.raises(InvalidStateError, match=r"call start\(\)"):
            next(results)
    for place in (1, 2):
        runner.dispatch(tasks[place].start())
        runner.finish(tasks[place], place)
    assert list(results) == [1, 2]


def test_one_of_several_unstarted_tasks_that_was_started_is_waited_for(runner: FakeRunner) -> None:
    tasks = TaskList(runner.task(start=False) for _ in range(3))
    results = tasks.results(ordered=False)
    runner.dispatch(tasks[2].start())
    runner.finish(tasks[2], 2)
    assert next(results) == 2
    tasks[0].cancel()
    runner.happen(tasks[2])
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    with pytest.raises(InvalidStateError):
        next(results)


# --- Waiting


def test_a_wait_for_all_ends_with_the_last_and_raises_the_first_failure_of_the_list(
    runner: FakeRunner, tasks: TaskList[Any]
) -> None:
    for place in (2, 1):
        runner.dispatch(tasks[place])
        runner.fail(tasks[place], f"ValueError: {place}")
    with pytest.raises(TimeoutError):
        tasks.wait_for(0)
    runner.dispatch(tasks[0])
    runner.finish(tasks[0])
    with pytest.raises(ExecutionException, match="ValueError: 1"):
        tasks.wait_for()


def test_a_wait_for_a_failed_task_still_waits_for_those_after_it(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    runner.dispatch(tasks[0])
    runner.fail(tasks[0])
    with pytest.raises(TimeoutError):
        tasks.wait_for(0)


# --- asyncio


async def awaited(tasks: TaskList[Any]) -> list[Any]:
    return await tasks


async def begun(tasks: TaskList[Any]) -> asyncio.Task[list[Any]]:
    """An await that waits already."""
    waiting = asyncio.ensure_future(awaited(tasks))
    await asyncio.sleep(0)
    return waiting


def test_awaiting_gives_all_results_in_order(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    async def main() -> list[Any]:
        waiting = await begun(tasks)
        for place in (2, 0, 1):
            assert not waiting.done()
            runner.dispatch(tasks[place])
            runner.finish(tasks[place], place)
        return await waiting

    assert asyncio.run(main()) == [0, 1, 2]
    assert asyncio.run(awaited(tasks)) == [0, 1, 2]


def test_a_failure_ends_an_await_at_once_and_leaves_the_others(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    async def main() -> None:
        waiting = await begun(tasks)
        runner.dispatch(tasks[1])
        runner.fail(tasks[1])
        with pytest.raises(ExecutionException):
            await asyncio.wait_for(waiting, SOON)

    asyncio.run(main())
    assert [task.status for task in tasks] == [PENDING, FAILED, PENDING]


def test_a_canceled_task_cancels_the_await(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    async def main() -> None:
        waiting = await begun(tasks)
        tasks[1].cancel()
        runner.happen(tasks[1])
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_of_several_failures_the_first_of_the_list_is_raised(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    for place in (2, 1):
        runner.dispatch(tasks[place])
        runner.fail(tasks[place], f"ValueError: {place}")
    with pytest.raises(ExecutionException, match="ValueError: 1"):
        asyncio.run(awaited(tasks))


def test_canceling_an_await_leaves_the_tasks_alone_and_nothing_on_them(
    runner: FakeRunner, tasks: TaskList[Any]
) -> None:
    async def main() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(awaited(tasks), 0.001)

    asyncio.run(main())
    assert [task.status for task in tasks] == [PENDING] * 3
    assert not any(task._waiters for task in tasks)  # pyright: ignore[reportPrivateUsage]


# --- Snapshots


class Watched:
    """A batch in virtual time: what a subscriber of its snapshots is told, and when.

    `at(2, action)` does something at 2 s.
    """

    def __init__(self, tasks: TaskList[Any], period: float) -> None:
        self.clock = TestScheduler()
        self.observer = self.clock.create_observer()
        self.subscription = snapshots(tasks, period=period, scheduler=self.clock).subscribe(self.observer)

    def at(self, time: float, action: Callable[[], object]) -> None:
        def act(_scheduler: object, _state: object) -> None:
            action()

        self.clock.schedule_absolute(time, act)

    @property
    def told(self) -> list[tuple[float, str]]:
        VirtualTimeScheduler.start(self.clock)  # until nothing is due
        words: list[tuple[float, str]] = []
        for message in self.observer.messages:
            value: Any = message.value
            words.append((message.time, str(value.value) if value.kind == "N" else value.kind))
        return words


def test_snapshots_come_at_most_once_a_period_and_at_the_end(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    watched = Watched(tasks, period=10)
    for place, start in enumerate((1, 12, 13)):
        watched.at(start, lambda place=place: runner.dispatch(tasks[place]))
    watched.at(14, lambda: runner.update(tasks[1], current=1, maximum=4))
    watched.at(50, lambda: runner.finish(tasks[0]))
    watched.at(51, lambda: runner.finish(tasks[1]))
    watched.at(52, lambda: runner.fail(tasks[2]))
    assert watched.told == [
        (0, "0 of 3 done, 0%"),
        (10, "0 of 3 done, 1 running, 0%"),
        (20, "0 of 3 done, 3 running, 8%"),
        (50, "1 of 3 done, 2 running, 41%"),
        (52, "3 of 3 done, 1 failed"),
        (52, "C"),
    ]


def test_while_nothing_changes_nothing_is_due(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    watched = Watched(tasks, period=10)
    assert watched.told == [(0, "0 of 3 done, 0%")]
    assert watched.clock.clock == 10, "one look after a period, and no more"


def test_snapshots_count_what_had_happened_before(runner: FakeRunner, endings: TaskList[Any]) -> None:
    endings.append(runner.task())
    runner.dispatch(endings[3])
    runner.update(endings[3], current=1, maximum=2)
    watched = Watched(endings, period=10)
    runner.finish(endings[3])
    assert watched.told == [
        (0, "3 of 4 done, 1 failed, 1 canceled, 1 running, 87%"),
        (0, "4 of 4 done, 1 failed, 1 canceled"),
        (0, "C"),
    ]


def test_no_snapshot_comes_after_disposing(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    watched = Watched(tasks, period=10)
    watched.at(1, lambda: runner.dispatch(tasks[0]))
    watched.at(2, watched.subscription.dispose)
    assert watched.told == [(0, "0 of 3 done, 0%")]


def test_a_subscriber_that_wants_one_snapshot_gets_one(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    log = told(tasks.snapshots().pipe(ops.take(1)))
    for task in tasks:
        runner.dispatch(task)
        runner.finish(task)
    assert [str(news) for news in log] == ["0 of 3 done, 0%", "|"]


def test_what_changes_while_a_slow_subscriber_is_called_is_in_the_next_snapshot(
    runner: FakeRunner, tasks: TaskList[Any]
) -> None:
    log: list[str] = []

    def show(snapshot: BatchSnapshot) -> None:
        if not log:
            for task in tasks:
                runner.dispatch(task)
                runner.finish(task)
        log.append(snapshot.text)

    tasks.snapshots(1).subscribe(show, on_completed=lambda: log.append("|"))
    assert log == ["0 of 3 done, 0%", "3 of 3 done", "|"]


class Clocked(ManualDelivery):
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Callable[[], None]] = []

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        self.later.append(function)


def test_the_period_is_waited_for_on_threads_that_live() -> None:
    gone, living = Clocked(), Clocked()
    first, second = FakeRunner(gone), FakeRunner(living)
    tasks = TaskList([first.task(), second.task()])
    log = told(tasks.snapshots())
    first.dispatch(tasks[0])
    gone.later.pop()()
    gone.run()
    first.finish(tasks[0])  # the threads of its environment may end now
    gone.later.pop()()
    gone.run()
    assert not gone.later
    second.dispatch(tasks[1])
    living.later.pop()()
    living.run()
    assert [str(snapshot) for snapshot in log] == [
        "0 of 2 done, 0%",
        "0 of 2 done, 1 running, 0%",
        "1 of 2 done, 50%",
        "1 of 2 done, 1 running, 50%",
    ]


def test_a_failing_display_is_reported_and_the_tasks_go_on(
    runner: FakeRunner, tasks: TaskList[Any], caplog: pytest.LogCaptureFixture
) -> None:
    tasks.snapshots().subscribe(refuse)
    log = told(tasks.snapshots())
    for task in tasks:
        runner.dispatch(task)
        runner.finish(task)
    assert log[-1] == "|"
    assert "a listener of the snapshots of 3 tasks raised" in caplog.text


def test_snapshots_of_single_tasks_and_lists_together(runner: FakeRunner, endings: TaskList[Any]) -> None:
    other = runner.task()
    other.cancel()
    whole, _ = told(snapshots(other, endings, [endings[0]]))
    assert (whole.total, whole.canceled) == (4, 2)


@pytest.mark.parametrize("period", [0, -1, float("nan"), float("inf")])
def test_a_period_that_is_none_is_refused(tasks: TaskList[Any], period: float) -> None:
    with pytest.raises(ValueError, match="period"):
        tasks.snapshots(period)


def test_what_is_no_task_and_no_number_is_refused(tasks: TaskList[Any]) -> None:
    wrong: Any = "0.1"
    with pytest.raises(TypeError, match="period"):
        tasks.snapshots(wrong)
    with pytest.raises(TypeError, match="no task"):
        snapshots(tasks, wrong)


# --- A list


def test_a_slice_is_a_batch_of_its_own(runner: FakeRunner, tasks: TaskList[Any]) -> None:
    part = tasks[1:]
    assert isinstance(part, TaskList)
    assert part == list(tasks)[1:]
    assert tasks[0] is next(iter(tasks))
    part.cancel()
    assert [task.status for task in tasks] == [PENDING, CANCELED, CANCELED]


def test_a_batch_looks_short(runner: FakeRunner) -> None:
    tasks = TaskList(runner.task("<b>.py:work") for _ in range(1000))
    for task in tasks[:20]:
        runner.dispatch(task)
    for task in tasks[:10]:
        runner.fail(task, "ValueError: <script>\nmore")
    assert repr(tasks).startswith("<TaskList 10 of 1,000 done, 10 failed, 10 running, 1%")
    page = tasks._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "10 of 1,000 done, 10 failed, 10 running, 1%" in page
    assert page.count("ValueError: &lt;script&gt;") == 5
    assert "<script>" not in page
    assert "more" not in page


# --- No lock


@pytest.fixture
def probe() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Does something on another thread while a subscriber is called; fails when that does not come back."""
    stuck: list[threading.Thread] = []

    def probe(action: Callable[[], object]) -> None:
        thread = threading.Thread(target=action)
        thread.start()
        thread.join(SOON)
        if thread.is_alive():
            stuck.append(thread)

    yield probe
    assert not stuck, "a lock was held while a subscriber was called"


@STREAMS
def test_a_subscriber_is_called_with_no_lock_held(
    runner: FakeRunner,
    tasks: TaskList[Any],
    of: Callable[[TaskList[Any]], Observable[Any]],
    probe: Callable[[Callable[[], object]], None],
) -> None:
    stream = of(tasks)
    second: list[Task[Any]] = [tasks[1]]

    def use_all(_news: object) -> None:
        probe(lambda: stream.subscribe().dispose())
        if second:
            task = second.pop()
            probe(lambda: (runner.dispatch(task), runner.finish(task)))

    ended: list[str] = []
    stream.subscribe(use_all, on_completed=lambda: ended.append("|"))
    for task in (tasks[0], tasks[2]):
        runner.dispatch(task)
        runner.finish(task)
    assert ended == ["|"]
