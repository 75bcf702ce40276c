"""Every test ends with nothing left behind: no thread, process, descriptor or shared-memory block.

`WETLANDS_RX_NO_SKIPS=1` (set in CI) turns each skip into a failure: there, everything has to run.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import settings

from tests.support.leaks import Ledger, Thing, settled, take_stock

if TYPE_CHECKING:
    from wetlands_rx.environment_manager import EnvironmentManager
    from wetlands_rx.external_environment import ExternalEnvironment

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)
MakeEnvironment = Callable[[str, Mapping[str, Any]], "ExternalEnvironment"]

NO_SKIPS = bool(os.environ.get("WETLANDS_RX_NO_SKIPS"))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
settings.register_profile("wetlands_rx", deadline=None, print_blob=True)
settings.load_profile("wetlands_rx")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--settle", type=float, default=2.0, help="seconds that what a test ends may take to be gone")
    parser.addoption("--offline", action="store_true", help="skip the tests that need the package index")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("network") is None:
        return
    if item.config.getoption("--offline"):
        pytest.skip("needs the package index, and --offline was given")
    reason = index_trouble()
    if reason:
        pytest.skip(f"needs the package index: {reason}")


@functools.cache
def index_trouble() -> str:
    """Ask the package index for one small package, as an installation would; empty when that works."""
    from uv import find_uv_bin

    command = [
        find_uv_bin(),
        "pip",
        "compile",
        "-",
        "--no-deps",
        "--no-cache",
        "--no-header",
        "--python",
        sys.executable,
    ]
    answer = subprocess.run(command, input="iniconfig", capture_output=True, text=True, timeout=60, check=False)
    return "" if answer.returncode == 0 else " ".join(answer.stderr.split())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))


def _refuse_skip(report: R) -> R:
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"WETLANDS_RX_NO_SKIPS is set, yet this was skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """Where a session-wide fixture books what it holds: `with ledger.adopting(): ...`."""
    return Ledger()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_at_the_end(pytestconfig: pytest.Config, ledger: Ledger) -> Iterator[None]:
    """Set up before every other session-wide fixture, hence the last one to look."""
    before = take_stock()
    yield
    _complain("the session", settled(before | ledger.reported, _settle_s(pytestconfig)))


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest, ledger: Ledger) -> Iterator[None]:
    """Set up after the session's fixtures and before the test's own, hence it looks when those are gone."""
    before = take_stock()
    yield
    keeps = [text for marker in request.node.iter_markers("keeps") for text in marker.args]
    left = settled(before | ledger.adopted, _settle_s(request.config), keeps)
    ledger.reported.update(left)
    _complain("the test", left)


def _settle_s(config: pytest.Config) -> float:
    seconds: Any = config.getoption("settle")
    return float(seconds)


def _complain(who: str, left: list[Thing]) -> None:
    if left:
        pytest.fail(f"{who} left behind:\n" + "\n".join(f"  {thing}" for thing in left), pytrace=False)


@pytest.fixture(scope="session")
def manager_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all environments of this session are made."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session")
def manager(manager_root: Path, ledger: Ledger) -> Iterator[EnvironmentManager]:
    """One manager for the session; its environments are exited at the end."""
    from wetlands_rx.environment_manager import EnvironmentManager

    with ledger.adopting():
        manager = EnvironmentManager(manager_root, log_file_path=None)
    yield manager
    manager.exit()


@pytest.fixture(scope="session")
def make_environment(manager: EnvironmentManager, ledger: Ledger) -> MakeEnvironment:
    """Make an environment once a session: `make_environment("arrays", {"pip": ["numpy"]})`; not launched."""

    made: dict[str, tuple[Mapping[str, Any], ExternalEnvironment]] = {}

    def make_environment(name: str, dependencies: Mapping[str, Any]) -> ExternalEnvironment:
        if name not in made:
            with ledger.adopting():
                made[name] = dependencies, manager.create(name, dependencies)
        recipe, environment = made[name]
        assert recipe == dependencies, f"two tests want different environments, both named {name!r}"
        return environment

    return make_environment


@pytest.fixture
def here(tmp_path: Path) -> Iterator[ExternalEnvironment]:
    """An environment on the interpreter that runs the tests; the test launches it with as many workers as it likes."""
    from wetlands_rx.environment_manager import EnvironmentManager

    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        yield manager.load("here", sys.executable)
