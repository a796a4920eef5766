"""The published pair, IB-BERT_LARGE and MobileBERT: a step of each strategy, in numbers and memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

STEP = """
import json, resource, sys
import numpy as np, torch
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.training.knowledge_transfer import STRATEGIES, TransferSettings, schedule
from mobilebert_core.training.knowledge_transfer_course import TransferCourse
from mobilebert_core.training.knowledge_transfer_start import Pair
from mobilebert_core.training.recipe import Recipe
from mobilebert_torch import MobileBertForPreTraining
from mobilebert_torch.knowledge_transfer import KnowledgeTransfer
from mobilebert_torch.trainer import Trainer

def model(name, seed):
    config = MobileBertConfig.from_preset(name, attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    with torch.device("meta"):
        found = MobileBertForPreTraining(config)
    found.to_empty(device="cpu")
    found.tie_weights()
    generator = torch.Generator().manual_seed(seed)
    for name, each in found.named_parameters():
        norm = "LayerNorm.weight" in name
        each.data.fill_(1.0) if norm else each.data.uniform_(-0.03, 0.03, generator=generator)
    return found

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

teacher, student = model("ib-bert-large", 0), model("mobilebert", 1)
models = peak()
rng = np.random.default_rng(0)
ids = rng.integers(1000, 30000, (2, 16)).astype(np.int32)
labels = np.where(rng.random((2, 16)) < 0.2, ids, -100).astype(np.int32)
labels[:, 3] = ids[:, 3]
batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids), "labels": labels,
         "next_sentence_label": np.array([0, 1], np.int32)}
found = {}
for strategy in STRATEGIES:
    recipe = Recipe(learning_rate=1e-4)
    trainer = Trainer(student, recipe)
    settings = TransferSettings(strategy=strategy)
    stages = schedule(settings, 24, 90, recipe, True)
    pair = Pair.of(settings, stages, teacher.config, student.config)
    course = TransferCourse(trainer, pair, KnowledgeTransfer, teacher)
    for step in (0, 89)[: len(stages.stages)]:
        course.begin(step)
        loss = trainer.step([batch], course.learning_rate_at(step))
        moments = sum(a.numel() for s in trainer.optimizer.state.values() for n, a in s.items() if n != "step")
        found[f"{strategy} {step}"] = {"loss": loss, "terms": trainer.terms, "moments": moments}
    for each in student.parameters():
        each.requires_grad_(True)
json.dump({"steps": found, "models": models, "peak": peak()}, sys.stdout)
"""


@pytest.mark.slow
def test_a_step_of_each_strategy():
    """Moments are kept of what a stage trains; at the peak there is the student three times more than at first."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    steps = found["steps"]
    assert len(steps) == 11 and all(0 < step["loss"] < 1e6 for step in steps.values())
    assert {*steps["progressive 0"]["terms"]} == {"feature", "mean", "variance", "attention"}
    assert {*steps["progressive 89"]["terms"]} == {"soft", "hard", "next_sentence"}
    assert steps["progressive 0"]["moments"] == 2 * 842_240  # of one block
    assert steps["progressive 89"]["moments"] == 2 * 36_597_564  # of the student with both heads
    assert found["peak"] < found["models"] + 1200  # MB: gradients and moments of the student are 440
