"""The notebooks run, and show what they did when they were committed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.notebooks import FOLDER, execute, printed, read

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_prints_what_it_was_committed_with(file: Path, tmp_path: Path) -> None:
    committed = printed(read(file))
    fresh = printed(execute(read(file), tmp_path))
    for number, (said, now) in enumerate(zip(committed, fresh, strict=True), 1):
        assert now == said, f"code cell {number} of {file.name}"


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_committed_notebook_says_nothing_of_the_machine_it_ran_on(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r"(?:/home|/root|/tmp|/work|/Users|C:\\\\)[^\"\\ ]*", text)
