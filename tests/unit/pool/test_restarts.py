"""Whether a lost worker is replaced, and when."""

from __future__ import annotations

import pytest

from wetlands_rx._pool.restarts import Restarts


@pytest.fixture
def restarts() -> Restarts:
    return Restarts()


def test_a_death_that_took_a_call_is_replaced_at_once_however_often(restarts: Restarts) -> None:
    assert {restarts.lost(was_ready=True, had_call=True) for _ in range(1000)} == {0.0}


def test_idle_deaths_are_replaced_later_and_later_and_then_no_more(restarts: Restarts) -> None:
    assert [restarts.lost(was_ready=True, had_call=False) for _ in range(5)] == [0.0, 0.2, 0.4, 0.8, None]


def test_the_second_death_at_the_start_is_the_last(restarts: Restarts) -> None:
    assert [restarts.lost(was_ready=False, had_call=False) for _ in range(2)] == [0.2, None]


def test_a_worker_that_starts_forgives_deaths_at_the_start_only(restarts: Restarts) -> None:
    restarts.lost(was_ready=False, had_call=False)
    for _ in range(4):
        restarts.lost(was_ready=True, had_call=False)
    restarts.started()
    assert restarts.lost(was_ready=False, had_call=False) == 0.2
    assert restarts.lost(was_ready=True, had_call=False) is None


def test_a_shortage_is_waited_out_for_longer_but_not_for_ever(restarts: Restarts) -> None:
    delays = [restarts.not_started(for_want=True) for _ in range(7)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, None]
    restarts.served()
    assert restarts.not_started(for_want=True) == 0.2


def test_a_start_that_fails_for_another_reason_counts_as_a_death_at_the_start(restarts: Restarts) -> None:
    assert restarts.lost(was_ready=False, had_call=False) == 0.2
    assert restarts.not_started(for_want=False) is None


def test_an_answer_forgives_all(restarts: Restarts) -> None:
    for _ in range(4):
        restarts.lost(was_ready=True, had_call=False)
    restarts.lost(was_ready=False, had_call=False)
    restarts.served()
    assert restarts.lost(was_ready=True, had_call=False) == 0.0
    assert restarts.lost(was_ready=False, had_call=False) == 0.2


def test_a_death_with_a_call_forgives_nothing(restarts: Restarts) -> None:
    for _ in range(4):
        restarts.lost(was_ready=True, had_call=False)
    restarts.lost(was_ready=True, had_call=True)
    assert restarts.lost(was_ready=True, had_call=False) is None
