"""Batches of data sets are what each framework's models learn from, and their outputs are what scores are made of."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import MobileBertTokenizerFast
from mobilebert_core.heads import HEADS
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from tests.core.data_files import CHOICES, QUESTIONS, TEXTS, WORDS, answered, read, squad
from tests.core.test_tasks import VOCABULARY
from tests.core.tokenizers import write_vocabulary
from tests.tiny import tiny_config


@pytest.mark.parametrize(
    ("name", "file", "content", "metric"),
    [
        (TEXTS, "a.csv", "text,label\nhello cats,x\nhello,y\na b c,z\n", "accuracy"),
        (TEXTS, "a.csv", "text,label\nhello cats,0.5\nhello,2\na b c,-1\n", "pearson"),
        (TEXTS, "a.jsonl", [{"text": "a b", "label": ["x", "y"]}, {"text": "a", "label": []}], "f1_micro"),
        (WORDS, "a.conll", "emile B-x\nyorkers I-x\nsinging O\n\nhello O\n", "f1"),
        (QUESTIONS, "a.json", squad(answered("Zola", 6), answered("Paris", 32)), "f1"),
        (CHOICES, "a.jsonl", [{"text": "hello", "choices": ["the cats", "a", "b"], "label": 2}] * 2, "accuracy"),
    ],
)
def test_a_loss_from_the_batch_and_scores_from_the_outputs(backend, tmp_path, name, file, content, metric):
    examples = read(tmp_path, name, file, content)
    row = TRAINING_TASKS[name]
    config = tiny_config(**row.config_fields(examples, examples.options))
    task = row(MobileBertTokenizerFast(write_vocabulary(tmp_path, VOCABULARY)), config, max_length=24)
    features = task.features(examples)
    batch = task.batch(features.rows, pad_to=30)
    outputs = backend.call(backend.build(task.head, config), batch)
    assert np.isfinite(backend.numpy(outputs.loss)) and backend.numpy(outputs.loss) > 0
    names = [each.logits for each in HEADS[task.head].tasks]
    arrays = {each: backend.numpy(outputs[each]) for each in names}
    by_row = [{each: arrays[each][i] for each in names} for i in range(len(features.rows))]
    scores = task.scores(examples, features, by_row)
    assert task.best_metric == metric and np.isfinite(scores[metric])
