"""A pool's decisions under any sequence of happenings."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wetlands_rx._pool.dispatch import AHEAD_S, MOST_HELD, Decision, Dispatch, Recall, Retire, Send

LONG = float("inf")


class Call:
    def __init__(self, number: int, seconds: float) -> None:
        self.number = number
        self.seconds = seconds
        self.waiting = False


class DispatchMachine(RuleBasedStateMachine):
    """Knows what must be true, in the plainest words; `Dispatch` must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatch: Dispatch[Call] = Dispatch(lambda call: call.seconds)
        self.numbers = itertools.count()
        self.workers = itertools.count()
        self.queue: deque[Call] = deque()
        self.over: set[int] = set()  # withdrawn, drained or answered
        self.held: dict[int, list[Call]] = {}
        self.left: dict[int, int | None] = {}
        self.retiring: set[int] = set()
        self.asked: set[int] = set()
        self.begun: set[int] = set()  # who has begun all it has, as far as one can know

    def check(self, decisions: Sequence[Decision[Call]]) -> None:
        for decision in decisions:
            if isinstance(decision, Send):
                self.sent(decision.worker, decision.calls)
            elif isinstance(decision, Recall):
                assert len(self.held[decision.worker]) > 1, "nothing to give back"
                assert decision.worker not in self.asked, "it has been asked"
                self.asked.add(decision.worker)
            else:
                self.ended(decision)

    def sent(self, worker: int, calls: list[Call]) -> None:
        assert calls
        assert worker not in self.retiring, "it is to end"
        self.begun.discard(worker)
        held, left = self.held[worker], self.left[worker]
        for call in calls:
            assert call is self.queue.popleft(), "not the first in line"
            assert call.number not in self.over
            held.append(call)
        assert len(held) <= MOST_HELD
        if len(held) > 1 and worker not in self.asked:
            assert sum(call.seconds for call in held) <= AHEAD_S + 1e-9 or any(c.seconds == LONG for c in held[:1])
            assert all(call.seconds < LONG for call in calls[1:]), "a long one waits behind another"
        if left is not None:
            assert len(calls) <= left
            self.left[worker] = left - len(calls)

    def ended(self, retire: Retire) -> None:
        assert not self.held.pop(retire.worker), "it has calls"
        assert retire.worker in self.retiring or self.left[retire.worker] == 0
        self.retiring.discard(retire.worker)
        self.asked.discard(retire.worker)
        assert self.dispatch.lost(retire.worker) == []

    @rule(seconds=st.sampled_from([1e-6, 1e-4, LONG]), count=st.integers(1, 100))
    def submit(self, seconds: float, count: int) -> None:
        for _ in range(count):
            call = Call(next(self.numbers), seconds)
            self.queue.append(call)
            send = self.dispatch.submitted(call)
            self.check([] if send is None else [send])

    @precondition(lambda self: len(self.held) < 5)
    @rule(most=st.none() | st.integers(1, 80))
    def join(self, most: int | None) -> None:
        worker = next(self.workers)
        self.held[worker], self.left[worker] = [], most
        self.check(self.dispatch.joined(worker, most))

    @precondition(lambda self: any(self.held.values()))
    @rule(pick=st.integers(0), count=st.integers(1, 70))
    def answer(self, pick: int, count: int) -> None:
        worker = self.busy(pick)
        calls, self.held[worker] = self.held[worker][:count], self.held[worker][count:]
        self.over.update(call.number for call in calls)
        self.check(self.dispatch.freed(worker, calls))

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0), begun=st.integers(0, 3))
    def give_back(self, pick: int, begun: int) -> None:
        worker = sorted(self.asked)[pick % len(self.asked)]
        self.asked.discard(worker)
        kept, calls = self.held[worker][:begun], self.held[worker][begun:]
        self.held[worker] = kept
        self.begun.add(worker)
        if (left := self.left[worker]) is not None:
            self.left[worker] = left + len(calls)
        self.queue.extendleft(reversed(calls))
        self.check(self.dispatch.recalled(worker, calls))

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0), begun=st.booleans())
    def lose(self, pick: int, *, begun: bool) -> None:
        worker = sorted(self.held)[pick % len(self.held)]
        calls = self.held.pop(worker)
        self.retiring.discard(worker)
        self.asked.discard(worker)
        assert self.dispatch.lost(worker) == calls
        if begun and calls:
            self.over.add(calls[0].number)
            del calls[0]
        self.queue.extendleft(reversed(calls))
        self.check(self.dispatch.returned(calls))

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0))
    def retire(self, pick: int) -> None:
        worker = sorted(self.held)[pick % len(self.held)]
        if worker not in self.retiring:
            self.retiring.add(worker)
            self.check(self.dispatch.retired(worker))

    @precondition(lambda self: self.queue)
    @rule(pick=st.integers(0))
    def withdraw(self, pick: int) -> None:
        call = self.queue[pick % len(self.queue)]
        self.queue.remove(call)
        self.over.add(call.number)
        assert self.dispatch.withdrawn(call)
        assert not self.dispatch.withdrawn(call)

    @precondition(lambda self: any(self.held.values()))
    @rule(pick=st.integers(0))
    def withdraw_too_late(self, pick: int) -> None:
        assert not self.dispatch.withdrawn(self.held[self.busy(pick)][-1])

    @rule()
    def drain(self) -> None:
        assert self.dispatch.drained() == list(self.queue)
        self.over.update(call.number for call in self.queue)
        self.queue.clear()

    def busy(self, pick: int) -> int:
        workers = sorted(worker for worker, calls in self.held.items() if calls)
        return workers[pick % len(workers)]

    @invariant()
    def no_worker_is_idle_while_a_call_waits(self) -> None:
        idle = [worker for worker, calls in self.held.items() if not calls and worker not in self.retiring]
        assert self.dispatch.idle == len(idle)
        assert self.dispatch.queued == len(self.queue)
        assert not (idle and self.queue)

    @invariant()
    def nothing_waits_behind_another_while_a_worker_is_idle(self) -> None:
        if self.dispatch.idle:
            behind = {worker for worker, calls in self.held.items() if len(calls) > 1}
            assert behind <= self.asked | self.begun, "not recalled"

    @invariant()
    def every_call_is_in_one_place(self) -> None:
        places = [call.number for call in itertools.chain(self.queue, *self.held.values())]
        assert len(places) == len(set(places)), "doubled"
        assert not self.over & set(places)
        assert self.dispatch.held == sum(map(len, self.held.values()))

    @invariant()
    def a_call_says_whether_it_waits(self) -> None:
        assert all(call.waiting for call in self.queue)
        assert not any(call.waiting for calls in self.held.values() for call in calls)


TestDispatch = DispatchMachine.TestCase
TestDispatch.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
