"""Which Python interpreters this machine has."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wetlands_rx._provision.inspection import OLDEST, NotAPython, inspect
from wetlands_rx._provision.python_request import matches, version_of
from wetlands_rx._provision.wording import version_text
from wetlands_rx.exceptions import PythonNotFoundError

_VERSION_FOLDER = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_MANAGED_FOLDER = re.compile(r"cpython-(\d+)\.(\d+)\.(\d+)-.+")
_CONDA_RECORD = re.compile(r"python-(\d+)\.(\d+)\.(\d+)-.+\.json")
_PROGRAM = re.compile(r"python3?(?:\.(\d+))?(?:\.exe)?")
_CONDA_ROOTS = re.compile(r"(miniconda|anaconda|miniforge|mambaforge|micromamba).*")


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine.

    Attributes:
        path: Its file, absolute.
        version: Major, minor, patch.
        source: Where it was found: `running`, `pyenv`, `uv`, `PATH` or `conda`.
    """

    path: Path
    version: tuple[int, int, int]
    source: str


@dataclass(frozen=True)
class Candidate:
    """An interpreter that has not been started.

    Attributes:
        path: Its file, absolute.
        version: As much of it as its place tells: three numbers, two, or none.
        source: As of `Interpreter`.
    """

    path: Path
    version: tuple[int, ...]
    source: str


def find(request: str, name: str = "", candidates: Iterable[Candidate] | None = None) -> Interpreter:
    """Choose the newest interpreter that satisfies a request, and start it to be sure.

    Args:
        request: In canonical form; empty prefers the minor version that runs this program.
        name: The environment's name, for an error.
        candidates: Where to choose from; those of this machine by default.
    Raises:
        PythonNotFoundError: there is none.
    """
    known = list(discover() if candidates is None else candidates)
    running = sys.version_info[:2]
    fitting = [each for each in map(_with_version, _possible(known, request, running)) if each is not None]
    # Newest first; of equal ones the first that was found. Without a request the running minor goes before all.
    fitting.sort(key=lambda each: (not request and each.version[:2] == running, each.version), reverse=True)
    for interpreter in fitting:
        confirmed = _confirmed(interpreter)
        if confirmed is not None and matches(request, confirmed.version) and confirmed.version >= OLDEST:
            return confirmed
    raise PythonNotFoundError(name, request or "(any version)", _versions(known), _hint(request))


def _possible(known: Iterable[Candidate], request: str, running: tuple[int, int]) -> list[Candidate]:
    """Those that may satisfy the request, as far as one can tell without starting them."""
    possible: list[Candidate] = []
    for each in known:
        if each.version and each.version < OLDEST:
            continue
        if len(each.version) == 3 and not matches(request, (each.version[0], each.version[1], each.version[2])):
            continue
        if len(each.version) == 2 and not _minor_may_match(request, each.version):
            continue
        possible.append(each)
    if not request and any(each.version[:2] == running for each in possible):
        possible = [each for each in possible if each.version[:2] == running]
    return possible


def _minor_may_match(request: str, minor: tuple[int, ...]) -> bool:
    wanted = version_of(request)[:2]
    return minor[: len(wanted)] == wanted  # a range may depend on the patch: the interpreter has to say


def _with_version(candidate: Candidate) -> Interpreter | None:
    """The candidate with its full version, by starting it when its place does not tell."""
    if len(candidate.version) == 3:
        major, minor, patch = candidate.version
        return Interpreter(candidate.path, (major, minor, patch), candidate.source)
    return _confirmed(Interpreter(candidate.path, (0, 0, 0), candidate.source))


def _confirmed(interpreter: Interpreter) -> Interpreter | None:
    try:
        facts = inspect(interpreter.path)
    except NotAPython:
        return None
    if facts.implementation != "CPython":
        return None
    return Interpreter(interpreter.path, facts.version, interpreter.source)


def _versions(known: Iterable[Candidate]) -> list[str]:
    versions = {each.version for each in known if each.version >= OLDEST}
    # `3.11` says nothing when `3.11.7` is there
    return [
        version_text(version)
        for version in sorted(versions)
        if len(version) == 3 or not any(other[:2] == version for other in versions if len(other) == 3)
    ]


def _hint(request: str) -> str:
    wanted = version_of(request)
    if wanted and wanted < OLDEST[: len(wanted)]:
        return f"workers need Python {version_text(OLDEST)} or newer"
    return "ask for one of those, or install it (pyenv, uv and conda versions are found as well as those on PATH)"


def discover(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> list[Candidate]:
    """List the interpreters of this machine without starting any, each once.

    Args:
        environ: The environment variables.
        home: The user's folder.
    Returns:
        First the running one, then those of pyenv, of uv, on PATH and of conda.
    """
    home = home if home is not None else Path.home()
    seen: set[str] = set()
    unique: list[Candidate] = []
    for candidate in (
        *_running(),
        *_pyenv(environ, home),
        *_managed(environ, home),
        *_on_path(environ, _pyenv_root(environ, home)),
        *_conda(environ, home),
    ):
        real = os.path.realpath(candidate.path)
        if real not in seen:
            seen.add(real)
            unique.append(candidate)
    return unique


def _running() -> Iterator[Candidate]:
    path = Path(getattr(sys, "_base_executable", "") or sys.executable or "")
    # An application with an interpreter inside is no Python that could be started.
    if _PROGRAM.fullmatch(path.name) and path.is_file() and sys.implementation.name == "cpython":
        yield Candidate(path, sys.version_info[:3], "running")


def _pyenv_root(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("PYENV_ROOT") or home / ".pyenv")


def _pyenv(environ: Mapping[str, str], home: Path) -> Iterator[Candidate]:
    for folder in _folders(_pyenv_root(environ, home) / "versions"):
        version = _VERSION_FOLDER.fullmatch(folder.name)
        if version:
            yield from _inside(folder, _numbers(version), "pyenv")
        elif _CONDA_ROOTS.fullmatch(folder.name):
            yield from _conda_prefix(folder)


def _managed(environ: Mapping[str, str], home: Path) -> Iterator[Candidate]:
    given = environ.get("UV_PYTHON_INSTALL_DIR")
    share = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    for folder in _folders(Path(given) if given else share / "uv" / "python"):
        version = _MANAGED_FOLDER.fullmatch(folder.name)
        if version:
            yield from _inside(folder, _numbers(version), "uv")


def _on_path(environ: Mapping[str, str], pyenv_root: Path) -> Iterator[Candidate]:
    for entry in environ.get("PATH", "").split(os.pathsep):
        folder = Path(entry)
        # pyenv's shims are scripts that may refuse to run
        if not folder.is_absolute() or folder == pyenv_root / "shims":
            continue
        for file in sorted(_listed(folder)):
            program = _PROGRAM.fullmatch(file.name)
            if program and os.access(file, os.X_OK) and file.is_file():
                minor = program[1] or _minor_of(Path(os.path.realpath(file)).name)
                version = _of_environment(folder.parent) or ((3, int(minor)) if minor else ())
                yield Candidate(file, version, "PATH")


def _minor_of(program_name: str) -> str | None:
    program = _PROGRAM.fullmatch(program_name)
    return program[1] if program else None


def _conda(environ: Mapping[str, str], home: Path) -> Iterator[Candidate]:
    prefixes = [environ.get("CONDA_PREFIX", ""), os.path.dirname(os.path.dirname(environ.get("CONDA_EXE", "")))]
    with suppress(OSError, ValueError):  # no conda here
        prefixes += (home / ".conda" / "environments.txt").read_text(encoding="utf-8").splitlines()
    for prefix in prefixes:
        if os.path.isabs(prefix):
            yield from _conda_prefix(Path(prefix))


def _conda_prefix(prefix: Path) -> Iterator[Candidate]:
    for record in _listed(prefix / "conda-meta"):
        version = _CONDA_RECORD.fullmatch(record.name)
        if version:
            yield from _inside(prefix, _numbers(version), "conda")


def _of_environment(prefix: Path) -> tuple[int, ...]:
    """The version of a virtual environment, by its own file."""
    try:
        text = (prefix / "pyvenv.cfg").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ()
    version = re.search(r"^version(?:_info)? *= *(\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    return _numbers(version) if version else ()


def _inside(prefix: Path, version: tuple[int, int, int], source: str) -> Iterator[Candidate]:
    for program in (f"bin/python{version[0]}.{version[1]}", "bin/python3", "bin/python", "python.exe"):
        if (prefix / program).is_file():
            yield Candidate(prefix / program, version, source)
            return


def _numbers(match: re.Match[str]) -> tuple[int, int, int]:
    return int(match[1]), int(match[2]), int(match[3])


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in _listed(parent) if path.is_dir() and not path.is_symlink())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
