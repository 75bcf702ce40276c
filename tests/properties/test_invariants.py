"""The invariants of the reactive core, whatever happens in whatever order.

Those that other tests watch already are not tested twice. Each number stands for an invariant; "here" is this file,
"threads" is stress/test_invariants.py:

1. STARTED, updates, one terminal, completion, and nothing after: here
2. One common order for all, each log the end of the first one's:
    properties/test_task.py::test_every_listener_hears_the_same_story_from_its_moment_on
    stress/test_tasks.py::test_producers_listeners_and_ends_at_once
3. Exactly one terminal for everybody, whenever they come: as 2, and test_01 for observers
4. No update from before one came: here
5. Of racing ends one wins, all views agree: here, threads
6. What a listener raises is reported once and reaches nobody: here, threads
7. A listener that never returns delays nobody, and costs one thread: threads
    integration/test_calls.py::test_a_listener_that_never_returns_holds_back_nobody
    unit/streams/test_delivery.py::test_however_many_listeners_block_the_others_are_served
8. A listener may submit and wait on the only worker: threads
9. After a wait the status is final, the outputs are there, the listeners were told: here, threads
10. A removed listener is not called again, and freed: here
    unit/task/test_task.py::test_a_removed_listener_and_an_ended_task_keep_nothing_alive
11. A crash fails the running task, errors the messages, and the queue goes on:
    faults/test_deaths.py::test_a_death_in_a_task_fails_that_task_alone
    unit/pool/test_pool.py::test_a_death_fails_the_running_task_alone_and_the_queue_goes_on
    unit/worker/test_worker.py::test_the_stream_of_messages_completes_after_an_exit_and_errors_after_a_crash
12. Mapping has limits, is lazy, closes the generator, cancels on close, takes linear time and flat memory: here
    properties/test_operators.py::test_in_order_nothing_is_lost_and_the_limits_hold
    properties/test_operators.py::test_as_they_come_nothing_is_lost_and_the_limits_hold
    unit/operators/test_windowed.py::test_an_item_is_pulled_when_there_is_room_for_it_and_not_before
    unit/operators/test_windowed.py::test_disposing_stops_what_runs_and_closes_the_generator
    unit/operators/test_work.py::test_disposing_cancels_the_tasks_that_have_not_ended_the_newest_first
    unit/pool/test_mapping.py::test_leaving_early_cancels_what_is_left_the_last_first
13. A flood costs bounded memory; the newest update and the terminal arrive:
    unit/task/test_flood.py::test_beyond_that_the_newest_update_replaces_the_last_one_and_nothing_else_is_lost
    unit/task/test_flood.py::test_what_is_kept_for_a_listener_that_does_not_come_back_is_bounded
14. No lock is held during any callback: threads
15. No thread is left, and none is needed for a program to end well: the fixture `nothing_is_left_behind`
    faults/test_liveness.py::test_a_host_that_ends_by_itself_is_quick_and_silent_and_leaves_nothing
16. A task is no collection:
    unit/task/test_task.py::test_a_task_is_no_collection
"""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as some
from reactivex import Observable

from tests.properties.test_task import ENDS, STEP, TERMINALS, Audience
from wetlands_rx._task.lifecycle import Dispatched
from wetlands_rx._wire.messages import Finished, OutputSet, Updated
from wetlands_rx.exceptions import ExecutionException, InvalidStateError
from wetlands_rx.operators import concat_map_eager, from_items, merge_map
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus
from wetlands_rx.testing import WORKER, FakeRunner

STARTED, UPDATE, COMPLETION, FAILURE, CANCELATION = TaskEventType
ERRORS = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit]
COMPLETED = "completed"


class Stories(Audience):
    """Observers who come at any time, and what each was told, with the end of the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stories: list[list[Any]] = []

    def observe(self) -> None:
        story: list[Any] = []
        self.stories.append(story)
        self.task.subscribe(lambda event: story.append(event.type), story.append, lambda: story.append(COMPLETED))


@given(some.lists(STEP, max_size=20), some.sampled_from(ENDS), some.lists(STEP, max_size=6))
def test_01_a_story_is_started_then_updates_then_one_terminal_then_completion(
    steps: list[Any], end: Any, late: list[Any]
) -> None:
    audience = Stories()
    for step in (Dispatched(WORKER), *steps, end, "deliver", *late, "deliver"):
        audience.observe()
        audience.play([step])
    audience.observe()
    for story in audience.stories:
        *before, terminal, completed = story
        assert completed is COMPLETED
        assert terminal in TERMINALS
        assert all(kind is UPDATE for kind in before[1:])
        assert set(before[:1]) <= {STARTED, UPDATE}
    for log in audience.logs:
        assert [event.type in TERMINALS for event in log] == [False] * (len(log) - 1) + [True]


@given(some.lists(some.sampled_from(["update", "listen", "subscribe", "deliver"]), max_size=40))
def test_04_a_listener_hears_exactly_the_updates_that_came_after_it(steps: list[str]) -> None:
    audience = Audience()
    audience.play([Dispatched(WORKER)])
    came_after, updates = [0], 0
    for step in steps:
        if step == "update":
            updates += 1
            audience.post(Updated(1, None, updates, None))
        else:
            audience.play([step])
            came_after += [updates] * (len(audience.logs) - len(came_after))
    audience.play([Finished(1, None), "deliver"])
    for since, log in zip(came_after, audience.logs, strict=True):
        assert [event.current for event in log if event.type is UPDATE] == list(range(since + 1, updates + 1))


def views(task: Task[Any]) -> set[TaskStatus]:
    """How a task has ended, by each way to ask for it."""
    seen = {task.status, waited(task), of_the_future(task.future), of_the_result(task)}
    task.listen(lambda event: seen.add(status_of(event)))
    task.subscribe(lambda event: seen.add(status_of(event)))
    return seen


def status_of(event: TaskEvent[Any]) -> TaskStatus:
    return {
        COMPLETION: TaskStatus.COMPLETED,
        FAILURE: TaskStatus.FAILED,
        CANCELATION: TaskStatus.CANCELED,
    }[event.type]


def waited(task: Task[Any]) -> TaskStatus:
    try:
        return task.wait_for(0).status
    except ExecutionException:
        return TaskStatus.FAILED


def of_the_future(future: concurrent.futures.Future[Any]) -> TaskStatus:
    if future.cancelled():
        return TaskStatus.CANCELED
    return TaskStatus.COMPLETED if future.exception(0) is None else TaskStatus.FAILED


def of_the_result(task: Task[Any]) -> TaskStatus:
    try:
        _ = task.result
    except InvalidStateError:
        return TaskStatus.CANCELED if task.error is None else TaskStatus.FAILED
    return TaskStatus.COMPLETED


@given(
    some.lists(some.sampled_from(ENDS), min_size=1, max_size=4),
    some.lists(some.sampled_from(["listen", "future", "deliver"]), max_size=4),
)
def test_05_of_several_ends_the_first_counts_and_all_views_agree(ends: list[Any], between: list[str]) -> None:
    told: set[TaskStatus] = set()
    lone, raced = Audience(), Audience()
    raced.task.listen(lambda event: told.add(status_of(event)) if event.type in TERMINALS else None)
    lone.play([Dispatched(WORKER), ends[0], "deliver"])
    raced.play([Dispatched(WORKER), *between, *ends, "deliver", *ends, "deliver"])
    assert views(raced.task) == told == {lone.task.status}


@contextmanager
def reports() -> Generator[list[logging.LogRecord]]:
    """What the library logs."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log = logging.getLogger("wetlands_rx")
    log.addHandler(handler)
    try:
        yield records
    finally:
        log.removeHandler(handler)


@given(
    kinds=some.lists(some.sampled_from([None, *ERRORS]), min_size=1, max_size=6),
    updates=some.integers(0, 5),
    finished=some.booleans(),
)
def test_06_each_raise_of_a_listener_is_reported_once_and_disturbs_nobody(
    kinds: list[type[BaseException] | None], updates: int, *, finished: bool
) -> None:
    runner = FakeRunner()
    task = runner.task()
    heard: list[list[TaskEventType]] = [[] for _ in kinds]

    def listener(place: int, error: type[BaseException] | None) -> Callable[[TaskEvent[Any]], None]:
        def hear(event: TaskEvent[Any]) -> None:
            heard[place].append(event.type)
            if error is not None:
                raise error

        return hear

    for place, error in enumerate(kinds):
        task.listen(listener(place, error))
    with reports() as told:
        runner.dispatch(task)
        for number in range(updates):
            runner.update(task, current=number)
        if finished:
            runner.finish(task, 42)
        else:
            runner.fail(task)
    story = [STARTED, *[UPDATE] * updates, COMPLETION if finished else FAILURE]
    assert heard == [story] * len(kinds)
    raised = [record.exc_info[0] for record in told if record.exc_info]
    assert len(raised) == len(told) == len(story) * sum(error is not None for error in kinds)
    assert task.future.done()


@given(some.lists(some.sampled_from([OutputSet(1, "a", 1), OutputSet(1, "b", 2), Updated(1, "x", 1, 2)]), max_size=10))
def test_09_at_the_end_of_a_wait_all_has_come_and_been_told(steps: list[Any]) -> None:
    audience = Audience()
    audience.play([Dispatched(WORKER), *steps, Finished(1, 42), "deliver"])
    task = audience.task.wait_for(0)
    assert task.outputs == {step.key: step.value for step in steps if isinstance(step, OutputSet)}
    assert audience.logs[0][-1].type is COMPLETION


class Plan(NamedTuple):
    """Which listeners one of them removes at its n-th event, and how it is removed itself."""

    at: int
    removes: list[int]
    disposes: bool


class Leaver:
    """A listener that follows its plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.subscription: Any = None
        self.calls = 0
        self.removed = False
        self.called_afterwards = False
        self.others: list[Leaver] = []

    def hear(self, event: TaskEvent[Any]) -> None:
        self.called_afterwards = self.called_afterwards or self.removed
        self.calls += 1
        if self.calls == self.plan.at and event.type not in TERMINALS:
            for place in self.plan.removes:
                self.others[place % len(self.others)].leave(event.task)

    def join(self, task: Task[Any], others: list[Leaver]) -> None:
        self.others = others
        if self.plan.disposes:
            self.subscription = task.subscribe(self.hear)
        else:
            task.listen(self.hear)

    def leave(self, task: Task[Any]) -> None:
        if self.plan.disposes:
            self.subscription.dispose()
        elif not self.removed:
            task.remove_listener(self.hear)
        self.removed = True


def joined(leavers: list[Leaver], task: Task[Any]) -> None:
    for leaver in leavers:
        leaver.join(task, leavers)


def let_go(leavers: list[Leaver]) -> None:
    """Only the task may hold them now."""
    while leavers:
        leaver = leavers.pop()
        leaver.others = []
        leaver.subscription = None  # it holds its observer, and that one the leaver


PLANS = some.builds(Plan, some.integers(1, 5), some.lists(some.integers(0, 5), max_size=3), some.booleans())


@given(some.lists(PLANS, min_size=1, max_size=6), some.integers(0, 6))
def test_10_a_listener_that_was_removed_is_not_called_again_and_let_go(plans: list[Plan], updates: int) -> None:
    runner = FakeRunner()
    task = runner.task()
    leavers = [Leaver(plan) for plan in plans]
    joined(leavers, task)
    post = runner.call(task).post
    post(Dispatched(WORKER))
    for number in range(updates):
        post(Updated(1, None, number, None))
    runner.finish(task)
    assert not any(leaver.called_afterwards for leaver in leavers)
    assert all(leaver.removed or leaver.calls == updates + 2 for leaver in leavers)
    known = [weakref.ref(leaver) for leaver in leavers]
    let_go(leavers)
    assert not any(one() for one in known)


class Item:
    """Something that can be seen to be gone."""

    def __init__(self, number: int) -> None:
        self.number = number


class Cost:
    """What mapping so many items costs: Python calls, and items alive at once."""

    def __init__(self, operator: Callable[[], Callable[[Observable[Any]], Observable[Any]]], items: int) -> None:
        self.alive: weakref.WeakSet[Item] = weakref.WeakSet()
        self.most_alive = self.calls = self.results = 0
        source = from_items(self.items(items)).pipe(operator())
        sys.setprofile(self.count)
        try:
            source.subscribe(self.take)
        finally:
            sys.setprofile(None)

    def items(self, count: int) -> Generator[Item]:
        for number in range(count):
            item = Item(number)
            self.alive.add(item)
            yield item
            del item

    def take(self, item: Item) -> None:
        self.results += 1
        self.most_alive = max(self.most_alive, len(self.alive))

    def count(self, _frame: object, _event: str, _arg: object) -> None:
        self.calls += 1


@pytest.mark.parametrize("operator", [merge_map, concat_map_eager])
def test_12_mapping_takes_linear_time_and_flat_memory(operator: Any) -> None:
    few, many = (Cost(lambda: operator(reactivex.just, 4), items) for items in (1_000, 10_000))
    assert (few.results, many.results) == (1_000, 10_000)
    assert many.calls < 12 * few.calls
    assert many.most_alive <= 10  # the window of eight, the one that is told and the one that is made
