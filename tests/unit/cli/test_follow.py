"""Following a batch: what is left out when nobody reads."""

from __future__ import annotations

import logging
import signal
from queue import SimpleQueue
from typing import Any, cast

from wetlands_rx import Task, TaskEvent, TaskEventType
from wetlands_rx._cli import follow
from wetlands_rx._cli.logs import records_into
from wetlands_rx.logger import LogContext, log, logger
from wetlands_rx.task import TaskOutput

NO_TASK = cast("Task[Any]", None)


def test_only_progress_is_left_out_when_too_much_waits() -> None:
    queue: SimpleQueue[Any] = SimpleQueue()
    listen = follow.listener(queue, 7)
    for number in range(follow.MOST_WAITING + 5):
        listen(TaskEvent(NO_TASK, TaskEventType.UPDATE, current=number))
    assert queue.qsize() == follow.MOST_WAITING
    listen(TaskEvent(NO_TASK, TaskEventType.UPDATE, output=TaskOutput("key", 1)))
    listen(TaskEvent(NO_TASK, TaskEventType.FAILURE))
    assert queue.qsize() == follow.MOST_WAITING + 2
    assert queue.get() == (7, TaskEvent(NO_TASK, TaskEventType.UPDATE, current=0))


def test_what_functions_print_and_what_the_library_warns_of_is_told() -> None:
    queue: SimpleQueue[Any] = SimpleQueue()
    with records_into(follow.log_taker(queue)):
        log(logging.INFO, "%s printed", LogContext(worker_index=1, stream="stdout"))
        log(logging.INFO, "logged", LogContext(call_target="a.py:f"))
        log(logging.INFO, "chatter", LogContext(env_name="here"))
        log(logging.WARNING, "beware", LogContext())
    assert [queue.get() for _ in range(queue.qsize())] == ["worker 1: %s printed", "logged", "beware"]


def test_the_logger_is_left_as_it_was() -> None:
    before = logger.level, logger.propagate, list(logger.handlers)
    with records_into(lambda _record: None):
        assert not logger.propagate
    assert (logger.level, logger.propagate, logger.handlers) == before


def test_ctrl_c_is_ignored_for_a_while_and_then_heard_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with follow.interrupts_ignored():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
