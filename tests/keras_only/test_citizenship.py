"""What users of Keras expect of a model: call forms, fit, saving, Functional models, precision, export.

`fit` on TensorFlow spends seconds on a graph even for TINY, so each test trains one model of one block and
checks all it can on it.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.outputs import ModelOutput
from mobilebert_tf import MaskedAccuracy
from mobilebert_tf.fit.optimization import FusedAdam, FusedAdamW, fuse_updates
from tests.keras_only.fitting import build, data

OFTEN = ("QuestionAnswering", "TokenClassification")  # two labels a text, one a word


def first(output):
    return keras.ops.convert_to_numpy(output[0])


@pytest.mark.parametrize("name", ["Model", "MultipleChoice", "PreTraining"])
def test_call_forms(name):
    model, (x, _) = build(name), data(name)
    expected = first(model(**x))
    as_list = list(x.values())  # in the order of the signature
    forms = [
        model(x), model(as_list), model(tuple(as_list)), model(as_list[0], *as_list[1:]),
        model(as_list[0], token_type_ids=x["token_type_ids"], attention_mask=x["attention_mask"]),
        model({n: tf.constant(v) for n, v in x.items()}), model({n: v.tolist() for n, v in x.items()}),
    ]  # fmt: skip
    assert all(np.array_equal(first(form), expected) for form in forms)
    assert np.array_equal(first(model(as_list[0])), first(model(input_ids=as_list[0])))


def test_wrong_forms():
    model, (x, _) = build("MaskedLM"), data("MaskedLM")
    with pytest.raises(InputError, match="input_ids passed twice"):
        model(x, input_ids=x["input_ids"])
    with pytest.raises(InputError, match="knows no argument 'ids'"):
        model({"ids": x["input_ids"]})
    with pytest.raises(InputError, match="Lists of different lengths must be padded first"):
        model({"input_ids": [[1, 2], [1]]})
    with pytest.raises(InputError, match=r"got float32. Make the placeholder by keras.Input\(shape, dtype='int32'\)"):
        model(keras.Input((None,)))
    with pytest.raises(InputError, match="got float32. Convert it to int64"):
        model(x["input_ids"].astype("float32"))


@pytest.mark.parametrize(
    "name",
    [*OFTEN, *(pytest.param(n, marks=pytest.mark.slow) for n in HEADS if n not in ("Model", *OFTEN))],
)
def test_fit_with_the_models_own_loss(name):
    model, (x, y) = build(name, attention_probs_dropout_prob=0.0), data(name)
    expected = float(model(x | y, training=True).loss)
    model.compile(keras.optimizers.AdamW(1e-3), metrics=["accuracy"])
    history = model.fit(x, y if len(y) > 1 else next(iter(y.values())), epochs=3, batch_size=8, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
    assert history["loss"][-1] < history["loss"][0]
    assert len([n for n in history if "accuracy" in n]) == len(HEADS[name].tasks)
    evaluated = model.evaluate(x | y, verbose=0, return_dict=True, batch_size=8)
    assert evaluated["loss"] == pytest.approx(float(model(x | y).loss), rel=1e-4)
    predicted = model.predict(x | y, verbose=0, batch_size=3)
    assert isinstance(predicted, ModelOutput) and "loss" not in predicted
    for task in HEADS[name].tasks:
        assert predicted[task.logits].shape[0] == 8
        np.testing.assert_allclose(predicted[task.logits], model(x)[task.logits], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SequenceClassification", "QuestionAnswering"])
def test_fit_with_a_keras_loss_from_a_dataset_gives_the_same(name):
    (x, y) = data(name)
    losses = []
    for own in (True, False):
        model = build(name, attention_probs_dropout_prob=0.0)
        loss = None if own else {t.logits: keras.losses.SparseCategoricalCrossentropy(True) for t in HEADS[name].tasks}
        if loss and len(loss) == 1:
            loss = next(iter(loss.values()))
        model.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=[MaskedAccuracy()])
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8) if own else tf.data.Dataset.from_tensors((x, y))
        losses.append(model.fit(dataset, epochs=2, shuffle=False, verbose=0).history["loss"])
    scale = 1 if name == "SequenceClassification" else 2  # Keras adds the outputs' losses, the model averages them
    assert losses[1][0] == pytest.approx(losses[0][0] * scale, rel=1e-5)


def test_sample_and_class_weights():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification", attention_probs_dropout_prob=0.0)
    model.compile(keras.optimizers.SGD(0.0), metrics=[keras.metrics.SparseCategoricalAccuracy()])
    plain = model.fit(x, y["labels"], verbose=0, batch_size=8).history["loss"][0]
    halved = model.fit(x, y["labels"], sample_weight=np.full(8, 0.5), verbose=0, batch_size=8).history["loss"][0]
    by_class = model.fit(x, y["labels"], class_weight={0: 2.0, 1: 2.0}, verbose=0, batch_size=8).history["loss"][0]
    assert halved == pytest.approx(plain / 2, rel=1e-5) and by_class == pytest.approx(plain * 2, rel=1e-5)


def test_training_without_labels_is_explained():
    x, _ = data("MaskedLM")
    model = build("MaskedLM")
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(InputError, match="no loss to train with. Pass labels"):
        model.fit(x, verbose=0)


@pytest.mark.parametrize("as_dataset", [True, False])
def test_ids_and_labels_out_of_range_in_fit(as_dataset):
    x, y = data("TokenClassification")
    model = build("TokenClassification")
    model.compile("sgd")
    bad_x, bad_y = {**x, "input_ids": x["input_ids"] + 90}, {"labels": y["labels"] + 5}
    for inputs, labels, message in ((bad_x, y, "input_ids must lie in 0..96"), (x, bad_y, "labels must lie in 0..1")):
        if as_dataset:
            dataset = tf.data.Dataset.from_tensors((inputs, labels))
            with pytest.raises(InputError, match=message):
                model.fit(dataset, shuffle=False, verbose=0)
        else:
            for call in (model.fit, model.evaluate):
                with pytest.raises(InputError, match=message):
                    call(inputs, labels, verbose=0)
    with pytest.raises(InputError, match="knows no argument 'idx'"):
        model.predict({**x, "idx": np.arange(8)}, verbose=0)


def test_errors_keep_their_type_inside_a_graph():
    model = build("Model")
    with pytest.raises(InputError, match="has shape"):
        tf.function(lambda: model(tf.ones((2, 5), tf.int32), token_type_ids=tf.ones((2, 3), tf.int32)))()


def test_what_is_no_array_of_numbers():
    model = build("MaskedLM")
    for wrong in ("hello", [["hello", "you"]], tf.ragged.constant([[1, 2], [3]])):
        with pytest.raises(InputError, match="input_ids must be an array of numbers"):
            model(wrong)
    with pytest.raises(InputError, match="attention_mask has shape"):
        model(np.ones((2, 5), np.int32), attention_mask=True)


def test_metrics_of_several_labels_and_of_the_bare_model():
    model = build("SequenceClassification", num_labels=3)
    model.compile("sgd", metrics=["accuracy"])
    x, _ = data("SequenceClassification")
    labels = np.random.default_rng(0).integers(0, 2, (8, 3)).astype(np.float32)
    found = model.evaluate(x, labels, verbose=0, return_dict=True)["accuracy"]
    assert found == pytest.approx(((model(x).logits.numpy() > 0) == (labels > 0.5)).mean())


@pytest.mark.parametrize("name", ["Model", "MultipleChoice"])
def test_predicting_arrays_skips_keras_pipeline_but_not_its_answers(name):
    model, (x, _) = build(name), data(name)
    expected = model.predict(x, batch_size=3, verbose=2)
    found = model.predict(x, batch_size=3, verbose=0)
    assert type(found) is type(expected) and list(found) == list(expected)
    for key in found:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, atol=1e-6)
    model.resize_token_embeddings(120)
    changed = model.predict({"input_ids": np.full_like(x["input_ids"], 110)}, verbose=0)
    np.testing.assert_allclose(changed[0], model(np.full_like(x["input_ids"], 110))[0], rtol=1e-5, atol=1e-6)


def test_lists_are_taken_as_data():
    model = build("SequenceClassification")
    model.compile("sgd")
    model.fit({"input_ids": [[1, 2, 3], [4, 5, 6]]}, [0, 1], verbose=0)


def test_saving_before_any_call(tmp_path):
    model, (x, _) = build("PreTraining", dtype="mixed_bfloat16"), data("PreTraining")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    other = build("PreTraining", dtype="mixed_bfloat16", initializer_range=0.5)
    other.load_weights(tmp_path / "model.weights.h5")
    assert loaded.config == model.config and loaded.dtype_policy == model.dtype_policy
    assert np.array_equal(first(model(x)), first(loaded(x))) and np.array_equal(first(model(x)), first(other(x)))


@pytest.mark.slow
def test_a_compiled_model_goes_on_after_loading_and_surgery(tmp_path):
    x, y = data("MaskedLM")
    model = build("MaskedLM")
    model.compile(keras.optimizers.AdamW(1e-3), metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 1 and type(loaded.optimizer) is keras.optimizers.AdamW
    for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert np.array_equal(mine.numpy(), theirs.numpy())
    loaded.prune_heads({0: [2]})
    loaded.resize_token_embeddings(120)
    loaded.fit(x, y, verbose=0)
    loaded.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    assert np.array_equal(first(loaded(x)), first(again(x)))


def test_functional_composition(tmp_path):
    model, (x, _) = build("Model"), data("Model")
    functional = model.as_functional()
    functional.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x)["pooler_output"], model(x).pooler_output)
    ids = keras.Input((None,), dtype="int32")
    own = keras.Model(ids, keras.layers.Dense(3)(model(ids).pooler_output))
    own.compile("sgd", "mse")
    own.fit(x["input_ids"], np.zeros((8, 3)), verbose=0)
    assert own(x["input_ids"]).shape == (8, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_precision_policies(policy):
    model, (x, y) = build("PreTraining", dtype=policy), data("PreTraining")
    x["attention_mask"][0] = 0
    output = model(x | y)
    assert policy.removeprefix("mixed_") in str(output.prediction_logits.dtype)
    assert all(np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(v, "float32"))).all() for v in output.values())
    assert output.loss.dtype == (tf.float64 if policy == "float64" else tf.float32)


def test_fit_in_mixed_float16_is_finite():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification", dtype="mixed_float16")
    model.compile(keras.optimizers.Adam())
    assert "_backend_update_step" in vars(model.optimizer.inner_optimizer)
    model.compile("adam")
    assert type(model.optimizer.inner_optimizer) is FusedAdam
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])


@pytest.mark.slow
def test_jit_compile():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification", attention_probs_dropout_prob=0.0)
    model.compile("sgd", jit_compile=True)
    expected = float(model(x | y).loss)
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_remat_changes_no_gradient():
    """With dropout: the block that runs again must draw what it drew the first time."""
    x, y = data("SequenceClassification")
    gradients, calls = [], []
    for enabled in (False, True):
        model = build("SequenceClassification", attention_probs_dropout_prob=0.5, num_hidden_layers=2)
        if enabled:
            model.gradient_checkpointing_enable()
        block = model.mobilebert.encoder.layer[1]
        run, count = block.call, []
        block.call = lambda *a, run=run, count=count, **k: count.append(1) or run(*a, **k)
        with tf.GradientTape() as tape:
            loss = model(x | y, training=True).loss
        calls.append(count)
        seeds = [v.numpy().tolist() for v in model.non_trainable_variables]
        gradients.append(tape.gradient(loss, [v.value for v in model.trainable_variables]))
    assert len(calls[1]) == 2 * len(calls[0]) > 0 and seeds != [[0, 0]] * len(seeds)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), rtol=1e-4, atol=1e-6)


def test_an_export_has_states_as_outputs(tmp_path):
    model = build("Model", output_hidden_states=True, output_attentions=True)
    named = {n: keras.InputSpec(shape=(None, None), dtype="int32", name=n) for n in TEXT_INPUTS}
    model.export(tmp_path / "saved", input_signature=named, verbose=False)
    x, _ = data("Model", batch=2)
    saved = tf.saved_model.load(tmp_path / "saved")
    found = saved.serve({n: tf.constant(v) for n, v in x.items()})
    expected = model(x)
    states = {f"hidden_states_{i}": state for i, state in enumerate(expected.hidden_states)}
    states |= {f"attentions_{i}": probs for i, probs in enumerate(expected.attentions)}
    assert set(found) == {"last_hidden_state", "pooler_output", *states}
    for key, value in states.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*tf.lite.Interpreter is deprecated:UserWarning"
)  # as its successor is no extra yet
@pytest.mark.parametrize("name", ["QuestionAnswering", "MultipleChoice"])
def test_litert_takes_any_size_without_operators_of_tensorflow(tmp_path, name):
    model = build(name)
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(model_path=str(tmp_path / "model.tflite"))
    assert not [each for each in interpreter._get_ops_details() if "Flex" in each["op_name"]]
    run = interpreter.get_signature_runner()
    for batch in (1, 3):
        x, _ = data(name, batch=batch)
        found, expected = run(**x), model(x)
        assert set(found) == set(expected)
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Model", "MultipleChoice"])
def test_export_takes_any_size(tmp_path, name):
    model = build(name)
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    for batch in (1, 3):
        x, _ = data(name, batch=batch)
        found = saved.serve({n: tf.constant(v) for n, v in x.items()})
        expected = model(x)
        assert set(found) == set(expected)
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("cls", [keras.optimizers.Adam, keras.optimizers.AdamW])
def test_fused_adam_is_keras_adam(cls, graph):
    """Twenty steps with decay, clipping and a schedule: fused by class, fused by methods, and as Keras does them."""
    finals = []
    named = {keras.optimizers.Adam: FusedAdam, keras.optimizers.AdamW: FusedAdamW}[cls]
    for made, patched in ((named, False), (cls, True), (cls, False)):
        rng = np.random.default_rng(0)
        schedule = keras.optimizers.schedules.PolynomialDecay(1e-2, 20)
        optimizer = made(schedule, weight_decay=0.01, global_clipnorm=1.0)
        variables = [keras.Variable(rng.standard_normal(shape), dtype="float32") for shape in ((7, 5), (3,))]
        optimizer.build(variables)
        if patched:
            fuse_updates(optimizer)
            assert "_backend_update_step" in vars(optimizer)

        def twice(gradients, optimizer=optimizer):
            optimizer.apply(gradients)
            optimizer.apply(gradients)

        step = tf.function(twice) if graph else twice
        for _ in range(10):
            step([tf.constant(rng.standard_normal(v.shape), tf.float32) for v in variables])
        finals.append([v.numpy() for v in (*variables, *optimizer.variables[2:])])
        assert int(optimizer.iterations) == 20
    for by_class, by_methods, expected in zip(*finals, strict=True):
        assert np.array_equal(by_class, by_methods)
        np.testing.assert_allclose(by_class, expected, rtol=0, atol=1e-6)


def test_a_named_optimizer_is_fused_saved_and_loaded(tmp_path):
    model = build("SequenceClassification")
    for name, cls, of_keras in (
        ("adam", FusedAdam, keras.optimizers.Adam),
        ("adamw", FusedAdamW, keras.optimizers.AdamW),
    ):
        model.compile(name)
        assert type(model.optimizer) is cls and "_backend_update_step" not in vars(model.optimizer)
        assert {**model.optimizer.get_config(), "name": ""} == {**of_keras().get_config(), "name": ""}
    model.save(tmp_path / "model.keras")
    assert type(keras.models.load_model(tmp_path / "model.keras").optimizer) is FusedAdamW


def test_other_optimizers_are_left_alone():
    for optimizer in (keras.optimizers.SGD(), keras.optimizers.Adam(amsgrad=True), keras.optimizers.RMSprop()):
        model = build("SequenceClassification")
        model.compile(optimizer)
        assert "_backend_update_step" not in vars(optimizer)


def test_freezing_and_summary(capsys):
    model = build("SequenceClassification")
    model.mobilebert.trainable = False
    assert [v.path.split("/")[-2:] for v in model.trainable_weights] == [
        ["classifier", "kernel"],
        ["classifier", "bias"],
    ]
    model.summary(print_fn=print)
    assert "mobilebert" in capsys.readouterr().out


def test_lora_trains_a_few_weights_and_merges(tmp_path):
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.mobilebert.trainable = False
    attention = model.mobilebert.encoder.layer[0].attention.self
    attention.query.enable_lora(2)
    model.compile("adam")
    model.fit(x, y, verbose=0)
    model.save_pretrained(tmp_path)
    plain = type(model).from_pretrained(tmp_path)
    np.testing.assert_allclose(plain(x).logits, model(x).logits, rtol=1e-4, atol=1e-6)
