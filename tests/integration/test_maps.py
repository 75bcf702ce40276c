"""map() through real workers: orders, windows, chunks, failures, deaths, cancels."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.integration.maps import functions
from wetlands_rx.exceptions import (
    ExecutionException,
    NotLaunchedError,
    SerializationError,
    WorkerDiedError,
)
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.internal_environment import InternalEnvironment
from wetlands_rx.task import TaskEvent

FILE = functions.__file__
SOON = 60.0
Chunk = int | Literal["auto"]
ORDERS = pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "as they end"])
CHUNKS = pytest.mark.parametrize("chunk", ["auto", 1, 7], ids=lambda chunk: f"chunk {chunk}")


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def env(here: ExternalEnvironment, request: pytest.FixtureRequest) -> ExternalEnvironment:
    here.launch(max_workers=request.param)
    return here


@pytest.fixture
def two(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch(max_workers=2)
    return here


# --- results


@ORDERS
@CHUNKS
def test_every_item_has_its_result(env: ExternalEnvironment, chunk: Chunk, *, ordered: bool) -> None:
    results = list(env.map(FILE, "double", range(3000), ordered=ordered, chunksize=chunk))
    assert sorted(results) == [2 * x for x in range(3000)]
    if ordered:
        assert results == sorted(results)


def test_a_function_may_be_given_itself(two: ExternalEnvironment) -> None:
    assert list(two.map(functions.double, range(5))) == [0, 2, 4, 6, 8]
    assert list(two.map(functions.awaited, range(3), chunksize=2)) == [0, -1, -2]


@CHUNKS
def test_values_of_any_kind_and_size(two: ExternalEnvironment, chunk: Chunk) -> None:
    images = list(two.map(FILE, "image", range(20), chunksize=chunk))
    assert [int(image[7, 7]) for image in images] == list(range(20))
    assert list(two.map(FILE, "mean", images, chunksize=chunk)) == [x + 1.0 for x in range(20)]
    assert [int(image[7, 7]) for image in images] == list(range(20)), "the function had copies"
    mixed = [1, images[3], 2, images[4], images[5], 3, 4]
    assert list(two.map(FILE, "mean", [np.asarray(item) * 1.0 for item in mixed], chunksize=chunk)) == [
        2.0, 4.0, 3.0, 5.0, 6.0, 4.0, 5.0
    ]  # fmt: skip
    assert list(two.map(FILE, "path_of", [Path("a"), Path("b")], chunksize=chunk)) == [Path("a/x"), Path("b/x")]
    assert [len(text) for text in two.map(FILE, "large", range(1, 9), chunksize=chunk)] == [100_000] * 8
    texts = ["ab" * 200_000, "c", "d" * 5_000_000]
    assert list(two.map(FILE, "same", texts, chunksize=chunk)) == texts


def test_items_are_copied_at_the_call(two: ExternalEnvironment) -> None:
    image = np.zeros((400, 400))
    results = two.map(FILE, "mean", [image, image, image])
    image += 100.0
    assert list(results) == [1.0, 1.0, 1.0]


@CHUNKS
def test_a_handle_is_given_to_who_wants_it(two: ExternalEnvironment, chunk: Chunk) -> None:
    ids = list(two.map(FILE, "with_handle", range(10), chunksize=chunk))
    assert all(len(one) == 36 for one in ids)


def test_unordered_yields_what_is_done(two: ExternalEnvironment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs = [(0, str(gate)), (1, ""), (2, ""), (3, "")]
    results = two.map(FILE, "gated", jobs, ordered=False, timeout=SOON)
    assert [next(results), next(results), next(results)] == [1, 2, 3]
    gate.touch()
    assert list(results) == [0]


def test_a_long_item_among_short_ones_holds_up_no_other(two: ExternalEnvironment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs = [(x, str(gate) if x == 3000 else "") for x in range(5000)]
    results = two.map(FILE, "gated", jobs, ordered=False, timeout=SOON)
    assert sorted(next(results) for _ in range(4999)) == [x for x in range(5000) if x != 3000]
    gate.touch()
    assert list(results) == [3000]


def test_while_events_are_observed_each_item_is_a_task(two: ExternalEnvironment) -> None:
    events: list[TaskEvent[Any]] = []
    done = threading.Event()
    subscription = two.events.subscribe(
        lambda event: (events.append(event), done.set() if len(events) == 20 else None)  # type: ignore[func-returns-value]
    )
    assert list(two.map(FILE, "double", range(10))) == [2 * x for x in range(10)]
    assert done.wait(SOON)
    subscription.dispose()
    assert len({event.task for event in events}) == 10


# --- failures


@CHUNKS
@pytest.mark.parametrize("count", [20, 2000])
def test_an_error_stays_with_its_item(env: ExternalEnvironment, chunk: Chunk, count: int) -> None:
    results = env.map(FILE, "touchy", range(count), chunksize=chunk)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ExecutionException, match="ValueError: not 3") as caught:
        next(results)
    assert any("functions.py" in line for line in caught.value.traceback)
    assert list(results) == []
    assert env.execute(FILE, "double", (1,)) == 2


@ORDERS
@CHUNKS
def test_errors_can_be_returned_or_skipped(env: ExternalEnvironment, chunk: Chunk, *, ordered: bool) -> None:
    good = [x for x in range(500) if x % 7 != 3]
    skipped = list(env.map(FILE, "touchy", range(500), ordered=ordered, chunksize=chunk, on_error="skip"))
    assert sorted(skipped) == good
    returned = list(env.map(FILE, "touchy", range(500), ordered=ordered, chunksize=chunk, on_error="return"))
    failed = [value for value in returned if isinstance(value, ExecutionException)]
    assert len(returned) == 500
    assert sorted(str(error.error) for error in failed) == sorted(f"ValueError: not {x}" for x in range(3, 500, 7))
    if ordered:
        assert [x for x, value in enumerate(returned) if not isinstance(value, ExecutionException)] == good


@CHUNKS
def test_what_cannot_travel_fails_its_item_alone(two: ExternalEnvironment, chunk: Chunk) -> None:
    returned = list(two.map(FILE, "unsendable", range(5), chunksize=chunk, on_error="return"))
    assert isinstance(returned[2], SerializationError)
    assert "lock" in str(returned[2])
    assert returned[:2] + returned[3:] == [0, 1, 3, 4]
    items = [1, threading.Lock(), 3]
    with pytest.raises(SerializationError, match=r"lock.*functions.py:double"):
        two.map(FILE, "double", items, chunksize=chunk)
    returned = list(two.map(FILE, "double", items, chunksize=chunk, on_error="return"))
    assert isinstance(returned[1], SerializationError)
    assert (returned[0], returned[2]) == (2, 6)
    assert list(two.map(FILE, "double", items, chunksize=chunk, on_error="skip")) == [2, 6]


def test_a_function_that_is_not_there_fails_every_item(two: ExternalEnvironment) -> None:
    returned = list(two.map(FILE, "treble", range(10), chunksize=4, on_error="return"))
    assert all(isinstance(error, ExecutionException) and "treble" in str(error) for error in returned)
    assert len(returned) == 10
    with pytest.raises(FileNotFoundError):
        two.map("/no/such/file.py", "double", [1])


@CHUNKS
def test_a_death_fails_the_item_that_ran_and_no_item_runs_twice(
    env: ExternalEnvironment, tmp_path: Path, chunk: Chunk
) -> None:
    jobs = [(x, str(tmp_path)) for x in range(1000)]
    returned = list(env.map(FILE, "logged", jobs, chunksize=chunk, on_error="return"))
    for x, value in enumerate(returned):
        if x % 100 == 55:
            assert isinstance(value, WorkerDiedError)
            assert value.exit_code == 5
        else:
            assert value == x
    assert Counter(map(int, (tmp_path / "log").read_text().split())) == Counter(range(1000))


LOGGED = """
import os

LOG = os.path.join(os.path.dirname(__file__), "log")


def logged(x):
    with open(LOG, "a") as log:
        log.write(f"{x}\\n")
    if x % 100 == 55:
        os._exit(5)
    return x if x % 2 else float(x)
"""


@CHUNKS
def test_the_same_of_numbers_which_travel_as_they_are(env: ExternalEnvironment, tmp_path: Path, chunk: Chunk) -> None:
    (tmp_path / "numbers.py").write_text(LOGGED)
    returned = list(env.map(tmp_path / "numbers.py", "logged", range(1000), chunksize=chunk, on_error="return"))
    for x, value in enumerate(returned):
        if x % 100 == 55:
            assert isinstance(value, WorkerDiedError)
        else:
            assert (value, type(value)) == (x, int if x % 2 else float)
    assert Counter(map(int, (tmp_path / "log").read_text().split())) == Counter(range(1000))


def test_an_acknowledged_cancel_is_the_end_of_its_item(two: ExternalEnvironment) -> None:
    returned = list(two.map(FILE, "acknowledges", range(4), on_error="return"))
    assert isinstance(returned[2], concurrent.futures.CancelledError)
    assert returned[:2] + returned[3:] == [0, 1, 3]


@ORDERS
def test_an_exit_cancels_what_is_left(two: ExternalEnvironment, tmp_path: Path, *, ordered: bool) -> None:
    jobs = [(x, str(tmp_path / "never") if x > 5 else "") for x in range(1000)]
    results = two.map(FILE, "gated", jobs, ordered=ordered, timeout=SOON)
    assert sorted(itertools.islice(results, 6)) == [0, 1, 2, 3, 4, 5]
    two.exit()
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    assert list(results) == []
    with pytest.raises(NotLaunchedError):
        two.map(FILE, "double", [1])


# --- time, windows, ends


@ORDERS
def test_a_result_that_is_late_ends_the_map(two: ExternalEnvironment, tmp_path: Path, *, ordered: bool) -> None:
    jobs = [(0, ""), (1, str(tmp_path / "never")), (2, str(tmp_path / "never")), (3, "")]
    results = two.map(FILE, "gated", jobs, ordered=ordered, timeout=1.0)
    assert next(results) == 0
    with pytest.raises(TimeoutError, match=r"functions.py:gated was not there within 1 s"):
        next(results)
    assert list(results) == []


@ORDERS
@pytest.mark.parametrize("window", [1, 3, 50])
@CHUNKS
def test_a_window_pulls_no_more_than_it_holds(
    two: ExternalEnvironment, window: int, chunk: Chunk, *, ordered: bool
) -> None:
    pulled = itertools.count()
    threads: set[int] = set()
    seen = 0

    def endless() -> Iterator[int]:
        for x in pulled:
            threads.add(threading.get_ident())
            assert x <= seen + window
            yield x

    results = two.map(FILE, "double", endless(), buffersize=window, chunksize=chunk, ordered=ordered, timeout=SOON)
    got: list[int] = []
    for value in itertools.islice(results, 200):
        got.append(value)
        seen += 1
    results.close()
    assert len(set(got)) == 200
    if ordered:
        assert got == [2 * x for x in range(200)]
    assert threads == {threading.get_ident()}
    assert list(results) == []


def test_a_window_that_is_larger_than_the_input(two: ExternalEnvironment) -> None:
    assert list(two.map(FILE, "double", iter(range(5)), buffersize=100)) == [0, 2, 4, 6, 8]
    assert list(two.map(FILE, "double", [], buffersize=1)) == []


def test_an_iterable_that_fails_in_a_window_ends_the_map(two: ExternalEnvironment) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError

    results = two.map(FILE, "double", items(), buffersize=2, timeout=SOON)
    assert next(results) == 0
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("how", ["close", "drop"])
@CHUNKS
def test_leaving_early_cancels_what_waits(two: ExternalEnvironment, tmp_path: Path, how: str, chunk: Chunk) -> None:
    jobs = [(x, str(tmp_path)) for x in range(50)]
    gate = tmp_path / "gate"
    first = [two.submit(FILE, "gated", ((x, str(gate)),)) for x in range(2)]
    results = two.map(FILE, "logged", jobs, chunksize=chunk)
    if how == "close":
        results.close()
        results.close()
    else:
        del results
        gc.collect()
        deadline = time.monotonic() + SOON
        while two.statistics().queued:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    gate.touch()
    for task in first:
        task.wait_for(SOON)
    assert two.execute(FILE, "double", (4,)) == 8
    assert not (tmp_path / "log").exists()


def test_a_close_wakes_who_waits_for_a_result(two: ExternalEnvironment, tmp_path: Path) -> None:
    results = two.map(FILE, "gated", [(0, str(tmp_path / "never"))] * 2)
    left: list[list[int]] = []
    thread = threading.Thread(target=lambda: left.append(list(results)))
    thread.start()
    results.close()
    thread.join(SOON)
    assert not thread.is_alive()
    assert left == [[]]


def test_later_calls_wait_for_their_turn_behind_a_map(here: ExternalEnvironment, tmp_path: Path) -> None:
    here.launch()
    results = here.map(FILE, "logged", [(x, str(tmp_path)) for x in range(50)])
    after = here.submit(FILE, "logged", ((99, str(tmp_path)),))
    after.wait_for(SOON)
    assert len((tmp_path / "log").read_text().split()) == 51, "first in, first out"
    assert list(results) == list(range(50))


# --- bad input


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"chunksize": 0}, ValueError, "chunksize is 0; at least 1"),
        ({"chunksize": "all"}, TypeError, "chunksize must be a whole number or 'auto', not 'all'"),
        ({"chunksize": True}, TypeError, "chunksize"),
        ({"buffersize": 0}, ValueError, "buffersize is 0; at least 1"),
        ({"buffersize": 2.5}, TypeError, "buffersize must be a whole number or None"),
        ({"on_error": "ignore"}, ValueError, "on_error is 'ignore'; it can be 'raise', 'return' or 'skip'"),
        ({"timeout": "1"}, TypeError, "a timeout is a number"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    internal: Any = InternalEnvironment()
    with pytest.raises(error, match=text):
        internal.map(FILE, "double", [1], **options)


@pytest.mark.parametrize(
    "given", [(FILE, "double"), (functions.double,), (functions.double, "double", [1]), (FILE, [1])]
)
def test_what_is_no_function_with_items_is_refused(given: tuple[Any, ...]) -> None:
    internal: Any = InternalEnvironment()
    with pytest.raises(TypeError):
        internal.map(*given)
