"""What the models do, in both backends: outputs, masks, losses, resizing, initialization."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table
from tests.tiny import BRANCHES, tiny_batch, tiny_config


def arrays(backend, model, batch, **options):
    return {n: backend.numpy(v) for n, v in backend.call(model, batch, **options).items()}


# ------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("name", HEADS)
def test_outputs_of_every_head(backend, name):
    head, config = HEADS[name], tiny_config()
    model = backend.build(name, config)
    batch = tiny_batch(config, head)
    output = backend.call(model, batch, output_hidden_states=True, output_attentions=True)
    assert type(output) is head.output
    assert ("loss" in output) == bool(head.tasks)
    assert len(output.hidden_states) == 3 and len(output.attentions) == 2
    rows = 3 * 4 if head.per_choice else 3
    assert tuple(output.hidden_states[0].shape) == (rows, 11, 48)
    assert tuple(output.attentions[0].shape) == (rows, 4, 11, 11)
    plain = backend.call(model, {n: v for n, v in batch.items() if n not in head.label_names})
    assert not {"loss", "hidden_states", "attentions"} & set(plain)
    as_tuple = backend.call(model, batch, return_dict=False)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == len(backend.call(model, batch))


def test_options_come_from_the_configuration(backend):
    config = tiny_config(output_hidden_states=True, output_attentions=True, return_dict=False)
    model = backend.build("MaskedLM", config)
    output = backend.call(model, tiny_batch(config, "MaskedLM", labels=False))
    assert isinstance(output, tuple) and [len(item) for item in output[1:]] == [3, 2]


def test_no_pooler_no_pooled_output(backend):
    model = backend.build("Model", tiny_config(), add_pooling_layer=False)
    output = backend.call(model, tiny_batch(model.config, "Model"))
    assert "pooler_output" not in output and len(output) == 1 and output.pooler_output is None


def test_the_released_pooler_is_the_first_token(backend):
    model = backend.build("Model", tiny_config(classifier_activation=False))
    found = arrays(backend, model, tiny_batch(model.config, "Model"))
    assert np.array_equal(found["pooler_output"], found["last_hidden_state"][:, 0])


def test_attentions_are_distributions_over_what_is_seen(backend):
    model = backend.build("Model", tiny_config())
    output = backend.call(model, tiny_batch(model.config, "Model"), output_attentions=True)
    probs = backend.numpy(output.attentions[0])
    assert np.allclose(probs.sum(-1), 1, atol=1e-6)
    assert probs[-1, ..., 7:].max() == 0


# --------------------------------------------------------------------------------------------------- masks


def test_equal_masks_of_every_rank(backend, checkpoint):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"))
    batch = tiny_batch(model.config, "MaskedLM", labels=False)
    mask = batch["attention_mask"]
    square = np.repeat(mask[:, None, :], 11, axis=1)
    lowest = np.finfo(np.float32).min
    forms = [
        mask, mask.astype(bool), mask.astype(np.float32), square, square[:, None], square[:, None].astype(bool),
        np.where(square[:, None] == 1, 0, lowest).astype(np.float32),
    ]  # fmt: skip
    found = [arrays(backend, model, {**batch, "attention_mask": form})["logits"] for form in forms]
    assert all(np.allclose(found[0], other, rtol=0, atol=1e-5) for other in found[1:])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_row_without_any_token_is_finite_and_uniform(backend, checkpoint, dtype):
    model = backend.load("Model", checkpoint("Model"), dtype=dtype)
    batch = tiny_batch(model.config, "Model")
    batch["attention_mask"][0] = 0
    output = backend.call(model, batch, output_attentions=True)
    assert np.allclose(backend.numpy(output.attentions[0])[0].astype(np.float32), 1 / 11, atol=1e-3)
    fast = backend.numpy(backend.call(model, batch).last_hidden_state).astype(np.float32)
    explicit = backend.numpy(output.last_hidden_state).astype(np.float32)
    assert np.isfinite(fast).all() and np.isfinite(explicit).all()


def test_both_attention_paths_agree(backend, checkpoint):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"), dtype="float64")
    batch = {**tiny_batch(model.config, "MaskedLM"), "head_mask": np.array([[1, 0, 1, 1], [0.5, 1, 1, 1]], np.float32)}
    fast = arrays(backend, model, batch)["logits"]
    explicit = backend.numpy(backend.call(model, batch, output_attentions=True).logits)
    assert np.allclose(fast, explicit, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("invariant", [True, False])
def test_padding_changes_an_answer_only_if_it_may(backend, checkpoint, invariant):
    model = backend.load("Model", checkpoint("Model", padding_invariant=invariant), dtype="float64")
    batch = tiny_batch(model.config, "Model")
    batch = {n: v[-1:] for n, v in batch.items()}
    padded = arrays(backend, model, batch)["last_hidden_state"][:, :7]
    alone = arrays(backend, model, {n: v[:, :7] for n, v in batch.items()})["last_hidden_state"]
    difference = np.abs(padded - alone).max()
    assert difference < 1e-12 if invariant else difference > 1e-3


def test_a_masked_head_is_as_good_as_pruned(backend, checkpoint):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"), dtype="float64")
    batch = tiny_batch(model.config, "MaskedLM", labels=False)
    mask = np.ones((2, 4), np.float32)
    mask[0, [1, 2]] = mask[1, 0] = 0
    masked = arrays(backend, model, {**batch, "head_mask": mask})["logits"]
    model.prune_heads({0: [1], 1: [0]})
    model.prune_heads({0: [2]})
    assert model.config.pruned_heads == {0: [1, 2], 1: [0]}
    assert np.allclose(masked, arrays(backend, model, batch)["logits"], rtol=1e-12, atol=1e-12)


# -------------------------------------------------------------------------------------------------- losses


def cross_entropy(logits, labels):
    logits = logits - logits.max(-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    kept = labels != -100
    return -np.take_along_axis(logs, np.where(kept, labels, 0)[..., None], -1)[..., 0][kept].mean()


def test_masked_language_loss_leaves_out_ignored_labels(backend, checkpoint):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"), dtype="float64")
    batch = tiny_batch(model.config, "MaskedLM")
    found = arrays(backend, model, batch)
    assert found["loss"] == pytest.approx(cross_entropy(found["logits"], batch["labels"]), rel=1e-12)


def test_pretraining_needs_both_labels_and_adds_both_losses(backend, checkpoint):
    model = backend.load("PreTraining", checkpoint("PreTraining"), dtype="float64")
    batch = tiny_batch(model.config, "PreTraining")
    found = arrays(backend, model, batch)
    words = cross_entropy(found["prediction_logits"], batch["labels"])
    order = cross_entropy(found["seq_relationship_logits"], batch["next_sentence_label"])
    assert found["loss"] == pytest.approx(words + order, rel=1e-12)
    del batch["next_sentence_label"]
    assert "loss" not in arrays(backend, model, batch)


def test_next_sentence_labels_have_two_names(backend, checkpoint):
    model = backend.load("NextSentencePrediction", checkpoint("NextSentencePrediction"))
    batch = tiny_batch(model.config, "NextSentencePrediction")
    first = arrays(backend, model, batch)["loss"]
    batch["next_sentence_label"] = batch.pop("labels")
    assert first == arrays(backend, model, batch)["loss"] > 0


def test_answers_beyond_the_sequence_are_ignored(backend, checkpoint):
    model = backend.load("QuestionAnswering", checkpoint("QuestionAnswering"), dtype="float64")
    batch = tiny_batch(model.config, "QuestionAnswering")
    batch["start_positions"], batch["end_positions"] = np.array([2, 11, 500]), np.array([3, -7, 11])
    found = arrays(backend, model, batch)
    start = cross_entropy(found["start_logits"][:1], np.array([2]))
    end = cross_entropy(found["end_logits"][:2], np.array([3, 0]))  # negative positions count as 0
    assert found["loss"] == pytest.approx((start + end) / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "values", "expected"),
    [
        (1, np.array([0.5, -1.0, 2.0], np.float32), "regression"),
        (3, np.array([0, 2, 1]), "single"),
        (3, np.array([0, 2, 1], np.int32), "single"),
        (3, np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]], np.float32), "multi"),
    ],
)
def test_the_problem_is_told_from_the_labels_and_not_remembered(backend, checkpoint, labels, values, expected):
    model = backend.load(
        "SequenceClassification", checkpoint("SequenceClassification", num_labels=labels), dtype="float64"
    )
    before = model.config.to_dict()
    found = arrays(
        backend, model, {**tiny_batch(model.config, "SequenceClassification", labels=False), "labels": values}
    )
    logits = found["logits"]
    losses = {
        "regression": lambda: ((logits[:, 0] - values) ** 2).mean(),
        "single": lambda: cross_entropy(logits, values),
        "multi": lambda: (np.logaddexp(0, logits) - logits * values).mean(),
    }
    assert found["loss"] == pytest.approx(losses[expected](), rel=1e-10)
    assert model.config.to_dict() == before and model.config.problem_type is None


@pytest.mark.parametrize("name", ["MaskedLM", "TokenClassification", "QuestionAnswering", "SequenceClassification"])
def test_nothing_to_learn_from_is_zero(backend, checkpoint, name):
    model = backend.load(name, checkpoint(name))
    batch = tiny_batch(model.config, name)
    for label in HEADS[name].label_names:
        batch[label] = np.full_like(batch[label], 11 if name == "QuestionAnswering" else -100)
    assert arrays(backend, model, batch)["loss"] == 0


def test_one_label_for_a_batch_of_one_needs_no_axis(backend):
    model = backend.build("SequenceClassification", tiny_config(num_labels=3))
    batch = {"input_ids": np.ones((1, 5), np.int32), "labels": np.array(1)}
    assert np.isfinite(arrays(backend, model, batch)["loss"])


# ------------------------------------------------------------------------------------------------- resizing


@pytest.mark.parametrize(
    ("branch", "asked", "multiple", "size"),
    [
        ("released", 120, None, 120),
        ("released", 90, None, 90),
        ("untied", 97, 8, 104),
        ("untied", 90, None, 90),
        ("embedding_is_hidden", None, 64, 128),
    ],
)
def test_resizing_is_complete(backend, checkpoint, tmp_path, branch, asked, multiple, size):
    model = backend.load("PreTraining", checkpoint("PreTraining", **BRANCHES[branch]))
    batch = tiny_batch(model.config, "PreTraining", labels=False)
    batch["input_ids"] = np.minimum(batch["input_ids"], 89)
    before = arrays(backend, model, batch)["prediction_logits"]
    embeddings = model.resize_token_embeddings(asked, pad_to_multiple_of=multiple, mean_resizing=False)
    assert embeddings is model.get_input_embeddings() and model.config.vocab_size == size
    after = arrays(backend, model, batch)["prediction_logits"]
    kept = min(size, 97)
    assert after.shape[-1] == size and np.allclose(after[..., :kept], before[..., :kept], rtol=0, atol=1e-5)
    found = backend.parameters(model)
    table = weight_table(model.config, HEADS["PreTraining"])
    assert {n: a.shape for n, a in found.items()} == {w.name: w.shape for w in table if w.tied_to is None}
    if size > 97:
        assert found["cls.predictions.bias"][97:].max() == 0
    model.save_pretrained(tmp_path / "again")
    again = backend.load("PreTraining", tmp_path / "again")
    assert np.array_equal(arrays(backend, again, batch)["prediction_logits"], after)


def test_resizing_to_nothing_new_changes_nothing(backend):
    model = backend.build("MaskedLM", tiny_config())
    before = backend.parameters(model)
    model.resize_token_embeddings()
    assert all(np.array_equal(before[n], a) for n, a in backend.parameters(model).items())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"new_num_tokens": 0}, "above 0, got 0"),
        ({"new_num_tokens": 3.5}, "above 0, got 3.5"),
        ({"new_num_tokens": 99, "mean_resizing": True}, "mean_resizing=True cannot be honoured"),
    ],
)
def test_resizing_to_nonsense(backend, asked, message):
    model = backend.build("MaskedLM", tiny_config(num_hidden_layers=1))
    with pytest.raises(ConfigError, match=message):
        model.resize_token_embeddings(**asked)
    assert model.config.vocab_size == 97


def test_pruning_is_all_or_nothing(backend):
    model = backend.build("MaskedLM", tiny_config())
    with pytest.raises(ConfigError, match="pruned_heads names layer 7"):
        model.prune_heads({0: [1], 7: [0]})
    assert model.config.pruned_heads == {}
    assert backend.parameters(model)["mobilebert.encoder.layer.0.attention.self.query.weight"].shape == (32, 32)


def test_the_decoder_is_tied(backend):
    model = backend.build("MaskedLM", tiny_config())
    assert "cls.predictions.decoder.weight" not in backend.parameters(model)
    assert model.get_output_embeddings() is not None
    assert backend.build("Model", tiny_config()).get_output_embeddings() is None
    untied = backend.build("MaskedLM", tiny_config(tie_word_embeddings=False))
    assert "cls.predictions.decoder.weight" in backend.parameters(untied)


# ------------------------------------------------------------------------------------------ initialization


@pytest.mark.parametrize("branch", ["released", "layer_norm"])
def test_initialization_is_that_of_the_released_code(backend, branch):
    """A normal distribution cut at two standard deviations, which leaves 0.88 of its own."""
    config = tiny_config(**{**BRANCHES[branch], "vocab_size": 5000, "initializer_range": 0.05})
    model = backend.build("PreTraining", config)
    for name, array in backend.parameters(model).items():
        if name.endswith("bias"):
            assert np.abs(array).max() == 0, name
        elif "LayerNorm" in name:
            assert array.min() == array.max() == 1, name
        else:
            assert np.abs(array).max() <= 0.1 + 1e-6, name
            if array.size > 10_000:
                assert array.std() == pytest.approx(0.05 * 0.88, rel=0.03), name
                assert abs(array.mean()) < 1e-3, name
    matrices = [a for n, a in backend.parameters(model).items() if n.endswith("weight") and a.ndim == 2]
    assert len({a.tobytes() for a in matrices}) == len(matrices) > 20  # no two start alike
    words = backend.parameters(model)["mobilebert.embeddings.word_embeddings.weight"]
    assert np.abs(words[0]).max() == 0 and np.abs(words[1]).max() > 0


def test_parameters_are_counted_once(backend):
    model = backend.build("PreTraining", tiny_config())
    assert model.num_parameters() == sum(a.size for a in backend.parameters(model).values())


def test_gradient_checkpointing_is_switched(backend):
    model = backend.build("MaskedLM", tiny_config())
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
