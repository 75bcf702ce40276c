"""map_in, switch_map_in and exhaust_map_in, over tasks that the test drives."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Generator
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject

from tests.unit.operators.by_hand import FILE, ByHand, Log, work
from wetlands_rx.operators import exhaust_map_in, from_items, map_in, switch_map_in
from wetlands_rx.task import Task
from wetlands_rx.testing import FakeRunner

single = pytest.mark.parametrize("operator", [switch_map_in, exhaust_map_in])


@pytest.fixture
def env() -> ByHand:
    return ByHand()


def started(env: ByHand, items: Any = "abc", **options: Any) -> Log:
    log = Log(from_items(items).pipe(map_in(env, FILE, "work", **options)))
    env.deliver()
    return log


# --- map_in


def test_results_come_in_the_order_of_the_items(env: ByHand) -> None:
    log = started(env)
    env.finish(1, "B")
    env.finish(2, "C")
    assert log == []
    env.finish(0, "A")
    assert log == ["A", "B", "C", "|"]


def test_results_come_as_tasks_end_when_that_is_wanted(env: ByHand) -> None:
    log = started(env, ordered=False)
    env.finish(1, "B")
    env.finish(0, "A")
    env.finish(2, "C")
    assert log == ["B", "A", "C", "|"]


def test_a_function_may_be_given_itself(env: ByHand) -> None:
    log = Log(from_items("a").pipe(map_in(env, work)))
    env.deliver()
    assert env.tasks[0].name == "by_hand.py:work"
    env.finish(0, "A")
    assert log == ["A", "|"]


def test_no_more_is_submitted_than_may_run_at_once(env: ByHand) -> None:
    started(env, range(10), max_concurrent=2)
    assert env.items == [0, 1]
    env.finish(0)
    assert env.items == [0, 1, 2]


def test_without_a_limit_each_worker_has_one_task_and_another_waits(env: ByHand) -> None:
    env.worker_count = 3
    started(env, range(20))
    assert len(env.tasks) == 6


def test_results_that_wait_for_an_earlier_one_fill_the_window(env: ByHand) -> None:
    started(env, range(10), max_concurrent=2, window=3)
    env.finish(1)
    env.finish(2)
    assert env.items == [0, 1, 2]
    env.finish(0)
    assert env.items == [0, 1, 2, 3, 4]


def test_a_generator_is_pulled_on_a_delivery_thread_when_there_is_room(env: ByHand) -> None:
    pulled: list[int] = []

    def items() -> Generator[int]:
        for item in range(10):
            pulled.append(item)
            yield item

    subscription = from_items(items()).pipe(map_in(env, FILE, "work", max_concurrent=2)).subscribe()
    assert pulled == []
    env.deliver()
    assert pulled == [0, 1]
    subscription.dispose()


def test_two_environments_hand_over_at_most_a_window() -> None:
    first, second = ByHand(), ByHand()
    log = Log(
        from_items(range(100)).pipe(
            map_in(first, FILE, "work", max_concurrent=2, window=4),
            map_in(second, FILE, "work", max_concurrent=1, window=2),
        )
    )

    def settle() -> None:
        for _ in range(5):
            first.deliver()
            second.deliver()

    settle()
    for place in range(20):
        if place < len(first.tasks):
            first.finish(place, place)
            settle()
    assert second.items == [0]
    assert len(first.tasks) <= 1 + 4 + 1, "the second one stands still, and so does the first"
    second.finish(0, "zero")
    settle()
    assert log == ["zero"]
    assert second.items == [0, 1]
    log.subscription.dispose()
    settle()
    assert "pending" not in first.states + second.states


@pytest.mark.parametrize(
    ("on_error", "told"),
    [
        ("raise", ["A", "# ExecutionException"]),
        ("emit", ["A", "by_hand.py:work: no", "C", "|"]),
        ("skip", ["A", "C", "|"]),
    ],
)
def test_a_failed_item_ends_the_stream_or_is_a_value_or_is_left_out(
    env: ByHand, on_error: str, told: list[str]
) -> None:
    log = started(env, on_error=on_error)
    env.finish(2, "C")
    env.fail(1, "no")
    env.finish(0, "A")
    assert log == told


@pytest.mark.parametrize(("on_error", "told"), [("raise", ["# CancelledError"]), ("skip", ["B", "|"])])
def test_a_task_that_somebody_cancels_counts_as_failed(env: ByHand, on_error: str, told: list[str]) -> None:
    log = started(env, "ab", on_error=on_error)
    env.tasks[0].cancel()
    env.finish(1, "B")
    assert log == told


@pytest.mark.parametrize(("on_error", "told"), [("raise", ["# SerializationError"]), ("skip", ["B", "|"])])
def test_an_item_that_cannot_be_sent_is_a_failed_item(env: ByHand, on_error: str, told: list[str]) -> None:
    log = started(env, [threading.Lock(), "b"], on_error=on_error)
    if env.tasks:
        env.finish(0, "B")
    assert log == told


def test_an_error_ends_the_stream_and_cancels_what_is_left(env: ByHand) -> None:
    log = started(env, ordered=False)
    env.runner.dispatch(env.tasks[0])
    env.fail(1)
    assert log == ["# ExecutionException"]
    assert env.states == ["running", "failed", "canceled"]
    assert env.runner.asked == [env.runner.call(env.tasks[0])]


def test_disposing_cancels_the_tasks_that_have_not_ended_the_newest_first(env: ByHand) -> None:
    log = started(env, "abcd", max_concurrent=4)
    env.runner.dispatch(env.tasks[0])
    env.finish(1, "B")
    log.subscription.dispose()
    assert env.states == ["running", "completed", "canceled", "canceled"]
    assert env.runner.withdrawn == [env.runner.call(env.tasks[3]), env.runner.call(env.tasks[2])]
    assert env.runner.asked == [env.runner.call(env.tasks[0])]
    env.finish(0, "A")
    assert log == []


def test_an_environment_that_is_not_launched_is_an_error_of_the_stream(env: ByHand) -> None:
    env.exit()
    assert Log(from_items("a").pipe(map_in(env, FILE, "work"))) == ["# NotLaunchedError"]


def test_an_environment_that_exits_meanwhile_is_an_error_even_when_failures_are_skipped(env: ByHand) -> None:
    log = started(env, range(9), max_concurrent=1, on_error="skip")
    env.gone = True
    env.fail(0)
    assert log == ["# NotLaunchedError"]


def test_a_file_that_is_not_there_is_an_error_of_the_stream(env: ByHand) -> None:
    log = Log(from_items("a").pipe(map_in(env, "nowhere.py", "work", on_error="skip")))
    env.deliver()
    assert log == ["# FileNotFoundError"]


def test_an_observer_that_raises_is_reported_and_hears_the_rest(env: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    log = Log()

    def picky(value: str) -> None:
        if value == "A":
            raise ValueError(value)
        log.on_next(value)

    from_items("ab").pipe(map_in(env, FILE, "work")).subscribe(picky, log.on_error, log.on_completed)
    env.deliver()
    env.finish(0, "A")
    env.finish(1, "B")
    assert log == ["B", "|"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_source_that_pushes_is_heard_from_the_moment_of_subscription(env: ByHand) -> None:
    source: Subject[str] = Subject()
    log = Log(source.pipe(map_in(env, FILE, "work")))
    source.on_next("a")
    source.on_completed()
    env.deliver()
    env.finish(0, "A")
    assert log == ["A", "|"]


def test_enough_results_cancel_the_rest(env: ByHand) -> None:
    log = Log(from_items("abc").pipe(map_in(env, FILE, "work"), ops.take(1)))
    env.deliver()
    env.finish(0, "A")
    assert log == ["A", "|"]
    assert env.states == ["completed", "canceled", "canceled"]


@pytest.mark.parametrize("limits", [{"max_concurrent": 0}, {"window": 0}, {"max_concurrent": 1, "window": -1}])
def test_limits_are_positive(env: ByHand, limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        map_in(env, FILE, "work", **limits)


@pytest.mark.parametrize("operator", [map_in, switch_map_in, exhaust_map_in])
def test_a_task_that_has_ended_before_anybody_looks_is_not_missed(env: ByHand, operator: Any) -> None:
    env.quick = True
    log = Log(from_items("a").pipe(operator(env, FILE, "work")))
    env.deliver()
    assert log == ["quick", "|"]


def test_ended_tasks_are_let_go(env: ByHand) -> None:
    source: Subject[str] = Subject()
    log = Log(source.pipe(map_in(env, FILE, "work")))
    source.on_next("a")
    env.deliver()
    first: weakref.ref[Task[Any]] = weakref.ref(env.tasks[0])
    env.finish(0, "A")
    env.tasks.clear()
    env.runner = FakeRunner()  # the one before remembers the calls
    gc.collect()
    assert first() is None
    assert log == ["A"]
    log.subscription.dispose()


# --- switch_map_in


def test_the_newest_item_cancels_the_running_task(env: ByHand) -> None:
    slider: Subject[int] = Subject()
    log = Log(slider.pipe(switch_map_in(env, FILE, "work")))
    slider.on_next(1)
    env.deliver()
    env.runner.dispatch(env.tasks[0])
    slider.on_next(2)
    assert env.runner.asked == [env.runner.call(env.tasks[0])]
    env.deliver()
    env.finish(0, "too late")
    env.finish(1, "two")
    assert log == ["two"]
    slider.on_completed()
    env.deliver()
    assert log == ["two", "|"]


def test_a_superseded_task_that_waits_never_runs_and_its_end_is_no_error(env: ByHand) -> None:
    slider: Subject[int] = Subject()
    log = Log(slider.pipe(switch_map_in(env, FILE, "work")))
    for item in (1, 2, 3):
        slider.on_next(item)
        env.deliver()
    assert env.states == ["canceled", "canceled", "pending"]
    env.finish(2, "three")
    assert log == ["three"]


def test_of_items_that_come_at_once_only_the_newest_is_submitted(env: ByHand) -> None:
    slider: Subject[int] = Subject()
    log = Log(slider.pipe(switch_map_in(env, FILE, "work")))
    for item in range(100):
        slider.on_next(item)
    slider.on_completed()
    env.deliver()
    assert env.items == [99]
    env.finish(0, "last")
    assert log == ["last", "|"]


# --- exhaust_map_in


def test_items_that_come_while_a_task_runs_are_left_out(env: ByHand) -> None:
    clicks: Subject[str] = Subject()
    log = Log(clicks.pipe(exhaust_map_in(env, FILE, "work")))
    for item in "ab":
        clicks.on_next(item)
        env.deliver()
    env.finish(0, "A")
    clicks.on_next("c")
    clicks.on_completed()
    env.deliver()
    env.finish(1, "C")
    assert env.items == ["a", "c"]
    assert log == ["A", "C", "|"]


# --- both


@single
@pytest.mark.parametrize(
    ("on_error", "told"), [("raise", ["# ExecutionException"]), ("emit", ["by_hand.py:work: no", "B"]), ("skip", ["B"])]
)
def test_a_failed_task_ends_the_stream_or_is_a_value_or_is_left_out(
    env: ByHand, operator: Any, on_error: str, told: list[str]
) -> None:
    source: Subject[str] = Subject()
    log = Log(source.pipe(operator(env, FILE, "work", on_error=on_error)))
    source.on_next("a")
    env.deliver()
    env.fail(0, "no")
    source.on_next("b")
    env.deliver()
    if len(env.tasks) > 1:
        env.finish(1, "B")
    assert log == told


@single
def test_an_item_that_cannot_be_sent_is_no_end_when_failures_are_skipped(env: ByHand, operator: Any) -> None:
    source: Subject[Any] = Subject()
    log = Log(source.pipe(operator(env, FILE, "work", on_error="skip")))
    source.on_next(threading.Lock())
    env.deliver()
    source.on_next("b")
    source.on_completed()
    env.deliver()
    env.finish(0, "B")
    assert log == ["B", "|"]


@single
def test_disposing_cancels_the_running_task(env: ByHand, operator: Any) -> None:
    source: Subject[str] = Subject()
    log = Log(source.pipe(operator(env, FILE, "work")))
    source.on_next("a")
    env.deliver()
    log.subscription.dispose()
    source.on_next("b")
    env.deliver()
    assert env.states == ["canceled"]
    assert log == []


@single
def test_an_error_of_the_source_cancels_the_running_task(env: ByHand, operator: Any) -> None:
    source: Subject[str] = Subject()
    log = Log(source.pipe(operator(env, FILE, "work")))
    source.on_next("a")
    source.on_error(OSError())
    env.deliver()
    assert log == ["# OSError"]
    assert env.states == ["canceled"]


@single
def test_an_environment_that_is_gone_is_an_error_of_the_stream(env: ByHand, operator: Any) -> None:
    source: Subject[str] = Subject()
    log = Log(source.pipe(operator(env, FILE, "work", on_error="skip")))
    env.exit()
    source.on_next("a")
    env.deliver()
    assert log == ["# NotLaunchedError"]
    assert Log(source.pipe(operator(env, FILE, "work"))) == ["# NotLaunchedError"]


@single
def test_a_source_without_items_just_ends(env: ByHand, operator: Any) -> None:
    log = Log(from_items(()).pipe(operator(env, FILE, "work")))
    env.deliver()
    assert log == ["|"]
