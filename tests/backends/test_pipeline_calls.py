"""How pipelines are called: the keywords and the kinds of input that those of transformers take."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mobilebert import MobileBertPipeline, pipelines
from mobilebert.pipeline_keywords import task_options
from mobilebert_core import (
    InputError,
    MobileBertConfig,
    MobileBertTokenizerFast,
)
from mobilebert_core.hub import pushing
from mobilebert_core.saves import saving_together
from tests.backends.conftest import TEXT, assert_same, load


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
        ("text-classification", loaded, {"padding_invariant": True}, "padding_invariant, .* are for loading one"),
        ("text-classification", loaded, {"threads": 2}, "threads, .* are for loading one"),
    ):
        with pytest.raises(InputError, match=message):
            pipelines.pipeline(task, passed, **options)


def test_what_is_pushed_has_the_tokenizer(model, backend, tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr(pushing, "push_folder", lambda folder, *_, **__: pushed.extend(Path(folder).iterdir()))
    load("text-classification", model("text-classification"), backend.name).save_pretrained(
        tmp_path / "saved", push_to_hub=True
    )
    assert {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json"} <= {path.name for path in pushed}


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
    for truncation, firsts in (("only_first", 1), ("only_second", 5), (True, 3)):  # of 7 word pieces
        row = _rows(pipeline, "a b c d e", "f g h i j k", truncation=truncation, max_length=10)[0]
        assert (len(row.input_ids), row.token_type_ids.count(0)) == (10, firsts + 2) and row.cut
    for (passed, values), message in (
        ((["a"], {"batch_size": 0}), "batch_size must be a whole number of at least 1, got 0"),
        ((["a"], {"truncation": "some"}), "truncation must be one of None, True.* the longer text is cut"),
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


def _rows(pipeline, text, text_pair, **options):
    text_side = pipeline.text.with_options(task_options(pipeline.task, options))
    return text_side.rows({"text": text, "text_pair": text_pair})


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


@pytest.fixture
def in_turn(model, tmp_path):
    """A copy of a saved model, and another save of it: its words in another order and its labels under other names."""
    shutil.copytree(model("text-classification"), tmp_path / "old")
    pipe = load("text-classification", tmp_path / "old", "torch")
    words = (tmp_path / "old" / "vocab.txt").read_text().split("\n")
    (tmp_path / "vocab.txt").write_text("\n".join([*words[:8], *reversed([word for word in words[8:] if word])]))
    config = pipe.model.config.copy(id2label={0: "no", 1: "yes"}, label2id=None)
    return tmp_path / "old", config, MobileBertTokenizerFast(str(tmp_path / "vocab.txt"))


def test_model_and_tokenizer_are_of_one_save(in_turn, backend, monkeypatch):
    """One was read before somebody saved there, the other after it: answers of a model for words of another."""
    path, config, words = in_turn
    original = pipelines.open_runner

    def replaced(*args, **options):
        monkeypatch.setattr(pipelines, "open_runner", original)
        with saving_together(path) as stage:
            config.save_pretrained(stage)
            words.save_pretrained(stage)
        return original(*args, **options)

    monkeypatch.setattr(pipelines, "open_runner", replaced)
    pipe = load("text-classification", path, backend.name)
    assert pipe.model.config.id2label[1] == "yes" and pipe.tokenizer.get_vocab() == words.get_vocab()


def test_a_pipeline_is_saved_whole_or_not_at_all(in_turn, monkeypatch):
    path, config, words = in_turn
    before = load("text-classification", path, "torch", top_k=2)("cats")
    model = load("text-classification", path, "torch").model
    model.config = config
    pipe = MobileBertPipeline.of_model("text-classification", model, tokenizer=words)
    with monkeypatch.context() as patched:
        patched.setattr(words, "save_pretrained", None)
        with pytest.raises(TypeError):
            pipe.save_pretrained(path)
    assert load("text-classification", path, "torch", top_k=2)("cats") == before
    pipe.save_pretrained(path, max_shard_size=20_000)
    assert len(list(path.glob("*.safetensors"))) > 1
    pipe.save_pretrained(path)
    assert [file.name for file in path.glob("*.safetensors*")] == ["model.safetensors"]
    saved = load("text-classification", path, "torch")
    assert saved.model.config.id2label[1] == "yes" and saved.tokenizer.get_vocab() == words.get_vocab()
