"""Which checkpoints of Model Garden are recorded; see record_model_garden.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.tiny import TINY

# Pairwise different sizes, as in TINY, and smaller: the files of nine checkpoints are to stay small.
MINI = {
    "vocab_size": 31,
    "hidden_size": 12,
    "embedding_size": 5,
    "intra_bottleneck_size": 8,
    "intermediate_size": 10,
    "max_position_embeddings": 11,
    "type_vocab_size": 3,
    "num_hidden_layers": 1,
    "num_feedforward_networks": 2,
}
RELEASED = {"classifier_activation": False}
TEACHER = {
    "classifier_activation": False,
    "key_query_shared_bottleneck": False,
    "normalization_type": "layer_norm",
    "num_feedforward_networks": 1,
    "intra_bottleneck_size": 16,
    "hidden_act": "gelu",
}
UNBOTTLED_ATTENTION = {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}


@dataclass(frozen=True)
class Case:
    """A checkpoint: its configuration in our fields, how it was saved (a function below), and our class that reads it.

    `own_pooler` says whether the encoder has one; with `classifier_activation` and without it, a head's dense layer
    is our pooler.
    """

    saved_as: str
    head: str
    fields: dict[str, Any]
    own_pooler: bool = False
    dtype: str = "float64"


CASES = {
    "model": Case("model_alone", "Model", {**TINY, **RELEASED, "num_hidden_layers": 1}),
    "pooler": Case("weights_alone", "Model", {**MINI, "num_hidden_layers": 2}, own_pooler=True),
    "pretrainer": Case("pretrainer_as_model", "PreTraining", {**MINI, "num_feedforward_networks": 3}),
    "items": Case("checkpoint_items", "MaskedLM", {**MINI, **TEACHER}, dtype="float32"),
    "training": Case("teacher_and_student", "MaskedLM", {**MINI, **RELEASED}),
    "bottleneck_attention": Case("encoder_alone", "Model", {**MINI, **RELEASED, **UNBOTTLED_ATTENTION}),
    "saved_model": Case("saved_model", "MaskedLM", {**MINI, **RELEASED, "num_feedforward_networks": 4}),
    "edgetpu": Case("edgetpu_pretrainer", "PreTraining", {**MINI, "num_feedforward_networks": 6}),
    "edgetpu_projection": Case("edgetpu_projection", "Model", {**MINI, **RELEASED}),
    "classifier": Case("classifier", "SequenceClassification", {**MINI, "num_labels": 6}),
    "token_classifier": Case("token_classifier", "TokenClassification", {**MINI, **RELEASED, "num_labels": 6}),
    "span_labeler": Case("span_labeler", "QuestionAnswering", {**MINI, **RELEASED}, dtype="float32"),
}

# Branches of which the object graph and the variables of a whole pretrainer are kept, without their values.
LISTED: dict[str, dict[str, Any]] = {
    **{f"ffn_{n}": {**RELEASED, "num_feedforward_networks": n} for n in range(1, 7)},
    "pooler": {"classifier_activation": True},
    "teacher": TEACHER,
    "bottleneck_attention": {**RELEASED, **UNBOTTLED_ATTENTION},
    "two_layers": {**RELEASED, "num_hidden_layers": 2},
}
