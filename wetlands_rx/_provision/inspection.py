"""Ask an interpreter what it is, by starting it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wetlands_rx._provision.activation import without_host

OLDEST = (3, 8)  # what the workers' own files need
_TIMEOUT_S = 60.0
_PROGRAM = """
import json, platform, sys
print(json.dumps([sys.executable, sys.version_info[:3], platform.python_implementation(), sys.prefix]))
"""  # any Python from 2.7 on can run it


@dataclass(frozen=True)
class Facts:
    """What an interpreter says of itself: its file, version, implementation (`CPython`) and prefix."""

    executable: Path
    version: tuple[int, int, int]
    implementation: str
    prefix: Path


class NotAPython(Exception):
    """The file cannot be started, or is no Python; says why in words."""


def inspect(python: Path, base: Mapping[str, str] = os.environ) -> Facts:
    """Start an interpreter and ask it.

    Raises:
        NotAPython: it cannot be started, does not answer within 60 s, or answers something else.
    """
    command = [str(python), "-E", "-s", "-c", _PROGRAM]
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=without_host(base),
        )
    except subprocess.TimeoutExpired:
        raise NotAPython(f"{python} does not answer within {_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise NotAPython(f"{python} cannot be started: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise NotAPython(f"{str(python)!r} cannot be started: {error}") from error
    try:
        # the last line: a sitecustomize may have printed something before
        executable, (major, minor, patch), implementation, prefix = json.loads(answer.stdout.splitlines()[-1])
        return Facts(Path(executable), (int(major), int(minor), int(patch)), implementation, Path(prefix))
    except (IndexError, TypeError, ValueError):
        said = (answer.stderr or answer.stdout).decode("utf-8", "replace").strip().splitlines()
        raise NotAPython(
            f"{python} is not a working Python (exit code {answer.returncode})" + (f": {said[-1]}" if said else "")
        ) from None
