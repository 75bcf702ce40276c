"""Environments made by uv: a virtual environment on an interpreter of this machine, with packages from an index."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from wetlands_rx._provision import child
from wetlands_rx._provision.activation import activated_environment, without_host
from wetlands_rx._provision.backend import Plan, Report, Request, Step
from wetlands_rx._provision.diagnosis import TAIL_LINES, diagnose
from wetlands_rx._provision.existing import check_interpreter
from wetlands_rx._provision.pip_settings import index_url
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.recipe import Local, Recipe
from wetlands_rx._provision.wording import redacted, version_text
from wetlands_rx.exceptions import ProvisioningError, describe_exit

_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")
# Each would make uv work on something else than the interpreter and the folder it is given.
_MISLEADING = (
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON_PREFERENCE",
    "UV_MANAGED_PYTHON",
    "UV_NO_MANAGED_PYTHON",
    "UV_PROJECT",
    "UV_WORKING_DIR",
)
_STAGES = {
    "Resolved": "resolve",
    "Building": "build",
    "Built": "build",
    "Downloading": "download",
    "Downloaded": "download",
    "Prepared": "download",
    "Installed": "install",
    "Uninstalled": "install",
    "+": "install",
    "-": "install",
    "~": "install",
}


class Uv:
    """The backend.

    Args:
        base: The environment variables to start from.
        proxies: URLs by `"http"` and `"https"`, which go before those of `base`.
    """

    kind = "uv"

    def __init__(self, base: Mapping[str, str] = os.environ, proxies: Mapping[str, str] | None = None) -> None:
        self._base = base
        self._proxies = proxies or {}

    def can(self, recipe: Recipe) -> str:
        """Conda packages need another backend, which is not there yet."""
        asked = [*recipe.conda, *recipe.conda_alone, *(f"channel {channel}" for channel in recipe.channels)]
        if not asked:
            return ""
        return f"it asks for conda ({', '.join(asked)}), and environments with conda packages cannot be made yet"

    def plan(self, request: Request) -> Plan:
        """A virtual environment, the packages in one resolution, those without dependencies, the commands."""
        recipe, interpreter = request.recipe, request.interpreter
        prefix = Prefix(request.destination, _python_of(request.destination), interpreter.version)
        venv = ("venv", "--no-project", "--allow-existing", "--python", str(interpreter.path), str(prefix.path))
        message = f"Python {version_text(interpreter.version)} from {interpreter.path}"
        steps = [Step("install", message, venv)]
        steps += _installations(recipe, prefix.python)
        if recipe.commands:
            script = "\n".join(["set -e", *recipe.commands])
            steps.append(Step("commands", "; ".join(recipe.commands), ("/bin/sh", "-c", script), activated=True))
        return Plan(request.name, prefix, tuple(steps))

    def build(self, plan: Plan, report: Report, hold: Sequence[int] = ()) -> None:
        """Run the steps, one after the other."""
        for step in plan.steps:
            report(step.stage, redacted(step.message))
            if step.activated:
                self._run_commands(plan, step, report, hold)
            else:
                self._run_uv(plan.name, step.command, report, hold, step.stage, step.stdin)

    def verify(self, name: str, path: Path) -> Prefix:
        """Look for every file that the installed packages list, then start the interpreter.

        Raises:
            ProvisioningError: a file is missing, or the interpreter does not start.
        """
        missing = list(missing_files(path))
        if missing:
            details = [*missing[:TAIL_LINES], *(["..."] if len(missing) > TAIL_LINES else [])]
            reason = f"{len(missing)} of the installed files are not there"
            raise ProvisioningError(name, reason, details, "does another program (an antivirus) remove files?")
        return check_interpreter(name, _python_of(path), path)

    def install(self, name: str, prefix: Prefix, recipe: Recipe, report: Report, hold: Sequence[int] = ()) -> list[str]:
        """Install the packages of a recipe into an environment that is there.

        Returns:
            The lines that the installer wrote.
        Raises:
            ProvisioningError: it did not succeed.
        """
        lines: list[str] = []
        for step in _installations(recipe, prefix.python):
            report(step.stage, step.message)
            lines += self._run_uv(name, step.command, report, hold, step.stage, step.stdin)
        return lines

    def installed_packages(self, name: str, prefix: Prefix) -> str:
        """The packages of an environment, as a JSON list of `{"name", "version"}`.

        Raises:
            ProvisioningError: they cannot be read.
        """
        command = ("pip", "list", "--format", "json", "--quiet", "--python", str(prefix.python))
        return "".join(self._run_uv(name, command, lambda _stage, _message: None))

    def run_commands(self, name: str, prefix: Prefix, commands: Sequence[str], report: Report) -> list[str]:
        """Run shell commands in an environment; the first that fails ends them.

        Returns:
            The lines that they wrote.
        Raises:
            ProvisioningError: one failed.
        """
        if not commands:
            return []
        step = Step("commands", "; ".join(commands), ("/bin/sh", "-c", "\n".join(["set -e", *commands])))
        report(step.stage, redacted(step.message))
        return self._run_commands(Plan(name, prefix, ()), step, report)

    def variables(self) -> dict[str, str]:
        """The environment variables that uv runs with."""
        kept = {key: value for key, value in without_host(self._base).items() if key not in _MISLEADING}
        kept.update(_proxy_variables(self._proxies))
        kept.pop("FORCE_COLOR", None)
        kept.update(
            # Without its own configuration uv is not led by a project that happens to lie around the folder.
            {} if "UV_CONFIG_FILE" in kept else {"UV_NO_CONFIG": "1"},
            UV_PYTHON_DOWNLOADS="never",
            UV_NO_PROGRESS="1",
            NO_COLOR="1",
            GIT_TERMINAL_PROMPT="0",
        )
        if not any(kept.get(variable) for variable in _INDEX_VARIABLES):
            index = index_url(self._base)  # uv does not read pip's settings
            if index:
                kept["UV_DEFAULT_INDEX"] = index
        return kept

    def _run_uv(
        self,
        name: str,
        arguments: Sequence[str],
        report: Report,
        hold: Sequence[int] = (),
        stage: str = "",
        stdin: str = "",
    ) -> list[str]:
        lines: list[str] = []

        def on_line(line: str) -> None:
            nonlocal stage
            lines.append(line)
            stage = _STAGES.get(line.split(maxsplit=1)[0] if line.strip() else "", stage)
            report(stage, redacted(line.strip()))

        command = [str(uv_program(name, self._base)), *arguments]
        code = child.run(command, self.variables(), stdin=stdin.encode(), hold=hold, on_line=on_line)
        if code:
            raise diagnose(name, *child.ending(code), lines)
        return lines

    def _run_commands(self, plan: Plan, step: Step, report: Report, hold: Sequence[int] = ()) -> list[str]:
        lines: list[str] = []

        def on_line(line: str) -> None:
            lines.append(redacted(line))
            report(step.stage, lines[-1])

        base = {**self._base, **_proxy_variables(self._proxies)}
        variables = activated_environment(plan.prefix, base)
        code = child.run(step.command, variables, hold=hold, on_line=on_line)
        if code:
            how = describe_exit(*child.ending(code))
            reason = f"the additional install commands failed: the shell {how}"
            raise ProvisioningError(plan.name, reason, lines[-TAIL_LINES:])
        return lines


def uv_program(name: str = "", base: Mapping[str, str] = os.environ) -> Path:
    """Find uv: the one installed beside this library, else the one on PATH.

    Raises:
        ProvisioningError: there is none.
    """
    try:
        import uv

        find: Callable[[], str] = vars(uv)["find_uv_bin"]  # its own type hints do not name it
        return Path(find())
    except (ImportError, KeyError, FileNotFoundError):
        found = shutil.which("uv", path=base.get("PATH"))
    if found is None:
        raise ProvisioningError(name, "uv, which makes environments, is not there", hint="pip install uv")
    return Path(found)


def missing_files(prefix: Path) -> Iterator[str]:
    """The files that installed packages list in their RECORD and that are not there, relative to the prefix.

    Source: PyPA, "Recording installed projects" (RECORD is CSV: path, hash, size; `/` separates).
    """
    root = os.path.realpath(prefix)
    for record in sorted(folder / "RECORD" for folder in _distributions(prefix)):
        folder = os.path.realpath(record.parent.parent)
        try:
            rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
        except (OSError, ValueError, csv.Error):
            yield os.path.relpath(record, prefix)
            continue
        for row in rows:
            path = os.path.normpath(os.path.join(folder, row[0])) if row else folder
            # Byte code comes and goes; a package that lists files elsewhere is not our business.
            inside = path.startswith(root + os.sep) and not path.endswith(".pyc")
            if inside and not os.path.lexists(path):
                yield os.path.relpath(path, root)


def distributions(prefix: Path) -> set[str]:
    """What is installed, as `name-version`."""
    return {folder.name.removesuffix(".dist-info") for folder in _distributions(prefix)}


def _distributions(prefix: Path) -> Iterator[Path]:
    packages = "Lib/site-packages" if sys.platform == "win32" else "lib/python3*/site-packages"
    return prefix.glob(f"{packages}/*.dist-info")


def _python_of(prefix: Path) -> Path:
    return prefix / "Scripts" / "python.exe" if sys.platform == "win32" else prefix / "bin" / "python"


def _installations(recipe: Recipe, python: Path) -> list[Step]:
    install = ("pip", "install", "--python", str(python))
    listed = ("-r", "-")
    folders = [part for each in recipe.local for part in _folder_arguments(each)]
    steps: list[Step] = []
    if recipe.pip or folders:
        what = ", ".join([*recipe.pip, *(each.path for each in recipe.local)])
        # The requirements go through a pipe: a URL among them may hold a password, and arguments are public.
        steps.append(
            Step(
                "resolve", redacted(what), (*install, *(listed if recipe.pip else ()), *folders), "\n".join(recipe.pip)
            )
        )
    if recipe.pip_alone:
        what = ", ".join(recipe.pip_alone)
        steps.append(Step("install", redacted(what), (*install, *listed, "--no-deps"), "\n".join(recipe.pip_alone)))
    return steps


def _folder_arguments(local: Local) -> list[str]:
    url = "file://" + quote(Path(local.path).as_posix())
    place = f"{local.name} @ {url}" if local.name else url
    return ["-e", place] if local.editable else [place]


def _proxy_variables(proxies: Mapping[str, str]) -> dict[str, str]:
    # Programs differ in which spelling they read.
    return {spelling: url for key, url in proxies.items() for spelling in (f"{key}_proxy", f"{key.upper()}_PROXY")}
