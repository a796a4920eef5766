"""From a path to an opened checkpoint: which file is meant, which format it has, which model it describes.

What a file is say its first bytes; its name only says which file of a directory is meant.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..configuration.config import MobileBertConfig
from ..errors import CheckpointError, CheckpointNotFoundError, what_to_do
from ..files import (
    CONFIG_FILE,
    EXPORT_FILE,
    TOKENIZER_FILES,
    WEIGHT_FILES,
    is_index,
    is_there,
    names_in,
    nearest,
    variant_name,
)
from ..saves import arriving, current, home
from ..steady_reads import steady
from ..weights import every_weight
from .configurations import ConfigFile, configuration, google_json_config
from .containers.sharded import ShardedFile
from .formats import CONTAINERS, ENDINGS, FORMATS, GOOGLE, Container, Format
from .tensor_info import MappedCheckpoint, WeightFile, check_count

T = TypeVar("T")

_PLAUSIBLE = 1000  # feed-forward networks in all blocks; the released model has 96


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: `file` has the names of the file, `weights` shows it under PyTorch's.

    Attributes:
        path: the file with the weights, the index of its shards, or the prefix of a TensorFlow checkpoint.
        format: its row in the list of formats.
        parts: every file that holds weights.
        config_file: config.json where one belongs, read at most once.
    """

    path: Path
    format: Format
    file: WeightFile
    parts: tuple[Path, ...]
    config_file: ConfigFile

    @property
    def description(self) -> str:
        shards = f" in {len(self.parts)} shards" if is_index(self.path.name) else ""
        return f"{self.format.container.description}{shards}, {self.format.naming.description}"

    @property
    def folder(self) -> Path:
        """Where its configuration and tokenizer are."""
        return home(self.config_file.path).parent

    def config(self, passed: MobileBertConfig | str | Path | None = None, **overrides: Any) -> MobileBertConfig:
        """The model it describes: as `passed` (a configuration, its file or directory), or as found with it.

        Raises:
            CheckpointNotFoundError: when no configuration is found.
            ConfigError: when it is not that of a MobileBERT, or an override is none of its fields.
        """
        if passed is None:
            return self.format.config(self.file, self.config_file, **overrides)
        if self.format.naming is GOOGLE and not isinstance(passed, MobileBertConfig) and Path(passed).is_file():
            passed = google_json_config(ConfigFile(Path(passed)))
        return configuration(passed, **overrides)

    def weights(self, config: MobileBertConfig) -> MappedCheckpoint:
        """The file under PyTorch's full names and orientation.

        Raises:
            CheckpointError: when the configuration cannot be that of the file, or two names are one weight.
        """
        networks = config.num_hidden_layers * config.num_feedforward_networks
        if networks > max(len(self.file.stored), _PLAUSIBLE):  # before a table of that size is made
            raise CheckpointError(
                f"{self.path}: holds {len(self.file.stored):,} arrays, but the configuration has "
                f"{config.num_hidden_layers:,} layers of {config.num_feedforward_networks:,} feed-forward networks. "
                "One of the two belongs to another model."
            )
        return self.format.naming.names(self.file, every_weight(config), config)


def open_checkpoint(
    path: str | Path, check: Callable[[ConfigFile], object] | None = None, variant: str | None = None
) -> Checkpoint:
    """Opens a directory, a file of weights, the index of a sharded one, or the prefix of a TensorFlow checkpoint.

    Of a directory the first of `WEIGHT_FILES` that is there is taken, else its one other checkpoint. What is opened
    stays open: whoever saves there meanwhile changes nothing of it.

    Args:
        check: gets the config.json of a directory, if it has one, before its weights are looked for.
        variant: takes the weights of a directory in the names that have it.

    Raises:
        CheckpointNotFoundError: when there is none, or several and none of the usual names.
        CheckpointError: when it is damaged or no format of MobileBERT, or is replaced faster than it can be opened.
    """
    path = Path(path)

    def opened() -> Checkpoint:
        if not path.is_dir():
            return _opened(current(path))
        found = _config_file(path)
        if check is not None and found.exists:
            check(found)
        return _opened(_weights_of(path, variant), found)

    try:
        return steady(path if path.is_dir() else path.parent, opened, _matters)
    except OSError as e:
        if isinstance(e, CheckpointError):
            raise
        raise CheckpointNotFoundError(f"{path!s:.200}: cannot be read ({e.strerror}). {what_to_do(e)}") from None


def as_one(path: Any, read: Callable[[], T]) -> T:
    """What `read` makes of the files at a path, be it model and tokenizer or an export, all of one save.

    It is called again when they were replaced meanwhile. What is no path here, such as a name on the hub, is just read.

    Raises:
        CheckpointError: when they are replaced faster than they can be read.
    """
    try:
        place = Path(path)
        there = is_there(place)
    except (TypeError, ValueError, OSError):
        there = False
    if not there:
        return read()
    return steady(place if place.is_dir() else place.parent, read, _is_of_a_save)


def open_watched(path: str | Path) -> tuple[Checkpoint, Callable[[], None]]:
    """`open_checkpoint` for work that reads files more than once, and a check to call before its result is published.

    The check raises CheckpointError when weights, configuration or tokenizer were replaced meanwhile.
    """

    def opened() -> tuple[Checkpoint, set[tuple[Path, tuple[int, int, int] | None]]]:
        found = open_checkpoint(path)
        return found, _seen(found)

    checkpoint, before = as_one(path, opened)

    def check() -> None:
        if changed := sorted({each.name for each, _ in before ^ _seen(checkpoint)}):
            raise CheckpointError(
                f"{path}: wanted the same files from beginning to end, got other ones ({', '.join(changed)}): somebody "
                "saved there meanwhile. Nothing was written; begin again when nobody does."
            )

    return checkpoint, check


def _seen(checkpoint: Checkpoint) -> set[tuple[Path, tuple[int, int, int] | None]]:
    """What tells the files of a checkpoint from others in their places."""
    folder = checkpoint.folder
    seen: set[tuple[Path, tuple[int, int, int] | None]] = set()
    for path in {*map(home, checkpoint.parts), *(folder / name for name in (CONFIG_FILE, *TOKENIZER_FILES))}:
        try:
            found = current(path).stat()
        except OSError:
            seen.add((path, None))
        else:
            seen.add((path, (found.st_ino, found.st_size, found.st_mtime_ns)))
    return seen


def _opened(place: Path, found: ConfigFile | None = None) -> Checkpoint:
    """Opens a file; `found` is the configuration of the directory, if it was looked at already."""
    if is_index(place.name):
        sharded = ShardedFile(place, lambda shard: _container_of(shard).opens(shard))
        container, first = _container_of(sharded.shards[0]), sharded.first
        file: Any = sharded
        parts = tuple(sharded.shards)
    else:
        container = _container_of(place)
        file = first = container.opens(place)
        check_count(file.path, file.stored)  # of containers that did not look sooner
        parts = (file.path, *getattr(file, "shards", ()))
    chosen = next(each for each in FORMATS if each.container is container and each.holds(first))
    folder = _folder_of(place)
    config_file = _config_file(folder)
    if found is not None and found.path == config_file.path:
        config_file = found
    if config_file.exists:
        with contextlib.suppress(CheckpointError):  # whoever needs it will hear of it
            _ = config_file.values
    return Checkpoint(place, chosen, file, parts, config_file)


def _matters(name: str) -> bool:
    """Whether a file may be part of a checkpoint, by its name."""
    return not name.startswith(".") and (name.endswith((*ENDINGS, ".json", ".yaml")) or ".data-" in name)


def _is_of_a_save(name: str) -> bool:
    """Whether a file may be part of a model, its tokenizer or an export. Another JSON file may be the log of a program.

    Where it is a configuration of Google's, `open_checkpoint` looks after it.
    """
    if name.endswith(".json") and not is_index(name) and not name.endswith(ENDINGS):
        return name in (CONFIG_FILE, EXPORT_FILE, *TOKENIZER_FILES)
    return _matters(name) or name in TOKENIZER_FILES


def _config_file(folder: Path) -> ConfigFile:
    return ConfigFile(current(folder / CONFIG_FILE))


def _folder_of(place: Path) -> Path:
    """Where the configuration and tokenizer are: beside the weights; of a SavedModel, above its `variables`."""
    folder = home(place).parent
    return folder.parent if (folder.parent / "saved_model.pb").is_file() else folder


def _weights_of(directory: Path, variant: str | None) -> Path:
    saved = arriving(directory)
    found = (_candidates(saved, variant) if saved is not None else []) or _candidates(directory, variant)
    if variant and not found:
        raise CheckpointNotFoundError(
            f"{directory}: wanted weights of variant {variant!r}, such as {variant_name(WEIGHT_FILES[0], variant)}, "
            "found none. Leave variant out, or correct its name."
        )
    if len(found) > 1:
        found = [path for path in found if path == _latest(directory)] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointNotFoundError(
            f"{directory}: wanted one checkpoint, got {', '.join(p.name for p in found[:6])}. Name one of them."
        )
    if (directory / EXPORT_FILE).is_file():
        raise CheckpointNotFoundError(
            f"{directory}: wanted a checkpoint, got an export, whose {EXPORT_FILE} says what it is. Pass what it was "
            "made from."
        )
    raise CheckpointNotFoundError(f"{directory}: weights not found; the directory holds {names_in(directory)}.")


def _candidates(directory: Path, variant: str | None) -> list[Path]:
    """The first of the usual files of weights, or else, without a variant, all others."""
    for name in WEIGHT_FILES:
        if (directory / variant_name(name, variant)).is_file():
            return [directory / variant_name(name, variant)]
    if variant:
        return []
    found: list[Path] = []
    for container in CONTAINERS:
        for pattern in (*(f"*{ending}" for ending in container.endings), *container.places):
            found += sorted(path for path in directory.glob(pattern) if not path.name.startswith("."))
    if any(path.name.endswith(".json") for path in found):
        found = [path for path in found if path.suffix != ".h5"]  # which are its shards
    return found


def _latest(directory: Path) -> Path | None:
    """The index of the TensorFlow checkpoint that a directory of several says is its latest."""
    try:
        text = (directory / "checkpoint").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    named = [line.partition(":")[2].strip().strip('"') for line in text.splitlines() if line.startswith("model_check")]
    return directory / f"{Path(named[0]).name}.index" if named else None


def _container_of(path: Path) -> Container:
    """By the first bytes of a file, or by its ending where they say nothing, because it is damaged."""
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
    found = next((each for each in CONTAINERS if each.recognizes(path, start)), None)
    if found is None and not path.is_file():
        seen = f"; {path.parent} holds {names_in(path.parent)}" if path.parent.is_dir() else ""
        raise CheckpointNotFoundError(f"{path}: no such file or directory{seen}. {nearest(path)}")
    found = found or next((each for each in CONTAINERS if path.name.endswith(each.endings)), None)
    if found is None:
        raise CheckpointError(
            f"{path}: wanted a checkpoint ({', '.join(each.description for each in CONTAINERS)}), got a file that "
            f"starts with {start!r}."
        )
    return found
