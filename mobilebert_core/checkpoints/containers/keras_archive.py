"""`.keras` files: the configuration and the weights of one model in an archive.

Nothing is unpacked and nothing in config.json is built: of what Keras would bring to life, only the name of the
class, the fields of MobileBertConfig and the dtype policy are read.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...configuration.config import MobileBertConfig
from ...errors import CheckpointError, CheckpointNotFoundError, ConfigError
from ...files import CONFIG_FILE
from ...heads import HEADS, Head
from ..names.keras import PACKAGE, keras_class
from .hdf5 import H5File
from .held_file import HeldFile

ARCHIVE_SUFFIX, WEIGHTS_SUFFIX = ".keras", ".weights.h5"
METADATA_MEMBER, CONFIG_MEMBER, WEIGHTS_MEMBER = "metadata.json", CONFIG_FILE, "model.weights.h5"
_ZIP_END = 1 << 16  # bytes in which the directory of a small archive lies

_LARGEST_JSON = 1 << 24  # bytes; the configuration of a model with 100,000 labels takes a tenth of it
_BLOCK = 1 << 20

_HEAD_OF_CLASS = {keras_class(head): head for head in HEADS.values()}


class KerasArchive:
    """A `.keras` file of one of our Keras models: a reader of its weights, which also knows their model.

    The weights are read one at a time from where they lie in the archive; opening it reads the bytes through once,
    against the archive's checksum.

    Attributes:
        stored: the arrays by their path in model.weights.h5.
        dropped: members of the archive that hold neither weights nor configuration.
        class_name: of the Keras model, TFMobileBertFor...
        head: the row of the table of heads that the class stands for.
        config: its configuration.
        pooler: whether there is a pooler, where the class leaves it open (`add_pooling_layer`); else None.
        policy: name of its dtype policy, such as "mixed_float16"; None where the file names none.

    Raises:
        CheckpointNotFoundError: when the file is not there.
        CheckpointError: when it is damaged, lacks a member, or holds another model.
        ConfigError: when the configuration in it is none of MobileBERT's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise CheckpointNotFoundError(f"{path}: file not found.")
        self._held = HeldFile(path)
        with self._opened() as archive:
            others = self._checked_members(archive)
            described = self._read_config(archive)
        self.class_name, self.head, self.config = self._model(described)
        inner = described["config"]
        self.pooler = inner.get("add_pooling_layer", True) is True if self.head.bare else None
        self.policy = _policy_name(inner.get("dtype"))
        self._weights = H5File(path / WEIGHTS_MEMBER, self._weights_content())
        self.stored = self._weights.stored
        self.dropped = dict.fromkeys(others, "a member of the archive without weights")

    def read(self, name: str) -> np.ndarray:
        """One array. bfloat16, which numpy lacks, comes exactly as float32."""
        array = self._weights.read(name)
        self._held.check(name)
        return array

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._held) as archive:
                yield archive
        except CheckpointError:
            raise
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError) as e:
            raise CheckpointError(
                f"{self.path}: not a whole .keras archive ({e or type(e).__name__}). Fetch or save it again."
            ) from None

    def _checked_members(self, archive: zipfile.ZipFile) -> list[str]:
        """The members that hold neither configuration nor weights."""
        names = archive.namelist()
        for name in (CONFIG_MEMBER, WEIGHTS_MEMBER):
            if names.count(name) != 1:
                held = f"the archive holds {', '.join(n[:40] for n in names[:8]) or 'nothing'}"
                raise CheckpointError(f"{self.path}: wanted one member {name}, got {names.count(name)}; {held}.")
        for name in names:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
                raise CheckpointError(f"{self.path}: the member {name[:80]!r} points out of the archive; not read.")
        return [n for n in names if n not in (METADATA_MEMBER, CONFIG_MEMBER, WEIGHTS_MEMBER) and not n.endswith("/")]

    def _read_config(self, archive: zipfile.ZipFile) -> dict[str, Any]:
        with archive.open(CONFIG_MEMBER) as member:
            text = member.read(_LARGEST_JSON + 1)  # and no further, whatever it says it expands to
        where = f"{self.path}: {CONFIG_MEMBER}"
        if len(text) > _LARGEST_JSON:
            raise CheckpointError(f"{where} is longer than {_LARGEST_JSON:,} bytes, which no configuration is.")
        try:
            described = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise CheckpointError(f"{where}: wanted JSON: {e}.") from None
        if not isinstance(described, dict):
            raise CheckpointError(f"{where}: wanted a JSON object, got a {type(described).__name__}.")
        return described

    def _model(self, described: dict[str, Any]) -> tuple[str, Head, MobileBertConfig]:
        where = f"{self.path}: {CONFIG_MEMBER}"
        name, registered = described.get("class_name"), described.get("registered_name")
        if not isinstance(name, str) or name not in _HEAD_OF_CLASS or registered != f"{PACKAGE}>{name}":
            raise CheckpointError(
                f"{where} describes {name!r:.80} (registered as {registered!r:.80}), wanted a class of mobilebert_tf: "
                f"{', '.join(_HEAD_OF_CLASS)}. keras.models.load_model reads other models, and models of your own."
            )
        inner = described.get("config")
        values = inner.get("config") if isinstance(inner, dict) else None
        if not isinstance(values, dict):
            raise CheckpointError(f"{where}: wanted the fields of a MobileBertConfig, got {values!r:.80}.")
        try:
            return name, _HEAD_OF_CLASS[name], MobileBertConfig.from_dict(values)
        except ConfigError as e:
            raise ConfigError(f"{where}: {e}") from None

    def _weights_content(self) -> io.RawIOBase:
        with self._opened() as archive:
            info = archive.getinfo(WEIGHTS_MEMBER)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise CheckpointError(
                    f"{self.path}: {WEIGHTS_MEMBER} is compressed ({info.compress_size:,} bytes for "
                    f"{info.file_size:,}), wanted it stored as Keras stores it. Unpack the archive and pack it again "
                    "with `zip -0`."
                )
            with archive.open(info) as member:
                while member.read(_BLOCK):  # the last block fails when the checksum does
                    pass
        file = self._held
        file.seek(info.header_offset + 26)  # a local header: 30 bytes, the last four are the lengths of two fields
        name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
        return _Part(file, info.header_offset + 30 + name_length + extra_length, info.file_size)


class _Part(io.RawIOBase):
    """Some bytes of a file as a file of their own."""

    def __init__(self, file: HeldFile, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        read = self._file.readinto(wanted) or 0
        self._at += read
        return read


def _policy_name(policy: Any) -> str | None:
    """The name in a serialized dtype policy."""
    fields = policy.get("config") if isinstance(policy, dict) else None
    name = fields.get("name") if isinstance(fields, dict) else policy
    return name if isinstance(name, str) else None


def is_keras_archive(path: Path) -> bool:
    """Whether a zip archive is Keras's: its members have these names, which end the file; damaged, by its ending."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, _ZIP_END), os.SEEK_END)
        end = file.read()
    return any(member.encode() in end for member in (CONFIG_MEMBER, WEIGHTS_MEMBER)) or path.name.endswith(".keras")
