"""The rules of `tests/conftest.py`, tried on tests that break them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAVES_A_THREAD = """
import threading
def test_that_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="left-alone", daemon=True).start()
"""
KEEPS_A_THREAD = LEAVES_A_THREAD.replace("def test", "import pytest\n@pytest.mark.keeps('left-alone')\ndef test")
SKIPS = """
import pytest
def test_that_skips():
    pytest.skip("because")
"""
NEEDS_THE_INDEX = """
import pytest
@pytest.mark.network
def test_that_needs_the_index():
    pass
"""


@pytest.mark.parametrize(
    ("tests", "no_skips", "outcome"),
    [
        (LEAVES_A_THREAD, "", "ERROR test_them.py::test_that_leaves_a_thread - Failed: the test left behind:"),
        (KEEPS_A_THREAD, "", "Failed: the session left behind:"),
        (SKIPS, "", "1 skipped"),
        (SKIPS, "1", "FAILED test_them.py::test_that_skips - WETLANDS_RX_NO_SKIPS is set"),
        (NEEDS_THE_INDEX, "", "needs the package index, and --offline was given"),
        (NEEDS_THE_INDEX, "1", "ERROR test_them.py::test_that_needs_the_index - WETLANDS_RX_NO_SKIPS is set"),
    ],
    ids=["leak", "leak that only the session may not have", "skip", "refused skip", "offline", "refused offline"],
)
def test_the_rules_for_all_tests_hold(tests: str, no_skips: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "test_them.py").write_text(tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    network\n    keeps\n")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfEs", "-p", "tests.conftest", "--settle=0.1", "--offline"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160", "PYTHONPATH": str(ROOT), "WETLANDS_RX_NO_SKIPS": no_skips},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in answer.stdout, answer.stdout + answer.stderr
