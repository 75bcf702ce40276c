"""A pool's decisions under any sequence of happenings."""

from __future__ import annotations

import itertools
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wetlands_rx._pool.dispatch import Dispatch, Send


class Call:
    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting = False


class DispatchMachine(RuleBasedStateMachine):
    """Knows what must be true, in the plainest words; `Dispatch` must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatch: Dispatch[Call] = Dispatch()
        self.numbers = itertools.count()
        self.queue: deque[Call] = deque()
        self.withdrawn: set[int] = set()
        self.sent: list[int] = []
        self.idle: list[int] = []
        self.busy: dict[int, Call] = {}
        self.gone: list[int] = []

    def check(self, send: Send[Call] | None) -> None:
        if self.idle and self.queue:
            assert send is not None, "a worker is idle while a call waits"
            assert send.call is self.queue.popleft(), "not the first in line"
            assert send.worker == self.idle.pop(0), "not the one that is idle longest"
            assert send.call.number not in self.withdrawn
            self.sent.append(send.call.number)
            self.busy[send.worker] = send.call
        else:
            assert send is None

    @rule()
    def submit(self) -> None:
        call = Call(next(self.numbers))
        self.queue.append(call)
        self.check(self.dispatch.submitted(call))

    @rule()
    def join(self) -> None:
        worker = self.gone.pop() if self.gone else len(self.idle) + len(self.busy)
        self.idle.append(worker)
        self.check(self.dispatch.joined(worker))

    @precondition(lambda self: self.busy)
    @rule(pick=st.integers(0))
    def free(self, pick: int) -> None:
        worker = list(self.busy)[pick % len(self.busy)]
        del self.busy[worker]
        self.idle.append(worker)
        self.check(self.dispatch.freed(worker))

    @precondition(lambda self: self.busy or self.idle)
    @rule(pick=st.integers(0), returned=st.booleans())
    def lose(self, pick: int, *, returned: bool) -> None:
        workers = [*self.busy, *self.idle]
        worker = workers[pick % len(workers)]
        call = self.busy.pop(worker, None)
        if call is None:
            self.idle.remove(worker)
        self.gone.append(worker)
        assert self.dispatch.lost(worker) is call
        if call is not None and returned:
            self.sent.remove(call.number)
            self.queue.appendleft(call)
            self.check(self.dispatch.returned(call))

    @precondition(lambda self: self.queue)
    @rule(pick=st.integers(0))
    def withdraw(self, pick: int) -> None:
        call = self.queue[pick % len(self.queue)]
        self.queue.remove(call)
        self.withdrawn.add(call.number)
        assert self.dispatch.withdrawn(call)
        assert not self.dispatch.withdrawn(call)

    @precondition(lambda self: self.busy)
    @rule(pick=st.integers(0))
    def withdraw_too_late(self, pick: int) -> None:
        assert not self.dispatch.withdrawn(list(self.busy.values())[pick % len(self.busy)])

    @rule()
    def drain(self) -> None:
        assert self.dispatch.drained() == list(self.queue)
        self.withdrawn.update(call.number for call in self.queue)
        self.queue.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert self.dispatch.queued == len(self.queue)
        assert self.dispatch.idle == len(self.idle)
        assert not (self.idle and self.queue)

    @invariant()
    def every_call_is_sent_at_most_once(self) -> None:
        assert len(self.sent) == len(set(self.sent))
        assert not self.withdrawn & set(self.sent)

    @invariant()
    def a_call_says_whether_it_waits(self) -> None:
        assert all(call.waiting for call in self.queue)
        assert not any(call.waiting for call in self.busy.values())


TestDispatch = DispatchMachine.TestCase
TestDispatch.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
