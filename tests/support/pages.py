"""Run the Python of a Markdown page as a reader would, and compare what it prints with what the page says.

A block fenced as `python` belongs to the page's one script. If its first line is only the name of a file, as in
`# tiles.py`, the block is that file instead. A block fenced as `text` right after a script block is what that block
prints; `...` stands for anything.
"""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# (\w+\.py)\n")
_END_OF_BLOCK = "\x1e"
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class Block:
    """A block of the page's script.

    Attributes:
        line: The number of its first line in the page, from 1.
        code: The code.
        says: What the page says it prints, or None when the page says nothing.
    """

    line: int
    code: str
    says: str | None

    def agrees_with(self, printed: str) -> bool:
        """Blanks at the end of a line do not count: nobody sees them."""
        if self.says is None:
            return True
        seen = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        return _CHECKER.check_output(self.says, seen, doctest.ELLIPSIS)


@dataclass(frozen=True)
class Page:
    """The Python of a page: its script, block by block, and the files beside it."""

    blocks: tuple[Block, ...]
    files: dict[str, str]

    def script(self) -> str:
        """The script, each line of it on the same line as in the page, so that a traceback points there."""
        lines: list[str] = []
        for block in self.blocks:
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.code.splitlines()
            lines.append(f"print({_END_OF_BLOCK!r}, end='')")  # where the page has the closing fence
        return "\n".join(lines)


def read_page(markdown: str) -> Page:
    """Find the Python in a page."""
    files: dict[str, str] = {}
    blocks: list[Block] = []
    for language, text, line, gap in _fences(markdown):
        name = _FILE_NAME.match(text)
        if language == "python" and name:
            files[name[1]] = text
        elif language == "python":
            blocks.append(Block(line, text, None))
        elif language == "text" and blocks and not gap:
            blocks[-1] = Block(blocks[-1].line, blocks[-1].code, text)
    return Page(tuple(blocks), files)


def _fences(markdown: str) -> Iterator[tuple[str, str, int, str]]:
    """Yields language, content, number of the first line of content, and the words since the block before."""
    end = 0
    for match in _FENCE.finditer(markdown):
        yield match[1], match[2], markdown.count("\n", 0, match.start(2)) + 1, markdown[end : match.start()].strip()
        end = match.end()


def run_page(page: Page, folder: Path, timeout_s: float = 100) -> list[str]:
    """Run a page's script in a process of its own.

    Args:
        page: The page.
        folder: An empty folder to run it in.
        timeout_s: When to give up.
    Returns:
        What each block printed.
    Raises:
        AssertionError: The script failed.
    """
    for name, text in page.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "page.py").write_text(page.script(), encoding="utf-8")
    command = [sys.executable, "-W", "error", "page.py"]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert answer.returncode == 0, f"exit code {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
    assert not answer.stderr, answer.stderr
    return answer.stdout.split(_END_OF_BLOCK)[:-1]
