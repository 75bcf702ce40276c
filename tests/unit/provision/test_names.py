"""Which names an environment may have."""

from __future__ import annotations

from typing import Any

import pytest

from wetlands_rx._provision.names import MAX_LENGTH, check_name
from wetlands_rx.exceptions import ProvisioningError, RecipeError


@pytest.mark.parametrize("name", ["a", "Z", "7", "seg", "cell-pose_4.2", "a" * MAX_LENGTH, "console", "nul1", "com"])
def test_a_plain_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "it is empty"),
        (".", "not a plain name"),
        ("..", "not a plain name"),
        ("../x", "not a plain name"),
        ("a/b", "not a plain name"),
        ("a\\b", "not a plain name"),
        ("/a", "not a plain name"),
        ("C:a", "not a plain name"),
        ("a b", "not a plain name"),
        ("a\n", "not a plain name"),
        ("a\0b", "not a plain name"),
        ("-rf", "not a plain name"),
        (".hidden", "not a plain name"),
        ("_a", "not a plain name"),
        ("é", "not a plain name"),
        ("a\u0663", "not a plain name"),
        ("seg.", "ends with a dot"),
        ("a" * (MAX_LENGTH + 1), "65 characters"),
        ("CON", "for a device"),
        ("nul", "for a device"),
        ("Com1", "for a device"),
        ("lpt9.txt", "for a device"),
    ],
)
def test_any_other_name_is_refused_with_the_reason_and_the_rule(name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        check_name(name)
    assert repr(name) in str(caught.value)
    assert caught.value.hint == "use 1 to 64 letters, digits, '.', '_' or '-', the first a letter or a digit"


@pytest.mark.parametrize("name", [None, 3, b"seg", ["seg"]])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(RecipeError, match=f"a text, not {type(name).__name__}"):
        check_name(name)


def test_a_refused_name_is_a_value_error_and_a_provisioning_error() -> None:
    assert issubclass(RecipeError, ValueError)
    assert issubclass(RecipeError, ProvisioningError)
