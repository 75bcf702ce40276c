"""The folder for results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wetlands_rx._cli.items import UsageError
from wetlands_rx._cli.results import ResultFolder, file_stem_inside


def test_an_array_becomes_a_npy_file_alone(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    with ResultFolder(tmp_path, 1) as folder:
        plain, files = folder.write(0, "coins", array)
    assert plain == {"file": "0001-coins.npy", "array": "uint16", "shape": [2, 3]}
    assert files == ["0001-coins.npy"]
    assert np.array_equal(np.load(tmp_path / "0001-coins.npy"), array)


def test_bytes_stay_as_they_are(tmp_path: Path) -> None:
    with ResultFolder(tmp_path, 1) as folder:
        assert folder.write(0, "x.jpg", b"\x00\xff")[1] == ["0001-x.jpg.bin"]
    assert (tmp_path / "0001-x.jpg.bin").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("value", ["text\n", 3, None, {"a": [1.5]}, "\ud800"])
def test_plain_values_become_json(tmp_path: Path, value: Any) -> None:
    with ResultFolder(tmp_path, 1) as folder:
        plain, files = folder.write(0, "a", value)
    assert (plain, files) == (value, ["0001-a.json"])
    text = (tmp_path / "0001-a.json").read_text(encoding="utf-8")
    assert json.loads(text) == (value if value != "\ud800" else "\ud800")


def test_arrays_inside_a_result_get_files_that_the_json_mentions(tmp_path: Path) -> None:
    value = {"count": 2, "labels": np.ones(3), "raw": [b"1", b"22"]}
    with ResultFolder(tmp_path, 1) as folder:
        _, files = folder.write(0, "a", value)
    assert files == ["0001-a.json", "0001-a.labels.npy", "0001-a.raw.0.bin", "0001-a.raw.1.bin"]
    assert json.loads((tmp_path / "0001-a.json").read_text()) == {
        "count": 2,
        "labels": {"file": "0001-a.labels.npy", "array": "float64", "shape": [3]},
        "raw": [{"file": "0001-a.raw.0.bin", "bytes": 1}, {"file": "0001-a.raw.1.bin", "bytes": 2}],
    }


def test_an_array_of_objects_is_shown_not_pickled(tmp_path: Path) -> None:
    with ResultFolder(tmp_path, 1) as folder:
        plain, files = folder.write(0, "a", np.array([{}, None], dtype=object))
    assert files == ["0001-a.json"]
    assert plain == {"array": "object", "shape": [2], "repr": "array([{}, None], dtype=object)"}


def test_a_record_is_there_at_once(tmp_path: Path) -> None:
    with ResultFolder(tmp_path / "new" / "folder", 2) as folder:
        folder.record({"index": 0})
        assert (tmp_path / "new" / "folder" / "results.jsonl").read_text() == '{"index": 0}\n'


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write to .*file: "):
        ResultFolder(tmp_path / "file", 1)


def test_parts_of_one_name_get_two_files() -> None:
    assert file_stem_inside("0001", "", []) == "0001"
    assert file_stem_inside("0001", "a/b", []) == "0001.a_b"
    assert file_stem_inside("0001", "a b", ["0001.a_b.npy"]) == "0001.a_b-2"
