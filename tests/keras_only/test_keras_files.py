"""Core against Keras on the files of Keras 3: what it saves is read bit by bit, what core writes is what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import mobilebert_tf
from mobilebert_core.checkpoints.containers.keras_archive import KerasArchive
from mobilebert_core.checkpoints.containers.keras_writer import (
    KERAS_VERSION,
    write_keras_archive,
    write_keras_weights,
)
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS
from mobilebert_tf.variables import variable_array
from tests.core.keras_files import open_keras
from tests.tiny import BRANCHES, tiny_batch, tiny_config

# Every head in the released branch, every tree of layers under the head that has most of them.
TREES = (
    "bottleneck_attention", "unshared", "teacher", "no_bottleneck", "embedding_is_hidden", "untied", "pruned",
    "no_layers", "folded_all", "folded_half",
)  # fmt: skip
MODELS = [(head, "released") for head in HEADS] + [("PreTraining", branch) for branch in TREES]


def build(head="PreTraining", dtype="float32", **overrides):
    """A model as a new process would name it, with random numbers in every weight."""
    keras.utils.clear_session()
    kwargs = {name: overrides.pop(name) for name in ("add_pooling_layer",) if name in overrides}
    model = mobilebert_tf.MODEL_CLASSES[head](tiny_config(**overrides), initializer="zeros", dtype=dtype, **kwargs)
    randomize(model)
    return model


def randomize(model, seed=0):
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape))


def arrays(model):
    """PyTorch full name -> array in PyTorch's orientation, as the variables of the model hold them."""
    found = {}
    for weight in model.weight_table():
        if weight.tied_to is None:
            array = variable_array(model.variable_of(weight))
            found[weight.full_name] = array.T if "keras" in weight.transposed else array
    return found


def assert_equal(found, expected):
    """Bit by bit. bfloat16 is compared as float32, which holds it exactly."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name


def read_all(names):
    return {name: names.read(name) for name in names.stored}


def contents(file):
    """Every group and dataset of an HDF5 file: attributes, shape, dtype and bytes."""
    found = {}

    def visit(name, item):
        data = (item.shape, item.dtype, item[()].tobytes()) if isinstance(item, h5py.Dataset) else None
        found[name] = (dict(item.attrs), data)

    with h5py.File(file) as opened:
        opened.visititems(visit)
    return found


@pytest.mark.parametrize(("head", "branch"), MODELS)
def test_keras_and_core_write_and_read_alike(tmp_path, head, branch):
    model = build(head, **BRANCHES[branch])
    expected = arrays(model)
    model.save_weights(tmp_path / "theirs.weights.h5")
    names = open_keras(tmp_path / "theirs.weights.h5", model.config)
    assert not names.dropped
    assert_equal(read_all(names), expected)
    write_keras_weights(tmp_path / "ours.weights.h5", model.config, model.head, names.read)
    assert contents(tmp_path / "ours.weights.h5") == contents(tmp_path / "theirs.weights.h5")
    randomize(model, seed=1)
    model.load_weights(tmp_path / "ours.weights.h5")
    assert_equal(arrays(model), expected)


@pytest.mark.parametrize(
    ("branch", "dtype"),
    [("pooler", "float16"), ("layer_norm", "float64"), ("untied", "mixed_float16"), ("layer_norm", "mixed_bfloat16")],
)
def test_files_of_every_policy_are_read(tmp_path, branch, dtype):
    model = build(dtype=dtype, **BRANCHES[branch])
    expected = arrays(model)
    model.save(tmp_path / "theirs.keras")
    found = KerasArchive(tmp_path / "theirs.keras")
    names = open_keras(found.path)
    assert found.policy == dtype
    assert_equal(read_all(names), expected)
    plan = plan_loading(names, found.config, found.head)
    assert plan.dtype == model.variable_dtype
    write_keras_archive(tmp_path / "ours.keras", found.config, found.head, names.read, policy=found.policy)
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    assert loaded.dtype_policy.name == dtype
    assert_equal(arrays(loaded), expected)


def test_bfloat16_is_read_exactly(tmp_path):
    """It is written in the dtype in which it comes, float32, which Keras rounds back to what it was."""
    model = build(dtype="bfloat16")
    expected = arrays(model)
    model.save(tmp_path / "theirs.keras")
    names = open_keras(tmp_path / "theirs.keras")
    assert {found.dtype for found in names.stored.values()} == {"bfloat16"}
    assert_equal(read_all(names), expected)
    write_keras_archive(tmp_path / "ours.keras", model.config, model.head, names.read, policy="bfloat16")
    assert_equal({n: a.astype(np.float32) for n, a in arrays(keras.models.load_model(tmp_path / "ours.keras")).items()},
                 {n: a.astype(np.float32) for n, a in expected.items()})  # fmt: skip


CONFIGS = {
    "plain": {},
    "labels": {"id2label": {0: "no", 1: "yes", 2: "später"}, "problem_type": "multi_label_classification"},
    "pruned": {"pruned_heads": {0: [1, 2], 1: [0]}},
    "untied": {"tie_word_embeddings": False, "pad_token_id": None},
    "carried": {"finetuning_task": "x", "architectures": ["MobileBertModel"], "torch_dtype": "float16"},
}


@pytest.mark.parametrize(
    ("head", "fields"), [("Model", "plain"), *(("SequenceClassification", fields) for fields in CONFIGS)]
)
def test_the_archive_is_what_keras_writes(tmp_path, head, fields):
    model = build(head, **CONFIGS[fields])
    model.save(tmp_path / "theirs.keras")
    write_keras_archive(tmp_path / "ours.keras", model.config, model.head, arrays(model).__getitem__)
    with zipfile.ZipFile(tmp_path / "theirs.keras") as theirs, zipfile.ZipFile(tmp_path / "ours.keras") as ours:
        assert [(i.filename, i.compress_type) for i in ours.infolist()] == [
            (i.filename, i.compress_type) for i in theirs.infolist()
        ]
        assert ours.read("config.json") == theirs.read("config.json")
        mine, its = (json.loads(archive.read("metadata.json")) for archive in (ours, theirs))
        assert list(mine) == list(its) and mine["keras_version"] == KERAS_VERSION
        with ours.open("model.weights.h5") as one, theirs.open("model.weights.h5") as other:
            assert contents(one) == contents(other)
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    assert type(loaded) is type(model) and loaded.config == model.config
    assert_equal(arrays(loaded), arrays(model))


def test_a_model_without_pooler(tmp_path):
    model = build("Model", add_pooling_layer=False)
    model.save(tmp_path / "theirs.keras")
    found = KerasArchive(tmp_path / "theirs.keras")
    assert found.pooler is False
    write_keras_archive(
        tmp_path / "ours.keras", found.config, found.head, open_keras(found.path).read, pooler=found.pooler
    )
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    assert loaded.mobilebert.pooler is None
    assert_equal(arrays(loaded), arrays(model))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_the_state_of_the_optimizer_is_dropped(tmp_path, dtype):
    model = build("MaskedLM", dtype)
    model.compile(keras.optimizers.AdamW(1e-3), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    model.evaluate(tiny_batch(model.config, "MaskedLM"), verbose=0)  # builds the metrics
    model.save(tmp_path / "model.keras")
    names = open_keras(tmp_path / "model.keras")
    assert len(names.dropped) > 2 * len(model.weights) and set(names.dropped.values()) == {"optimizer state"}
    assert all(name.startswith("optimizer/") for name in names.dropped)
    assert_equal(read_all(names), arrays(model))


def test_frozen_and_replaced_weights_keep_their_place(tmp_path):
    model = build()
    model.mobilebert.embeddings.trainable = False
    model.prune_heads({0: [2]})
    model.resize_token_embeddings(120)
    model.save(tmp_path / "model.keras")
    found = KerasArchive(tmp_path / "model.keras")
    assert found.config == model.config
    assert_equal(read_all(open_keras(found.path)), arrays(model))


def test_lora_comes_merged(tmp_path):
    model = build()
    query = model.mobilebert.encoder.layer[0].attention.self.query
    query.enable_lora(2)
    query.lora_kernel_b.assign(np.ones(query.lora_kernel_b.shape))
    model.save_weights(tmp_path / "model.weights.h5")
    names = open_keras(tmp_path / "model.weights.h5", model.config)
    found = names.read("mobilebert.encoder.layer.0.attention.self.query.weight")
    np.testing.assert_allclose(found.T, keras.ops.convert_to_numpy(query.kernel), rtol=1e-6)
    assert not np.allclose(found.T, variable_array(query._kernel))


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantized_layers_are_refused(tmp_path, mode):
    model = build()
    model.mobilebert.encoder.layer[1].attention.self.key.quantize(mode)
    model.save(tmp_path / "model.keras")
    place = "base_model/encoder/layer/tf_mobile_bert_layer_1/attention/self/key/vars/"
    with pytest.raises(CheckpointError, match=f"variables are of quantized layers, the first {place}"):
        open_keras(tmp_path / "model.keras")


@pytest.mark.parametrize("head", ["PreTraining", "QuestionAnswering"])
def test_shards_of_keras_are_read(tmp_path, head):
    model = build(head)
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=2e-5)
    assert len(list(tmp_path.glob("model_*.weights.h5"))) > 3
    assert_equal(read_all(open_keras(tmp_path / "model.weights.json", model.config)), arrays(model))


def test_a_model_around_the_model_is_another_model(tmp_path):
    build("Model").as_functional().save(tmp_path / "model.keras")
    with pytest.raises(CheckpointError, match="describes 'FunctionalMobileBert' .* models of your own"):
        KerasArchive(tmp_path / "model.keras")


def test_a_lambda_is_not_run(tmp_path):
    function = keras.layers.Lambda(lambda x: x, output_shape=(2,))
    keras.Sequential([keras.Input((2,)), function]).save(tmp_path / "model.keras")
    assert b"__lambda__" in zipfile.ZipFile(tmp_path / "model.keras").read("config.json")
    with pytest.raises(CheckpointError, match="config.json describes 'Sequential'"):
        KerasArchive(tmp_path / "model.keras")


@pytest.mark.slow
def test_what_keras_saves_is_whole_after_a_kill_and_on_a_full_disk(tmp_path):
    """In a process of its own, which HDF5 used to take down at its end."""
    command = [sys.executable, "-m", "tests.keras_only.whole_files", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes.keys() == {".keras", ".weights.h5"}
    for kind, found in outcomes.items():
        assert [1.0] in found["seen"] and all(values in ([1.0], [2.0]) for values in found["seen"])
        assert "cannot be written (File too large); what was there before is kept" in found["error"]
        assert found["kept"] == [2.0] and found["left"] == [f"m{kind}"]


def test_keras_asks_before_it_overwrites(tmp_path, monkeypatch):
    model = build("NextSentencePrediction")
    model.save_weights(tmp_path / "m.weights.h5")
    before = (tmp_path / "m.weights.h5").stat()
    monkeypatch.setattr("builtins.input", lambda *args: "n")
    model.save_weights(tmp_path / "m.weights.h5", overwrite=False)
    assert (tmp_path / "m.weights.h5").stat() == before
