"""What every way of making an environment offers to those who want one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wetlands_rx._provision.interpreters import Interpreter
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.recipe import Recipe

Report = Callable[[str, str], object]
"""Takes a stage and a message, in the thread that builds. What it raises ends the build.

The stages, in order: `find_python, wait_lock, resolve, build, download, install, commands, verify, publish`.
"""


@dataclass(frozen=True)
class Request:
    """All that a plan depends on.

    Attributes:
        name: The environment's name.
        recipe: What it is to hold.
        destination: The folder of the environment; it exists, and is empty but for our own records.
        interpreter: On which Python to found it.
    """

    name: str
    recipe: Recipe
    destination: Path
    interpreter: Interpreter


@dataclass(frozen=True)
class Step:
    """A program to run.

    Attributes:
        stage: To which stage it belongs, until its output says more.
        message: What it does, in words.
        command: The program and its arguments; they can be seen by all users of the machine.
        stdin: What it reads; may hold secrets.
        activated: True to run it inside the new environment.
    """

    stage: str
    message: str
    command: tuple[str, ...]
    stdin: str = ""
    activated: bool = False


@dataclass(frozen=True)
class Plan:
    """What will be done, in order, and where the environment will be."""

    name: str
    prefix: Prefix
    steps: tuple[Step, ...]


class Backend(Protocol):
    """A way of making environments. It knows nothing of names, locks and markers on disk."""

    @property
    def kind(self) -> str:
        """How it is called: `uv`, `existing`."""
        ...

    def can(self, recipe: Recipe) -> str:
        """Why it cannot follow a recipe, in words; empty when it can."""
        ...

    def plan(self, request: Request) -> Plan:
        """Decide what to do, without doing it."""
        ...

    def build(self, plan: Plan, report: Report, hold: Sequence[int] = ()) -> None:
        """Carry out a plan.

        Args:
            plan: What to do.
            report: Is told what happens.
            hold: Descriptors that every program it starts inherits, so that a lock lasts as long as the last writer.
        Raises:
            ProvisioningError: it did not succeed; what is on disk is of no use.
        """
        ...

    def verify(self, name: str, path: Path) -> Prefix:
        """Make sure that an environment works.

        Raises:
            ProvisioningError: it does not.
        """
        ...
