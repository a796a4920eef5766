"""Where a training's rows come from: files read into memory, or shards that are made once and mapped."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mobilebert_core.card_text import data_name
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.datasets.arrow_files import PARQUET
from mobilebert_core.datasets.examples import BadRows, Examples, ReadOptions, TextExample, WordsExample
from mobilebert_core.datasets.reading import splits
from mobilebert_core.datasets.sources import Source, ending
from mobilebert_core.errors import ConfigError, DataError
from mobilebert_core.files import sha256
from mobilebert_core.places import check_directory
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.text.tokenizer_settings import WORDPIECE_DEFAULTS
from mobilebert_core.training.ranks import Ranks
from mobilebert_core.training.shards import SHARDS_FILE, RowsBut, ShardedRows, made_from_same, write_shards
from mobilebert_core.training.tasks.masked_language import FillMaskTraining
from mobilebert_core.training.tasks.training_task import Features, TrainingTask

STREAMED_FROM = 256 << 20  # bytes of training files, unpacked, from which on rows are kept in shards
LABELLED_STREAMED_FROM = 32 << 20  # where texts may be short: a row in memory takes 700 bytes whatever its length
_UNPACKED = 4  # times as large as packed files are, at a guess
_LABELS_KEPT = 100_000  # different ones that are looked at; a data set with more is one of numbers
_OF_MASKS = ("mask_share", "whole_words")  # options that decide no rows: masks are drawn anew at every reading
_MESSAGES_KEPT = 1000  # about rows that were left out


@dataclass(frozen=True)
class TrainingData:
    """The files of a training.

    Attributes:
        name: what the data are called.
        files: by split; of "train" there may be several, in the order in which they are read.
        shards: the directory of the training rows; None where they are in memory.
        held_out: of so many training rows in shards one is kept for evaluation; 0 keeps none.

    Raises:
        ConfigError: for a `held_out` that leaves no rows to train on.
        DataError: for a file to evaluate on that cannot be read, before others are.
    """

    kind: type[TrainingTask]
    read: ReadOptions
    name: str
    files: dict[str, list[Path]]
    shards: Path | None = None
    held_out: int = 0

    def __post_init__(self) -> None:
        if self.held_out == 1 or self.held_out < 0:
            raise ConfigError(f"held_out must be 0 or at least 2, got {self.held_out}: rows to train on must be left.")
        for path in self.files.get("dev", []):
            self.kind.reader.check(self.kind.name, path, self.read)

    @classmethod
    def find(
        cls,
        kind: type[TrainingTask],
        read: ReadOptions,
        data: Path | Sequence[str | Path],
        dev: Path | None,
        shards: Path | None,
        beside: Path,
        held_out: int,
        in_memory: bool = False,
    ) -> TrainingData:
        """The files that are meant: of one path as `splits` finds them, of several, or of a pattern, all.

        Args:
            beside: what the directory of shards is named after where none is named and the files are large.
            in_memory: keeps the rows in memory, however large or many the files.

        Raises:
            DataError: when there are none.
        """
        if isinstance(data, Path):
            found = {name: [path] for name, path in splits(data, kind.reader.endings).items()}
        else:
            found = {"train": _matching(data, kind.reader.endings)}
        if dev is not None:
            found["dev"] = [dev]
        limit = LABELLED_STREAMED_FROM if kind.names_labels else STREAMED_FROM
        large = sum(map(_unpacked_size, found["train"])) >= limit
        if shards is None and not in_memory and (large or not isinstance(data, Path)):
            shards = _beside(beside)
        _check_place(shards, beside)
        return cls(kind, read, data_name(data), found, shards, 0 if "dev" in found else held_out)

    @classmethod
    def of_text(
        cls,
        kind: type[FillMaskTraining],
        read: ReadOptions,
        data: Path | Sequence[str | Path],
        dev: Path | None,
        shards: Path | None,
        beside: Path,
        held_out: int,
    ) -> TrainingData:
        """Text in shards, whatever its size. A directory with train.* has splits, of another all files are read.

        Raises:
            DataError: when there is none.
        """
        files: dict[str, list[Path]] = {}
        data = [data] if isinstance(data, Path) else data
        for place in map(Path, data):
            if place.is_dir() and any(place.glob("train.*")):
                for name, path in splits(place, kind.reader.endings).items():
                    if name != "test":
                        files.setdefault(name, []).append(path)
            else:
                files.setdefault("train", []).extend(_matching([place], kind.reader.endings))
        if dev is not None:
            files["dev"] = [dev]
        _check_place(shards, beside)
        return cls(kind, read, data_name(data), files, shards or _beside(beside), 0 if "dev" in files else held_out)

    def settings(self) -> dict[str, Any]:
        """What decides the numbers: the digests of the files, and whether rows are read in blocks."""
        digests = {n: [{"file": p.name, "sha256": sha256(p)} for p in paths] for n, paths in self.files.items()}
        data: dict[str, Any] = {n: found[0] if len(found) == 1 else found for n, found in digests.items()}
        if self.shards is None:
            return {"data": data}
        return {"data": data, "shards": True, "held_out": self.held_out}

    def examples(self) -> dict[str, Examples]:
        """The examples of each split; of a split in shards one for each label, by which the model is made."""
        found = {name: self._whole(paths) for name, paths in self.files.items() if name != "train"}
        if self.shards is None:
            return {"train": self._whole(self.files["train"]), **found}
        for path in self.files["train"]:
            self.kind.reader.check(self.kind.name, path, self.read)
        if not self.kind.names_labels:
            return {"train": Examples([], path=Path(self.name), options=self.read), **found}
        bad = BadRows(Path(self.name), self.read.skip_bad_rows)
        items = list(_one_of_each_label(self._items(bad)))
        return {"train": Examples(items, bad.messages[:_MESSAGES_KEPT], Path(self.name), self.read), **found}

    def _whole(self, paths: list[Path]) -> Examples:
        """What is in one file, or in several as if they were one; a document ends where a file ends."""
        each = [self.kind.read(path, self.read) for path in paths]
        if len(each) == 1:
            return each[0]
        end = [""] if issubclass(self.kind, FillMaskTraining) else []
        items = [item for found in each for item in (*found.items, *end)]
        return Examples(items, [message for found in each for message in found.skipped], Path(self.name), self.read)

    def features(
        self, task: TrainingTask, examples: Mapping[str, Examples], settings: Mapping[str, Any], ranks: Ranks
    ) -> dict[str, Features]:
        """The rows of each split.

        Args:
            settings: of the training, of which some decide the rows in shards.
        """
        if self.shards is None:
            found = {name: task.features(each) for name, each in examples.items()}
            return self._not_held_out(found, "are in memory, of which none is held out")
        folder, made_from = self.shards, self._made_from(task, settings)
        ranks.first(lambda: self._write(folder, task, made_from))
        rows = ShardedRows(folder, task.row, check=ranks.rank == 0)
        whole = Features(rows, rows.about.get("notes", []), rows.about.get("skipped", []))
        others = {name: task.features(found) for name, found in examples.items() if name != "train"}
        if not self.held_out or len(rows) < 2 * self.held_out:
            return self._not_held_out({"train": whole, **others}, f"are too few to hold out one of {self.held_out}")
        train, dev = (RowsBut(rows, self.held_out, held_out) for held_out in (False, True))
        return {"train": dataclasses.replace(whole, rows=train), "dev": Features(dev), **others}

    def _not_held_out(self, features: dict[str, Features], why: str) -> dict[str, Features]:
        """The rows of each split, with a note where some were to be held out."""
        if not self.held_out:
            return features
        train = features["train"]
        note = f"{len(train.rows):,} rows {why}; nothing is evaluated"
        return {**features, "train": dataclasses.replace(train, notes=[*train.notes, note])}

    def _made_from(self, task: TrainingTask, settings: Mapping[str, Any]) -> dict[str, Any]:
        config: MobileBertConfig | None = getattr(task, "config", None)
        return {
            "task": self.kind.name,
            "data": settings["data"]["train"],
            "tokenizer": _digest(task.tokenizer),
            "read": settings["read"],
            "options": {n: v for n, v in settings["options"].items() if n not in _OF_MASKS},
            "max_length": task.row_limit,
            "labels": None if config is None else [config.id2label, config.problem_type],
            "seed": settings["recipe"]["seed"] if self.kind.random_rows else None,
        }

    def _write(self, folder: Path, task: TrainingTask, made_from: Mapping[str, Any]) -> None:
        if made_from_same(folder, made_from):
            return
        notes: list[str] = []
        about = Examples([], path=Path(self.name), options=self.read)
        bad = BadRows(Path(self.name), self.read.skip_bad_rows, about.skipped)
        with tqdm(self._items(bad), desc="tokenize", unit=" texts", disable=None, file=sys.stderr) as items:
            parts = task.stream(items, about, notes)
            write_shards(folder, parts, made_from, lambda: {"notes": notes, "skipped": about.skipped[:_MESSAGES_KEPT]})

    def _items(self, bad: BadRows) -> Iterator[Any]:
        """What is in the training files, one by one. A file ends a document."""
        for number, path in enumerate(self.files["train"]):
            bad.path = path
            if number and issubclass(self.kind, FillMaskTraining):
                yield ""
            yield from self.kind.reader.items(Source.of(path), self.read, bad)


def _digest(tokenizer: TokenizerBase) -> str:
    """SHA-256 of all that decides which tokens a text has: the same of a vocab.txt and of a directory made from it."""
    splitting = {name: value for name, value in tokenizer.init_kwargs.items() if name in WORDPIECE_DEFAULTS}
    added = {number: token.as_dict() for number, token in tokenizer.added_tokens_decoder.items()}
    decides = [tokenizer.get_vocab(), splitting, added, type(tokenizer).__name__]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def _unpacked_size(path: Path) -> int:
    size = path.stat().st_size
    return size * _UNPACKED if Source.of(path).packed or ending(path) in PARQUET else size


def _one_of_each_label(items: Iterable[TextExample | WordsExample]) -> Iterator[TextExample | WordsExample]:
    """Examples that hold every label, and one with a list of labels where any has one."""
    seen: set[Any] = set()
    for item in items:
        if isinstance(item, WordsExample):
            labels: set[Any] = {*item.tags}
        else:
            labels = {item.label} if isinstance(item.label, str) else {*item.label, None}
        if not labels <= seen and len(seen) < _LABELS_KEPT:
            seen |= labels
            yield item


def _beside(output: Path) -> Path:
    """Where the rows of a training lie, unless it says otherwise; `.` and `..` are called what they are called."""
    place = Path(os.path.abspath(output)) if output.name in ("", "..") else output
    return place.parent / f"{place.name}.shards"


def _check_place(shards: Path | None, output: Path) -> None:
    """Raises ConfigError where no shards can be: new ones not in the directory of the model, which must be empty."""
    if shards is None or (shards / SHARDS_FILE).is_file():
        return
    check_directory(shards, "--shards")
    if output.resolve() in (shards.resolve(), *shards.resolve().parents):
        raise ConfigError(f"{shards}: wanted a directory for rows that is not in {output}. Choose another --shards.")


def _matching(patterns: Iterable[str | Path], endings: Iterable[str]) -> list[Path]:
    """The files that paths, directories and patterns mean, each once, in order.

    Raises:
        DataError: for one that means none.
    """
    found: list[Path] = []
    known = set(endings)
    for pattern in patterns:
        place = Path(pattern)
        if place.is_dir():
            some = sorted(path for path in place.iterdir() if path.is_file() and ending(path) in known)
            some = [path for path in some if not path.name.upper().startswith("README")]
        else:
            some = [place] if place.is_file() else sorted(_files_of(str(pattern)))
        for path in some:
            if ending(path) not in known:
                raise DataError(f"{path}: wanted a file ending in {', '.join(endings)}, also .gz or .xz.")
        if not some:
            raise DataError(f"{pattern}: wanted files of text, a directory or a pattern that means some, got none.")
        found += some
    return list(dict.fromkeys(found))


def _files_of(pattern: str) -> list[Path]:
    return [path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file()]


def rows_said(
    examples: Mapping[str, Examples], features: Mapping[str, Features], more: Iterable[str]
) -> dict[str, Any]:
    """What there is to say about the rows of each file: their number, what was done to texts, and what was left out.

    The notes on texts come before the others.
    """
    skipped = [message for name in examples for message in (*examples[name].skipped, *features[name].skipped)]
    return {
        "rows": {name: len(found.rows) for name, found in features.items()},
        "notes": [f"{name}: {note}" for name, found in features.items() for note in found.notes] + [*more],
        "skipped": list(dict.fromkeys(skipped)),
    }


def check_alone(ranks: Ranks, shards: Path | None) -> None:
    """Raises ConfigError where a teacher's training would have several processes, or rows that are not in memory."""
    if ranks.count > 1:
        raise ConfigError(
            f"train: with a teacher wanted one process, got {ranks.count}. Start the command once, without a launcher."
        )
    if shards is not None:
        raise ConfigError(f"train: with a teacher wanted rows in memory, got --shards {shards}. Leave it out.")


def check_segments(config: MobileBertConfig, features: Mapping[str, Any]) -> None:
    """Raises ConfigError for rows with a second text and a model that knows only first ones."""
    if config.type_vocab_size < 2:
        for found in features.values():
            pairs = getattr(found.rows, "pairs", True)  # rows in shards know it without being read
            for row in found.rows if pairs else ():
                types = row.token_type_ids
                if any(1 in choice for choice in types) if isinstance(types[0], list) else 1 in types:
                    raise ConfigError(
                        f"the rows hold pairs of texts, wanted a model with type_vocab_size of at least 2, got "
                        f"{config.type_vocab_size}. Choose another model, or leave the second text out."
                    )
