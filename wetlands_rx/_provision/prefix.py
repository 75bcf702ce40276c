"""Where an environment is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prefix:
    """A Python environment on disk.

    Attributes:
        path: Its folder, absolute.
        python: Its interpreter, absolute; a symbolic link is not followed, or it would be another environment's.
        python_version: Major, minor, patch.
    """

    path: Path
    python: Path
    python_version: tuple[int, int, int]
