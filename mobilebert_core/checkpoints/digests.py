"""SHA-256 digests of what a model and its tokenizer are made of: they tell whether both are still what they were."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import CheckpointError
from ..files import TOKENIZER_FILES, sha256, tokenizer_place
from ..hub.resolve import resolve
from ..saves import current
from .configurations import MODEL_GARDEN_FILE
from .opening import open_checkpoint


def model_digests(name_or_path: str | os.PathLike[str]) -> dict[str, str]:
    """Digest by file name, of the weights of a checkpoint and its configuration.

    Of a checkpoint in no known format, such as an exported one, of every file in its directory. Empty where there is
    none: loading it says why.

    Raises:
        CheckpointNotFoundError: for a name that the hub does not give out, as `resolve`.
    """
    place = resolve(name_or_path, config=True, weights=True)
    try:
        checkpoint = open_checkpoint(place)
    except CheckpointError:
        return _digests(sorted(place.iterdir()) if place.is_dir() else [place])
    config = checkpoint.config_file.path
    if config.is_file():
        return _digests([*checkpoint.parts, config])
    folder = config.parent
    return _digests([*checkpoint.parts, *sorted(folder.glob("*.json")), folder / MODEL_GARDEN_FILE])


def tokenizer_digests(name_or_path: str | os.PathLike[str]) -> dict[str, str]:
    """Digest by file name, of the files of a tokenizer, as `from_pretrained` finds them; empty where there are none.

    Raises:
        CheckpointNotFoundError: for a name that the hub does not give out, as `resolve`.
    """
    place = tokenizer_place(resolve(name_or_path, tokenizer=True))
    places = [place / name for name in TOKENIZER_FILES] if place.is_dir() else [place]
    return _digests([current(each) for each in places])


def _digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: sha256(path) for path in paths if path.is_file()}


def changed_files(before: object, now: dict[str, str]) -> list[str]:
    """What is said of each file whose digest is another now, or that was not there or is not there."""
    earlier = before if isinstance(before, dict) else {}
    said = {(True, True): "has changed", (True, False): "is gone", (False, True): "is new"}
    return [
        f"{name} {said[name in earlier, name in now]}"
        for name in sorted({*earlier, *now}, key=str)
        if earlier.get(name) != now.get(name)
    ]
