"""The output of real commands, line by line."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from wetlands_rx._worker.process_logger import ProcessLogger
from wetlands_rx.logger import LogContext, attach_log_handler, remove_log_handler

SOON = 20.0
Start = Callable[[str], tuple[ProcessLogger, Callable[[], None]]]
Lines = list[tuple[str, str | None]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a shell script that may wait for its input to be closed: `read line`."""
    running: list[tuple[subprocess.Popen[str], ProcessLogger]] = []

    def start(script: str) -> tuple[ProcessLogger, Callable[[], None]]:
        process = subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        reader = ProcessLogger(process, LogContext(log_source="environment", env_name="cells"))
        running.append((process, reader))
        reader.start_reading()
        return reader, process.stdin.close

    yield start
    for process, reader in running:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(SOON) == 0
        assert reader.join(SOON)


def test_a_line_is_waited_for(start: Start) -> None:
    reader, go_on = start("echo one; read line; echo two")
    assert reader.wait_for_line(lambda line: line == "one", SOON) == "one"
    assert reader.wait_for_line(lambda line: line == "two", 0.01) is None
    go_on()
    assert reader.wait_for_line(lambda line: line == "two", SOON) == "two"
    assert reader.wait_for_line(lambda line: line == "three") is None  # the output has ended
    assert reader.wait_for_line(lambda line: True, include_history=False) is None


def test_a_subscriber_hears_each_line_once_and_where_it_comes_from(start: Start) -> None:
    reader, go_on = start("echo one; read line; echo two >&2")
    assert reader.wait_for_line(lambda line: line == "one", SOON)
    whole, rest, left = Lines(), Lines(), Lines()

    def leaving(line: str, context: LogContext) -> None:
        left.append((line, context.get("call_target")))

    reader.subscribe(lambda line, context: whole.append((line, context.get("call_target"))))
    reader.subscribe(lambda line, context: rest.append((line, context.get("stream"))), include_history=False)
    reader.subscribe(leaving)
    reader.update_log_context(LogContext(call_target="second.sh"))
    reader.unsubscribe(leaving)
    go_on()
    assert reader.join(SOON)
    assert whole == [("one", None), ("two", "second.sh")]
    assert rest == [("two", "stderr")]
    assert left == [("one", None)]


def test_a_subscriber_and_a_handler_that_raise_do_not_end_the_reading(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise SystemExit("no")

    heard: list[str] = []
    handler = attach_log_handler(fail)
    try:
        reader, go_on = start("read line; echo one; echo two")
        reader.subscribe(fail)
        reader.subscribe(lambda line, context: heard.append(line))
        go_on()
        assert reader.join(SOON)
    finally:
        remove_log_handler(handler)
    assert (heard, reader.get_output()) == (["one", "two"], ["one", "two"])
    assert "SystemExit: no" in capsys.readouterr().err


def test_the_history_is_bounded(start: Start) -> None:
    reader, _ = start("i=0; while [ $i -lt 10010 ]; do echo $i; i=$((i + 1)); done")
    assert reader.join(SOON)
    output = reader.get_output()
    assert (len(output), output[0], output[-1]) == (10_000, "10", "10009")


def test_records_are_made_on_threads_of_its_own(start: Start) -> None:
    heard: list[tuple[str, object]] = []
    handler = attach_log_handler(
        lambda record: heard.append((threading.current_thread().name, record.__dict__["env_name"])), logging.INFO
    )
    try:
        reader, go_on = start("read line; echo one")
        go_on()
        assert reader.join(SOON)
    finally:
        remove_log_handler(handler)
    ((name, environment),) = heard
    assert name.startswith("wetlands-output-")
    assert environment == "cells"
