"""The dtypes of numpy as plain values, which any other numpy understands, and which travel without numpy."""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any, Dict, Tuple, Union

if TYPE_CHECKING:
    import numpy as np

Described = Union[str, bytes, Tuple[Any, ...]]
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
    if dtype.names is not None:
        return _described_fields(dtype)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("array", described(base), shape)
    if numpy().dtype(dtype.str) == dtype:
        return dtype.str
    return pickle.dumps(dtype, 4)  # such as bfloat16


def _described_fields(dtype: np.dtype[Any]) -> Described:
    assert dtype.names is not None
    assert dtype.fields is not None
    all_fields: Any = dtype.fields
    fields = [all_fields[name] for name in dtype.names]
    titles = [field[2] if len(field) > 2 else None for field in fields]
    return (
        "fields",
        dtype.names,
        tuple(described(field[0]) for field in fields),
        tuple(field[1] for field in fields),
        tuple(titles) if any(title is not None for title in titles) else (),
        dtype.itemsize,
        dtype.isalignedstruct,
    )


def dtype_of(description: Described) -> np.dtype[Any]:
    """Make the dtype that `described` described."""
    make = numpy().dtype
    made: np.dtype[Any]
    if isinstance(description, bytes):
        made = pickle.loads(description)
    elif isinstance(description, str):
        made = make(description)
    elif description[0] == "array":
        made = make((dtype_of(description[1]), description[2]))
    else:
        _, names, formats, offsets, titles, size, aligned = description
        parts: Dict[str, Any] = {
            "names": list(names),
            "formats": [dtype_of(part) for part in formats],
            "offsets": list(offsets),
            "itemsize": size,
        }
        if titles:
            parts["titles"] = list(titles)
        made = make(parts, align=aligned)
    return made
