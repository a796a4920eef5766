"""Texts longer than a row: cut and counted, refused, or read in windows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mobilebert.cut_inputs import CutInputs
from mobilebert_core import TASKS, InputError
from mobilebert_core.tasks.probabilities import softmax
from mobilebert_core.tasks.task_text import options_of
from tests.core.test_tasks import answer, made, tokenizer  # noqa: F401

LONG = "a b c d e f g h i " * 10
VALUES = {
    "fill-mask": {"text": "[MASK] " + LONG},
    "text-classification": {"text": LONG},
    "token-classification": {"text": LONG},
    "question-answering": {"question": "who?", "context": LONG},
    "next-sentence": {"text": LONG, "text_pair": "a"},
    "multiple-choice": {"text": "a", "choices": ["b", LONG]},
    "sentence-embedding": {"text": LONG},
    "feature-extraction": {"text": LONG},
    "zero-shot-classification": {"text": LONG, "candidate_labels": ["a"]},
}
CONFIG = {"zero-shot-classification": {"id2label": {0: "entailment", 1: "no"}}}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_cuts_and_says_so_or_refuses(tokenizer, name):  # noqa: F811
    values, config = VALUES[name], CONFIG.get(name)
    rows = made(name, tokenizer, config, max_length=16, on_long="cut").rows(values)
    assert max(len(row.input_ids) for row in rows) == 16 and any(row.cut for row in rows)
    with pytest.raises(InputError, match=r"wanted a text of at most 16 tokens \(on_long is 'error'\), got more"):
        made(name, tokenizer, config, max_length=16, on_long="error").rows(values)
    short = {key: [each[:6] for each in text] if isinstance(text, list) else text[:6] for key, text in values.items()}
    for choice in next(each for each in options_of(TASKS[name].text) if each.name == "on_long").metadata["choices"]:
        assert not any(row.cut for row in made(name, tokenizer, config, on_long=choice).rows(short))


def by_first_token(row):
    """Scores that say which window it is."""
    return np.array([0.0, float(row.input_ids[1] % 5), 1.0])


def test_the_scores_of_windows_are_averaged_by_the_tokens_they_know_best(tokenizer):  # noqa: F811
    task = made("text-classification", tokenizer, {"num_labels": 3}, max_length=10, on_long="windows", top_k=3)
    rows = task.rows({"text": LONG})
    windows = [row.about for row in rows]
    assert windows[0].start == 0 and windows[-1].end == 90 and len(rows) > 10
    assert all(later.start - earlier.start == 6 for earlier, later in itertools.pairwise(windows))
    weights = [window.is_max_context.sum() for window in windows]
    assert sum(weights) == 90
    found = {
        each["label"]: each["score"] for each in answer(task, {"text": LONG}, lambda r: {"logits": by_first_token(r)})
    }
    wanted = np.average([softmax(by_first_token(row)) for row in rows], axis=0, weights=weights)
    assert [found[f"LABEL_{i}"] for i in range(3)] == pytest.approx(wanted.tolist())


def test_of_a_pair_the_longer_text_goes_on(tokenizer):  # noqa: F811
    task = made("text-classification", tokenizer, max_length=16, on_long="windows")
    for values in ({"text": LONG, "text_pair": "cats dogs"}, {"text": "cats dogs", "text_pair": LONG}):
        rows = task.rows(values)
        assert len(rows) > 5 and not any(row.cut for row in rows)
        first = values["text"] == LONG
        sides = [tokenizer.decode([i for i, t in zip(r.input_ids, r.token_type_ids, strict=True) if t == first],
                                  skip_special_tokens=True) for r in rows]  # fmt: skip
        assert set(sides) == {"cats dogs"}
    with pytest.raises(InputError, match="wanted a shorter text that leaves room for windows"):
        task.rows({"text": LONG, "text_pair": LONG})


def test_the_vector_of_a_long_text(tokenizer):  # noqa: F811
    task = made("sentence-embedding", tokenizer, max_length=10, on_long="windows")
    rows = task.rows({"text": LONG})
    found = answer(task, {"text": LONG}, lambda row: {"last_hidden_state": np.full((10, 2), float(row.about.start))})
    wanted = np.average([row.about.start for row in rows], weights=[row.about.is_max_context.sum() for row in rows])
    assert found.tolist() == pytest.approx([wanted, wanted]) and found.dtype == np.float32


def test_a_question_that_is_cut_counts(tokenizer):  # noqa: F811
    values = {"question": LONG, "context": "a b"}
    task = made("question-answering", tokenizer, max_question_length=5)
    assert all(row.question_cut and not row.cut for row in task.rows(values))
    cuts = CutInputs()
    for question in (LONG, "a b"):
        cuts.add(task, task.rows({**values, "question": question}))
    (note,) = cuts.notes()  # it said that the input was longer than a row, and that windows do otherwise
    assert "1 of 2 questions were longer than 5 word pieces and cut; a higher max_question_length" in note
    with pytest.raises(InputError, match=r"a question of at most 5 word pieces \(max_question_length\)"):
        task.with_options({"on_long": "error"}).rows(values)


def test_labels_up_to_the_cut(tokenizer):  # noqa: F811
    config = {"id2label": {0: "x", 1: "y"}}
    task = made("token-classification", tokenizer, config, max_length=10, on_long="cut")
    found = answer(task, {"text": LONG}, lambda row: {"logits": np.eye(2)[np.ones(len(row.input_ids), int)]})
    assert [each["word"] for each in found] == list("abcdefgh")
