"""Which platform this is, by conda's names."""

from __future__ import annotations

import platform
import sys

_MACHINES = {"x86_64": "64", "amd64": "64", "aarch64": "arm64"}


def this_platform() -> str:
    """Such as `linux-64`, `osx-arm64`, `win-64`."""
    system = {"darwin": "osx", "win32": "win"}.get(sys.platform, "linux")
    machine = platform.machine().lower()
    return f"{system}-{_MACHINES.get(machine, machine)}"
