"""The index that pip would use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wetlands_rx._provision.pip_settings import index_url
from wetlands_rx._provision.uv import Uv

ONE, TWO, THREE = (f"https://{host}.invalid/simple" for host in ("one", "two", "three"))


@pytest.fixture
def quiet(tmp_path: Path) -> dict[str, str]:
    """Variables that lead pip to folders of this test only."""
    return {"XDG_CONFIG_DIRS": str(tmp_path / "shared"), "XDG_CONFIG_HOME": str(tmp_path / "user")}


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_nothing_is_told_when_pip_is_told_nothing(tmp_path: Path, quiet: dict[str, str]) -> None:
    write(tmp_path / "user/pip/pip.conf", "[global]\ntimeout = 60\n")
    assert index_url(quiet, tmp_path) == ""


def test_the_users_file_goes_before_the_machines(tmp_path: Path, quiet: dict[str, str]) -> None:
    write(tmp_path / "shared/pip/pip.conf", f"[global]\nindex-url = {ONE}\n")
    assert index_url(quiet, tmp_path) == ONE
    write(tmp_path / "user/pip/pip.conf", f"[global]\nindex-url = {TWO}\n")
    assert index_url(quiet, tmp_path) == TWO


def test_the_section_of_install_goes_before_the_global_one(tmp_path: Path, quiet: dict[str, str]) -> None:
    write(tmp_path / "user/pip/pip.conf", f"[install]\nindex-url = {TWO}\n[global]\nindex-url = {ONE}\n")
    assert index_url(quiet, tmp_path) == TWO


def test_a_file_that_is_named_goes_before_those_that_are_found(tmp_path: Path, quiet: dict[str, str]) -> None:
    write(tmp_path / "user/pip/pip.conf", f"[global]\nindex-url = {ONE}\n")
    write(tmp_path / "own.conf", f"[global]\nindex-url = {TWO}\n")
    assert index_url({**quiet, "PIP_CONFIG_FILE": str(tmp_path / "own.conf")}, tmp_path) == TWO
    assert index_url({**quiet, "PIP_CONFIG_FILE": os.devnull}, tmp_path) == ""


def test_the_variable_goes_before_all_files(tmp_path: Path, quiet: dict[str, str]) -> None:
    write(tmp_path / "user/pip/pip.conf", f"[global]\nindex-url = {ONE}\n")
    assert index_url({**quiet, "PIP_INDEX_URL": THREE}, tmp_path) == THREE


def test_a_file_that_cannot_be_read_is_passed_over(tmp_path: Path, quiet: dict[str, str]) -> None:
    write(tmp_path / "user/pip/pip.conf", "this is no settings file")
    assert index_url(quiet, tmp_path) == ""


def test_uv_is_told_the_index_of_pip_unless_it_has_its_own() -> None:
    assert Uv({"PIP_INDEX_URL": ONE}).variables()["UV_DEFAULT_INDEX"] == ONE
    for own in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL"):
        variables = Uv({"PIP_INDEX_URL": ONE, own: TWO}).variables()
        assert variables[own] == TWO
        assert ONE not in variables.get("UV_DEFAULT_INDEX", "")
    assert "UV_DEFAULT_INDEX" not in Uv({"PIP_INDEX_URL": ONE, "UV_CONFIG_FILE": "/mine.toml"}).variables()


def test_uv_is_led_by_no_project_and_by_no_active_environment() -> None:
    base = {"VIRTUAL_ENV": "/v", "CONDA_PREFIX": "/c", "PYTHONPATH": "/p", "UV_PYTHON": "3.8", "HOME": "/h"}
    variables = Uv(base).variables()
    assert not {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "UV_PYTHON"} & variables.keys()
    assert variables["HOME"] == "/h"
    assert variables["UV_NO_CONFIG"] == "1"
    assert variables["UV_PYTHON_DOWNLOADS"] == "never"
    assert "UV_NO_CONFIG" not in Uv({"UV_CONFIG_FILE": "/mine.toml"}).variables()


def test_the_proxies_that_were_set_go_before_those_of_the_variables() -> None:
    variables = Uv({"HTTPS_PROXY": ONE, "http_proxy": ONE}, {"https": TWO}).variables()
    assert (variables["HTTPS_PROXY"], variables["https_proxy"], variables["http_proxy"]) == (TWO, TWO, ONE)
