"""Where the environments of the command line are kept, and how they are called. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT_VARIABLE = "WETLANDS_RX_ROOT"


def default_root(platform: str, variables: Mapping[str, str], home: Path) -> Path:
    """The folder for environments: the variable, else one in the user's cache, so that the next run finds them.

    Args:
        platform: As `sys.platform`.
        variables: The environment variables.
        home: The user's home.
    Source: XDG Base Directory Specification 0.8; Apple, File System Programming Guide; Windows, Known Folders.
    """
    chosen = variables.get(ROOT_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if platform == "win32":
        return Path(variables.get("LOCALAPPDATA") or home / "AppData" / "Local") / "wetlands_rx" / "cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "wetlands_rx"
    cache = variables.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else home / ".cache") / "wetlands_rx"


def recipe_name(python: str | None, packages: Sequence[str]) -> str:
    """The name of the environment for this recipe: `run-scikit-image-1f3a9c2e`; the order of packages is no matter."""
    parts = sorted({" ".join(package.split()) for package in packages})
    digest = hashlib.sha256(json.dumps([python, parts]).encode()).hexdigest()[:8]
    first = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", packages[0].strip()) if packages else None
    word = first.group().lower()[:40].rstrip("._-") if first else "plain"
    return f"run-{word}-{digest}"
