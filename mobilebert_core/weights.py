"""The weights of one model, from the table of weights (`weight_rows.py`) and its configuration.

From the rows come the names and shapes of every format, the orientation of every matrix, the ties, parameter counts and
the checks that nothing is missing or unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .configuration.config import MobileBertConfig
from .configuration.fields import ARCHITECTURE, FOLDED, KEPT, fields_marked
from .heads import HEADS, Head
from .weight_rows import (
    BASE_PREFIX,
    EMBEDDING_ROWS,
    FFN_ROWS,
    HEAD_ROWS,
    KINDS,
    LAYER_ROWS,
    POOLER_ROWS,
    Row,
    query_reads_hidden,
)

# Keras refuses these attribute names on layers; there they take another one.
KERAS_RENAMES = {"input": "input_", "output": "output_"}

# Model Garden keeps the heads of an attention layer apart: (heads, head size) where others store their product.
_TF2_SPLIT_AXES = {"A": ("N", "D")}


@dataclass(frozen=True)
class Weight:
    """One tensor of one model under every name it has.

    Attributes:
        name: as in the PyTorch state dict of that model class (the bare model has no `mobilebert.` prefix).
        full_name: `name` with the prefix, the same for every class.
        shape: in PyTorch's orientation.
        keras: attribute path in the Keras model; None for a tied weight, which has no variable of its own.
        h5: path in a transformers `tf_model.h5` below its root, without ":0"; None for the decoder's bias.
        tf1: name in a Google TF1 checkpoint, None where it has none.
        tf2: path in a Model Garden checkpoint, None where it has none; see `Row`.
        tf2_shape: its shape there, in which an attention layer's heads are an axis of their own.
        transposed: which of "keras", "h5", "tf1" and "tf2" store the transpose.
        tied_to: `full_name` of the weight this one shares its memory with.
        kind: the kind of its module.
        group: the part of the model that comes or stays away as a whole: "pooler" or a key of HEAD_ROWS; None
            for the encoder, which must be there.
    """

    name: str
    full_name: str
    shape: tuple[int, ...]
    keras: str | None
    h5: str | None
    tf1: str | None
    tf2: str | None
    tf2_shape: tuple[int, ...]
    transposed: frozenset[str]
    tied_to: str | None
    kind: str
    group: str | None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def shape_in(self, format: str) -> tuple[int, ...]:
        """The shape as "keras", "h5", "tf1" or "tf2" stores it."""
        if format == "tf2":
            return self.tf2_shape
        return self.shape[::-1] if format in self.transposed else self.shape


def weight_table(config: MobileBertConfig, head: Head, pooler: bool | None = None) -> tuple[Weight, ...]:
    """Every weight of one model class under one configuration, tied ones included, in the order of the model.

    `pooler` overrides whether the pooler is there (`add_pooling_layer`).
    """
    return _cached_table(tuple(_architecture(config)), head, pooler)


def _architecture(config: MobileBertConfig) -> Iterator[tuple[str, Any]]:
    """What of a configuration decides over its weights, hashable."""
    for name in fields_marked(ARCHITECTURE):
        value = getattr(config, name)
        if isinstance(value, dict):
            value = tuple((key, tuple(items)) for key, items in value.items())
        yield name, tuple(value) if isinstance(value, list) else value
    yield "num_labels", config.num_labels  # of the maps of the labels only their length matters


@lru_cache(maxsize=32)
def _cached_table(values: tuple[tuple[str, Any], ...], head: Head, pooler: bool | None) -> tuple[Weight, ...]:
    """A table is asked for several times in every load, and the full model's takes 20 ms."""
    fields = dict(values)
    fields["pruned_heads"] = {layer: list(heads) for layer, heads in fields["pruned_heads"]}
    config = MobileBertConfig(**{**fields, "kept_norms": list(fields["kept_norms"])})
    return build_table(config, head, pooler)


def build_table(config: MobileBertConfig, head: Head, pooler: bool | None = None) -> tuple[Weight, ...]:
    """`weight_table` without its cache, which knows the fields of the architecture alone."""
    weights: list[Weight] = []
    for row in EMBEDDING_ROWS:
        weights += _weights_of(row, config, head, _axes(config))
    for layer in range(config.num_hidden_layers):
        axes = _axes(config, config.heads_of_layer(layer))
        for row in LAYER_ROWS:
            weights += _weights_of(row, config, head, axes, layer=layer)
        for ffn in range(config.num_feedforward_networks - 1):
            for row in FFN_ROWS:
                weights += _weights_of(row, config, head, axes, layer=layer, ffn=ffn)
    if head.pooled if pooler is None else pooler:
        for row in POOLER_ROWS:
            weights += _weights_of(row, config, head, _axes(config), "pooler")
    return (*weights, *_modules_of(config, head))


def head_weights(config: MobileBertConfig, head: Head) -> list[Weight]:
    """The weights of a head beyond encoder and pooler, without those it shares."""
    return [weight for weight in _modules_of(config, head) if weight.tied_to is None]


def _modules_of(config: MobileBertConfig, head: Head) -> list[Weight]:
    axes = _axes(config)
    return [
        weight
        for module in head.modules
        for row in HEAD_ROWS.get(module, ())
        for weight in _weights_of(row, config, head, axes, module)
    ]


def every_weight(config: MobileBertConfig) -> tuple[Weight, ...]:
    """What a file of this configuration may hold: every head, the pooler and a decoder of its own included."""
    whole = config.copy(classifier_activation=True, tie_word_embeddings=False)
    by_name = {weight.full_name: weight for weight in weight_table(whole, HEADS["PreTraining"])}
    for head in HEADS.values():
        for weight in _modules_of(whole, head):
            by_name.setdefault(weight.full_name, weight)
    return tuple(by_name.values())


def parameter_count(weights: tuple[Weight, ...]) -> int:
    """Number of distinct parameters: tied weights count once."""
    return sum(weight.size for weight in weights if weight.tied_to is None)


def feedforward_networks(config: MobileBertConfig, block: str) -> tuple[str, ...]:
    """The modules that hold the feed-forward networks of a block, in their order: the stacked ones, then the block."""
    return (*(f"{block}.ffn.{i}" for i in range(config.num_feedforward_networks - 1)), block)


def keras_path(name: str) -> str:
    """A PyTorch attribute path as the Keras twin spells it."""
    return ".".join(KERAS_RENAMES.get(part, part) for part in name.split("."))


def _axes(config: MobileBertConfig, heads: int | None = None) -> dict[str, int]:
    heads = config.num_attention_heads if heads is None else heads
    width, hidden, embedding = config.true_hidden_size, config.hidden_size, config.embedding_size
    return {
        "V": config.vocab_size, "E": embedding, "H": hidden, "W": width, "F": config.intermediate_size,
        "P": config.max_position_embeddings, "K": config.type_vocab_size, "C": config.num_labels,
        "X": embedding * 3 if config.trigram_input else embedding,
        "Q": hidden if query_reads_hidden(config) else width,
        "U": width if config.use_bottleneck_attention else hidden,
        "A": heads * config.head_size, "N": heads, "D": config.head_size,
        "J": 3 * heads * config.head_size + (width if config.use_bottleneck else 0),
        "R": hidden - embedding,
    }  # fmt: skip


def _size(axis: str, axes: dict[str, int]) -> int:
    """The size of an axis by its letter, or the number that it is."""
    return int(axis) if axis.isdigit() else axes[axis]


def _weights_of(
    row: Row, config: MobileBertConfig, head: Head, axes: dict[str, int], group: str | None = None, **index: int
) -> list[Weight]:
    if not row.when(config):
        return []
    kind = _kind(row, config, row.name.format(**index))
    if kind == FOLDED:
        return []
    norm = "FakeLayerNorm" if kind == "no_norm" else "LayerNorm"
    places = {**index, "block": index.get("layer", config.num_hidden_layers) + 1}
    places["last"] = config.num_feedforward_networks - 1
    found = []
    for leaf in KINDS[kind]:
        full_name = _join(".", row.name.format(**index), leaf.torch)
        leaf_axes = [row.axes[axis] for axis in leaf.axes]
        tf2_axes = leaf_axes[::-1] if "tf2" in leaf.transposed else leaf_axes
        tied_to = None
        if row.tied_to is not None:
            tied_weight, tied_bias = row.tied_to
            tied_to = tied_bias if leaf.torch == "bias" else tied_weight if config.tie_word_embeddings else None
        keras = _join(".", keras_path(row.name.format(**index)), leaf.keras)
        found.append(
            Weight(
                name=full_name.removeprefix(BASE_PREFIX) if head.bare else full_name,
                full_name=full_name,
                shape=tuple(_size(axis, axes) for axis in leaf_axes),
                keras=None if tied_to else keras,
                h5=None if leaf.h5 is None else _join("/", row.h5.format(**index), leaf.h5),
                tf1=None if row.tf1 is None else _join("/", row.tf1.format(norm=norm, **index), leaf.tf1),
                tf2=None if row.tf2 is None else _join("/", row.tf2.format(**places), leaf.tf2),
                tf2_shape=tuple(_size(part, axes) for axis in tf2_axes for part in _TF2_SPLIT_AXES.get(axis, (axis,))),
                transposed=leaf.transposed,
                tied_to=tied_to,
                kind=kind,
                group=group,
            )
        )
    return found


def _kind(row: Row, config: MobileBertConfig, name: str) -> str:
    """What the kind of a row is under a configuration; FOLDED for a norm that is not there."""
    if row.kind == "joined":
        return "matrix" if config.folding in ("block", "all") else "linear"
    if row.kind != "norm":
        return row.kind
    kind = config.norm_at(name.removeprefix(BASE_PREFIX).removesuffix(".LayerNorm"))
    return "no_norm" if kind == KEPT else kind


def _join(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)
