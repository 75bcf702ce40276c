"""Which call goes to which worker."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from wetlands_rx._pool.dispatch import Dispatch, Send


@dataclass(eq=False)
class Call:
    name: str
    waiting: bool = False

    def __repr__(self) -> str:
        return self.name


@pytest.fixture
def dispatch() -> Dispatch[Call]:
    return Dispatch()


A, B, C, D = (Call(name) for name in "abcd")


@pytest.fixture(autouse=True)
def nobody_waits() -> None:
    for call in (A, B, C, D):
        call.waiting = False


def test_an_idle_worker_gets_a_call_at_once(dispatch: Dispatch[Call]) -> None:
    assert dispatch.joined(0) is None
    assert dispatch.submitted(A) == Send(0, A)
    assert (dispatch.idle, dispatch.queued, A.waiting) == (0, 0, False)


def test_the_worker_that_is_idle_longest_gets_the_call(dispatch: Dispatch[Call]) -> None:
    for worker in (2, 0, 1):
        dispatch.joined(worker)
    sends = [dispatch.submitted(call) for call in (A, B, C)]
    assert sends == [Send(2, A), Send(0, B), Send(1, C)]


def test_calls_wait_in_order(dispatch: Dispatch[Call]) -> None:
    assert [dispatch.submitted(call) for call in (A, B, C)] == [None, None, None]
    assert (dispatch.queued, A.waiting) == (3, True)
    assert dispatch.joined(0) == Send(0, A)
    assert not A.waiting
    assert dispatch.joined(1) == Send(1, B)
    assert dispatch.freed(0) == Send(0, C)
    assert dispatch.freed(0) is None
    assert (dispatch.idle, dispatch.queued) == (1, 0)


def test_a_withdrawn_call_is_never_sent(dispatch: Dispatch[Call]) -> None:
    for call in (A, B, C):
        dispatch.submitted(call)
    assert dispatch.withdrawn(B)
    assert not dispatch.withdrawn(B)
    assert dispatch.queued == 2
    assert [dispatch.joined(worker) for worker in (0, 1, 2)] == [Send(0, A), Send(1, C), None]
    assert not dispatch.withdrawn(A)


def test_a_call_that_comes_back_is_next(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    dispatch.submitted(B)
    dispatch.submitted(C)
    assert dispatch.lost(0) is A
    assert dispatch.returned(A) is None
    assert [dispatch.joined(worker) for worker in (0, 1, 2)] == [Send(0, A), Send(1, B), Send(2, C)]


def test_a_call_that_comes_back_goes_to_an_idle_worker_at_once(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    dispatch.joined(1)
    dispatch.lost(0)
    assert dispatch.returned(A) == Send(1, A)


def test_a_call_that_came_back_can_be_withdrawn(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    dispatch.lost(0)
    dispatch.returned(A)
    assert dispatch.withdrawn(A)
    assert dispatch.joined(0) is None


def test_a_lost_worker_gets_nothing_more(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.joined(1)
    assert dispatch.lost(0) is None
    assert dispatch.submitted(A) == Send(1, A)
    assert dispatch.lost(1) is A
    assert dispatch.freed(1) is None
    assert dispatch.idle == 0
    assert dispatch.submitted(B) is None


def test_losing_a_stranger_is_harmless(dispatch: Dispatch[Call]) -> None:
    assert dispatch.lost(5) is None
    assert dispatch.freed(5) is None
    assert dispatch.idle == 0


def test_a_drained_queue_is_empty(dispatch: Dispatch[Call]) -> None:
    for call in (A, B, C):
        dispatch.submitted(call)
    dispatch.withdrawn(B)
    assert dispatch.drained() == [A, C]
    assert (dispatch.queued, A.waiting) == (0, False)
    assert not dispatch.withdrawn(A)
    assert dispatch.joined(0) is None
    assert dispatch.submitted(D) == Send(0, D)


def test_many_withdrawn_calls_leave_the_order_and_no_memory(dispatch: Dispatch[Call]) -> None:
    calls = [Call(str(number)) for number in range(1000)]
    for call in calls:
        dispatch.submitted(call)
    for call in calls[1::2] + calls[0:600:2]:
        dispatch.withdrawn(call)
    left = calls[600::2]
    assert dispatch.queued == len(left) == 200
    assert sys.getrefcount(calls[1]) == sys.getrefcount(calls[3]) < sys.getrefcount(left[0]), "only these are kept"
    sends = [dispatch.joined(0), *(dispatch.freed(0) for _ in left)]
    assert [send.call for send in sends if send is not None] == left
