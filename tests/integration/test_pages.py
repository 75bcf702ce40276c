"""What the README and the docs show is what happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import read_page, run_page

ROOT = Path(__file__).parents[2]


def pages_with_code() -> Iterator[Any]:
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = file.read_text(encoding="utf-8")
        if "```python" in text:
            marks = [pytest.mark.network] if "when the package index can be reached" in text else []
            yield pytest.param(file, id=file.relative_to(ROOT).as_posix(), marks=marks)


@pytest.mark.parametrize("file", list(pages_with_code()))
def test_the_code_of_a_page_prints_what_the_page_says(file: Path, tmp_path: Path) -> None:
    page = read_page(file.read_text(encoding="utf-8"))
    for block, printed in zip(page.blocks, run_page(page, tmp_path), strict=True):
        assert block.agrees_with(printed), f"{file.name}, line {block.line}, printed:\n{printed}"
