"""TensorFlow's checkpoints, written without TensorFlow, one array at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ....errors import CheckpointError
from ....files import write_text
from ....saves import saving
from .bundle_entries import DTYPES, BundleEntry, encode_entry
from .crc32c import crc32c, masked
from .protobuf_wire import encode_field
from .sorted_table import write_table

_NUMBERS = {name: number for number, name in DTYPES.items()}
_HEADER = encode_field(1, 1) + encode_field(3, encode_field(1, 1))  # one shard, little-endian, version 1


def write_bundle(prefix: Path, arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes PREFIX.data-00000-of-00001 and PREFIX.index, which tf.train.load_checkpoint reads.

    Pairs are taken one at a time, so that a generator needs memory for one array only; a mapping is taken in the order
    of its names, as TensorFlow does. Arrays of ml_dtypes' bfloat16 are stored as such.

    Both files are seen at once, whatever interrupts the writing; see `saves.saving`.

    Raises:
        CheckpointError: for a name that is empty or passed twice, or a dtype that is neither float, int nor bool;
            nothing is replaced.
    """
    index, data = f"{prefix.name}.index", f"{prefix.name}.data-00000-of-00001"
    entries: dict[bytes, bytes] = {b"": _HEADER}
    offset = 0
    with saving(prefix.parent) as save:
        with (save.stage / data).open("wb") as f:
            for name, array in _pairs(arrays):
                key = name.encode()
                if key in entries or key.startswith(b"\0"):
                    raise CheckpointError(f"{prefix}: the name {name!r} is empty, passed twice or begins with 0.")
                entry, raw = _stored(prefix, name, array, offset)
                f.write(raw)
                offset += entry.size
                entries[key] = encode_entry(entry)
        (save.stage / index).write_bytes(write_table(sorted(entries.items())))


def write_checkpoint_state(prefix: Path) -> None:
    """Writes the file `checkpoint` beside a checkpoint, by which tf.train.latest_checkpoint finds it.

    TensorFlow's savers keep it in a directory of checkpoints; a SavedModel's `variables` has none.
    """
    name = json.dumps(prefix.name, ensure_ascii=False)
    lines = f"model_checkpoint_path: {name}\nall_model_checkpoint_paths: {name}\n"
    write_text(prefix.with_name("checkpoint"), lines)


def _pairs(arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(arrays, Mapping):
        yield from arrays
        return
    for name in sorted(arrays, key=str.encode):
        yield name, arrays[name]


def _stored(prefix: Path, name: str, array: np.ndarray, offset: int) -> tuple[BundleEntry, memoryview]:
    """An array's entry, and its bytes in little-endian order."""
    array = np.asarray(array)
    number = _NUMBERS.get(array.dtype.name)
    if number is None:
        raise CheckpointError(
            f"{prefix}: {name} {array.shape} has the dtype {array.dtype}, which is not written; wanted one of "
            f"{', '.join(_NUMBERS)}. Nothing was replaced."
        )
    plain = array.view(np.uint16) if array.dtype.name == "bfloat16" else array
    raw = np.asarray(plain, plain.dtype.newbyteorder("<"), order="C").reshape(-1).view(np.uint8)
    return BundleEntry(number, array.shape, 0, offset, raw.size, masked(crc32c(raw))), raw.data
