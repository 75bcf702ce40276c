"""The records of the library, and handlers for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from wetlands_rx import logger as module
from wetlands_rx.logger import (
    LogContext,
    attach_log_handler,
    enable_console_logging,
    enable_file_logging,
    log,
    log_environment,
    log_execution,
    log_global,
    logger,
    remove_log_handler,
)

NAMES = ("log_source", "env_name", "call_target", "task_id", "worker_index", "stream", "stage")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[logging.Handler]]:
    before = list(logger.handlers), logger.level
    made: list[logging.Handler] = []
    yield made
    for handler in made:
        remove_log_handler(handler)
    assert (logger.handlers, logger.level) == before


@pytest.fixture
def records(handlers: list[logging.Handler]) -> list[logging.LogRecord]:
    found: list[logging.LogRecord] = []
    handlers.append(attach_log_handler(found.append))
    return found


class Sink:
    """Somebody who observes, or not."""

    def __init__(self, *, observed: bool) -> None:
        self.observed = observed
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord, /) -> None:
        self.records.append(record)


def facts(record: logging.LogRecord) -> tuple[object, ...]:
    return tuple(record.__dict__[name] for name in NAMES)


def test_every_record_bears_all_attributes(records: list[logging.LogRecord]) -> None:
    log_global("100 %s", "start")
    log_environment("made", "cells", "create")
    log_execution("ran", "cells", "a.py:f", task_id="1", worker_index=0)
    logger.warning("by %s", "itself")
    assert [(record.getMessage(), facts(record)) for record in records] == [
        ("100 %s", ("global", None, None, None, None, None, "start")),
        ("made", ("environment", "cells", None, None, None, None, "create")),
        ("ran", ("execution", "cells", "a.py:f", "1", 0, None, None)),
        ("by itself", ("global", None, None, None, None, None, None)),
    ]


def test_an_observer_gets_what_the_level_keeps_from_the_handlers(records: list[logging.LogRecord]) -> None:
    sink = Sink(observed=True)
    log(logging.DEBUG, "quiet", LogContext(env_name="cells"), sink)
    log(logging.INFO, "loud", LogContext(env_name="cells"), sink)
    assert [record.getMessage() for record in sink.records] == ["quiet", "loud"]
    assert records == sink.records[1:]
    assert facts(sink.records[0])[1] == "cells"


def test_nothing_is_sent_to_a_sink_that_nobody_observes(records: list[logging.LogRecord]) -> None:
    sink = Sink(observed=False)
    log(logging.INFO, "text", LogContext(), sink)
    assert (len(sink.records), len(records)) == (0, 1)


def test_an_observer_hears_a_record_on_which_a_handler_raises() -> None:
    def refuse(record: logging.LogRecord) -> None:
        raise OSError("full")

    sink = Sink(observed=True)
    with pytest.raises(OSError, match="full"):
        log(logging.ERROR, "text", LogContext(), sink, refuse)
    assert len(sink.records) == 1


def test_a_callback_gets_what_its_level_and_its_filter_want(handlers: list[logging.Handler]) -> None:
    found: list[str] = []
    handlers.append(
        attach_log_handler(
            lambda record: found.append(record.getMessage()),
            logging.DEBUG,
            lambda record: record.__dict__["env_name"] == "cells",
        )
    )
    log_environment("one", "cells", level=logging.DEBUG)
    log_environment("two", "other")
    assert found == ["one"]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit("no")])
def test_a_callback_that_raises_harms_nobody(
    handlers: list[logging.Handler], capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise error

    handlers.append(attach_log_handler(fail))
    log_global("text")
    assert f"{type(error).__name__}: no" in capsys.readouterr().err


def test_the_console_shows_warnings_on_the_standard_error(
    handlers: list[logging.Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    handlers.append(enable_console_logging(fmt="%(env_name)s: %(message)s"))
    log_environment("fine", "cells")
    log_environment("bad", "cells", level=logging.WARNING)
    log_environment("too quiet", "cells", level=logging.DEBUG)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("cells: fine\n", "cells: bad\n")


def test_a_file_is_added_to(handlers: list[logging.Handler], tmp_path: Path) -> None:
    file = tmp_path / "all.log"
    file.write_text("before\n")
    handlers.append(enable_file_logging(file, fmt="%(message)s é"))
    log_global("text")
    assert file.read_text(encoding="utf-8") == "before\ntext é\n"


def test_a_removed_handler_hears_nothing_and_the_level_is_as_before(handlers: list[logging.Handler]) -> None:
    found: list[logging.LogRecord] = []
    before = logger.level
    first, second = attach_log_handler(found.append, logging.DEBUG), attach_log_handler(found.append, logging.ERROR)
    assert logger.isEnabledFor(logging.DEBUG)
    remove_log_handler(first)
    remove_log_handler(first)
    assert not logger.isEnabledFor(logging.DEBUG)
    remove_log_handler(second)
    log_global("text", level=logging.CRITICAL)
    assert (found, logger.level) == ([], before)


def test_the_level_that_the_user_set_meanwhile_stays() -> None:
    handler = attach_log_handler(lambda record: None)
    logger.setLevel(logging.CRITICAL)
    try:
        remove_log_handler(handler)
        assert logger.level == logging.CRITICAL
    finally:
        logger.setLevel(logging.NOTSET)


def test_all_public_names_are_there() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
