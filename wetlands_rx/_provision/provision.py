"""From a name and a recipe to an environment on disk: reused when it is there, built when it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wetlands_rx._provision.backend import Backend, Report, Request
from wetlands_rx._provision.interpreters import Interpreter, find
from wetlands_rx._provision.prefix import Prefix
from wetlands_rx._provision.recipe import Recipe, difference
from wetlands_rx._provision.store import Ready, Store, mark
from wetlands_rx._provision.uv import Uv, distributions
from wetlands_rx._provision.wording import version_text
from wetlands_rx.exceptions import EnvironmentReuseError, ProvisioningError


def provision(
    store: Store,
    backend: Backend,
    name: str,
    recipe: Recipe,
    report: Report,
    *,
    replace_existing: bool = False,
    retire: Callable[[Prefix], object] = lambda _prefix: None,
) -> Prefix:
    """Find or make an environment. Blocks until it is whole.

    Whatever ends a build (an error, Ctrl-C) deletes the half environment. After a kill the next call does that.

    Args:
        store: Where environments are.
        backend: Makes it.
        name: Its name, checked.
        recipe: What it is to hold.
        report: Is told what happens, in this thread.
        replace_existing: Rebuild it when it was made from another recipe. The new one is built first.
        retire: Called, under the lock, when the name means a new environment and before others of this name are
            deleted; ends what still runs in them.
    Raises:
        EnvironmentReuseError: it was made from another recipe.
        PythonNotFoundError: no interpreter here satisfies the recipe.
        ProvisioningError: it could not be made; `ResolutionError`, `NetworkError`, `BuildFailedError` say why.
    """
    try:
        reusable = _reusable(store, name, recipe, replace_existing)
        if reusable is not None:
            return reusable
        _refuse(store, backend, name, recipe)
        interpreter = _interpreter(name, recipe, report)
        with store.locked(name, lambda who: report("wait_lock", f"{who or 'another process'} is at {name!r}")) as lock:
            reusable = _reusable(store, name, recipe, replace_existing)
            if reusable is not None:
                return reusable
            prefix = _built(store, backend, name, recipe, interpreter, report, lock)
            retire(prefix)
            for old in store.superseded(name):
                store.discard(old)
            store.sweep()
            return prefix
    except OSError as error:
        raise _from_system(name, error) from error


def install(store: Store, backend: Uv, name: str, prefix: Prefix, recipe: Recipe, report: Report) -> list[str]:
    """Install packages into an environment that is there, and run the recipe's commands in it.

    One of ours is then no longer what its recipe says, and its marker tells so.

    Returns:
        The lines that the installer and the commands wrote.
    Raises:
        ProvisioningError: it did not succeed.
    """
    _refuse(store, backend, name, recipe)
    if not store.owns(prefix.path):
        lines = backend.install(name, prefix, recipe, report)
        return lines + backend.run_commands(name, prefix, recipe.commands, report)
    try:
        with store.locked(name, lambda who: report("wait_lock", f"{who or 'another process'} is at {name!r}")) as lock:
            lines = _installed(store, backend, name, prefix, recipe, report, lock)
            return lines + backend.run_commands(name, prefix, recipe.commands, report)
    except OSError as error:
        raise _from_system(name, error) from error


def _installed(
    store: Store, backend: Uv, name: str, prefix: Prefix, recipe: Recipe, report: Report, lock: int
) -> list[str]:
    standing = store.standing(name)
    if standing is None or standing.path != prefix.path:
        raise ProvisioningError(name, f"{prefix.path} has been removed or replaced meanwhile")
    before, after = standing.ready, replace(standing.ready, managed=False, changing=False)
    packages = distributions(prefix.path)
    if recipe.commands:
        before = after  # nobody knows what a command changes
    # Until the end it counts as broken: a kill in between leaves no trace but this one.
    mark(prefix.path, replace(after, changing=True))
    try:
        lines = backend.install(name, prefix, recipe, report, (lock,))
    except ProvisioningError:
        with suppress(ProvisioningError):
            _settle(backend, name, prefix, before if distributions(prefix.path) == packages else after)
        raise
    _settle(backend, name, prefix, before if distributions(prefix.path) == packages else after)
    return lines


def _settle(backend: Uv, name: str, prefix: Prefix, ready: Ready) -> None:
    backend.verify(name, prefix.path)
    mark(prefix.path, ready)


def _from_system(name: str, error: OSError) -> ProvisioningError:
    place = f": {error.filename}" if error.filename else ""
    return ProvisioningError(name, f"{error.strerror or error}{place}")


def _reusable(store: Store, name: str, recipe: Recipe, replace_existing: bool) -> Prefix | None:
    standing = store.standing(name)
    if standing is None:
        return None
    ready = standing.ready
    if ready.identity == recipe.identity and ready.managed and not ready.changing:
        return standing.prefix
    if replace_existing:
        return None
    lines = difference(standing.recipe, recipe) if standing.recipe is not None else ["- its recipe cannot be read"]
    if not ready.managed:
        lines.append("- packages that install() has put into it" + (", not to the end" if ready.changing else ""))
    raise EnvironmentReuseError(name, lines)


def _refuse(store: Store, backend: Backend, name: str, recipe: Recipe) -> None:
    """Say no before anything is started or written."""
    reason = backend.can(recipe)
    if reason:
        raise ProvisioningError(name, reason, hint="name the packages under 'pip' when the package index has them")
    for local in recipe.local:
        if not Path(local.path).exists():
            raise ProvisioningError(name, f"the local package {local.path} is not there")
    if os.pathsep in str(store.root):
        raise ProvisioningError(
            name, f"the root folder {store.root} has a {os.pathsep!r} in it, which PATH cannot hold"
        )


def _interpreter(name: str, recipe: Recipe, report: Report) -> Interpreter:
    report("find_python", f"looking for Python {recipe.python}".strip())
    interpreter = find(recipe.python, name)
    report("find_python", f"Python {version_text(interpreter.version)} at {interpreter.path}")
    return interpreter


def _built(
    store: Store, backend: Backend, name: str, recipe: Recipe, interpreter: Interpreter, report: Report, lock: int
) -> Prefix:
    destination = store.place(name, recipe)
    try:
        store.prepare(destination, recipe)
        plan = backend.plan(Request(name, recipe, destination, interpreter))
        backend.build(plan, report, (lock,))
        report("verify", f"looking at {destination}")
        prefix = backend.verify(name, destination)
        report("publish", f"{name} is at {destination}")
        store.publish(name, prefix, recipe, backend.kind)
    except BaseException:
        standing = store.standing(name)
        if standing is None or standing.path != destination:  # Ctrl-C may come right after the last step
            store.discard(destination)
        raise
    return prefix
