"""Tell from an installer's own words what went wrong. Pure.

Source: the texts of uv 0.5.0 and 0.13.9, each met in a run; what is not recognised becomes a plain ProvisioningError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wetlands_rx._provision.wording import redacted
from wetlands_rx.exceptions import (
    BuildFailedError,
    NetworkError,
    ProvisioningError,
    ResolutionError,
    describe_exit,
)

TAIL_LINES = 30
_NETWORK = re.compile(
    r"error sending request|dns error|tcp connect error|tunnel error|Connection refused|Network is unreachable"
    r"|Request failed after|Failed to (fetch|download)|operation timed out|status code|network was disabled"
    r"|invalid peer certificate|Could not connect",
    re.IGNORECASE,
)
_UNSOLVABLE = re.compile(r"No solution found|requirements are unsatisfiable|not a compatible|no usable wheels")
_BUILD = re.compile(r"Failed to build|build backend returned an error|Build failed")
_UNKNOWN_PACKAGE = re.compile(r"\b(\S+) was not found in the package registry")
_UNKNOWN_VERSION = re.compile(r"there (?:is|are) no versions? of (\S+)")
_ALL_VERSIONS = re.compile(r"ABI tag|[Pp]ython (?:version|requirement)|Requires-Python|requires Python|Python>|Python<")


def diagnose(name: str, exit_code: int | None, signal: int | None, lines: Sequence[str]) -> ProvisioningError:
    """Make the error that fits.

    Args:
        name: The environment's name.
        exit_code: How the installer ended; None when a signal ended it.
        signal: The signal's number, or None.
        lines: All that it wrote.
    Returns:
        The error, with the last 30 lines verbatim but for user names and passwords in URLs, and one hint.
    """
    text = " ".join(" ".join(lines).split())  # some versions break their sentences into lines
    tail = [redacted(line) for line in lines[-TAIL_LINES:]]
    if signal is not None:
        return ProvisioningError(name, f"the installer {describe_exit(None, signal)}", tail, "try again")
    # An offline installer also says "No solution found": the network goes first.
    if _NETWORK.search(text):
        return NetworkError(name, "a package index could not be reached", tail, _network_hint(text))
    if _UNSOLVABLE.search(text):
        return ResolutionError(name, "the dependencies cannot be satisfied", tail, _resolution_hint(text))
    if _BUILD.search(text):
        hint = "choose a version that has a wheel for this Python and platform, or install what its build needs"
        return BuildFailedError(name, "a package could not be built from its sources", tail, hint)
    if "No space left on device" in text:
        return ProvisioningError(name, "the disk is full", tail, "free some space and try again")
    return ProvisioningError(name, f"the installer {describe_exit(exit_code, None)}", tail)


def _network_hint(text: str) -> str:
    if "network was disabled" in text:
        return "the installer is in its offline mode and the package is not in its cache; unset UV_OFFLINE"
    if "certificate" in text:
        return "point SSL_CERT_FILE to your certificates, or set UV_SYSTEM_CERTS=1 to use those of the system"
    if re.search(r"status code.*\b(401|403)\b", text):
        return "the index wants other credentials"
    if "tunnel error" in text or "proxy" in text:
        return "the proxy does not answer: check set_proxies(), HTTPS_PROXY and HTTP_PROXY"
    return "check the network; behind a proxy use set_proxies(), for an index of your own set UV_DEFAULT_INDEX"


def _resolution_hint(text: str) -> str:
    unknown = _UNKNOWN_PACKAGE.search(text)
    if unknown:
        return f"the index has no package {unknown[1]!r}: check how it is spelled, and whether it is on another index"
    version = _UNKNOWN_VERSION.search(text)
    if version:
        return f"no version {version[1]!r} exists: choose another one"
    if _ALL_VERSIONS.search(text):
        return 'another Python may do: pass it as "python" in the dependencies'
    return "loosen or drop one of the requirements that the text above names"
