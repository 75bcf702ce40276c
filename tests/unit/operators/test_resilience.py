"""run_in and what begins it anew, over tasks that the test drives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from tests.unit.operators.by_hand import FILE, SOON, ByHand, Log, at, work
from wetlands_rx.operators import (
    fallback_to,
    from_items,
    hedge,
    merge_map,
    retry_on_worker_death,
    retry_task,
    run_in,
)


@pytest.fixture
def env() -> ByHand:
    return ByHand()


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


# --- run_in


def test_each_subscription_runs_a_task(env: ByHand) -> None:
    run = run_in(env, FILE, "work", "a")
    assert env.tasks == []
    first, second = Log(run), Log(run)
    env.finish(1, "two")
    env.finish(0, "one")
    assert (first, second) == (["one", "|"], ["two", "|"])
    assert env.items == ["a", "a"]


def test_a_function_may_be_given_itself_with_its_arguments(env: ByHand) -> None:
    log = Log(run_in(env, work, "a"))
    env.finish(0, "A")
    assert log == ["A", "|"]
    assert env.tasks[0].name == "by_hand.py:work"


def test_a_task_that_has_ended_before_anybody_looks_is_not_missed(env: ByHand) -> None:
    env.quick = True
    log = Log(run_in(env, FILE, "work"))
    env.deliver()
    assert log == ["quick", "|"]


def test_the_run_that_is_too_late_is_canceled_at_the_first_value(clock: TestScheduler) -> None:
    runs: list[Subject[int]] = []

    def begin(_scheduler: object) -> Subject[int]:
        runs.append(Subject())
        return runs[-1]

    log = Log(reactivex.defer(begin).pipe(hedge(50, scheduler=clock)))
    clock.start()
    runs[1].on_next(1)
    assert not runs[0].observers
    runs[1].on_next(2)
    runs[1].on_completed()
    assert log == ["1", "2", "|"]


def test_disposing_cancels_the_task(env: ByHand) -> None:
    Log(run_in(env, FILE, "work")).subscription.dispose()
    assert env.states == ["canceled"]


def canceled(env: ByHand, place: int) -> None:
    env.tasks[place].cancel()
    env.deliver()


@pytest.mark.parametrize(
    ("end", "told"),
    [(ByHand.fail, "# ExecutionException"), (ByHand.kill, "# WorkerDiedError"), (canceled, "# CancelledError")],
)
def test_a_task_without_a_result_is_an_error(env: ByHand, end: Callable[[ByHand, int], None], told: str) -> None:
    log = Log(run_in(env, FILE, "work"))
    end(env, 0)
    assert log == [told]


def test_what_submit_raises_is_an_error(env: ByHand) -> None:
    assert Log(run_in(env, "nowhere.py", "work")) == ["# FileNotFoundError"]
    assert Log(run_in(env, FILE, "work", threading.Lock())) == ["# SerializationError"]
    env.exit()
    assert Log(run_in(env, FILE, "work")) == ["# NotLaunchedError"]


# --- retry


def test_a_run_whose_worker_died_begins_anew(env: ByHand) -> None:
    log = Log(run_in(env, FILE, "work").pipe(retry_on_worker_death(2)))
    env.kill(0)
    env.kill(1)
    env.finish(2, "R")
    assert log == ["R", "|"]
    assert len(env.tasks) == 3


def test_a_run_whose_workers_keep_dying_ends(env: ByHand) -> None:
    log = Log(run_in(env, FILE, "work").pipe(retry_on_worker_death(1)))
    env.kill(0)
    env.kill(1)
    assert log == ["# WorkerDiedError"]
    assert len(env.tasks) == 2


def test_a_function_that_raises_is_not_a_worker_that_died(env: ByHand) -> None:
    log = Log(run_in(env, FILE, "work").pipe(retry_on_worker_death(5)))
    env.fail(0)
    assert log == ["# ExecutionException"]


def test_the_next_run_begins_after_a_pause(env: ByHand, clock: TestScheduler) -> None:
    run = run_in(env, FILE, "work").pipe(retry_task(3, lambda failures: 10.0 * failures, scheduler=clock))
    log = Log(run)
    counts: list[int] = []
    at(clock, 100, lambda: env.fail(0))
    at(clock, 109, lambda: counts.append(len(env.tasks)))
    at(clock, 111, lambda: env.fail(1))
    at(clock, 130, lambda: counts.append(len(env.tasks)))
    at(clock, 132, lambda: env.finish(2, "R"))
    clock.start()
    assert counts == [1, 2]
    assert log == ["R", "|"]


def test_only_failures_that_are_worth_it_are_tried_again(env: ByHand) -> None:
    log = Log(run_in(env, FILE, "work").pipe(retry_task(9, when=lambda error: "memory" in error.error)))
    env.fail(0, "RuntimeError: out of memory")
    env.fail(1, "ValueError: no")
    assert log == ["# ExecutionException"]


def test_what_when_raises_is_the_error(env: ByHand) -> None:
    log = Log(run_in(env, FILE, "work").pipe(retry_task(9, when=lambda error: len(error.error) < 1 // 0)))
    env.fail(0)
    assert log == ["# ZeroDivisionError"]


def test_an_environment_that_exits_is_not_tried_again(env: ByHand) -> None:
    log = Log(run_in(env, FILE, "work").pipe(retry_task(9)))
    env.gone = True
    env.fail(0)
    assert log == ["# NotLaunchedError"]


def test_disposing_cancels_what_runs_or_forgets_what_was_to_come(env: ByHand, clock: TestScheduler) -> None:
    run = run_in(env, FILE, "work").pipe(retry_task(9, 10, scheduler=clock))
    running, pausing = Log(run), Log(run)
    at(clock, 100, lambda: env.fail(1))
    at(clock, 105, lambda: (running.subscription.dispose(), pausing.subscription.dispose()))
    clock.start()
    assert env.states == ["canceled", "failed"]
    assert running == pausing == []


def test_a_source_that_fails_at_once_many_times_does_not_pile_up_calls() -> None:
    from wetlands_rx.exceptions import ExecutionException

    assert Log(reactivex.throw(ExecutionException("no")).pipe(retry_task(5000))) == ["# ExecutionException"]


def test_in_a_stream_each_item_is_tried_again_for_itself(env: ByHand) -> None:
    log = Log(
        from_items("ab").pipe(merge_map(lambda item: run_in(env, FILE, "work", item).pipe(retry_on_worker_death(1)), 2))
    )
    env.kill(0)
    env.finish(1, "B")
    env.finish(2, "A")
    assert env.items == ["a", "b", "a"]
    assert log == ["B", "A", "|"]


def test_without_a_scheduler_the_librarys_threads_wait() -> None:
    env = ByHand()
    again = threading.Event()
    log = Log(run_in(env, FILE, "work").pipe(ops.do_action(on_error=lambda _error: None), retry_task(1, 0.001)))
    submit = env.submit
    env.submit = lambda *args, **options: (submit(*args, **options), again.set())[0]  # type: ignore[method-assign]
    env.fail(0)
    assert again.wait(SOON)
    log.subscription.dispose()
    assert env.states == ["failed", "canceled"]


# --- hedge


def hedged(env: ByHand, clock: TestScheduler, *steps: tuple[float, Callable[[], object]]) -> Log:
    log = Log(run_in(env, FILE, "work").pipe(hedge(50, scheduler=clock)))
    for time, step in steps:
        at(clock, time, step)
    clock.start()
    return log


def test_a_run_that_is_quick_runs_once(env: ByHand, clock: TestScheduler) -> None:
    assert hedged(env, clock, (40, lambda: env.finish(0, "R"))) == ["R", "|"]
    assert len(env.tasks) == 1


def test_the_first_result_counts_and_the_other_run_is_canceled(env: ByHand, clock: TestScheduler) -> None:
    env_states: list[list[str]] = []
    log = hedged(env, clock, (60, lambda: env.finish(1, "2nd")), (61, lambda: env_states.append(env.states)))
    assert log == ["2nd", "|"]
    assert env_states == [["canceled", "completed"]]


def test_the_first_run_may_still_win(env: ByHand, clock: TestScheduler) -> None:
    assert hedged(env, clock, (60, lambda: env.finish(0, "1st"))) == ["1st", "|"]
    assert env.states == ["completed", "canceled"]


def test_an_error_before_the_second_run_is_the_error(env: ByHand, clock: TestScheduler) -> None:
    assert hedged(env, clock, (40, lambda: env.fail(0))) == ["# ExecutionException"]
    assert len(env.tasks) == 1


def test_an_error_of_one_run_leaves_the_other_its_chance(env: ByHand, clock: TestScheduler) -> None:
    log = hedged(env, clock, (60, lambda: env.fail(0)), (70, lambda: env.finish(1, "2nd")))
    assert log == ["2nd", "|"]


def test_two_errors_are_an_error(env: ByHand, clock: TestScheduler) -> None:
    log = hedged(env, clock, (60, lambda: env.kill(1)), (70, lambda: env.fail(0)))
    assert log == ["# ExecutionException"]


def test_disposing_cancels_both_runs(env: ByHand, clock: TestScheduler) -> None:
    log = Log(run_in(env, FILE, "work").pipe(hedge(50, scheduler=clock)))
    at(clock, 60, log.subscription.dispose)
    clock.start()
    assert env.states == ["canceled", "canceled"]
    assert log == []


def test_without_a_scheduler_the_librarys_threads_begin_the_second_run() -> None:
    source, second = Subject[int](), threading.Event()
    count: list[int] = []

    def begin(_scheduler: object) -> Any:
        count.append(1)
        if len(count) == 2:
            second.set()
        return source

    log = Log(reactivex.defer(begin).pipe(hedge(0.001)))
    assert second.wait(SOON)
    log.subscription.dispose()


# --- fallback_to


def test_what_failed_runs_in_the_other_environment() -> None:
    gpu, cpu = ByHand(), ByHand()
    log = Log(run_in(gpu, FILE, "work", "a").pipe(fallback_to(cpu)))
    gpu.fail(0, "RuntimeError: out of memory")
    cpu.finish(0, "R")
    assert cpu.items == ["a"]
    assert log == ["R", "|"]


def test_an_environment_that_is_not_launched_is_a_failure_too() -> None:
    gpu, cpu = ByHand(), ByHand()
    gpu.exit()
    log = Log(run_in(gpu, FILE, "work").pipe(fallback_to(cpu)))
    cpu.finish(0, "R")
    assert log == ["R", "|"]


def test_what_stands_before_it_is_done_in_both_places() -> None:
    gpu, cpu, last = ByHand(), ByHand(), ByHand()
    log = Log(run_in(gpu, FILE, "work").pipe(retry_on_worker_death(1), fallback_to(cpu), fallback_to(last)))
    for env in (gpu, cpu):
        env.kill(0)
        env.kill(1)
    last.finish(0, "R")
    assert [len(env.tasks) for env in (gpu, cpu, last)] == [2, 2, 1]
    assert log == ["R", "|"]


def test_only_errors_that_are_worth_it_change_the_place() -> None:
    gpu, cpu = ByHand(), ByHand()
    log = Log(run_in(gpu, FILE, "work").pipe(fallback_to(cpu, when=lambda error: "memory" in str(error))))
    gpu.fail(0, "ValueError: no")
    assert log == ["# ExecutionException"]
    assert cpu.tasks == []


def test_what_the_choice_raises_is_the_error() -> None:
    gpu, cpu = ByHand(), ByHand()
    log = Log(run_in(gpu, FILE, "work").pipe(fallback_to(cpu, when=lambda _error: 1 // 0 == 1)))
    gpu.fail(0)
    assert log == ["# ZeroDivisionError"]


def test_disposing_cancels_the_run_in_either_place() -> None:
    gpu, cpu = ByHand(), ByHand()
    first, second = (Log(run_in(gpu, FILE, "work").pipe(fallback_to(cpu))) for _ in range(2))
    gpu.fail(1)
    first.subscription.dispose()
    second.subscription.dispose()
    assert (gpu.states, cpu.states) == (["canceled", "failed"], ["canceled"])


def test_it_wants_something_that_can_run_elsewhere(env: ByHand) -> None:
    with pytest.raises(TypeError, match="run_in"):
        reactivex.of(1).pipe(fallback_to(env))


# --- all


@pytest.mark.parametrize("operator", [retry_task, retry_on_worker_death, hedge])
def test_numbers_are_not_negative(operator: Callable[[int], object]) -> None:
    with pytest.raises(ValueError, match="negative"):
        operator(-1)
