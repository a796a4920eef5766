"""PyTorch and Keras compute the same numbers: every head, every branch, two dtypes, two sizes of activations."""

from __future__ import annotations

import numpy as np
import pytest

from conversion.parity.deviation import ParityError, compare, compare_traces, relative_deviation
from conversion.parity.traces import Trace, trace
from mobilebert_core.heads import HEADS
from tests.tiny import BRANCHES, STRUCTURES, tiny_batch, tiny_config

# Dtype and size of the hidden states: each dtype and each size in every branch, all four of them in some.
WAYS = (("float64", 1.0), ("float32", 1e6))
EVERY_WAY = (*WAYS, ("float64", 1e6), ("float32", 1.0))


def pair(path, head, dtype):
    import mobilebert_tf
    import mobilebert_torch

    return (
        mobilebert_torch.MODEL_CLASSES[head].from_pretrained(path, dtype=dtype),
        mobilebert_tf.MODEL_CLASSES[head].from_pretrained(path, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_agrees(checkpoint, head, dtype):
    path = checkpoint(head, classifier_dropout=0.5)
    first, second = pair(path, head, dtype)
    report = compare(first, second, tiny_batch(first.config, head))
    assert report.ok, report.first_divergence
    kinds = {row.kind for row in report.rows}
    assert {"embeddings", "attention", "block"} <= kinds
    assert ("gradient" in kinds and "loss" in kinds) == bool(HEADS[head].tasks)


@pytest.mark.parametrize("branch", [*STRUCTURES, "gelu"])  # tests of activations hold the others to their definition
def test_every_branch_agrees(checkpoint, branch):
    head = "PreTraining"
    for dtype, scale in EVERY_WAY if branch in ("released", "teacher", "folded_all") else WAYS:
        path = checkpoint(head, hidden_scale=scale, name=f"{dtype}-{scale}", **BRANCHES[branch])
        first, second = pair(path, head, dtype)
        report = compare(first, second, tiny_batch(first.config, head))
        assert report.ok, (dtype, scale, report.first_divergence)
        if scale > 1:
            assert report.rows[0].largest > 1e5


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("labels", [1, 5])
def test_every_problem_type_agrees(checkpoint, problem, labels):
    path = checkpoint("SequenceClassification", num_labels=labels, problem_type=problem)
    first, second = pair(path, "SequenceClassification", "float64")
    report = compare(first, second, tiny_batch(first.config, "SequenceClassification"))
    assert report.ok, report.first_divergence


def inputs_of(config, kind):
    """Batches that take the less trodden ways into the model."""
    batch = tiny_batch(config, "MaskedLM", labels=False)
    rng = np.random.default_rng(1)
    b, s = batch["input_ids"].shape
    if kind == "no mask":
        return {"input_ids": batch["input_ids"]}
    if kind == "empty row":
        batch["attention_mask"][0] = 0
    elif kind == "3-D mask":
        batch["attention_mask"] = np.tril(np.ones((b, s, s), np.int32))
    elif kind == "4-D mask":
        batch["attention_mask"] = rng.random((b, 4, s, s)) < 0.7
    elif kind == "additive mask":
        batch["attention_mask"] = np.where(rng.random((b, 1, s, s)) < 0.7, 0, -1e4).astype(np.float32)
    elif kind == "positions":
        batch["position_ids"] = rng.integers(0, config.max_position_embeddings, (b, s)).astype(np.int32)
    elif kind == "shared positions":
        batch["position_ids"] = np.arange(s, dtype=np.int32)[::-1].copy()
    elif kind == "head mask":
        batch["head_mask"] = np.array([1, 0, 1, 0.5], np.float32)
    elif kind == "head mask per layer":
        batch["head_mask"] = rng.random((config.num_hidden_layers, 4)).astype(np.float32)
    elif kind == "embeddings":
        batch["inputs_embeds"] = rng.standard_normal((b, s, config.embedding_size)).astype(np.float32)
        del batch["input_ids"]
    elif kind == "one token":
        batch = {name: value[:, :1] for name, value in batch.items()}
    return batch


@pytest.mark.parametrize(
    "kind",
    ["no mask", "empty row", "3-D mask", "4-D mask", "additive mask", "positions", "shared positions", "head mask",
     "head mask per layer", "embeddings", "one token"],
)  # fmt: skip
def test_every_input_agrees(checkpoint, kind):
    first, second = pair(checkpoint("MaskedLM"), "MaskedLM", "float64")
    report = compare(first, second, inputs_of(first.config, kind), gradients=False)
    assert report.ok, report.first_divergence


def test_a_changed_weight_is_found_where_it_is(checkpoint):
    import torch

    first, second = pair(checkpoint("MaskedLM"), "MaskedLM", "float64")
    with torch.no_grad():
        first.mobilebert.encoder.layer[1].ffn[0].output.dense.weight[0, 0] += 0.01
    report = compare(first, second, tiny_batch(first.config, "MaskedLM"))
    assert not report.ok
    assert report.first_divergence.name == "block.1"


def test_a_swapped_norm_is_found(checkpoint):
    import torch

    first, second = pair(checkpoint("MaskedLM"), "MaskedLM", "float64")
    norm = first.mobilebert.embeddings.LayerNorm
    with torch.no_grad():
        norm.weight.copy_(norm.weight.flip(0))
    assert compare(first, second, tiny_batch(first.config, "MaskedLM")).first_divergence.name == "embeddings"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_never_parity(bad):
    values = np.array([[1.0, bad]])
    assert relative_deviation(values, values.copy()) == np.inf


def test_a_deviation_is_a_share_of_its_own_token():
    expected = np.array([[1e7, 1.0], [1.0, 0.5]])
    found = np.array([[1e7, 2.0], [1.0, 0.6]])
    assert relative_deviation(expected, found) == pytest.approx(0.1)


def test_other_heads_cannot_be_compared(checkpoint):
    first, _ = pair(checkpoint("MaskedLM"), "MaskedLM", "float32")
    batch = tiny_batch(first.config, "MaskedLM", labels=False)
    whole = trace(first, batch, gradients=False)
    part = Trace("part", whole.dtype, whole.hidden_act, {n: a for n, a in whole.arrays.items() if n != "embeddings"})
    with pytest.raises(ParityError, match=r"only one of them has \['embeddings'\]"):
        compare_traces(whole, part)


def test_equal_seeds_give_equal_bytes(tmp_path):
    from conversion.parity.sample import random_checkpoint

    files = [random_checkpoint(tiny_config(), HEADS["MaskedLM"], tmp_path / n, seed=3) for n in ("a", "b")]
    assert (files[0] / "model.safetensors").read_bytes() == (files[1] / "model.safetensors").read_bytes()
