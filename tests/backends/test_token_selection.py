"""Only selected tokens are computed: the words with a label under `sparse_prediction`, the first token for a pooler.
In float64 every number is that of the whole computation to 1e-12.
"""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from tests.tiny import BRANCHES, STRUCTURES, tiny_batch, tiny_config

WORDS = {"MaskedLM": "logits", "PreTraining": "prediction_logits"}
# What differs outside the last block, or in a number alone.
OUTSIDE_A_BLOCK = (
    "no_trigram", "embedding_is_hidden", "untied", "layer_norm_large_epsilon", "no_padding_token", "six_ffn",
)  # fmt: skip
NO_DROPOUT = {"attention_probs_dropout_prob": 0.0}


def run(backend, model, batch, **options):
    """The output, and the gradients of its loss by the weights' names, in training."""
    if backend.name == "torch":
        model.train().zero_grad()
        output = backend.call(model, batch, **options)
        output.loss.backward()
        return output, {n: p.grad.double().numpy() for n, p in model.named_parameters() if p.grad is not None}
    import tensorflow as tf

    variables = {v.path.partition("/")[2]: v.value for v in model.trainable_variables}
    with tf.GradientTape() as tape:
        output = backend.call(model, batch, **options, training=True)
    gradients = tape.gradient(output.loss, variables)
    found = {n: tf.cast(tf.convert_to_tensor(g), tf.float64).numpy() for n, g in gradients.items() if g is not None}
    return output, found


def assert_near(found, expected, tolerance=1e-12):
    assert found.shape == expected.shape and np.isfinite(found).all()
    assert np.abs(found - expected).max(initial=0) <= tolerance * max(1.0, np.abs(expected).max(initial=0))


def assert_same_gradients(found, expected, tolerance=1e-12):
    assert set(found) == set(expected) and len(found) > 3
    for name in expected:
        assert_near(found[name], expected[name], tolerance)


def both(backend, checkpoint, head, dtype="float64", **overrides):
    """The same weights in a model that scores every token and in one that scores those with a label."""
    path = checkpoint(head, **NO_DROPOUT, **overrides)
    dense = backend.load(head, path, dtype=dtype)
    return dense, backend.load(head, path, dtype=dtype, sparse_prediction=True)


@pytest.mark.parametrize(
    ("head", "branch"), [*(("MaskedLM", branch) for branch in STRUCTURES), ("PreTraining", "released")]
)
def test_scores_loss_and_gradients_of_labelled_tokens(backend, checkpoint, head, branch):
    dense, sparse = both(backend, checkpoint, head, **BRANCHES[branch])
    batch = tiny_batch(dense.config, head)
    expected, gradients = run(backend, dense, batch)
    found, found_gradients = run(backend, sparse, batch)
    labelled = batch["labels"] != -100
    scores = backend.numpy(found[WORDS[head]])
    assert scores.shape == (labelled.sum(), dense.config.vocab_size) and 0 < labelled.sum() < labelled.size
    assert_near(scores, backend.numpy(expected[WORDS[head]])[labelled])
    assert_near(backend.numpy(found.loss), backend.numpy(expected.loss))
    assert_same_gradients(found_gradients, gradients)


@pytest.mark.parametrize("head", WORDS)
def test_states_and_attentions_are_whole(backend, checkpoint, head):
    dense, sparse = both(backend, checkpoint, head)
    batch = tiny_batch(dense.config, head)
    options = {"output_hidden_states": True, "output_attentions": True}
    expected, gradients = run(backend, dense, batch, **options)
    found, found_gradients = run(backend, sparse, batch, **options)
    for name in ("hidden_states", "attentions"):
        for one, other in zip(found[name], expected[name], strict=True):
            assert_near(backend.numpy(one), backend.numpy(other))
    assert_near(backend.numpy(found.loss), backend.numpy(expected.loss))
    assert_same_gradients(found_gradients, gradients)


@pytest.mark.parametrize("head", WORDS)
def test_without_labels_every_token_is_scored(backend, checkpoint, head):
    dense, sparse = both(backend, checkpoint, head)
    batch = tiny_batch(dense.config, head, labels=False)
    expected, found = backend.call(dense, batch), backend.call(sparse, batch)
    assert "loss" not in found and list(found) == list(expected)
    for name in expected:
        assert_near(backend.numpy(found[name]), backend.numpy(expected[name]), tolerance=0)


@pytest.mark.parametrize("head", WORDS)
def test_nothing_labelled_is_a_loss_of_0(backend, checkpoint, head):
    _, sparse = both(backend, checkpoint, head)
    batch = tiny_batch(sparse.config, head)
    batch["labels"][:] = -100
    output, gradients = run(backend, sparse, batch)
    assert output[WORDS[head]].shape == (0, 97)
    if head == "MaskedLM":
        assert backend.numpy(output.loss) == 0 and all((g == 0).all() for g in gradients.values())
    assert np.isfinite(backend.numpy(output.loss)) and all(np.isfinite(g).all() for g in gradients.values())


@pytest.mark.parametrize("lead", [(1, 1), (5, 2)])
def test_one_labelled_token_and_embeddings_as_input(backend, checkpoint, lead):
    dense, sparse = both(backend, checkpoint, "MaskedLM")
    embeds = np.random.default_rng(0).standard_normal((*lead, dense.config.embedding_size))
    labels = np.full(lead, -100)
    labels[-1, 0] = 3
    batch = {"inputs_embeds": embeds, "labels": labels}
    expected, found = backend.call(dense, batch), backend.call(sparse, batch)
    assert_near(backend.numpy(found.logits)[0], backend.numpy(expected.logits)[-1, 0])
    assert_near(backend.numpy(found.loss), backend.numpy(expected.loss))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gives_the_loss_of_all_tokens(backend, checkpoint, dtype):
    dense, sparse = both(backend, checkpoint, "PreTraining", dtype=dtype)
    batch = tiny_batch(dense.config, "PreTraining")
    expected, found = backend.call(dense, batch), backend.call(sparse, batch)
    assert "float32" in str(found.loss.dtype) and dtype in str(found.prediction_logits.dtype)
    assert backend.numpy(found.loss) == pytest.approx(backend.numpy(expected.loss), rel=1e-2)


def test_gradient_checkpointing_gives_the_same_gradients(backend, checkpoint):
    path = checkpoint("MaskedLM", **NO_DROPOUT)
    options = {"dtype": "float64", "sparse_prediction": True}
    stored, again = (backend.load("MaskedLM", path, gradient_checkpointing=c, **options) for c in (False, True))
    batch = tiny_batch(stored.config, "MaskedLM")
    assert_same_gradients(run(backend, again, batch)[1], run(backend, stored, batch)[1])


def test_bad_labels_are_said(backend, checkpoint):
    _, sparse = both(backend, checkpoint, "MaskedLM")
    batch = tiny_batch(sparse.config, "MaskedLM")
    labels = batch.pop("labels")
    with pytest.raises(InputError, match=r"labels has shape \(3, 7\), wanted \(3, 11\)"):
        backend.call(sparse, {**batch, "labels": labels[:, :7]})
    with pytest.raises(InputError, match=r"labels must lie in 0..96, or be -100"):
        backend.call(sparse, {**batch, "labels": labels + 50})


def test_the_field_is_saved_and_checked(backend, checkpoint, tmp_path):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"), sparse_prediction=True)
    model.save_pretrained(tmp_path / "saved")
    assert backend.load("MaskedLM", tmp_path / "saved").config.sparse_prediction is True
    assert tiny_config().sparse_prediction is False
    with pytest.raises(ConfigError, match="sparse_prediction"):
        tiny_config(sparse_prediction="yes")


@pytest.mark.parametrize(
    ("head", "branch"),
    [
        *(("SequenceClassification", branch) for branch in STRUCTURES if branch not in OUTSIDE_A_BLOCK),
        ("NextSentencePrediction", "pooler"),
        ("MultipleChoice", "released"),
    ],
)
def test_the_last_block_of_a_pooled_head(backend, checkpoint, head, branch):
    """With all states asked for, the last block computes every token; without, the first alone."""
    model = backend.load(head, checkpoint(head, **NO_DROPOUT, **BRANCHES[branch]), dtype="float64")
    batch = tiny_batch(model.config, head)
    expected, gradients = run(backend, model, batch, output_hidden_states=True)
    found, found_gradients = run(backend, model, batch)
    for name in found:
        assert_near(backend.numpy(found[name]), backend.numpy(expected[name]))
    assert_same_gradients(found_gradients, gradients)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_which_tokens_the_last_block_computes(backend, checkpoint, head, monkeypatch):
    """3 texts of 11 tokens (4 choices each where there are choices), of which 4 tokens have a word label."""
    model = backend.load(head, checkpoint(head, num_hidden_layers=1), sparse_prediction=True)
    batch = tiny_batch(model.config, head)
    if head in WORDS:
        batch["labels"] = np.where(np.arange(33).reshape(3, 11) % 8 == 3, 5, -100)
    seen = []
    encoder = model.encoder if head == "Model" and backend.name == "torch" else model.mobilebert.encoder
    if backend.name == "torch":
        kind, computed = type(encoder.layer[0].output), type(encoder.layer[0].output).forward
        monkeypatch.setattr(kind, "forward", lambda *a: seen.append(computed(*a)) or seen[-1])
        model.eval()
    else:
        part = encoder.layer[0].output_
        call = part.call
        part.call = lambda *a, **k: seen.append(call(*a, **k)) or seen[-1]
    backend.call(model, batch)
    tokens = int(np.prod(seen[0].shape)) // 48
    pooled = {"NextSentencePrediction": 3, "SequenceClassification": 3, "MultipleChoice": 12, "MaskedLM": 4}
    assert tokens == pooled.get(head, 33)
