"""Where environments are on disk, and which of them are whole.

<root>/e/<name>-<8 digits of the recipe's identity>[-n]/    an environment, in its final place from the start
<root>/e/.../.wetlands/recipe.json                          what it was made from
<root>/e/.../.wetlands/ready.json                           written last: without it the folder is deleted
<root>/n/<name>.json                                        which folder a name means now
<root>/l/<name>.lock                                        the lock of a name
<root>/.trash-*                                             what is being deleted
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from wetlands_rx._provision.locks import locked
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.recipe import Recipe, recipe_from_json
from wetlands_rx.exceptions import ProvisioningError

RECORDS = ".wetlands"
_MARKER = "ready.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Ready:
    """The last thing that is written about an environment.

    Attributes:
        identity: Of its recipe.
        backend: Which one made it.
        python: Its interpreter, relative to the folder.
        python_version: Major, minor, patch.
        managed: False once packages were installed beside the recipe.
        changing: True while packages are being installed: an end in between leaves it in an unknown state.
    """

    identity: str
    backend: str
    python: str
    python_version: tuple[int, int, int]
    managed: bool = True
    changing: bool = False


@dataclass(frozen=True)
class Standing:
    """A whole environment on disk. The recipe is None when its record cannot be read."""

    path: Path
    ready: Ready
    recipe: Recipe | None

    @property
    def prefix(self) -> Prefix:
        """Where it is."""
        return Prefix(self.path, self.path / self.ready.python, self.ready.python_version)


class Store:
    """The root folder of a manager. Nothing is made before it is needed.

    Args:
        root: The folder, absolute.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._environments = root / "e"
        self._pointers = root / "n"
        self._locks = root / "l"

    @contextmanager
    def locked(self, name: str, on_wait: Callable[[str], object] = lambda _who: None) -> Generator[int]:
        """Be the only one to make, change or remove an environment of this name; yields the lock's descriptor.

        Raises:
            ProvisioningError: the root folder cannot be written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self._environments, self._pointers, self._locks):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ProvisioningError(
                name,
                f"the root folder {self.root} cannot be written: {error.strerror}",
                hint="give EnvironmentManager another folder as wetlands_instance_path",
            ) from error
        # One lock for `Seg` and `seg`: some file systems take them for the same folder.
        with locked(self._locks / f"{name.casefold()}.lock", name, on_wait) as descriptor:
            yield descriptor

    def standing(self, name: str) -> Standing | None:
        """The whole environment that a name means, or None when there is none."""
        path = self._current(name)
        return _standing(path) if path is not None else None

    def names(self) -> list[str]:
        """The names that mean an environment, whole or not."""
        return sorted(file.stem for file in self._pointers.glob("*.json"))

    def place(self, name: str, recipe: Recipe) -> Path:
        """Choose the folder for a new environment. Call this under the lock.

        What earlier builds of this name have left behind is deleted; the current environment stays if it is whole.
        """
        current = self._current(name)
        for leftover in self._folders(name):
            if leftover != current or _standing(leftover) is None:
                self.discard(leftover)
        base = f"{name}-{recipe.identity[:8]}"
        for number in range(1, 1000):
            path = self._environments / (base if number == 1 else f"{base}-{number}")
            if not os.path.lexists(path):
                return path
        raise FileExistsError(f"{self._environments / base} and 998 more exist and cannot be deleted")

    def prepare(self, path: Path, recipe: Recipe) -> None:
        """Make the folder of a new environment, with its recipe in it."""
        path.mkdir(mode=0o700)
        (path / RECORDS).mkdir(mode=0o700)
        _write(path / RECORDS / "recipe.json", recipe.canonical)

    def publish(self, name: str, prefix: Prefix, recipe: Recipe, backend: str) -> None:
        """Declare an environment whole, then let the name mean it. Call this under the lock."""
        python = os.path.relpath(prefix.python, prefix.path)
        mark(prefix.path, Ready(recipe.identity, backend, python, prefix.python_version))
        _write(self._pointer(name), json.dumps({"schema": _SCHEMA, "name": name, "current": prefix.path.name}))

    def means(self, name: str, path: Path) -> bool:
        """True when a name means this folder."""
        return self._current(name) == path

    def superseded(self, name: str) -> list[Path]:
        """The folders of this name other than the one it means."""
        return [folder for folder in self._folders(name) if not self.means(name, folder)]

    def forget(self, name: str) -> None:
        """Let the name mean nothing, and delete its environments. Call this under the lock."""
        self._pointer(name).unlink(missing_ok=True)
        for folder in self._folders(name):
            self.discard(folder)

    def discard(self, path: Path) -> None:
        """Delete an environment: out of the way first, so that no half of it is ever in its place."""
        if path.is_symlink():
            path.unlink()  # what it points to is not ours
            return
        (path / RECORDS / _MARKER).unlink(missing_ok=True)
        trash = self.root / f".trash-{path.name}-{secrets.token_hex(4)}"
        try:
            os.rename(path, trash)
        except FileNotFoundError:
            return  # gone already
        except OSError:
            trash = path  # where a file in use forbids the renaming, what can be deleted is
        shutil.rmtree(trash, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what an earlier deletion, ended in between, has left."""
        for trash in self.root.glob(".trash-*"):
            shutil.rmtree(trash, ignore_errors=True)

    def owns(self, path: Path) -> bool:
        """True for the folder of an environment of this store."""
        return path.parent == self._environments

    def _pointer(self, name: str) -> Path:
        return self._pointers / f"{name}.json"

    def _current(self, name: str) -> Path | None:
        pointer = _read(self._pointer(name))
        folder = pointer.get("current")
        # Only a plain name inside our folder is followed, whatever the file says.
        if pointer.get("name") != name or not isinstance(folder, str) or not _folder_of(name).fullmatch(folder):
            return None
        return self._environments / folder

    def _folders(self, name: str) -> list[Path]:
        pattern = _folder_of(name)
        try:
            return sorted(path for path in self._environments.iterdir() if pattern.fullmatch(path.name))
        except FileNotFoundError:
            return []


def mark(path: Path, ready: Ready) -> None:
    """Write the marker of an environment."""
    _write(path / RECORDS / _MARKER, json.dumps({"schema": _SCHEMA, **asdict(ready)}))


def _standing(path: Path) -> Standing | None:
    fields = _read(path / RECORDS / _MARKER)
    if fields.pop("schema", None) != _SCHEMA:
        return None
    try:
        version: Any = tuple(fields.pop("python_version"))
        ready = Ready(python_version=version, **fields)
    except (KeyError, TypeError):
        return None
    if not (path / ready.python).exists():
        return None  # the interpreter it is founded on has been removed
    try:
        recipe = recipe_from_json((path / RECORDS / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        recipe = None
    return Standing(path, ready, recipe)


def _folder_of(name: str) -> re.Pattern[str]:
    # At most three digits, or the folder of `a-01234567` could be taken for one of `a`.
    return re.compile(re.escape(name) + r"-[0-9a-f]{8}(-[0-9]{1,3})?")


def _read(file: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _write(file: Path, text: str) -> None:
    """Replace a file as a whole, and see to it that it survives a power cut."""
    temporary = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # not every system opens folders
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
