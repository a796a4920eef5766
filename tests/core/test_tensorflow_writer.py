"""tf_model.h5 as we write it is tf_model.h5 as transformers 4.37.2 wrote it, from the weights in it.

That transformers loads it is proved by hand, see tests/golden/check_written_files.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mobilebert_core.checkpoints.containers.hdf5 import H5File
from mobilebert_core.checkpoints.containers.tensorflow_writer import write_tensorflow
from mobilebert_core.checkpoints.names.tensorflow import tensorflow_names
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import BackendMissingError, CheckpointError, ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table
from tests.tiny import BRANCHES, tiny_config

FILES = Path(__file__).parents[1] / "golden" / "checkpoint_files"
DECODER, WORDS = "cls.predictions.decoder.weight", "mobilebert.embeddings.word_embeddings.weight"


def contents(path):
    """Every array of an HDF5 file by its place, and every list of names by its group; dropout has no weights."""
    arrays, names = {}, {}
    with h5py.File(path) as file:

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]
            elif "dropout" not in name and "weight_names" in item.attrs:
                names[name] = [text(n) for n in item.attrs["weight_names"]]

        file.visititems(visit)
        names["/"] = [n for n in map(text, file.attrs["layer_names"]) if not n.startswith("dropout")]
        attributes = {n: text(v) for n, v in file.attrs.items() if n != "layer_names"}
    return arrays, names, attributes


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[n], second[n]) and first[n].dtype == second[n].dtype for n in first
    )


def drawn(table, seed=0):
    """An array for every weight that is not tied."""
    rng = np.random.default_rng(seed)
    return {w.full_name: rng.standard_normal(w.shape).astype(np.float32) for w in table if w.tied_to is None}


@pytest.mark.parametrize(
    ("name", "head"),
    [*((f"h5_{head}", head) for head in HEADS), ("h5_layer_norm", "Model"), ("h5_diverged", "MaskedLM")],
)
def test_the_file_is_that_of_transformers(tmp_path, name, head):
    config = MobileBertConfig.from_pretrained(FILES / name, tie_word_embeddings=False)
    table = weight_table(config, HEADS[head])
    theirs = tensorflow_names(H5File(FILES / name / "tf_model.h5"), table, config)
    write_tensorflow(tmp_path, HEADS[head], table, theirs.read)
    assert [path.name for path in tmp_path.iterdir()] == ["tf_model.h5"]
    (arrays, names, attributes), found = contents(FILES / name / "tf_model.h5"), contents(tmp_path / "tf_model.h5")
    assert same(arrays, found[0])
    assert (names, attributes) == found[1:]  # names in the same order: Keras's own load_weights goes by it


def test_the_shards_are_those_of_transformers(tmp_path):
    config = MobileBertConfig.from_pretrained(FILES / "h5_PreTraining", tie_word_embeddings=False)
    table = weight_table(config, HEADS["PreTraining"])
    weights = drawn(table)
    write_tensorflow(tmp_path, HEADS["PreTraining"], table, weights.__getitem__, max_shard_size="12KB")
    theirs, ours = (
        json.loads((path / "tf_model.h5.index.json").read_text()) for path in (FILES / "h5_sharded", tmp_path)
    )
    save_id = ours["metadata"].pop("save_id")  # which theirs have not
    assert theirs["metadata"] == ours["metadata"] and theirs["weight_map"].keys() == ours["weight_map"].keys()
    shards = sorted(set(ours["weight_map"].values()))
    assert sorted(path.name for path in tmp_path.iterdir()) == [*shards, "tf_model.h5.index.json"] and len(shards) > 3
    places, found = {}, {}
    for path in sorted((FILES / "h5_sharded").glob("*.h5")):
        arrays, names, attributes = contents(path)
        places |= {n: a.shape for n, a in arrays.items()}
        assert set(names["/"]) == arrays.keys() and attributes == {}
    for shard in shards:
        arrays, names, attributes = contents(tmp_path / shard)
        assert set(names["/"]) == arrays.keys() and attributes == {"save_id": save_id}
        assert {n for n, file in ours["weight_map"].items() if file == shard} == {
            f"tf_mobile_bert_for_pre_training/{n}" for n in arrays
        }
        assert sum(array.nbytes for array in arrays.values()) <= 12_000
        found |= arrays
    assert {n: a.shape for n, a in found.items()} == places
    for weight in table:
        if weight.h5 is not None:
            array = weights[weight.full_name]
            assert np.array_equal(found[f"{weight.h5}:0"], array.T if "h5" in weight.transposed else array)


@pytest.mark.parametrize("tied", [True, False])
def test_the_decoder_is_a_variable_of_its_own(tmp_path, tied):
    table = weight_table(tiny_config(tie_word_embeddings=tied), HEADS["MaskedLM"])
    weights = drawn(table)
    write_tensorflow(tmp_path, HEADS["MaskedLM"], table, weights.__getitem__)
    found = tensorflow_names(H5File(tmp_path / "tf_model.h5"), table, tiny_config())
    assert (DECODER in weights) == (not tied)
    assert np.array_equal(found.read(DECODER), weights[WORDS if tied else DECODER])
    assert np.array_equal(found.read(WORDS), weights[WORDS])


def test_one_array_is_read_at_a_time_and_once(tmp_path):
    table = weight_table(tiny_config(), HEADS["PreTraining"])
    weights, read = drawn(table), []
    write_tensorflow(tmp_path, HEADS["PreTraining"], table, lambda name: read.append(name) or weights[name])
    assert sorted(read) == sorted([*weights, WORDS])


@pytest.mark.parametrize("branch", sorted(BRANCHES.keys() - {"pruned"}))
def test_every_branch_comes_back(tmp_path, branch):
    table = weight_table(tiny_config(**BRANCHES[branch]), HEADS["PreTraining"])
    weights = drawn(table)
    write_tensorflow(tmp_path, HEADS["PreTraining"], table, weights.__getitem__)
    found = tensorflow_names(H5File(tmp_path / "tf_model.h5"), table, tiny_config())
    assert found.stored.keys() - weights.keys() <= {DECODER}
    assert all(np.array_equal(found.read(n), weights[n]) for n in weights)


def test_long_lists_of_names_are_split(tmp_path):
    """The full model has 1,111 names in one group: more than one attribute of HDF5 holds."""
    small = {"vocab_size": 5, "hidden_size": 8, "embedding_size": 4, "intra_bottleneck_size": 4, "intermediate_size": 4}
    table = weight_table(MobileBertConfig(**small, max_position_embeddings=2), HEADS["Model"])
    write_tensorflow(tmp_path, HEADS["Model"], table, drawn(table).__getitem__)
    with h5py.File(tmp_path / "tf_model.h5") as file:
        parts = [file["mobilebert"].attrs[f"weight_names{i}"] for i in range(len(file["mobilebert"].attrs))]
        assert len(parts) == 2 and all(part.nbytes <= 64512 for part in parts)
        names = [name.decode() for part in parts for name in part]
        assert len(names) == len(set(names)) == 1113 and all(name in file["mobilebert"] for name in names)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes(tmp_path, dtype):
    table = weight_table(tiny_config(), HEADS["MaskedLM"])
    write_tensorflow(tmp_path, HEADS["MaskedLM"], table, drawn(table).__getitem__, dtype=dtype)
    assert {stored.dtype for stored in H5File(tmp_path / "tf_model.h5").stored.values()} == {dtype}


def test_a_dtype_that_hdf5_lacks(tmp_path):
    table = weight_table(tiny_config(), HEADS["MaskedLM"])
    with pytest.raises(ConfigError, match="HDF5 stores float64, float32 or float16, got dtype 'bfloat16'"):
        write_tensorflow(tmp_path, HEADS["MaskedLM"], table, drawn(table).__getitem__, dtype="bfloat16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [None, "12KB"])
def test_an_array_of_another_shape(tmp_path, limit):
    table = weight_table(tiny_config(), HEADS["MaskedLM"])
    weights = drawn(table)
    write_tensorflow(tmp_path, HEADS["MaskedLM"], table, weights.__getitem__, max_shard_size=limit)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    weights["cls.predictions.bias"] = np.zeros(96, np.float32)
    with pytest.raises(
        CheckpointError, match=r"cls.predictions.bias: wanted \(97,\), got \(96,\); nothing was written"
    ):
        write_tensorflow(tmp_path, HEADS["MaskedLM"], table, weights.__getitem__, max_shard_size=limit)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    table = weight_table(tiny_config(), HEADS["Model"])
    with pytest.raises(BackendMissingError, match="tf_model.h5: HDF5 needs h5py: pip install h5py"):
        write_tensorflow(tmp_path / "new", HEADS["Model"], table, drawn(table).__getitem__)
    assert not (tmp_path / "new").exists()
