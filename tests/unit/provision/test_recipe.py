"""What an environment is to hold: what is understood, what is refused, what counts as the same."""

from __future__ import annotations

from typing import Any

import pytest

from wetlands_rx._provision.recipe import Local, Recipe, difference, parse_recipe, recipe_from_json
from wetlands_rx.exceptions import IncompatibilityException, RecipeError

LINUX = "linux-64"


def parse(dependencies: Any, commands: Any = None, folder: str = "/here") -> Recipe:
    return parse_recipe(dependencies, commands, LINUX, name="seg", folder=folder)


def test_no_dependencies_are_a_recipe() -> None:
    assert parse(None) == parse({}) == parse({"pip": [], "python": None, "conda": None}) == Recipe(LINUX)


def test_every_key_of_wetlands_1_is_understood() -> None:
    recipe = parse(
        {
            "python": "3.11",
            "conda": ["conda-forge::gdal>=3", {"name": "proj", "dependencies": False}],
            "channels": ["conda-forge", "bioconda"],
            "pip": ["numpy==1.26", {"name": "cellpose<4", "platforms": [LINUX], "optional": True}],
            "local": [{"name": "My.Tools", "path": "tools"}, {"path": "/abs", "editable": False}, "other"],
        },
        {"all": ["a"], "linux": ["b"], "mac": ["c"]},
    )
    assert recipe == Recipe(
        platform=LINUX,
        python="3.11",
        pip=("cellpose<4", "numpy==1.26"),
        conda=("conda-forge::gdal>=3",),
        conda_alone=("proj",),
        channels=("conda-forge", "bioconda"),
        local=(Local("/abs", editable=False), Local("/here/other"), Local("/here/tools", "my-tools")),
        commands=("a", "b"),
    )


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("NumPy", "numpy"),
        ("ruamel_yaml", "ruamel-yaml"),
        ("numpy >= 1.26 , < 3", "numpy<3,>=1.26"),
        ("Foo[B_x, a] == 1", "foo[a,b-x]==1"),
        ('numpy ; python_version<"3.12"', 'numpy ; python_version < "3.12"'),
        ("tool @ https://example.invalid/tool.whl", "tool @ https://example.invalid/tool.whl"),
        (
            "tool @ git+https://example.invalid/t.git@v1 ; sys_platform=='linux'",
            'tool @ git+https://example.invalid/t.git@v1 ; sys_platform == "linux"',
        ),
    ],
)
def test_a_requirement_is_written_anew_in_one_spelling(written: str, canonical: str) -> None:
    assert parse({"pip": [written]}).pip == (canonical,)


NONSENSE: list[tuple[Any, str]] = [
    (
        {"pyhton": "3.11"},
        r"(?s)unknown key 'pyhton' in the dependencies.*did you mean 'python'\? Known are: python, ",
    ),
    ({"Pip": []}, "(?s)unknown key 'Pip'.*did you mean 'pip'?"),
    ({"zzz": []}, "(?s)unknown key 'zzz' in the dependencies\nhint: Known are"),
    ({7: []}, "unknown key 7"),
    (["numpy"], "the dependencies must be a dictionary, not list"),
    ({"pip": "numpy"}, r"(?s)'pip' must be a list, not str.*write \['numpy'\]"),
    ({"pip": {"numpy": "1"}}, "'pip' must be a list, not dict"),
    ({"pip": [None]}, "an entry of 'pip' must be a text, not NoneType"),
    ({"pip": [" "]}, "an entry of 'pip' is empty"),
    ({"pip": ["--index-url=https://example.invalid"]}, "is an option, not a package"),
    ({"pip": ["-r requirements.txt"]}, "is an option, not a package"),
    ({"pip": [" -e ."]}, "is an option, not a package"),
    ({"conda": ["--file x"]}, "is an option, not a package"),
    ({"pip": ["numpy\n--index-url=x"]}, "a control character"),
    ({"pip": ["./tools"]}, "(?s)is not a package for pip.*a folder belongs into 'local'"),
    ({"pip": ["numpy=1"]}, "is not a package for pip"),
    ({"pip": ["conda-forge::numpy"]}, "names a channel"),
    ({"pip": [{"nam": "numpy"}]}, r"(?s)unknown key 'nam' in an entry of 'pip'.*did you mean 'name'\?"),
    ({"pip": [{}]}, "the name of an entry of 'pip' must be a text, not NoneType"),
    ({"pip": [{"name": "a", "optional": "yes"}]}, "'optional' must be True or False, not 'yes'"),
    (
        {"pip": [{"name": "a", "platforms": ["linux64"]}]},
        r"(?s)'linux64' is not a platform.*did you mean 'linux-64'\?",
    ),
    ({"local": [{"name": "a"}]}, "the path of an entry of 'local' must be a text"),
    ({"local": [{"name": "a b", "path": "x"}]}, "'a b' cannot be the name of a package"),
    (
        {"local": [{"name": "a", "path": "x", "editible": True}]},
        r"(?s)unknown key 'editible'.*did you mean 'editable'\?",
    ),
    ({"channels": "conda-forge"}, "'channels' must be a list"),
    ({"python": "snake"}, "'snake' is not a Python version"),
]


@pytest.mark.parametrize(("dependencies", "words"), NONSENSE)
def test_what_cannot_be_understood_is_named(dependencies: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        parse(dependencies)
    assert caught.value.environment == "seg"


def test_a_dependency_of_another_platform_is_left_out_only_when_it_is_optional() -> None:
    entry = {"name": "pywin32", "platforms": ["win-64", "win-arm64"]}
    assert parse({"pip": [{**entry, "optional": True}]}) == parse({})
    with pytest.raises(IncompatibilityException, match="'pywin32' is for win-64, win-arm64 only, and this is linux-64"):
        parse({"pip": [entry]})


def test_both_names_of_linux_on_arm_mean_the_same() -> None:
    entry = {"pip": [{"name": "a", "platforms": ["linux-aarch64"]}]}
    assert parse_recipe(entry, None, "linux-arm64").pip == ("a",)


def test_what_the_user_gave_is_not_modified() -> None:
    given = {"python": "==3.11", "pip": ["B", {"name": "a", "platforms": [LINUX]}], "local": [{"path": "x"}]}
    copy = {"python": "==3.11", "pip": ["B", {"name": "a", "platforms": [LINUX]}], "local": [{"path": "x"}]}
    parse(given)
    assert given == copy


def test_passwords_reach_neither_the_record_nor_the_identity_nor_the_difference() -> None:
    old = parse(
        {"pip": ["tool @ https://me:s3cret@example.invalid/tool.whl"]}, ["curl https://x:s3cret@example.invalid"]
    )
    new = parse({"pip": ["tool @ https://me:0ther@example.invalid/tool.whl"]}, ["curl https://example.invalid"])
    assert "s3cret" in old.pip[0]  # the installer needs it
    assert "s3cret" not in old.canonical
    assert difference(old, new) == [
        "- command 1: curl https://***@example.invalid",
        "+ command 1: curl https://example.invalid",
    ]


def test_a_record_is_read_back() -> None:
    recipe = parse({"python": "3.11", "pip": ["numpy"], "local": ["x"], "channels": ["b", "a"]}, ["one", "two"])
    assert recipe_from_json(recipe.canonical) == recipe


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "local": [3]}'])
def test_another_text_is_no_record(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - also json's own
        recipe_from_json(text)


def test_the_difference_shows_each_side_once_and_in_order() -> None:
    old = parse({"python": "3.10", "pip": ["a", "b", {"name": "c", "dependencies": False}]}, ["one", "two"])
    new = parse({"pip": ["b", "c"], "local": [{"path": "x", "name": "x"}]}, ["two", "one"])
    assert difference(old, new) == [
        "- python 3.10",
        "+ python any",
        "- pip a",
        "- pip c (without its dependencies)",
        "+ pip c",
        "+ local '/here/x' as 'x' (editable)",
        "- command 1: one",
        "- command 2: two",
        "+ command 1: two",
        "+ command 2: one",
    ]
