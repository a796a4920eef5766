"""`fit` learns from every form in which Keras users hold their data, and says what it cannot read."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix
from torch.utils.data import DataLoader

from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from tests.keras_only.fitting import TASKS, Batches, build, cross_entropy, data, learnable, plain

EPOCHS = 14
AS_FORMS = 2  # epochs in every form: what is learned in them is equal


def forms(x, y):
    """The arguments of fit, by what they are called in a failure."""
    rows = tf.data.Dataset.from_tensor_slices
    return {
        "labels by name": ((x, y), {"batch_size": 16}),
        "labels among the inputs": ((x | y,), {"batch_size": 16}),
        "list": (([x["input_ids"], x["attention_mask"]], plain(y)), {"batch_size": 16}),
        "tuple": (((x["input_ids"], x["attention_mask"]), plain(y)), {"batch_size": 16}),
        "lists of numbers": (({n: a.tolist() for n, a in x.items()}, plain(y)), {"batch_size": 16}),
        "dataset": ((rows((x, plain(y))).batch(16),), {}),
        "dataset with labels among the inputs": ((rows(x | y).batch(16),), {}),
        "PyDataset": ((Batches(x, plain(y), 16),), {}),
        "PyDataset with labels among the inputs": ((Batches(x | y, None, 16),), {}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_head_learns_from_every_form(name):
    x, y = learnable(name)
    model = build(name, initializer_range=0.1)
    model.compile(keras.optimizers.Adam(1e-2))
    variables = [*model.variables, *model.optimizer.variables]
    start = [keras.ops.copy(v) for v in variables]
    wanted = model.fit(x, plain(y), batch_size=16, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
    assert wanted[-1] < max(0.05, 0.02 * wanted[0])
    for form, (args, kwargs) in forms(x, y).items():
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        losses = model.fit(*args, epochs=AS_FORMS, shuffle=False, verbose=0, **kwargs).history["loss"]
        assert losses == pytest.approx(wanted[:AS_FORMS], rel=1e-4), form


@pytest.mark.slow
def test_the_bare_model_learns_what_it_is_compared_with():
    x, _ = data("Model")
    target = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 48)).astype(np.float32)
    model = build("Model", initializer_range=0.1)
    model.compile(keras.optimizers.Adam(1e-2), loss={"pooler_output": "mse"})
    losses = model.fit(x, {"pooler_output": target}, epochs=80, verbose=0).history["loss"]
    assert losses[-1] < 0.02 * losses[0]
    with pytest.raises(InputError, match="y is one array, wanted a mapping by output: last_hidden_state, pooler_outp"):
        model.fit(x, target, verbose=0)
    model.compile("sgd")
    with pytest.raises(InputError, match="no loss to train with. Pass a loss to compile()."):
        model.fit(x, verbose=0)


@pytest.mark.slow
def test_validation_in_every_form():
    x, y = data("PreTraining")
    model = build("PreTraining")
    model.compile(keras.optimizers.SGD(0.0))
    rows = tf.data.Dataset.from_tensor_slices
    passed = [
        (x, y), x | y, (x | y,), (x, y, np.ones(8)), rows((x, y)).batch(8), rows(x | y).batch(8), Batches(x, y, 8),
    ]  # fmt: skip
    for validation in passed:
        history = model.fit(x | y, validation_data=validation, batch_size=8, verbose=0).history
        assert history["val_loss"][0] == pytest.approx(history["loss"][0], rel=1e-5)
    split = model.fit(x | y, validation_split=0.25, verbose=0, batch_size=8).history
    expected = model.evaluate({n: a[-2:] for n, a in (x | y).items()}, verbose=0)
    assert split["val_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("among_inputs", [True, False])
@pytest.mark.parametrize("as_dataset", [True, False])
def test_sample_weights_by_hand(among_inputs, as_dataset):
    """Also with labels among the inputs, where Keras alone would drop the weights."""
    x, y = data("SequenceClassification")
    weights = np.arange(8, dtype=np.float32)
    model = build("SequenceClassification", initializer_range=0.5)
    model.compile(keras.optimizers.SGD(0.0))
    single = cross_entropy(model(x).logits, y["labels"])
    args = (x | y,) if among_inputs else (x, y["labels"])
    if as_dataset:
        dataset = tf.data.Dataset.from_tensors((x, y["labels"], weights))
        found = model.fit(dataset, verbose=0, shuffle=False).history["loss"][0]
    else:
        found = model.fit(*args, sample_weight=weights, batch_size=8, verbose=0).history["loss"][0]
        evaluated = model.evaluate(*args, sample_weight=weights, batch_size=8, verbose=0)
        assert evaluated == pytest.approx((single * weights).mean(), rel=1e-5)
    assert found == pytest.approx((single * weights).mean(), rel=1e-5)


@pytest.mark.slow
def test_weights_of_several_outputs_in_the_forms_of_labels():
    """Labels and weights are a list, or by label, or by output; what has no weights counts once."""
    x, y = data("QuestionAnswering")
    start, end = np.arange(8, dtype=np.float32), np.ones(8, np.float32)
    model = build("QuestionAnswering", initializer_range=0.5)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    outputs = model(x)
    expected = (cross_entropy(outputs[0], y["start_positions"]) * start).mean() / 2
    expected += cross_entropy(outputs[1], y["end_positions"]).mean() / 2
    weights = [[start, end], (start, end), {"start_positions": start, "end_logits": end}, {"start_logits": start}]
    by_output = {"start_logits": y["start_positions"], "end_logits": y["end_positions"]}
    for form, weight in zip((list(y.values()), y, by_output, y), weights, strict=True):
        assert model.test_on_batch(x, form, weight) == pytest.approx(expected, rel=1e-5)
    model.compile(keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy", run_eagerly=True)
    for weight in weights[1:]:  # of a generator, which nothing brings to one form
        found = model.evaluate((rows for rows in [(x, tuple(y.values()), weight)]), steps=1, verbose=0)
        assert found[0] == pytest.approx(2 * expected, rel=1e-5)
    for wrong, got in (({"start": start}, "'start'"), ([start], "'1 arrays'")):
        with pytest.raises(InputError, match=rf"sample_weight has \[{got}\], wanted weights for \['start_pos"):
            model.test_on_batch(x, y, wrong)


@pytest.mark.parametrize("name", ["SequenceClassification", "NextSentencePrediction", "MultipleChoice", "MaskedLM",
                                  "TokenClassification"])  # fmt: skip
def test_class_weights_by_hand(name):
    """One a text or one a token; Keras alone takes labels of (B, S) for one-hot."""
    x, y = data(name)
    labels = y["labels"].copy()
    if name == "TokenClassification":
        labels[:, :3] = -100
    chosen = {1: 3.0, 0: 0.5}
    model = build(name, initializer_range=0.5)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=name in ("NextSentencePrediction", "MaskedLM"))
    single = cross_entropy(model(x)[0], labels)
    learned = labels != -100
    weight = np.select([labels == 1, labels == 0], [3.0, 0.5], 1.0)
    expected = (single * weight * learned).sum() / learned.sum()
    dataset = tf.data.Dataset.from_tensors((x, labels))
    among = tf.data.Dataset.from_tensors({**x, "labels": labels})
    for args in ((x, labels), (x, {"labels": labels}), ({**x, "labels": labels},), (dataset,), (among,)):
        shuffle = len(args) > 1 or isinstance(args[0], dict)
        history = model.fit(*args, class_weight=chosen, batch_size=8, shuffle=shuffle, verbose=0).history
        assert history["loss"][0] == pytest.approx(expected, rel=1e-4), args
    if HEADS[name].pooled:
        history = model.fit(Batches(x, labels, 8), class_weight=chosen, shuffle=False, verbose=0).history
        assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
    else:
        with pytest.raises(InputError, match="class_weight works on arrays and on tf.data.Dataset; from Batches give"):
            model.fit(Batches(x, labels, 8), class_weight=chosen, shuffle=False, verbose=0)


@pytest.mark.parametrize("name", ["PreTraining", "QuestionAnswering"])
def test_class_weights_for_several_outputs(name):
    x, y = data(name)
    model = build(name)
    model.compile("sgd")
    for passed in ((x, y), (tf.data.Dataset.from_tensors((x, y)),)):
        with pytest.raises(
            InputError, match="class_weight is for one output whose labels are class numbers, got 2 out"
        ):
            model.fit(*passed, class_weight={0: 1.0}, verbose=0)


def test_class_weights_that_mean_nothing():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile("sgd")
    for weights, message in (
        ({2: 1.0}, r"class_weight has \[2\], wanted classes in 0..1"),
        ([1.0, 2.0], "class_weight must be a dict of weights by class, got list"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit(x, y["labels"], class_weight=weights, verbose=0)
    with pytest.raises(InputError, match="class_weight or sample_weight, got both"):
        model.fit(x, y["labels"], class_weight={0: 1.0}, sample_weight=np.ones(8), verbose=0)
    with pytest.raises(InputError, match="class_weight or sample weights in the dataset, got both"):
        weighted = tf.data.Dataset.from_tensors((x, y["labels"], np.ones(8)))
        model.fit(weighted, class_weight={0: 1.0}, verbose=0)
    with pytest.raises(InputError, match="got no labels"):
        model.fit(x, class_weight={0: 1.0}, verbose=0)
    several = build("SequenceClassification", num_labels=3)
    several.compile("sgd")
    with pytest.raises(InputError, match="got labels of multi_label_classification. Pass sample_weight."):
        several.fit(x, np.ones((8, 3), np.float32), class_weight={0: 1.0}, verbose=0)


def wrong_data():
    x, y = data("SequenceClassification")
    labels = y["labels"]
    rows = tf.data.Dataset.from_tensor_slices
    texts = ["some text"] * 8
    return {
        "texts": ((texts, labels), "got text. Tokenize it first, for fit by mobilebert_tf.text_dataset or"),
        "texts as array": ((np.array(texts), labels), "got text. Tokenize it first"),
        "texts as tensor": ((tf.constant(texts), labels), "got text. Tokenize it first"),
        "texts by name": (({"input_ids": texts}, labels), "got text. Tokenize it first"),
        "dataset of texts": ((rows((texts, labels)).batch(4),), "got text. Tokenize it first"),
        "unknown name": ((rows(({"ids": x["input_ids"]}, labels)).batch(4),), "knows no argument 'ids'; it takes inp"),
        "no batches": ((rows((x, labels)),), r"has ids of shape \(11,\), wanted a batch of them. Pass dataset.batch"),
        "batches of batches": ((rows((x, labels)).batch(2).batch(2),), "input_ids must be .batch, sequence., got sha"),
        "ragged": ((rows((tf.ragged.constant([[1, 2], [3]]), [0, 1])).batch(2),), "holds a RaggedTensor, wanted padd"),
        "four parts": (
            (rows((x["input_ids"], labels, labels, labels)).batch(4),),
            "an element of the dataset is a tup",
        ),
        "fewer labels": ((x, labels[:5]), r"labels has shape \(5,\), wanted \(8,\) to match the logits \(8, 2\)"),
        "labels of another shape": ((rows((x, np.zeros((8, 3), int))).batch(8, True),), r"labels has shape \(8, 3\)"),
        "the same, last batch of any size": (
            (rows((x, np.zeros((8, 3), int))).batch(8),),
            r"labels has shape \(\?, 3\), wanted \(\?,\) to match the logits \(\?, 2\)",
        ),
        "floats": ((x, labels.astype(float)), "takes whole numbers .8,., one class per text"),
        "floats in a dataset": (
            (rows((x, labels.astype(float))).batch(8, True),),
            "takes whole numbers .8,., one class",
        ),
        "a class too many": ((x, labels + 5), "labels must lie in 0..1"),
        "labels by another name": ((x, {"label": labels}), r"y has \['label'\], wanted \['labels'\]"),
        "two labels": ((rows((x, {"labels": labels, "b": labels})).batch(4),), r"y has \['b'\], wanted"),
        "sparse labels": ((x, csr_matrix(np.eye(2)[labels])), "labels must be a dense array of numbers, got a csr_mat"),
        "ragged labels": ((x, tf.ragged.constant([[1], [0, 1]] * 4)), "labels must be a dense array .* RaggedTensor"),
        "lists of different lengths": ((x, [[1], [0, 1]] * 4), "labels must be an array, got a list that makes none"),
        "ids as floats": ((rows(({"input_ids": x["input_ids"] / 2}, labels)).batch(4),), "must be whole numbers"),
    }


@pytest.fixture(scope="module")
def compiled():
    """A model for what `fit` refuses."""
    model = build("SequenceClassification")
    model.compile("sgd")
    return model


@pytest.mark.parametrize("wrong", wrong_data())
def test_wrong_data_is_explained(compiled, wrong):
    args, message = wrong_data()[wrong]
    with pytest.raises(InputError, match=message):
        compiled.fit(*args, verbose=0)


def test_sparse_weights_are_explained(compiled):
    x, y = data("SequenceClassification")
    with pytest.raises(InputError, match="sample_weight must be a dense array of numbers, got a SparseTensor"):
        compiled.fit(x, y["labels"], sample_weight=tf.sparse.from_dense(np.ones(8)), verbose=0)


def test_dicts_of_a_data_loader_are_explained(compiled):
    x, y = data("SequenceClassification")
    loader = DataLoader([{n: array[i] for n, array in (x | y).items()} for i in range(8)], batch_size=4)
    with pytest.raises(InputError, match="a batch of a PyTorch DataLoader is a dict.* on tensorflow takes the names"):
        compiled.fit(loader, shuffle=False, verbose=0)


def test_class_numbers_where_each_label_needs_its_own_are_explained():
    model = build("SequenceClassification", num_labels=3, problem_type="multi_label_classification")
    model.compile("sgd")
    x, y = data("SequenceClassification")
    rows = tf.data.Dataset.from_tensor_slices((x, y["labels"])).batch(4)
    with pytest.raises(InputError, match=r"labels has shape \(\?,\), wanted \(\?, 3\) to match .* takes whole numbers"):
        model.fit(rows, verbose=0)


def test_a_dataset_of_unknown_rank():
    x, y = data("SequenceClassification")
    dataset = tf.data.Dataset.from_tensors((x["input_ids"], y["labels"])).map(
        lambda ids, labels: (tf.numpy_function(lambda a: a, [ids], tf.int32), labels)
    )
    model = build("SequenceClassification")
    model.compile("sgd")
    with pytest.raises(InputError, match="does not know the rank of its inputs .* Tell it by tf.ensure_shape"):
        model.fit(dataset, verbose=0)
    known = dataset.map(lambda ids, labels: (tf.ensure_shape(ids, (None, None)), labels))
    assert np.isfinite(model.fit(known, shuffle=False, verbose=0).history["loss"][0])


def test_training_on_single_batches():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile(keras.optimizers.SGD(0.0))
    weights = np.arange(8, dtype=np.float32)
    found = model.train_on_batch(x | y, sample_weight=weights)
    assert found == pytest.approx(model.test_on_batch(x, y["labels"], sample_weight=weights), rel=1e-5)
    assert model.train_on_batch(x, y["labels"], class_weight={0: 2.0, 1: 2.0}) == pytest.approx(
        2 * model.test_on_batch(x, y["labels"]), rel=1e-5
    )
    with pytest.raises(InputError, match="labels must lie in 0..1"):
        model.train_on_batch(x, y["labels"] + 5)


NAMES = ["good", "bad"] * 4


def named_labels():
    x, _ = data("SequenceClassification")
    tensors = tf.data.Dataset.from_tensor_slices((x, NAMES)).batch(4)
    among = tf.data.Dataset.from_tensor_slices({**x, "labels": NAMES}).batch(4)
    yield from ((x, NAMES), (x, np.array(NAMES)), (x, np.array(NAMES, object)), (x, {"labels": NAMES}))
    yield from (({**x, "labels": np.array(NAMES)}, None), (x, tf.constant(NAMES)), (tensors, None), (among, None))


@pytest.mark.parametrize("loss", [None, "sparse_categorical_crossentropy"])
def test_labels_of_text_are_refused_with_the_way_to_numbers(loss):
    model = build("SequenceClassification", label2id={"bad": 0, "good": 1})
    model.compile("sgd", loss=loss)
    message = "labels must be numbers, got text.*: .model.config.label2id.name. for"
    for x, y in named_labels():
        for call in (model.fit, model.evaluate):
            with pytest.raises(InputError, match=message):
                call(x, y, verbose=0)


def test_labels_of_text_from_a_generator():
    model, (x, _) = build("SequenceClassification"), data("SequenceClassification")
    model.compile("sgd")
    with pytest.raises(InputError, match="text.*config.label2id has"):
        model.fit(Batches(x, np.array(NAMES)), verbose=0)
