"""What holds for every recipe, request and name."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._provision.names import check_name
from wetlands_rx._provision.python_request import canonical_request, matches
from wetlands_rx._provision.recipe import PLATFORMS, Recipe, difference, parse_recipe, recipe_from_json
from wetlands_rx._provision.wording import redacted
from wetlands_rx.exceptions import IncompatibilityException, RecipeError

names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,6}([-_.][a-zA-Z0-9]{1,3})?", fullmatch=True)
versions = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda numbers: "{}.{}".format(*numbers))
limits = st.tuples(st.sampled_from([">=", "<", "==", "!=", "~="]), versions).map("".join)
extras = st.lists(names, max_size=2).map(lambda some: f"[{','.join(some)}]" if some else "")
requirements = st.tuples(names, extras, st.lists(limits, max_size=2).map(",".join)).map("".join)
entries = requirements | st.fixed_dictionaries({"name": requirements, "dependencies": st.booleans()})
texts = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=12)
folders = st.from_regex(r"[a-z]{1,4}(/[a-z]{1,4})?", fullmatch=True)
dependencies = st.fixed_dictionaries(
    {},
    optional={
        "python": versions,
        "pip": st.lists(entries, max_size=4),
        "conda": st.lists(requirements, max_size=2),
        "channels": st.lists(names, max_size=3),
        "local": st.lists(folders | st.fixed_dictionaries({"path": folders, "editable": st.booleans()}), max_size=2),
    },
)
commands = st.lists(texts, max_size=3)
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def parse(wanted: Any, run: Any = None) -> Recipe:
    return parse_recipe(wanted, run, "linux-64", folder="/root")


@given(dependencies, commands, st.randoms())
def test_order_and_repetition_do_not_change_what_a_recipe_is(
    wanted: dict[str, Any], run: list[str], chance: random.Random
) -> None:
    other = dict(wanted)
    for key in ("pip", "conda", "local"):
        if key in other:
            other[key] = [*other[key], *other[key]]
            chance.shuffle(other[key])
    assert parse(other, run) == parse(wanted, run)
    assert parse(other, run).identity == parse(wanted, run).identity


@given(dependencies, commands, dependencies, commands)
def test_recipes_differ_exactly_when_their_difference_has_a_line(
    one: dict[str, Any], run_one: list[str], two: dict[str, Any], run_two: list[str]
) -> None:
    old, new = parse(one, run_one), parse(two, run_two)
    assert (old.identity == new.identity) == (difference(old, new) == [])
    assert difference(old, old) == []
    assert [line[1:] for line in difference(old, new) if line[0] == "-"] == [
        line[1:] for line in difference(new, old) if line[0] == "+"
    ]


@given(dependencies, commands)
def test_a_record_keeps_the_recipe(wanted: dict[str, Any], run: list[str]) -> None:
    recipe = parse(wanted, run)
    again = recipe_from_json(recipe.canonical)
    assert again.canonical == recipe.canonical
    assert difference(again, recipe) == []


@given(dependencies)
def test_a_canonical_requirement_stays_as_it_is(wanted: dict[str, Any]) -> None:
    recipe = parse(wanted)
    assert parse({"pip": list(recipe.pip)}).pip == recipe.pip
    assert not any(each.startswith("-") or "\n" in each for each in recipe.pip + recipe.pip_alone)


@given(junk, junk, st.sampled_from(PLATFORMS))
def test_nonsense_ends_in_an_error_of_ours(wanted: Any, run: Any, platform: str) -> None:
    with suppress(RecipeError, IncompatibilityException):
        parse_recipe(wanted, run, platform)


@given(st.sampled_from(["python", "pip", "conda", "channels", "local"]), junk)
def test_nonsense_under_a_known_key_ends_in_an_error_of_ours(key: str, value: Any) -> None:
    with suppress(RecipeError, IncompatibilityException):
        parse({key: value})


@given(st.text(max_size=10) | limits | versions | st.lists(limits, min_size=1, max_size=3).map(",".join))
def test_a_canonical_request_is_canonical(wanted: str) -> None:
    try:
        request = canonical_request(wanted)
    except RecipeError:
        return
    assert request
    assert canonical_request(request) == request
    assert matches(request, (3, 11, 7)) in (True, False)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 40))
def test_a_version_satisfies_every_way_to_ask_for_it(major: int, minor: int, patch: int) -> None:
    for wanted in (
        f"{major}",
        f"{major}.{minor}",
        f"=={major}.{minor}",
        f"{major}.{minor}.{patch}",
        f">={major}.{minor}",
    ):
        assert matches(canonical_request(wanted), (major, minor, patch))
    assert not matches(canonical_request(f"!={major}.{minor}"), (major, minor, patch))


@given(st.text(max_size=70))
def test_a_name_that_is_accepted_is_one_plain_part_of_a_path(name: str) -> None:
    try:
        check_name(name)
    except RecipeError as error:
        assert repr(name) in str(error)  # noqa: PT017 - both ends are right
        return
    assert PurePosixPath("e", name).parts == ("e", name)
    assert os.path.normpath(name) == name
    assert name.isascii()


@given(names, st.text(st.characters(exclude_characters="/'\" \t\r\n", exclude_categories=["Z", "Cc"]), max_size=8))
def test_a_password_in_an_address_never_shows(user: str, password: str) -> None:
    shown = redacted(f"see https://{user}:{password}@example.invalid/simple for more")
    assert shown == "see https://***@example.invalid/simple for more"
