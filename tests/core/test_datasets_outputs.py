"""Outputs of a model to the scores of its task: long examples put together, thresholds, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import InputError
from mobilebert_core.datasets.examples import Examples
from tests.core.data_files import CHOICES, QUESTIONS, TEXTS, WORDS, answered, made, read, squad


def one_hot(place, length):
    found = np.full(length, -5.0)
    if place != -100:  # what is not learned from
        found[place] = 5
    return found


def perfect(task, rows, longer=3):
    """The outputs that the labels ask for, padded at the end with what must not be looked at."""
    outputs = []
    for row in rows:
        if task.name == QUESTIONS:
            both = [np.concatenate([one_hot(place, row.length), np.full(longer, 99.0)]) for place in row.labels]
            outputs.append(dict(zip(("start_logits", "end_logits"), both, strict=True)))
        elif task.name == WORDS:
            logits = np.stack([one_hot(label, task.config.num_labels) for label in (*row.labels, *[0] * longer)])
            outputs.append({"logits": logits})
        elif task.name == CHOICES:
            outputs.append({"logits": one_hot(row.labels, len(row.input_ids))})
        elif task.problem == "regression":
            outputs.append({"logits": np.array([row.labels])})
        else:
            outputs.append(
                {"logits": one_hot(list(row.labels) if task.problem[0] == "m" else row.labels, task.config.num_labels)}
            )
    return outputs  # fmt: skip


FULL_MARKS = [
    (TEXTS, "a.csv", "text,label\na,x\nb,y\nc,x\n",
     {"accuracy": 1, "f1": 1, "f1_micro": 1, "f1_macro": 1, "matthews": 1}),
    (TEXTS, "a.csv", "text,label\na,x\nb,y\nc,z\n", {"accuracy": 1, "f1_micro": 1, "f1_macro": 1, "matthews": 1}),
    (TEXTS, "a.csv", "text,label\na,0.5\nb,2\nc,7\n", {"pearson": 1, "spearman": 1, "mse": 0}),
    (TEXTS, "a.jsonl", [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": []}],
     {"f1_micro": 1, "f1_macro": 1, "subset_accuracy": 1}),
    (WORDS, "a.conll", "a O\nb B-x\nc I-x\n\nyorkers B-y\n", {"accuracy": 1, "precision": 1, "recall": 1, "f1": 1}),
    (WORDS, "a.conll", "a DET\nb NOUN\nc NOUN\n", {"accuracy": 1}),
    (QUESTIONS, "a.json", squad(answered("Zola", 6), answered("city of Paris", 24)), {"exact_match": 100, "f1": 100}),
    (QUESTIONS, "a.json", squad(answered("Zola", 6), {"answers": [], "is_impossible": True}),
     {"exact_match": 100, "f1": 100, "has_answer_exact_match": 100, "has_answer_f1": 100,
      "no_answer_exact_match": 100, "no_answer_f1": 100, "best_exact": 100, "best_f1": 100, "best_exact_thresh": -20,
      "best_f1_thresh": -20}),
    (CHOICES, "a.jsonl", [{"text": "a", "choices": ["b", "c"], "label": i} for i in (1, 0, 1)], {"accuracy": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "content", "wanted"), FULL_MARKS)
def test_right_outputs_have_full_marks_and_others_have_not(tmp_path, name, file, content, wanted):
    examples = read(tmp_path, name, file, content)
    task = made(examples, name, tmp_path)
    features = task.features(examples)
    outputs = perfect(task, features.rows)
    scores = task.scores(examples, features, outputs)
    assert scores == pytest.approx(wanted) and all(type(value) is float for value in scores.values())
    assert task.best_metric in scores
    wrong = [{key: -array for key, array in output.items()} for output in outputs]
    assert task.scores(examples, features, wrong)[task.best_metric] < scores[task.best_metric]
    half = [{key: array.astype(np.float16) for key, array in output.items()} for output in outputs]
    assert task.scores(examples, features, half) == pytest.approx(wanted)


@pytest.mark.parametrize("name", [WORDS, QUESTIONS])
def test_long_examples_are_put_together_again(tmp_path, name):
    context = "the city is in the city. " * 20 + "Émile Zola" + " the city" * 20
    words = "".join(f"{word} {'B-x' if 'o' in word else 'O'}\n" for word in context.split() * 3)
    questions = squad(answered("Émile Zola", context.index("Émile")), answered("the city", 0), context=context)
    file, content = {WORDS: ("a.conll", f"{words}\na O\n"), QUESTIONS: ("a.json", questions)}[name]
    examples = read(tmp_path, name, file, content)
    task = made(examples, name, tmp_path, max_length=24)
    features = task.features(examples)
    assert len(features.rows) > 10 and {row.example for row in features.rows} == {0, 1}
    outputs = perfect(task, features.rows)
    scores = task.scores(examples, features, outputs)
    assert scores[task.best_metric] == {WORDS: 1, QUESTIONS: 100}[name]
    for row, output in zip(features.rows, outputs, strict=True):  # the second example, whose rows all stand last
        if row.example == 1:
            output.update({key: -array for key, array in output.items()})
    assert 0 < task.scores(examples, features, outputs)["accuracy" if name == WORDS else "exact_match"] < 100
    assert task.scores(examples, features, outputs) != scores


def test_no_answer_is_given_by_a_threshold_of_0(tmp_path):
    examples = read(tmp_path, QUESTIONS, "a.json", squad(answered("Zola", 6), {"answers": [], "is_impossible": True}))
    task = made(examples, QUESTIONS, tmp_path)
    features = task.features(examples)

    def scored(null):
        outputs = []
        for row in features.rows:
            zola = [token == "zola" for token in task.tokenizer.convert_ids_to_tokens(row.input_ids)]
            logits = np.where(zola, 2.0, -5.0)
            logits[0] = null
            outputs.append({"start_logits": logits, "end_logits": logits})
        found = task.scores(examples, features, outputs)
        return found["has_answer_f1"], found["no_answer_f1"], found["f1"]

    assert scored(1.9) == (100, 0, 50) and scored(2.1) == (0, 100, 50)
    assert scored(2.0) == (100, 0, 50)  # not higher


def test_without_unanswerable_questions_there_is_always_an_answer(tmp_path):
    examples = read(tmp_path, QUESTIONS, "a.json", squad(answered("Zola", 6)))
    task = made(examples, QUESTIONS, tmp_path)
    features = task.features(examples)
    outputs = [{name: one_hot(0, row.length) for name in ("start_logits", "end_logits")} for row in features.rows]
    assert list(task.answers(examples, features.rows, outputs).values()) != [""]


def test_tags_of_other_schemes(tmp_path):
    def scored(content, wrong):
        examples = read(tmp_path, WORDS, "a.conll", content)
        task = made(examples, WORDS, tmp_path)
        features = task.features(examples)
        outputs = perfect(task, features.rows)
        assert task.scores(examples, features, outputs)["f1"] == 1
        position, tag = wrong
        outputs[0]["logits"][position] = one_hot(task.config.label2id[tag], task.config.num_labels)
        return task.scores(examples, features, outputs)

    assert scored("a U-x\nb B-y\nc I-y\nd L-y\ne O\n", (4, "I-y"))["f1"] == 1  # the entity ends there all the same
    assert scored("a U-x\nb B-y\nc I-y\nd L-y\ne O\n", (1, "O"))["f1"] == pytest.approx(2 / 3)
    assert scored("a x\nb x\nc O\nd y\n", (2, "O"))["f1"] == pytest.approx(1 / 2)  # without prefixes
    assert scored("a B-x-y\nb B-x-z\nc O\n", (1, "B-x-z"))["f1"] == pytest.approx(1 / 2)  # names with dashes


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (TEXTS, lambda outputs: outputs[:-1], "wanted one output for each of 2 rows, at least one, got 1"),
        (TEXTS, lambda outputs: [{}, *outputs[1:]], "wanted logits of row 0, got nothing"),
        (TEXTS, lambda outputs: [outputs[0], {"logits": np.zeros(3)}],
         r"logits of row 1 must have shape \(2,\), got \(3,\)"),
        (TEXTS, lambda outputs: [outputs[0], {"logits": np.zeros((1, 2))}], r"must have shape \(2,\), got \(1, 2\)"),
        (TEXTS, lambda outputs: [outputs[0], {"logits": [0, np.nan]}],
         "finite logits, got NaN or infinity in row 1: the tr"),
        (TEXTS, lambda outputs: [outputs[0], {"logits": [0, np.inf]}],
         "Lower the learning rate, or compute in float32"),
        (WORDS, lambda outputs: [outputs[0], {"logits": np.zeros((2, 2))}], r"shape \(3, 2\) or longer, got \(2, 2\)"),
        (WORDS, lambda outputs: [outputs[0], {"logits": np.zeros((3, 1))}], r"shape \(3, 2\) or longer, got \(3, 1\)"),
        (QUESTIONS, lambda outputs: [outputs[0], {**outputs[1], "end_logits": np.zeros(3)}],
         r"end_logits of row 1 must have shape \(18,\) or longer, got \(3,\)"),
        (CHOICES, lambda outputs: [outputs[0], {"logits": np.zeros((2, 1))}], r"must have shape \(2,\), got \(2, 1\)"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_fit(tmp_path, name, change, message):
    file, content = {
        TEXTS: ("a.csv", "text,label\na,x\nb,y\n"),
        WORDS: ("a.conll", "a O\n\nb B-x\n"),
        QUESTIONS: ("a.json", squad(answered("Zola", 6), answered("city", 24))),
        CHOICES: ("a.jsonl", [{"text": "a", "choices": ["b", "c"], "label": i} for i in (1, 0)]),
    }[name]
    examples = read(tmp_path, name, file, content)
    task = made(examples, name, tmp_path)
    features = task.features(examples)
    with pytest.raises(InputError, match=message):
        task.scores(examples, features, change(perfect(task, features.rows)))


def test_skipped_rows_are_counted_beside_the_scores(tmp_path):
    task = made(read(tmp_path, TEXTS, "t.csv", "text,label\na,x\nb,y\n"), TEXTS, tmp_path)
    examples = read(tmp_path, TEXTS, "d.csv", "text,label\na,x\n,y\nb,z\nc,y\n", skip_bad_rows=True)
    features = task.features(examples)
    assert [row.example for row in features.rows] == [0, 2]
    scores = task.scores(examples, features, perfect(task, features.rows))
    assert scores["skipped"] == 2 and scores["accuracy"] == 1
    assert [message.partition("d.csv:")[2][:2] for message in (*examples.skipped, *features.skipped)] == ["3:", "4:"]


def test_examples_made_by_hand(tmp_path):
    examples = read(tmp_path, TEXTS, "t.csv", "text,label\na,x\nb,y\n")
    by_hand = Examples(examples.items)
    task = made(by_hand, TEXTS, tmp_path)
    assert len(task.features(by_hand).rows) == 2
