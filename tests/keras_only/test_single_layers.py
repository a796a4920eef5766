"""Our layers by themselves, as users build models of them: shapes of outputs, forms of inputs, a policy for each."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_tf import TFMobileBertForMaskedLM, TFMobileBertLayer, TFMobileBertMainLayer, fold
from mobilebert_tf.layer_paths import layers_by_path
from mobilebert_tf.modeling import TFMobileBertEmbeddings, TFMobileBertEncoder
from tests.keras_only.fitting import SMALL, build, data
from tests.tiny import tiny_batch, tiny_config

CONFIG = tiny_config(**{**SMALL, "num_feedforward_networks": 2})
STATES = np.random.default_rng(0).standard_normal((8, 11, 48)).astype("float32")
INPUTS = data("Model")[0]


def shapes_of(outputs):
    return keras.tree.map_structure(lambda array: tuple(array.shape), outputs)


class Around(keras.Model):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, x):
        return self.part(x)


class TestShapes:
    def test_of_the_main_layer_in_every_form(self):
        layer = TFMobileBertMainLayer(CONFIG)
        shapes = {name: array.shape for name, array in INPUTS.items()}
        assert list(shapes) == ["input_ids", "attention_mask", "token_type_ids"]
        expected = {"last_hidden_state": (8, 11, 48), "pooler_output": (8, 48)}
        assert shapes_of(layer(INPUTS)) == expected
        assert layer.compute_output_shape([*shapes.values()]) == expected
        assert layer.compute_output_shape(*shapes.values()) == expected
        assert layer.compute_output_shape(input_shape=[8, 11]) == expected
        embeds = {"inputs_embeds_shape": (8, 11, 20), "attention_mask_shape": (8, 11)}
        assert layer.compute_output_shape(**embeds) == expected
        unknown = TFMobileBertMainLayer(CONFIG).compute_output_shape((None, None))  # which builds it
        assert unknown == {"last_hidden_state": (None, None, 48), "pooler_output": (None, 48)}
        options = {"output_hidden_states": True, "output_attentions": True}
        everything = layer.compute_output_shape(shapes, **options)
        assert everything == shapes_of(layer(INPUTS, **options)) and len(everything["hidden_states"]) == 2

    def test_of_the_other_layers(self):
        block, encoder = TFMobileBertLayer(CONFIG), TFMobileBertEncoder(CONFIG)
        for layer, wanted in ((block, (8, 4, 11, 11)), (encoder, ((8, 11, 48),))):
            found = layer.compute_output_shape((8, 11, 48))
            assert found[:2] == ((8, 11, 48), wanted)
            assert found == shapes_of(layer(STATES))
            assert shapes_of(layer.compute_output_spec(keras.KerasTensor((8, 11, 48)))) == found
        assert block.compute_output_shape((None, 5, 48))[0] == (None, 5, 48)
        assert TFMobileBertEmbeddings(CONFIG).compute_output_shape((8, 11)) == (8, 11, 48)

    def test_where_shapes_are_too_few(self):
        """`summary` of a model asks for the shapes that its layers were built with."""
        lines = []
        for model in (build("MaskedLM"), Around(build("Model")), Around(TFMobileBertMainLayer(CONFIG))):
            model(INPUTS)
            model.summary(expand_nested=True, print_fn=lambda line, **_: lines.append(line))
        assert len(lines) == 3 and "mobilebert" in lines[0]
        block = TFMobileBertLayer(CONFIG)
        with pytest.raises(
            NotImplementedError, match="TFMobileBertLayer.compute_output_shape: wanted the shapes of the"
        ):
            block.compute_output_shape()
        with pytest.raises(NotImplementedError, match="wanted the shapes of all inputs that a call needs, got x "):
            block.output_.compute_output_shape((8, 40))

    def test_specs_have_the_dtype_of_the_policy(self):
        layer = TFMobileBertMainLayer(CONFIG, dtype="mixed_bfloat16")
        symbols = {name: keras.KerasTensor(array.shape, "int32") for name, array in INPUTS.items()}
        for inputs in (symbols, INPUTS):
            found = layer.compute_output_spec(inputs)
            assert found.last_hidden_state.dtype == "bfloat16" and found.last_hidden_state.shape == (8, 11, 48)
        assert layer.compute_output_spec(*symbols.values()).pooler_output.shape == (8, 48)


def test_a_mapping_and_a_list_are_inputs():
    layer = TFMobileBertMainLayer(CONFIG)
    expected = layer(**INPUTS).last_hidden_state
    symbols = {name: keras.Input((11,), dtype="int32", name=name) for name in INPUTS}
    around = keras.Model(symbols, layer(symbols).last_hidden_state)
    for found in (layer(INPUTS)[0], layer([*INPUTS.values()])[0], layer(*INPUTS.values())[0], around(INPUTS)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="knows no argument 'ids'; it takes input_ids, attention_mask"):
        layer({"ids": INPUTS["input_ids"]})
    with pytest.raises(InputError, match="attention_mask passed twice"):
        layer(INPUTS, attention_mask=INPUTS["attention_mask"])


def dtypes(layer):
    return {path: part.compute_dtype for path, part in layers_by_path(layer).items() if part.path}


def a_map(**keys):
    entries = {key: keras.dtype_policies.get(name) for key, name in keys.items()}
    return keras.dtype_policies.DTypePolicyMap("float32", entries)


class TestPolicies:
    MAIN = (
        "encoder/layer_0/attention/.*",
        "named/encoder/layer_0/attention/.*",
        "mobilebert/encoder/layer_0/attention/.*",
    )

    def test_a_map_has_keys_from_there_with_any_name_or_none(self):
        for key in (*self.MAIN, ".*/layer_0/attention/.*"):
            policies = a_map(**{key: "bfloat16"})
            layer = TFMobileBertMainLayer(CONFIG, dtype=policies, name="named")
            if key == self.MAIN[0]:
                Around(layer)(INPUTS)  # where its path begins with the model's name
            else:
                layer.build()
            found = {path for path, dtype in dtypes(layer).items() if dtype == "bfloat16"}
            assert found == {path for path in dtypes(layer) if path.startswith("encoder/layer_0/attention/")} != set()
            assert list(policies) == [key]  # the caller's

    @pytest.mark.parametrize(
        ("cls", "key"),
        [
            (TFMobileBertLayer, "attention/self/query"),
            (TFMobileBertLayer, "ffn_0/.*"),
            (TFMobileBertEncoder, "layer_0/ffn_0/output/dense"),
            (TFMobileBertEmbeddings, "embedding_transformation"),
        ],
    )
    def test_every_layer_has_maps_and_keeps_them(self, cls, key):
        layer = cls(CONFIG, dtype=a_map(**{key: "mixed_bfloat16"}))
        assert [*cls.from_config(layer.get_config()).dtype_policy]  # before it is built
        layer.build()
        again = cls.from_config(layer.get_config())
        assert dtypes(again) == dtypes(layer) and "bfloat16" in dtypes(layer).values()
        part = next(part for part in layers_by_path(layer).values() if part.compute_dtype == "bfloat16")
        assert part.dtype_policy is layer.dtype_policy and part.variable_dtype == "float32"

    def test_a_part_that_is_quantized_is_kept(self):
        layer = TFMobileBertMainLayer(CONFIG, dtype=a_map(**{"encoder/.*/query": "int8_from_float32"}))
        layer(INPUTS)
        assert layer.encoder.layer[0].attention.self.query.quantization_mode == "int8"
        again = TFMobileBertMainLayer.from_config(layer.get_config())
        assert [v.dtype for v in again.weights] == [v.dtype for v in layer.weights]

    def test_a_block_of_a_model_with_a_map_is_made_again_alone(self):
        layer = TFMobileBertMainLayer(CONFIG, dtype=a_map(**{".*/value": "bfloat16", "embeddings/.*": "float16"}))
        layer.build()
        block = layer.encoder.layer[0]
        again = TFMobileBertLayer.from_config(block.get_config())
        assert dtypes(again) == dtypes(block) and "bfloat16" in dtypes(block).values()

    def test_a_key_of_no_layer_is_an_error(self):
        layer = TFMobileBertMainLayer(CONFIG, dtype=a_map(**{"encoder/layer_7/.*": "bfloat16"}))
        with pytest.raises(
            ConfigError, match="TFMobileBertMainLayer: dtype names layers that are not there: .*layer_7"
        ):
            layer(INPUTS)
        quantized = keras.dtype_policies.DTypePolicyMap(keras.dtype_policies.get("int8_from_float32"))
        with pytest.raises(ConfigError, match="wanted a map whose default is in floating point"):
            TFMobileBertMainLayer(CONFIG, dtype=quantized)

    def test_a_whole_layer_is_quantized_to_its_last_network(self):
        block = TFMobileBertLayer(CONFIG, dtype="int8_from_float32")
        block.build()
        dense = [part for part in layers_by_path(block).values() if isinstance(part, keras.layers.Dense)]
        assert len(dense) > 8 and {part.quantization_mode for part in dense} == {"int8"}


@pytest.mark.parametrize("basis", [None, "half"])
def test_a_changed_call_of_any_layer_counts(checkpoint, basis):
    """Also of those that hold others: the way into a block, and the heads of pretraining."""
    model = TFMobileBertForMaskedLM.from_pretrained(checkpoint("MaskedLM"))
    batch = tiny_batch(model.config, "MaskedLM", labels=False)
    model = model if basis is None else fold(model, basis, batch)
    before = np.array(model(batch).logits)
    block = model.mobilebert.encoder.layer[1]
    for layer in (block, block.bottleneck, block.output_, model.mobilebert.encoder, model.cls, model.cls.predictions):
        call = layer.call
        layer.call = lambda *a, call=call, **k: keras.tree.map_structure(lambda x: x * 2, call(*a, **k))
        assert not np.allclose(np.array(model(batch).logits), before), layer.path
        del layer.call
    assert np.array_equal(np.array(model(batch).logits), before)
