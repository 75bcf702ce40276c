"""Results as JSON, arrays and bytes set apart."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from wetlands_rx._cli.items import JSON
from wetlands_rx._cli.progress_lines import clean, clip

Keep = Callable[[str, Any], JSON]
"""Given where an array or bytes object stands inside the result, and itself: what stands for it in the JSON."""

_DEEPEST = 40
_LONGEST_REPR = 1000
_LONGEST_INT_BITS = 10_000


def jsonable(value: Any, keep: Keep, path: str = "") -> JSON:
    """The value as plain JSON: what JSON does not know becomes the nearest thing it knows.

    Args:
        value: Any result. Tuples and sets become lists, numbers of numpy plain ones, dataclasses objects, paths and
            times strings; nan and infinities become strings too. Anything else becomes `{"type": ..., "repr": ...}`.
        keep: What becomes of arrays and bytes.
        path: Where the value stands inside the result, `"labels"` or `"cells.0"`.
    """
    if value is None or isinstance(value, (bool, str, int, float)):
        return _scalar(value)
    if is_array(value) or isinstance(value, (bytes, bytearray)):
        return keep(path, value)
    if _is_numpy_scalar(value):
        return jsonable(value.item(), keep, path)
    if path.count(".") < _DEEPEST:
        return _jsonable_container(value, keep, path)
    return _foreign(value)


def is_array(value: object) -> bool:
    """True for an array of numpy, which is not imported for that."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def mention(_path: str, value: Any) -> JSON:
    """Keep nothing of an array or bytes but what they are."""
    if is_array(value):
        return {"array": str(value.dtype), "shape": list(value.shape)}
    return {"bytes": len(value)}


def _scalar(value: Any) -> JSON:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_INT_BITS:
        return _foreign(value)  # Python refuses to write it in decimal (sys.set_int_max_str_digits)
    plain: JSON = value
    return plain


def _jsonable_container(value: Any, keep: Keep, path: str) -> JSON:
    whole: Any = value  # keeps its type while `value` is narrowed
    if isinstance(value, Mapping):
        return {str(key): jsonable(part, keep, _inside(path, key)) for key, part in whole.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(part, keep, _inside(path, place)) for place, part in enumerate(whole)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: jsonable(getattr(value, name), keep, _inside(path, name)) for name in names}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return _foreign(value)


def _inside(path: str, key: object) -> str:
    part = str(key).replace(".", "_")
    return f"{path}.{part}" if path else part


def _is_numpy_scalar(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic) and not isinstance(value, numpy.void)


def _foreign(value: object) -> JSON:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        text = clip(clean(repr(value)), _LONGEST_REPR)
    except Exception as error:  # noqa: BLE001 - the __repr__ of the user's class
        text = f"<its __repr__ raised {type(error).__name__}>"
    return {"type": kind, "repr": text}
