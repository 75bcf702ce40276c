"""Items as they are given on the command line, in files and on stdin."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetlands_rx._cli.items import UsageError, file_stem, label, read_items

NO_INPUT = io.StringIO()


def test_words_are_items_unchanged() -> None:
    assert read_items(["a b", "1", "*.tif", "--x"], NO_INPUT, as_json=False) == ["a b", "1", "*.tif", "--x"]


def test_a_dash_reads_the_lines_of_stdin() -> None:
    stdin = io.StringIO("one\ntwo words \r\n\nlast")
    assert read_items(["first", "-"], stdin, as_json=False) == ["first", "one", "two words ", "last"]


def test_an_at_sign_reads_the_lines_of_a_file_and_two_stand_for_one(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("é\nb\n", encoding="utf-8")
    assert read_items([f"@{tmp_path / 'list'}", "@@me"], NO_INPUT, as_json=False) == ["é", "b", "@me"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the items in .*absent: No such file"):
        read_items([f"@{tmp_path / 'absent'}"], NO_INPUT, as_json=False)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_items([f"@{tmp_path / 'binary'}"], NO_INPUT, as_json=False)


def test_json_items_are_values() -> None:
    assert read_items(["1", "[2, 3]", '{"a": null}', '"x"'], NO_INPUT, as_json=True) == [1, [2, 3], {"a": None}, "x"]


def test_an_item_that_is_no_json_is_shown() -> None:
    with pytest.raises(UsageError, match="'coins' is not"):
        read_items(["coins"], NO_INPUT, as_json=True)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("coins", "coins"),
        ("", '""'),
        ({"a": [1]}, '{"a": [1]}'),
        (None, "null"),
        ("\x1b[1m", '""'),
        ("x" * 41, "x" * 39 + "…"),
    ],
)
def test_an_item_has_a_short_harmless_label(item: str, text: str) -> None:
    assert label(item) == text


@pytest.mark.parametrize(
    ("index", "total", "name", "stem"),
    [
        (0, 5, "coins", "0001-coins"),
        (6, 5, "/data/my images/a b.tif", "0007-a_b.tif"),
        (9, 5, "C:\\data\\x.png", "0010-x.png"),
        (0, 5, "../..", "0001"),
        (0, 5, "日本", "0001"),
        (41, 100_000, "folder/", "000042-folder"),
    ],
)
def test_a_result_has_a_file_name(index: int, total: int, name: str, stem: str) -> None:
    assert file_stem(index, total, name) == stem


@given(st.text(), st.integers(0, 9999))
def test_a_file_name_is_safe_whatever_the_item(name: str, index: int) -> None:
    assert re.fullmatch(r"\d{4,}(-[A-Za-z0-9][A-Za-z0-9._-]*)?", file_stem(index, 10_000, name))
