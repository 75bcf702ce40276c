"""Where environments are kept, and their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from wetlands_rx._cli.places import default_root, recipe_name

HOME = Path("/home/me")


@pytest.mark.parametrize(
    ("platform", "variables", "root"),
    [
        ("linux", {}, "/home/me/.cache/wetlands_rx"),
        ("linux", {"XDG_CACHE_HOME": "/big/cache"}, "/big/cache/wetlands_rx"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "/home/me/.cache/wetlands_rx"),
        ("darwin", {}, "/home/me/Library/Caches/wetlands_rx"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/wetlands_rx/cache"),
        ("win32", {}, "/home/me/AppData/Local/wetlands_rx/cache"),
        ("darwin", {"WETLANDS_RX_ROOT": "/mine"}, "/mine"),
        ("linux", {"WETLANDS_RX_ROOT": ""}, "/home/me/.cache/wetlands_rx"),
    ],
)
def test_the_root_is_the_variable_or_in_the_users_cache(platform: str, variables: dict[str, str], root: str) -> None:
    assert default_root(platform, variables, HOME) == Path(root)


def test_one_recipe_has_one_name_however_it_is_written() -> None:
    assert recipe_name("3.11", ["numpy<2", " scipy"]) == recipe_name("3.11", ["numpy<2", "scipy", "scipy"])


def test_the_order_of_packages_changes_no_more_than_the_word() -> None:
    names = recipe_name(None, ["numpy", "scipy"]), recipe_name(None, ["scipy", "numpy"])
    assert names[0].removeprefix("run-numpy-") == names[1].removeprefix("run-scipy-")


@pytest.mark.parametrize("other", [("3.12", ["numpy"]), (None, ["numpy"]), ("3.11", ["numpy<2"]), ("3.11", [])])
def test_another_recipe_has_another_name(other: tuple[str | None, list[str]]) -> None:
    assert recipe_name(*other) != recipe_name("3.11", ["numpy"])


@pytest.mark.parametrize(
    ("packages", "start"),
    [
        ([], "run-plain-"),
        (["Scikit-Image[data]>=0.26"], "run-scikit-image-"),
        (["./my package"], "run-plain-"),
        (["a" * 90], "run-" + "a" * 40 + "-"),
    ],
)
def test_a_name_begins_with_the_first_package(packages: list[str], start: str) -> None:
    assert recipe_name(None, packages).startswith(start)
