"""Shell commands for all systems, or for each its own."""

from __future__ import annotations

from typing import Any

import pytest

from wetlands_rx._provision.commands import commands_for
from wetlands_rx.exceptions import RecipeError


@pytest.mark.parametrize(
    ("commands", "chosen"),
    [
        (None, []),
        ([], []),
        ({}, []),
        (["a", "b"], ["a", "b"]),
        (("a",), ["a"]),
        ({"linux": ["l"], "all": ["a"], "mac": ["m"]}, ["a", "l"]),
        ({"windows": ["w"]}, []),
    ],
)
def test_a_system_runs_those_for_all_and_then_its_own(commands: Any, chosen: list[str]) -> None:
    assert commands_for(commands, "linux") == chosen


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("pip list", r"(?s)a list of texts, not str.*write \['pip list'\]"),
        ({"linus": ["a"]}, r"(?s)'linus' is not a system.*did you mean 'linux'\?"),
        ({"mac": "a"}, "a list of texts, not str"),
        ([1], "1 is not a command"),
        (["a\0b"], "without NUL"),
        (7, "a list of texts, not int"),
    ],
)
def test_another_form_is_refused_also_for_other_systems(commands: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        commands_for(commands, "linux")
