"""The same works on every Python that a worker may have. Missing interpreters are no parameters."""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import fractions
import functools
import http
import io
import ipaddress
import logging
import math
import operator
import os
import pathlib
import random
import re
import signal
import sys
import time
import types
import urllib.parse
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.matrix import remote, script
from tests.support.leaks import Ledger
from tests.support.oldest import NEWEST, OLDEST, interpreters, pyenv_versions
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import ExecutionException, SerializationError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.task import Task, TaskEvent, TaskEventType, TaskStatus

pytestmark = pytest.mark.keeps("wetlands-delivery")  # the environments live on after the first test that uses them
REMOTE = remote.__file__
SOON = 30.0
OURS = sys.version_info[:2]
Version = tuple[int, int]


class Served(NamedTuple):
    version: Version
    env: ExternalEnvironment


def name_of(version: Version) -> str:
    return ".".join(map(str, version))


@pytest.fixture(scope="module", params=list(interpreters()), ids=name_of)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ledger: Ledger
) -> Iterator[Served]:
    version: Version = request.param
    folder = tmp_path_factory.mktemp("matrix")
    with EnvironmentManager(folder, log_file_path=None) as manager:
        with ledger.adopting():
            env = manager.load(f"python{name_of(version)}", interpreters()[version])
            env.launch(max_workers=2)
            env.execute(REMOTE, "python")
        yield Served(version, env)


@pytest.fixture
def env(served: Served) -> ExternalEnvironment:
    return served.env


@pytest.mark.skipif(
    not (os.environ.get("CI") or os.environ.get("WETLANDS_RX_NO_SKIPS")), reason="other machines need not have them"
)
def test_the_oldest_and_the_newest_are_tried_where_they_can_be() -> None:
    if pyenv_versions().is_dir():
        assert {OLDEST, NEWEST} <= set(interpreters())


def test_the_worker_runs_the_python_that_it_should(served: Served) -> None:
    assert served.env.execute(REMOTE, "python") == served.version


# --- Values

VALUES: list[Any] = [
    None,
    True,
    0,
    -(10**100),
    1.5,
    math.inf,
    2 + 3j,
    "text, täxt, \N{SNOWMAN}\0",
    b"bytes" * 3,
    bytearray(b"more"),
    b"large" * 100_000,
    "large" * 100_000,
    [1, [2, [3]]],
    (1, (2, ())),
    {"a": {"b": {1: None}}},
    {1, "two"},
    frozenset({1, (2, 3)}),
    range(1, 10, 3),
    slice(1, None, 2),
    ...,
    NotImplemented,
    dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=dt.UTC),
    dt.date(2024, 2, 29),
    dt.time(1, 2, 3, fold=1),
    dt.timedelta(days=-1, microseconds=3),
    dt.timezone(dt.timedelta(hours=2), "CEST"),
    decimal.Decimal("1.50"),
    fractions.Fraction(2, 3),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("a/b"),
    pathlib.Path("/some/where"),
    pathlib.PureWindowsPath("c:/x"),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.defaultdict(list, {"a": [1]}),
    collections.Counter("abca"),
    collections.deque([1, 2], maxlen=3),
    collections.ChainMap({"a": 1}, {"b": 2}),
    array.array("d", [1.0, 2.0]),
    ipaddress.ip_address("::1"),
    ipaddress.ip_network("10.0.0.0/8"),
    re.compile(r"(a|b)+", re.IGNORECASE),
    re.IGNORECASE | re.MULTILINE,
    http.HTTPStatus.NOT_FOUND,
    signal.SIGTERM,
    types.SimpleNamespace(a=1),
    time.gmtime(0),
    urllib.parse.urlparse("http://host/path?query"),
    len,
    dict,
    math.sqrt,
    collections.OrderedDict,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value!r:.20}")
def test_plain_data_goes_there_and_back(env: ExternalEnvironment, value: Any) -> None:
    back = env.execute(REMOTE, "identity", (value,))
    assert type(back) is type(value)
    assert back == value
    assert env.execute(REMOTE, "identity", ([{"deep": value}],)) == [{"deep": value}]


@pytest.mark.parametrize(
    "value", [value for value in VALUES if value is not NotImplemented], ids=lambda value: f"{value!r:.20}"
)
def test_plain_data_travels_in_maps_too(env: ExternalEnvironment, value: Any) -> None:
    assert list(env.map(REMOTE, "identity", [value, value])) == [value, value]


def test_what_is_equal_to_nothing_travels_too(env: ExternalEnvironment) -> None:
    assert math.isnan(env.execute(REMOTE, "identity", (math.nan,)))
    error = env.execute(REMOTE, "identity", (ValueError("text", 3),))
    assert (type(error), error.args) == (ValueError, ("text", 3))
    assert env.execute(REMOTE, "identity", (io.BytesIO(b"abc"),)).read() == b"abc"
    assert env.execute(REMOTE, "identity", (functools.partial(pow, 2),))(5) == 32
    given = random.Random(5)
    assert env.execute(REMOTE, "identity", (given,)).random() == given.random()


def test_a_time_zone_arrives_where_there_are_time_zones(served: Served) -> None:
    zone = zoneinfo.ZoneInfo("UTC")
    if served.version >= (3, 9):
        assert served.env.execute(REMOTE, "identity", (zone,)) == zone
    else:
        with pytest.raises(SerializationError, match="No module named 'zoneinfo'"):
            served.env.execute(REMOTE, "identity", (zone,))


def test_what_cannot_be_sent_fails_its_task_alone(env: ExternalEnvironment) -> None:
    with pytest.raises(SerializationError, match=r"args\[0\] \(generator\) cannot be sent to remote.py:identity"):
        env.submit(REMOTE, "identity", ((x for x in "abc"),))
    with pytest.raises(SerializationError, match=r"result \(_thread.lock\) cannot be sent to the caller"):
        env.execute(REMOTE, "a_lock")
    assert env.execute(REMOTE, "double", (21,)) == 42


# --- Calls


def test_a_call_in_every_form(env: ExternalEnvironment) -> None:
    assert env.execute(REMOTE, "double", (21,)) == 42
    assert env.execute(REMOTE, "Methods.double", kwargs={"x": 21}) == 42
    assert env.submit(remote.double, args=(21,)).wait_for(SOON).result == 42
    assert env.execute(REMOTE, "later", (21,)) == 42
    assert env.submit(remote.later, args=(21,)).wait_for(SOON).result == 42
    assert env.import_module(REMOTE).double(21) == 42


def test_updates_outputs_and_logs(env: ExternalEnvironment) -> None:
    events: list[TaskEvent[int]] = []
    records: list[logging.LogRecord] = []
    with env.logs.subscribe(records.append):
        task = env.submit(remote.with_news, args=(5,), start=False)
        task.listen(events.append).start().wait_for(SOON)
        wait_until(lambda: len(records) >= 2)
    assert task.result == 5
    assert (task.message, task.current, task.maximum) == ("half way", 1, 2)
    assert task.outputs == {"so far": {5: (5, [5])}}
    assert [event.type for event in events][-1] is TaskEventType.COMPLETION
    assert sorted(record.getMessage() for record in records) == ["printed 5", "seen"]
    assert {getattr(record, "call_target", None) for record in records} == {"remote.py:with_news"}


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_cancel(env: ExternalEnvironment) -> None:
    task: Task[Any] = env.submit(REMOTE, "until_canceled")
    wait_until(lambda: task.message == "runs")
    task.cancel()
    assert task.wait_for(SOON).status is TaskStatus.CANCELED


def test_an_error_has_its_traceback_and_its_cause(env: ExternalEnvironment) -> None:
    with pytest.raises(ExecutionException, match="OwnError: no such") as raised:
        env.execute(REMOTE, "fail")
    error = raised.value
    assert error.remote_type.endswith(".OwnError") or error.remote_type == "OwnError"
    text = "\n".join(error.traceback)
    assert "in inner" in text
    assert "raise OwnError" in text
    assert "KeyError: 'key'" in text
    assert "direct cause" in text


def test_an_error_has_its_notes(served: Served) -> None:
    with pytest.raises(ExecutionException) as raised:
        served.env.execute(REMOTE, "fail_with_notes")
    text = "\n".join(raised.value.traceback)
    if served.version >= (3, 11):
        assert text.endswith("ValueError: no\na note of its own")
    else:
        assert "has no attribute 'add_note'" in text


def test_a_map(env: ExternalEnvironment) -> None:
    assert list(env.map(REMOTE, "double", range(100))) == list(range(0, 200, 2))
    assert sorted(env.map(remote.later, range(5), ordered=False)) == [0, 2, 4, 6, 8]
    assert list(env.map(REMOTE, "double", ["a", b"b", (1,)], chunksize=2)) == ["aa", b"bb", (1, 1)]


def test_a_script(served: Served, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    served.env.run_script(script.__file__, (str(out), "--fast", "x"))
    assert out.read_text(encoding="utf-8") == f"{name_of(served.version)} --fast x"


# --- Functions themselves


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (math.sqrt, (4,), 2.0),
        (str.upper, ("a",), "A"),
        (dict.fromkeys, ("ab", 1), {"a": 1, "b": 1}),
        (os.path.basename, ("/a/b",), "b"),
        (operator.add, (1, 2), 3),
        (fractions.Fraction, (1, 2), fractions.Fraction(1, 2)),
        (len, ([1, 2],), 2),
        (remote.Methods.double, (4,), 8),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_a_function_with_a_name(env: ExternalEnvironment, function: Any, args: tuple[Any, ...], result: Any) -> None:
    assert env.submit(function, args=args).wait_for(SOON).result == result


def test_a_function_by_value_where_the_python_is_the_same(served: Served) -> None:
    offset = 5

    def work(x: int) -> int:
        return x + offset

    if served.version == OURS:
        assert served.env.submit(work, args=(1,)).wait_for(SOON).result == 6
        assert list(served.env.map(lambda x: x + offset, range(3))) == [5, 6, 7]
        return
    attempts: list[Callable[[], object]] = [
        lambda: served.env.submit(work, args=(1,)),
        lambda: served.env.map(work, range(3)),
        lambda: served.env.map_tasks(work, range(3)),
    ]
    for attempt in attempts:
        with pytest.raises(SerializationError) as raised:
            attempt()
        text = str(raised.value)
        assert f"this is Python {name_of(OURS)}" in text
        assert f"have Python {name_of(served.version)}" in text
        assert "at the top level of a file" in text
    assert served.env.execute(REMOTE, "double", (21,)) == 42


def test_the_environment_got_nothing_of_ours(served: Served) -> None:
    if served.version != OURS:  # where the tests run, it is installed
        assert not served.env.execute(REMOTE, "has", ("cloudpickle",))
        assert not served.env.execute(REMOTE, "has", ("reactivex",))
