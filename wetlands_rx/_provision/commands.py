"""Shell commands, for all systems or for each its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from wetlands_rx._provision.wording import did_you_mean
from wetlands_rx.exceptions import RecipeError

SYSTEMS = ("all", "linux", "mac", "windows")


def commands_for(commands: object, system: str, name: str = "") -> list[str]:
    """Choose the commands that a system runs.

    Args:
        commands: None, a list of texts, or lists by system: `"all"` and one of `"linux"`, `"mac"`, `"windows"`.
        system: `"linux"`, `"mac"` or `"windows"`.
        name: The environment's name, for an error.
    Returns:
        Those for all systems, then those for this one.
    Raises:
        RecipeError: it has another form.
    """
    if commands is None:
        return []
    if not isinstance(commands, Mapping):
        return _texts(commands, name)
    by_system = cast("Mapping[object, object]", commands)
    chosen: dict[str, list[str]] = {}
    for key, value in by_system.items():
        if key not in SYSTEMS:
            raise RecipeError(name, f"{key!r} is not a system for commands", hint=did_you_mean(str(key), SYSTEMS))
        chosen[str(key)] = _texts(value, name)
    return [*chosen.get("all", []), *chosen.get(system, [])]


def _texts(commands: object, name: str) -> list[str]:
    if isinstance(commands, str) or not isinstance(commands, Sequence):
        raise RecipeError(
            name,
            f"commands are a list of texts, not {type(commands).__name__}",
            hint=f"write [{commands!r}]" if isinstance(commands, str) else "",
        )
    texts: list[str] = []
    for command in cast("Sequence[object]", commands):
        if not isinstance(command, str) or "\0" in command:
            raise RecipeError(name, f"{command!r} is not a command: a text without NUL is wanted")
        texts.append(command)
    return texts
