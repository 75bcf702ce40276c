"""Create, find and list environments."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from wetlands_rx.exceptions import ProvisioningError, RecipeError
from wetlands_rx.logger import LogContext, RecordSink, log

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType
    from typing import Self

    from reactivex import Observable

    from wetlands_rx._provision.backend import Report
    from wetlands_rx._provision.prefix import Prefix
    from wetlands_rx._provision.recipe import Recipe
    from wetlands_rx._provision.store import Store
    from wetlands_rx._provision.uv import Uv
    from wetlands_rx._task.streams import Streams, WorkerEvent, WorkerMessage
    from wetlands_rx._worker.process_logger import ProcessLogger
    from wetlands_rx.environment import Environment
    from wetlands_rx.external_environment import Commands, ExternalEnvironment
    from wetlands_rx.internal_environment import InternalEnvironment
    from wetlands_rx.task import TaskEvent

__all__ = ["EnvironmentManager", "InstalledPackage"]

_MAIN = "wetlands_main"
_MANAGERS = ("auto", "uv", "rattler", "pixi", "micromamba")


class InstalledPackage(TypedDict):
    """What is installed in an environment."""

    kind: Literal["conda", "pypi"]
    name: str
    version: str


class EnvironmentManager:
    """The environments below one root folder, and those made elsewhere that were loaded.

    Making one has no effect: nothing is downloaded, written or started before the first environment is wanted.
    Several managers, also in several processes, may use the same root. Methods may be called from any thread; none
    of them starts one. As a context manager it exits its environments at the end.

    Args:
        wetlands_instance_path: The root folder; a relative path starts from the current folder.
        conda_path: Accepted as in Wetlands 1.x; not needed.
        main_conda_environment_path: Accepted as in Wetlands 1.x; not needed.
        debug: Accepted as in Wetlands 1.x; without effect yet.
        manager: Who makes environments. All are made by uv now, whichever is named.
        log_file_path: The file to which what happens while environments are made is added, one line each; a
            relative path starts from the root. None for no file.
    Raises:
        ValueError: `manager` is none of those.

    Attributes:
        environments: The environments that this manager has created or loaded, by name; `"wetlands_main"` is
            among them once `main_environment` was used.
    """

    def __init__(
        self,
        wetlands_instance_path: str | os.PathLike[str] = Path("wetlands"),
        conda_path: str | os.PathLike[str] | None = None,
        main_conda_environment_path: str | os.PathLike[str] | None = None,
        debug: bool = False,
        manager: Literal["auto", "uv", "rattler", "pixi", "micromamba"] = "auto",
        log_file_path: str | os.PathLike[str] | None = Path("wetlands.log"),
    ) -> None:
        if manager not in _MANAGERS:
            raise ValueError(f"manager is {manager!r}; it must be one of {', '.join(_MANAGERS)}")
        self.wetlands_instance_path = Path(os.path.abspath(wetlands_instance_path))
        self.conda_path = conda_path
        self.main_conda_environment_path = main_conda_environment_path
        self.debug = debug
        self.manager = manager
        self.log_file_path = None if log_file_path is None else self.wetlands_instance_path / log_file_path
        self.environments: dict[str, Environment] = {}
        self._proxies: dict[str, str] = {}
        self._streams_by_name: dict[str, Streams] = {}

    @property
    def main_environment(self) -> InternalEnvironment:
        """The environment that runs this program: the same tasks, on threads of this process, without a launch."""
        from wetlands_rx.internal_environment import InternalEnvironment

        made = InternalEnvironment(_MAIN, streams=self._streams_of(_MAIN))
        # One step, so that two threads get the same object; nobody else may take the name.
        return cast("InternalEnvironment", self.environments.setdefault(_MAIN, made))

    # --- Make and find

    def create(
        self,
        name: str,
        dependencies: Mapping[str, Any] | None = None,
        additional_install_commands: Commands | None = None,
        *,
        replace_existing: bool = False,
    ) -> ExternalEnvironment:
        """Make an environment, or take the one of this name when it was made from the same recipe.

        Blocks until the environment is whole. Ctrl-C ends the installation and leaves nothing half-made. When
        another thread or process is making the same environment, this one waits for it.

        Args:
            name: 1 to 64 letters, digits, `.`, `_` and `-`; the first a letter or a digit.
            dependencies: `{"python": "3.11", "pip": ["numpy<2"], "local": [{"name": "mine", "path": "../mine"}]}`;
                every key may be missing. Without `python` the version that runs this program is preferred.
            additional_install_commands: Shell commands to run in the environment after the installation, a list or
                lists by system; they belong to the recipe. What they leave running is ended.
            replace_existing: Replace an environment that was made from another recipe. The new one is made first;
                then the workers of the old one are ended and it is deleted.

        Returns:
            The environment, not launched. The same object for the same name and recipe.

        Raises:
            RecipeError: the name or the dependencies cannot be understood.
            EnvironmentReuseError: the environment was made from another recipe; the error shows the difference.
            PythonNotFoundError: this machine has no such Python.
            ResolutionError: the packages do not exist, or cannot be together.
            NetworkError: the package index cannot be reached.
            BuildFailedError: a package has to be built here, and that failed.
            IncompatibilityException: a dependency is for other platforms only.
            ProvisioningError: anything else, such as a root folder that cannot be written.
        """
        from wetlands_rx._provision.provision import provision

        _check_name(name)
        recipe = _parsed(name, dependencies, additional_install_commands)
        store = self._store()
        known = self._known(name)
        if known is not None and not store.owns(known.path):
            raise ProvisioningError(
                name, f"this name is taken by {known.path}, which was loaded", hint="choose another"
            )
        with self._reporting(name) as report:
            prefix = provision(
                store,
                self._backend(),
                name,
                recipe,
                report,
                replace_existing=replace_existing,
                retire=lambda prefix: self._retire(name, prefix),
            )
        return self._registered(name, prefix)

    def load(self, name: str, environment_path: str | os.PathLike[str] | None = None) -> ExternalEnvironment:
        """Take an environment that is there already.

        Args:
            name: What to call it.
            environment_path: The folder of an environment, or an interpreter; it is used as it is and never changed
                or deleted. None for an environment that `create` has made.

        Returns:
            The environment, not launched. The same object for the same name.

        Raises:
            RecipeError: it cannot have this name.
            ProvisioningError: there is none, its interpreter does not start or is older than 3.8, or the name is
                taken by another one.
        """
        from wetlands_rx._provision.existing import Existing

        _check_name(name)
        if environment_path is None:
            known = self._known(name)
            if known is not None and not self._store().owns(known.path):
                return known
            return self._registered(name, self._made_before(name))
        prefix = Existing().verify(name, Path(environment_path))
        known = self._known(name)
        if known is not None and known.prefix.python != prefix.python:
            raise ProvisioningError(name, f"this name is taken by {known.prefix.python}", hint="choose another")
        return self._registered(name, prefix)

    def environment_exists(self, environment: str | os.PathLike[str]) -> bool:
        """True when there is an environment of this name, or at this path. Nothing is started."""
        from wetlands_rx._provision.existing import has_python
        from wetlands_rx._provision.names import check_name

        if isinstance(environment, str):
            try:
                if self._store().standing(check_name(environment)) is not None:
                    return True
            except RecipeError:
                pass  # then it can only be a path
        return has_python(Path(environment))

    def remove(self, name: str) -> None:
        """End the workers of an environment and delete it; one that was loaded from elsewhere is only forgotten.

        Raises:
            ProvisioningError: there is none of this name, or it cannot be deleted.
        """
        _check_name(name)
        store = self._store()
        known = cast("ExternalEnvironment | None", self.environments.pop(name, None))
        if known is not None:
            known.exit()
            if not store.owns(known.path):
                return
        elif name not in store.names():
            raise self._unknown(name)
        with store.locked(name):
            store.forget(name)

    # --- Change and use

    def install(
        self,
        environment: ExternalEnvironment,
        dependencies: Mapping[str, Any] | None,
        additional_install_commands: Commands | None = None,
    ) -> list[str]:
        """Install packages into an environment that is there.

        Its recipe no longer says what it holds, so `create` does not reuse it unless told to replace it.

        Args:
            environment: Where to install. Workers that run go on with what they have imported.
            dependencies: As for `create`, without `python`.
            additional_install_commands: As for `create`.

        Returns:
            The lines that the installer and the commands wrote.

        Raises:
            RecipeError: the dependencies cannot be understood.
            ProvisioningError: as for `create`.
        """
        from wetlands_rx._provision.provision import install

        name = environment.name
        recipe = _parsed(name, dependencies, additional_install_commands)
        if recipe.python:
            raise RecipeError(name, "the Python of an environment cannot be changed", hint="create another one")
        with self._reporting(name) as report:
            return install(self._store(), self._backend(), name, environment.prefix, recipe, report)

    def execute_commands(
        self,
        environment: ExternalEnvironment,
        commands: Commands,
        additional_activate_commands: Commands = (),
        popen_kwargs: Mapping[str, Any] | None = None,
        wait: bool = False,
        log_context: LogContext | None = None,
        log: bool = True,
    ) -> subprocess.Popen[str]:
        """Run shell commands in an environment: `environment.execute_commands`."""
        return environment.execute_commands(
            commands, additional_activate_commands, popen_kwargs, wait, log_context=log_context, log=log
        )

    def get_process_logger(self, process: subprocess.Popen[str]) -> ProcessLogger:
        """The reader of the output of a process that `execute_commands` has started.

        Raises:
            KeyError: there is none.
        """
        for environment in filter(None, map(self._known, list(self.environments))):
            try:
                return environment.get_process_logger(process)
            except KeyError:
                continue
        raise KeyError(process)

    def get_installed_packages(self, environment: ExternalEnvironment) -> list[InstalledPackage]:
        """List what is installed in an environment, sorted by kind and name.

        Raises:
            ProvisioningError: its interpreter does not answer.
        """
        import json

        conda = _conda_packages(environment.path)
        names = {_canonical(package["name"]) for package in conda}
        listed: list[dict[str, str]] = json.loads(
            self._backend().installed_packages(environment.name, environment.prefix)
        )
        pypi = [
            InstalledPackage(kind="pypi", name=package["name"], version=package["version"])
            for package in listed
            if _canonical(package["name"]) not in names
        ]
        return sorted(conda + pypi, key=lambda package: (package["kind"], package["name"]))

    def set_proxies(self, proxies: Mapping[str, str]) -> None:
        """Use these proxies for installations from now on; they go before those of the environment variables.

        Args:
            proxies: URLs, by `"http"` and `"https"`; an empty one for none.

        Raises:
            ValueError: another key.
        """
        unknown = [key for key in proxies if key not in ("http", "https")]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no kind of proxy; give URLs by 'http' and 'https'")
        self._proxies = dict(proxies)

    # --- Streams

    @property
    def messages(self) -> Observable[WorkerMessage]:
        """The messages of the workers of all environments. As `Environment.messages`; completes at `exit()`."""
        return self._streams.messages.as_observable()

    @property
    def events(self) -> Observable[TaskEvent[Any]]:
        """The events of the tasks of all environments. As `Environment.events`; completes at `exit()`."""
        return self._streams.events.as_observable()

    @property
    def workers(self) -> Observable[WorkerEvent]:
        """The lives of the workers of all environments. As `Environment.workers`; completes at `exit()`."""
        return self._streams.workers.as_observable()

    @property
    def logs(self) -> Observable[logging.LogRecord]:
        """The log records of all environments. As `Environment.logs`; completes at `exit()`."""
        return self._streams.logs.as_observable()

    # --- End

    def exit(self) -> None:
        """End the workers of all environments. They stay on disk and may be launched again."""
        with ExitStack() as stack:  # each has its turn, even when one before it fails
            stack.callback(self._end_streams)
            for environment in list(self.environments.values()):
                stack.callback(environment.exit)

    def close(self) -> None:
        """The same as `exit`."""
        self.exit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Exit all environments."""
        self.exit()

    def __repr__(self) -> str:
        names = ", ".join(sorted(self.environments)) or "no environment yet"
        return f"<EnvironmentManager {self.wetlands_instance_path}: {names}>"

    # --- Inside

    @property
    def _streams(self) -> Streams:
        from wetlands_rx._task.streams import Streams  # with it comes reactivex

        # One step, so that two threads get the same object.
        streams: Streams = vars(self).setdefault("_own_streams", Streams("the manager"))
        return streams

    def _streams_of(self, name: str) -> Streams:
        from wetlands_rx._task.streams import Streams

        made = Streams(f"environment {name}", parent=self._streams)
        # One step again. They go on when the environment is replaced, and are told how that comes along.
        return self._streams_by_name.setdefault(name, made)

    def _end_streams(self) -> None:
        if "_own_streams" not in vars(self) or not self._streams.observed:
            return
        from wetlands_rx._worker import runtime

        streams = self._streams
        shared = runtime.acquire()
        try:
            streams.open(shared.delivery)
            streams.end()
        finally:
            runtime.release()

    def _store(self) -> Store:
        from wetlands_rx._provision.store import Store

        return Store(self.wetlands_instance_path)

    def _backend(self) -> Uv:
        from wetlands_rx._provision.uv import Uv

        return Uv(os.environ, self._proxies)

    def _made_before(self, name: str) -> Prefix:
        standing = self._store().standing(name)
        if standing is None:
            raise self._unknown(name)
        if standing.ready.changing:
            raise ProvisioningError(
                name, "an installation into it was broken off", hint="create() it again with replace_existing=True"
            )
        return standing.prefix

    def _unknown(self, name: str) -> ProvisioningError:
        here = ", ".join(self._store().names()) or "none"
        return ProvisioningError(
            name, f"there is no environment of this name in {self.wetlands_instance_path}", hint=f"there are: {here}"
        )

    def _registered(self, name: str, prefix: Prefix) -> ExternalEnvironment:
        from wetlands_rx.external_environment import ExternalEnvironment

        self._retire(name, prefix)
        # One step, so that two threads get the same object.
        made = ExternalEnvironment(name, prefix, streams=self._streams_of(name))
        return cast("ExternalEnvironment", self.environments.setdefault(name, made))

    def _known(self, name: str) -> ExternalEnvironment | None:
        """The environment of this name that was created or loaded."""
        return None if name == _MAIN else cast("ExternalEnvironment | None", self.environments.get(name))

    def _retire(self, name: str, new: Prefix) -> None:
        """Let go of an environment when its name means another one now."""
        known = self._known(name)
        if known is not None and known.prefix != new:
            self.environments.pop(name, None)
            known.exit()

    @contextmanager
    def _reporting(self, name: str) -> Generator[Report]:
        """What tells, meanwhile, how the making of an environment comes along."""
        if "_own_streams" not in vars(self):  # nobody can have subscribed
            yield lambda stage, message: self._report(name, stage, message)
            return
        from wetlands_rx._worker.outlet import Outlet

        with Outlet(self._streams_of(name)) as outlet:
            yield lambda stage, message: self._report(name, stage, message, outlet)

    def _report(self, name: str, stage: str, message: str, sink: RecordSink | None = None) -> None:
        log(logging.INFO, message, LogContext(log_source="environment", env_name=name, stage=stage), sink)
        if self.log_file_path is not None:
            _append(self.log_file_path, f"{name} {stage}: {message}")


def _check_name(name: str) -> None:
    from wetlands_rx._provision.names import check_name

    check_name(name)
    if name == _MAIN:
        raise RecipeError(name, "this name belongs to the environment of this program", hint="choose another")


def _parsed(name: str, dependencies: Mapping[str, Any] | None, commands: object) -> Recipe:
    from wetlands_rx._provision.platforms import this_platform
    from wetlands_rx._provision.recipe import parse_recipe

    return parse_recipe(dependencies, commands, this_platform(), name=name, folder=os.getcwd())


def _append(file: Path, line: str) -> None:
    from datetime import UTC, datetime

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return  # the root is made with the first environment; a log is no reason to fail
    try:
        os.write(descriptor, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}\n".encode(errors="replace"))
    finally:
        os.close(descriptor)


def _conda_packages(prefix: Path) -> list[InstalledPackage]:
    """Source: conda's documentation, "conda-meta" (one file `name-version-build.json` a package)."""
    records = [file.stem.rsplit("-", 2) for file in (prefix / "conda-meta").glob("*.json")]
    return [
        InstalledPackage(kind="conda", name=parts[0], version=parts[1]) for parts in sorted(records) if len(parts) == 3
    ]


def _canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
