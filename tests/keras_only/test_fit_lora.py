"""Low-rank adapters: what trains, what is saved, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_tf import MODEL_CLASSES
from mobilebert_tf.lora import adapter_variables
from tests.keras_only.fitting import build, data, learnable, plain, weights_of

RANK = 2


def numbers(value):
    return keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.copy(value), "float32"))


def adapted(name="SequenceClassification", targets=("query", "value"), epochs=2, **overrides):
    x, y = data(name)
    model = build(name, initializer_range=0.1, **overrides)
    frozen = {w.full_name: numbers(model.variable_of(w)) for w in model.weight_table() if w.keras}
    model.enable_lora(RANK, targets, alpha=3)
    model.compile(keras.optimizers.AdamW(1e-2))
    if epochs:
        model.fit(x, plain(y), epochs=epochs, batch_size=8, shuffle=False, verbose=0)
    return model, x, y, frozen


@pytest.mark.parametrize(("name", "targets"), [
    ("SequenceClassification", ("query", "value")),
    ("MaskedLM", ("query", "word_embeddings", "layer.0.intermediate.dense")),
    ("Model", "attention.self.key"),
])  # fmt: skip
def test_adapters_and_the_head_train_and_nothing_else(name, targets):
    if name == "Model":
        model, x, _, frozen = adapted(name, targets, epochs=0)
        model.compile(keras.optimizers.AdamW(1e-2), loss={"pooler_output": "mse"})
        model.fit(x, {"pooler_output": np.ones((8, 48), np.float32)}, verbose=0)
    else:
        model, x, _, frozen = adapted(name, targets)
    listed = (targets,) if isinstance(targets, str) else targets
    touched = {n for n in frozen if any(n.endswith(f".{t}.weight") for t in listed) or not n.startswith("mobilebert.")}
    changed = {
        w.full_name
        for w in model.weight_table()
        if w.keras and not np.array_equal(numbers(model.variable_of(w)), frozen[w.full_name])
    }
    assert changed == touched
    trained = [v.path for v in model.trainable_variables]
    assert len(trained) == 2 * len(listed) + len([n for n in frozen if not n.startswith("mobilebert.")])
    assert sum("lora" in path for path in trained) == 2 * len(listed)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float16"])
def test_saved_weights_are_merged_by_the_product(tmp_path, dtype):
    model, x, *_ = adapted(dtype=dtype)
    model.save_pretrained(tmp_path)
    merged = MODEL_CLASSES["SequenceClassification"].from_pretrained(tmp_path, dtype=dtype)
    assert merged.lora is None
    for block, plain_block in zip(model.mobilebert.encoder.layer, merged.mobilebert.encoder.layer, strict=True):
        for part in ("query", "value"):
            kernel, a, b = adapter_variables(getattr(block.attention.self, part))
            by_hand = kernel + (3 / RANK) * keras.ops.matmul(a, b)
            found = getattr(plain_block.attention.self, part).kernel
            assert np.array_equal(numbers(found), numbers(keras.ops.cast(by_hand, found.dtype)))
    tolerance = {"float32": 1e-5}.get(dtype, 2e-2)
    np.testing.assert_allclose(numbers(merged(x).logits), numbers(model(x).logits), rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SequenceClassification", "MaskedLM"])
def test_a_keras_file_keeps_adapters_and_optimizer(tmp_path, name):
    targets = ("query", "word_embeddings") if name == "MaskedLM" else ("query", "value")
    model, x, y, _ = adapted(name, targets)
    model.save(tmp_path / "model.keras")
    model.save_pretrained(tmp_path / "merged")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.lora == {"rank": RANK, "targets": list(targets), "alpha": 3}
    assert np.array_equal(loaded(x)[0], model(x)[0])
    for again in (model, loaded):
        again.fit(x, plain(y), epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(model), weights_of(loaded), strict=True))
    without_keras = MODEL_CLASSES[name].from_pretrained(tmp_path / "model.keras")  # the merged weights
    merged = MODEL_CLASSES[name].from_pretrained(tmp_path / "merged")
    assert np.array_equal(without_keras(x)[0], merged(x)[0])


def test_files_of_weights_with_and_without_adapters(tmp_path):
    model, x, _, _ = adapted()
    model.save_weights(tmp_path / "adapted.weights.h5")
    other, *_ = adapted(epochs=0)
    assert not np.array_equal(other(x).logits, model(x).logits)
    other.load_weights(tmp_path / "adapted.weights.h5")
    assert np.array_equal(other(x).logits, model(x).logits)
    base = build("SequenceClassification", seed=2)
    base.save_weights(tmp_path / "base.weights.h5")
    other = build("SequenceClassification", seed=3)  # not compiled: the file has no optimizer either
    other.enable_lora(RANK)
    other.load_weights(tmp_path / "base.weights.h5")
    np.testing.assert_allclose(other(x).logits, base(x).logits, rtol=1e-6)
    _, a, b = adapter_variables(other.mobilebert.encoder.layer[0].attention.self.query)
    assert np.abs(numbers(a)).max() > 0 and not numbers(b).any()  # they can learn again


def test_layers_that_were_adapted_one_by_one_are_not_changed():
    model = build("SequenceClassification")
    words = model.mobilebert.embeddings.word_embeddings
    words.enable_lora(2)
    found = "wanted layers without low-rank adapters, got 1 with them, the first mobilebert.embeddings.word_emb"
    for call in (lambda: model.prune_heads({0: [1]}), lambda: model.resize_token_embeddings(120),
                 lambda: model.set_input_embeddings(np.zeros(words.embeddings.shape)),
                 lambda: model.enable_lora(2, "word_embeddings")):  # fmt: skip
        with pytest.raises(ConfigError, match=found):
            call()
    assert model.config.vocab_size == words.input_dim == 97 and model.lora is None


@pytest.mark.slow
def test_adapters_learn():
    x, y = learnable("SequenceClassification")
    model = build("SequenceClassification", initializer_range=0.1)
    model.compile("sgd")
    model.enable_lora(4, ("query", "value", "dense"))
    model.compile(keras.optimizers.Adam(2e-2))
    losses = model.fit(x, plain(y), batch_size=16, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.05


def test_what_adapters_refuse():
    model = build("SequenceClassification")
    for rank in (0, -1, True, 1.5):
        with pytest.raises(ConfigError, match="rank must be a whole number above 0"):
            model.enable_lora(rank)
    with pytest.raises(
        ConfigError, match="no layer is called 'quer'. Targets are ends of names such as mobilebert.emb"
    ):
        model.enable_lora(2, ["query", "quer"])
    with pytest.raises(ConfigError, match="no layer is called 'classifier'"):
        model.enable_lora(2, "classifier")
    with pytest.raises(ConfigError, match="wanted the names of layers to adapt as targets, got none"):
        model.enable_lora(2, [])
    assert model.lora is None and len(model.trainable_variables) == len(model.weights)
    model.enable_lora(2)
    with pytest.raises(ConfigError, match="the model has adapters of rank 2 already. For others"):
        model.enable_lora(3)
    for call in (lambda: model.prune_heads({0: [1]}), lambda: model.resize_token_embeddings(120),
                 lambda: model.quantize("int8")):  # fmt: skip
        with pytest.raises(
            ConfigError, match="has low-rank adapters.* Merge them first: save_pretrained, then from_pre"
        ):
            call()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_adapters_beside_quantized_weights_are_refused():
    model = build("SequenceClassification")
    model.quantize("int8")
    with pytest.raises(ConfigError, match="mobilebert.encoder.layer.0.attention.self.query is quantized to int8. Add"):
        model.enable_lora(2)
