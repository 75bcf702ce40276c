"""Blocks of shared memory by name, where there are none without: `multiprocessing.shared_memory`.

Whoever made a block has it tracked by the standard library, which removes it when that process dies; whoever attaches
to one has not, or the end of the first of them would remove it for all. A block has the same header as one of
`_wire.blocks`, of which only the byte that says "disposed of" is used; the user's own block has none.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import mmap
import os
import sys
import weakref
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Optional

from wetlands_rx._wire.blocks import HEADER_BYTES, Gone, check_available, too_large
from wetlands_rx._wire.kept import Keepable, keep, release

_DISPOSED_AT = 24
_POSIX = os.name == "posix"


class NamedBlock(Keepable):
    """A block that this process has mapped.

    Args:
        name: Its name on this machine.
        mapping: Its memory.
        offset: Where its data begin: behind a header, or at 0 in one that is not ours.
        shm: When it was made here, by us or by the user: as the standard library knows it.
    """

    __slots__ = ("_made_by", "_mapping", "_shm", "_unlinked", "name", "offset")

    def __init__(self, name: str, mapping: Any, offset: int, shm: Optional[SharedMemory] = None) -> None:
        super().__init__()
        self.name, self.offset = name, offset
        self._mapping: Optional[Any] = mapping
        self._shm, self._unlinked = shm, False
        self._made_by = 0 if shm is None else os.getpid()
        if shm is not None:
            _made.add(self)

    @property
    def is_users(self) -> bool:
        """True for a block that the user made."""
        return self.offset == 0

    def map(self) -> Any:
        """The whole block in memory.

        Raises:
            Gone: it has been closed here.
        """
        mapping = self._mapping
        if mapping is None:
            raise Gone("it has been disposed of")
        return mapping

    def is_disposed(self) -> bool:
        """True when somebody has disposed of it, as far as is known."""
        mapping = self._mapping
        return mapping is None or bool(self.offset and mapping[_DISPOSED_AT])

    def is_over(self) -> bool:
        """True when it has been disposed of."""
        return self.is_disposed()

    def address(self) -> str:
        """Where another process finds it; held until it is disposed of.

        Raises:
            Gone: it has been disposed of.
        """
        if self.is_disposed():
            raise Gone("it has been disposed of")
        if self._shm is not None:
            keep(self)
        return self.name

    def dispose(self) -> None:
        """Nobody shall find it any more; those who have it mapped keep what they have."""
        mapping = self._mapping
        if self.offset and mapping is not None:
            mapping[_DISPOSED_AT] = 1
        release(self)
        self._unlink()

    def free(self) -> None:
        """Nothing: the system frees it with the last mapping."""

    def close(self) -> None:
        """Close the user's block; ours goes with the last use of this."""
        if self.is_users and self._shm is not None:
            self._mapping = None
            with contextlib.suppress(BufferError):  # an array is still in use
                self._shm.close()

    def end(self) -> None:
        """At the end of the process that made it, or of the last use here if nobody else knows it."""
        if self._made_by == os.getpid() and not self.is_users:
            self._unlink()

    def __del__(self) -> None:
        self.end()

    def _unlink(self) -> None:
        if self._unlinked:
            return
        self._unlinked = True
        shm = self._shm
        if shm is None or self._made_by != os.getpid():
            _remove(self.name)
            return
        try:
            shm.unlink()
        except FileNotFoundError:  # somebody else has
            unregister(shm)


_made: weakref.WeakSet[NamedBlock] = weakref.WeakSet()


def create(size: int, data: Optional[memoryview] = None) -> NamedBlock:
    """Make a block.

    Args:
        size: Of the data, in bytes.
        data: What it shall hold; zeros by default.
    Raises:
        MemoryError: there is not so much.
    """
    check_available(size)
    try:
        shm = SharedMemory(create=True, size=HEADER_BYTES + size)
        try:
            _reserve(shm, HEADER_BYTES + size)
        except OSError:
            shm.close()
            shm.unlink()
            raise
    except OSError as error:
        raise MemoryError(too_large(size)) from error
    block = NamedBlock(shm.name, _detached(shm), HEADER_BYTES, shm)
    if data is not None:
        block.map()[HEADER_BYTES : HEADER_BYTES + size] = data
    return block


def _reserve(shm: SharedMemory, size: int) -> None:
    """Have all pages now: one that is missing later on ends the process (SIGBUS)."""
    if sys.platform.startswith("linux"):  # elsewhere blocks are no files
        os.posix_fallocate(getattr(shm, "_fd", -1), 0, size)


def attach(name: str, offset: int) -> NamedBlock:
    """Find a block.

    Args:
        name: What `NamedBlock.address` returned.
        offset: Where its data begin.
    Raises:
        Gone: there is none of this name any more.
    """
    try:
        block = NamedBlock(name, _mapped(name), offset)
    except FileNotFoundError:
        raise Gone("it has been disposed of, or the process that made it has ended") from None
    if block.is_disposed():
        raise Gone("it has been disposed of")
    return block


def wrapped(shm: SharedMemory) -> NamedBlock:
    """The user's own block."""
    return NamedBlock(shm.name, shm.buf, 0, shm)


def unregister(shm: SharedMemory) -> None:
    """Have the standard library forget a block, so that it does not remove it at the end of this process."""
    if _POSIX:
        with contextlib.suppress(Exception):
            resource_tracker.unregister(getattr(shm, "_name", shm.name), "shared_memory")


def _mapped(name: str) -> Any:
    """Its memory, without `SharedMemory`, which before Python 3.13 has every block tracked."""
    if not _POSIX:
        return _detached(SharedMemory(name))
    descriptor: int = _posix().shm_open("/" + name, os.O_RDWR, mode=0o600)
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _remove(name: str) -> None:
    if _POSIX:
        with contextlib.suppress(FileNotFoundError):
            _posix().shm_unlink("/" + name)


def _posix() -> Any:
    """What `multiprocessing.shared_memory` is made of; for type checkers there is no such module."""
    return importlib.import_module("_posixshmem")


def _detached(shm: SharedMemory) -> Any:
    """Take the mapping out, for arrays to live in: `SharedMemory` would close it under them, or fail to."""
    inside: Any = shm
    mapping = inside._mmap  # noqa: SLF001 - the same from Python 3.8 to 3.14; the tests would tell
    inside._buf.release()  # noqa: SLF001
    inside._mmap = inside._buf = None  # noqa: SLF001
    shm.close()
    return mapping


def _end_all() -> None:
    for block in list(_made):
        block.end()


atexit.register(_end_all)
