import numpy as np
from skimage import data, filters, measure


def load(name):
    return np.asarray(getattr(data, name)())


def segment(image, task=None):
    if task:
        task.update("threshold", current=1, maximum=2)
    mask = image > filters.threshold_otsu(image)
    if task:
        task.update("label", current=2, maximum=2)
    return measure.label(mask).astype(np.int32)


segment_image = segment


def segment_or_fail(image, task=None):
    if image is None:
        raise ValueError("there is no image")
    while not task.cancel_requested:
        task.update("segmenting")
    task.cancel()
