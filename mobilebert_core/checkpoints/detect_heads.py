"""Which heads a checkpoint holds, from the weights in it."""

from __future__ import annotations

from ..configuration.config import MobileBertConfig
from ..errors import CheckpointError
from ..heads import HEADS, Head, heads_named
from ..weights import head_weights
from .tensor_info import MappedCheckpoint


def detect_heads(file: MappedCheckpoint, config: MobileBertConfig) -> list[Head]:
    """The heads of which every weight is there, the fullest first; the bare model comes last.

    Weights alone do not tell three classifiers apart: all of them are returned whose shapes agree.
    """
    found = []
    for head in HEADS.values():
        own = head_weights(config, head)
        if all(w.full_name in file.stored and file.stored[w.full_name].shape == w.shape for w in own):
            found.append(head)
    return sorted(found, key=lambda head: -len(head.modules))


def natural_head(file: MappedCheckpoint, config: MobileBertConfig) -> Head:
    """The head a checkpoint was saved from: what its configuration names, or the one head that uses all of it.

    Raises:
        CheckpointError: when several heads have these weights and the configuration names none of them.
    """
    held = detect_heads(file, config)
    fullest = [head for head in held if _used(head, file, config) == max(_used(h, file, config) for h in held)]
    named = heads_named(config.architectures)
    chosen = [head for head in fullest if head in named]
    if file.layout == "tf1" and not chosen:
        chosen = [head for head in fullest if head.in_google_code]
    chosen = chosen or fullest
    if len(chosen) != 1:
        raise CheckpointError(
            f"{file.path}: its weights fit {', '.join(head.name for head in fullest)}, and its configuration names "
            "none of them. Say which it is (--head, head=)."
        )
    return chosen[0]


def _used(head: Head, file: MappedCheckpoint, config: MobileBertConfig) -> int:
    """How many of the file's weights beyond the encoder a head uses; a head without pooler does not use a pooler."""
    pooler = sum(name.startswith("mobilebert.pooler.") for name in file.stored) if head.pooled else 0
    return pooler + sum(w.full_name in file.stored for w in head_weights(config, head))
