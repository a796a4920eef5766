"""The configuration in the params.yaml that training with Model Garden leaves beside its checkpoints.

The released tarballs and SavedModels are not known to hold one; then sizes come from the user, or from a preset.

Source: https://github.com/tensorflow/models, official/core/train_utils.py (serialize_config),
official/nlp/configs/encoders.py and bert.py, official/projects/edgetpu/nlp/utils/utils.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...configuration.config import MobileBertConfig
from ...configuration.fields import ACTIVATION_TABLE
from ...errors import BackendMissingError, CheckpointError, CheckpointNotFoundError, what_to_do
from ...processes import warn

logger = logging.getLogger("mobilebert")

# Their field: ours, and the value where a hand-written file leaves it out, which is that of the teacher.
_FIELDS: dict[str, tuple[str, Any]] = {
    "word_vocab_size": ("vocab_size", 30522),
    "word_embed_size": ("embedding_size", 128),
    "type_vocab_size": ("type_vocab_size", 2),
    "max_sequence_length": ("max_position_embeddings", 512),
    "num_blocks": ("num_hidden_layers", 24),
    "hidden_size": ("hidden_size", 512),
    "num_attention_heads": ("num_attention_heads", 4),
    "intermediate_size": ("intermediate_size", 4096),
    "hidden_activation": ("hidden_act", "gelu"),
    "hidden_dropout_prob": ("hidden_dropout_prob", 0.1),
    "attention_probs_dropout_prob": ("attention_probs_dropout_prob", 0.1),
    "intra_bottleneck_size": ("intra_bottleneck_size", 1024),
    "initializer_range": ("initializer_range", 0.02),
    "use_bottleneck_attention": ("use_bottleneck_attention", False),
    "key_query_shared_bottleneck": ("key_query_shared_bottleneck", False),
    "num_feedforward_networks": ("num_feedforward_networks", 1),
    "normalization_type": ("normalization_type", "layer_norm"),
    "classifier_activation": ("classifier_activation", True),
}
_WITHOUT_EFFECT = frozenset({"input_mask_dtype"})
_ALWAYS = {"trigram_input": True, "use_bottleneck": True, "layer_norm_eps": 1e-12}  # not to be chosen there
# Names of the masked-language head that mean another function than in the encoder, which has our names.
_HEAD_ACTIVATIONS = {a.model_garden_head: a.names[0] for a in ACTIVATION_TABLE if a.model_garden_head is not None}


def config_from_model_garden(path: str | Path, model: str | None = None, **overrides: Any) -> MobileBertConfig:
    """The MobileBERT that a params.yaml describes; `overrides` are fields of the configuration.

    `classifier_activation` is the encoder's own pooler there. A classification head with a dense layer of its own is
    read only when it is overridden with True, see `model_garden_names`.

    Args:
        path: the file.
        model: which of the models in it, "model", "student_model" or "teacher_model"; by default the first there is.

    Raises:
        CheckpointNotFoundError: when there is no such file.
        CheckpointError: when it is not YAML, or describes no MobileBERT.
        ConfigError: for values that describe none.
        BackendMissingError: without PyYAML.
    """
    path = Path(path)
    found = _model_of(_read_yaml(path), ("model", "student_model", "teacher_model") if model is None else (model,))
    encoder = found.get("encoder")
    if not isinstance(encoder, Mapping) or not isinstance(encoder.get("mobilebert"), Mapping):
        kind = encoder.get("type") if isinstance(encoder, Mapping) else None
        raise CheckpointError(
            f"{path}: wanted an encoder of type 'mobilebert'{f' in {model!r}' if model else ''}, got {kind!r}."
        )
    values: Mapping[str, Any] = encoder["mobilebert"]
    if unknown := sorted(values.keys() - _FIELDS.keys() - _WITHOUT_EFFECT):
        raise CheckpointError(f"{path}: the encoder has fields that mean nothing here: {', '.join(unknown)}.")
    fields = {ours: values.get(theirs, default) for theirs, (ours, default) in _FIELDS.items()}
    if fields["use_bottleneck_attention"]:
        fields["key_query_shared_bottleneck"] = False  # ignored there, and its weights are never made
    config = MobileBertConfig(**{**_ALWAYS, **fields, **overrides})
    activation = found.get("mlm_activation", config.hidden_act)
    activation = _HEAD_ACTIVATIONS.get(activation, activation)
    if activation != config.hidden_act:
        warn(
            logger,
            "%s: the masked-language head computes with %s in Model Garden, here with the encoder's %s.",
            path, activation, config.hidden_act,
        )  # fmt: skip
    return config


def _model_of(params: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """The description of a model, under "task" or, in EdgeTPU's files, at the top; empty if there is none."""
    task = params.get("task")
    for name in names:
        for place in (task, params):
            if isinstance(place, Mapping) and isinstance(place.get(name), Mapping):
                return place[name]
    return {}


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as e:
        raise BackendMissingError(f"{path}: reading YAML needs PyYAML: pip install pyyaml.") from e
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise CheckpointNotFoundError(f"{path}: cannot be read ({e.strerror}). {what_to_do(e)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        raise CheckpointError(f"{path}: wanted YAML, got text that is none: {str(e)[:200]}") from None
    if not isinstance(params, Mapping):
        raise CheckpointError(f"{path}: wanted a YAML mapping, got a {type(params).__name__}.")
    return params
