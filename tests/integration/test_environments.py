"""Environments are made, reused, replaced, repaired and removed: real uv, real interpreters, real kills."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from wetlands_rx._provision.activation import activated_environment
from wetlands_rx._provision.interpreters import Candidate, discover, find
from wetlands_rx._provision.locks import locked
from wetlands_rx._provision.platforms import this_platform
from wetlands_rx._provision.provision import provision
from wetlands_rx._provision.recipe import parse_recipe
from wetlands_rx._provision.store import Store
from wetlands_rx._provision.uv import Uv, missing_files
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import (
    BuildFailedError,
    EnvironmentReuseError,
    IncompatibilityException,
    NetworkError,
    ProvisioningError,
    PythonNotFoundError,
    RecipeError,
    ResolutionError,
)
from wetlands_rx.external_environment import ExternalEnvironment

REPOSITORY = Path(__file__).parents[2]
BIG_FILES = 3000
PATIENCE_S = 60.0

# --- Packages of our own, so that no index is needed


def wheel(folder: Path, name: str, version: str, *, needs: str = "", files: int = 0) -> None:
    """Write a wheel whose module says its version."""
    info = f"{name}-{version}.dist-info"
    contents = {f"{name}/__init__.py": f"version = {version!r}\n", f"{info}/WHEEL": _WHEEL}
    contents |= {f"{name}/part_{number}.py": "" for number in range(files)}
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


_WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

BACKEND = """
import os, zipfile

def gate():
    if os.path.exists("started") and not os.path.exists("open"):
        with open("started", "w") as started:
            started.write(str(os.getpid()))
        with open("gate") as gate:
            gate.read()

def build_wheel(folder, config=None, metadata=None, editable=False):
    gate()
    name = "mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        if editable:
            archive.writestr("mine.pth", os.getcwd() + "/src")
        else:
            archive.write("src/mine.py", "mine.py")
        archive.writestr("mine-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n")
        archive.writestr("mine-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("mine-1.0.dist-info/RECORD", "")
    return name

def build_editable(folder, config=None, metadata=None):
    return build_wheel(folder, editable=True)
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "mine"
version = "1.0"
"""


def project(folder: Path, backend: str = BACKEND) -> Path:
    """Write a package in a folder, with a build backend of its own."""
    (folder / "src").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(f"WHEEL = {_WHEEL!r}\n{backend}")
    (folder / "src" / "mine.py").write_text("value = 1\n")
    return folder


class SlowProject:
    """A package whose building stops until it may go on, so that a test can be sure to meet uv at work."""

    def __init__(self, folder: Path) -> None:
        self.path = project(folder)
        self.recipe = {"local": [str(folder)]}
        os.mkfifo(folder / "started")
        os.mkfifo(folder / "gate")

    def wait_until_it_builds(self) -> int:
        """The process id of its build."""
        return int((self.path / "started").read_text())

    def never_stop_again(self) -> None:
        (self.path / "open").touch()

    def go_on(self) -> None:
        (self.path / "gate").write_text("")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    wheel(folder, "tiny", "1.0")
    wheel(folder, "tiny", "2.0")
    wheel(folder, "needs_tiny", "1.0", needs="tiny<2")
    wheel(folder, "big", "1.0", files=BIG_FILES)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, wheels: Path, cache: Path
) -> None:
    """uv sees our wheels, and an index without any package."""
    for variable in [key for key in os.environ if key.startswith("UV_") or key.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("UV_DEFAULT_INDEX", tmp_path_factory.mktemp("index").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def manager(root: Path, offline: None) -> Generator[EnvironmentManager]:
    with EnvironmentManager(root) as manager:
        yield manager


@pytest.fixture
def slow(tmp_path: Path, offline: None) -> SlowProject:
    return SlowProject(tmp_path / "slow")


# --- Looking


def python(environment: ExternalEnvironment, code: str) -> str:
    """What a program prints in an environment."""
    variables = activated_environment(environment.prefix, os.environ)
    return subprocess.run(
        [environment.prefix.python, "-c", code],
        env=variables,
        cwd=environment.path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def folders(root: Path) -> list[str]:
    """All that is left of environments."""
    return sorted(path.name for path in [*root.glob("e/*"), *root.glob(".trash-*")])


def builds(root: Path) -> int:
    """How many environments were begun below this root."""
    return (root / "wetlands.log").read_text().count("Creating virtual environment")


# --- Programs that are interrupted or killed

HOST = """
import json, signal, sys
from pathlib import Path
from wetlands_rx._provision.platforms import this_platform
from wetlands_rx._provision.provision import provision
from wetlands_rx._provision.recipe import parse_recipe
from wetlands_rx._provision.store import Store
from wetlands_rx._provision.uv import Uv

signal.signal(signal.SIGINT, signal.default_int_handler)
root, name, dependencies = sys.argv[1:]
recipe = parse_recipe(json.loads(dependencies), None, this_platform())
report = lambda stage, message: print(f"{stage}: {message}", flush=True)
try:
    print("made", provision(Store(Path(root)), Uv(), name, recipe, report).path)
except BaseException as error:
    print(type(error).__name__, error)
"""


@contextmanager
def host(root: Path, name: str, dependencies: dict[str, Any]) -> Generator[subprocess.Popen[str]]:
    """Another program that makes an environment; it is ended with the block."""
    import json

    command = [sys.executable, "-c", HOST, str(root), name, json.dumps(dependencies)]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=variables, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def last_line(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=PATIENCE_S)[0].splitlines()[-1]


def wait_for_line(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    assert any(line.startswith(start) for line in process.stdout), f"it ended without {start!r}"


@contextmanager
def ends(pid: int) -> Generator[None]:
    """Within the block a process that is not our child has to end."""
    descriptor = os.pidfd_open(pid)
    try:
        yield
        assert select.select([descriptor], [], [], PATIENCE_S)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


def in_background(function: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run something in a thread; its result, or what it raised, comes into the list."""
    outcome: list[object] = []

    def work() -> None:
        try:
            outcome.append(function())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=work, name="test-create")
    thread.start()
    return thread, outcome


# --- Made


def test_a_manager_costs_nothing_until_an_environment_is_wanted(root: Path) -> None:
    manager = EnvironmentManager(root, conda_path="pixi", debug=True, manager="pixi")
    assert manager.environments == {}
    assert not manager.environment_exists("seg")
    manager.exit()
    assert not root.exists()
    with pytest.raises(ValueError, match="manager is 'mamba'; it must be one of auto, uv"):
        EnvironmentManager(root, manager="mamba")  # type: ignore[arg-type]


def test_importing_the_manager_loads_nothing_slow() -> None:
    code = "import sys, wetlands_rx.environment_manager; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not {"packaging", "reactivex", "numpy", "uv", "subprocess", "asyncio"} & set(loaded.stdout.split())


def test_create_makes_an_environment_with_the_python_and_the_packages_asked_for(
    manager: EnvironmentManager, root: Path
) -> None:
    version = "{}.{}".format(*sys.version_info)
    environment = manager.create("seg", {"python": version, "pip": ["tiny==1.0"]})
    assert environment.name == "seg"
    assert environment.path.parent == root / "e"
    assert environment.prefix.python_version[:2] == sys.version_info[:2]
    assert python(environment, "import sys, tiny; print(tiny.version, sys.prefix)") == f"1.0 {environment.path}"
    assert manager.environments == {"seg": environment}
    assert folders(root) == [environment.path.name]


@pytest.mark.network
def test_create_installs_from_the_package_index(root: Path) -> None:
    with EnvironmentManager(root) as manager:
        environment = manager.create("seg", {"python": "3.11", "pip": ["numpy"]})
        assert (
            python(environment, "import sys, numpy; print(sys.version_info[:2], numpy.arange(3).sum())") == "(3, 11) 3"
        )


MINORS = sorted({each.version[:2] for each in discover() if len(each.version) == 3 and each.version >= (3, 8)})


@pytest.mark.parametrize("minor", MINORS, ids=[f"3.{minor}" for _, minor in MINORS])
def test_an_environment_can_be_made_on_every_python_of_this_machine(
    manager: EnvironmentManager, minor: tuple[int, int]
) -> None:
    environment = manager.create("seg", {"python": "{}.{}".format(*minor), "pip": ["tiny"]})
    assert environment.prefix.python_version[:2] == minor
    assert python(environment, "import sys, tiny; print(sys.version_info[:2], tiny.version)") == f"{minor} 2.0"


def test_no_dependencies_make_an_empty_environment_on_the_running_minor(manager: EnvironmentManager) -> None:
    environment = manager.create("empty")
    assert environment.prefix.python_version[:2] == sys.version_info[:2]
    assert manager.get_installed_packages(environment) == []


def test_nothing_of_the_running_environment_shows_inside(
    manager: EnvironmentManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sneaky.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    environment = manager.create("seg")
    found = python(
        environment, "from importlib.util import find_spec as f; print(f('sneaky'), f('pytest'), f('wetlands_rx'))"
    )
    assert found == "None None None"


def test_packages_can_be_installed_without_their_dependencies(manager: EnvironmentManager) -> None:
    whole = manager.create("whole", {"pip": ["needs_tiny"]})
    alone = manager.create("alone", {"pip": [{"name": "needs_tiny", "dependencies": False}]})
    assert [each["name"] for each in manager.get_installed_packages(whole)] == ["needs-tiny", "tiny"]
    assert [each["name"] for each in manager.get_installed_packages(alone)] == ["needs-tiny"]


def test_a_local_package_is_installed_and_follows_its_folder_when_it_is_editable(
    manager: EnvironmentManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "my [x] @tools, %20")  # a folder may have any name
    monkeypatch.chdir(tmp_path)
    editable = manager.create("editable", {"local": [{"name": "mine", "path": folder.name}], "pip": ["tiny"]})
    fixed = manager.create("fixed", {"local": [{"path": str(folder), "editable": False}]})
    (folder / "src" / "mine.py").write_text("value = 2\n")
    assert python(editable, "import mine, tiny; print(mine.value)") == "2"
    assert python(fixed, "import mine; print(mine.value)") == "1"


def test_install_commands_run_in_the_environment(manager: EnvironmentManager, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    commands = {"all": [f"command -v python > {seen}"], "linux": [f"python -c 'import tiny' && echo ok >> {seen}"]}
    environment = manager.create("seg", {"pip": ["tiny"]}, commands)
    assert seen.read_text().split() == [str(environment.path / "bin" / "python"), "ok"]


def test_what_install_commands_leave_running_is_ended(manager: EnvironmentManager, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    # Opening the pipe waits for a reader, which is the background process itself; a test that never ends would fail.
    manager.create("seg", None, [f"tail -f {tmp_path / 'held'} & echo $! > {tmp_path / 'pid'}"])
    pid = int((tmp_path / "pid").read_text())
    try:
        with ends(pid):
            pass
    except ProcessLookupError:
        pass  # it has been collected already


# --- Reused


def test_the_same_recipe_in_one_manager_is_the_same_object(manager: EnvironmentManager, root: Path) -> None:
    first = manager.create("seg", {"pip": ["tiny", "needs-tiny"]})
    assert manager.create("seg", {"pip": ["Needs_Tiny", "tiny"], "conda": []}) is first
    assert manager.load("seg") is first
    assert builds(root) == 1


def test_another_manager_reuses_what_is_there(manager: EnvironmentManager, root: Path) -> None:
    first = manager.create("seg", {"pip": ["tiny"]})
    with EnvironmentManager(root) as other:
        assert other.create("seg", {"pip": ["tiny"]}).prefix == first.prefix
        assert other.load("seg").prefix == first.prefix
        assert other.environment_exists("seg")
    assert builds(root) == 1


def test_another_recipe_is_refused_with_the_difference(manager: EnvironmentManager) -> None:
    first = manager.create("seg", {"pip": ["tiny==1.0"]})
    with pytest.raises(
        EnvironmentReuseError, match="'seg' exists with another recipe; pass replace_existing=True"
    ) as caught:
        manager.create("seg", {"pip": ["tiny==2.0"]})
    assert caught.value.difference == ("- pip tiny==1.0", "+ pip tiny==2.0")
    assert python(first, "import tiny; print(tiny.version)") == "1.0"


def test_a_replacement_ends_and_deletes_the_old_one_when_the_new_one_is_there(
    manager: EnvironmentManager, root: Path
) -> None:
    old = manager.create("seg", {"pip": ["tiny==1.0"]})
    old.launch()
    new = manager.create("seg", {"pip": ["tiny==2.0"]}, replace_existing=True)
    assert new is not old
    assert manager.environments == {"seg": new}
    assert not old.launched()
    assert folders(root) == [new.path.name]
    assert python(new, "import tiny; print(tiny.version)") == "2.0"


def test_a_replacement_that_fails_leaves_the_old_one_as_it_was(manager: EnvironmentManager, root: Path) -> None:
    old = manager.create("seg", {"pip": ["tiny==1.0"]})
    with pytest.raises(ResolutionError):
        manager.create("seg", {"pip": ["tiny==3.0"]}, replace_existing=True)
    assert manager.create("seg", {"pip": ["tiny==1.0"]}) is old
    assert folders(root) == [old.path.name]
    assert python(old, "import tiny; print(tiny.version)") == "1.0"


@pytest.mark.parametrize("lost", [".wetlands/ready.json", "bin/python", ".wetlands"])
def test_an_environment_that_is_not_whole_is_deleted_and_made_again(
    manager: EnvironmentManager, root: Path, lost: str
) -> None:
    environment = manager.create("seg", {"pip": ["tiny"]})
    (environment.path / "rubbish").touch()
    (environment.path / lost).rename(environment.path / "lost")
    with EnvironmentManager(root) as other:
        again = other.create("seg", {"pip": ["tiny"]})
        assert not (again.path / "rubbish").exists()
        assert python(again, "import tiny; print(tiny.version)") == "2.0"
    assert builds(root) == 2
    assert folders(root) == [again.path.name]


def test_a_repair_that_fails_leaves_nothing(
    manager: EnvironmentManager, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = manager.create("seg", {"pip": ["tiny"]})
    (environment.path / ".wetlands/ready.json").unlink()
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    with pytest.raises(ResolutionError):
        manager.create("seg", {"pip": ["tiny"]})
    assert folders(root) == []


def test_one_name_is_made_once_when_threads_want_it_together(manager: EnvironmentManager, root: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = [threads.submit(manager.create, "seg", {"pip": ["tiny"]}) for _ in range(4)]
        assert len({id(each.result(PATIENCE_S)) for each in made}) == 1
    assert builds(root) == 1


def test_one_name_is_made_once_when_programs_want_it_together(root: Path, slow: SlowProject) -> None:
    with host(root, "seg", slow.recipe) as first:
        slow.wait_until_it_builds()
        with host(root, "seg", slow.recipe) as second, host(root, "seg", slow.recipe) as third:
            for waiting in (second, third):
                wait_for_line(waiting, f"wait_lock: pid {first.pid} is at 'seg'")
            slow.go_on()  # it would stop again if it were built again
            lines = {last_line(each) for each in (first, second, third)}
    assert len(lines) == 1
    assert lines.pop().startswith(f"made {root}")


# --- Refused, and nothing left


@pytest.mark.parametrize(
    ("name", "dependencies", "kind", "words"),
    [
        ("../x", {}, RecipeError, "'../x' cannot be the name"),
        ("", {}, RecipeError, "it is empty"),
        ("CON", {}, RecipeError, "for a device"),
        ("x.", {}, RecipeError, "ends with a dot"),
        ("seg", {"pyhton": "3.11"}, RecipeError, r"(?s)unknown key 'pyhton'.*did you mean 'python'\?"),
        ("seg", {"pip": "numpy"}, RecipeError, "'pip' must be a list"),
        ("seg", {"pip": ["--index-url=x"]}, RecipeError, "is an option"),
        ("seg", {"pip": ["-r requirements.txt"]}, RecipeError, "is an option"),
        ("seg", {"python": "snake"}, RecipeError, "'snake' is not a Python version"),
        ("seg", {"python": "9.9"}, PythonNotFoundError, "(?s)no Python 9.9 on this machine; found: .*3.*hint: ask for"),
        ("seg", {"python": "2.7"}, PythonNotFoundError, r"workers need Python 3\.8 or newer"),
        ("seg", {"conda": ["gdal"]}, ProvisioningError, r"it asks for conda \(gdal\).*cannot be made yet"),
        ("seg", {"channels": ["bioconda"]}, ProvisioningError, r"channel bioconda\).*cannot be made yet"),
        ("seg", {"local": ["/not/there"]}, ProvisioningError, "the local package /not/there is not there"),
        ("seg", {"pip": [{"name": "a", "platforms": ["win-64"]}]}, IncompatibilityException, "'a' is for win-64 only"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    manager: EnvironmentManager, root: Path, name: str, dependencies: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        manager.create(name, dependencies)
    assert not root.exists()
    assert manager.environments == {}


def test_commands_of_another_form_are_refused_before_anything_is_written(
    manager: EnvironmentManager, root: Path
) -> None:
    with pytest.raises(RecipeError, match="commands are a list of texts"):
        manager.create("seg", {}, "pip list")
    assert not root.exists()


def test_a_package_that_does_not_exist_is_told_in_the_resolvers_words(manager: EnvironmentManager, root: Path) -> None:
    with pytest.raises(ResolutionError) as caught:
        manager.create("seg", {"pip": ["tiny", "nupmy"]})
    assert "Because nupmy was not found" in "\n".join(caught.value.details)
    assert caught.value.hint
    assert folders(root) == []
    assert not manager.environment_exists("seg")


@pytest.mark.network
def test_a_package_that_is_not_on_the_index_is_told_with_its_name(root: Path) -> None:
    with EnvironmentManager(root) as manager, pytest.raises(ResolutionError) as caught:
        manager.create("seg", {"pip": ["wetlands-rx-there-is-no-such-package"]})
    assert "was not found in the package registry" in " ".join(str(caught.value).split())
    assert "no package 'wetlands-rx-there-is-no-such-package'" in caught.value.hint
    assert folders(root) == []


def test_packages_that_cannot_be_together_are_told(manager: EnvironmentManager, root: Path) -> None:
    with pytest.raises(ResolutionError, match=r"(?s)needs-tiny.*tiny<2") as caught:
        manager.create("seg", {"pip": ["needs-tiny", "tiny==2.0"]})
    assert "loosen or drop" in caught.value.hint
    assert folders(root) == []


def test_a_package_that_cannot_be_built_is_told_with_its_own_words(
    manager: EnvironmentManager, root: Path, tmp_path: Path
) -> None:
    folder = project(tmp_path / "mine", "raise RuntimeError('there is no compiler')")
    with pytest.raises(BuildFailedError, match="RuntimeError: there is no compiler"):
        manager.create("seg", {"local": [str(folder)]})
    assert folders(root) == []


def test_a_folder_that_is_no_package_is_told(manager: EnvironmentManager, root: Path, tmp_path: Path) -> None:
    with pytest.raises(ProvisioningError, match="does not appear to be a Python project"):
        manager.create("seg", {"local": [str(tmp_path)]})
    assert folders(root) == []


def test_a_command_that_fails_is_told_with_its_output(manager: EnvironmentManager, root: Path) -> None:
    with pytest.raises(ProvisioningError, match="install commands failed: the shell ended with exit code 3") as caught:
        manager.create("seg", None, ["echo out", "echo https://me:s3cret@example.invalid >&2", "exit 3", "echo never"])
    assert caught.value.details == ("out", "https://***@example.invalid")
    assert folders(root) == []


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: None) -> str:
    """The address of an index, or a proxy, at which nobody answers; uv knows no package."""
    for variable in ("UV_DEFAULT_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return f"http://me:s3cret@127.0.0.1:{closed_port()}"


def test_an_index_that_does_not_answer_is_a_network_error(
    manager: EnvironmentManager, root: Path, unreachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", unreachable)
    with pytest.raises(NetworkError, match="a package index could not be reached") as caught:
        manager.create("seg", {"pip": ["iniconfig"]})
    assert "Connection refused" in "\n".join(caught.value.details)
    assert "check the network" in caught.value.hint
    assert "s3cret" not in str(caught.value) + (root / "wetlands.log").read_text()
    assert folders(root) == []


def test_a_proxy_that_does_not_answer_is_a_network_error(
    manager: EnvironmentManager, root: Path, unreachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.invalid/simple")
    manager.set_proxies({"https": unreachable})
    with pytest.raises(NetworkError) as caught:
        manager.create("seg", {"pip": ["iniconfig"]})
    assert "the proxy does not answer" in caught.value.hint
    assert "s3cret" not in str(caught.value) + (root / "wetlands.log").read_text()
    assert folders(root) == []


def test_the_index_of_pip_is_used_when_uv_has_none(
    manager: EnvironmentManager, unreachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", unreachable)
    with pytest.raises(NetworkError, match=unreachable.rpartition("@")[2]):
        manager.create("seg", {"pip": ["iniconfig"]})


def test_a_proxy_of_an_unknown_kind_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="'ftp' is no kind of proxy"):
        EnvironmentManager(root).set_proxies({"ftp": "http://127.0.0.1"})


def test_a_root_that_cannot_be_written_is_told(tmp_path: Path, offline: None) -> None:
    (tmp_path / "file").write_text("mine")
    with (
        EnvironmentManager(tmp_path / "file" / "root") as manager,
        pytest.raises(ProvisioningError, match="cannot be written: Not a directory") as caught,
    ):
        manager.create("seg")
    assert "wetlands_instance_path" in caught.value.hint
    assert (tmp_path / "file").read_text() == "mine"


def test_a_root_that_path_cannot_hold_is_told(tmp_path: Path, offline: None) -> None:
    with EnvironmentManager(tmp_path / "a:b") as manager, pytest.raises(ProvisioningError, match="has a ':' in it"):
        manager.create("seg")
    assert list(tmp_path.iterdir()) == []


def test_files_that_vanish_during_the_installation_are_noticed(manager: EnvironmentManager, root: Path) -> None:
    loss = 'rm "$VIRTUAL_ENV"/lib/python3*/site-packages/tiny/__init__.py'
    with pytest.raises(ProvisioningError, match="1 of the installed files are not there") as caught:
        manager.create("seg", {"pip": ["tiny"]}, [loss])
    assert caught.value.details[0].endswith("site-packages/tiny/__init__.py")
    assert folders(root) == []


# --- Interrupted and killed


def test_ctrl_c_ends_the_installer_and_removes_the_half_environment(root: Path, slow: SlowProject) -> None:
    with host(root, "seg", slow.recipe) as process:
        with ends(slow.wait_until_it_builds()):
            assert len(folders(root)) == 1
            process.send_signal(signal.SIGINT)
            assert last_line(process).startswith("KeyboardInterrupt")
        assert process.returncode == 0
    assert folders(root) == []
    slow.never_stop_again()
    with EnvironmentManager(root) as manager:
        assert python(manager.create("seg", slow.recipe), "import mine; print(mine.value)") == "1"


def test_ctrl_c_ends_the_wait_for_another_program(root: Path, offline: None) -> None:
    store = Store(root)
    with store.locked("seg"), host(root, "seg", {}) as process:
        wait_for_line(process, f"wait_lock: pid {os.getpid()} is at 'seg'")
        process.send_signal(signal.SIGINT)
        assert last_line(process).startswith("KeyboardInterrupt")
    assert folders(root) == []


def test_an_installer_that_is_killed_is_an_error_and_the_next_create_rebuilds(
    manager: EnvironmentManager, root: Path, slow: SlowProject
) -> None:
    thread, outcome = in_background(lambda: manager.create("seg", slow.recipe))
    build = slow.wait_until_it_builds()
    with ends(build):
        installer = next(each for each in psutil.Process(build).parents() if each.name() == "uv")
        installer.kill()
        thread.join(PATIENCE_S)
    assert isinstance(outcome[0], ProvisioningError)
    assert "the installer was killed by signal 9" in str(outcome[0])
    assert folders(root) == []
    slow.never_stop_again()
    assert python(manager.create("seg", slow.recipe), "import mine; print(mine.value)") == "1"


def test_an_installer_that_outlives_a_killed_program_is_waited_for_and_its_work_is_not_used(
    root: Path, slow: SlowProject
) -> None:
    with host(root, "seg", slow.recipe) as process:
        build = slow.wait_until_it_builds()
        process.kill()
        process.wait()
    waits = threading.Event()
    stages: list[str] = []

    def report(stage: str, message: str) -> None:
        stages.append(stage)
        if stage == "wait_lock":
            assert str(process.pid) in message
            waits.set()

    recipe = parse_recipe(slow.recipe, None, this_platform())
    thread, outcome = in_background(lambda: provision(Store(root), Uv(), "seg", recipe, report))
    assert waits.wait(PATIENCE_S)
    half = folders(root)
    (root / "e" / half[0] / "rubbish").touch()
    slow.never_stop_again()
    with ends(build):
        slow.go_on()
    thread.join(PATIENCE_S)
    with EnvironmentManager(root) as manager:
        environment = manager.load("seg")
        assert outcome == [environment.prefix]
        assert "install" in stages
        assert not (environment.path / "rubbish").exists()
        assert python(environment, "import mine; print(mine.value)") == "1"


@pytest.mark.parametrize("files", [1, 500, 1500, BIG_FILES - 100])
@pytest.mark.parametrize("with_uv", [False, True], ids=["the program", "the program and uv"])
def test_a_kill_while_files_are_linked_leaves_nothing_broken(
    manager: EnvironmentManager, root: Path, files: int, with_uv: bool
) -> None:
    with host(root, "seg", {"pip": ["big"]}) as process:
        while sum(1 for _ in root.glob("e/*/lib/python3*/site-packages/big/*.py")) < files and process.poll() is None:
            pass  # as soon as it is there: the next moment is what this test is about
        installers = psutil.Process(process.pid).children() if with_uv and process.poll() is None else []
        process.kill()
        for installer in installers:
            installer.kill()
    environment = manager.create("seg", {"pip": ["big"]})
    assert list(missing_files(environment.path)) == []
    assert python(environment, "import big, glob; print(len(glob.glob(big.__path__[0] + '/*.py')))") == str(
        BIG_FILES + 1
    )
    assert folders(root) == [environment.path.name]


ORPHANING = """
import os, subprocess, sys
from pathlib import Path
from wetlands_rx._provision.locks import locked

with locked(Path(sys.argv[1]), "seg") as descriptor:
    subprocess.Popen(["cat"], pass_fds=[descriptor], stdout=subprocess.DEVNULL)
    os._exit(0)
"""


def test_the_wait_for_an_orphan_is_limited_and_names_it(tmp_path: Path) -> None:
    lock = tmp_path / "seg.lock"
    command = [sys.executable, "-c", ORPHANING, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=REPOSITORY) as process:
        process.wait(PATIENCE_S)
        with (
            pytest.raises(
                ProvisioningError, match=rf"still being written by cat \(pid \d+\), which pid {process.pid} left"
            ),
            locked(lock, "seg", orphan_wait_s=0),
        ):
            pass
        assert process.stdin is not None
        process.stdin.close()  # cat ends
        with locked(lock, "seg", orphan_wait_s=PATIENCE_S):
            pass


# --- Which interpreter


def fake(python: Path, answer: str) -> Path:
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o700)
    return python


def answering(python: Path, version: str, implementation: str = "CPython") -> Path:
    """Write a program that answers as a Python of some version would, and leaves a trace when it is started."""
    numbers = version.replace(".", ", ")
    answer = f'["{python}", [{numbers}], "{implementation}", "{python.parent.parent}"]'
    return fake(python, f"touch '{python}.started'\necho '{answer}'")


def candidates(folder: Path, *versions: str) -> list[Candidate]:
    return [
        Candidate(answering(folder / version / "python3", version), tuple(map(int, version.split("."))), "pyenv")
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
    answering(here[2].path, "3.9.21", "PyPy")
    answering(here[3].path, "3.10.0")  # its folder lies
    assert find("3.9", "seg", here).version == (3, 9, 18)


def test_one_that_is_known_by_half_is_asked(tmp_path: Path) -> None:
    half = Candidate(answering(tmp_path / "python3.9", "3.9.21"), (3, 9), "PATH")
    unknown = Candidate(answering(tmp_path / "python3", "3.9.22"), (), "PATH")
    other = Candidate(answering(tmp_path / "python3.10", "3.10.0"), (3, 10), "PATH")
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


# --- Found elsewhere


def test_a_folder_or_an_interpreter_is_taken_as_it_is(manager: EnvironmentManager, root: Path) -> None:
    made = manager.create("seg", {"pip": ["tiny"]})
    with EnvironmentManager(root.parent / "other") as other:
        by_folder = other.load("folder", made.path)
        by_program = other.load("program", str(made.path / "bin" / "python"))
        assert by_folder.prefix == by_program.prefix == made.prefix
        assert other.load("folder", made.path) is other.load("folder") is by_folder
        assert other.load("here", sys.executable).path == Path(sys.prefix)
        assert python(by_program, "import tiny; print(tiny.version)") == "2.0"
    assert not (root.parent / "other").exists()


def test_a_name_means_one_environment(manager: EnvironmentManager) -> None:
    made = manager.create("made")
    manager.load("here", sys.executable)
    with pytest.raises(ProvisioningError, match="this name is taken by"):
        manager.load("here", made.path)
    with pytest.raises(ProvisioningError, match="this name is taken by"):
        manager.create("here")


def test_what_is_no_environment_is_told(manager: EnvironmentManager, root: Path, tmp_path: Path) -> None:
    old = fake(tmp_path / "old/bin/python", """echo '["/old", [3, 7, 16], "CPython", "/old"]'""")
    failing = fake(tmp_path / "failing/bin/python", "echo 'no such library' >&2; exit 127")
    moved = fake(tmp_path / "moved/bin/python", """echo '["/x", [3, 11, 7], "CPython", "/elsewhere"]'""")
    (tmp_path / "text").write_text("hello")
    for path, words in {
        tmp_path / "none": "neither an environment nor an interpreter at",
        tmp_path: "holds no Python",
        tmp_path / "text": "cannot be started: Permission denied",
        old: r"is Python 3\.7\.16, and workers need Python 3\.8 or newer",
        failing: r"not a working Python \(exit code 127\): no such library",
        Path("/bin/true"): r"not a working Python \(exit code 0\)",
        moved.parents[1]: "serves /elsewhere, not",
    }.items():
        with pytest.raises(ProvisioningError, match=words):
            manager.load("seg", path)
    with pytest.raises(ProvisioningError, match=f"(?s)no environment of this name in {root}.*there are: none"):
        manager.load("seg")
    assert manager.environments == {}
    assert not root.exists()


def test_an_environment_exists_by_name_and_by_path(manager: EnvironmentManager, tmp_path: Path) -> None:
    made = manager.create("seg")
    assert manager.environment_exists("seg")
    assert manager.environment_exists(made.path)
    assert manager.environment_exists(str(made.path))
    assert manager.environment_exists(sys.executable)
    assert not manager.environment_exists("other")
    assert not manager.environment_exists(tmp_path)


# --- Changed and removed


def test_an_installation_into_an_environment_takes_it_from_its_recipe(manager: EnvironmentManager) -> None:
    environment = manager.create("seg", {"pip": ["tiny==1.0"]})
    lines = manager.install(environment, {"pip": ["tiny==2.0"]}, ["echo done"])
    assert " + tiny==2.0" in lines
    assert lines[-1] == "done"
    assert manager.get_installed_packages(environment) == [{"kind": "pypi", "name": "tiny", "version": "2.0"}]
    assert manager.load("seg") is environment
    with pytest.raises(EnvironmentReuseError, match=r"packages that install\(\) has put into it"):
        manager.create("seg", {"pip": ["tiny==1.0"]})
    again = manager.create("seg", {"pip": ["tiny==1.0"]}, replace_existing=True)
    assert python(again, "import tiny; print(tiny.version)") == "1.0"


def test_an_installation_that_changes_nothing_leaves_the_recipe_true(manager: EnvironmentManager) -> None:
    environment = manager.create("seg", {"pip": ["tiny"]})
    with pytest.raises(ResolutionError):
        manager.install(environment, {"pip": ["nupmy"]})
    manager.install(environment, {"pip": ["tiny>1"]})
    assert manager.create("seg", {"pip": ["tiny"]}) is environment


def test_the_python_of_an_environment_cannot_be_changed(manager: EnvironmentManager) -> None:
    environment = manager.create("seg")
    with pytest.raises(RecipeError, match="the Python of an environment cannot be changed"):
        manager.install(environment, {"python": "3.12"})


INSTALLING = """
import json, sys
from wetlands_rx.environment_manager import EnvironmentManager
manager = EnvironmentManager(sys.argv[1])
manager.install(manager.load("seg"), json.loads(sys.argv[2]))
"""


def test_an_installation_that_is_killed_makes_the_environment_unusable_until_it_is_replaced(
    manager: EnvironmentManager, root: Path, slow: SlowProject
) -> None:
    import json

    manager.create("seg", {"pip": ["tiny"]})
    command = [sys.executable, "-c", INSTALLING, str(root), json.dumps(slow.recipe)]
    with subprocess.Popen(command, cwd=REPOSITORY) as process, ends(slow.wait_until_it_builds()):
        process.kill()
        process.wait()
        slow.go_on()
    with EnvironmentManager(root) as other:
        with pytest.raises(
            ProvisioningError, match=r"(?s)an installation into it was broken off.*replace_existing=True"
        ):
            other.load("seg")
        with pytest.raises(EnvironmentReuseError, match="not to the end"):
            other.create("seg", {"pip": ["tiny"]})
        again = other.create("seg", {"pip": ["tiny"]}, replace_existing=True)
        assert [each["name"] for each in other.get_installed_packages(again)] == ["tiny"]


def test_a_loaded_environment_can_be_installed_into(manager: EnvironmentManager, root: Path) -> None:
    made = manager.create("seg")
    with EnvironmentManager(root.parent / "other") as other:
        loaded = other.load("mine", made.path)
        other.install(loaded, {"pip": ["tiny"]})
        assert python(loaded, "import tiny; print(tiny.version)") == "2.0"


def test_removing_ends_and_deletes_an_environment_of_ours(manager: EnvironmentManager, root: Path) -> None:
    environment = manager.create("seg")
    environment.launch()
    manager.remove("seg")
    assert not environment.launched()
    assert not environment.path.exists()
    assert folders(root) == []
    assert manager.environments == {}
    assert not manager.environment_exists("seg")
    with pytest.raises(ProvisioningError, match="no environment of this name"):
        manager.remove("seg")


def test_removing_never_deletes_what_was_loaded(manager: EnvironmentManager, root: Path) -> None:
    made = manager.create("seg")
    with EnvironmentManager(root.parent / "other") as other:
        other.load("mine", made.path)
        other.remove("mine")
        assert other.environments == {}
    assert python(made, "print(1)") == "1"


def test_exit_ends_the_workers_and_keeps_the_environments(manager: EnvironmentManager) -> None:
    environment = manager.create("seg")
    environment.launch()
    manager.exit()
    assert not environment.launched()
    assert manager.create("seg") is environment


def test_commands_run_in_an_environment(manager: EnvironmentManager) -> None:
    environment = manager.create("seg", {"pip": ["tiny"]})
    process = manager.execute_commands(environment, ["python -c 'import tiny; print(tiny.version)'"], wait=True)
    assert manager.get_process_logger(process).get_output() == ["2.0"]
    with pytest.raises(KeyError):
        EnvironmentManager("other").get_process_logger(process)


def test_the_log_tells_what_was_done_to_its_owner_only(manager: EnvironmentManager, root: Path) -> None:
    manager.create("seg", {"pip": ["tiny"]})
    log = root / "wetlands.log"
    assert "seg install: + tiny==2.0\n" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    with EnvironmentManager(root.parent / "quiet", log_file_path=None) as quiet:
        quiet.create("seg")
    assert not (root.parent / "quiet" / "wetlands.log").exists()


# --- Activated


@pytest.fixture
def empty(manager: EnvironmentManager) -> ExternalEnvironment:
    return manager.create("empty")


def test_the_effect_of_activation_commands_is_kept(empty: ExternalEnvironment) -> None:
    base = {**os.environ, "GONE": "1"}
    commands = ["export ONE='ä\n2'", 'export TWO="$ONE-$(python -c "print(7)")"', "unset GONE", "echo noise"]
    plain = activated_environment(empty.prefix, base)
    variables = activated_environment(empty.prefix, base, commands)
    del plain["GONE"]
    assert variables == {**plain, "ONE": "ä\n2", "TWO": "ä\n2-7"}


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (
            ["echo before", "false", "echo after"],
            "(?s)an activation command failed: the shell ended with exit code 1.*before$",
        ),
        (["exit 0"], "ended the shell before its variables could be read"),
        (["kill -9 $$"], "was killed by signal 9"),
        (["cat", "exit 4"], "exit code 4"),  # nothing to read, so it does not wait
    ],
)
def test_an_activation_command_that_fails_is_told(empty: ExternalEnvironment, commands: list[str], words: str) -> None:
    with pytest.raises(ProvisioningError, match=words):
        activated_environment(empty.prefix, os.environ, commands)


def test_activation_scripts_of_conda_packages_are_sourced(empty: ExternalEnvironment) -> None:
    for folder in ("conda-meta", "etc/conda/activate.d"):
        (empty.path / folder).mkdir(parents=True)
    (empty.path / "etc/conda/activate.d/gdal.sh").write_text('false\nexport GDAL_DATA="$CONDA_PREFIX/share"\n')
    variables = activated_environment(empty.prefix, os.environ, ["export MORE=$GDAL_DATA/more"])
    assert variables["MORE"] == f"{empty.path}/share/more"
