"""The functions of the demo that needs no package, and what the two demos have in common."""

from __future__ import annotations

import ast
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from wetlands_rx._cli import demo, plain_tasks

FILES = {name: Path(plain_tasks.__file__).with_name(name) for name in ("demo_tasks.py", "plain_tasks.py")}


class Handle:
    """What a worker hands over, as far as these functions use it."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.progress: list[tuple[int, int]] = []
        self.acknowledged = False

    @property
    def cancel_requested(self) -> bool:
        return len(self.progress) == self.stop_at

    def update(self, _message: str, *, current: int, maximum: int) -> None:
        self.progress.append((current, maximum))

    def cancel(self) -> None:
        self.acknowledged = True

    def raise_if_canceled(self) -> None:
        assert not self.cancel_requested


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plain_tasks, "FOLDER", tmp_path)
    return tmp_path


def png_pixels(path: Path) -> tuple[int, int, bytes]:
    """Width, height and the bytes of the rows of a PNG; wrong checksums raise."""
    content, parts, at = path.read_bytes(), dict[bytes, bytes](), 8
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", content, at + 8 + length)[0]
        parts[kind] = body
        at += 12 + length
    width, height = struct.unpack_from(">II", parts[b"IHDR"])
    return width, height, zlib.decompress(parts[b"IDAT"])


def constant(file: str, name: str) -> ast.expr:
    tree = ast.parse(FILES[file].read_text(encoding="utf-8"))
    return next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    )


def imports(file: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(FILES[file].read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in names | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}}


def test_an_image_is_counted_and_drawn(folder: Path) -> None:
    handle = Handle()
    result = plain_tasks.segment("planets", handle)
    assert 3 <= result["count"] <= plain_tasks.IMAGES["planets"][0]
    assert handle.progress == [(step, plain_tasks.STEPS) for step in range(1, plain_tasks.STEPS + 1)]
    width, height, rows = png_pixels(folder / result["overlay"])
    assert (width, height) == (plain_tasks.SIDE, plain_tasks.SIDE)
    assert len(rows) == height * (1 + 3 * width)


def test_a_made_up_image_is_the_same_each_time() -> None:
    assert plain_tasks.make_up("stars") == plain_tasks.make_up("stars") != plain_tasks.make_up("seeds")


def test_the_sheet_has_a_place_for_each_image(folder: Path) -> None:
    assert plain_tasks.overview(["stars", "seeds", "cells", "lamps", "drops"], Handle()) == "overview.png"
    width, height, _ = png_pixels(folder / "overview.png")
    assert (width, height) == (4 * plain_tasks.SIDE, 2 * plain_tasks.SIDE)


def test_the_search_stops_when_it_is_asked() -> None:
    handle = Handle(stop_at=3)
    assert len(plain_tasks.try_all_thresholds("planets", handle)) == 3
    assert handle.acknowledged


def test_the_image_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no image called 'unicorns' among the 12 here"):
        plain_tasks.segment(demo.NO_IMAGE)


def test_labels_are_counted_from_one_and_noise_is_left_out() -> None:
    image: list[list[float]] = [[0.0] * plain_tasks.SIDE for _ in range(plain_tasks.SIDE)]
    for y, x in [(1, 1), (1, 2), (2, 1), (9, 9), (20, 20), (20, 21), (21, 20), (21, 21)]:
        image[y][x] = 1.0
    labels, areas = plain_tasks.label(image, 0.5, smallest=3)
    assert areas == [3, 4]
    assert (labels[2][1], labels[21][21], labels[0][0]) == (1, 2, 0)
    assert labels[9][9] < 1


def test_the_demo_asks_for_the_images_that_there_are() -> None:
    images = constant("demo_tasks.py", "IMAGES")
    assert isinstance(images, ast.Dict)
    there = [str(ast.literal_eval(key)) for key in images.keys if key is not None]
    assert sorted(demo.IMAGES) == sorted([*there, demo.NO_IMAGE])
    assert sorted(demo.PLAIN_IMAGES) == sorted([*plain_tasks.IMAGES, demo.NO_IMAGE])


def test_the_functions_import_nothing_that_their_environment_lacks() -> None:
    import sys

    assert imports("plain_tasks.py") <= sys.stdlib_module_names
    with_scikit_image = {"numpy", "scipy", "skimage"}
    assert imports("demo_tasks.py") - sys.stdlib_module_names == with_scikit_image


def test_both_files_have_the_same_functions_for_the_demo() -> None:
    wanted: dict[str, Any] = {}
    for file, path in FILES.items():
        functions = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
        wanted[file] = {f.name: ast.unparse(f.args) for f in functions if any(a.arg == "task" for a in f.args.args)}
    wanted["demo_tasks.py"].pop("_step")
    wanted["plain_tasks.py"].pop("_step")
    assert wanted["demo_tasks.py"] == wanted["plain_tasks.py"]
    assert set(wanted["demo_tasks.py"]) == {"segment", "try_all_thresholds", "overview"}
