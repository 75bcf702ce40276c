"""What an installer's words mean. The texts are uv's own, of runs that met each trouble."""

from __future__ import annotations

import pytest

from wetlands_rx._provision.diagnosis import TAIL_LINES, diagnose
from wetlands_rx.exceptions import BuildFailedError, NetworkError, ProvisioningError, ResolutionError

HEAD = "Using Python 3.11.7 environment at: v\n"


@pytest.mark.parametrize(
    ("kind", "reason", "hint", "text"),
    [
        (
            ResolutionError,
            "the dependencies cannot be satisfied",
            "the index has no package 'nupmy'",
            (
                "error: No solution found when resolving dependencies\n  cause: Because nupmy was not found in the "
                "package registry and you require nupmy, we can conclude that your requirements are unsatisfiable."
            ),
        ),
        (
            ResolutionError,
            "the dependencies cannot be satisfied",
            "no version 'iniconfig==99' exists",
            (
                "error: No solution found when resolving dependencies\n  cause: Because there is no version of "
                "iniconfig==99 and you require iniconfig==99, we can conclude that your requirements are unsatisfiable."
            ),
        ),
        (
            ResolutionError,
            "the dependencies cannot be satisfied",
            "loosen or drop one of the requirements",
            (
                "  \u00d7 No solution found when resolving dependencies:\n  ╰─▶ Because you require numpy==1.26 and\n"
                "      numpy==2.0, we can conclude that your requirements\n      are unsatisfiable."
            ),
        ),
        (
            ResolutionError,
            "the dependencies cannot be satisfied",
            "another Python may do",
            (
                "error: No solution found when resolving dependencies\n  cause: Because tensorflow==1.0.0 has no "
                "wheels with a matching Python ABI tag (e.g., `cp311`) and you require tensorflow==1.0, we can "
                "conclude that your requirements are unsatisfiable."
            ),
        ),
        (
            NetworkError,
            "a package index could not be reached",
            "unset UV_OFFLINE",
            (
                "error: No solution found when resolving dependencies\n  cause: Because iniconfig was not found in the "
                "cache and you require iniconfig==1.0, we can conclude that your requirements are unsatisfiable.\n\n"
                "hint: Packages were unavailable because the network was disabled."
            ),
        ),
        (
            NetworkError,
            "a package index could not be reached",
            "check the network",
            (
                "error: Request failed after 3 retries in 4.5s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/x/\n"
                "  cause: tcp connect error\n  cause: Connection refused (os error 111)"
            ),
        ),
        (
            NetworkError,
            "a package index could not be reached",
            "the proxy does not answer",
            (
                "error: Failed to fetch: https://example.invalid/simple/x/\n  cause: client error (Connect)\n"
                "  cause: tunnel error: failed to create underlying connection"
            ),
        ),
        (
            NetworkError,
            "a package index could not be reached",
            "other credentials",
            "error: Failed to fetch: `https://example.invalid/x/`\n  cause: HTTP status client error: status code 401",
        ),
        (
            NetworkError,
            "a package index could not be reached",
            "SSL_CERT_FILE",
            "error: Failed to fetch: `https://example.invalid/x/`\n  cause: invalid peer certificate: UnknownIssuer",
        ),
        (
            BuildFailedError,
            "a package could not be built from its sources",
            "has a wheel",
            "error: Failed to build `mine @ file:///x`\n  cause: The build backend returned an error",
        ),
        (ProvisioningError, "the disk is full", "free some space", "error: failed\n  cause: No space left on device"),
        (ProvisioningError, "the installer ended with exit code 2", "", "error: something nobody has seen before"),
    ],
)
def test_the_trouble_is_told_with_the_installers_words_and_one_hint(
    kind: type[ProvisioningError], reason: str, hint: str, text: str
) -> None:
    lines = (HEAD + text).splitlines()
    error = diagnose("seg", 2, None, lines)
    assert type(error) is kind
    assert error.reason == reason
    assert hint in error.hint
    assert bool(hint) is bool(error.hint)
    assert list(error.details) == lines
    assert text.splitlines()[-1] in str(error)


def test_an_installer_that_was_killed_is_told_as_such() -> None:
    error = diagnose("seg", None, 9, ["Resolved 2 packages"])
    assert type(error) is ProvisioningError
    assert error.reason.startswith("the installer was killed by signal 9 (SIGKILL")
    assert error.hint == "try again"


def test_only_the_end_of_a_long_output_is_told() -> None:
    error = diagnose("seg", 1, None, [f"line {number}" for number in range(500)])
    assert list(error.details) == [f"line {number}" for number in range(500 - TAIL_LINES, 500)]


def test_passwords_are_left_out() -> None:
    error = diagnose("seg", 2, None, ["Failed to fetch: https://me:s3cret@example.invalid/simple/"])
    assert "s3cret" not in str(error)
    assert "https://***@example.invalid/simple/" in str(error)
