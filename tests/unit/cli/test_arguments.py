"""The command line as far as it can be understood without an environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from wetlands_rx import __version__
from wetlands_rx.cli import main

HEAVY = ("reactivex", "numpy", "packaging", "cloudpickle", "psutil", "asyncio")


def answer(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["demo", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    program = f"""
import sys
from wetlands_rx.cli import main
try:
    main({words!r})
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "[]\n")
    assert "wetlands-rx" in ended.stdout


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "wetlands_rx", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"wetlands-rx {__version__}\n"


def test_without_a_command_there_is_help_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer([], capsys)
    assert (code, out) == (2, "")
    assert "run a function of yours" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run"], "required: FILE:FUNCTION"),
        (["run", "a.py:f", "--workers", "0"], "at least 1"),
        (["run", "a.py:f", "--workers", "two"], "invalid"),
        (["run", "a.py:f", "--grace", "-1"], "0 or more"),
        (["run", "a.py:f", "--ordered", "--unordered"], "not allowed with"),
        (["run", "a.py:f", "--pip"], "expected at least one"),
        (["walk"], "invalid choice"),
        (["demo", "--workers", "2"], "unrecognized"),
    ],
)
def test_arguments_that_make_no_sense_are_named(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(words, capsys)
    assert (code, out) == (2, "")
    assert complaint in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["segment.py"], "'segment.py' does not name a function: write FILE:FUNCTION, such as segment.py:segment"),
        (["segment.py:"], "'segment.py:' does not name a function"),
        ([":segment"], "':segment' does not name a function"),
        (["absent.py:f"], "absent.py is not there, so it holds no 'f'"),
        (["folder:f"], "folder is a folder, so it holds no 'f'"),
        (["here.py:f", "@list"], "cannot read the items in list"),
        (["here.py:f", "--json-items", "{"], "with --json-items each item is JSON, but '{' is not"),
        (["here.py:f", "--environment", "x", "--pip", "numpy"], "--environment uses what is there"),
        (["here.py:f", "--out", "here.py"], "cannot write to here.py"),
    ],
)
def test_what_cannot_be_carried_out_is_one_line_and_code_2(
    words: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "here.py").touch()
    monkeypatch.chdir(tmp_path)
    code, out, err = answer(["run", *words, "--root", str(tmp_path / "root")], capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"wetlands-rx: {complaint}")
    assert not (tmp_path / "root").exists()


def test_with_json_an_error_is_an_event_too(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = answer(["run", "absent.py:f", "--json"], capsys)
    assert '"event": "error"' in out
    assert '"exit_code": 2' in out
