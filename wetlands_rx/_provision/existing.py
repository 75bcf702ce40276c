"""Environments that are there already: a folder with an interpreter, or the interpreter itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wetlands_rx._provision.backend import Plan, Report, Request
from wetlands_rx._provision.inspection import OLDEST, NotAPython, inspect
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.recipe import Recipe
from wetlands_rx._provision.wording import version_text
from wetlands_rx.exceptions import ProvisioningError

_PROGRAMS = ("bin/python", "bin/python3", "python.exe", "Scripts/python.exe")


class Existing:
    """The backend for what somebody else has made: it looks, and changes nothing."""

    kind = "existing"

    def can(self, recipe: Recipe) -> str:
        """It follows the empty recipe only."""
        return "" if recipe == Recipe(recipe.platform) else "an existing environment is taken as it is"

    def plan(self, request: Request) -> Plan:
        """Nothing is to be done."""
        python = _program_in(request.destination) or request.interpreter.path
        return Plan(request.name, Prefix(request.destination, python, request.interpreter.version), ())

    def build(self, plan: Plan, report: Report, hold: Sequence[int] = ()) -> None:
        """Do nothing."""

    def verify(self, name: str, path: Path) -> Prefix:
        """Find and start the interpreter.

        Args:
            name: The environment's name.
            path: A folder with an interpreter, or an interpreter.
        Raises:
            ProvisioningError: there is none, it does not start, or it is too old for our workers.
        """
        path = Path(os.path.abspath(path))
        if path.is_file():
            return check_interpreter(name, path)
        if not path.is_dir():
            raise ProvisioningError(name, f"there is neither an environment nor an interpreter at {path}")
        python = _program_in(path)
        if python is None:
            hint = "give the folder of an environment (the one with 'bin' in it), or the file of an interpreter"
            raise ProvisioningError(name, f"the folder {path} holds no Python", hint=hint)
        return check_interpreter(name, python, path)


def has_python(path: Path) -> bool:
    """True for an interpreter, and for a folder that holds one; it is not started."""
    return path.is_file() or _program_in(path) is not None


def check_interpreter(name: str, python: Path, path: Path | None = None) -> Prefix:
    """Start an interpreter and make sure that workers can run on it.

    Args:
        name: The environment's name.
        python: The interpreter.
        path: The folder it must serve; by default the one that it says it serves.
    Raises:
        ProvisioningError: it does not start, is too old, or serves another folder.
    """
    try:
        facts = inspect(python)
    except NotAPython as error:
        raise ProvisioningError(name, str(error)) from None
    if facts.version < OLDEST:
        version, oldest = version_text(facts.version), version_text(OLDEST)
        raise ProvisioningError(name, f"{python} is Python {version}, and workers need Python {oldest} or newer")
    if path is None:
        path = facts.prefix
    elif os.path.realpath(facts.prefix) != os.path.realpath(path):
        raise ProvisioningError(name, f"{python} serves {facts.prefix}, not {path}: has the folder been moved?")
    return Prefix(path, facts.executable, facts.version)


def _program_in(folder: Path) -> Path | None:
    for program in _PROGRAMS:
        if (folder / program).is_file():
            return folder / program
    return None
