"""Checkpoints in one file or several: what is written, what goes, and what an interruption leaves."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from safetensors import safe_open

from mobilebert_core.checkpoints.containers.hdf5 import H5File
from mobilebert_core.checkpoints.containers.safetensors import SafetensorsFile, mark_safetensors
from mobilebert_core.checkpoints.containers.sharded import ShardedFile
from mobilebert_core.checkpoints.containers.shards import size_in_bytes, write_files, write_sharded
from mobilebert_core.checkpoints.containers.tensorflow_writer import write_tensorflow
from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.errors import CheckpointError, ConfigError, SaveError
from mobilebert_core.files import write_text
from mobilebert_core.heads import HEADS
from mobilebert_core.saves import SAVED, arriving
from mobilebert_core.weights import weight_table
from tests.tiny import tiny_config

ARRAYS = {name: np.full((5, 2), i, np.float32) for i, name in enumerate("abcde")}  # 40 bytes each


def write(path, arrays, limit=None):
    stored = {name: TensorInfo(array.shape, str(array.dtype)) for name, array in arrays.items()}
    write_sharded(path, stored, arrays.__getitem__, limit)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def read(directory):
    """Every array of a sharded checkpoint, from the file that the index names."""
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    found = {}
    for name, file in index["weight_map"].items():
        with safe_open(directory / file, "np") as shard:
            assert shard.metadata() == {"format": "pt", "save_id": index["metadata"]["save_id"]}
            found[name] = shard.get_tensor(name)
    return found, index["metadata"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (7, 7), ("7KB", 7000), ("5MB", 5 * 10**6), ("5GB", 5 * 10**9), ("3 gB", 3 * 10**9), ("2KiB", 2048),
        ("1mib", 2**20), ("2GIB", 2**31), ("8Gb", 10**9), ("16kb", 2000),
    ],
)  # fmt: skip
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("wrong", ["5", "GB", "1.5GB", "5TB", "-5GB", "0KB", 0, -1, "", "5 parsecs"])
def test_sizes_that_are_none(tmp_path, wrong):
    with pytest.raises(ConfigError, match="max_shard_size: wanted a number of bytes or a text such as '5GB'"):
        write(tmp_path / "model.safetensors", ARRAYS, wrong)
    assert names(tmp_path) == []


@pytest.mark.parametrize("limit", [None, 200, "5GB"])
def test_one_file_when_everything_fits(tmp_path, limit):
    write(tmp_path / "new" / "model.safetensors", ARRAYS, limit)
    assert names(tmp_path / "new") == ["model.safetensors"]


@pytest.mark.parametrize(("limit", "shards"), [(199, [4, 1]), (80, [2, 2, 1]), (119, [2, 2, 1]), (1, [1] * 5)])
def test_shards_and_index(tmp_path, limit, shards):
    write(tmp_path / "model.safetensors", ARRAYS, limit)
    files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    assert names(tmp_path) == [*files, "model.safetensors.index.json"]
    for file, count in zip(files, shards, strict=True):
        with safe_open(tmp_path / file, "np") as shard:
            assert len(shard.keys()) == count
    found, metadata = read(tmp_path)
    assert metadata.keys() == {"total_size", "save_id"} and metadata["total_size"] == 200
    assert found.keys() == ARRAYS.keys() and all(np.array_equal(found[n], ARRAYS[n]) for n in ARRAYS)


@pytest.mark.parametrize("kind", ["safetensors", "h5"])
def test_a_shard_of_another_save_is_refused(tmp_path, kind):
    """It was read in silence where names and shapes are the same."""

    def saved(folder, seed):
        if kind == "safetensors":
            write(tmp_path / folder / "model.safetensors", {n: a + seed for n, a in ARRAYS.items()}, 80)
        else:
            table = weight_table(tiny_config(), HEADS["MaskedLM"])
            weights = {w.full_name: np.full(w.shape, seed, np.float32) for w in table}
            write_tensorflow(tmp_path / folder, HEADS["MaskedLM"], table, weights.__getitem__, max_shard_size="12KB")
        return sorted((tmp_path / folder).glob("*-of-*"))

    one, other, again = saved("one", 1), saved("other", 2), saved("again", 1)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in again]
    (index,) = (tmp_path / "one").glob("*.json")
    opens = SafetensorsFile if kind == "safetensors" else H5File
    assert len(ShardedFile(index, opens).shards) == len(one) > 2
    one[1].write_bytes(other[1].read_bytes())
    with pytest.raises(CheckpointError, match=f"wanted shards of one save .*, got 1 of another: {one[1].name}"):
        ShardedFile(index, opens)
    content = json.loads(index.read_text())
    del content["metadata"]["save_id"]  # as other writers have it
    index.write_text(json.dumps(content))
    assert len(ShardedFile(index, opens).stored) == len(content["weight_map"])


def test_a_transposed_view_is_stored_as_it_reads(tmp_path):
    array = np.arange(10, dtype=np.float32).reshape(5, 2)
    write(tmp_path / "model.safetensors", {"a": array.T, "b": array}, 40)
    assert np.array_equal(read(tmp_path)[0]["a"], array.T)


def test_what_an_earlier_save_left_goes_and_nothing_else(tmp_path):
    others = ["config.json", "model-last.safetensors", "model-00001-of-00002.bin", "other-00001-of-00002.safetensors"]
    for other in others:
        (tmp_path / other).write_text("kept")
    path = tmp_path / "model.safetensors"
    write(path, ARRAYS, 40)
    write(path, ARRAYS, 120)
    two = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert names(tmp_path) == sorted([*others, *two])
    write(path, ARRAYS)
    assert names(tmp_path) == sorted([*others, "model.safetensors"])
    write(path, ARRAYS, 120)
    assert names(tmp_path) == sorted([*others, *two])
    assert all((tmp_path / other).read_text() == "kept" for other in others)


@pytest.mark.parametrize("earlier", [None, 120, 40])
def test_an_interrupted_write_leaves_everything_as_it_was(tmp_path, earlier):
    write(tmp_path / "model.safetensors", ARRAYS, earlier)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def save(path, names):
        path.write_bytes(b"half")
        if "e" in names:
            raise OSError(28, "No space left on device")

    for limit in (None, 120, 40):
        with pytest.raises(OSError, match="No space left"):
            write_files(tmp_path / "model.safetensors", dict.fromkeys("abcde", 40), save, mark_safetensors, limit)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("replaced", range(4))
def test_an_interruption_leaves_no_mixture(tmp_path, monkeypatch, replaced):
    """However many files had taken their place: readers that know nothing of saves find no index; ours find the new."""
    path = tmp_path / "model.safetensors"
    write(path, ARRAYS, 120)
    replace, done = os.replace, []

    def cut_off(source, target):
        if target.name in two:
            if len(done) == replaced:
                raise OSError(5, "Input/output error")
            done.append(target)
        replace(source, target)

    two = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    monkeypatch.setattr("os.replace", cut_off)
    new = {n: a + 10 for n, a in ARRAYS.items()}
    if replaced < 3:
        with pytest.raises(SaveError, match="was saved, but not every file could take its place .Input/output error"):
            write(path, new, 120)
        assert not (tmp_path / two[2]).exists()
        assert sorted(p.name for p in arriving(tmp_path).iterdir() if p.name in two) == two
    else:
        write(path, new, 120)
    monkeypatch.undo()
    write_text(tmp_path / "other.txt", "the next save, whatever it is, finishes that one")
    assert names(tmp_path) == sorted([*two, "other.txt"])
    assert all(np.array_equal(array, new[n]) for n, array in read(tmp_path)[0].items())


def test_the_old_file_goes_only_after_the_new_files_are_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write(path, ARRAYS)
    before = path.read_bytes()
    replace = os.replace

    def cut_off(source, target):
        if target.name == SAVED:
            assert (source / "model-00005-of-00005.safetensors").exists()
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", cut_off)
    with pytest.raises(OSError, match="Input/output error"):
        write(path, ARRAYS, 40)
    assert path.read_bytes() == before and names(tmp_path) == ["model.safetensors"]
