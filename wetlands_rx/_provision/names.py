"""Which names an environment may have. Pure."""

from __future__ import annotations

import re

from wetlands_rx.exceptions import RecipeError

MAX_LENGTH = 64  # folders with a suffix and packages' own long paths must fit into Windows' 260 characters
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{port}{number}" for port in ("com", "lpt") for number in range(10)]
)


def check_name(name: object) -> str:
    """Refuse a name that is not a plain folder name on every system.

    Returns:
        The name.
    Raises:
        RecipeError: it is something else than a text of 1 to 64 letters, digits, `.`, `_` and `-`, starts with
            another character than a letter or a digit, ends with a dot, or is the name of a device.
    Source: Microsoft, "Naming Files, Paths, and Namespaces" (device names also count with an extension).
    """
    if not isinstance(name, str):
        raise RecipeError("", f"the name of an environment is a text, not {type(name).__name__}: {name!r}")
    trouble = _trouble(name)
    if trouble:
        raise RecipeError(
            name,
            f"{name!r} cannot be the name of an environment: {trouble}",
            hint=f"use 1 to {MAX_LENGTH} letters, digits, '.', '_' or '-', the first a letter or a digit",
        )
    return name


def _trouble(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > MAX_LENGTH:
        return f"it has {len(name)} characters"
    if not _ALLOWED.fullmatch(name):
        return "it is not a plain name"
    if name.endswith("."):
        return "it ends with a dot, which Windows drops"
    if name.partition(".")[0].casefold() in _DEVICES:
        return "Windows keeps that name for a device"
    return ""
