"""Beside transformers itself: the same outputs, losses and gradients, and files that each loads from the other."""

from __future__ import annotations

import numpy as np
import pytest
import transformers

from conversion.parity.deviation import compare
from mobilebert_core.heads import HEADS
from tests.backends.backend import TorchBackend
from tests.tiny import BRANCHES, tiny_batch, tiny_config

# What transformers warns of inside itself is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings(r"ignore::Warning:transformers(\.|$)"),
    pytest.mark.filterwarnings("ignore:Initializing zero-element tensors"),  # its matrix beside the decoder when E == H
]

# What transformers 5 cannot build or run, and what it computes otherwise: there only the word of the paper and the
# released code counts, and tests/parity/test_parity.py.
NOT_IN_TRANSFORMERS = {
    "unshared": "query and key have the width of the bottleneck there, but read the hidden states",
    "teacher": "as unshared",
    "pruned": "pruning was removed in transformers 5",
    "padding_invariant": "is ours",
    **dict.fromkeys(
        ("folded_block", "folded_all", "folded_half", "folded_no_bottleneck"), "a folded model has fewer norms"
    ),
    "no_layers": "no hidden states are returned without blocks",
    "layer_norm_large_epsilon": "two norms ignore layer_norm_eps there and use 1e-5",
}
# `layer_norm_eps` as those two norms have it.
ADJUSTED = {"layer_norm": {"layer_norm_eps": 1e-5}}


def theirs(head: str, path):
    """The model of transformers in float64, on the explicit attention that returns probabilities."""
    cls = getattr(transformers, HEADS[head].class_name)
    model, info = cls.from_pretrained(path, dtype="float64", attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


@pytest.mark.parametrize("head", HEADS)
def test_every_head_computes_the_same_and_its_files_go_both_ways(backend, checkpoint, tmp_path, head):
    ours = backend.load(head, checkpoint(head), dtype="float64")
    ours.save_pretrained(tmp_path / "ours")
    reference = theirs(head, tmp_path / "ours")
    batch = tiny_batch(ours.config, head)
    report = compare(reference, ours, batch)
    assert report.ok, report.first_divergence
    if HEADS[head].tasks:
        assert {"loss", "gradient"} <= {row.kind for row in report.rows}
    reference.save_pretrained(tmp_path / "theirs")
    again, info = backend.load(head, tmp_path / "theirs", dtype="float64", output_loading_info=True)
    assert not any(info.values()), info
    report = compare(reference, again, batch, gradients=False)
    assert report.ok, report.first_divergence


@pytest.mark.parametrize("branch", sorted(BRANCHES.keys() - NOT_IN_TRANSFORMERS.keys()))
def test_every_branch_computes_the_same(checkpoint, tmp_path, branch):
    """In PyTorch; that Keras computes the same is held in test_parity.py."""
    path = checkpoint("PreTraining", **{**BRANCHES[branch], **ADJUSTED.get(branch, {})})
    ours = TorchBackend().load("PreTraining", path, dtype="float64")
    ours.save_pretrained(tmp_path / "ours")
    reference = theirs("PreTraining", tmp_path / "ours")
    # Untied, transformers holds the decoder's bias twice and learns the other one.
    report = compare(reference, ours, tiny_batch(ours.config, "PreTraining"), gradients=branch != "untied")
    assert report.ok, report.first_divergence


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", "multi_label_classification", None])
def test_every_problem_type_computes_the_same(backend, checkpoint, problem):
    path = checkpoint("SequenceClassification", num_labels=3, problem_type=problem)
    reference = theirs("SequenceClassification", path)
    ours = backend.load("SequenceClassification", path, dtype="float64")
    batch = tiny_batch(ours.config, "SequenceClassification")
    if batch["labels"].dtype == np.float32:
        batch["labels"] = batch["labels"].astype(np.float64)  # float32 labels make PyTorch's own loss float32
    report = compare(reference, ours, batch)
    assert report.ok, report.first_divergence


@pytest.mark.parametrize("branch", ["untied", "no_bottleneck", "layer_norm", "embedding_is_hidden", "one_ffn"])
def test_files_of_other_layouts_go_both_ways(backend, checkpoint, tmp_path, branch):
    config = tiny_config(**{**BRANCHES[branch], **ADJUSTED.get(branch, {})})
    ours = backend.load("MaskedLM", checkpoint("MaskedLM", **BRANCHES[branch]), config=config, dtype="float64")
    ours.save_pretrained(tmp_path / "ours")
    reference = theirs("MaskedLM", tmp_path / "ours")
    reference.save_pretrained(tmp_path / "theirs")
    again = backend.load("MaskedLM", tmp_path / "theirs", dtype="float64")
    for model in (ours, again):
        report = compare(reference, model, tiny_batch(config, "MaskedLM"), gradients=False)
        assert report.ok, report.first_divergence


def test_a_difference_is_seen(checkpoint):
    import torch

    path = checkpoint("MaskedLM")
    reference, ours = theirs("MaskedLM", path), TorchBackend().load("MaskedLM", path, dtype="float64")
    with torch.no_grad():
        reference.mobilebert.encoder.layer[1].attention.self.key.weight[0, 0] += np.float64(1e-3)
    report = compare(reference, ours, tiny_batch(ours.config, "MaskedLM"))
    assert not report.ok
    assert report.first_divergence.name == "attention.1"
