"""The table of weights: every module of MobileBERT once, under each of its names.

One row is one module: a dense layer, a norm or a table. Its leaves follow from its kind. `weights.py` makes of the rows
the weights of one model; both directions of a conversion read the same rows.

Axes: V vocabulary, E embedding, H hidden, W width inside a block, F feed-forward, P positions, K segment
types, C labels, A attention heads * head size (of that layer, after pruning; N heads, D head size), X what the
embeddings give (3E with trigrams), Q what query and key read, U what the value reads, J residual, query, key and value
side by side, R = H - E, a number itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .configuration.config import MobileBertConfig

BASE_PREFIX = "mobilebert."  # of the names of everything but the heads

Condition = Callable[[MobileBertConfig], bool]


@dataclass(frozen=True)
class Leaf:
    """One tensor of a module under the name each format gives it, and where it lies transposed.

    The reference orientation is PyTorch's: a dense weight is (out, in).
    """

    torch: str
    keras: str
    h5: str | None
    tf1: str
    tf2: str
    axes: tuple[int, ...]  # which of the row's axes, in PyTorch's order
    transposed: frozenset[str] = frozenset()  # formats that store the other orientation


def _leaf(torch: str, keras: str, h5: str | None, tf1: str, tf2: str, axes: tuple[int, ...], *transposed: str) -> Leaf:
    return Leaf(torch, keras, h5, tf1, tf2, axes, frozenset(transposed))


# A row's axes are (in, out) for dense layers, (rows, width) for tables, (width,) for norms and vectors.
KINDS: dict[str, tuple[Leaf, ...]] = {
    "linear": (
        _leaf("weight", "kernel", "kernel", "kernel", "kernel", (1, 0), "keras", "h5", "tf1", "tf2"),
        _leaf("bias", "bias", "bias", "bias", "bias", (1,)),
    ),
    "matrix": (_leaf("weight", "kernel", "kernel", "kernel", "kernel", (1, 0), "keras", "h5", "tf1", "tf2"),),
    # A classifier of the TF1 code: its weight was created by hand, already (out, in).
    "classifier": (
        _leaf("weight", "kernel", "kernel", "output_weights", "kernel", (1, 0), "keras", "h5", "tf2"),
        _leaf("bias", "bias", "bias", "output_bias", "bias", (1,)),
    ),
    "no_norm": (
        _leaf("bias", "beta", "bias", "beta", "beta", (0,)),
        _leaf("weight", "gamma", "weight", "gamma", "gamma", (0,)),
    ),
    "layer_norm": (
        _leaf("weight", "gamma", "gamma", "gamma", "gamma", (0,)),
        _leaf("bias", "beta", "beta", "beta", "beta", (0,)),
    ),
    "word_table": (_leaf("weight", "embeddings", "weight", "", "embeddings", (0, 1)),),
    "table": (_leaf("weight", "embeddings", "embeddings", "", "embeddings", (0, 1)),),
    # What a residual is multiplied by before a dense layer's output is added.
    "gain": (_leaf("weight", "gamma", "weight", "gamma", "gamma", (0,)),),
    "vector": (_leaf("", "", "", "", "", (0,)),),
    # Powers of two by which what is stored is smaller than the states of the trained model.
    "exponents": (_leaf("exponent", "exponent", "exponent", "exponent", "exponent", (0,)),),
    # The part of the output matrix that the word embeddings do not supply: (H - E, V), used as it lies.
    "extra_output": (_leaf("weight", "kernel", "weight", "", "", (0, 1), "tf1", "tf2"),),
    "decoder": (
        _leaf("weight", "embeddings", "weight", "", "", (0, 1)),
        _leaf("bias", "bias", None, "", "", (0,)),
    ),
}


def _always(config: MobileBertConfig) -> bool:
    return True


@dataclass(frozen=True)
class Row:
    """One module. Names may hold `{layer}` and `{ffn}`; `tf1` and `tf2` are None where that code does not store it.

    `kind` "norm" stands for what `normalization_type` says; the TF1 scope of a norm is FakeLayerNorm for
    no_norm and LayerNorm for layer_norm, written `{norm}`. A folded model has only the norms it keeps, or gains.

    `kind` "joined" is a dense layer whose output joins a residual: "linear", or "matrix" in a model folded by "block"
    or "all", where the norm after it or the next reader has taken its bias.

    `tf2` is a path through the objects of a Model Garden checkpoint, from one of its parts on ("encoder",
    "masked_lm", ...). `{block}` counts what the encoder stacks on the embeddings: layers from 1, then the pooler.
    `{last}` is the last feed-forward network, which is numbered there like the others.
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    h5: str
    tf1: str | None
    tf2: str | None
    when: Condition = _always
    tied_to: tuple[str, str] | None = None  # (weight, bias) that this module shares, by PyTorch name


def joint_projection(config: MobileBertConfig) -> bool:
    """True where one dense layer reads the block's input for residual, query, key and value: all norms folded."""
    return config.folding == "all"


def scaled_by_powers(config: MobileBertConfig) -> bool:
    """True where states are stored divided by powers of two, which half precision holds."""
    return config.folding == "half"


def _separate(config: MobileBertConfig) -> bool:
    return not joint_projection(config)


def _bottleneck(config: MobileBertConfig) -> bool:
    return config.use_bottleneck


def _bottleneck_input(config: MobileBertConfig) -> bool:
    return config.use_bottleneck and not joint_projection(config)


def _shared_bottleneck(config: MobileBertConfig) -> bool:
    return _bottleneck_input(config) and config.key_query_shared_bottleneck


def query_reads_hidden(config: MobileBertConfig) -> bool:
    """True where query and key read the block input (H), not a bottleneck (W): the IB-BERT teacher."""
    return config.use_bottleneck and not config.use_bottleneck_attention and not config.key_query_shared_bottleneck


_E, _H5E, _TF1E = "mobilebert.embeddings.", "mobilebert/embeddings/", "bert/embeddings/"
_TF2E = "encoder/layer_with_weights-0/"

EMBEDDING_ROWS = (
    Row(
        f"{_E}word_embeddings", "word_table", ("V", "E"),
        f"{_H5E}word_embeddings", f"{_TF1E}word_embeddings", f"{_TF2E}word_embedding",
    ),
    Row(
        f"{_E}position_embeddings", "table", ("P", "H"),
        f"{_H5E}position_embeddings", f"{_TF1E}position_embeddings", f"{_TF2E}pos_embedding",
    ),
    Row(
        f"{_E}token_type_embeddings", "table", ("K", "H"),
        f"{_H5E}token_type_embeddings", f"{_TF1E}token_type_embeddings", f"{_TF2E}type_embedding",
    ),
    Row(
        f"{_E}embedding_transformation", "linear", ("X", "H"),
        f"{_H5E}embedding_transformation", f"{_TF1E}embedding_transformation", f"{_TF2E}word_embedding_proj",
    ),
    Row(f"{_E}LayerNorm", "norm", ("H",), f"{_H5E}LayerNorm", f"{_TF1E}{{norm}}", f"{_TF2E}layer_norm"),
    # In the same scaling, what gives states their units back, here and in each layer; the encoder's is for heads.
    Row(f"{_E}state", "exponents", ("H",), f"{_H5E}state", f"{_TF1E}state", None, scaled_by_powers),
    Row(
        "mobilebert.encoder.state", "exponents", ("H",),
        "mobilebert/encoder/state", "bert/encoder/state", None, scaled_by_powers,
    ),
)  # fmt: skip

# Inside a layer the h5, TF1 and TF2 names are relative to the prefixes below.
_LAYER_PREFIXES = (
    "mobilebert.encoder.layer.{layer}.",
    "mobilebert/encoder/layer_._{layer}/",
    "bert/encoder/layer_{layer}/",
    "encoder/layer_with_weights-{block}/block_layers/",
)
_LAYER = (
    (
        "attention.self.query", "linear", ("Q", "A"),
        "attention/self/query", "attention/self/query", "attention/0/_query_dense", _separate,
    ),
    (
        "attention.self.key", "linear", ("Q", "A"),
        "attention/self/key", "attention/self/key", "attention/0/_key_dense", _separate,
    ),
    (
        "attention.self.value", "linear", ("U", "A"),
        "attention/self/value", "attention/self/value", "attention/0/_value_dense", _separate,
    ),
    (
        "attention.self.projection", "linear", ("H", "J"),
        "attention/self/projection", "attention/self/projection", None, joint_projection,
    ),
    (
        "attention.output.dense", "joined", ("A", "W"),
        "attention/output/dense", "attention/output/dense", "attention/0/_output_dense",
    ),
    (
        "attention.output.LayerNorm", "norm", ("W",),
        "attention/output/LayerNorm", "attention/output/{norm}", "attention/1",
    ),
    ("intermediate.dense", "linear", ("W", "F"), "intermediate/dense", "intermediate/dense", "ffn/{last}/0"),
    ("output.dense", "joined", ("F", "W"), "output/dense", "output/dense", "ffn/{last}/1"),
    ("output.LayerNorm", "norm", ("W",), "output/LayerNorm", "output/{norm}", "ffn/{last}/2"),
    (
        "output.bottleneck.dense", "joined", ("W", "H"),
        "output/bottleneck/dense", "output/bottleneck/dense", "bottleneck_output/0", _bottleneck,
    ),
    (
        "output.bottleneck.LayerNorm", "norm", ("H",),
        "output/bottleneck/LayerNorm", "output/bottleneck/{norm}", "bottleneck_output/2", _bottleneck,
    ),
    (
        "bottleneck.input.dense", "linear", ("H", "W"),
        "bottleneck/input/dense", "bottleneck/input/dense", "bottleneck_input/0", _bottleneck_input,
    ),
    (
        "bottleneck.input.LayerNorm", "norm", ("W",),
        "bottleneck/input/LayerNorm", "bottleneck/input/{norm}", "bottleneck_input/1", _bottleneck_input,
    ),
    (
        "bottleneck.attention.dense", "linear", ("H", "W"),
        "bottleneck/attention/dense", "bottleneck/attention/dense", "kq_shared_bottleneck/0", _shared_bottleneck,
    ),
    (
        "bottleneck.attention.LayerNorm", "norm", ("W",),
        "bottleneck/attention/LayerNorm", "bottleneck/attention/{norm}", "kq_shared_bottleneck/1", _shared_bottleneck,
    ),
    # Where the stream between the blocks is scaled: what gives a state its units back.
    ("state", "no_norm", ("H",), "state", "state", None, joint_projection),
    ("state", "exponents", ("H",), "state", "state", None, scaled_by_powers),
)  # fmt: skip
_FFN = (
    (
        "ffn.{ffn}.intermediate.dense", "linear", ("W", "F"),
        "ffn.{ffn}/intermediate/dense", "ffn_layer_{ffn}/intermediate/dense", "ffn/{ffn}/0",
    ),
    (
        "ffn.{ffn}.output.dense", "joined", ("F", "W"),
        "ffn.{ffn}/output/dense", "ffn_layer_{ffn}/output/dense", "ffn/{ffn}/1",
    ),
    (
        "ffn.{ffn}.output.LayerNorm", "norm", ("W",),
        "ffn.{ffn}/output/LayerNorm", "ffn_layer_{ffn}/output/{norm}", "ffn/{ffn}/2",
    ),
)  # fmt: skip


def _in_layer(
    name: str, kind: str, axes: tuple[str, ...], h5: str, tf1: str, tf2: str | None, when: Condition | None = None
) -> Row:
    torch_prefix, h5_prefix, tf1_prefix, tf2_prefix = _LAYER_PREFIXES
    tf2 = None if tf2 is None else tf2_prefix + tf2
    return Row(torch_prefix + name, kind, axes, h5_prefix + h5, tf1_prefix + tf1, tf2, when or _always)


LAYER_ROWS = tuple(_in_layer(*row) for row in _LAYER)
FFN_ROWS = tuple(_in_layer(*row) for row in _FFN)

POOLER_ROWS = (
    Row(
        "mobilebert.pooler.dense", "linear", ("H", "H"), "mobilebert/pooler/dense", "bert/pooler/dense",
        "encoder/layer_with_weights-{block}", lambda config: config.classifier_activation,
    ),
)  # fmt: skip

_MLM, _H5M, _TF1M = "cls.predictions.", "predictions___cls/predictions/", "cls/predictions/"

HEAD_ROWS: dict[str, tuple[Row, ...]] = {
    "predictions": (
        Row(f"{_MLM}bias", "vector", ("V",), f"{_H5M}bias", f"{_TF1M}output_bias", "masked_lm/bias"),
        Row(
            f"{_MLM}transform.dense", "linear", ("H", "H"),
            f"{_H5M}transform/dense", f"{_TF1M}transform/dense", "masked_lm/dense",
        ),
        Row(
            f"{_MLM}transform.LayerNorm", "layer_norm", ("H",),
            f"{_H5M}transform/LayerNorm", f"{_TF1M}transform/LayerNorm", "masked_lm/layer_norm",
        ),
        Row(
            f"{_MLM}dense", "extra_output", ("R", "V"),
            f"{_H5M}dense", f"{_TF1M}extra_output_weights", "masked_lm/extra_output_weights",
        ),
        Row(
            f"{_MLM}decoder", "decoder", ("V", "E"), f"{_H5M}decoder", None, None,
            tied_to=(f"{_E}word_embeddings.weight", f"{_MLM}bias"),
        ),
    ),
    "seq_relationship": (
        Row(
            "cls.seq_relationship", "classifier", ("H", "2"),
            "seq_relationship___cls/seq_relationship", "cls/seq_relationship", "next_sentence.logits",
        ),
    ),
    "classifier": (Row("classifier", "classifier", ("H", "C"), "classifier", "", "classifier.logits"),),
    "choice_classifier": (Row("classifier", "classifier", ("H", "1"), "classifier", "", None),),
    "qa_outputs": (
        Row("qa_outputs", "classifier", ("H", "C"), "qa_outputs", "cls/squad", "span_labeling/layer_with_weights-0"),
    ),
}  # fmt: skip
