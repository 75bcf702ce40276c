"""What cannot be meant is refused when an operator is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.unit.operators.by_hand import FILE, ByHand, work
from wetlands_rx import operators as typed_operators

NAN, INFINITE = float("nan"), float("inf")
ENV = ByHand()
operators: Any = typed_operators  # what is called here would not pass a type checker


@pytest.mark.parametrize("operator", [operators.map_in, operators.switch_map_in, operators.exhaust_map_in])
@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((None, FILE, "work"), {}, TypeError, "env is None; Environment is wanted"),
        ((ENV, None, "work"), {}, TypeError, "module is None; a Python file or a function is wanted"),
        ((ENV, FILE), {}, TypeError, "the name of a function in .* is wanted, not None"),
        ((ENV, FILE, ""), {}, TypeError, "the name of a function in .* is wanted, not ''"),
        ((ENV, work, "work"), {}, TypeError, "is a function already"),
        ((ENV, FILE, "work"), {"on_error": "bogus"}, ValueError, 'is \'bogus\'; it is "raise", "emit" or "skip"'),
    ],
)
def test_a_function_in_an_environment_is_wanted(
    operator: Callable[..., object],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        operator(*arguments, **options)


@pytest.mark.parametrize(
    "make",
    [
        operators.hedge,
        operators.progress,
        operators.conflate,
        operators.timeout_total,
        partial(operators.retry_task, 1),
    ],
    ids=["hedge", "progress", "conflate", "timeout_total", "retry_task"],
)
def test_times_and_steps_are_finite_numbers(make: Callable[[Any], object]) -> None:
    for number in (NAN, INFINITE, -0.5):
        with pytest.raises(ValueError, match=f"is {number}; it must be"):
            make(number)
    with pytest.raises(TypeError, match="is '1'; a number is wanted"):
        make("1")


def _map_at_most(number: Any) -> object:
    return operators.map_in(ENV, FILE, "work", max_concurrent=number)


def _map_in_window(number: Any) -> object:
    return operators.map_in(ENV, FILE, "work", window=number)


@pytest.mark.parametrize(
    "make",
    [
        operators.buffer_bounded,
        _map_at_most,
        _map_in_window,
        partial(operators.merge_map, operators.from_items),
        partial(operators.concat_map_eager, operators.from_items, 1),
        operators.retry_task,
        operators.retry_on_worker_death,
    ],
    ids=["buffer_bounded", "map_in", "window", "merge_map", "concat_map_eager", "retry_task", "retry_on_worker_death"],
)
def test_how_many_is_a_whole_number(make: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"is 1\.5; a whole number is wanted"):
        make(1.5)
    with pytest.raises(ValueError, match=r"at least 1|negative"):
        make(-1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators.merge_map(None, 1), "project is None; a function"),
        (lambda: operators.conflate(1, "key"), "key is 'key'; a function"),
        (lambda: operators.retry_task(1, when=1), "when is 1; a function"),
        (lambda: operators.fallback_to(ENV, 1), "when is 1; a function"),
        (lambda: operators.fallback_to(None), "other_env is None; Environment"),
        (lambda: operators.run_in(None, FILE, "work"), "env is None; Environment"),
        (lambda: operators.run_in(ENV, FILE), "the name of a function"),
        (lambda: operators.outputs(None), "key is None; str"),
        (lambda: operators.deliver_on("gui"), "place is 'gui'; Place"),
    ],
)
def test_another_kind_of_thing_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()


def test_what_has_no_result_is_raised_or_skipped() -> None:
    with pytest.raises(ValueError, match='it is "raise" or "skip"'):
        operators.results("emit")
