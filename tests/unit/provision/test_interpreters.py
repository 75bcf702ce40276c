"""Which interpreters are found, without starting any; and which is chosen."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from wetlands_rx._provision.interpreters import Candidate, discover, find
from wetlands_rx.exceptions import PythonNotFoundError


def put(python: Path, version: str = "0.0.0", implementation: str = "CPython") -> Path:
    """Write a program that answers as a Python of some version would, and leaves a trace that it was started."""
    python.parent.mkdir(parents=True, exist_ok=True)
    numbers = version.replace(".", ", ")
    answer = f'["{python}", [{numbers}], "{implementation}", "{python.parent.parent}"]'
    python.write_text(f"#!/bin/sh\necho started >> '{python}.started'\necho '{answer}'\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
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


def candidates(folder: Path, *versions: str) -> list[Candidate]:
    return [
        Candidate(put(folder / version / "python3", version), tuple(map(int, version.split("."))), "pyenv")
        for version in versions
    ]


@pytest.mark.parametrize(
    ("request_", "version"),
    [
        ("3.9", (3, 9, 20)),
        ("3.9.18", (3, 9, 18)),
        ("<3.12,>=3.9", (3, 10, 2)),
        (">=3.9", (3, 13, 0)),
        ("3", (3, 13, 0)),
    ],
)
def test_the_newest_that_fits_is_chosen_and_it_alone_is_started(
    tmp_path: Path, request_: str, version: tuple[int, int, int]
) -> None:
    here = candidates(tmp_path, "3.9.18", "3.10.2", "3.9.20", "3.13.0")
    assert find(request_, "seg", here).version == version
    assert len(list(tmp_path.rglob("*.started"))) == 1


def test_without_a_request_the_running_minor_goes_before_newer_ones(tmp_path: Path) -> None:
    running = "{}.{}".format(*sys.version_info)
    here = candidates(tmp_path, f"{running}.1", "3.99.0", f"{running}.0")
    assert find("", "seg", here).version == (*sys.version_info[:2], 1)
    assert find("", "seg", candidates(tmp_path, "3.8.1", "3.99.0")).version == (3, 99, 0)


def test_one_that_does_not_work_is_passed_over(tmp_path: Path) -> None:
    here = candidates(tmp_path, "3.9.18", "3.9.20", "3.9.21", "3.9.22")
    here[1].path.write_text("#!/bin/sh\nexit 1\n")
    put(here[2].path, "3.9.21", "PyPy")
    put(here[3].path, "3.10.0")  # its folder lies
    assert find("3.9", "seg", here).version == (3, 9, 18)


def test_one_that_is_known_by_half_is_asked(tmp_path: Path) -> None:
    half = Candidate(put(tmp_path / "python3.9", "3.9.21"), (3, 9), "PATH")
    unknown = Candidate(put(tmp_path / "python3", "3.9.22"), (), "PATH")
    other = Candidate(put(tmp_path / "python3.10", "3.10.0"), (3, 10), "PATH")
    assert find("3.9", "seg", [*candidates(tmp_path, "3.9.20"), half, unknown, other]).version == (3, 9, 22)
    assert find("<3.9.22,>=3.9", "seg", [half, unknown]).version == (3, 9, 21)
    assert not (tmp_path / "python3.10.started").exists()


def test_when_none_fits_those_that_are_here_are_listed(tmp_path: Path) -> None:
    here = [*candidates(tmp_path, "3.13.0", "3.9.18", "3.7.1"), Candidate(Path("/x/python3.9"), (3, 9), "PATH")]
    with pytest.raises(PythonNotFoundError) as caught:
        find("3.99", "seg", here)
    assert caught.value.requested == "3.99"
    assert caught.value.found == ("3.9.18", "3.13.0")
    assert "no Python 3.99 on this machine; found: 3.9.18, 3.13.0\nhint: ask for one of those" in str(caught.value)


def test_one_that_is_too_old_for_workers_is_not_taken(tmp_path: Path) -> None:
    here = candidates(tmp_path, "3.7.16", "3.6.15")
    with pytest.raises(PythonNotFoundError, match=r"(?s)found: none.*workers need Python 3\.8 or newer"):
        find("3.7", "seg", here)
    assert list(tmp_path.rglob("*.started")) == []
