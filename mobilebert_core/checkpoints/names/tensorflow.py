"""Weights that transformers' TensorFlow models saved, read under their PyTorch names and orientation.

They stand in `tf_model.h5`, its shards, and a `model.safetensors` whose metadata says "tf". In each a weight is
`<root>/<path>`, where the root differs from file to file and is sometimes left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...configuration.config import MobileBertConfig
from ...heads import heads_named
from ...weight_rows import HEAD_ROWS
from ...weights import Weight
from ..tensor_info import MappedCheckpoint, WeightFile, by_name

# Releases before 4.0 wrote mlm___cls for predictions___cls.
_OLD_NAMES = {"mlm___cls": "predictions___cls"}
# Where a path begins, whatever stands before it.
_STARTS = {"mobilebert", *_OLD_NAMES, *(row.h5.partition("/")[0] for rows in HEAD_ROWS.values() for row in rows)}


def tensorflow_names(file: WeightFile, weights: Iterable[Weight], config: MobileBertConfig) -> MappedCheckpoint:
    """Maps a file of transformers' TensorFlow models, under any root, to PyTorch's names.

    Models that were only built have no root, and some of their files lack the first part of each path instead. A
    classifier is then only `kernel` and `bias`, and the class that the configuration names says which one it is.
    """
    known = by_name(weights, "h5")
    shortened = _shortened(known, config)
    found = {}
    for name in file.stored:
        path = _below_root(name)
        if weight := known.get(path) or shortened.get(path):
            found[name] = weight
    return MappedCheckpoint(file, "h5", found, {})


def _below_root(name: str) -> str:
    """`<root>/mobilebert/...:0` without root and `:0`."""
    parts = name.removesuffix(":0").split("/")
    # A group of the file is named like the layer inside, so that the last start is the one that counts.
    starts = [i for i, part in enumerate(parts) if part in _STARTS]
    path = parts[starts[-1] :] if starts else parts
    return "/".join(_OLD_NAMES.get(part, part) for part in path)


def _shortened(known: Mapping[str, Weight], config: MobileBertConfig) -> dict[str, Weight]:
    """The weights by their path without its first part, where only one can be meant."""
    modules = {module for head in heads_named(config.architectures) for module in head.modules}
    candidates: dict[str, list[Weight]] = {}
    for path, weight in known.items():
        candidates.setdefault(path.partition("/")[2], []).append(weight)
    return {
        path: chosen[0]
        for path, several in candidates.items()
        if len(chosen := several if len(several) == 1 else [w for w in several if _belongs(w, modules)]) == 1
    }


def _belongs(weight: Weight, modules: set[str]) -> bool:
    """True when a module of a head has this weight. (Both classifiers are called so in their files.)"""
    return any(row.name == weight.full_name.rpartition(".")[0] for module in modules for row in HEAD_ROWS[module])
