"""The items of a map: cut, answered, given back, lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._task.call import WorkerInfo
from wetlands_rx._task.items import PIECE_BYTES, ItemFailed, Items, Job
from wetlands_rx._task.lifecycle import CancelRequested, Dispatched, EnvironmentExited, WorkerLost
from wetlands_rx._wire.frames import frames_of, join
from wetlands_rx._wire.items import are_numbers, decode_items, load_item, pack_item
from wetlands_rx._wire.messages import ItemCanceled, ItemsDone
from wetlands_rx.exceptions import WorkerDiedError

WORKER = WorkerInfo("env", 0, 1)


class Told:
    """A sink: what became of each item, by place."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Any] = {}

    def put(self, place: int, outcomes: list[object], worker: WorkerInfo | None) -> None:
        for at, outcome in enumerate(outcomes, place):
            assert at not in self.outcomes, "told twice"
            self.outcomes[at] = outcome


def items_of(values: list[Any], told: Told, chunksize: int | None = None) -> tuple[Job, Items]:
    job = Job("/a.py", "f", "a.py:f", chunksize, told)
    return job, Items(job, [pack_item(value) for value in values], 0, 0, len(values))


def numbers_of(values: Iterable[Any], told: Told, chunksize: int | None = None) -> tuple[Job, Items]:
    numbers = list(values)
    job = Job("/a.py", "f", "a.py:f", chunksize, told)
    return job, Items(job, numbers, 0, 0, len(numbers))


def values_of(piece: Items) -> list[Any]:
    (frame,) = frames_of(join(piece.payload))
    return [load_item(item) for item in decode_items(frame).items]


def answer(piece: Items, first: int, outcomes: list[Any], *, last: bool = True) -> None:
    taken = piece.take(ItemsDone(piece.number, first, outcomes, 0.0, last))
    if taken is not None:
        taken.tell()


def died() -> WorkerLost:
    return WorkerLost(WorkerDiedError("worker", 1, None, (), "a.py:f"))


@given(data=st.data(), count=st.integers(1, 60), chunksize=st.none() | st.integers(1, 9))
def test_every_item_is_told_once_whatever_happens(data: st.DataObject, count: int, chunksize: int | None) -> None:
    told = Told()
    job, queue = items_of(list(range(count)), told, chunksize)
    waiting = [queue]
    while waiting:
        bulk = waiting.pop(0)
        piece = bulk.cut(data.draw(st.integers(1, 20)), data.draw(st.integers(20, 40)))
        if piece is not bulk:
            waiting.insert(0, bulk)
        assert values_of(piece) == list(range(values_of(piece)[0], values_of(piece)[0] + piece.size))
        piece.post(Dispatched(WORKER))
        values = values_of(piece)
        done = data.draw(st.integers(0, piece.size))
        answer(piece, 0, values[:done], last=False)
        if done:
            answer(piece, 0, values[:done], last=False)  # what comes twice counts once
        end = data.draw(st.sampled_from(["answer", "give back", "die", "rest"]))
        rest = None
        if end == "give back":
            rest = piece.give_back(data.draw(st.integers(0, piece.size)))
        if end == "die":
            piece.post(died())
            rest = piece.rest()
        elif end == "rest":
            rest = piece.rest()
        elif piece.size:
            answer(piece, done, values[done : done + piece.size])
        assert piece.size == 0
        if rest is not None:
            waiting.insert(0, rest)
    assert sorted(told.outcomes) == list(range(count))
    assert all(isinstance(one, ItemFailed) or one == at for at, one in told.outcomes.items())
    assert not job.open


def test_a_piece_is_not_larger_than_a_pipe_can_hold() -> None:
    told = Told()
    _, bulk = items_of(["x" * 1000] * 100, told)
    assert bulk.bytes == PIECE_BYTES
    piece = bulk.cut(100, 100)
    assert 1 < piece.size <= 8
    assert piece.bytes <= PIECE_BYTES
    assert bulk.size == 100 - piece.size


@pytest.mark.parametrize(
    ("good", "most", "size"), [(1, 100, 7), (13, 100, 7), (14, 100, 14), (50, 100, 49), (50, 5, 5), (200, 200, 100)]
)
def test_pieces_are_whole_chunks(good: int, most: int, size: int) -> None:
    assert items_of(["a"] * 100, Told(), chunksize=7)[1].cut(good, most).size == size
    assert numbers_of(range(100), Told(), chunksize=7)[1].cut(good, most).size == size


def test_a_chunk_may_be_larger_than_a_piece_but_not_several() -> None:
    _, bulk = items_of(["x" * 1000] * 100, Told(), chunksize=3)
    assert bulk.cut(90, 90).size == 6
    _, bulk = items_of(["x" * 1000] * 100, Told(), chunksize=20)
    assert bulk.cut(90, 90).size == 20
    _, bulk = numbers_of(range(5000), Told(), chunksize=2000)
    assert bulk.cut(5000, 5000).size == 2000
    _, bulk = numbers_of(range(5000), Told(), chunksize=3)
    piece = bulk.cut(5000, 5000)
    assert piece.size % 3 == 0
    assert PIECE_BYTES / 2 < piece.bytes <= PIECE_BYTES


@given(st.lists(st.integers(-(2**63), 2**64)) | st.lists(st.floats(allow_nan=False)) | st.lists(st.booleans()))
def test_numbers_travel_as_they_are(values: list[Any]) -> None:
    if are_numbers(values):
        _, bulk = numbers_of(values, Told())
        assert bulk.cut(1 << 20, 1 << 20) is bulk
        came = values_of(bulk)
        assert (came, list(map(type, came))) == (values, list(map(type, values)))
        assert len(join(bulk.payload)) <= bulk.bytes + 100
    else:
        assert not values or isinstance(values[0], bool) or any(abs(value) > 2**62 for value in values)


def test_a_large_item_goes_alone() -> None:
    _, bulk = items_of([1, "x" * 100_000, 2, 3], Told())
    pieces = [bulk.cut(10, 10), bulk.cut(10, 10), bulk.cut(10, 10)]
    assert [piece.size for piece in pieces] == [1, 1, 2]
    assert pieces[1].bytes > 100_000
    assert pieces[2] is bulk


def test_a_death_after_the_last_outcome_fails_nothing() -> None:
    told = Told()
    _, bulk = items_of([1, 2, 3, 4], told)
    piece = bulk.cut(2, 10)
    answer(piece, 0, [10, 20], last=False)
    piece.post(died())
    assert piece.rest() is None
    given = bulk.give_back(2)
    assert given is not None
    bulk.post(died())
    assert (bulk.size, bulk.rest()) == (0, None)
    assert told.outcomes == {0: 10, 1: 20}
    assert values_of(given) == [3, 4]


@pytest.mark.parametrize("happening", [CancelRequested(), EnvironmentExited()])
def test_what_ends_all_cancels_those_that_are_left(happening: Any) -> None:
    told = Told()
    job, bulk = items_of([1, 2, 3, 4], told)
    piece = bulk.cut(2, 10)
    answer(piece, 0, [10], last=False)
    piece.post(happening)
    bulk.post(happening)
    assert told.outcomes[0] == 10
    assert all(isinstance(told.outcomes[at], ItemCanceled) for at in (1, 2, 3))
    assert not job.open


def test_a_piece_of_what_was_canceled_is_canceled_too() -> None:
    _, bulk = items_of([1, 2, 3], Told())
    piece = bulk.cut(2, 10)
    piece.cancel_requested = True
    rest = piece.rest()
    assert rest is not None
    assert rest.cancel_requested
