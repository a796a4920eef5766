"""Files of `torch.save` (pytorch_model.bin), read without PyTorch and without running anything in them."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import CheckpointError, CheckpointNotFoundError, what_to_do
from ...dtypes import widened
from ...tensor_info import TensorInfo, check_count
from ..held_file import HeldFile
from .stored_zip import stored_entries
from .unpickling import MAX_BYTES, Pickled, Refused, Storage, Tensor, kind, unpickle

# Where training loops put the weights among their other notes.
_NESTED = ("state_dict", "model_state_dict", "model")
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class PickleFile:
    """The tensors of a state dict by their names, in torch's zip format (since 1.6) or the one before it.

    The file is memory-mapped: opening it reads the names, `read` the bytes of one tensor, of which it returns a
    copy, held against the checksum if the file has one. The weights may also lie under "state_dict",
    "model_state_dict" or "model" of a training checkpoint.

    Attributes:
        stored: name to shape and dtype.
        dropped: what else a training checkpoint holds: name to why it is not read.

    Raises:
        CheckpointNotFoundError: when the file is not there.
        CheckpointError: when it is damaged, or holds anything else than tensors by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored: dict[str, TensorInfo] = {}
        self.dropped: dict[str, str] = {}
        self._held = _held(path)
        self._data = _mapped(self._held)
        self._big_endian = False
        self._numbers: dict[str, Callable[[], memoryview]] = {}
        try:
            pickled = self._open_zip() if self._data[:4] == b"PK\3\4" else self._open_legacy()
            self._tensors = self._weights(pickled.value)
            check_count(path, self._tensors)
            for name, tensor in self._tensors.items():
                self._check(name, tensor)
                self.stored[name] = TensorInfo(tensor.shape, tensor.dtype)
        except Refused as e:
            raise CheckpointError(
                f"{path}: wanted a state dict of tensors, got {e}; nothing in it was run. Fetch it again, ask its "
                "author for model.safetensors, or save model.state_dict() alone."
            ) from None

    def read(self, name: str) -> np.ndarray:
        """A copy of one array. bfloat16, which numpy lacks, comes exactly as float32.

        Raises:
            CheckpointError: when its bytes are not those that were saved.
        """
        tensor = self._tensors[name]
        try:
            buffer = self._numbers[tensor.storage.key]()
        except Refused as e:
            raise CheckpointError(f"{self.path}: wanted the numbers of {name}, got {e}. Fetch it again.") from None
        native = _numpy_dtype(tensor.dtype)
        # The stride of an axis without a second element may be anything, also beyond what numpy can hold.
        empty = 0 in tensor.shape
        steps = zip(tensor.shape, tensor.strides, strict=True)
        strides = [stride * native.itemsize if n > 1 and not empty else 0 for n, stride in steps]
        offset = 0 if empty else tensor.offset * native.itemsize
        # numpy holds shape and strides against the buffer a second time.
        view = np.ndarray(tensor.shape, native.newbyteorder(">" if self._big_endian else "<"), buffer, offset, strides)
        copy = np.array(view, native, order="C")
        _let_go(self._data)
        self._held.check(name)
        return widened(copy) if tensor.dtype == "bfloat16" else copy

    # ------------------------------------------------------------------------------------------- the two formats

    def _open_zip(self) -> Pickled:
        entries = stored_entries(self._data)
        roots = [name.removesuffix("data.pkl") for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(roots) != 1:
            raise Refused("a zip archive that torch.save did not write: it has no data.pkl, or more than one")
        if (order := entries.get(f"{roots[0]}byteorder")) is not None:  # since torch 2.1
            if (content := order.content(self._data)) not in (b"little", b"big"):
                raise Refused(f"an archive of byte order {bytes(content[:20])!r}")
            self._big_endian = content == b"big"
        program = entries[f"{roots[0]}data.pkl"]
        if program.size > MAX_BYTES:
            raise Refused(f"an archive whose data.pkl has {program.size:,} bytes")
        pickled = unpickle(program.content(self._data))
        for key, storage in pickled.storages.items():
            entry = entries.get(f"{roots[0]}data/{key}")
            if entry is None or entry.size != _size(storage):
                raise Refused(f"a storage {key[:40]!r} of {_size(storage):,} bytes that is not in the file as such")
            self._numbers[key] = partial(entry.content, self._data)
        return pickled

    def _open_legacy(self) -> Pickled:
        """Pickles of a magic number, a protocol, the machine (of no use), the value and the keys of storages.

        Then the storages in that order, little-endian on every machine, each after its size.
        """
        if self._data[:2] != b"\x80\x02":
            raise Refused(f"neither a zip archive nor a pickle: it begins with {bytes(self._data[:16])!r}")
        magic = unpickle(self._data)
        protocol = unpickle(self._data, magic.end)
        if (magic.value, protocol.value) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
            raise Refused("a pickle that torch.save did not write: its magic number is another")
        pickled = unpickle(self._data, unpickle(self._data, protocol.end).end)
        keys = unpickle(self._data, pickled.end)
        if type(keys.value) is not list or not all(type(key) is str for key in keys.value):
            raise Refused("storages without a list of their keys")
        at = keys.end
        for key in keys.value:
            storage = pickled.storages.get(key)
            if storage is None or key in self._numbers:
                raise Refused(f"a storage {key[:40]!r} that no tensor has, or that comes twice")
            self._numbers[key] = partial(_after_its_size, self._data, at, storage)
            at += 8 + _size(storage)
        if self._numbers.keys() != pickled.storages.keys() or at != len(self._data):
            raise Refused(f"{len(self._data):,} bytes where {len(pickled.storages)} storages need {at:,}")
        return pickled

    # --------------------------------------------------------------------------------------------- what is inside

    def _weights(self, value: Any) -> dict[str, Tensor]:
        if not (strange := _strange(value)):
            return value
        nested = {name: _strange(value[name]) for name in _NESTED if type(value) is dict and name in value}
        inside = [name for name, why in nested.items() if not why]
        if len(inside) > 1:
            raise Refused(f"weights under each of {inside}")
        if not inside:
            raise Refused(next((f"under {name!r} {why}" for name, why in nested.items()), strange))
        if unnamed := [name for name in value if type(name) is not str]:
            raise Refused(f"a name of type {kind(unnamed[0])} beside {inside[0]!r}")
        self.dropped = {
            name: f"a value of type {kind(item)} beside the weights, which are under {inside[0]!r}"
            for name, item in value.items()
            if name != inside[0]
        }
        return value[inside[0]]

    def _check(self, name: str, tensor: Tensor) -> None:
        """That a tensor lies in its storage."""
        itemsize = _numpy_dtype(tensor.dtype).itemsize
        last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
        where = f"{name[:200]!r} of shape {tensor.shape}"
        if 0 not in tensor.shape and (last + 1) * itemsize > _size(tensor.storage):
            raise Refused(f"{where}, which reaches beyond its storage of {_size(tensor.storage):,} bytes")
        # Strides of 0 let a few bytes claim an array of any size.
        count = 1
        for n in tensor.shape:
            count *= max(n, 1)
        if count * itemsize > len(self._data):
            raise Refused(f"{where}, which is larger than the file")


def _strange(value: Any) -> str:
    """Why a value is no state dict, or nothing."""
    if type(value) is not dict:
        return f"a value of type {kind(value)}"
    for name, item in value.items():
        if type(name) is not str:
            return f"a name of type {kind(name)}"
        if type(item) is not Tensor:
            return f"{name[:200]!r} of type {kind(item)}"
    return ""


def _mapped(file: HeldFile) -> memoryview:
    empty = file.seek(0, 2) == 0
    return memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _held(path: Path) -> HeldFile:
    try:
        return HeldFile(path)
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"{path}: weights not found.") from None
    except OSError as e:
        raise CheckpointNotFoundError(f"{path}: cannot be read ({e.strerror}). {what_to_do(e)}") from None


def _let_go(data: memoryview) -> None:
    """Gives back the pages that a read brought in: of a large file no more than one array stays in memory."""
    if isinstance(data.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        data.obj.madvise(mmap.MADV_DONTNEED)


def _after_its_size(data: memoryview, at: int, storage: Storage) -> memoryview:
    """The numbers of a storage in the format before torch 1.6."""
    if int.from_bytes(data[at : at + 8], "little") != storage.size:
        raise Refused(f"a damaged storage {storage.key[:40]!r}")
    return data[at + 8 : at + 8 + _size(storage)]


def _size(storage: Storage) -> int:
    return storage.size * _numpy_dtype(storage.dtype).itemsize


def _numpy_dtype(name: str) -> np.dtype:
    return np.dtype("uint16" if name == "bfloat16" else name)
