"""Rows of model input in files, made once and then mapped into memory: data sets that no memory holds.

A directory holds `shards.json` and safetensors files `rows-00000.safetensors` ..., each with the arrays of
`RowArrays`. `shards.json` says what they were made from (digests of the data and the tokenizer, options of the task),
how many rows and tokens there are, and the SHA-256 of each file. It is written last, and everything together.
"""

from __future__ import annotations

import bisect
import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..checkpoints.containers.held_file import HeldFile
from ..checkpoints.containers.safetensors import read_header
from ..errors import CheckpointError, ConfigError, DataError
from ..files import read_json, sha256
from ..saves import SAVED, STAGE, clear, saving
from .array_file import save_file
from .lazy_sequence import LazySequence
from .row_arrays import MakeRow, RowArrays, joined
from .run_checks import digest_of, is_texts

SHARDS_FILE = "shards.json"
_OWN_DIGEST = "shards_sha256"  # of all that stands beside it
VERSION = 1
_SHARD_BYTES = 1 << 25  # of a file, however short its rows; while it is written, it is in memory three times
_READ_BEFORE_RELEASE = 1 << 16  # rows, after which the pages that were read may leave the memory of the process
_DTYPES = {"U16": "<u2", "U32": "<u4", "I32": "<i4", "I64": "<i8", "F64": "<f8"}


def write_shards(
    folder: Path, parts: Iterable[RowArrays], made_from: Mapping[str, Any], notes: Callable[[], Mapping[str, Any]]
) -> None:
    """Writes rows as they come. A process that is killed leaves nothing that would be taken for shards.

    Where another process has meanwhile written rows that were made from the same, those stay: somebody may read them.

    Args:
        made_from: plain values; `open_shards` opens only shards made from equal ones.
        notes: what `shards.json` holds beside, asked for when all rows are there.

    Raises:
        ConfigError: where another process has meanwhile written something else there.
        DataError: for no rows at all.
        SaveError: when the disk is full.
    """
    files: dict[str, Any] = {}
    with saving(folder) as save:
        for rows in _by_file(parts):
            path = save.stage / f"rows-{len(files):05}.safetensors"
            try:
                save_file(rows.arrays, path, {"format": "np"})
            except SafetensorError as e:  # what it makes of a full disk
                raise OSError(str(e)) from e
            tokens = len(rows.arrays["input_ids"])
            files[path.name] = {"rows": len(rows), "tokens": tokens, "sha256": sha256(path)}
        if not files:
            raise DataError(f"{folder}: wanted rows to write, got none.")
        whole = {"format": "mobilebert rows", "version": VERSION, "made_from": made_from, **notes(), "files": files}
        whole |= {_OWN_DIGEST: digest_of(whole)}
        (save.stage / SHARDS_FILE).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        if made_from_same(folder, made_from):
            for path in list(save.stage.iterdir()):
                path.unlink()


def _by_file(parts: Iterable[RowArrays]) -> Iterator[RowArrays]:
    """The rows of each file."""
    held: list[RowArrays] = []
    size = 0
    for part in parts:
        if len(part):
            held.append(part)
            size += sum(array.nbytes for array in part.arrays.values())
        if size >= _SHARD_BYTES:
            yield joined(held)
            held, size = [], 0
    if held:
        yield joined(held)


def made_from_same(folder: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether shards are there that were made from the same; False where nothing is there.

    Raises:
        ConfigError: where shards of something else are there, or other files.
    """
    if folder.is_dir():
        clear(folder)  # finishes what a process that was killed had decided
    if not folder.is_dir() or not any(not path.name.startswith((STAGE, SAVED)) for path in folder.iterdir()):
        return False
    if not (folder / SHARDS_FILE).is_file():
        raise ConfigError(f"{folder}: wanted a new or empty directory for shards, got other files. Choose another.")
    before, now = read_json(folder / SHARDS_FILE), json.loads(json.dumps(dict(made_from)))
    earlier = before.get("made_from")
    if before.get("version") == VERSION and earlier == now:
        return True
    names = [n for n in now if not isinstance(earlier, dict) or earlier.get(n) != now[n]] or ["version"]
    raise ConfigError(
        f"{folder}: holds rows that were made from something else ({', '.join(names)} differ). Remove it to make them "
        "anew, or choose another --shards."
    )


class ShardedRows(LazySequence[Any]):
    """The rows of a directory of shards, mapped into memory.

    Attributes:
        lengths: of the rows in tokens.
        about: what `shards.json` says.
        pairs: whether any row has tokens of type 1.
        in_blocks: rows that lie near each other are read near each other.

    Args:
        check: whether the files are compared with their digests.

    Raises:
        CheckpointError: for files that are not those that were written.
    """

    in_blocks = True

    def __init__(self, folder: Path, make: MakeRow, check: bool = True) -> None:
        self.folder, self.make = folder, make
        self.about = read_json(folder / SHARDS_FILE)
        files = self.about.get("files")
        texts = all(is_texts(self.about.get(name, [])) for name in ("notes", "skipped"))
        there = {path.name for path in folder.glob("rows-*.safetensors")}
        own = self.about.pop(_OWN_DIGEST, None)
        same = own is None or own == digest_of(self.about)
        if not isinstance(files, dict) or not files or not texts or not there <= {*files} or not same:
            raise self._damaged(SHARDS_FILE)
        self._maps: list[mmap.mmap] = []
        in_order = sorted(files, key=lambda name: (len(name), name))
        self._shards = [self._mapped(name, files[name], check) for name in in_order]
        self._starts = [0, *accumulate(map(len, self._shards))]
        self.lengths = np.concatenate([self._lengths(shard) for shard in self._shards])
        self.pairs = any("firsts" in shard.arrays for shard in self._shards)
        self._reads = 0

    def __len__(self) -> int:
        return self._starts[-1]

    def item(self, number: int) -> Any:
        shard = bisect.bisect_right(self._starts, number) - 1
        self._reads += 1
        if self._reads % _READ_BEFORE_RELEASE == 0:
            self._release()
        return self._shards[shard].row(number - self._starts[shard], number, self.make)

    def _lengths(self, shard: RowArrays) -> np.ndarray:
        """The lengths of the rows of a file, in as few bytes as hold them."""
        lengths = shard.lengths
        self._release()
        return lengths.astype(np.uint16) if int(lengths.max()) < 1 << 16 else lengths

    def _release(self) -> None:
        """Lets go of what was read; the system may keep it, and reads it again where it is needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for each in self._maps:
                each.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, name: str, entry: Any, check: bool) -> RowArrays:
        path = self.folder / name
        try:
            if check and sha256(path) != entry["sha256"]:
                raise self._damaged(name)
            with safe_open(path, framework="np"), HeldFile(path) as file:  # the library checks the header
                header, start = read_header(file)
                whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            arrays = {}
            for array, about in header.items():
                begin, end = about["data_offsets"]
                dtype = np.dtype(_DTYPES[about["dtype"]])
                arrays[array] = np.frombuffer(whole, dtype, (end - begin) // dtype.itemsize, start + begin)
            rows = RowArrays(arrays)
            if len(rows) != entry["rows"] or len(arrays["input_ids"]) != entry["tokens"]:
                raise self._damaged(name)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as e:
            if isinstance(e, CheckpointError):
                raise
            raise self._damaged(name) from None
        self._maps.append(whole)
        return rows

    def _damaged(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{self.folder / name}: wanted the rows that were written, got another or a damaged file. Remove the "
            "directory to make them anew."
        )


class RowsBut(LazySequence[Any]):
    """All rows but every nth, which is held out, or those held out alone; nothing is copied.

    Attributes:
        lengths: of the rows in tokens.
    """

    in_blocks = True

    def __init__(self, rows: ShardedRows, every: int, held_out: bool) -> None:
        self.rows, self.every, self.held_out = rows, every, held_out
        self.pairs = rows.pairs
        numbers = np.arange(len(rows)) % every == every - 1
        self.lengths = rows.lengths[numbers if held_out else ~numbers]

    def __len__(self) -> int:
        return len(self.lengths)

    def item(self, number: int) -> Any:
        before = number // (self.every - 1)  # rows held out before it
        return self.rows[(number + 1) * self.every - 1 if self.held_out else number + before]
