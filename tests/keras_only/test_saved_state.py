"""What a saved Keras model keeps beside its weights, and what users' own models around ours keep of it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import weakref
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from conversion.parity.deviation import relative_deviation
from mobilebert import pipeline
from mobilebert_core.errors import ConfigError
from mobilebert_tf import FusedAdamW, TFMobileBertLayer, TFMobileBertMainLayer, TFMobileBertModel, memory
from mobilebert_tf.layer_paths import layers_by_path, trainable_flags
from mobilebert_tf.variables import variable_array
from tests.keras_only.fitting import SMALL, build, data, plain, weights_of
from tests.tiny import tiny_config


def freeze_encoder(model):
    model.mobilebert.trainable = False


def freeze_all_but_one_block(model):
    model.mobilebert.trainable = False
    model.mobilebert.trainable = True
    model.mobilebert.embeddings.trainable = False
    model.mobilebert.encoder.layer[0].trainable = False


def train_biases_alone(model):
    for variable in model.trainable_variables:
        variable.trainable = variable.path.endswith(("bias", "beta"))


def freeze_one_inside(model):
    model.mobilebert.encoder.trainable = False
    model.mobilebert.encoder.layer[1].attention.trainable = True  # frozen all the same: the layer around decides


def freeze_everything(model):
    model.trainable = False


FREEZES = [freeze_encoder, freeze_all_but_one_block, train_biases_alone, freeze_one_inside, freeze_everything]


def names_of(variables):
    return [v.path.partition("/")[2] for v in variables]


@pytest.mark.parametrize("freeze", FREEZES)
@pytest.mark.parametrize("name", ["MaskedLM", "QuestionAnswering"])
def test_what_is_frozen_stays_frozen(name, freeze):
    model = build(name, num_hidden_layers=2)
    everything = len(model.trainable_variables)
    freeze(model)
    loaded = type(model).from_config(model.get_config())
    assert len(model.trainable_variables) < everything
    assert names_of(loaded.trainable_variables) == names_of(model.trainable_variables)
    assert trainable_flags(loaded) == trainable_flags(model)
    assert [layer.trainable for layer in layers_by_path(loaded).values()] == [
        layer.trainable for layer in layers_by_path(model).values()
    ]


def test_a_model_without_frozen_layers_says_nothing_of_them():
    assert set(build("MaskedLM").get_config()) == {"config", "dtype", "name", "trainable"}


def test_frozen_weights_and_the_optimizer_after_loading(tmp_path):
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    freeze_encoder(model)
    model.compile("adamw")
    model.fit(x, plain(y), verbose=0, batch_size=8)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 2 and int(loaded.optimizer.iterations) == 1
    for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert np.array_equal(variable_array(mine), variable_array(theirs))
    for again in (model, loaded):
        again.fit(x, plain(y), verbose=0, batch_size=8, shuffle=False)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(model), weights_of(loaded), strict=True))


def test_frozen_after_compiling_the_optimizer_keeps_its_state(tmp_path):
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile("adamw")
    model.fit(x, plain(y), verbose=0, batch_size=8)
    freeze_encoder(model)  # and not compiled again
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 2 and int(loaded.optimizer.iterations) == 1
    for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert mine.shape == theirs.shape and np.array_equal(variable_array(mine), variable_array(theirs))
    before = weights_of(loaded)
    loaded.fit(x, plain(y), verbose=0, batch_size=8)
    assert sum(not np.array_equal(a, b) for a, b in zip(before, weights_of(loaded), strict=True)) == 2
    loaded.compile("adamw")
    assert len(loaded.optimizer.variables) < len(model.optimizer.variables)


@pytest.mark.slow
def test_frozen_inside_functional_models(tmp_path):
    """One inside the other, with a layer of Keras's own that is frozen too."""
    x, _ = data("Model")
    bert, dense = build("Model"), keras.layers.Dense(3)
    bert.mobilebert.encoder.trainable = False
    ids = keras.Input((None,), dtype="int32")
    inner = keras.Model(ids, dense(bert(ids).pooler_output))
    dense.trainable = False
    outer = keras.Model(ids, keras.layers.Dense(1)(inner(ids)))
    outer.compile("adam", "mse")
    outer.fit(x["input_ids"], np.zeros((8, 1)), verbose=0)
    outer.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [v.shape for v in loaded.trainable_variables] == [v.shape for v in outer.trainable_variables]
    assert 0 < len(loaded.trainable_variables) < len(bert.weights) / 2
    for mine, theirs in zip(outer.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert np.array_equal(variable_array(mine), variable_array(theirs))
    np.testing.assert_allclose(loaded(x["input_ids"]), outer(x["input_ids"]), rtol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Around(keras.Model):
    """A user's model: one of ours, and a layer that is built by the first call."""

    def __init__(self, bert, **kwargs):
        super().__init__(**kwargs)
        self.bert = bert
        self.own = keras.layers.Dense(3)

    def call(self, inputs, training=False):
        return self.own(self.bert(inputs, training=training).pooler_output)

    def get_config(self):
        return {**super().get_config(), "bert": keras.saving.serialize_keras_object(self.bert)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("bert")), **config)


@pytest.mark.parametrize(("around", "optimizer"), [("functional", FusedAdamW), ("own", keras.optimizers.AdamW)])
def test_a_users_model_frozen_after_compiling(tmp_path, around, optimizer):
    """Without another `compile` the state of the weights that train is kept by our optimizers, and by no other."""
    x = data("Model")[0]["input_ids"]
    bert, ids = build("Model", num_hidden_layers=1), keras.Input((None,), dtype="int32")
    model = Around(bert) if around == "own" else keras.Model(ids, keras.layers.Dense(3)(bert(ids).pooler_output))
    model(x)
    model.compile(optimizer(), "mse")
    model.optimizer.build(model.trainable_variables)
    for number, variable in enumerate(model.optimizer.variables):
        variable.assign(keras.ops.full_like(variable, number + 1))
    bert.trainable = False  # and not compiled again
    model.save(tmp_path / "model.keras")
    ours = optimizer is FusedAdamW
    with nullcontext() if ours else pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    kept = {id(v): i for i, v in enumerate(model.optimizer._trainable_variables) if v.trainable}
    assert len(loaded.trainable_variables) == len(loaded.optimizer._momentums) == len(kept) == 2
    for states in ("_momentums", "_velocities"):
        for place, state in zip(kept.values(), getattr(loaded.optimizer, states), strict=True):
            expected = variable_array(getattr(model.optimizer, states)[place])
            assert np.array_equal(variable_array(state), expected if ours else 0 * expected)
    assert int(loaded.optimizer.iterations) == int(ours)
    assert np.array_equal(variable_array(loaded(x)), variable_array(model(x)))


@pytest.mark.parametrize("form", ["array", "dict", "list"])
def test_a_users_model_around_ours(tmp_path, form):
    x, _ = data("Model")
    inputs = {"array": x["input_ids"], "dict": x, "list": list(x.values())}[form]
    model = Around(build("Model"))
    model.bert.mobilebert.embeddings.trainable = False
    model(inputs)
    if form == "dict":
        model.compile("adam", "mse")
        model.fit(inputs, np.zeros((8, 3)), verbose=0)
    expected = variable_array(model(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.own.built and np.array_equal(variable_array(loaded(inputs)), expected)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    if form == "dict":
        for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
            assert np.array_equal(variable_array(mine), variable_array(theirs))


@pytest.mark.parametrize("around", ["itself", "functional", "own"])
def test_a_checkpoint_of_tensorflow_holds_every_weight(tmp_path, around):
    x, _ = data("Model")
    models = [
        {"itself": lambda m: m, "functional": lambda m: m.as_functional(), "own": Around}[around](
            build("Model", seed=seed, num_hidden_layers=2, num_feedforward_networks=2)
        )
        for seed in (0, 1)
    ]
    for model in models:
        model(x)
    path = tf.train.Checkpoint(model=models[0]).save(str(tmp_path / "checkpoint"))
    stored = [name for name, _ in tf.train.list_variables(path) if name.startswith("model/")]
    assert len(stored) == len(models[0].variables)
    tf.train.Checkpoint(model=models[1]).restore(path).assert_consumed()
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(models[0]), weights_of(models[1]), strict=True))


def test_a_checkpoint_that_lacks_the_blocks_is_not_consumed(tmp_path, monkeypatch):
    """As earlier versions wrote it."""
    model = build("Model")
    with monkeypatch.context() as earlier:
        earlier.setattr(type(model.mobilebert.encoder), "lists", ())
        path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    assert len(tf.train.list_variables(path)) < len(model.weights)
    status = tf.train.Checkpoint(model=model).restore(path)
    with pytest.raises(AssertionError, match="Python objects that were not bound to checkpointed values"):
        status.assert_consumed()


def test_shapes_of_outputs_without_a_call():
    model, (x, _) = build("SequenceClassification"), data("SequenceClassification")
    for shape in ((8, 11), {"input_ids": (8, 11), "attention_mask": (8, 11)}):
        assert model.compute_output_shape(shape) == {"logits": (8, 2)}
    assert model.compute_output_shape((None, None)) == {"logits": (None, 2)}
    symbols = {name: keras.KerasTensor(array.shape, "int32") for name, array in x.items()}
    for inputs in (symbols, list(symbols.values()), symbols["input_ids"], x):
        found = model.compute_output_spec(inputs)
        assert found.logits.shape == (8, 2) and found.logits.dtype == "float32"
    choices = build("MultipleChoice")
    assert choices.compute_output_shape({"input_ids": (2, 4, 11)}) == {"logits": (2, 4)}


@keras.saving.register_keras_serializable("tests")
class OfLayers(keras.Model):
    """A user's model that takes our layers apart."""

    def __init__(self, main, block, **kwargs):
        super().__init__(**kwargs)
        self.main, self.block, self.own = main, block, keras.layers.Dense(2)

    def call(self, ids, training=False):
        states = self.main(ids, training=training).last_hidden_state
        return self.own(self.block(states, training=training)[0])

    def get_config(self):
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in ("main", "block")}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config.pop(name)) for name in ("main", "block")}
        return cls(**parts, **config)


@pytest.mark.slow
def test_our_layers_inside_users_models(tmp_path):
    """In a subclass, with a frozen and a quantized layer inside, and in a Functional model."""
    ids = data("Model")[0]["input_ids"]
    config = tiny_config(**SMALL)
    model = OfLayers(TFMobileBertMainLayer(config, add_pooling_layer=False), TFMobileBertLayer(config))
    model(ids)
    model.main.encoder.trainable = False
    model.block.attention.self.query.quantize("int8")
    model.compile("adam", "mse")
    model.fit(ids, np.zeros((8, 11, 2)), verbose=0)
    expected = variable_array(model(ids))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(variable_array(loaded(ids)), expected)
    assert [v.shape for v in loaded.trainable_variables] == [v.shape for v in model.trainable_variables]
    assert len(loaded.main.encoder.trainable_variables) == 0
    for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert np.array_equal(variable_array(mine), variable_array(theirs))
    inputs = keras.Input((None,), dtype="int32")
    functional = keras.Model(inputs, keras.layers.Dense(2)(model.block(model.main(inputs).last_hidden_state)[0]))
    expected = variable_array(functional(ids))
    functional.save(tmp_path / "functional.keras")
    loaded = keras.models.load_model(tmp_path / "functional.keras")
    np.testing.assert_allclose(loaded(ids), expected, rtol=1e-6, atol=1e-7)


def test_every_layer_is_made_again_by_its_configuration():
    """Under the same names, with the same shapes and dtypes; those that read another part's weights say so."""
    seen = set()
    for name in ("PreTraining", "Model"):
        model = build(name, dtype="mixed_bfloat16", tie_word_embeddings=name == "Model", classifier_activation=True)
        for layer in layers_by_path(model).values():
            if type(layer) in seen or layer is model or not type(layer).__module__.startswith("mobilebert_tf"):
                continue
            seen.add(type(layer))
            if type(layer).__name__ == "PreTrainingHeads":
                with pytest.raises(ConfigError, match="word_embeddings is the layer 'word_embeddings' of another part"):
                    layer.get_config()
                continue
            again = type(layer).from_config(layer.get_config())
            if not again.built:
                again.build(layer._build_shapes_dict["input_shape"])
            assert again.get_config() == layer.get_config()
            assert [(v.name, v.shape, v.dtype) for v in again.weights] == [
                (v.name, v.shape, v.dtype) for v in layer.weights
            ]
    assert len(seen) == 15


def test_a_block_takes_texts_as_well_as_tokens():
    config = tiny_config(**SMALL)
    block = TFMobileBertLayer(config)
    states = np.random.default_rng(0).standard_normal((3, 5, 48)).astype(np.float32)
    texts, probs = block(states)
    tokens, same = block(states.reshape(15, 48), length=5)
    assert np.array_equal(variable_array(texts).reshape(15, 48), variable_array(tokens))
    assert np.array_equal(probs, same) and texts.shape == (3, 5, 48)
    for policy, bound in (("mixed_bfloat16", 3e-2), ("float64", 1e-6)):  # layers of Keras cast what they get
        other = TFMobileBertLayer(config, dtype=policy)
        other.build()
        other.set_weights(block.get_weights())
        inputs = keras.Input((None, 48))
        found = keras.Model(inputs, other(inputs)[0])(states)
        assert found.dtype == other.compute_dtype
        assert relative_deviation(variable_array(texts), variable_array(found)) < bound


@pytest.mark.slow
def test_loading_again_and_again_keeps_few_models(tmp_path, monkeypatch):
    """Also without a collection by Python itself, which needs more objects than a few large models have."""
    model = build("MaskedLM")
    model.save(tmp_path / "model.keras")
    model.save_pretrained(tmp_path)
    size = sum(int(np.prod(v.shape)) for v in model.weights) * 4
    monkeypatch.setattr(memory, "_LIMIT", 2.5 * size)
    tokens = data("MaskedLM")[0]["input_ids"]
    loads = (lambda: type(model).from_pretrained(tmp_path), lambda: keras.models.load_model(tmp_path / "model.keras"))
    gc.collect()
    gc.disable()
    try:
        for load in loads:
            kept = [weakref.ref(load()) for _ in range(7)]
            assert sum(reference() is not None for reference in kept) <= 3
            in_use = load()
            assert load() is not None and np.array_equal(in_use(tokens)[0], model(tokens)[0])
    finally:
        gc.enable()


def answer(pipeline):
    return pipeline("It was a fine day.", top_k=2)


@pytest.mark.slow
def test_a_pipeline_goes_to_another_process():
    """A spawned one, which knows nothing of this one's graphs, with a pipeline that has recorded some."""
    ours = pipeline("text-classification", backend="keras")
    expected = answer(ours)
    assert answer(pickle.loads(pickle.dumps(ours))) == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(answer, (ours,))
    assert [each["label"] for each in found] == [each["label"] for each in expected]
    # oneDNN, which TensorFlow uses on some processors, may sum in another order in another process.
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected], rel=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of the process from /proc")
def test_models_that_are_gone_leave_no_memory():
    def resident_after(count):
        for _ in range(count):
            TFMobileBertModel(config)
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    config = tiny_config(num_hidden_layers=2, num_feedforward_networks=4)
    before = resident_after(2)
    assert resident_after(8) - before < 15  # MB; 30 where TensorFlow keeps what it made for each variable
