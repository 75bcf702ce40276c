"""The files that also run inside isolated environments, and the Pythons here that can try them."""

from __future__ import annotations

import ast
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 8)
NEWEST = (3, 13)
PACKAGE = Path(__file__).parents[2] / "wetlands_rx"
_PLACES = ("__init__.py", "exceptions.py", "module_executor.py", "ndarray.py", "_ndarray", "_remote", "_wire")


def worker_files() -> list[Path]:
    """The worker's side of the library, sorted."""
    places = [PACKAGE / place for place in _PLACES]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))


def module_name(file: Path) -> str:
    """`wetlands_rx/_wire/__init__.py` is `wetlands_rx._wire`."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, except for the type checker alone."""
    found: set[str] = set()
    for node in _running_code(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def _running_code(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _running_code(child)


def oldest_interpreter() -> tuple[str, tuple[int, int]]:
    """The interpreter on this machine that is nearest to the oldest supported one, and its version."""
    for minor in range(OLDEST[1], sys.version_info.minor):
        found = _interpreter(minor)
        if found is not None:
            return found, (OLDEST[0], minor)
    return sys.executable, sys.version_info[:2]


@functools.cache
def interpreters() -> dict[tuple[int, int], str]:
    """An interpreter of each supported version that is on this machine; the one that runs the tests for its own."""
    found = {(OLDEST[0], minor): _interpreter(minor) for minor in range(OLDEST[1], NEWEST[1] + 1)}
    found[sys.version_info[:2]] = sys.executable
    return {version: path for version, path in sorted(found.items()) if path is not None}


def pyenv_versions() -> Path:
    """Where pyenv keeps its interpreters; there need be none."""
    return Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def _interpreter(minor: int) -> str | None:
    name = f"{OLDEST[0]}.{minor}"
    on_path = shutil.which(f"python{name}")
    for candidate in (*pyenv_versions().glob(f"{name}.*/bin/python"), *([on_path] if on_path else [])):
        if _runs(str(candidate), minor):
            return str(candidate)
    return None


def _runs(interpreter: str, minor: int) -> bool:
    command = [interpreter, "-c", "import sys; print(sys.version_info.minor)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == str(minor)
