"""Records what transformers 4.37.2 computes, so that the tests can hold us to it without having it installed.

Run from the root of the repository, in an environment with transformers 4.37.2, PyTorch, TensorFlow 2.15 and
numpy < 2:

    python -m tests.golden.record_models

Checkpoints are TINY ones of random weights, written by transformers itself. Their weights are half precision
numbers (but for the large one), exact in every wider dtype, so that float64 and float32 models start equal.
PyTorch and TensorFlow both compute in float64 here. Cases that differ in nothing but an activation, a norm or
their inputs share a checkpoint.

Where transformers departs from its own configuration, the recording steers clear: its PyTorch ignores
`layer_norm_eps` at two norms (1e-5 there), so layer norm is recorded in PyTorch with an epsilon of 1e-5, and
with another one in TensorFlow, which follows the configuration.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conversion.parity.sample import random_checkpoint
from mobilebert_core.heads import HEADS
from tests.tiny import tiny_config

HERE = Path(__file__).parent
PADDING_ROW = 1  # of each batch of two


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint to write: its head, what it changes in TINY, and how large its hidden states are."""

    head: str
    fields: dict[str, Any] = field(default_factory=dict)
    hidden_scale: float = 1.0


@dataclass(frozen=True)
class Case:
    """One recorded call: `overrides` are fields of the configuration given when loading, `options` of the call."""

    checkpoint: str
    head: str
    inputs: str = "padded"
    labels: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    options: dict[str, bool] = field(default_factory=dict)
    framework: str = "torch"


STATES = {"output_hidden_states": True, "output_attentions": True}

CHECKPOINTS = {
    "model": Checkpoint("Model"),
    "pretraining": Checkpoint("PreTraining", {"num_feedforward_networks": 4, "num_hidden_layers": 3}),
    "masked_lm": Checkpoint("MaskedLM"),
    "next_sentence": Checkpoint("NextSentencePrediction"),
    "sequence": Checkpoint("SequenceClassification", {"num_labels": 3}),
    "regression": Checkpoint("SequenceClassification", {"num_labels": 1}),
    "question": Checkpoint("QuestionAnswering"),
    "choice": Checkpoint("MultipleChoice"),
    "token": Checkpoint("TokenClassification", {"num_labels": 5}),
    "bottleneck_attention": Checkpoint(
        "Model", {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}
    ),
    "no_bottleneck": Checkpoint("Model", {"use_bottleneck": False}),
    "no_trigram": Checkpoint("Model", {"trigram_input": False}),
    "one_ffn": Checkpoint("Model", {"num_feedforward_networks": 1}),
    "no_pooler_weights": Checkpoint("SequenceClassification", {"classifier_activation": False}),
    "untied": Checkpoint("MaskedLM", {"tie_word_embeddings": False}),
    "pruned": Checkpoint("Model", {"pruned_heads": {0: [1, 2], 1: [0]}}),
    "large": Checkpoint("PreTraining", {"classifier_activation": False}, hidden_scale=1e7),
}

CASES = {
    # The eight models, with their losses.
    "model": Case("model", "Model", options=STATES),
    "pretraining": Case("pretraining", "PreTraining", labels="pretraining", options=STATES),
    "masked_lm": Case("masked_lm", "MaskedLM", labels="words"),
    "next_sentence": Case("next_sentence", "NextSentencePrediction", labels="next_sentence"),
    "sequence": Case("sequence", "SequenceClassification", labels="class"),
    "question": Case("question", "QuestionAnswering", labels="span"),
    "choice": Case("choice", "MultipleChoice", inputs="choices", labels="class"),
    "token": Case("token", "TokenClassification", labels="token"),
    # Losses that turn on something.
    "sequence_single_label": Case(
        "sequence", "SequenceClassification", labels="class",
        overrides={"problem_type": "single_label_classification"},
    ),
    "sequence_multi_label": Case(
        "sequence", "SequenceClassification", labels="several",
        overrides={"problem_type": "multi_label_classification"},
    ),
    "sequence_multi_label_inferred": Case("sequence", "SequenceClassification", labels="several"),
    "sequence_regression_of_three": Case(
        "sequence", "SequenceClassification", labels="numbers", overrides={"problem_type": "regression"}
    ),
    "regression_inferred": Case("regression", "SequenceClassification", labels="number"),
    "question_beyond_the_text": Case("question", "QuestionAnswering", labels="span_beyond"),
    "next_sentence_ignored": Case("next_sentence", "NextSentencePrediction", labels="next_sentence_ignored"),
    # Branches of the configuration.
    "bottleneck_attention": Case("bottleneck_attention", "Model", options=STATES),
    "no_bottleneck": Case("no_bottleneck", "Model", options=STATES),
    "layer_norm": Case(
        "model", "Model", overrides={"normalization_type": "layer_norm", "layer_norm_eps": 1e-5}, options=STATES
    ),
    "no_trigram": Case("no_trigram", "Model"),
    "one_ffn": Case("one_ffn", "Model"),
    "gelu": Case("masked_lm", "MaskedLM", overrides={"hidden_act": "gelu"}),
    "relu6": Case("masked_lm", "MaskedLM", overrides={"hidden_act": "relu6"}),
    "silu": Case("masked_lm", "MaskedLM", overrides={"hidden_act": "silu"}),
    "no_pooler_weights": Case("no_pooler_weights", "SequenceClassification", labels="class"),
    "untied": Case("untied", "MaskedLM", labels="words"),
    "pruned": Case("pruned", "Model", options=STATES),
    "large": Case("large", "PreTraining", labels="pretraining", options={"output_hidden_states": True}),
    # Inputs.
    "ids_alone": Case("model", "Model", inputs="ids"),
    "positions": Case("model", "Model", inputs="positions"),
    "embeddings": Case("model", "Model", inputs="embeddings"),
    "head_mask": Case("model", "Model", inputs="head_mask", options=STATES),
    "head_mask_per_layer": Case("model", "Model", inputs="head_mask_per_layer", options=STATES),
    "mask_of_pairs": Case("model", "Model", inputs="mask_of_pairs"),
    # The TensorFlow models.
    "tf_pretraining": Case("pretraining", "PreTraining", framework="tensorflow", options=STATES),
    "tf_layer_norm": Case(
        "model", "Model", overrides={"normalization_type": "layer_norm", "layer_norm_eps": 0.05}, options=STATES,
        framework="tensorflow",
    ),
    "tf_choice": Case("choice", "MultipleChoice", inputs="choices", framework="tensorflow"),
}  # fmt: skip


def inputs_of(kind: str, rng: np.random.Generator, length: int = 9) -> dict[str, np.ndarray]:
    """Two texts in TINY's vocabulary, the second padded."""
    config = tiny_config()
    shape = (2, 3, length) if kind == "choices" else (2, length)
    ids = rng.integers(1, config.vocab_size, shape)
    mask = np.ones(shape, np.int64)
    ids[PADDING_ROW, ..., length - 3 :] = mask[PADDING_ROW, ..., length - 3 :] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": rng.integers(0, config.type_vocab_size, shape)}
    if kind == "ids":
        batch = {"input_ids": ids}
    elif kind == "positions":
        batch["position_ids"] = rng.integers(0, config.max_position_embeddings, shape)
    elif kind == "embeddings":
        del batch["input_ids"]
        batch["inputs_embeds"] = rng.standard_normal((*shape, config.embedding_size))
    elif kind == "head_mask":
        batch["head_mask"] = np.array([1, 0, 1, 0.5])
    elif kind == "head_mask_per_layer":
        batch["head_mask"] = rng.random((config.num_hidden_layers, config.num_attention_heads))
    elif kind == "mask_of_pairs":
        batch["attention_mask"] = np.tril(np.ones((2, length, length), np.int64))
    return batch


def labels_of(kind: str | None, rng: np.random.Generator, length: int = 9) -> dict[str, np.ndarray]:
    """Labels for `inputs_of`; -100 stands where nothing is to be learned."""
    words = np.where(rng.random((2, length)) < 0.6, rng.integers(0, tiny_config().vocab_size, (2, length)), -100)
    tokens = np.where(rng.random((2, length)) < 0.8, rng.integers(0, 5, (2, length)), -100)
    return {
        None: {},
        "words": {"labels": words},
        "token": {"labels": tokens},
        "pretraining": {"labels": words, "next_sentence_label": np.array([1, 0])},
        "next_sentence": {"labels": np.array([1, 0])},
        "next_sentence_ignored": {"labels": np.array([-100, 0])},
        "class": {"labels": np.array([1, 0])},
        "several": {"labels": np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])},
        "numbers": {"labels": rng.standard_normal((2, 3))},
        "number": {"labels": rng.standard_normal(2)},
        "span": {"start_positions": np.array([3, 1]), "end_positions": np.array([5, 2])},
        "span_beyond": {"start_positions": np.array([50, -4]), "end_positions": np.array([9, 2])},
    }[kind]


def write_checkpoint(name: str, seed: int) -> None:
    """Random weights, loaded and saved by transformers, which must find every name it wants and no other."""
    import transformers

    wanted = CHECKPOINTS[name]
    cls = getattr(transformers, HEADS[wanted.head].class_name)
    with tempfile.TemporaryDirectory() as directory:
        path = random_checkpoint(
            tiny_config(**wanted.fields), HEADS[wanted.head], Path(directory), seed, wanted.hidden_scale
        )
        model, info = cls.from_pretrained(path, output_loading_info=True)
    if any(info.values()):
        raise SystemExit(f"{name}: transformers found other weights than it wants: {info}")
    model = model if wanted.hidden_scale != 1 else model.half()
    model.config.name_or_path = ""  # the directory above, which is no one's business
    model.save_pretrained(HERE / "checkpoints" / name)


def run_torch(case: Case, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch
    import transformers

    cls = getattr(transformers, HEADS[case.head].class_name)
    model = cls.from_pretrained(HERE / "checkpoints" / case.checkpoint, **case.overrides).double()
    with torch.no_grad():
        return flat(model(**{n: torch.as_tensor(a) for n, a in inputs.items()}, **case.options))


def run_tensorflow(case: Case, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import tensorflow as tf
    import transformers

    tf.keras.backend.set_floatx("float64")
    cls = getattr(transformers, f"TF{HEADS[case.head].class_name}")
    model = cls.from_pretrained(HERE / "checkpoints" / case.checkpoint, **case.overrides)
    if case.head == "PreTraining":
        names = {weight.name: list(weight.shape) for weight in model.weights}
        (HERE / "tf_weight_names.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    outputs = flat(model({n: a.astype(np.int32) for n, a in inputs.items()}, **case.options))
    if any(a.dtype != np.float64 for a in outputs.values()):
        raise SystemExit("TensorFlow did not compute in float64")
    return outputs


def flat(outputs: Any) -> dict[str, np.ndarray]:
    """Outputs by field name; those of every layer get their number behind the name."""
    arrays = {}
    for name, value in outputs.items():
        if isinstance(value, tuple):
            arrays |= {f"{name}.{i}": np.asarray(v) for i, v in enumerate(value)}
        else:
            arrays[name] = np.asarray(value)
    return arrays


def main() -> None:
    for folder in ("checkpoints", "cases"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / "cases").mkdir()
    for seed, name in enumerate(CHECKPOINTS):
        write_checkpoint(name, seed)
    for seed, (name, case) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        inputs = {**inputs_of(case.inputs, rng), **labels_of(case.labels, rng)}
        outputs = (run_torch if case.framework == "torch" else run_tensorflow)(case, inputs)
        arrays = {f"input.{n}": a for n, a in inputs.items()} | {f"output.{n}": a for n, a in outputs.items()}
        np.savez_compressed(HERE / "cases" / f"{name}.npz", **arrays)
    index = {name: asdict(case) for name, case in CASES.items()}
    (HERE / "cases.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
