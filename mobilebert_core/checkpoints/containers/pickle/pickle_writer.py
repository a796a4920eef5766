"""pytorch_model.bin as `torch.save` writes it, without PyTorch."""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ....configuration.fields import DTYPES
from ....errors import CheckpointError
from ....files import replacing
from ...dtypes import narrowed
from .unpickling import STORAGE_CLASSES

_CLASS_OF = {dtype: name for name, dtype in STORAGE_CLASSES.items()}
_ALIGNMENT = 64  # of numbers in the file, as torch has it, so that they can be used where they are mapped
_LOCAL_HEADER = 30


def write_pickle(path: Path, arrays: Mapping[str, np.ndarray], dtype: str | None = None) -> None:
    """Writes a state dict in torch's zip format, whole or not at all; PyTorch and transformers read it.

    An array that stands under two names is stored once, and tied when PyTorch loads it. Numbers go to the file
    one array at a time. Arrays of the bfloat16 that JAX and TensorFlow give to numpy are stored as they are.

    Args:
        dtype: of the floating arrays in the file, such as "bfloat16", rounded to the nearest (even among two);
            None keeps each array's own.

    Raises:
        CheckpointError: when PyTorch has no storage for a dtype.
    """
    items = list(arrays.items())  # keeps every array alive, so that an identity stands for one array alone
    distinct = list({id(array): array for _, array in items}.values())
    keys = {id(array): str(number) for number, array in enumerate(distinct)}
    classes = {id(array): _storage_class(path, name, array, dtype) for name, array in items}
    tensors = b"".join(_string(name) + _tensor(array, keys[id(array)], classes[id(array)]) for name, array in items)
    content = b"".join((pickle.PROTO + b"\2", pickle.EMPTY_DICT, pickle.MARK, tensors, pickle.SETITEMS, pickle.STOP))
    with replacing(path) as temporary, temporary.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", memoryview(content))
        _add(archive, file, "byteorder", memoryview(b"little"))
        for array in distinct:
            _add(archive, file, f"data/{keys[id(array)]}", _numbers(array, STORAGE_CLASSES[classes[id(array)]]))
        _add(archive, file, "version", memoryview(b"3\n"))


def _storage_class(path: Path, name: str, array: np.ndarray, dtype: str | None) -> str:
    own = array.dtype.name
    floating = array.dtype.kind == "f" or own in DTYPES
    wanted = dtype if floating and dtype is not None else own
    possible = DTYPES if floating else tuple(_CLASS_OF)
    if wanted not in possible:
        raise CheckpointError(
            f"{path}: {name} {array.shape} of {own} can be stored as one of {', '.join(possible)}, not as {wanted}; "
            "nothing was written. Convert the array first."
        )
    return _CLASS_OF[wanted]


def _numbers(array: np.ndarray, dtype: str) -> memoryview:
    """The bytes of an array in a dtype, row after row, little-endian."""
    if dtype == "bfloat16":
        array = array.view(np.uint16) if array.dtype.name == "bfloat16" else narrowed(array)
        dtype = "uint16"
    flat = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data


def _add(archive: zipfile.ZipFile, file: IO[bytes], name: str, content: memoryview) -> None:
    info = zipfile.ZipInfo(f"archive/{name}")
    info.file_size = content.nbytes
    header = file.tell() + _LOCAL_HEADER + len(info.filename) + 4
    padding = -header % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
    with archive.open(info, "w") as entry:
        entry.write(content)


# ------------------------------------------------------------------------------------------------------- opcodes


def _tensor(array: np.ndarray, key: str, storage_class: str) -> bytes:
    storage = _tuple(
        _string("storage"), _global("torch", storage_class), _string(key), _string("cpu"), _integer(array.size)
    )
    shape = array.shape
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    view = (_integer(0), _tuple(*map(_integer, shape)), _tuple(*map(_integer, strides)))
    no_hooks = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = _tuple(storage + pickle.BINPERSID, *view, pickle.NEWFALSE, no_hooks)
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _string(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    if number < 2**31:
        return pickle.BININT + struct.pack("<i", number)
    return pickle.LONG1 + struct.pack("<BQ", 8, number)


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE
