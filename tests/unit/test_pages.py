"""The runner of pages, on pages of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import Page, read_page, run_page

PAGE = """A file:

```python
# one.py
value = 1
```

A script in two blocks:

```python
from one import value
print(value, "and", value / 3)
```
```text
1 and 0.3...
```

```python
print(value)
```

Not its output:

```text
2
```
"""


def test_blocks_of_a_page_share_one_namespace_and_the_files_beside_them(tmp_path: Path) -> None:
    page = read_page(PAGE)
    printed = run_page(page, tmp_path)
    assert printed == ["1 and 0.3333333333333333\n", "1\n"]
    assert [block.says for block in page.blocks] == ["1 and 0.3...\n", None]
    assert all(block.agrees_with(text) for block, text in zip(page.blocks, printed, strict=True))


def test_another_output_than_the_page_says_is_seen() -> None:
    first, _ = read_page(PAGE).blocks
    assert not first.agrees_with("2 and 0.6\n")


def test_a_failing_block_is_reported_with_its_line_in_the_page(tmp_path: Path) -> None:
    page: Page = read_page("one\n\n```python\nprint(1)\n```\n\n```python\n\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match=r"line 9(.|\n)*ZeroDivisionError"):
        run_page(page, tmp_path)
