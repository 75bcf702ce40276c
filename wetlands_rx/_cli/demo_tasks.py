"""Count things in photographs and micrographs: what `wetlands-rx demo` runs in its isolated environment.

This file needs scikit-image and nothing else; in particular it does not import wetlands_rx. The demo puts a copy of it
into its output folder, and everything is written beside that copy. Try it on one image, or change it and try again:

    wetlands-rx run wetlands-demo/demo_tasks.py:segment coins page --pip scikit-image

A parameter named `task` receives a handle through which a function reports progress and learns of a cancel.
"""
# pyright: basic, reportMissingImports=false
# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import color, data, feature, filters, io, measure, morphology, segmentation, transform, util

Array = Any  # numpy.ndarray; scikit-image tells type checkers little about what it returns
FOLDER = Path(__file__).resolve().parent
STEPS = 6


@dataclass(frozen=True)
class Recipe:
    """How the objects of one image are found. Lengths in pixels, areas in pixels."""

    objects: str
    """What is counted, in words."""
    load: str = ""
    """The function of `skimage.data`; by default the image's name."""
    channel: str = "gray"
    dark: bool = False
    """The objects are darker than what is around them."""
    smooth: float = 1
    """Sigma of the first blur."""
    background: float = 0
    """Sigma of the blur that is subtracted as background; 0 for none."""
    threshold: str = "otsu"
    """A method of `skimage.filters`, or `local:SIZE:ABOVE`, the neighbourhood and how far above its mean."""
    margin: int = 0
    """Ignore this much along the black rim around a round image."""
    close: int = 0
    """Close gaps of this radius."""
    open: int = 0
    """Cut bridges of this radius."""
    fill: bool = True
    """Holes belong to their object."""
    smallest: int = 50
    """Smaller objects are noise."""
    longest: float = 1
    """Objects that span more than this part of the image are lines of a grid."""
    whole: bool = False
    """Leave out what the border of the image cuts."""
    split: int = 0
    """Separate touching objects whose centres are this far apart; 0 to leave them together."""


IMAGES = {
    "coins": Recipe("coins", smooth=2, threshold="local:101:-0.02", close=2, smallest=400, split=15),
    "cell": Recipe("cells", smooth=2, smallest=500),
    "ihc": Recipe(
        "nuclei", "immunohistochemistry", "hematoxylin", threshold="local:71:-0.01", fill=False, smallest=30, split=5
    ),
    "hubble_deep_field": Recipe("galaxies", background=25, smallest=6, split=4),
    "moon": Recipe("sunlit slopes", background=15, threshold="triangle", smallest=12),
    "retina": Recipe(
        "vessels", channel="green", dark=True, smooth=2, threshold="local:51:-0.02", margin=25, fill=False, smallest=400
    ),
    "microaneurysms": Recipe("aneurysms", dark=True, smooth=1.5, threshold="local:31:-0.025", smallest=20, whole=True),
    "gravel": Recipe("stones", smooth=1.5, threshold="local:35:-0.02", smallest=40, split=7),
    "brick": Recipe("bricks", dark=True, smooth=1.5, threshold="local:75:0", open=2, smallest=150),
    "page": Recipe("letters", dark=True, smooth=0.5, threshold="local:25:-0.06", fill=False, smallest=6, longest=0.2),
    "text": Recipe("pen strokes", dark=True, background=15, fill=False, smallest=30, longest=0.35),
    "coffee": Recipe("white things", channel="white", smooth=2, threshold="yen", smallest=200, whole=True),
    "rocket": Recipe("lights", background=40, threshold="yen", smallest=20),
    "camera": Recipe("photographers", dark=True, smallest=2000),
    "horse": Recipe("horses", dark=True, smooth=0, smallest=100),
}


def segment(name: str, task: Any = None) -> dict[str, Any]:
    """Find and count the objects of one image; write a picture of them and an image of their labels.

    Args:
        name: A key of `IMAGES`.
        task: The handle that reports progress.
    Returns:
        Name, kind and number of the objects, their median area in pixels, the image's size, the two files.
    Raises:
        ValueError: there is no such image.
    """
    recipe = IMAGES.get(name)
    if recipe is None:
        raise ValueError(f"no image called {name!r} among the {len(IMAGES)} here")
    _step(task, 1, "read")
    image = getattr(data, recipe.load or name)()
    values = brightness(image, recipe)
    _step(task, 2, "threshold")
    mask = values > threshold(values, recipe.threshold)
    _step(task, 3, "clean")
    mask = clean(mask, image, recipe)
    _step(task, 4, "separate and label")
    labels = label(mask, recipe)
    _step(task, 5, "draw")
    picture, numbers = FOLDER / "overlays" / f"{name}.png", FOLDER / "labels" / f"{name}.png"
    _write(picture, draw(image, labels))
    _write(numbers, labels.astype(np.uint16))
    _step(task, 6, "done")
    areas = np.bincount(labels.ravel())[1:]
    return {
        "image": name,
        "objects": recipe.objects,
        "count": int(labels.max()),
        "median_area": float(np.median(areas)) if areas.size else 0.0,
        "height": int(labels.shape[0]),
        "width": int(labels.shape[1]),
        "overlay": picture.relative_to(FOLDER).as_posix(),
        "labels": numbers.relative_to(FOLDER).as_posix(),
    }


def try_all_thresholds(name: str, task: Any = None) -> list[int]:
    """Count the objects at each of 100 thresholds: long enough to be stopped half way.

    Args:
        name: A key of `IMAGES`.
        task: The handle that reports progress; when it says so, this ends early.
    Returns:
        The number of objects at each threshold that was tried.
    """
    values = brightness(getattr(data, IMAGES[name].load or name)(), IMAGES[name])
    levels = np.linspace(values.min(), values.max(), 100)
    counts: list[int] = []
    for number, level in enumerate(levels, start=1):
        if task is not None and task.cancel_requested:
            task.cancel()  # acknowledge, and leave
            break
        smoothed = ndimage.median_filter(values > level, size=7)
        counts.append(int(measure.label(smoothed).max()))
        if task is not None:
            task.update(f"threshold {level:.2f}: {counts[-1]} objects", current=number, maximum=len(levels))
    return counts


def overview(names: list[str], task: Any = None) -> str:
    """Put the pictures of all images on one sheet, `overview.png`.

    Args:
        names: Images that `segment` has finished.
        task: The handle that reports progress.
    Returns:
        The name of the file.
    """
    side, columns = 320, 5
    rows = -(-len(names) // columns)
    sheet = np.zeros((rows * side, columns * side, 3))
    for place, name in enumerate(names):
        if task is not None:
            task.raise_if_canceled()
            task.update(name, current=place, maximum=len(names))
        picture = util.img_as_float(io.imread(FOLDER / "overlays" / f"{name}.png"))
        scale = (side - 8) / max(picture.shape[:2])
        height, width = round(picture.shape[0] * scale), round(picture.shape[1] * scale)
        top, left = (place // columns) * side + (side - height) // 2, (place % columns) * side + (side - width) // 2
        sheet[top : top + height, left : left + width] = transform.resize(picture, (height, width), anti_aliasing=True)
    _write(FOLDER / "overview.png", util.img_as_ubyte(sheet.clip(0, 1)))
    return "overview.png"


def brightness(image: Array, recipe: Recipe) -> Array:
    """The quantity in which the objects are bright: shape (y, x), float, smoothed, background removed."""
    values = _channel(image, recipe.channel)
    if recipe.dark:
        values = values.max() - values
    if recipe.smooth:
        values = filters.gaussian(values, recipe.smooth)
    if recipe.background:
        values = values - filters.gaussian(values, recipe.background)
    return values


def threshold(values: Array, method: str) -> Any:
    """The value, or for each pixel the value, above which an object begins."""
    kind, _, rest = method.partition(":")
    if kind != "local":
        return getattr(filters, f"threshold_{kind}")(values)
    size, above = rest.split(":")
    return filters.threshold_local(values, int(size), offset=float(above))


def clean(mask: Array, image: Array, recipe: Recipe) -> Array:
    """The mask without what is certainly no object."""
    if recipe.margin:
        seen = _channel(image, "value") > 0.2
        mask = mask & (ndimage.distance_transform_edt(seen) > recipe.margin)
    if recipe.close:
        mask = morphology.closing(mask, morphology.disk(recipe.close))
    if recipe.open:
        mask = morphology.opening(mask, morphology.disk(recipe.open))
    if recipe.fill:
        mask = ndimage.binary_fill_holes(mask)
    return _without_small(measure.label(mask), recipe.smallest) > 0


def label(mask: Array, recipe: Recipe) -> Array:
    """Number the objects 1, 2, ...; 0 is the background. Shape (y, x), int."""
    labels = _watershed(mask, recipe.split) if recipe.split else measure.label(mask)
    labels = _without_small(labels, recipe.smallest)
    if recipe.whole:
        labels = segmentation.clear_border(labels)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1) if recipe.longest < 1 else ():
        height, width = (rows.stop - rows.start) / labels.shape[0], (columns.stop - columns.start) / labels.shape[1]
        if max(height, width) > recipe.longest:
            labels[labels == number] = 0
    return segmentation.relabel_sequential(labels)[0]


def draw(image: Array, labels: Array) -> Array:
    """The image with every object in a color of its own: shape (y, x, 3), uint8; a small image is enlarged."""
    rgb = util.img_as_float(image if image.ndim == 3 else color.gray2rgb(image))
    times = max(1, -(-500 // max(labels.shape)))
    rgb, labels = (array.repeat(times, axis=0).repeat(times, axis=1) for array in (rgb, labels))
    hues = np.arange(labels.max() + 1) * 0.618034 % 1  # the golden ratio: neighbours in number differ most in color
    palette = color.hsv2rgb(np.stack([hues, np.full_like(hues, 0.8), np.ones_like(hues)], axis=-1))
    rim = segmentation.find_boundaries(labels, mode="inner")
    weight = (np.where(rim, 1.0, 0.5) * (labels > 0))[..., np.newaxis]
    return util.img_as_ubyte((rgb * (1 - weight) + palette[labels] * weight).clip(0, 1))


def _channel(image: Array, name: str) -> Array:
    if image.ndim == 2:
        return util.img_as_float(image)
    rgb = util.img_as_float(image[..., :3])
    if name == "hematoxylin":
        return color.rgb2hed(rgb)[..., 0]  # the blue stain of nuclei
    if name == "green":
        return rgb[..., 1]
    if name == "value":
        return rgb.max(axis=-1)
    if name == "white":
        return rgb.min(axis=-1)
    return color.rgb2gray(rgb)


def _watershed(mask: Array, apart: int) -> Array:
    distance = filters.gaussian(ndimage.distance_transform_edt(mask), 1)
    peaks = feature.peak_local_max(distance, min_distance=apart, labels=measure.label(mask), exclude_border=False)
    markers = np.zeros(mask.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-distance, markers, mask=mask)


def _without_small(labels: Array, smallest: int) -> Array:
    """Plain numpy, because the parameters of `remove_small_objects` change between versions of scikit-image."""
    small = np.bincount(labels.ravel()) < smallest
    small[0] = False
    return np.where(small[labels], 0, labels)


def _write(path: Path, image: Array) -> None:
    path.parent.mkdir(exist_ok=True)
    io.imsave(path, image, check_contrast=False)


def _step(task: Any, number: int, message: str) -> None:
    if task is not None:
        task.raise_if_canceled()
        task.update(message, current=number, maximum=STEPS)
