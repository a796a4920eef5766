"""Tasks learned from a teacher's scores: the terms by their definition, the same on both backends."""

from __future__ import annotations

import numpy as np
import pytest

from conversion.backends import FRAMEWORKS
from mobilebert_core.heads import HEADS
from mobilebert_core.training.knowledge_transfer_losses import log_softmax, soft
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.soft_labels import TEACHER, SoftLabels
from tests.tiny import tiny_batch, tiny_config

CASES = [
    ("SequenceClassification", "single_label_classification"),
    ("SequenceClassification", "multi_label_classification"),
    ("SequenceClassification", "regression"),
    ("TokenClassification", None),
    ("QuestionAnswering", None),
    ("MultipleChoice", None),
]


def taught(head, problem):
    """A configuration without dropout, a batch with scores of a teacher, and the labels that the problem has."""
    labels = 1 if problem == "regression" else 2 if head == "QuestionAnswering" else 5
    config = tiny_config(
        attention_probs_dropout_prob=0.0, classifier_dropout=0.0, problem_type=problem, num_labels=labels
    )
    batch, rng = tiny_batch(config, head), np.random.default_rng(3)
    if problem == "multi_label_classification":
        batch["labels"] = rng.integers(0, 2, (3, labels)).astype(np.float32)
    elif problem == "regression":
        batch["labels"] = rng.normal(size=3).astype(np.float32)
    for task in HEADS[head].tasks:
        shape = {"TokenClassification": (3, 11, labels), "QuestionAnswering": (3, 11), "MultipleChoice": (3, 4)}
        batch[TEACHER + task.logits] = rng.normal(size=shape.get(head, (3, labels))).astype(np.float32) * 2
    return config, batch


def by_definition(head, problem, batch, outputs, temperature):
    terms = []
    for task in HEADS[head].tasks:
        t, s = np.float64(batch[TEACHER + task.logits]), np.float64(outputs[task.logits])
        if problem == "regression":
            terms.append(np.square(t - s).mean())
        elif problem == "multi_label_classification":
            p, q = (1 / (1 + np.exp(-x / temperature)) for x in (t, s))
            terms.append((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean() * temperature**2)
        elif head == "QuestionAnswering":
            each = []
            for row, mask in enumerate(batch["attention_mask"] >= 1):
                p, q = (log_softmax(x[row, mask] / temperature) for x in (t, s))
                each.append((np.exp(p) * (p - q)).sum() * temperature**2)
            terms.append(np.mean(each))
        elif head == "TokenClassification":
            known = batch["labels"] != -100
            terms.append(soft(t[known], s[known], temperature))
        else:
            terms.append(soft(t, s, temperature))
    return np.mean(terms)


@pytest.mark.parametrize(("head", "problem"), CASES)
def test_the_terms_are_their_definitions(backend, monkeypatch, head, problem):
    """And each counts over all ranks, as the losses of labels do."""
    config, batch = taught(head, problem)
    found = FRAMEWORKS[backend.name].trainer("test").start(head, None, Recipe(), config=config, precision="float64")
    make = FRAMEWORKS[backend.name].load("task_distillation", "test").TaskDistillation
    plain = {name: array for name, array in batch.items() if not name.startswith(TEACHER)}
    outputs = found.run(plain)
    objective = make(HEADS[head], problem, SoftLabels(hard_share=0.25, temperature=3.0))
    terms = objective(found.model, {name: backend.array(array) for name, array in batch.items()})
    terms = {name: float(backend.numpy(value)) for name, value in terms.items()}
    assert terms["hard"] == pytest.approx(0.25 * float(outputs["loss"]), rel=1e-10)
    assert terms["soft"] == pytest.approx(0.75 * by_definition(head, problem, batch, outputs, 3.0), rel=1e-10)
    soft_only = make(HEADS[head], problem, SoftLabels(hard_share=0.0, temperature=3.0))
    for name in ("task_distillation", "knowledge_transfer"):  # as if another rank had as many rows
        monkeypatch.setattr(FRAMEWORKS[backend.name].load(name, "test"), "counted", lambda count: 2 * count)
    halved = soft_only(found.model, {name: backend.array(array) for name, array in batch.items()})
    assert float(backend.numpy(halved.pop("soft"))) == pytest.approx(terms["soft"] / 0.75 / 2, rel=1e-10) and not halved
