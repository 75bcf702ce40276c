"""Load pickles whose modules stand elsewhere here: in another numpy, or in another Python."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

_OTHER_PLACES = {
    "numpy.rec": ("numpy.core.records",),
    "numpy.core.records": ("numpy.rec",),
    "numpy._core.records": ("numpy.rec",),
    "numpy.exceptions": ("numpy", "numpy.core._exceptions"),
    "numpy.core._exceptions": ("numpy.exceptions", "numpy._core._exceptions"),
}


class MovedUnpickler(pickle.Unpickler):
    """Loads what stands elsewhere in another numpy or Python.

    numpy 2 moved `numpy.core` to `numpy._core`, and warns of the old name. The paths of Python 3.13 say that they are
    from `pathlib._local`, which no other version has.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module == "pathlib._local":
            return super().find_class("pathlib", name)
        parts = module.split(".")
        places = [module]
        if parts[0] == "numpy" and parts[1:2] in (["core"], ["_core"]):
            places = [".".join(["numpy", core, *parts[2:]]) for core in ("_core", "core")]
        for place in [*places, *_OTHER_PLACES.get(module, ())]:
            with contextlib.suppress(ImportError, AttributeError):
                return super().find_class(place, name)
        return super().find_class(module, name)
