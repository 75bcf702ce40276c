"""The variables of a process in an environment, as far as no command has to run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wetlands_rx._provision.activation import activated_environment, platform_commands
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx.exceptions import RecipeError

HOST = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/home/me",
    "PYTHONPATH": "/mine",
    "PYTHONHOME": "/mine",
    "PYTHONSTARTUP": "/mine.py",
    "PYTHONEXECUTABLE": "/mine",
    "VIRTUAL_ENV": "/host",
    "CONDA_PREFIX": "/conda",
    "CONDA_PYTHON_EXE": "/conda/bin/python",
}


def prefix(path: Path) -> Prefix:
    (path / "bin").mkdir(parents=True, exist_ok=True)
    return Prefix(path, path / "bin" / "python", (3, 11, 7))


def test_a_virtual_environment_comes_first_and_the_hosts_is_gone(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    before = dict(HOST)
    assert activated_environment(prefix(tmp_path), HOST) == {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "HOME": "/home/me",
        "VIRTUAL_ENV": str(tmp_path),
        "PYTHONNOUSERSITE": "1",
        "PIP_PYTHON": f"{tmp_path}/bin/python",
    }
    assert before == HOST


def test_a_pip_further_along_path_cannot_install_elsewhere(tmp_path: Path) -> None:
    here = prefix(tmp_path)
    assert activated_environment(here, {})["PIP_PYTHON"] == str(here.python)
    (tmp_path / "bin" / "pip").touch()
    assert "PIP_PYTHON" not in activated_environment(here, {"PIP_PYTHON": "/host"})


def test_a_plain_interpreter_is_no_virtual_environment(tmp_path: Path) -> None:
    variables = activated_environment(prefix(tmp_path), HOST)
    assert "VIRTUAL_ENV" not in variables
    assert variables["PATH"].startswith(f"{tmp_path}/bin:")


def test_a_conda_environment_has_its_variables(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "state").write_text(
        json.dumps({"version": 1, "env_vars": {"MINE": "yes", "BOTH": "user"}})
    )
    folder = tmp_path / "etc" / "conda" / "env_vars.d"
    folder.mkdir(parents=True)
    (folder / "gdal.json").write_text(json.dumps({"GDAL_DATA": "/d", "BOTH": "package", "ODD": 3}))
    (folder / "broken.json").write_text("{")
    variables = activated_environment(prefix(tmp_path), HOST)
    assert variables["CONDA_PREFIX"] == str(tmp_path)
    assert (variables["GDAL_DATA"], variables["MINE"], variables["BOTH"]) == ("/d", "yes", "user")
    assert not {"ODD", "VIRTUAL_ENV", "CONDA_PYTHON_EXE"} & variables.keys()


def test_path_is_whole_when_the_host_has_none(tmp_path: Path) -> None:
    assert activated_environment(prefix(tmp_path), {})["PATH"].split(":")[0] == f"{tmp_path}/bin"
    assert activated_environment(prefix(tmp_path), {"PATH": ""})["PATH"] == f"{tmp_path}/bin"


def test_commands_are_chosen_for_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"all": ["a"], "linux": ["l"], "mac": ["m"], "windows": ["w"]}
    for system, chosen in (("linux", ["a", "l"]), ("darwin", ["a", "m"]), ("win32", ["a", "w"])):
        monkeypatch.setattr("sys.platform", system)
        assert platform_commands(given) == chosen
    with pytest.raises(RecipeError):
        platform_commands("source x")
