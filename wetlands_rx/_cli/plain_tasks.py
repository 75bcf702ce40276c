"""Count things in images that are made up: what `wetlands-rx demo` runs where nothing can be installed.

Standard library only, on whatever interpreter is there. The functions have the names of those in demo_tasks.py; the
demo puts a copy of this file into its output folder, and everything is written beside that copy.
"""

from __future__ import annotations

import colorsys
import math
import random
import struct
import zlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
SIDE = 192
STEPS = 5

IMAGES = {
    "berries": (9, 12),
    "bubbles": (14, 9),
    "buttons": (12, 8),
    "cells": (24, 7),
    "confetti": (40, 4),
    "drops": (30, 5),
    "lamps": (16, 6),
    "pebbles": (36, 6),
    "planets": (5, 15),
    "seeds": (60, 3),
    "stars": (50, 3),
    "tokens": (20, 7),
}
"""How many discs are drawn, and their largest radius in pixels; they may overlap and then count as one."""

Image = list[list[float]]
Labels = list[list[int]]


def segment(name: str, task: Any = None) -> dict[str, Any]:
    """Make up an image, find and count its objects; write a picture of them.

    Args:
        name: A key of `IMAGES`.
        task: The handle that reports progress.
    Returns:
        Name, kind and number of the objects, their median area in pixels, the image's size, the file.
    Raises:
        ValueError: there is no such image.
    """
    if name not in IMAGES:
        raise ValueError(f"no image called {name!r} among the {len(IMAGES)} here")
    _step(task, 1, "make up")
    image = smooth(make_up(name))
    _step(task, 2, "threshold")
    level = otsu(image)
    _step(task, 3, "label")
    labels, areas = label(image, level, smallest=12)
    _step(task, 4, "draw")
    overlay = FOLDER / "overlays" / f"{name}.png"
    _write(overlay, draw(image, labels))
    _step(task, 5, "done")
    return {
        "image": name,
        "objects": name,
        "count": len(areas),
        "median_area": float(sorted(areas)[len(areas) // 2]) if areas else 0.0,
        "height": SIDE,
        "width": SIDE,
        "overlay": overlay.relative_to(FOLDER).as_posix(),
        "labels": "",
    }


def try_all_thresholds(name: str, task: Any = None) -> list[int]:
    """Count the objects at each of 100 thresholds: long enough to be stopped half way.

    Args:
        name: A key of `IMAGES`.
        task: The handle that reports progress; when it says so, this ends early.
    Returns:
        The number of objects at each threshold that was tried.
    """
    image = smooth(make_up(name))
    counts: list[int] = []
    for number in range(1, 101):
        if task is not None and task.cancel_requested:
            task.cancel()  # acknowledge, and leave
            break
        counts.append(len(label(image, number / 100, smallest=12)[1]))
        if task is not None:
            task.update(f"threshold {number / 100:.2f}: {counts[-1]} objects", current=number, maximum=100)
    return counts


def overview(names: list[str], task: Any = None) -> str:
    """Put the pictures of all images on one sheet, `overview.png`.

    Args:
        names: Images that `segment` has finished.
        task: The handle that reports progress.
    Returns:
        The name of the file.
    """
    columns = 4
    sheet: list[bytearray] = []
    for first in range(0, len(names), columns):
        if task is not None:
            task.raise_if_canceled()
            task.update(names[first], current=first, maximum=len(names))
        images = [smooth(make_up(name)) for name in names[first : first + columns]]
        pictures = [draw(image, label(image, otsu(image), smallest=12)[0]) for image in images]
        empty = [bytearray(3 * SIDE)] * SIDE
        pictures += [empty] * (columns - len(pictures))
        sheet += [bytearray().join(rows) for rows in zip(*pictures, strict=True)]
    _write(FOLDER / "overview.png", sheet)
    return "overview.png"


def make_up(name: str) -> Image:
    """Bright discs on a background that is darker on one side, with noise: SIDE rows of SIDE values."""
    chance = random.Random(name)
    count, largest = IMAGES[name]
    image = [[0.15 + 0.15 * x / SIDE + chance.gauss(0, 0.05) for x in range(SIDE)] for _ in range(SIDE)]
    for _ in range(count):
        radius = chance.uniform(max(2.5, largest / 2), largest)
        x0, y0 = (chance.uniform(radius, SIDE - radius) for _ in range(2))
        bright = chance.uniform(0.35, 0.6)
        for y in range(math.floor(y0 - radius), math.ceil(y0 + radius)):
            for x in range(math.floor(x0 - radius), math.ceil(x0 + radius)):
                if math.hypot(x - x0, y - y0) < radius:
                    image[y][x] += bright
    return image


def smooth(image: Image) -> Image:
    """The mean of each pixel's neighbourhood of 3 by 3."""
    for _ in range(2):  # along the rows, then, turned over, along the columns
        padded = [[row[0], *row, row[-1]] for row in image]
        means = [[sum(row[x : x + 3]) / 3 for x in range(SIDE)] for row in padded]
        image = [list(column) for column in zip(*means, strict=True)]
    return image


def otsu(image: Image) -> float:
    """The level that best divides the values into a dark and a bright class (Otsu 1979)."""
    values = sorted(value for row in image for value in row)
    total, before, best, level = sum(values), 0.0, -1.0, 0.0
    for number, value in enumerate(values[:-1], start=1):
        before += value
        dark, bright = before / number, (total - before) / (len(values) - number)
        between = number * (len(values) - number) * (bright - dark) ** 2
        if between > best:
            best, level = between, value
    return level


def label(image: Image, level: float, smallest: int) -> tuple[Labels, list[int]]:
    """Number the bright objects 1, 2, ... and measure them.

    Args:
        image: SIDE rows of SIDE values.
        level: What is brighter belongs to an object.
        smallest: Objects of fewer pixels are noise.
    Returns:
        The number of each pixel, 0 for the background, and the area of each object in pixels.
    """
    labels = [[0] * SIDE for _ in range(SIDE)]
    areas: list[int] = []
    for y in range(SIDE):
        for x in range(SIDE):
            if image[y][x] <= level or labels[y][x]:
                continue
            pixels = _flood(image, labels, level, (y, x))
            number = len(areas) + 1 if len(pixels) >= smallest else -1
            for row, column in pixels:
                labels[row][column] = number
            if number > 0:
                areas.append(len(pixels))
    return labels, areas


def draw(image: Image, labels: Labels) -> list[bytearray]:
    """Every object in a color of its own: one row of red, green and blue bytes per row."""
    rows: list[bytearray] = []
    for values, numbers in zip(image, labels, strict=True):
        row = bytearray()
        for value, number in zip(values, numbers, strict=True):
            gray = min(1.0, max(0.0, value))
            hue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.8, 1) if number > 0 else (gray, gray, gray)
            row += bytes(round(255 * (gray + part) / 2) for part in hue)
        rows.append(row)
    return rows


def _flood(image: Image, labels: Labels, level: float, start: tuple[int, int]) -> list[tuple[int, int]]:
    """The connected pixels above the level; marks them in `labels` as seen."""
    labels[start[0]][start[1]] = -1
    pixels = [start]
    for y, x in pixels:  # grows while it is walked
        for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= row < SIDE and 0 <= column < SIDE
            if inside and image[row][column] > level and not labels[row][column]:
                labels[row][column] = -1
                pixels.append((row, column))
    return pixels


def _write(path: Path, rows: list[bytearray]) -> None:
    """Write a PNG of 8 bits per color (W3C, Portable Network Graphics, third edition, sections 5 and 11)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _step(task: Any, number: int, message: str) -> None:
    if task is not None:
        task.raise_if_canceled()
        task.update(message, current=number, maximum=STEPS)
