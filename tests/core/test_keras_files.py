"""Files of Keras 3 without Keras: what is written is read back, whole, and one array at a time."""

from __future__ import annotations

import tracemalloc
import weakref

import h5py
import numpy as np
import pytest

from mobilebert_core.checkpoints.containers.keras_archive import KerasArchive
from mobilebert_core.checkpoints.containers.keras_writer import write_keras_archive, write_keras_weights
from mobilebert_core.checkpoints.names.keras import keras_place
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import every_weight, weight_table
from tests.core.keras_files import HEAD, KEY, drawn, index_beside, open_keras
from tests.tiny import BRANCHES, STRUCTURES, tiny_config

# A branch changes what lies below the heads: every head in some of them, and two of the heads in turn in the others.
EVERY_HEAD = ("pooler", "untied", "folded_all")


@pytest.mark.parametrize("branch", STRUCTURES)
def test_what_is_written_is_read(tmp_path, branch):
    config, heads, turn = tiny_config(**BRANCHES[branch]), list(HEADS.values()), STRUCTURES.index(branch)
    for head in heads if branch in EVERY_HEAD else (HEAD, heads[turn % len(heads)]):
        check_both_ways(tmp_path / f"{head.name}.keras", config, head, "float32")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtypes_are_kept(tmp_path, dtype):
    check_both_ways(tmp_path / "model.keras", tiny_config(), HEAD, dtype)


def check_both_ways(path, config, head, dtype):
    expected = drawn(config, head, dtype=dtype)
    write_keras_archive(path, config, head, expected.__getitem__)
    found = KerasArchive(path)
    names = open_keras(found.path)
    assert (found.class_name, found.head, found.config) == (f"TF{head.class_name}", head, config)
    assert names.stored.keys() == expected.keys() and not names.dropped
    for name, array in expected.items():
        assert (names.stored[name].shape, names.stored[name].dtype) == (array.shape, dtype)
        assert np.array_equal(names.read(name), array) and names.read(name).dtype == dtype
    plan = plan_loading(names, found.config, head, found.pooler)
    assert not plan.newly_initialized and not plan.unused and len(plan.sources) == len(expected) and plan.dtype == dtype


@pytest.mark.parametrize("pooler", [True, False, None])
def test_the_bare_model_says_whether_it_pools(tmp_path, pooler):
    config, head = tiny_config(), HEADS["Model"]
    expected = drawn(config, head, pooler)
    write_keras_archive(tmp_path / "m.keras", config, head, expected.__getitem__, pooler, policy="mixed_float16")
    found = KerasArchive(tmp_path / "m.keras")
    assert found.pooler is (pooler is not False) and found.policy == "mixed_float16"
    assert open_keras(found.path).stored.keys() == expected.keys()


def test_another_head_takes_what_it_knows(archive):
    names = open_keras(archive)
    plan = plan_loading(names, tiny_config(), HEADS["SequenceClassification"])
    assert [w.name for w in plan.newly_initialized] == ["classifier.weight", "classifier.bias"]
    assert all(name.startswith("cls.") for name in plan.unused) and len(plan.unused) == 8


def test_both_backends_take_the_arrays(backend, archive):
    names, config = open_keras(archive), tiny_config()
    plan = plan_loading(names, config, HEAD)
    model = backend.build("PreTraining", config)
    for weight, name in plan.sources.items():
        array = names.read(name)
        if backend.name == "torch":
            model.get_parameter(weight.name).data.copy_(backend.array(array))
        else:
            model.variable_of(weight).assign(array.T if "keras" in weight.transposed else array)
    found, expected = backend.parameters(model), drawn(config)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_arrays_pass_one_at_a_time(tmp_path):
    config, seen, alive = tiny_config(), [], []
    shapes = {w.full_name: w.shape for w in weight_table(config, HEAD)}

    def read(name):
        array = np.zeros(shapes[name], np.float32)
        seen.append(weakref.ref(array))
        alive.append(sum(ref() is not None for ref in seen))
        return array

    write_keras_weights(tmp_path / "model.weights.h5", config, HEAD, read)
    assert max(alive) <= 2 and len(alive) > 50  # the one before lives until its name is taken


def test_an_archive_is_not_read_into_memory(tmp_path):
    config, head = tiny_config(vocab_size=100_000), HEADS["Model"]
    write_keras_archive(tmp_path / "model.keras", config, head, drawn(config, head).__getitem__)
    assert (tmp_path / "model.keras").stat().st_size > 8_000_000
    tracemalloc.start()
    names = open_keras(tmp_path / "model.keras")
    names.read("mobilebert.embeddings.LayerNorm.weight")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_failed_write_leaves_the_old_file(archive, weights):
    before = {path: path.read_bytes() for path in (archive, weights[0])}
    config, arrays = tiny_config(), drawn(tiny_config())
    arrays["cls.seq_relationship.weight"] = arrays["cls.seq_relationship.weight"].T
    message = r"cls.seq_relationship.weight has shape \(48, 2\), wanted \(2, 48\)"
    with pytest.raises(CheckpointError, match=f"model.keras: {message}"):
        write_keras_archive(archive, config, HEAD, arrays.__getitem__)
    with pytest.raises(CheckpointError, match=f"model.weights.h5: {message}"):
        write_keras_weights(weights[0], config, HEAD, arrays.__getitem__)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(p.name for p in archive.parent.iterdir()) == ["model.keras", "model.weights.h5"]


def test_names_and_policies_that_keras_would_refuse(tmp_path):
    config, read = tiny_config(), drawn(tiny_config()).__getitem__
    with pytest.raises(CheckpointError, match="model.h5: wanted a name that ends in .weights.h5"):
        write_keras_weights(tmp_path / "model.h5", config, HEAD, read)
    with pytest.raises(CheckpointError, match="model.zip: wanted a name that ends in .keras"):
        write_keras_archive(tmp_path / "model.zip", config, HEAD, read)
    with pytest.raises(ConfigError, match="policy must be one of .* got 'int8'"):
        write_keras_archive(tmp_path / "model.keras", config, HEAD, read, policy="int8")
    with pytest.raises(ConfigError, match="embedding_size 64 is larger"):
        write_keras_weights(tmp_path / "a.weights.h5", tiny_config(embedding_size=64), HEAD, read)
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_be_opened(tmp_path, weights):
    with pytest.raises(CheckpointNotFoundError, match="gone.keras: no such file"):
        open_keras(tmp_path / "gone.keras")
    for name in ("gone.weights.h5", "gone.weights.json"):
        with pytest.raises(CheckpointNotFoundError, match=f"{name}: no such file"):
            open_keras(tmp_path / name, tiny_config())
    with pytest.raises(
        CheckpointNotFoundError, match="config.json: file not found; the directory holds model.weights.h5"
    ):
        open_keras(weights[0])


def test_shards_are_read_as_one(weights):
    path, config = weights
    with h5py.File(path, "a") as file, h5py.File(path.with_name("b.weights.h5"), "w") as other:
        other[f"{KEY}/1"] = file[f"{KEY}/1"][()]
        del file[f"{KEY}/1"]
    names = open_keras(index_beside(path, {f"/{KEY}": [path.name, "b.weights.h5"], "/cls/vars": path.name}), config)
    expected = drawn(config)
    assert names.stored.keys() == expected.keys()
    assert all(np.array_equal(names.read(name), expected[name]) for name in expected)


def test_places_are_one_to_one():
    weights = {w.full_name: keras_place(w) for w in every_weight(tiny_config()) if w.keras is not None}
    assert len(set(weights.values())) == len(weights)
