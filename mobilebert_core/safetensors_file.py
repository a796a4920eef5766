"""safetensors files, read one array at a time and written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import CheckpointError, CheckpointNotFoundError
from .files import replacing
from .stored import Stored

_SAFETENSORS_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class SafetensorsFile:
    """A safetensors file: `stored` says what is in it, `read` fetches one array at a time.

    Raises:
        CheckpointNotFoundError: when the file is not there.
        CheckpointError: when it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            beside = ", ".join(sorted(p.name for p in path.parent.iterdir())[:8]) if path.parent.is_dir() else ""
            seen = f"the directory holds {beside or 'nothing'}" if path.parent.is_dir() else "no such directory"
            raise CheckpointNotFoundError(f"{path}: weights not found; {seen}.")
        try:
            self._file = safe_open(path, framework="np")
        except (SafetensorError, OSError) as e:
            raise CheckpointError(
                f"{path}: not a whole safetensors file ({e}; {path.stat().st_size:,} bytes). Fetch or save it again."
            ) from None
        self.metadata: dict[str, str] = self._file.metadata() or {}
        if self.metadata.get("format") not in (None, "pt", "np", "tf", "flax", "mlx"):
            raise CheckpointError(f"{path}: unknown safetensors format {self.metadata['format']!r}, wanted 'pt'.")
        self.stored: dict[str, Stored] = {}
        for name in self._file.keys():  # noqa: SIM118  (safe_open is no mapping)
            view = self._file.get_slice(name)
            dtype = view.get_dtype()
            self.stored[name] = Stored(tuple(view.get_shape()), _SAFETENSORS_DTYPES.get(dtype, str(dtype)))

    def read(self, name: str) -> np.ndarray:
        """One array. bfloat16, which numpy lacks, comes exactly as float32."""
        if self.stored[name].dtype == "bfloat16":
            return self._read_bfloat16(name)
        try:
            return self._file.get_tensor(name)
        except SafetensorError as e:
            raise CheckpointError(f"{self.path}: {name} cannot be read ({e}).") from None

    def _read_bfloat16(self, name: str) -> np.ndarray:
        with self.path.open("rb") as f:
            size = int.from_bytes(f.read(8), "little")
            begin, end = json.loads(f.read(size))[name]["data_offsets"]
            f.seek(8 + size + begin)
            halves = np.frombuffer(f.read(end - begin), "<u2")
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(self.stored[name].shape)


def save_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a safetensors file in PyTorch's layout, whole or not at all.

    Arrays are made contiguous first: the format's numpy writer would store a transposed view wrongly.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, metadata={"format": "pt"})
