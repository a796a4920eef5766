"""Checkpoints of transformers' TensorFlow models: h5 and safetensors, under every root they were saved with."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table
from tests.tiny import tiny_config

ROOTS = {
    "counter": "tf_mobile_bert_for_masked_lm_1/{}",
    "no counter": "tf_mobile_bert_for_masked_lm/{}",
    "built only": "{}",
}


def tensorflow_arrays(path, root, decoder_offset=0.0):
    """The weights of a checkpoint as TensorFlow stores them, decoder included."""
    arrays = load_file(path / "model.safetensors")
    arrays["cls.predictions.decoder.weight"] = arrays["mobilebert.embeddings.word_embeddings.weight"] + decoder_offset
    found = {}
    for weight in weight_table(tiny_config(), HEADS["MaskedLM"]):
        if weight.h5 is not None:
            array = arrays[weight.full_name]
            found[root.format(weight.h5)] = np.ascontiguousarray(array.T if "h5" in weight.transposed else array)
    return found


def write_h5(path, arrays):
    (path / "model.safetensors").unlink()
    with h5py.File(path / "tf_model.h5", "w") as file:
        for name, array in arrays.items():
            layer = next(p for p in name.split("/") if p in ("mobilebert", "predictions___cls", "mlm___cls"))
            file[f"{layer}/{name}:0"] = array


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("kind", ["h5", "safetensors"])
def test_every_root_loads(backend, checkpoint, root, kind):
    path = checkpoint("MaskedLM")
    expected = backend.parameters(backend.load("MaskedLM", path))
    arrays = tensorflow_arrays(path, ROOTS[root])
    if kind == "h5":
        write_h5(path, arrays)
    else:
        save_file(arrays, path / "model.safetensors", {"format": "tf"})
    found = backend.parameters(backend.load("MaskedLM", path))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    if backend.name == "torch":
        assert all(p.is_contiguous() for p in backend.load("MaskedLM", path).parameters())


def test_old_names_load(backend, checkpoint):
    path = checkpoint("MaskedLM")
    arrays = tensorflow_arrays(path, ROOTS["counter"])
    write_h5(path, {n.replace("predictions___cls", "mlm___cls"): a for n, a in arrays.items()})
    backend.load("MaskedLM", path)


def test_a_decoder_of_its_own_is_kept(backend, checkpoint, caplog):
    path = checkpoint("MaskedLM")
    arrays = tensorflow_arrays(path, ROOTS["counter"], decoder_offset=1.0)
    write_h5(path, arrays)
    model = backend.load("MaskedLM", path)
    assert "differs from the word embeddings; loaded untied" in caplog.text
    assert not model.config.tie_word_embeddings
    found = backend.parameters(model)
    words = found["mobilebert.embeddings.word_embeddings.weight"]
    assert np.array_equal(found["cls.predictions.decoder.weight"], words + 1)


def test_damaged_and_crafted_files(backend, checkpoint, tmp_path):
    path = checkpoint("MaskedLM")
    write_h5(path, tensorflow_arrays(path, ROOTS["counter"]))
    file = path / "tf_model.h5"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="tf_model.h5: not a whole HDF5 file"):
        backend.load("MaskedLM", path)
    file.write_bytes(whole)
    with h5py.File(file, "a") as crafted:
        crafted["elsewhere"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/data")
    with pytest.raises(CheckpointError, match="elsewhere is a link out of its place"):
        backend.load("MaskedLM", path)
