"""safetensors files, read and written one array at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ...errors import CheckpointError
from ...files import NO_ID, SAVE_ID, replacing
from ..dtypes import narrowed, widened
from ..tensor_info import TensorInfo, check_count
from .held_file import HeldFile

# Spelling in the file: numpy's for what is said, and for what lies there.
_DTYPES = {
    "F64": ("float64", "<f8"), "F32": ("float32", "<f4"), "F16": ("float16", "<f2"), "BF16": ("bfloat16", "<u2"),
    "I64": ("int64", "<i8"), "I32": ("int32", "<i4"), "I16": ("int16", "<i2"), "I8": ("int8", "i1"),
    "U8": ("uint8", "u1"), "BOOL": ("bool", "?"),
}  # fmt: skip


class SafetensorsFile:
    """A safetensors file: `stored` says what is in it, `read` fetches one array at a time.

    The library checks the file as a whole. Arrays are then read, not mapped, so that of a large file no more than
    one is in memory. The file stays open: one that takes its place meanwhile changes nothing of what is read.

    Raises:
        CheckpointError: when it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = HeldFile(path)
        try:
            with safe_open(path, framework="np") as file:
                self.metadata: dict[str, str] = file.metadata() or {}
                check_count(path, file.keys())
        except (SafetensorError, OSError) as e:
            raise CheckpointError(
                f"{path}: not a whole safetensors file ({e}; {path.stat().st_size:,} bytes). Fetch or save it again."
            ) from None
        if self.metadata.get("format") not in (None, "pt", "np", "tf", "flax", "mlx"):
            raise CheckpointError(
                f"{path}: wanted a safetensors file of the format 'pt', got {self.metadata['format']!r}. Save it from "
                "PyTorch."
            )
        header, self._start = read_header(self._file)
        self.stored: dict[str, TensorInfo] = {}
        self._places: dict[str, tuple[str, int]] = {}
        for name, entry in header.items():
            dtype, layout = _DTYPES.get(entry["dtype"], (entry["dtype"].lower(), ""))
            self.stored[name] = TensorInfo(tuple(entry["shape"]), dtype)
            self._places[name] = (layout, entry["data_offsets"][0])

    @property
    def save_id(self) -> str | None:
        """That of the save in several files to which this one belongs, where it says."""
        return self.metadata.get(SAVE_ID)

    def read(self, name: str) -> np.ndarray:
        """One array. bfloat16, which numpy lacks, comes exactly as float32."""
        shape, (layout, begin) = self.stored[name].shape, self._places[name]
        if not layout:
            raise CheckpointError(f"{self.path}: {name} is {self.stored[name].dtype}, which numpy does not know.")
        array = np.empty(math.prod(shape), layout)
        read = self._file.fill(array, self._start + begin)
        self._file.check(name)
        if read != array.nbytes:
            raise CheckpointError(f"{self.path}: {name} breaks off. Fetch or save the file again.")
        array = widened(array) if self.stored[name].dtype == "bfloat16" else array
        return array.reshape(shape)


def read_header(file: HeldFile) -> tuple[dict[str, Any], int]:
    """What the file says of its arrays, and where their bytes begin; the library has checked both."""
    size = int.from_bytes(file.read(8), "little")
    content = np.empty(size, np.uint8)
    file.fill(content, 8)
    header = json.loads(content.tobytes())
    header.pop("__metadata__", None)
    return header, 8 + size


def save_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as a safetensors file in PyTorch's layout, whole or not at all."""
    write_safetensors(path, {n: TensorInfo(a.shape, str(a.dtype)) for n, a in arrays.items()}, arrays.__getitem__)


def write_safetensors(
    path: Path, stored: Mapping[str, TensorInfo], read: Callable[[str], np.ndarray], marked: bool = False
) -> None:
    """Writes a safetensors file in PyTorch's layout from one array at a time, whole or not at all.

    One that is to be `marked` has room for the id of a save, see `mark_safetensors`.

    The library's writer wants all arrays at once, and none in bfloat16, which is what `stored` may ask for.
    """
    names = {numpy_name: name for name, (numpy_name, _) in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"} | ({SAVE_ID: NO_ID} if marked else {})}
    end = 0
    for name, s in stored.items():
        begin, end = end, end + s.nbytes
        header[name] = {"dtype": names[s.dtype], "shape": list(s.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of their width
    with replacing(path) as temporary, temporary.open("wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name, s in stored.items():
            array = read(name)
            array = narrowed(array) if s.dtype == "bfloat16" else array.astype(s.dtype, copy=False)
            f.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


def mark_safetensors(path: Path, save_id: str) -> None:
    """Enters the id of a save in a file that has room for it."""
    with path.open("r+b") as file:
        room = f'"{SAVE_ID}":"{NO_ID}"'.encode()
        place = file.read(int.from_bytes(file.read(8), "little")).index(room)
        file.seek(8 + place + len(room) - len(NO_ID) - 1)
        file.write(save_id.encode())
