"""Which call goes to which worker."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from wetlands_rx._pool.dispatch import MOST_HELD, SILENT_S, Dispatch, Recall, Retire, Send


@dataclass(eq=False)
class Call:
    name: str
    waiting: bool = False
    size: int = 1
    bytes: int = 10

    def cut(self, good: int, most: int) -> Call:
        return self

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
    assert dispatch.joined(0) == []
    assert dispatch.submitted(A) == Send(0, [A])
    assert (dispatch.idle, dispatch.queued, A.waiting) == (0, 0, False)


def test_the_worker_that_became_idle_last_gets_the_call(dispatch: Dispatch[Call]) -> None:
    for worker in (2, 0, 1):
        dispatch.joined(worker)
    sends = [dispatch.submitted(call) for call in (A, B, C)]
    assert sends == [Send(2, [A]), Send(0, [B]), Send(1, [C])], "at first in the order in which they came"
    dispatch.freed(2, [A])
    dispatch.freed(1, [C])
    assert dispatch.submitted(A) == Send(1, [A])
    assert dispatch.submitted(C) == Send(2, [C])


def test_calls_wait_in_order(dispatch: Dispatch[Call]) -> None:
    assert [dispatch.submitted(call) for call in (A, B, C)] == [None, None, None]
    assert (dispatch.queued, A.waiting) == (3, True)
    assert dispatch.joined(0) == [Send(0, [A])]
    assert not A.waiting
    assert dispatch.joined(1) == [Send(1, [B])]
    assert dispatch.freed(0, [A]) == [Send(0, [C])]
    assert dispatch.freed(0, [C]) == []
    assert (dispatch.idle, dispatch.queued) == (1, 0)


def test_a_withdrawn_call_is_never_sent(dispatch: Dispatch[Call]) -> None:
    for call in (A, B, C):
        dispatch.submitted(call)
    assert dispatch.withdrawn(B)
    assert not dispatch.withdrawn(B)
    assert dispatch.queued == 2
    assert [dispatch.joined(worker) for worker in (0, 1, 2)] == [[Send(0, [A])], [Send(1, [C])], []]
    assert not dispatch.withdrawn(A)


def test_a_call_that_comes_back_is_next(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    dispatch.submitted(B)
    dispatch.submitted(C)
    assert dispatch.lost(0) == [A]
    assert dispatch.returned([A]) == []
    assert [dispatch.joined(worker) for worker in (0, 1, 2)] == [
        [Send(0, [A])],
        [Send(1, [B])],
        [Send(2, [C])],
    ]


def test_a_call_that_comes_back_goes_to_an_idle_worker_at_once(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    dispatch.joined(1)
    dispatch.lost(0)
    assert dispatch.returned([A]) == [Send(1, [A])]


def test_a_call_that_came_back_can_be_withdrawn(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    dispatch.lost(0)
    dispatch.returned([A])
    assert dispatch.withdrawn(A)
    assert dispatch.joined(0) == []


def test_a_lost_worker_gets_nothing_more(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.joined(1)
    assert dispatch.lost(0) == []
    assert dispatch.submitted(A) == Send(1, [A])
    assert dispatch.lost(1) == [A]
    assert dispatch.freed(1, [A]) == []
    assert dispatch.idle == 0
    assert dispatch.submitted(B) is None


def test_losing_a_stranger_is_harmless(dispatch: Dispatch[Call]) -> None:
    assert dispatch.lost(5) == []
    assert dispatch.freed(5, [A]) == []
    assert dispatch.recalled(5, [A]) == []
    assert dispatch.retired(5) == []
    assert dispatch.idle == 0


def test_a_drained_queue_is_empty(dispatch: Dispatch[Call]) -> None:
    for call in (A, B, C):
        dispatch.submitted(call)
    dispatch.withdrawn(B)
    assert dispatch.drained() == [A, C]
    assert (dispatch.queued, A.waiting) == (0, False)
    assert not dispatch.withdrawn(A)
    assert dispatch.joined(0) == []
    assert dispatch.submitted(D) == Send(0, [D])


def test_many_withdrawn_calls_leave_the_order_and_no_memory(dispatch: Dispatch[Call]) -> None:
    calls = [Call(str(number)) for number in range(1000)]
    for call in calls:
        dispatch.submitted(call)
    for call in calls[1::2] + calls[0:600:2]:
        dispatch.withdrawn(call)
    left = calls[600::2]
    assert dispatch.queued == len(left) == 200
    assert sys.getrefcount(calls[1]) == sys.getrefcount(calls[3]) < sys.getrefcount(left[0]), "only these are kept"
    decisions = dispatch.joined(0)
    for expected in left:
        assert decisions == [Send(0, [expected])]
        decisions = dispatch.freed(0, [expected])
    assert decisions == []


# --- Several at once


SHORT_S = 50e-6


@pytest.fixture
def paced() -> Dispatch[Call]:
    """Calls take 50 us, but for those whose name begins with `long`."""
    return Dispatch(lambda call: float("inf") if call.name.startswith("long") else SHORT_S)


def calls(count: int, name: str = "short") -> list[Call]:
    return [Call(f"{name} {number}") for number in range(count)]


def submit(dispatch: Dispatch[Call], *given: Call) -> None:
    for call in given:
        assert dispatch.submitted(call) is None


def test_short_calls_are_given_out_several_at_once_up_to_two_milliseconds(paced: Dispatch[Call]) -> None:
    given = calls(100)
    submit(paced, *given)
    (send,) = paced.joined(0)
    assert send == Send(0, given[:40])
    assert (paced.held, paced.queued) == (40, 60)


def test_a_worker_has_never_more_than_the_most() -> None:
    dispatch: Dispatch[Call] = Dispatch(lambda call: 1e-6)
    given = calls(1000)
    submit(dispatch, *given)
    assert dispatch.joined(0) == [Send(0, given[:MOST_HELD])]
    half = MOST_HELD // 2
    assert dispatch.freed(0, given[: half - 1]) == [], "in steps of half of them"
    assert dispatch.freed(0, given[half - 1 : half]) == [Send(0, given[MOST_HELD : MOST_HELD + half])]


def test_nothing_waits_behind_a_long_call(paced: Dispatch[Call]) -> None:
    first, *short = [Call("long"), *calls(3)]
    submit(paced, first, *short)
    assert paced.joined(0) == [Send(0, [first])]
    assert paced.freed(0, [first]) == [Send(0, short)]


def test_a_long_call_waits_behind_no_other(paced: Dispatch[Call]) -> None:
    short, long = calls(2), Call("long")
    submit(paced, *short, long)
    assert paced.joined(0) == [Send(0, short)]
    assert paced.freed(0, short[:1]) == []
    assert paced.freed(0, short[1:]) == [Send(0, [long])]


def test_workers_share_what_waits(paced: Dispatch[Call]) -> None:
    given = calls(9)
    paced.joined(0)
    paced.joined(1)
    assert [paced.submitted(call) for call in given[:2]] == [Send(0, given[:1]), Send(1, given[1:2])]
    submit(paced, *given[2:])
    assert paced.freed(0, given[:1]) == [Send(0, given[2:4])], "a third of the seven"


def test_what_a_worker_has_not_begun_is_recalled_once_when_another_is_idle(paced: Dispatch[Call]) -> None:
    given = calls(4)
    submit(paced, *given)
    assert paced.joined(0) == [Send(0, given)]
    assert paced.joined(1) == [Recall(0)]
    assert paced.joined(2) == []
    assert paced.recalled(0, given[1:]) == [Send(1, given[1:2]), Send(2, given[2:3])], "each its share, in order"
    assert paced.queued == 1
    assert paced.freed(1, given[1:2]) == [Send(1, given[3:])]


def test_an_empty_answer_to_a_recall_changes_nothing(paced: Dispatch[Call]) -> None:
    given = calls(4)
    submit(paced, *given)
    paced.joined(0)
    assert paced.joined(1) == [Recall(0)]
    paced.freed(0, given)
    assert paced.recalled(0, []) == []
    assert paced.idle == 2


def test_who_is_silent_while_others_answer_is_asked_for_what_it_has_not_begun(paced: Dispatch[Call]) -> None:
    silent = int(SILENT_S / SHORT_S)
    given = calls(silent + 4 * MOST_HELD)
    submit(paced, *given)
    (held,) = paced.joined(0)
    assert isinstance(held, Send)
    decisions = paced.joined(1)
    answered = 0
    while Recall(0) not in decisions:
        assert answered <= silent
        (send,) = decisions
        assert isinstance(send, Send)
        answered += len(send.calls)
        decisions = paced.freed(1, send.calls)
    assert answered >= silent
    assert paced.recalled(0, held.calls[1:]) == []
    (send,) = paced.freed(1, paced.lost(1))[:1] or paced.joined(1)
    assert isinstance(send, Send)
    assert send.calls[0] is held.calls[1], "its turn is next"


def test_a_lost_worker_had_all_that_it_did_not_answer(paced: Dispatch[Call]) -> None:
    given = calls(4)
    submit(paced, *given)
    paced.joined(0)
    paced.freed(0, given[:1])
    assert paced.lost(0) == given[1:]


# --- Workers that are to end


def test_an_idle_worker_retires_at_once(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    assert dispatch.retired(0) == [Retire(0)]
    assert dispatch.retired(0) == []
    assert dispatch.idle == 0
    submit(dispatch, A)


def test_a_busy_worker_retires_with_its_answer(dispatch: Dispatch[Call]) -> None:
    dispatch.joined(0)
    dispatch.submitted(A)
    submit(dispatch, B)
    assert dispatch.retired(0) == []
    assert dispatch.freed(0, [A]) == [Retire(0)]
    assert dispatch.joined(1) == [Send(1, [B])]


def test_who_is_to_end_gives_back_what_it_has_not_begun(paced: Dispatch[Call]) -> None:
    given = calls(3)
    submit(paced, *given)
    paced.joined(0)
    assert paced.retired(0) == [Recall(0)]
    assert paced.recalled(0, given[1:]) == []
    assert paced.freed(0, given[:1]) == [Retire(0)]
    assert paced.queued == 2


def test_a_worker_that_got_all_it_may_retires(paced: Dispatch[Call]) -> None:
    given = calls(5)
    submit(paced, *given)
    assert paced.joined(0, 3) == [Send(0, given[:3])]
    assert paced.freed(0, given[:2]) == []
    assert paced.freed(0, given[2:3]) == [Retire(0)]
