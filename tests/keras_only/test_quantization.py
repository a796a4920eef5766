"""Models that Keras quantized: what is saved, what is read, and what is refused."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import torch

import mobilebert_torch
from mobilebert_core.errors import ConfigError
from mobilebert_core.training.recipe import Recipe
from mobilebert_tf import MODEL_CLASSES, ResumeTraining, TFMobileBertMainLayer
from mobilebert_tf.quantization import quantized_layers
from mobilebert_tf.trainer import Trainer
from mobilebert_tf.variables import variable_array
from tests.keras_only.fitting import build, data, plain, weights_of
from tests.tiny import tiny_config


@pytest.fixture(autouse=True, scope="module")
def collected_as_usual() -> Iterator[None]:
    """Keras collects garbage for every layer that it quantizes, and the package spares that where nothing is frozen."""
    gc.unfreeze()
    yield
    gc.freeze()


pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning"),
    pytest.mark.filterwarnings("ignore:Invalid quantization mode. .* quantization_mode=float8:UserWarning"),  # tables
]

INT8, INT4 = keras.quantizers.Int8QuantizationConfig, keras.quantizers.Int4QuantizationConfig
WAYS = {
    "int8": lambda: {"mode": "int8"},
    "int8_weights": lambda: {"config": INT8(activation_quantizer=None)},
    "int4": lambda: {"mode": "int4"},
    "int4_channels": lambda: {"config": INT4(block_size=None)},
    "int4_groups": lambda: {"config": INT4(block_size=16)},
    "float8": lambda: {"mode": "float8"},
    "int8_part": lambda: {"mode": "int8", "filters": "query|word_embeddings"},
}


def quantized(name, way, **overrides):
    model = build(name, initializer_range=0.2, **overrides)
    x, _ = data(name)
    before = np.asarray(model(x)[0])
    model.quantize(**WAYS[way]())
    logits = np.asarray(model(x)[0])
    assert quantized_layers(model) and np.abs(logits - before).max() > 1e-3
    return model, x, logits, before


def torch_logits(path, x):
    model = mobilebert_torch.MODEL_CLASSES["MaskedLM"].from_pretrained(path)
    return model(**{n: torch.as_tensor(v) for n, v in x.items()}).logits.detach().numpy()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_every_format(tmp_path, way):
    """A .keras file keeps the integers. Other formats hold the weights as they act: the logits are equal where Keras
    rounds only weights. int8 and float8 round what the layers read too: within a tenth."""
    model, x, logits, before = quantized("MaskedLM", way)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x)[0], logits)
    assert [v.dtype for v in loaded.weights] == [v.dtype for v in model.weights]
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    model.save_pretrained(tmp_path, safe_serialization=way != "int4")
    wanted, tolerance = (logits, 1e-5) if way.startswith(("int8_weights", "int4")) else (before, 0.1)
    for found in (torch_logits(tmp_path, x), type(model).from_pretrained(tmp_path)(x).logits):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_a_keras_file_keeps_integers_of_other_policies(tmp_path, policy):
    model, (x, _) = build("QuestionAnswering", dtype=policy), data("QuestionAnswering")
    model.quantize("int4")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(keras.ops.cast(loaded(x)[0], "float32"), keras.ops.cast(model(x)[0], "float32"))


@pytest.mark.slow
def test_inside_a_functional_model(tmp_path):
    model, x, logits, _ = quantized("QuestionAnswering", "int8")
    model.as_functional().save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x)["start_logits"], logits, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_adapters_of_a_single_quantized_layer_are_merged(tmp_path):
    model = build("SequenceClassification", initializer_range=0.2)
    x, _ = data("SequenceClassification")
    model.quantize(**WAYS["int8_weights"]())
    query = model.mobilebert.encoder.layer[0].attention.self.query
    words = model.mobilebert.embeddings.word_embeddings
    for layer, factor in ((query, "lora_kernel_b"), (words, "lora_embeddings_b")):
        layer.enable_lora(2)
        getattr(layer, factor).assign(np.full(getattr(layer, factor).shape, 0.1))
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded(x)[0], model(x)[0], rtol=1e-4, atol=1e-5)


def test_what_a_quantized_model_refuses():
    model, *_ = quantized("MaskedLM", "int8")
    for call in (
        lambda: model.prune_heads({0: [1]}),
        lambda: model.resize_token_embeddings(120),
        lambda: model.set_input_embeddings(np.zeros((97, 20), np.float32)),
        lambda: Trainer(model, Recipe(learning_rate=1e-3, batch_size=8)),
    ):
        with pytest.raises(ConfigError, match="got 15 quantized layers, the first mobilebert/.* Do it before `quant"):
            call()
    assert model.config.vocab_size == 97 and not model.config.pruned_heads


def test_a_layer_is_quantized_once():
    model = build("SequenceClassification")
    model.quantize("int8", filters="query")
    with pytest.raises(ConfigError, match="got 1 that are quantized already, the first .*/query .int8.. Select"):
        model.quantize("int4")
    assert len(quantized_layers(model)) == 1


MORE_POLICIES = ("int4_from_float32", "int4/16_from_float32", "float8_from_float32", "int8_from_mixed_bfloat16")


@pytest.mark.parametrize(
    "policy", ["int8_from_float32", *(pytest.param(policy, marks=pytest.mark.slow) for policy in MORE_POLICIES)]
)
def test_a_policy_that_quantizes_is_that_of_dense_layers_and_tables(tmp_path, policy):
    """What is made or loaded with it is what `quantize` makes of it, and a copy computes the same."""
    name, source = "SequenceClassification", policy.partition("_from_")[2]
    plain_model, (x, _) = build(name, initializer_range=0.2), data(name)
    plain_model.save_pretrained(tmp_path)
    loaded = MODEL_CLASSES[name].from_pretrained(tmp_path, dtype=keras.dtype_policies.get(policy))
    wanted = MODEL_CLASSES[name].from_pretrained(tmp_path, dtype=source)
    size = {"config": INT4(block_size=16)} if "/16" in policy else {"mode": policy.partition("_")[0]}
    wanted.quantize(**size)
    assert len(quantized_layers(loaded)) == len(quantized_layers(wanted)) > 10
    logits = np.asarray(keras.ops.cast(loaded(x)[0], "float32"))
    assert np.array_equal(logits, keras.ops.cast(wanted(x)[0], "float32"))
    made = build(name, dtype=policy)
    made.set_weights(loaded.get_weights())
    copy = type(made).from_config(made.get_config())
    copy.set_weights(made.get_weights())
    made.save(tmp_path / "model.keras")
    for model in (made, copy, keras.models.load_model(tmp_path / "model.keras")):
        assert np.array_equal(keras.ops.cast(model(x)[0], "float32"), logits)


def test_a_policy_that_quantizes_in_a_layer_and_everywhere(tmp_path):
    x, _ = data("Model")
    layer = TFMobileBertMainLayer(tiny_config(num_hidden_layers=1), dtype="int8_from_float32")
    layer.build()
    again = type(layer).from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    assert np.array_equal(layer(x["input_ids"])[0], again(x["input_ids"])[0]) and quantized_layers(layer)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("int8_from_float32")
    try:
        model = MODEL_CLASSES["Model"](tiny_config(num_hidden_layers=1))
    finally:
        keras.config.set_dtype_policy(before)
    ids = keras.Input((None,), dtype="int32")
    functional = keras.Model(ids, model(ids).pooler_output)
    functional.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x["input_ids"]), functional(x["input_ids"]))
    assert len(quantized_layers(model)) == len(quantized_layers(layer))


def test_policies_that_cannot_quantize():
    with pytest.raises(ConfigError, match=r"gptq looks at texts, .* call quantize\('gptq', config=...\)"):
        build("Model", dtype="gptq/4/-1_from_float32")
    a_map = keras.dtype_policies.DTypePolicyMap(keras.dtype_policies.get("int8_from_float32"))
    with pytest.raises(ConfigError, match="wanted a map whose default is in floating point"):
        build("Model", dtype=a_map)
    a_map = keras.dtype_policies.DTypePolicyMap(
        "float32", {".*embeddings.*": keras.dtype_policies.get("int8_from_float32")}
    )
    with pytest.raises(ConfigError, match="dtype quantizes layers that cannot be: .*/LayerNorm"):
        build("Model", dtype=a_map)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["int8", "float8"])
def test_training_goes_on_after_loading(tmp_path, way):
    model = build("SequenceClassification", initializer_range=0.2)
    x, y = data("SequenceClassification")
    model.compile("adamw")
    model.quantize(**WAYS[way]())
    model.fit(x, plain(y), verbose=0, batch_size=8)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert np.array_equal(variable_array(mine), variable_array(theirs))
    for again in (model, loaded):
        again.fit(x, plain(y), verbose=0, batch_size=8, shuffle=False)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(model), weights_of(loaded), strict=True))


class Interrupted(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path):
    x, y = data("SequenceClassification")
    finals = []
    for interrupt in (False, True):
        for attempt in range(2 if interrupt else 1):
            model = build("SequenceClassification", initializer_range=0.2)
            model.quantize("int8")
            model.compile(keras.optimizers.SGD(0.1))
            resume = ResumeTraining(tmp_path / "backup", save_freq=1)
            callbacks = [resume, Interrupted()] if interrupt and attempt == 0 else [resume]
            try:
                model.fit(x, plain(y), verbose=0, batch_size=2, shuffle=False, callbacks=callbacks)
            except KeyboardInterrupt:
                assert interrupt and attempt == 0
        finals.append(weights_of(model))
    assert all(np.array_equal(a, b) for a, b in zip(*finals, strict=True))


def test_a_policy_for_each_layer(tmp_path):
    """Keys hold for any model of the class, whatever number Keras gives it, and a key of no layer is an error."""
    query, words = "mobilebert/encoder/layer_0/attention/self/query", "mobilebert/embeddings/word_embeddings"
    keys = {f"any_name/{query}": "int8_from_float32", words: "bfloat16", ".*/self/key": "bfloat16"}
    policies = keras.dtype_policies.DTypePolicyMap("float32", {k: keras.dtype_policies.get(v) for k, v in keys.items()})
    for model in (build("MaskedLM", dtype=policies), build("MaskedLM", dtype=policies)):
        inside = model.mobilebert.encoder.layer[0].attention.self
        assert inside.query.quantization_mode == "int8" and inside.value.quantization_mode is None
        assert inside.key.variable_dtype == "bfloat16" and inside.value.variable_dtype == "float32"
        assert model.mobilebert.embeddings.word_embeddings.variable_dtype == "bfloat16"
        again = type(model).from_config(model.get_config())
        assert [v.dtype for v in again.weights] == [v.dtype for v in model.weights]
    assert set(policies) == set(keys)  # the caller's map is left as it was
    model.save(tmp_path / "model.keras")
    loaded, (x, _) = keras.models.load_model(tmp_path / "model.keras"), data("MaskedLM")
    assert np.array_equal(loaded(x).logits, model(x).logits)
    choices = build("MultipleChoice")
    policies = keras.dtype_policies.DTypePolicyMap(
        "float32", {choices.classifier.path: keras.dtype_policies.get("int8_from_float32")}
    )
    assert build("MultipleChoice", dtype=policies).classifier.quantization_mode == "int8"
    policies = keras.dtype_policies.DTypePolicyMap("float32", {".*/qurey": keras.dtype_policies.get("bfloat16")})
    with pytest.raises(ConfigError, match="dtype names layers that are not there: .*/qurey"):
        build("MaskedLM", dtype=policies)
