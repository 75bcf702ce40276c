"""What a hostile function does in its worker."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable
from typing import Any

from wetlands_rx._wire.codec import RESULT
from wetlands_rx._wire.frames import PLAIN, encode_frame


class Harm:
    """Runs a command in whoever loads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return getattr(os, "system"), (self.command,)  # noqa: B009 - pyright would have it subprocess


class HarmError(Exception):
    def __init__(self, command: str) -> None:
        super().__init__("it failed")
        self.command = command

    def __reduce__(self) -> Any:
        return getattr(os, "system"), (self.command,)  # noqa: B009 - pyright would have it subprocess


def pid() -> int:
    return os.getpid()


def harm(command: str) -> Any:
    return {"deep": [Harm(command)]}


def harm_in_output(command: str, task: Any) -> None:
    task.set_output("preview", Harm(command))
    task.update("never seen")


def harm_in_error(command: str) -> None:
    raise HarmError(command) from HarmError(command)


def harm_in_item(command: str) -> Any:
    return Harm(command) if command else "fine"


def _is_socket(number: int) -> bool:
    return stat.S_ISSOCK(os.fstat(number).st_mode)


def _is_ours(number: int) -> bool:
    return "memfd:wetlands" in os.readlink(f"/proc/self/fd/{number}")


def _descriptors(is_kind: Callable[[int], bool]) -> list[int]:
    found: list[int] = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            if is_kind(int(entry)):
                found.append(int(entry))
        except OSError:
            continue
    return found


def say(kind: int, flags: int, body: bytes, task: Any) -> str:
    """Write a frame behind the library's back."""
    frame = encode_frame(kind, flags, task._number, body)
    for descriptor in _descriptors(_is_socket):
        os.write(descriptor, frame)
    time.sleep(60)
    return "nobody minded"


def answer_as_one_call(item: int, task: Any) -> None:
    """Answer for one item as if there were no others."""
    say(RESULT, PLAIN, b"\0\0\0\0N.", task)


def leave_behind(kind: int, flags: int, body: bytes, task: Any) -> None:
    """Put a frame where the caller looks for the last answers of a worker that has died."""
    task._channel._outbox.add_frame(encode_frame(kind, flags, task._number, body))
    os.kill(os.getpid(), signal.SIGKILL)


def shrink() -> list[str]:
    """Try to take the memory away that the caller has mapped."""
    tried: list[str] = []
    for descriptor in _descriptors(_is_ours):
        try:
            os.ftruncate(descriptor, 0)
            tried.append("shrunk")
        except OSError as error:
            tried.append(type(error).__name__)
    return tried
