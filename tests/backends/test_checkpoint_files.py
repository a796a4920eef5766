"""Every kind of checkpoint file that transformers 4.37.2 and its users write loads into both backends.

The files and the outputs are transformers' own, see tests/golden/record_checkpoint_files.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conversion.parity.deviation import TOLERANCES, relative_deviation
from mobilebert_core.heads import HEADS

FILES = Path(__file__).parents[1] / "golden" / "checkpoint_files"
CASES = json.loads((FILES / "cases.json").read_text(encoding="utf-8"))


def recorded(name, kind):
    with np.load(FILES / f"{name}.npz") as arrays:
        return {n.removeprefix(f"{kind}."): arrays[n] for n in arrays if n.startswith(f"{kind}.")}


def deviation(backend, model, name):
    """How far the outputs are from the recorded ones, at worst, as a share of the largest value of the token."""
    output = backend.call(model, recorded(name, "input"))
    found = {n: backend.numpy(value) for n, value in output.items()}
    expected = recorded(name, "output")
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in expected.items()}
    assert {a.dtype for a in found.values()} == {np.dtype("float32")}
    return max(relative_deviation(expected[n], found[n]) for n in expected)


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_transformers(backend, name):
    case = CASES[name]
    model, info = backend.load(case["head"], FILES / case["files"], dtype="float32", output_loading_info=True)
    assert info["missing_keys"] == info["mismatched_keys"] == []
    is_base_of_a_head = case["files"] != name
    assert bool(info["unexpected_keys"]) == is_base_of_a_head
    assert deviation(backend, model, name) <= TOLERANCES["float32"]


def test_a_broken_file_is_seen(backend, tmp_path):
    """The comparison can fail: one number of a bias changed by a tenth."""
    shutil.copytree(FILES / "safetensors", tmp_path / "broken")
    arrays = load_file(tmp_path / "broken/model.safetensors")
    arrays["cls.predictions.bias"][5] += 0.1
    save_file(arrays, tmp_path / "broken/model.safetensors", {"format": "pt"})
    model = backend.load("PreTraining", tmp_path / "broken", dtype="float32")
    assert deviation(backend, model, "safetensors") > TOLERANCES["float32"]


def test_the_files_are_of_every_kind():
    found = {p.name for p in FILES.glob("*/*")}
    assert found > {"config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"}
    assert found > {f"{name}.index.json" for name in ("model.safetensors", "pytorch_model.bin", "tf_model.h5")}
    assert {CASES[f"h5_{head}"]["head"] for head in HEADS} == set(HEADS)
    for path in FILES.glob("*/config.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["transformers_version"] == "4.37.2"


def test_the_roots_are_of_every_kind():
    roots = set()
    for path in FILES.glob("*/tf_model.h5"):
        with h5py.File(path) as file:
            roots.add(file["mobilebert"].attrs["weight_names"][0].split("/")[0].rpartition("_")[2])
    assert roots >= {"1", "2", "lm", "mobilebert"}
