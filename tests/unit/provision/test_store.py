"""Where environments are on disk, and which count as whole."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.recipe import Recipe
from wetlands_rx._provision.store import Ready, Store, mark

RECIPE, OTHER = Recipe("linux-64", python="3.11"), Recipe("linux-64", python="3.12")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


def build(store: Store, name: str, recipe: Recipe = RECIPE) -> Path:
    """Make what a backend would have made."""
    with store.locked(name):
        path = store.place(name, recipe)
        store.prepare(path, recipe)
        (path / "bin").mkdir()
        (path / "bin" / "python").touch()
        store.publish(name, Prefix(path, path / "bin" / "python", (3, 11, 7)), recipe, "uv")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_is_made_before_it_is_needed(store: Store) -> None:
    assert store.standing("seg") is None
    assert store.names() == []
    assert store.superseded("seg") == []
    store.sweep()
    assert not store.root.exists()


def test_a_whole_environment_is_found_with_its_recipe(store: Store) -> None:
    path = build(store, "seg")
    standing = store.standing("seg")
    assert standing is not None
    assert standing.path == path == store.root / "e" / f"seg-{RECIPE.identity[:8]}"
    assert standing.recipe == RECIPE
    assert standing.ready == Ready(RECIPE.identity, "uv", "bin/python", (3, 11, 7))
    assert standing.prefix == Prefix(path, path / "bin" / "python", (3, 11, 7))
    assert store.names() == ["seg"]


def test_only_its_owner_can_look_inside(store: Store) -> None:
    path = build(store, "seg")
    folders = [store.root, *(store.root / part for part in "enl"), path, path / ".wetlands"]
    files = [store.root / "n/seg.json", store.root / "l/seg.lock", *(path / ".wetlands").iterdir()]
    assert {mode(folder) for folder in folders} == {0o700}
    assert {mode(file) for file in files} == {0o600}
    assert len(files) == 4  # no temporary file is left


@pytest.mark.parametrize(
    "broken", [".wetlands/ready.json", "bin/python", "bin"], ids=["no marker", "no interpreter", "no programs"]
)
def test_what_is_not_whole_is_no_environment(store: Store, broken: str) -> None:
    path = build(store, "seg")
    (path / broken).rename(path / "moved")
    assert store.standing("seg") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}', '{"schema": 2, "identity": "x"}'])
def test_a_marker_that_cannot_be_read_is_none(store: Store, text: str) -> None:
    (build(store, "seg") / ".wetlands/ready.json").write_text(text)
    assert store.standing("seg") is None


def test_a_recipe_that_cannot_be_read_leaves_the_environment_whole(store: Store) -> None:
    (build(store, "seg") / ".wetlands/recipe.json").write_text("{")
    standing = store.standing("seg")
    assert standing is not None
    assert standing.recipe is None


def test_the_marker_is_not_there_before_the_end(store: Store) -> None:
    with store.locked("seg"):
        path = store.place("seg", RECIPE)
        store.prepare(path, RECIPE)
        assert [each.name for each in (path / ".wetlands").iterdir()] == ["recipe.json"]


@pytest.mark.parametrize(
    "folder", ["../../outside", "/etc", "", None, "other-01234567", "seg-0123456", "seg-01234567-1234"]
)
def test_a_pointer_is_followed_to_folders_of_its_name_only(store: Store, folder: object) -> None:
    build(store, "seg")
    (store.root / "n/seg.json").write_text(json.dumps({"schema": 1, "name": "seg", "current": folder}))
    assert store.standing("seg") is None


def test_a_pointer_of_a_name_in_other_case_is_another_name(store: Store) -> None:
    build(store, "seg")
    (store.root / "n/seg.json").rename(store.root / "n/SEG.json")  # what a system that ignores case would find
    assert store.standing("SEG") is None


def test_leftovers_of_a_name_are_deleted_and_nothing_else_is(store: Store) -> None:
    current = build(store, "a")
    build(store, "a-01234567")
    for leftover in ("a-01234567", "a-01234567-2", "a-01234567-x", "b-01234567", f"{current.name}-3"):
        (store.root / "e" / leftover).mkdir()
    with store.locked("a"):
        place = store.place("a", OTHER)
    left = {path.name for path in (store.root / "e").iterdir()}
    assert place.name == f"a-{OTHER.identity[:8]}"
    assert left == {current.name, f"a-01234567-{RECIPE.identity[:8]}", "a-01234567-x", "b-01234567"}


def test_a_second_environment_of_one_recipe_gets_a_place_of_its_own(store: Store) -> None:
    first = build(store, "seg")
    second = build(store, "seg")
    assert second.name == f"{first.name}-2"
    assert store.means("seg", second)
    assert store.superseded("seg") == [first]


def test_forgetting_deletes_every_environment_of_the_name(store: Store) -> None:
    build(store, "seg")
    build(store, "seg", OTHER)
    other = build(store, "other")
    with store.locked("seg"):
        store.forget("seg")
    assert [path.name for path in (store.root / "e").iterdir()] == [other.name]
    assert store.names() == ["other"]
    assert list(store.root.glob(".trash-*")) == []


def test_a_link_in_place_of_an_environment_is_cut_and_what_it_points_to_stays(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    (target / ".wetlands").mkdir(parents=True)
    (target / ".wetlands/ready.json").touch()
    path = build(store, "seg")
    path.rename(tmp_path / "moved")
    path.symlink_to(target)
    with store.locked("seg"):
        store.forget("seg")
    assert (target / ".wetlands/ready.json").exists()
    assert not path.is_symlink()


def test_what_an_interrupted_deletion_has_left_is_swept(store: Store) -> None:
    build(store, "seg")
    (store.root / ".trash-seg-01234567-aaaa/lib").mkdir(parents=True)
    store.sweep()
    assert list(store.root.glob(".trash-*")) == []
    assert store.standing("seg") is not None


def test_an_installation_that_was_broken_off_leaves_its_mark(store: Store) -> None:
    path = build(store, "seg")
    mark(path, Ready(RECIPE.identity, "uv", "bin/python", (3, 11, 7), managed=False, changing=True))
    standing = store.standing("seg")
    assert standing is not None
    assert standing.ready.changing
