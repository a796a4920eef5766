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
    MobileBertConfig,
    MobileBertTokenizerFast,
    TokenizerError,
)
from tests.conftest import NAMED_BACKENDS
from tests.core.test_tasks import VOCABULARY

TEXT = "Émile Zola lives in the city, New Yorkers sing in Paris. "
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
OPTIONS: dict[str, dict[str, Any]] = {
    "token-classification": {"aggregation_strategy": "first", "ignore_labels": []},
    "question-answering": {"threshold": 0.0, "top_k": 3, "max_length": 30, "doc_stride": 8},
    "zero-shot-classification": {"candidate_labels": ["cats", "dogs", "new york"]},
    "text-classification": {"top_k": 2},
}
CONFIG = {"zero-shot-classification": {"id2label": {0: "entailment", 1: "neutral", 2: "contradiction"}}}


@pytest.fixture
def model(checkpoint, tmp_path):
    """Writes a random TINY checkpoint for a task, with tokenizer files."""

    def write(task: str, **config: Any):
        path = checkpoint(TASKS[task].head, **{**CONFIG.get(task, {}), **config})
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
        MobileBertTokenizerFast(tmp_path / "vocab.txt").save_pretrained(path)
        return path

    return write


def load(task, path, backend, **options):
    return MobileBertPipeline.from_pretrained(
        task, path, backend=backend, **{**OPTIONS.get(task, {}), **options}, device=None
    )


def assert_same(first: Any, second: Any, tolerance: float = 1e-4) -> None:
    """Two answers with equal words and places, and numbers that differ by rounding."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_same(first[name], second[name], tolerance)
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(first, float | np.ndarray):
        scale = max(1.0, float(np.abs(first).max()))
        assert np.abs(first - second).max() <= tolerance * scale
    else:
        assert first == second


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


class Recorder:
    """A runner that scores a row by its length, and remembers the batches it saw."""

    def __init__(self, config):
        self.config = config
        self.shapes = []

    def run(self, batch):
        self.shapes.append(batch["input_ids"].shape)
        lengths = batch["attention_mask"].sum(axis=1)
        return {"logits": np.stack([lengths, 0 * lengths], axis=1).astype(np.float32)}


@pytest.fixture
def recorded(model):
    from mobilebert_core import AutoTokenizer, MobileBertConfig

    path = model("text-classification")
    runner = Recorder(MobileBertConfig.from_pretrained(path))
    options = {"function_to_apply": "none", "batch_size": 2}
    return MobileBertPipeline("text-classification", AutoTokenizer.from_pretrained(path), runner, **options), runner


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


def test_keywords_of_the_pipelines_of_transformers(model, backend, tmp_path):
    path = model("text-classification")
    plain = load("text-classification", path, backend.name, top_k=2)("cats")
    framework, device = {"torch": ("pt", -1), "keras": ("tf", None)}[backend.name]
    keywords = {
        "framework": framework, "device": device, "torch_dtype": "float32", "device_map": None, "num_workers": 2,
        "truncation": True, "padding": True, "trust_remote_code": True, "use_fast": True, "feature_extractor": None,
        "return_all_scores": True, "model_kwargs": {"hidden_dropout_prob": 0.1}, "tokenizer": str(path),
    }  # fmt: skip
    in_order = [sorted(plain, key=lambda each: each["label"])]  # of one text alone in a list of one
    assert pipelines.pipeline("text-classification", path, **keywords)("cats") == in_order
    classify = load("text-classification", path, backend.name)
    assert classify("cats", return_all_scores=True) == classify(["cats"], return_all_scores=True) == in_order
    assert classify("cats", return_all_scores=False) == classify("cats", top_k=1) == plain[0]
    assert load("text-classification", path, backend.name, top_k=None)("cats") == plain  # of two labels all
    assert classify("cats", top_k=None) == classify("cats", return_all_scores=True, top_k=2) == plain
    assert classify("cats")[0] == plain[0] and classify.framework == framework
    assert classify.tokenizer.mask_token == "[MASK]" and type(classify.model).__name__.endswith("Classification")
    label = plain[0]["label"]
    config = MobileBertConfig.from_pretrained(path, id2label={0: "no", 1: "yes"})
    for passed, wanted in ((config, {"LABEL_0": "no", "LABEL_1": "yes"}[label]), (str(path), label), (None, label)):
        with_config = pipelines.pipeline("text-classification", path, framework=framework, config=passed)
        assert with_config("cats")["label"] == wanted
    with_config.save_pretrained(tmp_path / "saved")
    assert load("text-classification", tmp_path / "saved", backend.name, top_k=2)("cats") == plain
    for wrong, message in (
        ({"framework": "jax"}, "framework must be one of pt, tf, got 'jax'"),
        ({"dtype": "float32", "torch_dtype": "float64"}, "dtype was passed twice"),
        ({"tokenizer": 5}, "tokenizer must be one of mobilebert_core or the place of its files, got builtins.int"),
        ({"model_kwargs": 5}, "model_kwargs must be fields of the configuration"),
    ):
        with pytest.raises(InputError, match=message):
            load("text-classification", path, backend.name, **wrong)


def test_a_pipeline_around_a_loaded_model(model, backend):
    path = model("text-classification")
    loaded = backend.load("SequenceClassification", path)
    plain = load("text-classification", path, backend.name, top_k=2)("cats")
    for options in ({}, {"tokenizer": str(path)}, {"tokenizer": MobileBertTokenizerFast.from_pretrained(path)}):
        assert pipelines.pipeline("text-classification", loaded, top_k=2, **options)("cats") == plain
    for task, passed, options, message in (
        ("fill-mask", loaded, {}, "wanted a MobileBertForMaskedLM, got a"),
        ("text-classification", object(), {}, "or a loaded one of mobilebert_torch or mobilebert_tf, got builtins.obj"),
        ("text-classification", loaded, {"dtype": "float64"}, "are for loading one"),
    ):
        with pytest.raises(InputError, match=message):
            pipelines.pipeline(task, passed, **options)


def test_keywords_of_calls(recorded):
    pipeline, runner = recorded
    neutral = {
        "num_workers": 2, "truncation": True, "padding": "max_length", "tokenizer_kwargs": {"truncation": True},
        "function_to_apply": "NONE",
    }  # fmt: skip
    assert [each["score"] for each in pipeline(["a", "a b", "a b c"], batch_size=3, **neutral)] == [3, 4, 5]
    assert runner.shapes == [(3, 5)] and pipeline.batch_size == 2
    assert pipeline(inputs="a") == pipeline("a", batch_size=None) == pipeline("a")
    assert pipeline("a b c d e f g h i", tokenize_kwargs={"max_length": 8, "truncation": True})["score"] == 8
    assert pipeline("a b c d e f g h i", padding="max_length", max_length=8)["score"] == 11  # padded to, not cut
    assert pipeline("a", "b")["score"] == 5 and pipeline(["a", "b c"], "b")[1]["score"] == 6
    assert [each["score"] for each in pipeline(text=["a", "b c"], text_pair=["d", "e"])] == [5, 6]
    assert [each["score"] for each in pipeline(text=("a", "b c"), text_pair="d")] == [5, 6]
    for (passed, values), message in (
        ((["a"], {"batch_size": 0}), "batch_size must be a whole number of at least 1, got 0"),
        ((["a"], {"truncation": "only_first"}), "truncation must be one of None, True.* the longer text is cut"),
        ((["a"], {"padding": 3}), "padding must be one of .*, got 3"),
        ((["a"], {"tokenizer_kwargs": {"add_special_tokens": False}}), "tokenizer_kwargs may have .*'add_special_tok"),
        ((["a"], {"tokenizer_kwargs": 3}), "tokenizer_kwargs must be options of the tokenizer by name, got 3"),
        ((["a"], {"max_length": 9, "tokenize_kwargs": {"max_length": 8}}), "max_length was passed twice"),
        ((["a", "b", "c"], {}), "one argument for each of text, text_pair, got 3. Several inputs come as a list"),
        ((["a", "b"], {"text_pair": "c"}), "text_pair was passed twice"),
        ((["a"], {"data": "b"}), "the inputs were passed twice, once as data"),
        (
            ([], {"text": ["a"], "text_pair": ["b", "c"]}),
            "wanted lists of one length, got 1 in text and 2 in text_pair",
        ),
    ):
        with pytest.raises(InputError, match=message):
            pipeline(*passed, **values)


class Numbered:
    """Texts by number and nothing else, as a dataset of PyTorch has them."""

    def __init__(self, *texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, number):
        return self.texts[number]


def test_a_dataset_of_numbered_items_is_an_iterable(recorded):
    answers = recorded[0](Numbered("a", "a b", {"text": "a", "text_pair": "b"}))
    assert not isinstance(answers, list) and [each["score"] for each in answers] == [3, 4, 5]


@pytest.mark.parametrize("held", [b"a", bytearray(b"a"), [b"a"], np.array([b"a"]), {"text": b"a"}, ("a", b"b")])
def test_bytes_are_to_be_decoded(recorded, held):
    with pytest.raises(InputError, match=r"must be text, got byte\w+ .*Decode it: value.decode\('utf-8'\)"):
        recorded[0](held)


def test_features_are_nested_lists_or_a_tensor(model, backend):
    extract = load("feature-extraction", model("feature-extraction", padding_invariant=True), backend.name)
    embed = MobileBertPipeline("sentence-embedding", extract.tokenizer, extract.runner)
    (one,), *_ = found = extract(["cats", TEXT], truncation=True)
    assert len(found) == 2 and np.shape(one) == (3, 48) and isinstance(one[0][0], float)
    assert_same(np.mean(one, axis=0), embed("cats"))
    tensor = extract("cats", return_tensors=True)
    assert type(tensor).__module__.startswith({"torch": "torch", "keras": "tensorflow"}[backend.name])
    assert_same(np.asarray(tensor), np.array([one]))
    with pytest.raises(InputError, match="padding 'max_length' is not taken"):
        extract("cats", padding="max_length")
    with pytest.raises(InputError, match="return_tensors must be True or False, got 'pt'"):
        extract("cats", return_tensors="pt")
    extract.runner = Bare(extract.runner)  # an export has no framework
    assert isinstance(extract("cats", return_tensors=True), np.ndarray) and extract.model is extract.framework is None


class Bare:
    """A runner alone, without a model, as that of an export."""

    def __init__(self, runner):
        self.config, self.run = runner.config, runner.run


def test_questions_and_labels_as_transformers_takes_them(model, backend):
    ask = load("question-answering", model("question-answering", padding_invariant=True), backend.name, threshold=None)
    both = [{"question": question, "context": TEXT} for question in ("who?", "is this a city?")]
    wanted = ask(both, top_k=1)
    for inputs, values in (
        ([], {"question": [each["question"] for each in both], "context": TEXT}),
        ([], {"question": [each["question"] for each in both], "context": [TEXT, TEXT]}),
        (both, {}),
        ([tuple(both)], {}),
        ([], {"data": both}),
        ([], {"X": both}),
    ):
        assert_same(ask(*inputs, **values, topk=1), wanted, 1e-5)
    assert_same(ask("who?", TEXT, top_k=1), wanted[0], 1e-5)
    judge = load("zero-shot-classification", model("zero-shot-classification"), backend.name)
    wanted = judge("a", candidate_labels=["cats", "dogs"])
    assert (
        judge("a", candidate_labels="cats, dogs,") == judge("a", "cats,dogs") == judge("a", ["cats", "dogs"]) == wanted
    )
    assert judge(sequences=["a"], candidate_labels="cats, dogs") == [wanted]
    assert (
        load("zero-shot-classification", judge.model.name_or_path, backend.name, candidate_labels="cats, dogs")("a")
        == wanted
    )
