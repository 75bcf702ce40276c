"""Several streams as one: one item at a time, nothing lost, and a bound for what waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject

from wetlands_rx._streams.merged import Merged

Item = tuple[str, int]


class NegativesMatter:
    """Of each stream, a newer positive number stands for an older one."""

    def source_of(self, item: Item, /) -> str:
        return item[0]

    def replaceable(self, item: Item, /) -> bool:
        return item[1] >= 0


class Sources(dict[str, "Subject[Item]"]):
    """Streams by name, and all that one subscriber was told."""

    def __init__(self, names: str, most_waiting: int = 1000) -> None:
        super().__init__((name, Subject[Item]()) for name in names)
        self.merged = Merged(tuple(self.values()), "the sources", NegativesMatter(), most_waiting)
        self.told: list[Item | str] = []
        self.while_told: dict[Item, Callable[[], None]] = {}
        self.subscription = self.merged.subscribe(self._on_next, on_completed=lambda: self.told.append("|"))

    def _on_next(self, item: Item) -> None:
        self.told.append(item)
        if item in self.while_told:
            self.while_told[item]()
            self.told.append("told")

    def say(self, name: str, *numbers: int) -> None:
        for number in numbers:
            self[name].on_next((name, number))


def test_all_is_told_in_the_order_in_which_it_comes_and_the_last_end_is_the_end() -> None:
    sources = Sources("ab")
    sources.say("a", 1)
    sources.say("b", 2)
    sources["a"].on_completed()
    sources.say("b", 3)
    assert sources.told == [("a", 1), ("b", 2), ("b", 3)]
    sources["b"].on_completed()
    assert sources.told[3:] == ["|"]


def test_what_comes_while_a_subscriber_is_called_is_told_when_it_has_returned() -> None:
    sources = Sources("ab")

    def meanwhile() -> None:
        sources.say("b", 2)
        sources["b"].on_completed()
        sources["a"].on_completed()

    sources.while_told["a", 1] = meanwhile
    sources.say("a", 1)
    assert sources.told == [("a", 1), "told", ("b", 2), "|"]


def test_in_a_flood_the_newest_of_each_stream_is_told_and_whatever_matters_in_its_order() -> None:
    sources = Sources("ab", most_waiting=2)

    def meanwhile() -> None:
        sources.say("a", 1, 2)  # as many as may wait
        sources.say("a", 3, 4)
        sources.say("b", 5, 6)
        sources.say("a", 7, -8, 9, 10)

    sources.while_told["a", 0] = meanwhile
    sources.say("a", 0)
    assert sources.told[2:] == [("a", 1), ("a", 2), ("a", 7), ("b", 6), ("a", -8), ("a", 10)]


def test_after_a_flood_nothing_is_left_out_and_nothing_overtakes() -> None:
    sources = Sources("a", most_waiting=2)
    sources.while_told["a", 0] = lambda: sources.say("a", *range(1, 100))
    sources.say("a", 0)
    assert sources.told[2:] == [("a", 1), ("a", 2), ("a", 99)]
    sources.told.clear()
    sources.while_told["a", 100] = lambda: sources.say("a", 101, 102)
    sources.say("a", 100)
    assert sources.told == [("a", 100), "told", ("a", 101), ("a", 102)]


def test_in_a_flood_what_is_being_told_is_not_replaced() -> None:
    sources = Sources("ab", most_waiting=1)

    def meanwhile() -> None:
        sources.say("a", 1, 2)
        sources.say("b", 3)

    sources.while_told["a", 0] = meanwhile
    sources.while_told["a", 2] = lambda: sources.say("a", 4)
    sources.say("a", 0)
    assert sources.told == [("a", 0), "told", ("a", 1), ("a", 2), "told", ("b", 3), ("a", 4)]


def test_between_two_floods_nothing_is_overtaken() -> None:
    sources = Sources("ab", most_waiting=2)

    def meanwhile() -> None:
        sources.say("b", 1, 2)
        sources.say("a", 3)  # one more than may wait

    sources.while_told["a", 0] = meanwhile
    sources.while_told["b", 2] = lambda: sources.say("a", -4, 5)
    sources.say("a", 0)
    assert sources.told == [("a", 0), "told", ("b", 1), ("b", 2), "told", ("a", 3), ("a", -4), ("a", 5)]


def test_no_stream_at_all_is_over_at_once() -> None:
    assert Sources("").told == ["|"]


def test_disposing_lets_go_of_all_streams_and_tells_nothing_more() -> None:
    sources = Sources("abc")

    def meanwhile() -> None:
        sources.say("b", 2)
        sources.subscription.dispose()

    sources.while_told["a", 1] = meanwhile
    sources.say("a", 1)
    assert sources.told == [("a", 1), "told"]
    assert not any(source.observers for source in sources.values())


def test_a_subscriber_that_has_enough_keeps_no_stream() -> None:
    sources = Sources("ab")
    told: list[Item] = []
    sources.merged.pipe(ops.take(1)).subscribe(told.append)
    sources.subscription.dispose()
    sources.say("b", 1, 2)
    assert told == [("b", 1)]
    assert not any(source.observers for source in sources.values())


def test_a_subscriber_that_raises_is_reported_and_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_item: Item) -> None:
        raise ZeroDivisionError

    sources = Sources("a")
    sources.merged.subscribe(refuse)
    sources.say("a", 1, 2)
    assert sources.told == [("a", 1), ("a", 2)]
    assert "a listener of the sources raised" in caplog.text
