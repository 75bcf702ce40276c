"""What pip is told about package indexes: uv reads its own settings only."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path


def index_url(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> str:
    """The index that pip would install from; empty for its default. It may hold a password: do not show it.

    Source: pip's documentation, "Configuration": environment variables go before files; of the files the one of the
    environment goes before the user's, and that before the machine's; `[install]` goes before `[global]`.
    """
    given = environ.get("PIP_INDEX_URL", "").strip()
    if given:
        return given
    url = ""
    for file in _files(environ, home if home is not None else Path.home()):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue  # not there, or not for us to judge
        for section in ("global", "install"):
            url = parser.get(section, "index-url", fallback=url).strip()
    return url


def _files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Weakest first."""
    own = environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return []  # which tells pip to read no file
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    machine = [Path(folder) / "pip" / "pip.conf" for folder in reversed(shared.split(os.pathsep)) if folder]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    files = [*machine, Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user, Path(sys.prefix) / "pip.conf"]
    return [*files, *([Path(own)] if own else [])]
