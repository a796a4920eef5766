"""Texts as training data: the same numbers as the tokenizer gives, in every form of texts, in the background."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_core import AutoTokenizer, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.demo_model import DEMO_VOCABULARY
from mobilebert_core.errors import InputError
from mobilebert_tf import TextPreprocessor, text_dataset
from tests.keras_only.fitting import build

VOCABULARY = str(DEMO_VOCABULARY)
TEXTS = ["Who keeps the bees?", "It rained.", "She fixed the old radio with a paper clip.", "Straße, naïve — 漢字!"]
SECOND = ["Mary does.", "All day long and half the night.", "", "Yes"]
COLUMNS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module")
def tokenizer():
    return MobileBertTokenizerFast(VOCABULARY, model_max_length=37)


def same(found, expected):
    return set(found) == set(COLUMNS) and all(np.array_equal(found[n], expected[n]) for n in COLUMNS)


def test_every_form_of_texts_gives_what_the_tokenizer_gives(tokenizer):
    expected = tokenizer(TEXTS, padding=True, return_tensors="np")
    preprocessor = TextPreprocessor(tokenizer)
    encoded = [text.encode() for text in TEXTS]
    forms = [
        TEXTS, np.array(TEXTS), np.array(TEXTS, object), np.array(encoded), np.array(encoded, object),
        tf.constant(TEXTS),
    ]  # fmt: skip
    for form in forms:
        assert same(preprocessor(form), expected), type(form)
    assert isinstance(preprocessor(tf.constant(TEXTS))["input_ids"], tf.Tensor)
    one = tokenizer(TEXTS[0], return_tensors="np")
    for form in (TEXTS[0], tf.constant(TEXTS[0])):
        assert same(preprocessor(form), {n: one[n][0] for n in COLUMNS})
    assert same(preprocessor((TEXTS, SECOND)), tokenizer(TEXTS, SECOND, padding=True, return_tensors="np"))
    choices = preprocessor([TEXTS, TEXTS[::-1]])
    assert choices["input_ids"].shape == (2, 4, expected["input_ids"].shape[1])
    assert np.array_equal(choices["input_ids"][1], expected["input_ids"][::-1])


def test_mapped_over_a_dataset(tokenizer):
    preprocessor = TextPreprocessor(tokenizer)
    rows = tf.data.Dataset.from_tensor_slices
    batches = list(rows((TEXTS, [0, 1, 2, 3])).batch(2).map(preprocessor))
    assert [labels.numpy().tolist() for _, labels in batches] == [[0, 1], [2, 3]]
    for start, (inputs, _) in zip((0, 2), batches, strict=True):
        assert same(inputs, tokenizer(TEXTS[start : start + 2], padding=True, return_tensors="np"))
    pairs, _, weights = next(iter(rows(((TEXTS, SECOND), [0] * 4, [0.5] * 4)).batch(4).map(preprocessor)))
    assert same(pairs, tokenizer(TEXTS, SECOND, padding=True, return_tensors="np")) and weights.shape == (4,)
    single = rows((TEXTS, [0, 1, 2, 3])).map(preprocessor).padded_batch(4)
    assert same(next(iter(single))[0], tokenizer(TEXTS, padding=True, return_tensors="np"))
    assert same(next(iter(rows(TEXTS).batch(4).map(preprocessor))), tokenizer(TEXTS, padding=True, return_tensors="np"))


@pytest.mark.parametrize(("pad", "length"), [("longest", 12), ("max_length", 24), (8, 16)])
def test_padding_and_truncation(tokenizer, pad, length):
    preprocessor = TextPreprocessor(tokenizer, max_length=24, pad=pad)
    found = preprocessor(TEXTS)
    assert found["input_ids"].shape == (4, length) and found["input_ids"].dtype == np.int32
    long = preprocessor(["bees " * 100])
    assert long["input_ids"].shape == (1, 24) and long["input_ids"][0, -1] == tokenizer.sep_token_id
    dataset = text_dataset(TEXTS, [0] * 4, tokenizer=tokenizer, max_length=24, pad=pad, batch_size=4)
    assert next(iter(dataset))[0]["input_ids"].shape == (4, length)
    assert dataset.element_spec[0]["input_ids"].shape.as_list() == [None, 24 if pad == "max_length" else None]


@pytest.mark.parametrize("cls", [MobileBertTokenizer, MobileBertTokenizerFast])
def test_the_preprocessor_serializes_with_its_tokenizer(cls):
    tokenizer = cls(VOCABULARY, model_max_length=37, do_lower_case=False)
    tokenizer.add_tokens(["honeycomb"])
    preprocessor = TextPreprocessor(tokenizer, max_length=16, pad=4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(preprocessor))
    assert type(again.tokenizer) is cls and (again.max_length, again.pad) == (16, 4)
    texts = [*TEXTS, "honeycomb"]
    assert same(again(texts), preprocessor(texts))


def test_batches_in_order_and_shuffled(tokenizer):
    texts, labels = [f"bees {i}" for i in range(11)], np.arange(11)

    def orders(passes=1, **kwargs):
        dataset = text_dataset(texts, labels, tokenizer=tokenizer, batch_size=4, **kwargs)
        for _ in range(passes):
            batches = list(dataset)
            for inputs, numbers in batches:
                expected = tokenizer([texts[i] for i in numbers], padding=True, return_tensors="np")
                assert same(inputs, expected)
            yield np.concatenate([numbers for _, numbers in batches]).tolist()

    assert next(orders()) == list(range(11))
    first, second, third = orders(3, shuffle=True, seed=5)
    assert sorted(first) == sorted(second) == list(range(11)) and len({*map(tuple, (first, second, third))}) == 3
    assert list(orders(3, shuffle=True, seed=5)) == [first, second, third]
    assert list(orders(2, shuffle=True, seed=5, first_pass=1)) == [second, third]
    assert next(orders(shuffle=True, seed=6)) != first
    assert next(orders(shuffle=True)) != next(orders(shuffle=True))
    assert next(orders(drop_remainder=True)) == list(range(8))
    assert text_dataset(texts, labels, tokenizer=tokenizer, batch_size=4).cardinality() == 3


@pytest.mark.slow
def test_fit_on_texts_learns(tokenizer):
    """One text, a pair, and choices; labels of several outputs come as a dict."""
    texts = ["The bees are here.", "It rained all day."] * 8
    labels = np.array([0, 1] * 8)
    for name, passed, pairs, answers in (
        ("SequenceClassification", texts, None, labels),
        ("NextSentencePrediction", ["Who keeps the bees?"] * 16, texts, labels),
        ("MultipleChoice", [texts[:2], texts[1::-1]] * 8, None, labels),
        ("QuestionAnswering", texts, None, {"start_positions": labels + 1, "end_positions": labels + 2}),
    ):
        model = build(name, vocab_size=8000, initializer_range=0.1)
        model.compile(keras.optimizers.Adam(1e-2))
        dataset = text_dataset(passed, answers, pairs=pairs, tokenizer=tokenizer, batch_size=8, shuffle=True, seed=0)
        history = model.fit(dataset, epochs=20, validation_data=dataset, shuffle=False, verbose=0).history
        assert history["loss"][-1] < 0.05 and history["val_loss"][-1] < 0.05, (name, history)
        assert len(next(iter(model.predict(dataset, verbose=0).values()))) == 16


@pytest.mark.slow
def test_fit_on_a_mapped_dataset_is_fit_on_text_dataset(tokenizer):
    labels = [0, 1, 1, 0]
    mapped = tf.data.Dataset.from_tensor_slices((TEXTS, labels)).batch(2).map(TextPreprocessor(tokenizer))
    made = text_dataset(TEXTS, labels, tokenizer=tokenizer, batch_size=2)
    losses = []
    for dataset in (mapped, made):
        model = build("SequenceClassification", vocab_size=8000)
        model.compile(keras.optimizers.Adam(1e-3))
        losses.append(model.fit(dataset, epochs=2, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_sample_weights_of_texts(tokenizer):
    model = build("SequenceClassification", vocab_size=8000, initializer_range=0.5)
    model.compile(keras.optimizers.SGD(0.0))
    losses = [
        model.evaluate(text_dataset(TEXTS, [0, 1, 1, 0], tokenizer=tokenizer, sample_weight=weight), verbose=0)
        for weight in ([1.0] * 4, [1.0, 0, 0, 0], [0, 1.0, 1.0, 1.0])
    ]
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-5) and losses[1] > 0


def test_what_is_no_text(tokenizer):
    preprocessor = TextPreprocessor(tokenizer)
    for wrong, message in (
        ([1, 2], "wanted strings, got int 1"),
        (["a", None], "wanted strings, got NoneType None"),
        (["a", float("nan")], "wanted strings, got float nan"),
        ([b"\xff\xfe"], "a text is not UTF-8"),
        ([], "wanted at least one text, got none"),
        ({"text": "a"}, "texts must be strings, got dict"),
        (("a", "b", "c"), "wanted .first, second. texts, got a tuple of 3"),
        ((["a"], ["b", "c"]), r"a second text for each first one, got \(1,\) first texts and \(2,\) second"),
    ):
        with pytest.raises(InputError, match=message):
            preprocessor(wrong)
    with pytest.raises(InputError, match="wanted texts, got int32"):
        preprocessor(tf.constant([1]))
    with pytest.raises(InputError, match=r"labels are texts. Pairs of texts come as one tuple: \(\(first, second\), "):
        tf.data.Dataset.from_tensor_slices((TEXTS, SECOND)).batch(2).map(preprocessor)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"labels": [0, 1]}, r"there are 4 texts, and labels or weights of shape \(2,\)"),
    ({"labels": ["a", "b", "c", "d"]}, "labels must be arrays of numbers, got text"),
    ({"pairs": ["a"]}, r"a pair for each text, got texts of shape \(4,\) and pairs of \(1,\)"),
    ({"texts": "abc"}, "wanted a list of texts, got 'abc'"),
    ({"texts": []}, "wanted a list of texts, got none"),
    ({"texts": ["a", 1, "b", "c"]}, "wanted strings, got int 1"),
    ({"batch_size": 0}, "batch_size must be a whole number from 1, got 0"),
    ({"first_pass": -1}, "first_pass must be a whole number from 0, got -1"),
    ({"sample_weight": [1.0] * 4}, "sample_weight was passed without labels"),
    ({"pad": "longer"}, "pad must be 'longest', 'max_length' or a multiple, got 'longer'"),
    ({"pad": 8}, "max_length 37 is no multiple of pad 8"),
    ({"tokenizer": "my-model"}, "tokenizer must be a tokenizer, got 'my-model'"),
    ({"tokenizer": MobileBertTokenizerFast(VOCABULARY)}, "the tokenizer has no model_max_length. Pass max_length."),
], ids=range(13))  # fmt: skip
def test_wrong_arguments_are_explained(tokenizer, arguments, message):
    with pytest.raises(InputError, match=message):
        text_dataset(**{"texts": TEXTS, "tokenizer": tokenizer, **arguments})


@pytest.mark.parametrize("fast", [True, False])
def test_a_configuration_is_stable_and_says_nothing_of_the_machine(tmp_path, fast):
    MobileBertTokenizerFast(VOCABULARY, model_max_length=37).save_pretrained(tmp_path)
    first = TextPreprocessor(AutoTokenizer.from_pretrained(str(tmp_path), use_fast=fast), pad=37)
    configs = [first.get_config()]
    for _ in range(2):
        again = TextPreprocessor.from_config(configs[-1])
        configs.append(again.get_config())
    assert configs[0] == configs[1] == configs[2]
    assert str(tmp_path.parent) not in json.dumps(configs[0]) and "name_or_path" not in json.dumps(configs[0])
    assert same(again(TEXTS), first(TEXTS))
