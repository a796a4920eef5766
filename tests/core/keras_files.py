"""Files of Keras 3 for the tests of core, written by core itself."""

from __future__ import annotations

import json
import zipfile

import numpy as np

from mobilebert_core.checkpoints.containers.keras_writer import write_keras_archive, write_keras_weights
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table

HEAD = HEADS["PreTraining"]
KEY = "base_model/encoder/layer/tf_mobile_bert_layer_1/attention/self/key/vars"


def open_keras(path, config=None):
    """A file under PyTorch's names."""
    checkpoint = open_checkpoint(path)
    return checkpoint.weights(checkpoint.config(config))


def drawn(config, head=HEAD, pooler=None, dtype="float32"):
    rng = np.random.default_rng(0)
    table = weight_table(config, head, pooler)
    return {w.full_name: rng.standard_normal(w.shape).astype(dtype) for w in table if w.tied_to is None}


def whole_weights(folder, config):
    """A .weights.h5 without fault."""
    write_keras_weights(folder / "model.weights.h5", config, HEAD, drawn(config).__getitem__)
    return folder / "model.weights.h5"


def whole_archive(folder, config):
    """A .keras without fault."""
    write_keras_archive(folder / "model.keras", config, HEAD, drawn(config).__getitem__)
    return folder / "model.keras"


def index_beside(path, weight_map):
    """The .weights.json of files that lie beside `path`."""
    index = path.with_name("model.weights.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def repacked(path, compression=zipfile.ZIP_STORED, **changed):
    """A copy of the archive with members replaced, left out (None) or added, all compressed alike."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    for name, content in changed.items():
        members[name] = content
    new = path.with_name("repacked.keras")
    with zipfile.ZipFile(new, "w", compression) as made:
        for name, content in members.items():
            if content is not None:
                made.writestr(name, content)
    return new


def described(path):
    """What config.json in an archive says."""
    with zipfile.ZipFile(path) as made:
        return json.loads(made.read("config.json"))
