"""Keras's own `export` of models that do not compute in float32, or on another backend of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter

from mobilebert_core.errors import BackendMissingError, ConfigError, ExportError
from mobilebert_tf import TFMobileBertForSequenceClassification, keras_export
from mobilebert_tf.keras_export import in_float32
from mobilebert_tf.litert_files import operations, read_flatbuffer
from mobilebert_tf.variables import variable_array
from tests.keras_only.fitting import build, data


def mixed_map():
    parts = {".*/attention/.*": keras.dtype_policies.get("mixed_float16")}
    return keras.dtype_policies.DTypePolicyMap("float32", parts)


POLICIES = {name: lambda name=name: name for name in ("float16", "mixed_float16", "mixed_bfloat16", "float64")}
POLICIES["map"] = mixed_map


def same_values(one, other):
    return all(np.array_equal(variable_array(a), variable_array(b)) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_litert_of_every_policy_has_no_operators_of_tensorflow(tmp_path, policy):
    model = build("QuestionAnswering", dtype=POLICIES[policy]())
    exported = model.as_functional() if policy in ("mixed_float16", "map") else model
    exported.export(tmp_path / "model.tflite", format="litert", verbose=False)
    content = (tmp_path / "model.tflite").read_bytes()
    assert "CUSTOM" not in {name for name, _ in operations(read_flatbuffer(content))}
    run = interpreter.Interpreter(model_content=content).get_signature_runner()
    x, _ = data("QuestionAnswering", batch=3)
    found, expected, near = run(**x), in_float32(model)(x), model(x)
    assert set(found) == {"start_logits", "end_logits"}
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)
        wanted = keras.ops.convert_to_numpy(keras.ops.cast(near[name], "float32"))
        np.testing.assert_allclose(array, wanted, rtol=0, atol=0.05 * np.abs(wanted).max())


class Around(keras.Model):
    """A user's subclass, which Keras also saves with floats in the place of ids."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return 2 * self.inner(x).logits


@pytest.mark.slow
def test_a_users_subclass_around_a_model(tmp_path):
    x, _ = data("SequenceClassification")
    model = Around(build("SequenceClassification"))
    expected = model(x)
    signature = [{n: keras.InputSpec(shape=(None, None), dtype="int32", name=n) for n in x}]
    model.export(tmp_path / "saved", input_signature=signature, verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(saved.serve(x), expected, rtol=1e-5, atol=1e-6)


def test_a_copy_in_float32_has_the_same_weights():
    model = build("MaskedLM")
    assert in_float32(model) is model
    model = build("MaskedLM", dtype="mixed_bfloat16")
    model.enable_lora(2)
    copy = in_float32(model)
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    assert copy.lora == model.lora and same_values(copy.weights, model.weights)
    model = build("SequenceClassification", dtype="float16")
    assert same_values([keras.ops.cast(v, "float16") for v in in_float32(model).weights], model.weights)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_a_copy_in_float32_keeps_what_is_quantized():
    entries = {".*/query": keras.dtype_policies.get("int8_from_mixed_bfloat16")}
    policies = keras.dtype_policies.DTypePolicyMap("mixed_bfloat16", entries)
    for model in (build("SequenceClassification", dtype="mixed_bfloat16"), build("Model", dtype=policies)):
        if not isinstance(model.dtype_policy, keras.dtype_policies.DTypePolicyMap):
            model.quantize("int8")
        copy = in_float32(model)
        assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
        assert "int8" in {v.dtype for v in copy.weights} and same_values(copy.weights, model.weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_what_keras_quantized_by_int8_is_refused_by_litert(tmp_path):
    model = build("SequenceClassification")
    model.quantize("int8")
    with pytest.raises(ExportError, match=r"quantized by 'int8', here in .* layers.*--precision int8"):
        model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    assert not [*tmp_path.iterdir()]


class Widened(TFMobileBertForSequenceClassification):
    """A user's, whose configuration does not say what it was made with."""

    def __init__(self, config, units=1, **kwargs):
        self.units = units
        super().__init__(config, **kwargs)

    def build_parts(self, config, *, initializer, dtype):
        super().build_parts(config, initializer=initializer, dtype=dtype)
        self.own = keras.layers.Dense(self.units, dtype=dtype)
        self.own.build((None, 1))


def test_a_class_that_cannot_be_copied_is_refused(tmp_path):
    model = Widened(build("SequenceClassification").config, units=3, dtype="mixed_float16")
    with pytest.raises(ConfigError, match=r"Widened.export: get_config and from_config make a model of other weights"):
        model.export(tmp_path / "model.tflite", format="litert")
    assert not [*tmp_path.iterdir()]


def test_what_a_backend_of_keras_does_not_write(tmp_path, monkeypatch):
    model = build("SequenceClassification").as_functional()
    monkeypatch.setattr(keras_export, "find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match=r"Keras on tensorflow writes onnx with the package tf2onnx"):
        model.export(tmp_path / "model.onnx", format="onnx")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ConfigError, match=r"Keras on torch writes no SavedModel.*format='torch' or 'onnx'"):
        model.export(tmp_path / "saved")
    with pytest.raises(ConfigError, match="records a graph for one size; wanted .* shapes are numbers"):
        model.export(tmp_path / "model.pt2", format="torch")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="numbers after the first axis"):
        model.export(tmp_path / "saved")
