"""Hot streams: fed by any thread, observed on delivery threads, by hand here."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from wetlands_rx._streams import mailbox
from wetlands_rx._streams.hot import HotSubject
from wetlands_rx.testing import ManualDelivery

Heard = list[object]


@pytest.fixture
def delivery() -> ManualDelivery:
    return ManualDelivery()


@pytest.fixture
def hot(delivery: ManualDelivery) -> HotSubject[int]:
    subject = HotSubject[int]("it")
    subject.open(delivery)
    return subject


def hear(subject: HotSubject[int]) -> Heard:
    heard: Heard = []
    subject.subscribe(heard.append, heard.append, lambda: heard.append("completed"))
    return heard


def test_nothing_is_kept_while_nobody_subscribes(hot: HotSubject[int], delivery: ManualDelivery) -> None:
    assert not hot.observed
    hot.emit(1)
    assert delivery.waiting == 0
    heard = hear(hot)
    assert hot.observed
    hot.emit(2)
    assert heard == []
    delivery.run()
    assert heard == [2]


def test_who_subscribes_while_items_wait_hears_only_later_ones(hot: HotSubject[int], delivery: ManualDelivery) -> None:
    first = hear(hot)
    hot.emit(1)
    second = hear(hot)
    hot.emit(2)
    delivery.run()
    assert (first, second) == ([1, 2], [2])


def test_all_hear_one_order_and_the_end_comes_after_what_was_sent_before(
    hot: HotSubject[int], delivery: ManualDelivery
) -> None:
    first, second = hear(hot), hear(hot)
    hot.emit(1)
    hot.emit(2)
    hot.end()
    hot.emit(3)
    delivery.run()
    assert first == second == [1, 2, "completed"]


def test_a_final_end_is_told_to_late_subscribers(hot: HotSubject[int], delivery: ManualDelivery) -> None:
    error = ValueError("no")
    hot.end(error)
    hot.end()
    assert hear(hot) == [error]
    assert not hot.observed


def test_what_has_several_lives_begins_again_after_its_end(delivery: ManualDelivery) -> None:
    hot = HotSubject[int]("it", lives=True)
    early = hear(hot)
    hot.open(delivery)
    hot.emit(1)
    hot.end()
    between = hear(hot)  # the end has not been told yet
    hot.emit(2)
    delivery.run()
    assert early == [1, "completed"]
    assert between == [2]
    hot.end()
    delivery.run()
    assert between == [2, "completed"]
    assert not hot.observed


def test_an_end_waits_for_the_last_items_that_are_on_the_way(hot: HotSubject[int], delivery: ManualDelivery) -> None:
    heard = hear(hot)
    hot.owes("first")
    hot.owes("second")
    hot.owes("second")  # told twice that it ends: it owes one item all the same
    hot.end()
    hot.emit(1)
    hot.paid("first")
    delivery.run()
    assert heard == [1]
    hot.emit(2)
    hot.paid("second")
    hot.paid("second")
    delivery.run()
    assert heard == [1, 2, "completed"]


def test_what_the_next_life_owes_holds_no_end_back(delivery: ManualDelivery) -> None:
    parent = HotSubject[int]("all", lives=True)
    hot = HotSubject[int]("one", parent=parent, lives=True)
    parent.open(delivery)
    hot.open(delivery)
    all_heard, before = hear(parent), hear(hot)
    hot.owes("old")
    life = hot.turn()
    after = hear(hot)
    hot.owes("new")
    hot.end(life=life)
    parent.end()
    hot.emit(1)
    hot.paid("old")
    delivery.run()
    assert before == [1, "completed"]
    assert (after, all_heard) == ([1], [1])  # the parent waits for both
    hot.paid("new")
    delivery.run()
    assert (after, all_heard) == ([1], [1, "completed"])


def test_other_threads_may_serve_the_next_life() -> None:
    hot = HotSubject[int]("it", lives=True)
    heard = hear(hot)
    for number in (1, 2):
        delivery = ManualDelivery()
        hot.open(delivery)
        hot.emit(number)
        delivery.run()
    assert heard == [1, 2]


def test_a_parent_hears_everything_and_outlives_its_children(delivery: ManualDelivery) -> None:
    parent = HotSubject[int]("all", lives=True)
    children = [HotSubject[int]("one", parent=parent, lives=True) for _ in range(2)]
    for subject in (parent, *children):
        subject.open(delivery)
    heard = hear(parent)
    assert all(child.observed for child in children)
    children[0].emit(1)
    children[0].end()
    children[1].emit(2)
    delivery.run()
    assert heard == [1, 2]


def test_a_disposed_subscription_hears_nothing_more_not_even_what_waits(
    hot: HotSubject[int], delivery: ManualDelivery
) -> None:
    heard: list[int] = []
    subscription = hot.subscribe(heard.append)
    hot.emit(1)
    subscription.dispose()
    assert not hot.observed
    delivery.run()
    assert heard == []


def test_an_observer_that_raises_disturbs_nobody(
    hot: HotSubject[int], delivery: ManualDelivery, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_item: int) -> None:
        raise SystemExit(3)

    hot.subscribe(broken)
    heard = hear(hot)
    hot.emit(1)
    hot.emit(2)
    with caplog.at_level(logging.ERROR, "wetlands_rx"):
        delivery.run()
    assert heard == [1, 2]
    assert len(caplog.records) == 2


def test_no_lock_is_held_while_observers_are_called(hot: HotSubject[int], delivery: ManualDelivery) -> None:
    """Whoever is called may subscribe, dispose, feed and end, here and from another thread."""
    heard: list[int] = []

    def from_elsewhere() -> None:
        hot.subscribe(heard.append).dispose()
        hot.emit(2)

    def on_item(item: int) -> None:
        heard.append(item)
        if item == 1:
            thread = threading.Thread(target=from_elsewhere)
            thread.start()
            thread.join(10.0)
            assert not thread.is_alive()

    hot.subscribe(on_item)
    hot.emit(1)
    delivery.run()
    assert heard == [1, 2]


def test_of_too_many_items_the_newest_that_may_replaces_the_last(
    delivery: ManualDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MOST_WAITING", 3)
    hot = HotSubject[int]("it", may_drop=lambda item: item < 100)
    hot.open(delivery)
    heard = hear(hot)
    for item in (1, 2, 3, 4, 5, 100, 6, 7):
        hot.emit(item)
    delivery.run()
    assert heard == [1, 2, 5, 100, 7]


def test_an_item_that_replaces_one_from_before_a_subscription_is_heard_all_the_same(
    delivery: ManualDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MOST_WAITING", 3)
    hot = HotSubject[int]("it", may_drop=lambda _: True)
    hot.open(delivery)
    early = hear(hot)
    for item in (1, 2, 3):
        hot.emit(item)
    late = hear(hot)
    hot.emit(4)
    hot.emit(5)
    delivery.run()
    assert (early, late) == ([1, 2, 3, 5], [5])


def test_a_raising_subscriber_is_named_and_not_what_rx_wraps_it_in(
    hot: HotSubject[int], delivery: ManualDelivery, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_item: int) -> None:
        raise ValueError("no")

    hot.subscribe(broken)
    hot.emit(1)
    with caplog.at_level(logging.ERROR, "wetlands_rx"):
        delivery.run()
    assert broken.__qualname__ in caplog.records[0].getMessage()


def test_in_a_forked_child_a_stream_that_was_being_told_begins_anew(hot: HotSubject[int]) -> None:
    read, write = os.pipe()

    def fork_meanwhile(item: int) -> None:
        if item == 1 and os.fork() == 0:
            delivery = ManualDelivery()
            hot.open(delivery)
            hot.emit(2)
            delivery.run()
            os._exit(0)
        os.write(write, bytes([item]))

    hot.subscribe(fork_meanwhile)
    delivery = ManualDelivery()
    hot.open(delivery)
    hot.emit(1)
    delivery.run()
    os.wait()
    assert sorted(os.read(read, 10)) == [1, 2]
    os.close(read)
    os.close(write)
