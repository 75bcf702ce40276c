"""Delivery threads and mailboxes: the clock is turned by hand, and nothing waits without a bound."""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from wetlands_rx._streams.delivery import CLOSING_PATIENCE_S, Delivery
from wetlands_rx._streams.mailbox import Deliverer, Mailbox, Step
from wetlands_rx._streams.subject import Listener
from wetlands_rx._worker.supervisor import Supervisor
from wetlands_rx.testing import ManualDelivery

SOON = 10.0


class Clock:
    """Keeps what is due; `tick` runs it."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, delay: float, function: Callable[[], None], /) -> None:
        self.due.append(function)

    def tick(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def delivery(clock: Clock) -> Iterator[Delivery]:
    """Considers each call stuck that the clock finds under way."""
    delivery = Delivery(clock.call_later, "wetlands-test", stall_s=0.0, held_back_s=0.0)
    yield delivery
    delivery.close(SOON)
    assert not any(thread.name.startswith("wetlands-test") for thread in threading.enumerate())


def telling(*listeners: Listener[int]) -> Callable[[int, int], list[Step]]:
    return lambda item, _number: [(listener, item) for listener in listeners]


def doing(function: Callable[[int], object]) -> Callable[[int, int], list[Step]]:
    return lambda item, _number: [(None, lambda: void(function(item)))]


def void(_: object) -> None:
    pass


class Blocker:
    """A listener that does not come back before it is released."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.seen: list[int] = []

    def __call__(self, item: int) -> None:
        self.entered.set()
        assert self.release.wait(SOON)
        self.seen.append(item)


def collect(into: list[int], last: int, end: threading.Event) -> Callable[[int], None]:
    def on_item(item: int) -> None:
        into.append(item)
        if item == last:
            end.set()

    return on_item


def test_items_are_handled_in_the_order_of_posting_with_their_numbers() -> None:
    seen: list[tuple[int, int]] = []
    delivery = ManualDelivery()

    def handle(item: int, number: int) -> list[Step]:
        return [(None, lambda: seen.append((item, number)))]

    mailbox = Mailbox(handle, delivery)
    for item in (30, 10, 20):
        mailbox.post(item)
    assert (mailbox.pending, mailbox.accepted, seen) == (3, 3, [])
    delivery.run()
    assert seen == [(30, 0), (10, 1), (20, 2)]
    assert mailbox.pending == 0


def test_what_a_call_posts_comes_after_what_waits() -> None:
    seen: list[int] = []
    delivery = ManualDelivery()

    def on_item(item: int) -> None:
        seen.append(item)
        if item == 1:
            mailbox.post(3)

    mailbox = Mailbox(doing(on_item), delivery)
    mailbox.post(1)
    mailbox.post(2)
    delivery.run()
    assert seen == [1, 2, 3]


def test_the_calls_of_an_item_are_made_before_the_next_item_is_handled() -> None:
    story: list[str] = []
    delivery = ManualDelivery()

    def handle(item: int, _number: int) -> list[Step]:
        story.append(f"handle {item}")
        return [(None, lambda: story.append(f"a {item}")), (None, lambda: story.append(f"b {item}"))]

    mailbox = Mailbox(handle, delivery)
    mailbox.post(1)
    mailbox.post(2)
    delivery.run()
    assert story == ["handle 1", "a 1", "b 1", "handle 2", "a 2", "b 2"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_call_that_raises_is_logged_and_the_rest_goes_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    delivery = ManualDelivery()

    def on_item(item: int) -> None:
        if item == 1:
            raise error
        seen.append(item)

    mailbox = Mailbox(doing(on_item), delivery)
    mailbox.post(1)
    mailbox.post(2)
    with caplog.at_level(logging.ERROR, "wetlands_rx"):
        delivery.run()
    assert seen == [2]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_a_mailbox_with_much_to_do_lets_others_have_their_turn() -> None:
    order: list[str] = []
    delivery = ManualDelivery()
    long = Mailbox[int](doing(lambda _item: order.append("long")), delivery)
    short = Mailbox[int](doing(lambda _item: order.append("short")), delivery)
    for item in range(5000):
        long.post(item)
    short.post(0)
    delivery.run()
    assert order.count("long") == 5000
    assert order.index("short") < 5000


def test_the_owner_of_a_mailbox_is_the_thread_that_empties_it_and_only_meanwhile() -> None:
    owners: list[int | None] = []
    delivery = ManualDelivery()
    mailbox = Mailbox[int](doing(lambda _item: owners.append(mailbox.owner)), delivery)
    assert mailbox.owner is None
    mailbox.post(1)
    delivery.run()
    assert owners == [threading.get_ident()]
    assert mailbox.owner is None


def test_one_thread_serves_all_mailboxes(delivery: Delivery) -> None:
    names: set[str] = set()
    end = threading.Event()
    for place in range(20):
        mailbox = Mailbox[int](doing(lambda _item: names.add(threading.current_thread().name)), delivery)
        mailbox.post(place)
    Mailbox[int](doing(lambda _item: end.set()), delivery).post(0)
    assert end.wait(SOON)
    assert names == {"wetlands-test-0"}


def test_a_blocked_call_does_not_stop_other_mailboxes(delivery: Delivery, clock: Clock) -> None:
    blocker, end = Blocker(), threading.Event()
    Mailbox(doing(blocker), delivery).post(1)
    assert blocker.entered.wait(SOON)
    Mailbox[int](doing(lambda _item: end.set()), delivery).post(2)
    assert not end.is_set()
    clock.tick()
    assert end.wait(SOON)
    blocker.release.set()


def test_as_many_threads_as_blocked_calls(clock: Clock) -> None:
    delivery = Delivery(clock.call_later, "wetlands-few", stall_s=0.0)
    blockers = [Blocker() for _ in range(5)]
    for blocker in blockers:
        Mailbox(doing(blocker), delivery).post(1)
        clock.tick()
        assert blocker.entered.wait(SOON)
    for _ in range(10):
        clock.tick()
    assert sum(thread.name.startswith("wetlands-few") for thread in threading.enumerate()) == 5
    for blocker in blockers:
        blocker.release.set()
    delivery.close(SOON)


def test_a_blocked_listener_holds_back_neither_its_neighbours_nor_what_comes_after(
    delivery: Delivery, clock: Clock
) -> None:
    blocker, end = Blocker(), threading.Event()
    seen: list[int] = []
    mailbox = Mailbox(
        telling(Listener(blocker, None, "it"), Listener(collect(seen, 3, end), None, "it")),
        delivery,
    )
    for item in (1, 2, 3):
        mailbox.post(item)
    assert blocker.entered.wait(SOON)
    clock.tick()
    assert end.wait(SOON)
    assert seen == [1, 2, 3]
    assert blocker.seen == []
    blocker.release.set()


def test_a_listener_that_comes_back_hears_what_it_missed_in_order_on_its_own_thread(
    delivery: Delivery, clock: Clock
) -> None:
    blocker, told, caught_up = Blocker(), threading.Event(), threading.Event()
    threads: list[str] = []

    def on_item(item: int) -> None:
        threads.append(threading.current_thread().name)
        blocker(item)
        if item == 4:
            caught_up.set()

    seen: list[int] = []
    slow = Listener(on_item, None, "it")
    mailbox = Mailbox(telling(slow, Listener(collect(seen, 4, told), None, "it")), delivery)
    for item in (1, 2, 3):
        mailbox.post(item)
    assert blocker.entered.wait(SOON)
    clock.tick()
    mailbox.post(4)
    assert told.wait(SOON)
    blocker.release.set()
    assert caught_up.wait(SOON)
    assert blocker.seen == [1, 2, 3, 4]
    assert len(set(threads)) == 1


def test_a_listener_that_caught_up_is_called_like_all_others_again(delivery: Delivery, clock: Clock) -> None:
    blocker, told = Blocker(), threading.Event()
    slow = Listener(blocker, None, "it")
    mailbox = Mailbox(telling(slow), delivery)
    mailbox.post(1)
    assert blocker.entered.wait(SOON)
    clock.tick()
    blocker.release.set()
    delivery.close(SOON)  # its thread has come back and caught up
    assert slow.late is None
    after = Mailbox(telling(slow, Listener(lambda _item: told.set(), None, "it")), delivery)
    after.post(2)
    assert told.wait(SOON)
    assert blocker.seen == [1, 2]


def test_a_mailbox_that_was_overtaken_empty_goes_on_with_the_next_item(delivery: Delivery, clock: Clock) -> None:
    blocker, end = Blocker(), threading.Event()
    mailbox = Mailbox[int](
        lambda item, _number: [(None, partial(blocker, item) if item == 1 else end.set)],
        delivery,
    )
    mailbox.post(1)
    assert blocker.entered.wait(SOON)
    clock.tick()
    mailbox.post(2)
    clock.tick()
    assert end.wait(SOON)
    blocker.release.set()


def test_overtaking_looks_at_the_present_call_only() -> None:
    delivery = ManualDelivery()
    deliverer, stranger = Deliverer(), Deliverer()
    answers: list[bool] = []

    def on_item(_item: int) -> None:
        answers.append(mailbox.overtake(stranger, sys.float_info.max))
        answers.append(mailbox.overtake(deliverer, deliverer.since - 1.0))

    mailbox = Mailbox(doing(on_item), delivery)
    mailbox.post(1)
    assert mailbox.drain(deliverer) is False
    assert answers == [False, False]
    assert mailbox.overtake(deliverer, sys.float_info.max) is False


def test_a_listener_noticed_late_is_still_noticed(delivery: Delivery, clock: Clock) -> None:
    """The clock looks when nothing is under way, goes, and must come back for what begins then."""
    first, end = threading.Event(), threading.Event()
    Mailbox[int](doing(lambda _item: first.set()), delivery).post(0)
    assert first.wait(SOON)
    while clock.due:
        clock.tick()
    blocker = Blocker()
    Mailbox(doing(blocker), delivery).post(1)
    assert blocker.entered.wait(SOON)
    assert clock.due
    Mailbox[int](doing(lambda _item: end.set()), delivery).post(2)
    clock.tick()
    assert end.wait(SOON)
    blocker.release.set()


def test_a_call_that_begins_while_the_clock_has_just_looked_is_noticed(clock: Clock) -> None:
    """A thread has taken the mailbox from the queue and not begun: at that moment nothing is to be seen."""

    class LookedAt(Delivery):
        looked = False

        def _next(self, thread: Any) -> Any:
            work = super()._next(thread)
            if not self.looked:  # the threads that come later find the clock at work
                self.looked = True
                while clock.due:
                    clock.tick()
            return work

    delivery = LookedAt(clock.call_later, "wetlands-looked", stall_s=0.0, held_back_s=0.0)
    blocker, told = Blocker(), threading.Event()
    other = Listener[int](lambda _item: told.set(), None, "it")
    Mailbox(telling(Listener(blocker, None, "it"), other), delivery).post(1)
    assert blocker.entered.wait(SOON)
    assert clock.due, "nobody looks"
    clock.tick()
    assert told.wait(SOON)
    blocker.release.set()
    delivery.close(SOON)


def test_closing_ends_threads_that_have_nothing_to_do(clock: Clock) -> None:
    delivery = Delivery(clock.call_later, "wetlands-idle", stall_s=0.0)
    blocker, end = Blocker(), threading.Event()
    Mailbox(doing(blocker), delivery).post(1)
    assert blocker.entered.wait(SOON)
    Mailbox[int](doing(lambda _item: end.set()), delivery).post(2)
    clock.tick()
    assert end.wait(SOON)
    blocker.release.set()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("wetlands-idle")]
    assert len(threads) == 2
    delivery.close(SOON)
    assert not any(thread.is_alive() for thread in threads)


def test_the_clock_rests_when_nothing_is_delivered(delivery: Delivery, clock: Clock) -> None:
    end = threading.Event()
    Mailbox[int](doing(lambda _item: end.set()), delivery).post(0)
    assert end.wait(SOON)
    delivery.close(SOON)
    for _ in range(3):
        clock.tick()
    assert clock.due == []


def test_closing_delivers_what_waits(clock: Clock) -> None:
    seen: list[int] = []
    delivery = Delivery(clock.call_later)
    gate = threading.Event()
    mailbox = Mailbox[int](doing(lambda item: seen.append(item) if item else gate.wait(SOON)), delivery)
    for item in range(2000):
        mailbox.post(item)
    gate.set()
    delivery.close(SOON)
    assert seen == list(range(1, 2000))


def test_closing_inside_a_call_ends_the_thread_too(clock: Clock) -> None:
    """Two wake-ups in the queue once kept the thread running for ever."""
    delivery = Delivery(clock.call_later, "wetlands-inside")
    closed = threading.Event()
    threads: list[threading.Thread] = []

    def on_item(_item: int) -> None:
        threads.append(threading.current_thread())
        delivery.close(SOON)
        closed.set()

    Mailbox(doing(on_item), delivery).post(1)
    assert closed.wait(SOON)
    threads[0].join(SOON)
    assert not threads[0].is_alive()


def test_what_is_posted_after_closing_is_delivered_and_its_thread_ends(clock: Clock) -> None:
    delivery = Delivery(clock.call_later)
    delivery.close(SOON)
    end = threading.Event()
    threads: list[threading.Thread] = []
    Mailbox[int](doing(lambda _item: (threads.append(threading.current_thread()), end.set())), delivery).post(1)
    assert end.wait(SOON)
    threads[0].join(SOON)
    assert not threads[0].is_alive()


def test_closing_waits_no_longer_than_it_is_told_for_a_blocked_call(clock: Clock) -> None:
    delivery = Delivery(clock.call_later)
    blocker = Blocker()
    Mailbox(doing(blocker), delivery).post(1)
    assert blocker.entered.wait(SOON)
    delivery.close(0.0)
    blocker.release.set()
    delivery.close(SOON)
    assert blocker.seen == [1]


@pytest.mark.parametrize("running", [False, True])
def test_a_finalizer_may_hand_a_function_over_while_the_lock_is_held(
    delivery: Delivery, clock: Clock, running: bool
) -> None:
    if running:
        first = threading.Event()
        Mailbox(doing(lambda _item: first.set()), delivery).post(1)
        assert first.wait(SOON)
    end = threading.Event()
    names: list[str] = []
    with delivery._lock:  # pyright: ignore[reportPrivateUsage]
        delivery.soon(lambda: (names.append(threading.current_thread().name), end.set()))
    clock.tick()
    assert end.wait(SOON)
    assert names == ["wetlands-test-0"]


def test_a_function_handed_over_that_raises_is_logged(
    delivery: Delivery, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    end = threading.Event()
    with caplog.at_level(logging.ERROR, "wetlands_rx"):
        delivery.soon(lambda: 1 / 0)
        delivery.soon(end.set)
        clock.tick()
        assert end.wait(SOON)
    assert "ZeroDivisionError" in caplog.text


def test_by_hand_a_function_waits_for_its_turn() -> None:
    seen: list[int] = []
    delivery = ManualDelivery()
    delivery.soon(lambda: seen.append(1))
    assert (delivery.waiting, seen) == (1, [])
    delivery.run()
    assert (delivery.waiting, seen) == (0, [1])


def ticking(clock: Clock, event: threading.Event) -> bool:
    """Turn the clock until an event comes."""
    for _ in range(1000):
        clock.tick()
        if event.wait(0.01):
            return True
    return False


@pytest.mark.parametrize("most_overtaken", [1000, 3])
def test_however_many_listeners_block_the_others_are_served(clock: Clock, most_overtaken: int) -> None:
    delivery = Delivery(
        clock.call_later, "wetlands-many", stall_s=0.0, held_back_s=0.0, most_threads=2, most_overtaken=most_overtaken
    )
    release = threading.Event()
    told: list[str] = []
    ends = [threading.Event() for _ in range(20)]

    def block(name: str) -> None:
        assert release.wait(SOON)
        told.append(name)

    def handle(item: int, _number: int) -> list[Step]:
        slow = Listener[str](block, None, "it")
        return [(slow, "first"), (slow, "second"), (None, ends[item].set)]

    for item in range(20):
        Mailbox(handle, delivery).post(item)
    assert all(ticking(clock, end) for end in ends)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("wetlands-many")]
    release.set()
    delivery.close(SOON)
    assert not any(thread.is_alive() for thread in threads)
    assert len(told) == 2 * 20 if most_overtaken == 1000 else len(told) < 2 * 20


def test_the_log_names_a_listener_that_does_not_come_back_once(
    delivery: Delivery, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def never_back(_item: int) -> None:
        assert release.wait(SOON)

    for _ in range(3):
        entered, end = threading.Event(), threading.Event()
        slow = Listener(never_back, None, "it")
        mailbox = Mailbox(
            telling(Listener[int](lambda _item, entered=entered: entered.set(), None, "it"), slow), delivery
        )
        mailbox.post(1)
        assert ticking(clock, entered)
        Mailbox[int](lambda _item, _number, end=end: [(None, end.set)], delivery).post(2)
        assert ticking(clock, end)
    said = threading.Event()
    delivery.soon(said.set)
    assert ticking(clock, said)
    release.set()
    delivery.close(SOON)
    named = [record.getMessage() for record in caplog.records if "never_back" in record.getMessage()]
    assert len(named) == 1
    assert __name__ in named[0]


def test_a_thread_that_cannot_be_started_is_tried_again_by_the_clock(
    delivery: Delivery, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        Mailbox[int](doing(lambda _item: end.set()), delivery).post(1)
        clock.tick()
    assert not end.is_set()
    assert ticking(clock, end)


def test_closing_does_not_wait_for_a_call_that_does_not_come_back_but_for_all_others() -> None:
    blocker, neighbour = Blocker(), threading.Event()
    delivered: list[int] = []
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later)
    slow = Listener(blocker, None, "it")
    Mailbox(telling(slow, Listener[int](lambda _item: neighbour.set(), None, "it")), delivery).post(1)
    assert blocker.entered.wait(SOON)
    others = Mailbox(doing(delivered.append), delivery)
    for item in range(3000):
        others.post(item)
    began = time.monotonic()
    delivery.close(SOON)
    took = time.monotonic() - began
    assert neighbour.is_set()
    assert delivered == list(range(3000))
    assert took < SOON / 2
    blocker.release.set()
    delivery.close(SOON)
    supervisor.close()
    assert blocker.seen == [1]


def test_closing_waits_for_a_listener_that_is_slow_but_goes_on() -> None:
    """Each of its calls comes back within the patience, all together do not."""
    seen: list[int] = []
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later)
    never = threading.Event()

    def on_item(item: int) -> None:
        never.wait(CLOSING_PATIENCE_S / 3)
        seen.append(item)

    mailbox = Mailbox(telling(Listener(on_item, None, "it")), delivery)
    for item in range(4):
        mailbox.post(item)
    delivery.close(SOON)
    supervisor.close()
    assert seen == [0, 1, 2, 3]


class Dying:
    """An item whose finalizer calls the library back, as users' objects may."""

    def __init__(self, call_back: Callable[[], object]) -> None:
        self.call_back = call_back

    def __del__(self) -> None:
        self.call_back()


def within(seconds: float, function: Callable[[], object]) -> bool:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_a_listener_that_came_back_late_is_let_go(delivery: Delivery, clock: Clock) -> None:
    blocker, freed = Blocker(), threading.Event()
    weakref.finalize(blocker, freed.set)
    entered, release = blocker.entered, blocker.release
    Mailbox(telling(Listener(blocker, None, "it")), delivery).post(1)
    assert entered.wait(SOON)
    clock.tick()
    del blocker
    release.set()
    assert freed.wait(SOON)


def test_finalizers_of_items_calls_and_listeners_may_post() -> None:
    delivery = ManualDelivery()
    posted: list[str] = []

    def call_back() -> None:
        posted.append("again")
        if len(posted) < 1000:
            mailbox.post(None)

    def handle(item: Dying | None, _number: int) -> list[Step]:
        if item is None:
            return []
        slow = Listener[Dying](keep(Dying(call_back)), None, "it")
        return [(slow, item), (None, partial(void, Dying(call_back)))]

    mailbox = Mailbox[Dying | None](handle, delivery)
    for _ in range(3):
        mailbox.post(Dying(call_back))
    assert within(SOON, delivery.run)
    assert len(posted) == 9


def keep(thing: object) -> Callable[[object], None]:
    return lambda _event: void(thing)


def test_finalizers_of_what_a_listener_missed_may_post(delivery: Delivery, clock: Clock) -> None:
    blocker, told, caught_up = Blocker(), threading.Event(), threading.Event()
    dropped: list[int] = []

    def call_back() -> None:
        dropped.append(1)
        mailbox.post(None)

    def on_item(item: Dying | None) -> None:
        if item is None:
            caught_up.set()
        else:
            blocker(1)

    slow = Listener(on_item, None, "it")

    def handle(item: Dying | None, _number: int) -> list[Step]:
        return [(slow, item)]

    mailbox = Mailbox[Dying | None](handle, delivery)
    for _ in range(3):
        mailbox.post(Dying(call_back))
    assert blocker.entered.wait(SOON)
    Mailbox[int](doing(lambda _item: told.set()), delivery).post(1)
    assert ticking(clock, told)
    blocker.release.set()
    assert ticking(clock, caught_up)
