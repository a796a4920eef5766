"""The fields of a configuration: their defaults, what each of them decides, and what they may hold."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Activation:
    """One activation function under the name that each code gives it.

    Attributes:
        meaning: the name by which a backend finds its function.
        names: that are read in config.json. The first is the one that stands for another code's name.
        written: the name in config.json for a name that transformers does not know.
        google: in Google's TF1 code; None where that code does not have the function.
        model_garden_head: in the masked-language head of the Model Garden, where it is none of `names`.
        kinked: True where the derivative jumps, so that rounding can change a gradient altogether.
    """

    meaning: str
    names: tuple[str, ...]
    written: str | None = None
    google: str | None = None
    model_garden_head: str | None = None
    kinked: bool = False


ACTIVATION_TABLE = (
    Activation("relu", ("relu",), google="relu", kinked=True),
    Activation("relu6", ("relu6",), google="relu6", kinked=True),
    Activation("gelu", ("gelu",)),
    # What both of Google's codes call gelu here is the approximation by tanh.
    Activation(
        "gelu_tanh",
        ("gelu_new", "gelu_pytorch_tanh", "gelu_tanh"),
        written="gelu_pytorch_tanh",
        google="gelu",
        model_garden_head="gelu",
    ),
    Activation("silu", ("silu", "swish")),
    Activation("tanh", ("tanh",), google="tanh"),
)
# Every name in config.json: what it means to a backend.
ACTIVATIONS = {name: activation.meaning for activation in ACTIVATION_TABLE for name in activation.names}
# Ours alone -> what stands in a file for it.
WRITTEN_ACTIVATIONS = {each.meaning: each.written for each in ACTIVATION_TABLE if each.written is not None}

NORMALIZATION_TYPES = ("no_norm", "layer_norm")
# What may stand at the place of a norm in a folded model: nothing, a NoNorm that is kept, or a gain of the residual.
FOLDED, KEPT, GAIN = "folded", "kept", "gain"
FOLDINGS = ("block", "all", "half")
REGRESSION, SINGLE_LABEL, MULTI_LABEL = "regression", "single_label_classification", "multi_label_classification"
PROBLEM_TYPES = (REGRESSION, SINGLE_LABEL, MULTI_LABEL)
ATTENTION_IMPLEMENTATIONS = ("sdpa", "eager")
DTYPES = ("float64", "float32", "float16", "bfloat16")

# Marks of the fields. What changes the weights and what always stands in a file are two sets: a file always says the
# dropout, and it says pruned heads only where they differ from the default, as transformers writes it. Ties it always
# says, since PEFT takes a configuration without them for one of a model that has none.
ARCHITECTURE = "architecture"  # another value changes the table of weights
ARITHMETIC = "arithmetic"  # another value makes another published architecture of the same weights
ALWAYS_WRITTEN = "always_written"  # stands in config.json at its default as well


def _field(default: Any, *marks: str) -> Any:
    return field(default=default, metadata=dict.fromkeys(marks, True))


@dataclass(init=False, repr=False, eq=False)
class ConfigFields:
    """Every field with its default, in the order of transformers, and what follows from them.

    The maps of the labels change the table of weights as well, by their length alone: `num_labels`.
    """

    vocab_size: int = _field(30522, ARCHITECTURE, ALWAYS_WRITTEN)
    hidden_size: int = _field(512, ARCHITECTURE, ALWAYS_WRITTEN)
    num_hidden_layers: int = _field(24, ARCHITECTURE, ALWAYS_WRITTEN)
    num_attention_heads: int = _field(4, ARCHITECTURE, ALWAYS_WRITTEN)
    intermediate_size: int = _field(512, ARCHITECTURE, ALWAYS_WRITTEN)
    hidden_act: str = _field("relu", ARITHMETIC, ALWAYS_WRITTEN)
    hidden_dropout_prob: float = _field(0.0, ALWAYS_WRITTEN)
    attention_probs_dropout_prob: float = _field(0.1, ALWAYS_WRITTEN)
    max_position_embeddings: int = _field(512, ARCHITECTURE, ALWAYS_WRITTEN)
    type_vocab_size: int = _field(2, ARCHITECTURE, ALWAYS_WRITTEN)
    initializer_range: float = _field(0.02, ALWAYS_WRITTEN)
    layer_norm_eps: float = _field(1e-12, ARITHMETIC, ALWAYS_WRITTEN)
    pad_token_id: int | None = _field(0, ALWAYS_WRITTEN)
    embedding_size: int = _field(128, ARCHITECTURE, ALWAYS_WRITTEN)
    trigram_input: bool = _field(True, ARCHITECTURE, ALWAYS_WRITTEN)
    use_bottleneck: bool = _field(True, ARCHITECTURE, ALWAYS_WRITTEN)
    intra_bottleneck_size: int = _field(128, ARCHITECTURE, ALWAYS_WRITTEN)
    use_bottleneck_attention: bool = _field(False, ARCHITECTURE, ALWAYS_WRITTEN)
    key_query_shared_bottleneck: bool = _field(True, ARCHITECTURE, ALWAYS_WRITTEN)
    num_feedforward_networks: int = _field(4, ARCHITECTURE, ALWAYS_WRITTEN)
    normalization_type: str = _field("no_norm", ARCHITECTURE, ALWAYS_WRITTEN)
    classifier_activation: bool = _field(True, ARCHITECTURE, ALWAYS_WRITTEN)
    classifier_dropout: float | None = _field(None, ALWAYS_WRITTEN)
    tie_word_embeddings: bool = _field(True, ARCHITECTURE, ALWAYS_WRITTEN)
    folding: str | None = _field(None, ARCHITECTURE)  # "block", "all" or "half": mobilebert_core.folding
    kept_norms: list[str] = field(default_factory=list, metadata={ARCHITECTURE: True})  # of a folded model, by module
    padding_invariant: bool = False  # True keeps padding out of the trigram; ours, not in transformers
    mask_value: float | None = None  # added to the scores of masked tokens (None: the lowest number); ours, for exports
    problem_type: str | None = None
    pruned_heads: dict[int, list[int]] = field(default_factory=dict, metadata={ARCHITECTURE: True})
    return_dict: bool = True
    output_hidden_states: bool = False
    output_attentions: bool = False
    torchscript: bool = False  # True makes every output a tuple, which is what `torch.jit.trace` takes
    gradient_checkpointing: bool = False  # True builds models that recompute their blocks in training
    sparse_prediction: bool = False  # True scores words only where a label is, if labels are passed; as in ModernBERT
    architectures: list[str] | None = None
    dtype: str | None = None
    name_or_path: str = ""
    attn_implementation: str | None = None
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None

    @property
    def true_hidden_size(self) -> int:
        """Width inside a block: the bottleneck's, or hidden_size without one. Derived, never stored."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.true_hidden_size // self.num_attention_heads

    @property
    def head_dropout_prob(self) -> float:
        """Dropout before a classifier: classifier_dropout, or hidden_dropout_prob when that is None."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    @property
    def use_return_dict(self) -> bool:
        """Whether outputs are dicts: `return_dict`, but tuples under `torchscript`."""
        return self.return_dict and not self.torchscript

    @property
    def transforms_embeddings(self) -> bool:
        """Whether a dense layer lies between the word embeddings and the first block."""
        return self.trigram_input or self.embedding_size != self.hidden_size

    def norm_at(self, module: str) -> str:
        """What stands at the norm of a module: `normalization_type`, or in a folded model FOLDED, KEPT or GAIN.

        `module` is the PyTorch name inside the bare model: "embeddings", "encoder.layer.3.ffn.0.output". A norm after
        a sum is kept where `kept_norms` says so, and with "block" at the end of every block; with "half" a gain of the
        residual stands there.
        """
        if self.folding is None:
            return self.normalization_type
        if module == "embeddings":
            return FOLDED if self.transforms_embeddings else KEPT
        if self.folding == "half":
            return FOLDED if module.split(".")[-2] == "bottleneck" else GAIN
        end = "output.bottleneck" if self.use_bottleneck else "output"
        block_end = re.fullmatch(rf"encoder\.layer\.\d+\.{re.escape(end)}", module)
        return KEPT if module in self.kept_norms or (self.folding == "block" and block_end) else FOLDED

    def norm_in_block(self, layer: int, module: str) -> str:
        """`norm_at` for a module of a block: "ffn.0.output"."""
        return self.norm_at(f"encoder.layer.{layer}.{module}")

    def heads_of_layer(self, layer: int) -> int:
        """Attention heads left in a layer after pruning."""
        return self.num_attention_heads - len(self.pruned_heads.get(layer, ()))


def fields_marked(*marks: str) -> tuple[str, ...]:
    """The names of the fields that have one of these marks, in the order of the fields."""
    return tuple(f.name for f in fields(ConfigFields) if any(f.metadata.get(mark) for mark in marks))


def default_values() -> dict[str, Any]:
    """The default of every field."""
    return {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(ConfigFields)}
