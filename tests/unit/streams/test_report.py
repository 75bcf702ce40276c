"""What is raised is told; neither the log's handlers nor the names of callables can stop that."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from wetlands_rx._streams.mailbox import Mailbox, Step
from wetlands_rx._streams.report import described, report, warn
from wetlands_rx._streams.subject import Last, Listener, SerialSubject
from wetlands_rx.testing import ManualDelivery


class Raising(logging.Handler):
    """What `logging.Handler.handle` may let out: nothing catches it in the log itself."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise SystemExit("the handler")


@pytest.fixture
def broken_log() -> Iterator[None]:
    logger, handler = logging.getLogger("wetlands_rx"), Raising()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


class Nameless:
    """Raises when it is asked for its name, and when it is called."""

    def __getattribute__(self, name: str) -> object:
        if name in {"__qualname__", "__module__"}:
            raise KeyboardInterrupt(name)
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        raise ValueError("repr")

    def __call__(self, event: object) -> None:
        raise ValueError("the listener")


def fail() -> None:
    raise ValueError("no")


def try_to(call: Callable[[], None]) -> None:
    try:
        call()
    except ValueError:
        report("%s failed", "it")


def test_what_is_raised_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try_to(fail)
    assert caplog.records[0].getMessage() == "it failed"
    assert "ValueError: no" in caplog.text


@pytest.mark.usefixtures("broken_log")
def test_a_log_handler_that_raises_sends_the_report_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    try_to(fail)
    told = capsys.readouterr().err
    assert "ValueError: no" in told
    assert "the handler" in told


@pytest.mark.usefixtures("broken_log")
@pytest.mark.parametrize("closed", [False, True])
def test_without_a_standard_error_there_is_silence(closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream if closed else None)
    try_to(fail)
    warn("nobody hears it")


@pytest.mark.parametrize("callback", [Nameless(), partial(print), fail, print, Nameless])
def test_every_callable_has_a_name(callback: Callable[..., object]) -> None:
    assert described(callback)


def test_a_function_is_named_with_its_module() -> None:
    assert described(fail) == f"{__name__}.fail"


@pytest.mark.usefixtures("broken_log")
def test_listeners_after_one_that_raises_are_told_though_the_log_raises_too() -> None:
    seen: list[int] = []
    delivery = ManualDelivery()
    bad, good = Listener[int](Nameless(), Nameless(), "it"), Listener[int](seen.append, None, "it")

    def handle(item: int, _number: int) -> list[Step]:
        return [(None, fail), (bad, Last(item)), (good, item)]

    mailbox = Mailbox(handle, delivery)
    mailbox.post(1)
    delivery.soon(fail)
    mailbox.post(2)
    delivery.run()
    assert seen == [1, 2]


@pytest.mark.usefixtures("broken_log")
def test_a_subject_goes_on_after_an_observer_and_the_log_have_raised() -> None:
    seen: list[int] = []
    subject = SerialSubject[int]()
    subject.subscribe(lambda _item: fail())
    subject.subscribe(seen.append)
    subject.emit(1)
    subject.emit(2)
    assert seen == [1, 2]
