"""Batches that come one by one: each is looked at once, and one that does not fit is our error, whoever gives it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

from mobilebert_core.errors import InputError
from mobilebert_tf.fit import compiled
from tests.keras_only.fitting import Batches, build, data, plain, weights_of

X, Y = data("SequenceClassification", batch=4)
Y = plain(Y)


class Given(keras.utils.PyDataset):
    """Batches as they are."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Loaded(torch.utils.data.Dataset):
    """Batches as they are, for PyTorch's loader without a size of batches."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


KINDS = {
    "dataset": Given,
    "generator": iter,
    "loader": lambda batches: torch.utils.data.DataLoader(Loaded(batches), batch_size=None),
}
WRONG = {
    r"input_ids must be .batch, sequence., got shape .11,.": {**X, "input_ids": X["input_ids"][0]},
    r"attention_mask has shape .11,., wanted .batch, sequence.": {**X, "attention_mask": X["attention_mask"][0]},
    "a batch holds input_ids.*, wanted .*attention_mask.* like the first": {"input_ids": X["input_ids"]},
    r"input_ids of a batch has shape .4, 9., wanted .\?, 11. like the first": {n: a[:, :9] for n, a in X.items()},
}


@pytest.fixture(scope="module")
def model():
    found = build("SequenceClassification")
    found.compile("sgd")
    found.fit(X, Y, verbose=0)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", WRONG)
def test_a_batch_of_other_ranks_names_or_sizes(model, kind, message):
    good, bad = (X, Y), (WRONG[message], Y)
    late = [good, good, bad] if "9" in message else [good, bad]
    give = (lambda batches: (batch for batch in batches)) if kind == "generator" else KINDS[kind]
    with pytest.raises(InputError, match=f"For.*: {message}"):
        model.fit(give(late), verbose=0, shuffle=False)
    for run in [model.evaluate] if kind == "loader" else [model.evaluate, model.predict]:
        with pytest.raises(InputError, match=f"For.*: {message}"):
            run(give(late), verbose=0)


def test_functions_that_are_called_without_fit(model):
    bad = {n: keras.ops.convert_to_tensor(a) for n, a in next(iter(WRONG.values())).items()}
    with pytest.raises(InputError, match="input_ids must be"):
        model.train_function(iter([(bad, keras.ops.convert_to_tensor(Y))]))


def test_a_generator_of_dicts(model):
    with pytest.raises(InputError, match=r"a batch of a generator is a dict, wanted a tuple: .inputs,."):
        model.predict((batch for batch in [X]), verbose=0)


@pytest.fixture
def looks(model, monkeypatch):
    """A function that runs another and says how many batches were looked at."""
    looked_at, real = [], compiled.prepared
    monkeypatch.setattr(compiled, "prepared", lambda *data: looked_at.append(data) or real(*data))

    def number(run, *arguments, **options):
        looked_at.clear()
        run(*arguments, **options, verbose=0)
        return len(looked_at)

    return number


def test_arrays_are_looked_at_as_a_whole_alone(model, looks):
    weights = np.ones(4, np.float32)
    assert looks(model.fit, X, Y, batch_size=2, validation_data=(X, Y), epochs=2) == 0
    assert looks(model.fit, X, Y, sample_weight=weights, batch_size=2, validation_split=0.5) == 0
    assert looks(model.predict, X, batch_size=1) == 0
    assert looks(model.fit, X, Y, validation_data=Batches(X, Y, 1)) == 2 + 4  # two to learn the shapes


@pytest.mark.slow
def test_each_batch_of_a_dataset_is_looked_at_once(model, looks):
    import tensorflow as tf

    data_set = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    assert looks(model.fit, data_set, validation_data=(X, Y), epochs=2, shuffle=False) == 2 * 2
    assert looks(model.fit, X, Y, validation_data=data_set) == 2
    assert looks(model.evaluate, data_set) == 2
    assert looks(model.predict, data_set) == 2


@pytest.mark.parametrize("kind", ["memmap", "foreign"])
def test_arrays_of_other_libraries_are_looked_at_before_the_first_step(model, tmp_path, kind):
    class Foreign:
        shape, dtype = Y.shape, Y.dtype

        def __array__(self, *arguments, **options):
            return Y * 0 + 9

        def __len__(self):
            return len(Y)

    labels = Foreign()
    if kind == "memmap":
        labels = np.memmap(tmp_path / "labels", Y.dtype, "w+", shape=Y.shape)
        labels[:] = 9
    before = weights_of(model)
    with pytest.raises(InputError, match="labels must lie in 0..1"):
        model.fit(X, labels, batch_size=2, verbose=0)
    for got, wanted in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(got, wanted)
