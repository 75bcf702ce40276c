"""Which interpreters are found, without starting any."""

from __future__ import annotations

import sys
from pathlib import Path

from wetlands_rx._provision.interpreters import discover


def put(python: Path) -> Path:
    """Write a program that leaves a trace when it is started."""
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f"#!/bin/sh\ntouch '{python}.started'\n")
    python.chmod(0o700)
    return python


def found(environ: dict[str, str], home: Path) -> list[tuple[str, tuple[int, ...], str]]:
    return [
        (str(each.path.relative_to(home)), each.version, each.source)
        for each in discover(environ, home)
        if each.path.is_relative_to(home)
    ]


def test_the_running_interpreter_is_found_first() -> None:
    first = discover()[0]
    assert first.version == sys.version_info[:3]
    assert first.source == "running"
    assert first.path.is_absolute()


def test_versions_of_pyenv_are_found_and_told_by_their_folders(tmp_path: Path) -> None:
    for version in ("3.9.18", "3.12.1"):
        put(tmp_path / f".pyenv/versions/{version}/bin/python{version.rpartition('.')[0]}")
    for other in ("pypy3.9-7.3.9", "3.14-dev", "3.13.0t", "mine"):
        put(tmp_path / f".pyenv/versions/{other}/bin/python3")
    (tmp_path / ".pyenv/versions/3.8.18").mkdir()  # without an interpreter
    (tmp_path / ".pyenv/versions/3.9.19").symlink_to("3.9.18")
    assert found({}, tmp_path) == [
        (".pyenv/versions/3.12.1/bin/python3.12", (3, 12, 1), "pyenv"),
        (".pyenv/versions/3.9.18/bin/python3.9", (3, 9, 18), "pyenv"),
    ]
    assert found({"PYENV_ROOT": str(tmp_path / "elsewhere")}, tmp_path) == []


def test_shims_of_pyenv_on_path_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / ".pyenv/shims/python3.11")
    assert found({"PATH": str(tmp_path / ".pyenv/shims")}, tmp_path) == []


def test_managed_versions_of_uv_are_found(tmp_path: Path) -> None:
    put(tmp_path / ".local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12")
    put(tmp_path / ".local/share/uv/python/cpython-3.13.0+freethreaded-linux-x86_64-gnu/bin/python3.13")
    put(tmp_path / "mine/cpython-3.10.1-linux-x86_64-gnu/bin/python3.10")
    assert [version for _, version, _ in found({}, tmp_path)] == [(3, 12, 4)]
    assert [version for _, version, _ in found({"UV_PYTHON_INSTALL_DIR": str(tmp_path / "mine")}, tmp_path)] == [
        (3, 10, 1)
    ]


def test_prefixes_of_conda_are_found(tmp_path: Path) -> None:
    for name, version in (("base", "3.11.5"), ("gis", "3.9.1")):
        put(tmp_path / name / "bin/python3")
        (tmp_path / name / "conda-meta").mkdir()
        (tmp_path / name / "conda-meta" / f"python-{version}-h1_0.json").touch()
        (tmp_path / name / "conda-meta" / "python-dateutil-2.8.2-py_0.json").touch()
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda/environments.txt").write_text(f"{tmp_path / 'gis'}\n/not/there\n\n")
    assert found({"CONDA_EXE": str(tmp_path / "base/bin/conda")}, tmp_path) == [
        ("base/bin/python3", (3, 11, 5), "conda"),
        ("gis/bin/python3", (3, 9, 1), "conda"),
    ]


def test_programs_on_path_are_found_each_once_with_what_their_names_tell(tmp_path: Path) -> None:
    put(tmp_path / "bin/python3.10")
    (tmp_path / "bin/python3").symlink_to("python3.10")
    for other in ("python2.7", "python3-config", "pythonw", "python3.10-gdb.py"):
        put(tmp_path / "bin" / other)
    put(tmp_path / "venv/bin/python")
    (tmp_path / "venv/pyvenv.cfg").write_text("home = /x\nversion = 3.9.2\n")
    (tmp_path / "bin/python3.12").touch()  # not a program
    path = f"{tmp_path / 'bin'}:relative:{tmp_path / 'venv/bin'}:{tmp_path / 'none'}:"
    assert found({"PATH": path}, tmp_path) == [
        ("bin/python3", (3, 10), "PATH"),
        ("venv/bin/python", (3, 9, 2), "PATH"),
    ]
    assert list(tmp_path.rglob("*.started")) == []
