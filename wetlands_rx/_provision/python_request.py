"""Which Python is wanted. Pure.

A request is kept in one canonical form: empty (any), a version of one to three numbers which means all versions that
begin so (`3.11`), or a sorted PEP 440 range (`<3.12,>=3.9`).
"""

from __future__ import annotations

import re

from wetlands_rx.exceptions import RecipeError

_VERSION = re.compile(r"(?:={1,3} *)?([0-9]+(?:\.[0-9]+){0,2})(?:\.\*)?", re.ASCII)
_SHORT = re.compile(r"([=!]=) *([0-9]+(?:\.[0-9]+)?)", re.ASCII)


def canonical_request(wanted: object, name: str = "") -> str:
    """Bring a request into its canonical form.

    Args:
        wanted: None, `"3.11"`, `"==3.11"`, `"3.11.7"`, `">=3.9,<3.12"`; `==` and `!=` with less than three numbers
            mean all versions that begin so.
        name: The environment's name, for an error.
    Raises:
        RecipeError: it cannot be understood.
    """
    if wanted is None:
        return ""
    if not isinstance(wanted, str):
        raise RecipeError(
            name, f"the Python version is a text, not {type(wanted).__name__}", hint=f'write "{wanted}" in quotes'
        )
    text = wanted.strip()
    version = _VERSION.fullmatch(text)
    if version:
        return ".".join(str(int(number)) for number in version[1].split("."))
    return _canonical_range(text, name)


def matches(request: str, version: tuple[int, int, int]) -> bool:
    """Tell whether a Python of this version (major, minor, patch) satisfies a canonical request."""
    if not request:
        return True
    numbers = version_of(request)
    if numbers:
        return version[: len(numbers)] == numbers
    from packaging.specifiers import SpecifierSet  # slow to import

    return SpecifierSet(request).contains(".".join(map(str, version)), prereleases=True)


def version_of(request: str) -> tuple[int, ...]:
    """The numbers of a canonical request for a version; empty for a range, and for any."""
    return tuple(map(int, request.split("."))) if request.replace(".", "").isdigit() else ()


def _canonical_range(text: str, name: str) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    parts = [
        _SHORT.sub(r"\1\2.*", part.strip()) if _SHORT.fullmatch(part.strip()) else part for part in text.split(",")
    ]
    try:
        request = ",".join(sorted(str(one) for one in SpecifierSet(",".join(parts))))
    except InvalidSpecifier:
        request = ""
    if not request:
        raise RecipeError(
            name, f"{text!r} is not a Python version", hint='write it as "3.11", "3.11.7" or ">=3.9,<3.12"'
        )
    return request
