"""pytorch_model.bin in a checkpoint directory, for either backend."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from mobilebert_core.checkpoints.containers.pickle.pickle_writer import write_pickle
from mobilebert_core.errors import CheckpointError
from mobilebert_torch import MobileBertForMaskedLM


def pickled(path, save=write_pickle, change=lambda arrays: None):
    """Replaces model.safetensors by pytorch_model.bin, as transformers wrote it: with the tied decoder."""
    arrays = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    arrays["cls.predictions.decoder.weight"] = arrays["mobilebert.embeddings.word_embeddings.weight"]
    arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"]
    change(arrays)
    save(path / "pytorch_model.bin", arrays)
    return path


def save_with_torch(path, arrays):
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def save_for_training(path, arrays):
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer": {"state": {}}}, path)


@pytest.mark.parametrize("save", [write_pickle, save_with_torch, save_for_training])
def test_it_loads_as_safetensors_do(backend, checkpoint, save):
    path = checkpoint("MaskedLM")
    expected = backend.parameters(backend.load("MaskedLM", path))
    model, info = backend.load("MaskedLM", pickled(path, save), output_loading_info=True)
    found = backend.parameters(model)
    assert found.keys() == expected.keys() and all(np.array_equal(found[n], expected[n]) for n in found)
    assert not any(info.values())


def test_the_file_may_go_after_loading(backend, checkpoint):
    path = pickled(checkpoint("MaskedLM")) / "pytorch_model.bin"
    model = backend.load("MaskedLM", path.parent)
    before = {name: array.copy() for name, array in backend.parameters(model).items()}
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    after = backend.parameters(model)
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_it_comes_after_safetensors_and_before_tensorflow(backend, checkpoint):
    path = checkpoint("MaskedLM")
    arrays = load_file(path / "model.safetensors")
    name = "mobilebert.embeddings.LayerNorm.bias"
    pickled(path, change=lambda arrays: arrays.update({name: np.full(48, 2, np.float32)}))
    with h5py.File(path / "tf_model.h5", "w") as file:
        file["unknown"] = 1.0
    assert (backend.parameters(backend.load("MaskedLM", path))[name] == 2).all()
    save_file(arrays, path / "model.safetensors", {"format": "pt"})
    assert np.array_equal(backend.parameters(backend.load("MaskedLM", path))[name], arrays[name])


def test_what_pytorch_writes_for_older_programs(backend, tmp_path, checkpoint):
    MobileBertForMaskedLM.from_pretrained(checkpoint("MaskedLM")).save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / "pytorch_model.bin").is_file() and not (tmp_path / "model.safetensors").exists()
    first, second = (backend.parameters(backend.load("MaskedLM", p)) for p in (tmp_path, tmp_path / "checkpoint"))
    assert all(np.array_equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_of_the_file_is_kept_on_request(backend, checkpoint, dtype):
    path = pickled(checkpoint("MaskedLM"), lambda path, arrays: write_pickle(path, arrays, dtype))
    assert dtype in str(backend.load("MaskedLM", path, dtype="auto").dtype)
    assert "float32" in str(backend.load("MaskedLM", path).dtype)


def test_a_decoder_of_its_own_is_not_lost(backend, checkpoint):
    name = "cls.predictions.decoder.weight"
    path = pickled(checkpoint("MaskedLM"), change=lambda arrays: arrays.update({name: arrays[name] + 1}))
    with pytest.raises(CheckpointError, match="pytorch_model.bin: .*differs from the word embeddings"):
        backend.load("MaskedLM", path)


def test_everything_amiss_is_reported(backend, checkpoint):
    def damage(arrays):
        del arrays["mobilebert.embeddings.LayerNorm.bias"]
        arrays["more"] = np.zeros((3, 4), np.float32)

    with pytest.raises(CheckpointError, match="pytorch_model.bin: 1 of .* missing, 1 unknown, 0 with another shape"):
        backend.load("MaskedLM", pickled(checkpoint("MaskedLM"), change=damage))


def test_other_objects_are_refused(backend, checkpoint):
    path = pickled(checkpoint("MaskedLM"), lambda path, arrays: torch.save({"a": print}, path))
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: wanted a state dict .* global '__builtin__.print'"):
        backend.load("MaskedLM", path)
