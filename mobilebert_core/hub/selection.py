"""Which files of a repository a checkpoint needs, where it holds the same weights in several formats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import CheckpointError
from ..files import TENSORFLOW_1_INDEX, TOKENIZER_FILES, WEIGHT_FILES, is_index, variant_name, weight_map

if TYPE_CHECKING:
    from .repository import Repository


def find_weights(repository: Repository, variant: str | None = None) -> None:
    """Fetches the first of WEIGHT_FILES that there is, with its shards, or else the checkpoint of TensorFlow 1.

    Raises:
        CheckpointNotFoundError: when there are no weights, or a file of them is missing.
        CheckpointError: for shards outside of the repository, or several checkpoints of TensorFlow 1.
    """
    for name in (variant_name(file, variant) for file in WEIGHT_FILES):
        if repository.find(name):
            shards = weight_map(repository.folder / name).values() if is_index(name) else ()
            for file in dict.fromkeys(shards):
                if not repository.find(file):
                    raise repository.lacking(f"{file}, which {name} names")
            return
    if variant:
        raise repository.lacking(
            f"weights of the variant {variant!r}, such as {variant_name(WEIGHT_FILES[0], variant)}"
        )
    names = repository.names()
    checkpoints = _google_checkpoints(names)
    if not checkpoints:
        raise repository.lacking(f"weights ({', '.join(WEIGHT_FILES)} or a checkpoint of TensorFlow 1)")
    if len(checkpoints) > 1:
        raise CheckpointError(
            f"{repository}: wanted one checkpoint, the repository has {', '.join(checkpoints)}. Download the one that "
            "you want and pass its path."
        )
    data = re.compile(re.escape(checkpoints[0]) + r"\.data-\d{5}-of-\d{5}")
    for file in (f"{checkpoints[0]}.index", *filter(data.fullmatch, names)):
        if not repository.find(file):
            raise repository.lacking(file)


def find_google_jsons(repository: Repository) -> bool:
    """Fetches what may be the configuration of a TensorFlow 1 checkpoint; False where other weights come first."""
    names = repository.names()
    if not _google_checkpoints(names) or not set(WEIGHT_FILES).isdisjoint(names):
        return False
    for name in names:
        if name.endswith(".json") and "/" not in name and name not in TOKENIZER_FILES:
            repository.find(name)
    return True


def _google_checkpoints(names: list[str]) -> list[str]:
    return [found[1] for name in names if (found := TENSORFLOW_1_INDEX.fullmatch(name))]
