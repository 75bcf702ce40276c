"""What an environment is to hold, in a canonical form. Pure."""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, cast

from wetlands_rx._provision.commands import commands_for
from wetlands_rx._provision.python_request import canonical_request
from wetlands_rx._provision.wording import did_you_mean, redacted
from wetlands_rx.exceptions import IncompatibilityException, RecipeError

SCHEMA = 1
KEYS = ("python", "conda", "channels", "pip", "local")
ENTRY_KEYS = ("name", "platforms", "optional", "dependencies")
LOCAL_KEYS = ("name", "path", "editable")
PLATFORMS = ("osx-64", "osx-arm64", "win-64", "win-arm64", "linux-64", "linux-arm64")
_ALIASES = {"linux-aarch64": "linux-arm64"}


@dataclass(frozen=True, order=True)
class Local:
    """A package in a folder on this machine.

    Attributes:
        path: The folder, absolute.
        name: The name it must have; empty when the user gave none.
        editable: Changes in the folder count without another installation.
    """

    path: str
    name: str = ""
    editable: bool = True


@dataclass(frozen=True)
class Recipe:
    """What an environment is to hold. Two recipes that mean the same are equal.

    Attributes:
        platform: Such as `linux-64`; an entry for another platform has been left out already.
        python: A canonical request (`python_request`); empty for any.
        pip: Canonical PEP 508 requirements, sorted.
        pip_alone: The same, to be installed without their dependencies.
        conda, conda_alone: Conda requirements as given, sorted.
        channels: Of conda, in order.
        local: Sorted by path.
        commands: Shell commands that follow the installation, in order.
    """

    platform: str
    python: str = ""
    pip: tuple[str, ...] = ()
    pip_alone: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    conda_alone: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    local: tuple[Local, ...] = ()
    commands: tuple[str, ...] = ()

    @cached_property
    def canonical(self) -> str:
        """JSON that is the same for equal recipes; without the user names and passwords of URLs."""
        fields = _without_credentials({"schema": SCHEMA, **asdict(self)})
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the canonical form, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def recipe_from_json(text: str) -> Recipe:
    """Read the canonical form.

    Raises:
        ValueError: it is not one, or one of another schema.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields.pop("schema") != SCHEMA:
            raise ValueError("a recipe of another schema")
        local = tuple(Local(**each) for each in fields.pop("local"))
        return Recipe(**{key: _frozen(value) for key, value in fields.items()}, local=local)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a recipe: {error!r}") from error


def _frozen(value: Any) -> Any:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _without_credentials(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: _without_credentials(each) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_without_credentials(each) for each in cast("Sequence[Any]", value)]
    return value


def parse_recipe(
    dependencies: Mapping[str, Any] | None,
    additional_install_commands: object,
    platform: str,
    *,
    name: str = "",
    folder: str = os.sep,
) -> Recipe:
    """Understand the dependencies that a user wrote, in the form of Wetlands 1.x; they are not modified.

    Args:
        dependencies: A dictionary with any of the keys `python` (a version or range), `pip`, `conda` (lists of
            requirements, or of dictionaries `{"name", "platforms", "optional", "dependencies"}`), `channels` (a
            list) and `local` (a list of folders, or of dictionaries `{"name", "path", "editable"}`).
        additional_install_commands: None, a list of shell commands, or lists by system.
        platform: For which platform, such as `linux-64`.
        name: The environment's name, for an error.
        folder: What a relative path starts from.
    Raises:
        RecipeError: something in it cannot be understood.
        IncompatibilityException: a dependency that is not optional is not for this platform.
    """
    if dependencies is None:
        dependencies = {}
    given = _checked_keys(dependencies, KEYS, "the dependencies", name)
    pip, pip_alone = _packages(given.get("pip"), "pip", platform, name)
    conda, conda_alone = _packages(given.get("conda"), "conda", platform, name)
    return Recipe(
        platform=platform,
        python=canonical_request(given.get("python"), name),
        pip=pip,
        pip_alone=pip_alone,
        conda=conda,
        conda_alone=conda_alone,
        channels=tuple(_text(each, "a channel", name) for each in _list(given.get("channels"), "channels", name)),
        local=tuple(sorted({_local(each, folder, name) for each in _list(given.get("local"), "local", name)})),
        commands=tuple(commands_for(additional_install_commands, _system(platform), name)),
    )


def difference(old: Recipe, new: Recipe) -> list[str]:
    """Say in which lines two recipes differ, `-` on the old side, `+` on the new; empty when they mean the same."""
    before, after = _lines(old), _lines(new)
    lines: list[str] = []
    for part in before:
        lines += [f"- {part} {line}" for line in before[part] if line not in after[part]]
        lines += [f"+ {part} {line}" for line in after[part] if line not in before[part]]
    return lines


def _lines(recipe: Recipe) -> dict[str, list[str]]:
    alone = " (without its dependencies)"
    parts = {
        "platform": [recipe.platform],
        "python": [recipe.python or "any"],
        "pip": [*recipe.pip, *(each + alone for each in recipe.pip_alone)],
        "conda": [*recipe.conda, *(each + alone for each in recipe.conda_alone)],
        "channel": [f"{place}: {each}" for place, each in enumerate(recipe.channels, 1)],
        "local": [
            f"{each.path!r}{each.name and ' as ' + repr(each.name)}{' (editable)' if each.editable else ''}"
            for each in recipe.local
        ],
        "command": [f"{place}: {each}" for place, each in enumerate(recipe.commands, 1)],
    }
    return {part: [redacted(line) for line in lines] for part, lines in parts.items()}


def _packages(entries: object, key: str, platform: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those with and those without their dependencies."""
    whole: set[str] = set()
    alone: set[str] = set()
    for entry in _list(entries, key, name):
        if isinstance(entry, Mapping):
            given = _checked_keys(cast("Mapping[object, Any]", entry), ENTRY_KEYS, f"an entry of {key!r}", name)
            text = _text(given.get("name"), f"the name of an entry of {key!r}", name)
            if not _for_platform(given, text, platform, name):
                continue
            with_dependencies = _flag(given, "dependencies", True, name)
        else:
            text, with_dependencies = _text(entry, f"an entry of {key!r}", name), True
        requirement = _pip_requirement(text, name) if key == "pip" else _conda_requirement(text, name)
        (whole if with_dependencies else alone).add(requirement)
    return tuple(sorted(whole)), tuple(sorted(alone))


def _pip_requirement(text: str, name: str) -> str:
    """Bring a requirement into one spelling, so that no text of the user's reaches the installer as it is."""
    from packaging.requirements import InvalidRequirement, Requirement  # slow to import
    from packaging.utils import canonicalize_name

    _refuse_option(text, name)
    if "::" in text:
        raise RecipeError(name, f"{text!r} names a channel, which pip has not", hint="move it to 'conda'")
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        hint = "a folder belongs into 'local'" if "/" in text or "\\" in text else "write it as in numpy>=1.26,<3"
        details = redacted(str(error)).splitlines()
        raise RecipeError(name, f"{redacted(text)!r} is not a package for pip", details, hint) from None
    extras = f"[{','.join(sorted(canonicalize_name(extra) for extra in parsed.extras))}]" if parsed.extras else ""
    versions = ",".join(sorted(str(each) for each in parsed.specifier))
    place = f" @ {parsed.url}" if parsed.url else ""
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return canonicalize_name(parsed.name) + extras + versions + place + marker


def _conda_requirement(text: str, name: str) -> str:
    _refuse_option(text, name)
    return text.strip()


def _refuse_option(text: str, name: str) -> None:
    if text.lstrip().startswith("-"):
        raise RecipeError(
            name,
            f"{redacted(text)!r} is an option, not a package",
            hint="only packages are accepted here; an index is set by the environment variable UV_DEFAULT_INDEX",
        )


def _for_platform(entry: Mapping[str, Any], text: str, platform: str, name: str) -> bool:
    platforms = [_text(each, "a platform", name) for each in _list(entry.get("platforms"), "platforms", name)]
    for each in platforms:
        if each not in PLATFORMS and each not in _ALIASES:
            raise RecipeError(name, f"{each!r} is not a platform", hint=did_you_mean(each, PLATFORMS))
    optional = _flag(entry, "optional", False, name)
    if not platforms or platform in {_ALIASES.get(each, each) for each in platforms}:
        return True
    if optional:
        return False
    raise IncompatibilityException(
        f"{text!r} is for {', '.join(platforms)} only, and this is {platform}; "
        'with "optional": True it is left out where it is not offered'
    )


def _local(entry: object, folder: str, name: str) -> Local:
    if isinstance(entry, Mapping):
        given = _checked_keys(cast("Mapping[object, Any]", entry), LOCAL_KEYS, "an entry of 'local'", name)
        path, package = given.get("path"), given.get("name") or ""
        editable = _flag(given, "editable", True, name)
    else:
        path, package, editable = entry, "", True
    if isinstance(path, os.PathLike):
        path = os.fspath(cast("os.PathLike[str]", path))
    path = _text(path, "the path of an entry of 'local'", name)
    if package:
        package = _local_name(_text(package, "the name of an entry of 'local'", name), name)
    return Local(os.path.abspath(os.path.join(folder, path)), package, editable)


def _local_name(package: str, name: str) -> str:
    from packaging.utils import InvalidName, canonicalize_name

    try:
        return canonicalize_name(package, validate=True)
    except InvalidName:
        raise RecipeError(name, f"{package!r} cannot be the name of a package") from None


def _checked_keys(given: object, known: Sequence[str], what: str, name: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise RecipeError(name, f"{what} must be a dictionary, not {type(given).__name__}: {given!r}")
    fields: dict[str, Any] = {}
    for key, value in cast("Mapping[object, Any]", given).items():
        if key not in known:
            raise RecipeError(name, f"unknown key {key!r} in {what}", hint=did_you_mean(str(key), known))
        fields[str(key)] = value
    return fields


def _list(value: object, key: str, name: str) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        hint = f"write [{value!r}]" if isinstance(value, str) else ""
        raise RecipeError(name, f"{key!r} must be a list, not {type(value).__name__}", hint=hint)
    return cast("Sequence[object]", value)


def _text(value: object, what: str, name: str) -> str:
    if not isinstance(value, str):
        raise RecipeError(name, f"{what} must be a text, not {type(value).__name__}: {value!r}")
    if not value.strip():
        raise RecipeError(name, f"{what} is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise RecipeError(name, f"{what} holds a control character: {redacted(value)!r}")
    return value


def _flag(entry: Mapping[str, Any], key: str, default: bool, name: str) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise RecipeError(name, f"{key!r} must be True or False, not {value!r}")
    return value


def _system(platform: str) -> str:
    return {"osx": "mac", "win": "windows"}.get(platform.partition("-")[0], "linux")
