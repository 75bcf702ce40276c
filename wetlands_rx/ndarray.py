"""Arrays in shared memory: one array, many workers, no copies.

An `NDArray` is sent as a description of some hundred bytes, and whoever receives it has the same memory. This file also
runs inside isolated environments: standard library only, Python 3.8 or newer; `.array` and `.dtype` need a numpy there.

    image = NDArray(array)                            # copied once
    with image:                                       # disposed of at the end
        env.execute("blur.py", "blur_in_place", args=(image,))
        print(image.array.max())
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Generator,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Union,
    cast,
)

from wetlands_rx._ndarray.dtypes import Described, described, dtype_of, numpy
from wetlands_rx._wire import blocks
from wetlands_rx._wire.kept import sweep
from wetlands_rx.exceptions import SerializationError

if TYPE_CHECKING:
    from multiprocessing.shared_memory import SharedMemory

    import numpy as np
    import numpy.typing as npt

    from wetlands_rx._ndarray.named import NamedBlock

    Shm = Union["SharedMemoryLike", "SharedBlock", SharedMemory]

__all__ = [
    "NDArray",
    "SharedBlock",
    "SharedMemoryLike",
    "create_shared_array",
    "get_shared_array",
    "register_ndarray_pickle",
    "release_shared_memory",
    "share_array",
    "share_manage_array",
    "unregister",
    "unwrap",
    "update_ndarray",
    "wrap",
]

_BY_NAME = "WETLANDS_RX_SHARED_MEMORY"
"""With the value `named` this variable has blocks made by name, as where there is no other way."""


class SharedMemoryLike(Protocol):
    """What a block of shared memory can do, be it ours or one of `multiprocessing`."""

    @property
    def name(self) -> str:
        """What it is called on this machine."""
        ...

    @property
    def size(self) -> int:
        """Its size in bytes; may be more than was asked for."""
        ...

    @property
    def buf(self) -> memoryview:
        """The memory."""
        ...

    def close(self) -> None:
        """Let go of the memory here."""
        ...

    def unlink(self) -> None:
        """Let nobody find it any more."""
        ...


class SharedBlock:
    """A block of shared memory that this process has mapped; where Wetlands 1.x has a `SharedMemory`.

    It can be sent like an `NDArray`.

    Attributes:
        size: Its size in bytes.
        offset: Where in `whole` the memory begins.
    """

    def __init__(self, block: Union[blocks.Block, NamedBlock], size: int) -> None:
        self._block: Union[blocks.Block, NamedBlock, None] = block
        self._pid = os.getpid()
        self._mapping: Optional[Any] = block.map()
        self._name, self.offset = block.name, block.offset
        self.size = size

    @property
    def name(self) -> str:
        """What it is called on this machine."""
        return self._name

    @property
    def buf(self) -> memoryview:
        """The memory.

        Raises:
            ValueError: it was closed.
        """
        return memoryview(self.whole)[self.offset : self.offset + self.size]

    @property
    def whole(self) -> Any:
        """The memory with what lies before `offset`; lives as long as somebody refers to it.

        Raises:
            ValueError: it was closed.
        """
        mapping = self._mapping
        if mapping is None:
            raise ValueError(
                "this block of shared memory has been closed or disposed of: its memory is not here any more"
            )
        return mapping

    def close(self) -> None:
        """Let go of the memory here; arrays that lie in it keep it as long as they live."""
        self._mapping = None
        block = self._block
        if block is None or self._pid != os.getpid():
            return
        if block.is_users:
            block.close()
        elif block.is_disposed():
            block.free()
            self._block = None

    def unlink(self) -> None:
        """Let nobody find it any more: it is freed when nobody uses it. In a forked child this does nothing."""
        block = self._block
        if block is not None and self._pid == os.getpid():
            block.dispose()
            if self._mapping is None:
                self._block = None

    def another(self) -> SharedBlock:
        """Another handle on the same memory.

        Raises:
            ValueError: it was disposed of.
        """
        block = self._block
        if block is None:
            raise ValueError("this block of shared memory has been disposed of")
        return SharedBlock(block, self.size)

    def address(self) -> Tuple[bool, Any, int, int]:
        """What `_attached` needs in another process.

        Raises:
            Gone: it has been disposed of.
        """
        block = self._block
        if block is None:
            raise blocks.Gone("it has been disposed of")
        return isinstance(block, blocks.Block), block.address(), self.offset, self.size

    def __reduce__(self) -> Tuple[Callable[..., SharedBlock], Tuple[Any, ...]]:
        try:
            return _attached, self.address()
        except blocks.Gone as error:
            raise _gone("a block of shared memory", error) from None
        finally:
            sweep()

    def __repr__(self) -> str:
        return "SharedBlock({!r}, size={}{})".format(self.name, self.size, ", closed" if self._mapping is None else "")


def _attached(anonymous: bool, address: Any, offset: int, size: int) -> SharedBlock:
    try:
        return _find(anonymous, address, offset, size)
    except blocks.Gone as error:
        raise _gone("a block of shared memory", error) from None


def _find(anonymous: bool, address: Any, offset: int, size: int) -> SharedBlock:
    sweep()
    if anonymous:
        return SharedBlock(blocks.attach(address), size)
    from wetlands_rx._ndarray import named

    return SharedBlock(named.attach(address, offset), size)


def _gone(what: str, why: object) -> SerializationError:
    return SerializationError(
        "{} cannot be had: {}. Dispose of it, or end the process that made it, only after all to whom it was "
        "sent have received it".format(what, why)
    )


def _new_block(size: int, data: Optional[memoryview] = None) -> SharedBlock:
    sweep()
    if os.environ.get(_BY_NAME) != "named" and blocks.is_supported():
        return SharedBlock(blocks.create(size, data), size)
    from wetlands_rx._ndarray import named

    return SharedBlock(named.create(size, data), size)


class _Layout(NamedTuple):
    shape: Tuple[int, ...]
    dtype: Described
    nbytes: int
    order: str


def _handle_on(shm: Shm, layout: _Layout) -> SharedBlock:
    if shm.size < layout.nbytes:
        raise ValueError(
            "an array of shape {} and dtype {} takes {} bytes, and the block {!r} has {}".format(
                layout.shape, dtype_of(layout.dtype), layout.nbytes, shm.name, shm.size
            )
        )
    if isinstance(shm, SharedBlock):
        return shm
    from wetlands_rx._ndarray import named

    return SharedBlock(named.wrapped(cast("SharedMemory", shm)), shm.size)


class NDArray:
    """An array in shared memory: whoever it is sent to has the same memory, and sees what the others write.

    It can be an argument, an item of a map, a result or an output, also inside containers. Who makes one, or receives
    one from a worker, disposes of it; `with` does so at its end. Then nobody can receive it any more, and those who
    have its array keep it. `copy.copy` refers to the same memory, `copy.deepcopy` copies it.

    Args:
        array: What to copy; anything that numpy takes for an array, of any dtype without Python objects. An array in
            Fortran order stays so, any other becomes one in C order. With `shm`, only its shape and dtype count.
        shm: An existing block, of ours or of `multiprocessing`, to use instead of a new one.
        shape: Without `array`: the shape of an array of zeros, or of the one in `shm`.
        dtype: Its dtype.
    Raises:
        ValueError: there is neither an array nor both shape and dtype, or `shm` is too small.
        TypeError: the dtype is `object`, or the array is masked.
        MemoryError: there is not so much shared memory.
    """

    _given: Optional[Shm]

    def __init__(
        self,
        array: Optional[npt.ArrayLike] = None,
        shm: Optional[Shm] = None,
        shape: Union[int, Sequence[int], None] = None,
        dtype: Optional[npt.DTypeLike] = None,
    ) -> None:
        if array is not None:
            data: Optional[np.ndarray[Any, Any]] = _as_array(array)
            assert data is not None
            sizes, kind = data.shape, data.dtype
            order = "F" if data.flags.f_contiguous and not data.flags.c_contiguous else "C"
        elif shape is not None and dtype is not None:
            data, order = None, "C"
            sizes, kind = _shape_and_dtype(shape, dtype)
        else:
            raise ValueError("NDArray needs an array to copy, or both the shape and the dtype of a new one")
        layout = _Layout(sizes, described(kind), _product(sizes) * kind.itemsize, order)
        contiguous = data is not None and (data.flags.c_contiguous or data.flags.f_contiguous)
        if shm is None:
            handle = _new_block(layout.nbytes, _bytes_of(data) if data is not None and contiguous else None)
        else:
            handle = _handle_on(shm, layout)
        self.__setstate__((handle, layout))
        self._given = shm
        if shm is None and not contiguous and data is not None:
            self.array[...] = data

    def __setstate__(self, state: Tuple[SharedBlock, _Layout]) -> None:
        self._handle, self._layout = state
        self._given = None
        self._dtype: Optional[np.dtype[Any]] = None
        self._array: Optional[np.ndarray[Any, Any]] = None

    @property
    def array(self) -> npt.NDArray[Any]:
        """The array, which lies in the shared memory. It may be used after `close()` and `dispose()`, if taken before.

        Raises:
            ValueError: this was closed or disposed of.
            ModuleNotFoundError: there is no numpy in this environment; `.shm.buf` is the memory.
        """
        array = self._array
        if array is None:
            whole, layout = self._handle.whole, self._layout
            made: npt.NDArray[Any] = numpy().ndarray(
                layout.shape, self.dtype, buffer=whole, offset=self._handle.offset, order=layout.order
            )
            self._array = array = made
        return array

    @property
    def shape(self) -> Tuple[int, ...]:
        """Its shape."""
        return self._layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""
        if self._dtype is None:
            self._dtype = dtype_of(self._layout.dtype)
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._layout.nbytes

    @property
    def shm(self) -> SharedMemoryLike:
        """The block of memory."""
        return self._handle if self._given is None else cast("SharedMemoryLike", self._given)

    def close(self) -> None:
        """Let go of the array here; the memory is freed when nobody uses it."""
        self._array = None
        self._handle.close()

    def unlink(self) -> None:
        """Let nobody receive it any more; those who have it, this one too, keep it."""
        self._handle.unlink()

    def dispose(self, unregister: bool = False) -> None:
        """Close and unlink: the memory is freed as soon as nobody else uses it. May be called more than once.

        Args:
            unregister: Call `unregister()` too.
        """
        self.close()
        self.unlink()
        if unregister:
            self.unregister()

    def unregister(self) -> None:
        """Have the standard library's resource tracker forget a block of `multiprocessing`."""
        unregister(self.shm)

    def __enter__(self) -> NDArray:  # noqa: PYI034 - `Self` is newer than the oldest Python
        return self

    def __exit__(self, *_: object) -> None:
        self.dispose()

    def __array__(self, dtype: Optional[npt.DTypeLike] = None, copy: Optional[bool] = None) -> npt.NDArray[Any]:
        array = self.array
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError("an array of dtype {} cannot be had as {} without a copy".format(array.dtype, dtype))
            converted: npt.NDArray[Any] = array.astype(dtype)
            return converted
        return array.copy() if copy else array

    def __copy__(self) -> NDArray:
        return _made(self._handle.another(), self._layout)

    def __deepcopy__(self, memo: Dict[int, Any]) -> NDArray:
        return NDArray(self.array)

    def __reduce__(self) -> Tuple[Callable[..., NDArray], Tuple[Any, ...]]:
        try:
            address = self._handle.address()
        except blocks.Gone as error:
            raise _gone(self._words(), error) from None
        finally:
            sweep()
        return _received, (address, tuple(self._layout))

    def __repr__(self) -> str:
        return "<{}, {}>".format(self._words(), self._handle.name)

    def _words(self) -> str:
        dtype = str(self.dtype) if "numpy" in sys.modules else repr(self._layout.dtype)
        return "NDArray of shape {} and dtype {}".format(self._layout.shape, dtype)


def _received(address: Tuple[bool, Any, int, int], layout: Tuple[Any, ...]) -> NDArray:
    try:
        return _made(_find(*address), _Layout(*layout))
    except blocks.Gone as error:
        raise _gone("an NDArray of shape {}".format(layout[0]), error) from None


def _made(handle: SharedBlock, layout: _Layout) -> NDArray:
    made = NDArray.__new__(NDArray)
    made.__setstate__((handle, layout))
    return made


def _as_array(array: npt.ArrayLike) -> np.ndarray[Any, Any]:
    found = numpy()
    if isinstance(array, found.ma.MaskedArray):
        raise TypeError("a masked array has two arrays, its data and its mask: share them one by one")
    values: np.ndarray[Any, Any] = found.asarray(array)
    return values


def _shape_and_dtype(shape: Any, dtype: Any) -> Tuple[Tuple[int, ...], np.dtype[Any]]:
    kind: np.dtype[Any] = numpy().dtype(dtype)
    sizes = (shape,) if isinstance(shape, int) else tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise ValueError("a shape has no negative sizes, as in {}".format(sizes))
    while kind.subdtype is not None:  # as numpy does: its shape is part of that of the array
        kind, inner = kind.subdtype
        sizes += inner
    return sizes, kind


def _product(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """The memory of a contiguous array, as it lies there."""
    if not array.nbytes:
        return memoryview(b"")
    flat: Any = array.ravel(order="K").view(numpy().uint8)
    return memoryview(flat)


# --- the functions of Wetlands 1.x


def register_ndarray_pickle() -> None:
    """Nothing: an `NDArray` can always be pickled. For programs written for Wetlands 1.x."""


def update_ndarray(
    array: Optional[npt.ArrayLike] = None,
    ndarray: Optional[NDArray] = None,
    shape: Union[int, Sequence[int], None] = None,
    dtype: Optional[npt.DTypeLike] = None,
) -> NDArray:
    """Use an `NDArray` again if it fits; else dispose of it and make another one.

    Args:
        array: What it shall hold.
        ndarray: The one to use again.
        shape: Without `array`: the shape that is wanted.
        dtype: Without `array`: the dtype that is wanted.
    Raises:
        ValueError: there is neither an array nor both shape and dtype.
    """
    if ndarray is not None:
        if array is not None:
            values = _as_array(array)
            if (values.shape, values.dtype) == (ndarray.shape, ndarray.dtype):
                ndarray.array[...] = values
                return ndarray
        elif None not in (shape, dtype) and _shape_and_dtype(shape, dtype) == (ndarray.shape, ndarray.dtype):
            return ndarray
        ndarray.dispose()
    return NDArray(array, shape=shape, dtype=dtype)


def create_shared_array(shape: Union[int, Sequence[int]], dtype: npt.DTypeLike) -> Tuple[npt.NDArray[Any], SharedBlock]:
    """Make an array of zeros in shared memory; also returns the block, for `wrap` and `release_shared_memory`."""
    made = NDArray(shape=shape, dtype=dtype)
    return made.array, _block_of(made)


def _block_of(array: NDArray) -> SharedBlock:
    shm = array.shm
    assert isinstance(shm, SharedBlock)
    return shm


def share_array(array: npt.ArrayLike) -> Tuple[npt.NDArray[Any], SharedBlock]:
    """Copy an array, in C order, into shared memory; also returns the block."""
    values = _as_array(array)
    shared, shm = create_shared_array(values.shape, values.dtype)
    shared[...] = values
    return shared, shm


def wrap(shared: npt.NDArray[Any], shm: Shm) -> Dict[str, Any]:
    """Describe a shared array so that it can be sent: its name, shape and dtype, and our block."""
    wrapper: Dict[str, Any] = {"name": shm.name, "shape": shared.shape, "dtype": shared.dtype}
    if isinstance(shm, SharedBlock):
        wrapper["shm"] = shm
    return wrapper


def unwrap(shmw: Dict[str, Any]) -> Tuple[npt.NDArray[Any], SharedBlock]:
    """Take the array out of what `wrap` returned; also returns the block, to be closed.

    Raises:
        SerializationError: it has been disposed of.
    """
    shm: Optional[SharedBlock] = shmw.get("shm")
    array = NDArray(
        shm=shm.another() if shm is not None else _named(shmw["name"]), shape=shmw["shape"], dtype=shmw["dtype"]
    )
    return array.array, _block_of(array)


def _named(name: str) -> SharedBlock:
    from wetlands_rx._ndarray import named

    try:
        block = named.attach(name, 0)
    except blocks.Gone as error:
        raise _gone("the block {!r}".format(name), error) from None
    return SharedBlock(block, len(block.map()))


def release_shared_memory(shm: Optional[Shm], unlink: bool = True) -> None:
    """Close a block here; and let nobody find it any more.

    Args:
        shm: The block, or None.
        unlink: False to close only.
    """
    if shm is None:
        return
    if unlink:
        shm.unlink()
    shm.close()


@contextlib.contextmanager
def share_manage_array(
    original_array: npt.ArrayLike, unlink_on_exit: bool = True
) -> Generator[Dict[str, Any], None, None]:
    """Share an array for the time of a `with` block: yields what `wrap` returns."""
    shared, shm = share_array(original_array)
    try:
        yield wrap(shared, shm)
    finally:
        release_shared_memory(shm, unlink_on_exit)


@contextlib.contextmanager
def get_shared_array(wrapper: Dict[str, Any]) -> Generator[npt.NDArray[Any], None, None]:
    """Have the array that `wrap` described for the time of a `with` block."""
    array, shm = unwrap(wrapper)
    try:
        yield array
    finally:
        shm.close()


def unregister(shm: Shm) -> None:
    """Have the standard library's resource tracker forget a block of `multiprocessing`."""
    if not isinstance(shm, SharedBlock):
        from wetlands_rx._ndarray import named

        named.unregister(cast("SharedMemory", shm))
