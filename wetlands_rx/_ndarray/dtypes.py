"""The dtypes of numpy as plain values, which any other numpy understands, and which travel without numpy."""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any, Dict, Tuple, Union

from wetlands_rx._wire import arrays

if TYPE_CHECKING:
    import numpy as np

Described = Union[str, bytes, Tuple[Any, ...], Dict[str, Any]]
"""The text of a simple dtype, the pickle of one that another package adds, or base and shape, or fields."""


def numpy() -> Any:
    """The numpy of this environment.

    Raises:
        ModuleNotFoundError: there is none.
    """
    try:
        return importlib.import_module("numpy")
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise ModuleNotFoundError(
            "this environment has no numpy, which an NDArray needs for .array and .dtype; without it there are "
            ".shape, .nbytes and the memory itself, .shm.buf",
            name="numpy",
        ) from None


def described(dtype: np.dtype[Any]) -> Described:
    """Describe a dtype; `dtype_of` is the way back.

    Raises:
        TypeError: its elements are Python objects.
    """
    if dtype.hasobject:
        raise TypeError(
            "an array of dtype {} only refers to its elements, which lie in the memory of one process: pass it as it "
            "is, and it is pickled; or make it one of numbers, or of text of fixed width, as with .astype(float) or "
            ".astype('U')".format(dtype)
        )
    found: Described = arrays.described(numpy(), dtype, _pickled)
    return found


def _pickled(dtype: Any) -> bytes:
    """One that another package adds, such as bfloat16: a receiver without numpy keeps it as it is."""
    return pickle.dumps(dtype, 4)


def dtype_of(description: Described) -> np.dtype[Any]:
    """Make the dtype that `described` described."""
    made: np.dtype[Any] = arrays.dtype_of(numpy(), description, pickle.loads)
    return made
