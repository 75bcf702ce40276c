"""The items of a run: read from the command line, a file or stdin, and named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from wetlands_rx._cli.progress_lines import clean, clip

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

_LABEL_COLUMNS = 40


class UsageError(Exception):
    """The command line cannot be carried out as it stands; one line for the person who wrote it."""


def read_items(words: Sequence[str], stdin: TextIO, *, as_json: bool) -> list[JSON]:
    """The items that the words stand for.

    Args:
        words: Each is an item itself, `-` for the lines of stdin, `@FILE` for those of a file, or `@@...` for an item
            that begins with `@`. Empty lines are no items.
        stdin: What `-` reads.
        as_json: Each item is a JSON value instead of a string.
    Raises:
        UsageError: a file cannot be read, or an item is no JSON.
    """
    texts = [text for word in words for text in _texts(word, stdin)]
    return [_parsed(text) for text in texts] if as_json else list(texts)


def label(item: JSON) -> str:
    """How an item is called in a line for people."""
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return clip(clean(text), _LABEL_COLUMNS) or '""'


def file_stem(index: int, total: int, name: str) -> str:
    """A file name for the result of an item: `0007-coins.tif`; unique by its number, safe on every system.

    Args:
        index: The place of the item, from 0.
        total: How many items there are.
        name: The item; of a path the last part is used.
    """
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    words = re.sub(r"[^A-Za-z0-9._-]+", "_", last)[:60].strip("._-")
    number = f"{index + 1:0{max(4, len(str(total)))}d}"
    return f"{number}-{words}" if words else number


def _texts(word: str, stdin: TextIO) -> Iterable[str]:
    if word == "-":
        return _lines(stdin)
    if word.startswith("@@"):
        return (word[1:],)
    if not word.startswith("@"):
        return (word,)
    path = Path(word[1:])
    try:
        with path.open(encoding="utf-8") as file:
            return list(_lines(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the items in {path}: {reason}") from error


def _lines(file: TextIO) -> Iterator[str]:
    return (line for line in (line.rstrip("\r\n") for line in file) if line)


def _parsed(text: str) -> JSON:
    try:
        value: JSON = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"with --json-items each item is JSON, but {clip(clean(text), 60)!r} is not: {error}"
        ) from error
    return value
