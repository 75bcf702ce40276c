"""Which Python is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from wetlands_rx._provision.python_request import canonical_request, matches, version_of
from wetlands_rx.exceptions import RecipeError


@pytest.mark.parametrize(
    ("wanted", "canonical"),
    [
        (None, ""),
        ("3.11", "3.11"),
        (" 3.11 ", "3.11"),
        ("==3.11", "3.11"),
        ("=3.11", "3.11"),
        ("== 3.11", "3.11"),
        ("3.11.*", "3.11"),
        ("3.11.7", "3.11.7"),
        ("3", "3"),
        ("3.010", "3.10"),
        (">=3.9,<3.12", "<3.12,>=3.9"),
        ("<3.12 , >= 3.9", "<3.12,>=3.9"),
        ("~=3.10", "~=3.10"),
        (">=3.9,!=3.10", "!=3.10.*,>=3.9"),
        ("==3.11,!=3.11.4", "!=3.11.4,==3.11.*"),
    ],
)
def test_every_spelling_of_a_request_has_one_form(wanted: str | None, canonical: str) -> None:
    assert canonical_request(wanted) == canonical
    assert canonical_request(canonical or None) == canonical


NUMBERS_OF_ANOTHER_SCRIPT = "\u0663.\u0661\u0661"


@pytest.mark.parametrize(
    "wanted", ["", "three", "pypy3.9", "3.11rc", "3.11.7.1.2x", ">=", "3.11;x", "latest", NUMBERS_OF_ANOTHER_SCRIPT]
)
def test_what_is_no_version_is_refused_with_the_way_to_write_one(wanted: str) -> None:
    with pytest.raises(RecipeError, match=r'(?s)is not a Python version.*"3\.11"'):
        canonical_request(wanted)


@pytest.mark.parametrize("wanted", [3.11, 3, ("3", "11")])
def test_a_number_is_refused_because_three_point_ten_would_be_three_point_one(wanted: Any) -> None:
    with pytest.raises(RecipeError, match=r"(?s)the Python version is a text.*in quotes"):
        canonical_request(wanted)


@pytest.mark.parametrize(
    ("request_", "version", "fits"),
    [
        ("", (3, 8, 0), True),
        ("3.11", (3, 11, 7), True),
        ("3.1", (3, 11, 7), False),
        ("3.11.7", (3, 11, 7), True),
        ("3.11.7", (3, 11, 8), False),
        ("3", (3, 13, 0), True),
        ("<3.12,>=3.9", (3, 11, 9), True),
        ("<3.12,>=3.9", (3, 12, 0), False),
        ("<3.12,>=3.9", (3, 8, 18), False),
        ("!=3.10.*,>=3.9", (3, 10, 4), False),
        ("~=3.10", (3, 13, 0), True),
    ],
)
def test_a_version_fits_a_request(request_: str, version: tuple[int, int, int], fits: bool) -> None:
    assert matches(request_, version) is fits


def test_only_a_version_has_numbers() -> None:
    assert [version_of(each) for each in ("", "3.11", ">=3.9")] == [(), (3, 11), ()]
