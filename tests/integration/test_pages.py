"""What the README and the docs show is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import read_page, run_page

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "```python" in page.read_text()
]


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_code_of_a_page_prints_what_the_page_says(file: Path, tmp_path: Path) -> None:
    page = read_page(file.read_text(encoding="utf-8"))
    for block, printed in zip(page.blocks, run_page(page, tmp_path), strict=True):
        assert block.agrees_with(printed), f"{file.name}, line {block.line}, printed:\n{printed}"
