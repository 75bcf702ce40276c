"""Blocks of shared memory without a name (Linux): whoever knows which process holds one open, and where, can map it.

A block is a file in memory (`memfd`): a page of our own, then the data. What is sent of it is an address, the process
and the number of its descriptor; the receiver opens `/proc/PID/fd/NUMBER`. So nothing has to be tracked or removed:
the kernel frees a block with the last descriptor and mapping, whoever dies and however.

Each process has two descriptors of a block that it uses: the one that its address names, and one with a shared lock
(flock), which lives exactly as long as the mapping and all arrays in it. Whoever disposes of a block therefore sees
whether anybody still has it mapped; if not, the pages are freed at once, also while others hold a descriptor.

    offset  size  field
    0       8     what this is
    8       16    which block it is: a random token
    24      1     1 when it has been disposed of
    64      4032  a byte for each time that its address was sent: 1 when the parent of the sender holds it too
    4096    ...   the data

Source: memfd_create(2), proc_pid_fd(5), flock(2), madvise(2) for MADV_REMOVE.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import mmap
import os
import re
import struct
import sys
import weakref
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from wetlands_rx._wire.frames import Buffer
from wetlands_rx._wire.kept import Keepable, keep, release

HEADER_BYTES = 4096
_MAGIC = b"wetlands"
_TOKEN_BYTES = 16
_DISPOSED_AT, _ARRIVED_AT = 24, 64
_MOST_SENT = HEADER_BYTES - _ARRIVED_AT
_NAME = "wetlands-ndarray"
_MARK = b"wetlands:block:1"
_PLACE = struct.Struct("<IIIIQQQ16s")
_OPEN = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_SEARCHED_BYTES = 1 << 16
"""So far a pickle is searched for addresses, which takes 0.4 ms for a megabyte."""
_LOOK_FIRST_BYTES = 1 << 24
_ADDRESS_IN = re.compile(_MARK + b"(.{%d})" % _PLACE.size, re.DOTALL)
_NO_MEMORY = frozenset((errno.ENOSPC, errno.ENOMEM, errno.EFBIG))


class Gone(Exception):
    """The block cannot be had any more; the text says why."""


class Place(NamedTuple):
    """Where a block can be opened.

    Attributes:
        pid: The process that holds it.
        descriptor: There.
        heir: The parent of that process, which holds the block itself from the moment it hears of it.
        slot: Which byte of the header says that it does; behind the header for none.
        device: Of the file, to recognise it.
        inode: Of the file.
        size: Of the data, in bytes.
        token: Which block it is.
    """

    pid: int
    descriptor: int
    heir: int
    slot: int
    device: int
    inode: int
    size: int
    token: bytes

    @property
    def path(self) -> str:
        """The way to it."""
        return "/proc/{}/fd/{}".format(self.pid, self.descriptor)

    def is_there(self) -> bool:
        """True when this is still the way to the block."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (self.device, self.inode)


class Block(Keepable):
    """A block that this process holds open.

    Args:
        descriptor: Of the file; belongs to the block from now on.
        size: Of the data, in bytes.
        token: Which block it is.
        places: Where else it can be opened.
    """

    __slots__ = ("_descriptor", "_inode", "_mapping", "_sent", "_slots", "places", "size", "token")

    offset = HEADER_BYTES
    is_users = False

    def __init__(self, descriptor: int, size: int, token: bytes, places: Sequence[Place] = ()) -> None:
        super().__init__()
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self._inode = (found.st_dev, found.st_ino)
        self._mapping: Optional[weakref.ReferenceType[mmap.mmap]] = None
        self._slots = itertools.count()
        self._sent = bytearray()  # as many as were sent; to append is atomic
        self.size, self.token, self.places = size, token, tuple(places)
        _known[token] = self

    @property
    def name(self) -> str:
        """The way to it on this machine."""
        return "/proc/{}/fd/{}".format(os.getpid(), self._descriptor)

    def map(self) -> mmap.mmap:
        """The whole block in memory, the header too; lives as long as somebody refers to it.

        Raises:
            Gone: it has been disposed of.
        """
        mapping = self._mapping() if self._mapping is not None else None
        if mapping is None:
            import fcntl

            locked = os.open("/proc/self/fd/{}".format(self._descriptor), _OPEN)
            try:
                # Before the look at the header: whoever disposes of the block writes there, then tries the lock.
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(locked, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if self.is_disposed():
                    raise Gone("it has been disposed of")
                mapping = mmap.mmap(locked, HEADER_BYTES + self.size)  # holds a descriptor, and so the lock, itself
            finally:
                os.close(locked)
            self._mapping = weakref.ref(mapping)
        return mapping

    def is_disposed(self) -> bool:
        """True when somebody has disposed of it."""
        try:
            return os.pread(self._descriptor, 1, _DISPOSED_AT) != b"\0"
        except OSError:
            return True

    def is_real(self) -> bool:
        """True when the file is this block, and not another one."""
        start = _MAGIC + self.token
        try:
            return os.pread(self._descriptor, len(start), 0) == start
        except OSError:
            return False

    def address(self) -> bytes:
        """Where another process finds it; held open until it is disposed of, or the parent of this process holds it.

        Raises:
            Gone: it has been disposed of.
        """
        if self.is_disposed():
            raise Gone("it has been disposed of")
        parent = os.getppid()
        elsewhere = tuple(place for place in self.places if place.is_there())
        if any(place.pid == parent for place in elsewhere):  # it outlives this process: no need to hold it here too
            return packed_places(elsewhere)
        slot = next(self._slots)
        self._sent.append(0)
        keep(self)
        own = Place(os.getpid(), self._descriptor, parent, min(slot, _MOST_SENT), *self._inode, self.size, self.token)
        return packed_places((own, *elsewhere))

    def is_over(self) -> bool:
        """True when it has been disposed of, or all that were sent have arrived where they are held."""
        sent = len(self._sent)
        try:
            header = os.pread(self._descriptor, _ARRIVED_AT + min(sent, _MOST_SENT), 0)
        except OSError:
            return True
        if len(header) < _ARRIVED_AT or header[_DISPOSED_AT]:
            return True
        return sent <= _MOST_SENT and header.find(b"\0", _ARRIVED_AT) < 0

    def arrived(self, slot: int) -> None:
        """Tell the sender that this process holds the block too."""
        if slot < _MOST_SENT:
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, b"\1", _ARRIVED_AT + slot)

    def dispose(self) -> None:
        """Nobody shall find it any more; those who have it mapped keep what they have."""
        if self.is_real():
            os.pwrite(self._descriptor, b"\1", _DISPOSED_AT)
        release(self)
        self.free()

    def free(self) -> None:
        """After `dispose`: give the memory back when nobody has it mapped, also if others hold a descriptor."""
        import fcntl

        if not self.is_real() or not self.is_disposed() or not self.size or not hasattr(mmap, "MADV_REMOVE"):
            return
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with mmap.mmap(self._descriptor, HEADER_BYTES + self.size) as whole:
                whole.madvise(mmap.MADV_REMOVE, HEADER_BYTES)

    def close(self) -> None:
        """Nothing: the descriptor lives as long as this does, for another thread may be about to use its number."""

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # the user's code may have closed it, and have another file of this number
            found = os.fstat(self._descriptor)
            if (found.st_dev, found.st_ino) == self._inode:
                os.close(self._descriptor)


_known: weakref.WeakValueDictionary[bytes, Block] = weakref.WeakValueDictionary()


@functools.lru_cache(maxsize=None)
def is_supported() -> bool:
    """True where blocks can be made and found."""
    if not sys.platform.startswith("linux") or not os.path.isdir("/proc/self/fd"):
        return False
    try:
        os.close(_memory_file())
    except OSError:
        return False
    return True


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create(_NAME, os.MFD_CLOEXEC)
    import ctypes  # a Python that was built on an older system than it runs on

    create = getattr(ctypes.CDLL(None, use_errno=True), "memfd_create", None)
    descriptor = -1 if create is None else int(create(_NAME.encode(), 1))
    if descriptor < 0:
        raise OSError(ctypes.get_errno() or errno.ENOSYS, "memfd_create")
    return descriptor


def create(size: int, data: Optional[memoryview] = None) -> Block:
    """Make a block.

    Args:
        size: Of the data, in bytes.
        data: What it shall hold; zeros by default.
    Raises:
        MemoryError: there is not so much.
    """
    check_available(size)
    descriptor = _memory_file()
    token = os.urandom(_TOKEN_BYTES)
    try:
        header = _MAGIC + token
        _write(descriptor, memoryview(header + bytes(HEADER_BYTES - len(header))), 0)
        if data is None:
            os.posix_fallocate(descriptor, 0, HEADER_BYTES + size)  # else a full memory is a SIGBUS later on
        else:
            _write(descriptor, data, HEADER_BYTES)  # faster than to zero the pages first
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError) and error.errno in _NO_MEMORY:
            raise MemoryError(too_large(size)) from error
        raise
    return Block(descriptor, size, token)


def check_available(size: int) -> None:
    """Refuse what there cannot be: the kernel would rather end processes than refuse the pages of a file in memory.

    Raises:
        MemoryError: there is not so much.
    """
    if size > sys.maxsize - HEADER_BYTES:
        raise MemoryError(too_large(size))
    if size < _LOOK_FIRST_BYTES:
        return
    with contextlib.suppress(OSError), open("/proc/meminfo", "rb") as file:
        found = dict(re.findall(rb"^(MemAvailable|SwapFree): +(\d+) kB", file.read(), re.MULTILINE))
        if b"MemAvailable" in found and size > 1024 * sum(map(int, found.values())):
            raise MemoryError(too_large(size))


def too_large(size: int) -> str:
    """Words for a block that there is no memory for."""
    return "there is no memory for a shared array of {} bytes".format(size)


def _write(descriptor: int, data: memoryview, at: int) -> None:
    while len(data):
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written


def packed_places(places: Sequence[Place]) -> bytes:
    """Places as one piece, which can be found in a pickle."""
    return b"".join(_MARK + _PLACE.pack(*place) for place in places)


def places_in(data: Buffer) -> Iterator[Place]:
    """The places that `packed_places` wrote, also within something else."""
    for found in _ADDRESS_IN.finditer(data):
        yield Place(*_PLACE.unpack(found[1]))


def attach(address: bytes) -> Block:
    """Find a block.

    Args:
        address: What `Block.address` returned, in any process of this machine.
    Raises:
        Gone: it has been disposed of, or nobody holds it any more.
    """
    places = tuple(places_in(address))
    block = _find(places)
    if block is None:
        raise Gone(_why_gone(places))
    if block.is_disposed():
        raise Gone("it has been disposed of")
    return block


def _find(places: Tuple[Place, ...]) -> Optional[Block]:
    block = _known.get(places[0].token) if places else None
    if block is None or block.is_disposed():
        opened = (_opened(place, places) for place in places)
        block = next((found for found in opened if found is not None), None)
    if block is not None:
        for place in places:
            if place.heir == os.getpid():
                block.arrived(place.slot)
    return block


def _opened(place: Place, places: Tuple[Place, ...]) -> Optional[Block]:
    if not place.is_there():  # to open some other file could have effects
        return None
    try:
        descriptor = os.open(place.path, _OPEN)
    except OSError:
        return None
    block = Block(descriptor, place.size, place.token, places)
    return block if block.is_real() else None


def _why_gone(places: Sequence[Place]) -> str:
    alive = [place for place in places if os.path.exists("/proc/{}".format(place.pid))]
    if not alive:
        return "process {}, which held it, has ended".format(" and ".join(str(place.pid) for place in places))
    place = alive[0]
    try:
        if place.is_there():
            os.close(os.open(place.path, _OPEN))
        else:
            os.listdir(os.path.dirname(place.path))
    except OSError as error:  # no right to look into that process, or no descriptor is left in this one
        return "it cannot be opened in process {}: {}".format(place.pid, error.strerror)
    return "it has been disposed of"


def claim(pickled: Buffer) -> Tuple[Block, ...]:
    """Open, already now, the blocks that a value from a child of this process refers to.

    The child may end before anybody loads the value. Does not load it, never waits, and looks at its beginning only;
    what it does not find is found when the value is loaded, or whoever loads it is told.
    """
    found: List[Block] = []
    for place in places_in(memoryview(pickled)[:_SEARCHED_BYTES]):
        if place.heir == os.getpid():
            block = _find((place,))
            if block is not None:
                found.append(block)
    return tuple(found)
