"""Read the tensors of a PyTorch checkpoint without PyTorch, and without running any code that the file names."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.errors import WeightsError

Tensors = dict[str, NDArray[Any]]

# Source: torch/storage.py, the storage classes of dense tensors.
_DTYPES = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


def read_state_dict(path: Path) -> Tensors:
    """Return the tensors of a checkpoint by name: those of its entry `state_dict`, if it has one.

    Raises: WeightsError: if the file is not a checkpoint of this kind, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            with archive.open(f"{folder}data.pkl") as file:
                content = _Unpickler(file, archive, folder).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, StopIteration, KeyError, ValueError, EOFError) as error:
        raise WeightsError(f"{path} is not a checkpoint of PyTorch, or is damaged ({error}).") from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no tensors by name.")
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, np.ndarray)}


class _Inert:
    """Stands for an object of a class that is not needed. It accepts any arguments and state, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class _Unpickler(pickle.Unpickler):
    """Builds only plain values and arrays. Every other class or function that the file names is replaced."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        return _Inert

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """Return a storage as a flat array. Source: torch/serialization.py, `persistent_id`."""
        kind, dtype, key, _, n = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it holds {kind} of an unknown type")
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype=dtype, count=n)


def _tensor(
    storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    """Return a copy of the part of a storage that is one tensor.

    Raises: ValueError: if it does not lie within the storage.
    """
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or min((*size, *stride), default=0) < 0 or (0 not in size and last >= len(storage)):
        raise ValueError("a tensor exceeds its storage")
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False).copy()
