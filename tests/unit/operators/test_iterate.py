"""A stream as a blocking iterator."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import reactivex
from reactivex import Subject

from wetlands_rx.operators import iterate, updates
from wetlands_rx.task import TaskEventType
from wetlands_rx.testing import FakeRunner

SOON = 10.0
STARTED, UPDATE, COMPLETION, *_ = TaskEventType


def test_a_task_is_iterated_to_its_end_from_another_thread() -> None:
    runner = FakeRunner()
    task = runner.task()
    events = task.pipe(iterate(SOON))

    def run() -> None:
        runner.dispatch(task)
        runner.update(task, "half", current=1, maximum=2)
        runner.finish(task, 42)

    thread = threading.Thread(target=run)
    thread.start()
    seen = list(events)
    thread.join(SOON)
    assert [event.type for event in seen] == [STARTED, UPDATE, COMPLETION]
    assert [event.type for event in task.pipe(updates(), iterate())] == []  # an ended task tells its end alone


def test_the_stream_may_hold_none_and_exceptions_as_items() -> None:
    items: list[Any] = [None, ValueError("an item"), (1,)]
    assert list(reactivex.from_iterable(items).pipe(iterate())) == items


def test_an_error_of_the_stream_is_raised_after_its_items() -> None:
    source = reactivex.concat(reactivex.just(1), reactivex.throw(ValueError("no")))
    items = source.pipe(iterate(SOON))
    assert next(items) == 1
    with pytest.raises(ValueError, match="no"):
        next(items)
    assert list(items) == []


def test_a_wait_has_an_end_and_then_nobody_listens() -> None:
    source: Subject[int] = Subject()
    items = source.pipe(iterate(0.01))
    assert source.observers
    with pytest.raises(TimeoutError, match=r"no item came within 0\.01 s"):
        next(items)
    assert not source.observers
    assert list(items) == []


def test_leaving_the_block_unsubscribes() -> None:
    source: Subject[int] = Subject()
    with source.pipe(iterate(SOON)) as items:
        source.on_next(1)
        source.on_next(2)
        assert next(items) == 1
    assert not source.observers
    assert list(items) == []


def test_closing_ends_the_wait_of_another_thread() -> None:
    source: Subject[int] = Subject()
    items = source.pipe(iterate(SOON))
    seen: list[list[int]] = []
    thread = threading.Thread(target=lambda: seen.append(list(items)))
    thread.start()
    items.close()
    thread.join(SOON)
    assert seen == [[]]


def test_one_that_is_dropped_is_unsubscribed_with_the_next_item() -> None:
    source: Subject[int] = Subject()
    items = source.pipe(iterate(SOON))
    del items
    gc.collect()
    source.on_next(1)
    assert not source.observers


@pytest.mark.parametrize(("timeout", "error"), [("soon", TypeError), (-1, ValueError), (float("nan"), ValueError)])
def test_what_cannot_be_meant_is_refused(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout is"):
        iterate(timeout)
