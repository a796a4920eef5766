"""What a careless caller passes: one clear InputError of ours in both backends, and nothing from deep inside."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError, InputError
from tests.backends.backend import built
from tests.tiny import tiny_batch, tiny_config

IDS = np.ones((2, 5), np.int32)


@pytest.fixture
def model(backend):
    return built(backend, num_labels=4)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "wanted either input_ids or inputs_embeds, got neither"),
        ({"input_ids": IDS, "inputs_embeds": np.zeros((2, 5, 20), np.float32)}, "got both"),
        ({"input_ids": np.ones((1, 38), np.int32)}, "38 tokens long.*max_position_embeddings 37.*Truncate"),
        ({"input_ids": np.array([[1, 97]], np.int32)}, "input_ids must lie in 0..96 .vocab_size 97.*from 1 to 97"),
        ({"input_ids": np.array([[-1, 5]], np.int32)}, "input_ids must lie in 0..96.*from -1 to 5"),
        ({"input_ids": IDS, "token_type_ids": IDS * 3}, "token_type_ids must lie in 0..2"),
        ({"input_ids": IDS, "position_ids": IDS * 37}, "position_ids must lie in 0..36"),
        ({"input_ids": IDS[0]}, r"input_ids must be .batch, sequence., got shape .5,..*Add the missing axis"),
        ({"input_ids": IDS[None]}, "input_ids must be .batch, sequence., got shape"),
        ({"input_ids": IDS[:0]}, "input_ids has an empty batch axis"),
        ({"input_ids": IDS[:, :0]}, "input_ids has an empty sequence axis"),
        ({"input_ids": IDS.astype(np.float32)}, "input_ids must be whole numbers"),
        ({"inputs_embeds": np.zeros((2, 5, 48), np.float32)}, "width embedding_size 20.*not hidden_size 48"),
        (
            {"input_ids": IDS, "attention_mask": np.ones((2, 6))},
            "attention_mask has shape .2, 6., wanted .batch, sequence",
        ),
        (
            {"input_ids": IDS, "attention_mask": IDS * 7},
            "attention_mask must hold 1 for tokens that are seen.*7 to 7",
        ),
        ({"input_ids": IDS, "attention_mask": (IDS - 1) - 1e4}, "attention_mask must hold 1"),
        ({"input_ids": IDS, "attention_mask": np.full((2, 5), np.nan)}, "attention_mask must hold 1"),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 1, 5, 5), np.float32)}, "added to the scores.*up to 1"),
        ({"input_ids": IDS, "token_type_ids": IDS[:, :3]}, r"token_type_ids has shape .2, 3., wanted .2, 5."),
        ({"input_ids": IDS, "head_mask": np.ones(3, np.float32)}, r"head_mask has shape .3,., wanted .4,."),
        ({"input_ids": IDS, "labels": IDS * 4}, "labels must lie in 0..3, or be -100.*from 4 to 4"),
        ({"input_ids": IDS, "labels": IDS * -1}, "labels must lie in 0..3"),
        ({"input_ids": IDS, "labels": IDS[:, :4]}, r"labels has shape .2, 4., wanted .2, 5."),
        ({"input_ids": IDS, "labels": IDS.T}, r"labels has shape .5, 2., wanted .2, 5."),
        ({"input_ids": IDS, "labels": IDS.astype(np.float32)}, "labels must be whole numbers"),
    ],
)
def test_bad_input_is_said(backend, model, batch, message):
    with pytest.raises(InputError, match=message):
        backend.call(model, batch)


def test_unknown_arguments_are_errors(backend, model):
    with pytest.raises((InputError, TypeError), match="colour"):
        backend.call(model, {"input_ids": IDS}, colour="red")


def test_choices_need_their_axis(backend):
    model = built(backend, "MultipleChoice")
    with pytest.raises(InputError, match=r"input_ids must be .batch, choices, sequence."):
        backend.call(model, {"input_ids": IDS})


def test_integer_labels_of_several_classes_are_explained(backend):
    model = built(backend, "SequenceClassification", num_labels=3)
    with pytest.raises(InputError, match=r"'multi_label_classification' takes floats \(2, 3\)"):
        backend.call(model, {"input_ids": IDS, "labels": np.ones((2, 3), np.int32)})


def test_padding_invariance_needs_to_know_the_padding(backend):
    model = built(backend, "MaskedLM", padding_invariant=True)
    with pytest.raises(InputError, match="padding_invariant needs a .batch, sequence. attention_mask"):
        backend.call(model, {"input_ids": IDS, "attention_mask": np.ones((2, 5, 5), np.int32)})


def test_head_mask_after_pruning_is_refused(backend):
    model = built(backend, "MaskedLM", pruned_heads={0: [1]})
    with pytest.raises(InputError, match="head_mask cannot be used after pruning"):
        backend.call(model, {"input_ids": IDS, "head_mask": np.ones(4, np.float32)})


def test_heads_that_cannot_be_are_refused(backend):
    with pytest.raises(ConfigError, match="embedding_size 64 is larger than hidden_size 48"):
        backend.build("MaskedLM", tiny_config(embedding_size=64))
    with pytest.raises(ConfigError, match="num_labels is 3, wanted 2"):
        backend.build("QuestionAnswering", tiny_config(num_labels=3))
    with pytest.raises(ConfigError, match="wanted a mobilebert_core.MobileBertConfig, got builtins.dict"):
        backend.classes["MaskedLM"]({"vocab_size": 97})


def test_arrays_passed_in_are_not_changed(backend, model):
    batch = tiny_batch(model.config, "TokenClassification")
    before = {name: value.copy() for name, value in batch.items()}
    backend.call(model, batch)
    assert all(np.array_equal(before[name], batch[name]) for name in batch)


def test_a_missing_checkpoint(backend, tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="nowhere: no such file or directory; .* holds nothing"):
        backend.load("MaskedLM", tmp_path / "nowhere")
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=r"weights not found; the directory holds config"):
        backend.load("MaskedLM", tmp_path)


def test_a_truncated_checkpoint(backend, checkpoint):
    path = checkpoint("MaskedLM")
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors: not a whole safetensors file"):
        backend.load("MaskedLM", path)
    file.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match=r"model.safetensors: not a whole safetensors file"):
        backend.load("MaskedLM", path)


def test_another_models_configuration(backend, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="model_type is 'bert', wanted 'mobilebert'"):
        backend.load("MaskedLM", tmp_path)


TEXTS = (["good", "bad"], ("good", "bad"), np.array(["good", "bad"]), np.array(["good", "bad"], object))


@pytest.mark.parametrize("labels", TEXTS, ids=["list", "tuple", "array", "objects"])
def test_labels_of_text_are_refused_with_the_way_to_numbers(backend, labels):
    named = built(backend, "SequenceClassification", label2id={"bad": 0, "good": 1})
    plain = built(backend, "SequenceClassification", num_labels=4)
    ids = backend.array(IDS)
    with pytest.raises(
        InputError,
        match=r"MobileBertForSequenceClassification: labels must be numbers, got text such as 'good'. config.label2id "
        r"has their numbers: .model.config.label2id.name. for name in labels.",
    ):
        named(ids, labels=labels)
    with pytest.raises(InputError, match=r"config.label2id has {'LABEL_0': 0, 'LABEL_1': 1, 'LABEL_2': 2, ...}. Give"):
        plain(ids, labels=labels)


@pytest.mark.parametrize("head, label, hint", [
    ("TokenClassification", "labels", "config.label2id has"),
    ("MaskedLM", "labels", "Pass ids of words, from the tokenizer"),
    ("NextSentencePrediction", "next_sentence_label", "Pass the number of the right class"),
    ("QuestionAnswering", "end_positions", "Pass the number of the right token"),
])  # fmt: skip
def test_labels_of_text_of_other_heads(backend, head, label, hint):
    model = built(backend, head)
    with pytest.raises(InputError, match=f"must be numbers, got text such as 'B-PER'. {hint}"):
        model(backend.array(IDS), **{label: [["B-PER", "O"], ["O", "O"]]})
