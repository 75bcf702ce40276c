"""The environment variables of a process that runs in an environment."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from wetlands_rx._provision import child
from wetlands_rx._provision.commands import commands_for
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.wording import redacted
from wetlands_rx.exceptions import ProvisioningError, describe_exit

_OF_THE_HOST = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_OF_THE_SHELL = ("_", "SHLVL", "PWD", "OLDPWD")
_TIMEOUT_S = 300.0
_TAIL_LINES = 30


def platform_commands(commands: Sequence[str] | Mapping[str, Sequence[str]] | None) -> list[str]:
    """Choose the commands for this system.

    Args:
        commands: A list, or lists by system: `"all"`, `"linux"`, `"mac"`, `"windows"`.
    Raises:
        RecipeError: they have another form.
    """
    return commands_for(commands, {"darwin": "mac", "win32": "windows"}.get(sys.platform, "linux"))


def without_host(base: Mapping[str, str]) -> dict[str, str]:
    """A copy of environment variables, less those that tie a process to the environment this program runs in."""
    return {key: value for key, value in base.items() if key not in _OF_THE_HOST and not key.startswith("CONDA_")}


def activated_environment(prefix: Prefix, base: Mapping[str, str], commands: Sequence[str] = ()) -> dict[str, str]:
    """Compute the complete environment variables of a process in an environment.

    Args:
        prefix: The environment.
        base: What to start from, usually `os.environ`; not modified.
        commands: Shell commands whose effect on the variables counts; they run once, in one `/bin/sh` which the
            first failure ends. What they leave running in the background is ended.
    Returns:
        The variables: the environment's programs first on PATH, no trace of the one this program runs in.
    Raises:
        ProvisioningError: a command failed, or all together took more than 300 s.
    """
    variables = without_host(base)
    programs = str(prefix.python.parent)
    variables["PATH"] = os.pathsep.join([programs, *filter(None, [variables.get("PATH", os.defpath)])])
    variables["PYTHONNOUSERSITE"] = "1"
    scripts: list[str] = []
    if (prefix.path / "conda-meta").is_dir():
        variables.update({"CONDA_PREFIX": str(prefix.path), "CONDA_DEFAULT_ENV": prefix.path.name, "CONDA_SHLVL": "1"})
        variables.update(_conda_variables(prefix.path))
        scripts = [f". {shlex.quote(str(script))}" for script in _conda_scripts(prefix.path)]
    elif (prefix.path / "pyvenv.cfg").is_file():
        variables["VIRTUAL_ENV"] = str(prefix.path)
    if _has_pip(prefix.python.parent):
        variables.pop("PIP_PYTHON", None)
    else:  # the pip that comes next on PATH is another environment's: it would install there
        variables["PIP_PYTHON"] = str(prefix.python)
    if not scripts and not commands:
        return variables
    return _after(scripts, commands, prefix, variables)


def _has_pip(programs: Path) -> bool:
    return (programs / "pip").exists() or (programs / "pip.exe").exists()


def _conda_variables(prefix: Path) -> dict[str, str]:
    """What packages (`env_vars.d`) and the user (`conda env config vars`) set."""
    variables: dict[str, str] = {}
    for file in sorted((prefix / "etc" / "conda" / "env_vars.d").glob("*.json")):
        variables.update(_texts(_json(file)))
    state = _json(prefix / "conda-meta" / "state")
    variables.update(_texts(state.get("env_vars", {})))
    return variables


def _json(file: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _conda_scripts(prefix: Path) -> list[Path]:
    return sorted((prefix / "etc" / "conda" / "activate.d").glob("*.sh"))


def _after(
    scripts: Sequence[str], commands: Sequence[str], prefix: Prefix, variables: dict[str, str]
) -> dict[str, str]:
    """The variables after shell commands, which the environment's own interpreter reports at their end."""
    sentinel = secrets.token_hex(16)
    report = f"import json, os; print(); print({sentinel!r} + json.dumps(dict(os.environ)))"
    last = f"exec {shlex.quote(str(prefix.python))} -I -S -c {shlex.quote(report)}"
    # The packages' scripts are not written for `set -e`.
    script = "\n".join([*scripts, "set -e", *commands, last])
    lines: list[str] = []
    try:
        code = child.run(["/bin/sh", "-c", script], variables, on_line=lines.append, timeout_s=_TIMEOUT_S)
    except TimeoutError:
        raise _failed(prefix, f"took more than {_TIMEOUT_S:g} s", lines) from None
    except OSError as error:
        raise _failed(prefix, f"could not be started: {error.strerror}", lines) from error
    if code:
        raise _failed(prefix, "failed: the shell " + describe_exit(*child.ending(code)), lines)
    if not lines or not lines[-1].startswith(sentinel):
        raise _failed(prefix, "ended the shell before its variables could be read", lines)
    found: dict[str, str] = json.loads(lines[-1].removeprefix(sentinel))
    for key in (*_OF_THE_SHELL, *(["LC_CTYPE"] if _coerced(found, variables) else [])):
        found.pop(key, None)
        if key in variables:
            found[key] = variables[key]
    return found


def _coerced(found: Mapping[str, str], variables: Mapping[str, str]) -> bool:
    """True when the reporting interpreter itself has set LC_CTYPE (PEP 538)."""
    return "LC_CTYPE" not in variables and found.get("LC_CTYPE", "") in ("C.UTF-8", "C.utf8", "UTF-8")


def _failed(prefix: Prefix, how: str, lines: Sequence[str]) -> ProvisioningError:
    tail = [redacted(line) for line in lines[-_TAIL_LINES:]]
    return ProvisioningError(prefix.path.name, f"an activation command {how}", tail)
