"""What a checkpoint is, read from its bytes: format, architecture, heads, size, dtypes, ties, and anything odd."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.detect_heads import detect_heads
from mobilebert_core.checkpoints.opening import Checkpoint, open_checkpoint
from mobilebert_core.checkpoints.plan import DECODER, DECODER_BIAS, PREDICTIONS_BIAS, WORDS
from mobilebert_core.checkpoints.tensor_info import MappedCheckpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ARCHITECTURE, ARITHMETIC, DTYPES, fields_marked
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.errors import CheckpointNotFoundError, ConfigError
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.weights import every_weight, weight_table

from .provenance import changed_files, said_of

# Larger than any published MobileBERT, so that every name of a file without configuration is known.
_LAYERS, _NETWORKS = 48, 8
_LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass
class Inspection:
    """See `inspect_checkpoint`."""

    path: str
    format: str
    files: dict[str, int | None]
    config_source: str = ""
    preset: str = ""
    differences: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    parameters: int = 0
    encoder_parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    ties: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def inspect_checkpoint(path: str | Path, config: MobileBertConfig | str | Path | None = None) -> Inspection:
    """Says what a checkpoint is, from its files alone; no framework is loaded, no model built.

    What is odd about it is listed, not raised: weights that are missing, unknown, mis-shaped, or not finite.

    Raises:
        CheckpointNotFoundError: when there is none.
        CheckpointError: when it cannot be opened: damaged, or no format of MobileBERT.
    """
    checkpoint = open_checkpoint(_fetched(path, config is None))
    sizes = {p.name: p.stat().st_size if p.is_file() else None for p in checkpoint.parts}
    found = Inspection(str(path), checkpoint.description, sizes)
    absent = [name for name, size in sizes.items() if size is None]
    described, file = _described(checkpoint, config, found)
    found.architecture = {name: getattr(described, name) for name in fields_marked(ARCHITECTURE, ARITHMETIC)}
    found.preset, found.differences = _nearest(found.architecture)
    held = detect_heads(file, described)
    found.heads = [head.name for head in held]
    found.dtypes = dict(Counter(stored.dtype for stored in file.stored.values()).most_common())
    found.dropped = dict(Counter(file.dropped.values()))
    _count(found, file, described)
    _fit(found, file, described)
    found.odd += said_of(changed_files(checkpoint))
    if absent:
        found.odd.append(f"not there: {', '.join(absent)}; the numbers were not looked at")
        return found
    _ties(found, file, described)
    _values(found, file)
    return found


def _fetched(path: str | Path, config: bool) -> Path:
    """A path, or what the hub has under a name, with its configuration if there is one."""
    try:
        return resolve(path, config=config, weights=True)
    except CheckpointNotFoundError:
        return resolve(path, weights=True)


def _described(
    checkpoint: Checkpoint, passed: MobileBertConfig | str | Path | None, found: Inspection
) -> tuple[MobileBertConfig, MappedCheckpoint]:
    try:
        described = checkpoint.config(passed)
    except (CheckpointNotFoundError, ConfigError) as e:
        if isinstance(passed, str | Path):  # a file that was named is not passed over
            raise
        if not isinstance(e, CheckpointNotFoundError):
            found.odd.append(f"configuration: {e}")
        described = sizes_in(checkpoint)
        found.config_source = "read off the shapes; hidden_act, num_attention_heads and norms are assumed"
    else:
        found.config_source = "passed" if passed is not None else "found with the checkpoint"
    return described, checkpoint.weights(described)


def sizes_in(checkpoint: Checkpoint) -> MobileBertConfig:
    """A configuration with the sizes that a checkpoint's shapes show; what they do not show is at its default."""
    probe = MobileBertConfig(num_hidden_layers=_LAYERS, num_feedforward_networks=_NETWORKS)
    stored = {
        name: found.shape
        for layout in (probe, probe.copy(normalization_type="layer_norm"))
        for name, found in checkpoint.format.naming.names(checkpoint.file, every_weight(layout), layout).stored.items()
    }
    layer, embeddings = "mobilebert.encoder.layer.0.", "mobilebert.embeddings."

    def shape(name: str) -> tuple[int, int] | None:
        found = stored.get(name)
        return None if found is None or len(found) != 2 else (found[0], found[1])

    words, positions = shape(WORDS), shape(f"{embeddings}position_embeddings.weight")
    types, width = shape(f"{embeddings}token_type_embeddings.weight"), shape(f"{layer}attention.output.dense.weight")
    transform, inner = shape(f"{embeddings}embedding_transformation.weight"), shape(f"{layer}intermediate.dense.weight")
    bottleneck = f"{layer}bottleneck.input.dense.weight" in stored
    value = shape(f"{layer}attention.self.value.weight")
    labels = shape("classifier.weight")
    sizes: dict[str, Any] = {
        "num_hidden_layers": sum(f"mobilebert.encoder.layer.{n}.output.dense.weight" in stored for n in range(_LAYERS)),
        "num_feedforward_networks": 1 + sum(f"{layer}ffn.{n}.output.dense.weight" in stored for n in range(_NETWORKS)),
        "use_bottleneck": bottleneck,
        "classifier_activation": "mobilebert.pooler.dense.weight" in stored,
    }
    if words:
        sizes |= {"vocab_size": words[0], "embedding_size": words[1]}
    if words and transform:
        sizes["trigram_input"] = transform[1] == 3 * words[1]
    if positions:
        sizes |= {"max_position_embeddings": positions[0], "hidden_size": positions[1]}
    if types:
        sizes["type_vocab_size"] = types[0]
    if inner:
        sizes["intermediate_size"] = inner[0]
    if width and bottleneck:
        sizes["intra_bottleneck_size"] = width[0]
        sizes["key_query_shared_bottleneck"] = f"{layer}bottleneck.attention.dense.weight" in stored
    if value and width and positions:
        sizes["use_bottleneck_attention"] = bottleneck and value[1] == width[0] != positions[1]
    if labels:
        sizes["num_labels"] = labels[0]
    return MobileBertConfig(**sizes)


def _nearest(architecture: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset from which an architecture differs least, and the fields in which it does."""
    differences = {}
    for name in PRESETS:
        preset = MobileBertConfig.from_preset(name)
        differences[name] = {f: v for f, v in architecture.items() if getattr(preset, f) != v}
    nearest = min(differences, key=lambda name: len(differences[name]))
    return nearest, differences[nearest]


def _count(found: Inspection, file: MappedCheckpoint, config: MobileBertConfig) -> None:
    unknown = set(file.unknown)
    known = [n for n in file.stored if n not in unknown]
    aliases = {DECODER} if config.tie_word_embeddings and WORDS in file.stored else set()
    aliases |= {DECODER_BIAS} if PREDICTIONS_BIAS in file.stored else set()
    sizes = {n: int(np.prod(file.stored[n].shape, dtype=np.int64)) for n in known if n not in aliases}
    found.parameters = sum(sizes.values())
    encoder = ("mobilebert.embeddings.", "mobilebert.encoder.")
    found.encoder_parameters = sum(size for name, size in sizes.items() if name.startswith(encoder))


def _ties(found: Inspection, file: MappedCheckpoint, config: MobileBertConfig) -> None:
    for alias, original, what in (
        (DECODER, WORDS, "decoder and word embeddings"),
        (PREDICTIONS_BIAS, DECODER_BIAS, "the two names of the decoder's bias"),
    ):
        if alias in file.stored and original in file.stored:
            equal = np.array_equal(file.raw(alias), file.raw(original))
            found.ties.append(f"{what}: stored twice, {'equal' if equal else 'different'}")
            if not equal and config.tie_word_embeddings:
                found.odd.append(f"{what} differ, but the configuration ties them")
        elif original in file.stored and PREDICTIONS_BIAS in file.stored and alias == DECODER:
            found.ties.append(f"{what}: one, stored once")


def _fit(found: Inspection, file: MappedCheckpoint, config: MobileBertConfig) -> None:
    head = detect_heads(file, config)[0]
    table = [w for w in weight_table(config, head) if w.tied_to is None]
    missing = [w.full_name for w in table if w.full_name not in file.stored]
    shapes = [
        f"{w.full_name} {file.stored[w.full_name].shape}, wanted {w.shape}"
        for w in table
        if w.full_name in file.stored and file.stored[w.full_name].shape != w.shape
    ]
    for names, what in ((missing, "missing"), (file.unknown, "unknown"), (shapes, "of another shape")):
        if names:
            found.odd.append(f"{len(names)} weights {what}: {_some(names)}")


def _values(found: Inspection, file: MappedCheckpoint) -> None:
    """Looks at every number once: what is not finite, all zero, or beyond float16."""
    broken, zero, large = [], [], []
    for name, stored in file.stored.items():
        if stored.dtype not in DTYPES:
            continue
        array = file.raw(name)
        if not np.isfinite(array).all():
            broken.append(file.places.get(name, name))
        elif array.size and not array.any() and array.ndim == 2:
            zero.append(file.places.get(name, name))
        elif array.size and float(np.abs(array).max()) > _LARGEST_HALF:
            large.append(file.places.get(name, name))
    for names, what in (
        (broken, "hold NaN or infinity"), (zero, "matrices are all 0"), (large, "hold values beyond float16"),
    ):  # fmt: skip
        if names:
            found.odd.append(f"{len(names)} {what}: {_some(names)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f", ... and {len(names) - 6} more" if len(names) > 6 else "")
