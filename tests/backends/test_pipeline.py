"""Pipelines over both backends: the same answers, in order, streamed, and untouched by padding."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

import numpy as np
import pyarrow
import pytest

from conversion.backends import BACKENDS
from mobilebert import MobileBertPipeline, pipelines
from mobilebert_core import (
    TASKS,
    BackendMissingError,
    CheckpointError,
    InputError,
    MobileBertTokenizerFast,
    TokenizerError,
)
from tests.backends.conftest import TEXT, assert_same, load
from tests.conftest import NAMED_BACKENDS
from tests.core.test_tasks import VOCABULARY

INPUTS: dict[str, list[Any]] = {
    "fill-mask": ["[MASK] is in paris", "who is [MASK], [MASK] or emile zola, in the city of new york?", "a [MASK]"],
    "text-classification": ["a", {"text": "cats", "text_pair": "the dogs"}, TEXT * 4],
    "token-classification": ["Zola", TEXT * 5, "𝄞 Émile"],
    "question-answering": [
        {"question": "who?", "context": TEXT * 5},
        ("who is in paris", "cats"),
        {"question": "is this a city?", "context": TEXT},
    ],
    "next-sentence": [("a", "b c"), ("zola lives", "in paris"), (TEXT, TEXT)],
    "multiple-choice": [("a", ["b", "c d"]), {"text": TEXT, "choices": ["e", "f g h", "i"]}, ("zola", ["lives"])],
    "sentence-embedding": ["a", TEXT, "cats"],
    "feature-extraction": ["a", TEXT, "cats"],
    "zero-shot-classification": ["this is about cats", TEXT, {"text": "dogs", "candidate_labels": ["dogs", "a b c"]}],
}


@pytest.mark.parametrize("task", TASKS)
def test_both_backends_give_the_same_answers_and_batches_change_none(model, task):
    path = model(task, padding_invariant=True)
    answers = {}
    for backend in NAMED_BACKENDS:
        pipeline = load(task, path, backend)
        together = pipeline(INPUTS[task])
        alone = [pipeline(item) for item in INPUTS[task]]
        assert len(together) == len(INPUTS[task])
        assert_same(together, alone, 1e-5)
        answers[backend] = together
        for keys in (found for found in together if isinstance(found, dict)):
            assert set(TASKS[task].returns) <= set(keys)
    first, *others = answers.values()
    for other in others:
        assert_same(first, other)


def test_padding_changes_an_answer_when_invariance_is_off(model, backend):
    short, long = "cats", TEXT
    differences = []
    for invariant in (False, True):
        path = model("sentence-embedding", padding_invariant=False)
        pipeline = load("sentence-embedding", path, backend.name, padding_invariant=invariant)
        alone, (padded, _) = pipeline(short), pipeline([short, long])
        differences.append(np.abs(padded - alone).max() / np.abs(alone).max())
    assert differences[0] > 1e-3 and differences[1] < 1e-5


def test_answers_keep_the_order_and_batches_hold_like_lengths(recorded):
    pipeline, runner = recorded
    lengths = [3, 9, 1, 8, 2, 30]
    found = pipeline(["a " * length for length in lengths])
    assert [each["score"] for each in found] == [length + 2 for length in lengths]
    assert runner.shapes == [(2, 32), (2, 10), (2, 4)]


def test_streams_are_lazy(recorded, monkeypatch):
    pipeline, _ = recorded
    monkeypatch.setattr(pipelines, "BATCHES_AT_ONCE", 2)
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield "a " * (number % 7 + 1)
            number += 1

    answers = pipeline(endless())
    assert taken == []
    assert [next(answers)["score"] for _ in range(4)] == [3, 4, 5, 6]
    assert len(taken) == 4  # two batches of two
    next(answers)
    assert len(taken) == 8


def test_fields_and_options_in_a_call(recorded):
    pipeline, runner = recorded
    assert pipeline("a", text_pair="b c")["score"] == 6
    assert pipeline({"text": "a"})["score"] == 3
    assert pipeline(text="a b")["score"] == 4
    assert [each["score"] for each in pipeline(["a", ("a", "b")], max_length=8)] == [3, 5]
    assert len(pipeline("a", top_k=2)) == 2 and isinstance(pipeline("a"), dict)
    assert pipeline([]) == []
    for item, message in ((3, "got int"), ({"txt": "a"}, "got 'txt' too"), ([3], "text must be text, got int 3")):
        with pytest.raises(InputError, match=message):
            pipeline(item)
    with pytest.raises(InputError, match="wanted options it knows, got 'topk'"):
        pipeline("a", topk=3)
    runner.run = lambda batch: {"logits": np.full((len(batch["input_ids"]), 2), np.nan)}
    with pytest.raises(InputError, match="wanted finite logits, got NaN"):
        pipeline("a")


def test_the_progress_bar_is_drawn_when_asked(recorded, capsys):
    pipeline, _ = recorded
    pipeline(["a"] * 9)
    assert capsys.readouterr().err == ""  # not a terminal
    pipeline.progress = True
    pipeline(["a"] * 9)
    captured = capsys.readouterr()
    assert "text-classification: 100%" in captured.err and captured.out == ""


def test_a_head_without_training_gives_no_answers(model, backend):
    path = model("fill-mask")
    MobileBertPipeline.from_pretrained("sentence-embedding", path, backend=backend.name)
    with pytest.raises(CheckpointError, match="trained MobileBertForTokenClassification, classifier.weight"):
        MobileBertPipeline.from_pretrained("ner", path, backend=backend.name)


def test_what_cannot_be_loaded_says_so(model, monkeypatch, tmp_path):
    path = model("text-classification")
    with pytest.raises(InputError, match="backend must be one of torch, keras, .* got 'jax'"):
        load("text-classification", path, "jax")
    with pytest.raises(InputError, match="batch_size must be a whole number"):
        load("text-classification", path, NAMED_BACKENDS[0], batch_size=0)
    large = tmp_path / "large.txt"
    large.write_text("".join(f"{token}\n" for token in [*VOCABULARY, *(f"w{i}" for i in range(99))]))
    with pytest.raises(TokenizerError, match=r"tokenizer for the model's 97 words \(vocab_size\), got one with"):
        load("text-classification", path, NAMED_BACKENDS[0], tokenizer=MobileBertTokenizerFast(large))
    renamed = MobileBertTokenizerFast(large, model_input_names=["ids"])
    with pytest.raises(TokenizerError, match=r"model_input_names begin with 'input_ids', got \['ids'\]"):
        load("text-classification", path, NAMED_BACKENDS[0], tokenizer=renamed)
    missing = dataclasses.replace(BACKENDS["torch"], package="no_such_package")
    monkeypatch.setitem(BACKENDS, "torch", missing)
    with pytest.raises(
        BackendMissingError, match=r"backend 'torch' is not installed .*pip install 'mobilebert\[torch\]'"
    ):
        load("text-classification", path, "torch")


def test_a_table_is_no_list_of_texts(model, backend):
    classify = load("text-classification", model("text-classification"), backend.name)
    with pytest.raises(InputError, match=r"wanted texts, got a table \(Table\). Pass one of its columns"):
        classify(pyarrow.table({"text": ["a"], "more": ["b"]}))


def test_an_array_or_column_of_texts_is_a_list_of_inputs(model, backend):
    classify = load("text-classification", model("text-classification"), backend.name)
    texts = ["a", "cats", TEXT]
    for holder in (np.array, pyarrow.array, deque):
        answers = classify(holder(texts))
        assert isinstance(answers, list)
        assert_same(answers, classify(texts))


def test_a_file_of_weights_has_its_tokenizer_beside_it(model, backend):
    path = model("text-classification")
    answer = load("text-classification", path, backend.name)("cats")
    assert_same(load("text-classification", path / "model.safetensors", backend.name)("cats"), answer)


def test_weights_of_another_head_are_said(model, backend, caplog):
    path = model("text-classification")
    load("text-classification", path, backend.name), load("sentence-embedding", path, backend.name)
    assert not caplog.messages
    load("token-classification", path, backend.name)
    (said,) = caplog.messages
    assert "was saved as MobileBertForSequenceClassification and is read as MobileBertForTokenClassification" in said
