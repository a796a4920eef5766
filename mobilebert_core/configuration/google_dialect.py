"""The JSON of Google's TF1 code (google-research/mobilebert): what it is known by, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .fields import ACTIVATION_TABLE

# What that code assumes for a field its JSON does not have; much of it differs from the defaults of transformers.
GOOGLE_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 16, "initializer_range": 0.02, "trigram_input": False,
    "use_bottleneck": False, "use_bottleneck_attention": False, "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1, "normalization_type": "layer_norm", "classifier_activation": True,
}  # fmt: skip
# The name in that code: ours.
GOOGLE_ACTIVATIONS = {a.google: a.names[0] for a in ACTIVATION_TABLE if a.google is not None}
# A layer norm spelled out, with an epsilon of its own.
_MANUAL_NORM, _MANUAL_EPSILON = "manual_layer_norm", 1e-6
# Fields that tell a MobileBERT from a BERT, of which that code's JSON has some.
_OF_MOBILEBERT = {
    "embedding_size", "trigram_input", "use_bottleneck", "intra_bottleneck_size", "use_bottleneck_attention",
    "key_query_shared_bottleneck", "num_feedforward_networks", "normalization_type",
}  # fmt: skip
_OF_BERT = {"vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"}
# Fields of other models, of which their own JSON without a model type has some.
_OF_OTHERS = {
    "an ALBERT": {"inner_group_num", "num_hidden_groups", "net_structure_type"},
    "a DistilBERT": {"n_layers", "n_heads", "hidden_dim"},
    "an XLNet": {"d_model", "d_inner", "n_layer", "untie_r"},
    "a GPT": {"n_embd", "n_ctx", "n_positions"},
}
# Fields that transformers writes and that code does not know.
_OF_TRANSFORMERS = {
    "model_type", "architectures", "transformers_version", "layer_norm_eps", "pad_token_id", "true_hidden_size",
    "id2label", "label2id", "torch_dtype", "dtype", "tie_word_embeddings",
}  # fmt: skip


def in_our_dialect(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a file with a configuration says, in the words of transformers, whichever of the two dialects it has.

    Google's JSON has neither a model type nor a field of transformers alone.

    Raises:
        ConfigError: for the JSON of a BERT or of another model.
    """
    if "model_type" not in values:
        _check_others(values)
    if "model_type" in values or not values.keys() >= _OF_BERT:
        return dict(values)
    if not values.keys() & _OF_MOBILEBERT:
        raise ConfigError(
            "MobileBertConfig: this is the configuration of a BERT: it has no model_type, and none of the fields "
            f'{", ".join(sorted(_OF_MOBILEBERT))}. For a MobileBERT write "model_type": "mobilebert" into it.'
        )
    return dict(values) if values.keys() & _OF_TRANSFORMERS else from_google(values)


def _check_others(values: Mapping[str, Any]) -> None:
    """Raises ConfigError for a JSON without a model type that fields or architectures say is another model's."""
    for model, fields in _OF_OTHERS.items():
        if found := sorted(values.keys() & fields):
            raise ConfigError(
                f"MobileBertConfig: this is the configuration of {model}: it has no model_type, and the field "
                f'{found[0]!r}. For a MobileBERT write "model_type": "mobilebert" into it.'
            )
    names = values.get("architectures")
    if isinstance(names, list) and names and not any("mobilebert" in str(name).lower() for name in names):
        raise ConfigError(
            f"MobileBertConfig: this is the configuration of {names[0]}: it has no model_type, and architectures "
            f'{names}. For a MobileBERT write "model_type": "mobilebert" into it.'
        )


def from_google(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON of the TF1 code means: what it leaves out has that code's defaults."""
    whole = {**GOOGLE_DEFAULTS, **values}
    for size in ("embedding_size", "intra_bottleneck_size"):
        if whole.get(size) is None:
            whole[size] = whole["hidden_size"]
    whole["hidden_act"] = GOOGLE_ACTIVATIONS.get(str(whole["hidden_act"]).lower(), whole["hidden_act"])
    if whole["normalization_type"] == _MANUAL_NORM:
        whole |= {"normalization_type": "layer_norm", "layer_norm_eps": _MANUAL_EPSILON}
    return {"model_type": "mobilebert", **whole}
