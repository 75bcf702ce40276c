"""A pool's decisions under any sequence of happenings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wetlands_rx._pool.dispatch import AHEAD_S, MOST_BYTES, MOST_HELD, Decision, Dispatch, Recall, Retire, Send

LONG = float("inf")


class Call:
    """One execution, or several that can be cut apart; `items` are their numbers."""

    def __init__(self, items: Sequence[int], seconds: float, size: int) -> None:
        self.items = list(items)
        self.seconds = seconds
        self.bytes = size
        self.waiting = False

    @property
    def size(self) -> int:
        return len(self.items)

    @property
    def cost(self) -> float:
        return LONG if self.seconds == LONG else max(self.seconds * self.size, AHEAD_S * self.bytes / MOST_BYTES)

    def cut(self, good: int, most: int) -> Call:
        count = min(good, most)
        return self if count >= self.size else Call(self.take(count), self.seconds, self.bytes)

    def take(self, count: int) -> list[int]:
        taken, self.items = self.items[:count], self.items[count:]
        return taken


def items_of(calls: Iterable[Call]) -> list[int]:
    return [item for call in calls for item in call.items]


class DispatchMachine(RuleBasedStateMachine):
    """Knows what must be true, in the plainest words; `Dispatch` must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatch: Dispatch[Call] = Dispatch(lambda call: call.seconds)
        self.numbers = itertools.count()
        self.workers = itertools.count()
        self.queue: list[Call] = []
        self.line: list[int] = []  # the items that wait
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
                assert len(items_of(self.held[decision.worker])) > 1, "nothing to give back"
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
            count = call.size
            assert call.items == self.line[:count], "not the first in line"
            del self.line[:count]
            self.queue = [other for other in self.queue if other is not call]
            assert not self.over.intersection(call.items)
            if held and worker not in self.asked:
                assert call.cost < LONG, "a long one waits behind another"
                assert held[0].cost < LONG, "it waits behind a long one"
            held.append(call)
        assert len(held) <= MOST_HELD
        if worker not in self.asked:
            assert sum(call.cost for call in held[1:]) <= 1.5 * AHEAD_S + 1e-9
        if left is not None:
            self.left[worker] = left - len(items_of(calls))
            assert self.left[worker] >= 0  # type: ignore[operator]

    def ended(self, retire: Retire) -> None:
        assert not self.held.pop(retire.worker), "it has calls"
        assert retire.worker in self.retiring or self.left[retire.worker] == 0
        self.retiring.discard(retire.worker)
        self.asked.discard(retire.worker)
        assert self.dispatch.lost(retire.worker) == []

    def new(self, size: int, seconds: float, large: int) -> Call:
        call = Call([next(self.numbers) for _ in range(size)], seconds, large)
        self.queue.append(call)
        self.line += call.items
        return call

    @rule(
        seconds=st.sampled_from([1e-6, 1e-4, LONG]),
        large=st.sampled_from([10, 10, 40_000, 10_000_000]),
        count=st.integers(1, 100),
    )
    def submit(self, seconds: float, large: int, count: int) -> None:
        for _ in range(count):
            send = self.dispatch.submitted(self.new(1, seconds, large))
            self.check([] if send is None else [send])

    @rule(seconds=st.sampled_from([1e-6, 1e-4, LONG]), large=st.sampled_from([10, 8192]), size=st.integers(1, 5000))
    def add(self, seconds: float, large: int, size: int) -> None:
        self.check(self.dispatch.added(self.new(size, seconds, large)))

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
        self.over.update(items_of(calls))
        self.check(self.dispatch.freed(worker, calls))

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0), begun=st.integers(0, 3), done=st.integers(1, 100))
    def give_back(self, pick: int, begun: int, done: int) -> None:
        worker = sorted(self.asked)[pick % len(self.asked)]
        self.asked.discard(worker)
        kept, calls = self.held[worker][:begun], self.held[worker][begun:]
        self.held[worker] = kept
        self.begun.add(worker)
        wanted = calls
        if len(kept) == 1 and kept[0].size > done:  # some of what it is at comes back
            first = kept[0]
            rest = Call(first.items[done:], first.seconds, first.bytes)
            first.items = first.items[:done]
            wanted = [rest, *calls]
        if (left := self.left[worker]) is not None:
            self.left[worker] = left + len(items_of(wanted))
        self.put_first(wanted)
        self.check(self.dispatch.recalled(worker, calls, wanted))

    def put_first(self, calls: list[Call]) -> None:
        self.queue = [*calls, *self.queue]
        self.line = [*items_of(calls), *self.line]

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0), begun=st.booleans())
    def lose(self, pick: int, *, begun: bool) -> None:
        worker = sorted(self.held)[pick % len(self.held)]
        calls = self.held.pop(worker)
        self.retiring.discard(worker)
        self.asked.discard(worker)
        assert self.dispatch.lost(worker) == calls
        if begun and calls:
            self.over.update(calls[0].take(1))  # the others of a call with several have not begun
            if not calls[0].items:
                del calls[0]
        self.put_first(calls)
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
        self.line = items_of(self.queue)
        self.over.update(call.items)
        assert self.dispatch.withdrawn(call)
        assert not self.dispatch.withdrawn(call)

    @precondition(lambda self: any(self.held.values()))
    @rule(pick=st.integers(0))
    def withdraw_too_late(self, pick: int) -> None:
        assert not self.dispatch.withdrawn(self.held[self.busy(pick)][-1])

    @rule()
    def drain(self) -> None:
        assert self.dispatch.drained() == self.queue
        self.over.update(self.line)
        self.queue, self.line = [], []

    def busy(self, pick: int) -> int:
        workers = sorted(worker for worker, calls in self.held.items() if calls)
        return workers[pick % len(workers)]

    @invariant()
    def no_worker_is_idle_while_a_call_waits(self) -> None:
        idle = [worker for worker, calls in self.held.items() if not calls and worker not in self.retiring]
        assert self.dispatch.idle == len(idle)
        assert self.dispatch.queued == len(self.line)
        assert not (idle and self.queue)

    @invariant()
    def nothing_waits_behind_another_while_a_worker_is_idle(self) -> None:
        if self.dispatch.idle:
            behind = {worker for worker, calls in self.held.items() if len(items_of(calls)) > 1}
            assert behind <= self.asked | self.begun, "not recalled"

    @invariant()
    def every_item_is_in_one_place(self) -> None:
        assert items_of(self.queue) == self.line
        places = items_of(itertools.chain(self.queue, *self.held.values()))
        assert len(places) == len(set(places)), "doubled"
        assert not self.over.intersection(places)
        assert self.dispatch.held == sum(map(len, self.held.values()))

    @invariant()
    def a_call_says_whether_it_waits(self) -> None:
        assert all(call.waiting for call in self.queue)
        assert not any(call.waiting for calls in self.held.values() for call in calls)


TestDispatch = DispatchMachine.TestCase
TestDispatch.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
