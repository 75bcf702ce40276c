"""The folder into which `--out` writes results."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wetlands_rx._cli.items import JSON, UsageError, file_stem
from wetlands_rx._cli.values import Keep, is_array, jsonable


class ResultFolder:
    """Writes each result into files of its own, and a line about each item to `results.jsonl`.

    An array becomes a .npy file, bytes a .bin file as they are, everything else a .json file in which the arrays and
    bytes inside are mentioned by the name of their file.

    Args:
        folder: Made when it is not there; files of the same names are replaced.
        total: How many items there are.
    Raises:
        UsageError: nothing can be written there.
    """

    def __init__(self, folder: Path, total: int) -> None:
        self._folder, self._total = folder, total
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lines = (folder / "results.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._lines.close()

    def write(self, index: int, name: str, value: Any) -> tuple[JSON, list[str]]:
        """Write the result of one item.

        Args:
            index: Its place, from 0.
            name: The item, for the names of the files.
            value: The result.
        Returns:
            The result as JSON, with files in the place of arrays and bytes, and the names of all files.
        Raises:
            UsageError: it cannot be written.
        """
        stem = file_stem(index, self._total, name)
        files: list[str] = []
        try:
            plain = jsonable(value, self._keeper(stem, files))
            if not files or (not isinstance(value, (bytes, bytearray)) and not is_array(value)):
                files.insert(0, stem + ".json")
                text = json.dumps(plain, indent=2, ensure_ascii=False)
                (self._folder / files[0]).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"cannot write to {self._folder}: {error.strerror}") from error
        return plain, files

    def record(self, line: dict[str, JSON]) -> None:
        """Add a line to `results.jsonl`; it is there even when the run is killed afterwards."""
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()

    def _keeper(self, stem: str, files: list[str]) -> Keep:
        def keep(path: str, value: Any) -> JSON:
            name = file_stem_inside(stem, path, files) + (".npy" if is_array(value) else ".bin")
            files.append(name)
            if not is_array(value):
                (self._folder / name).write_bytes(value)
                return {"file": name, "bytes": len(value)}
            import numpy as np  # is there, since the result has an array

            if value.dtype.hasobject:
                files.pop()
                return {"array": str(value.dtype), "shape": list(value.shape), "repr": repr(value)[:1000]}
            np.save(self._folder / name, value, allow_pickle=False)
            return {"file": name, "array": str(value.dtype), "shape": list(value.shape)}

        return keep


def file_stem_inside(stem: str, path: str, taken: list[str]) -> str:
    """The file name for a part of a result: `0001-coins.labels`; numbered when another part has that name.

    Args:
        stem: The file name of the whole result.
        path: Where the part stands in it; empty for the whole.
        taken: The names, with their endings, that are in use.
    """
    words = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "_" for letter in path)[
        :80
    ]
    wanted = f"{stem}.{words}" if words else stem
    used = {name.rpartition(".")[0] for name in taken}
    number, name = 1, wanted
    while name in used:
        number += 1
        name = f"{wanted}-{number}"
    return name
