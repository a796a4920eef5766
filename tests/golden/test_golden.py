"""Both backends compute what transformers 4.37.2 computed, from the files that it wrote (see record_models.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conversion.parity.deviation import TOLERANCES, relative_deviation
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))

# The recordings are float64, and in float64 every case shows whether the arithmetic is the same. Float32 adds
# rounding, for which the models and the cases of wide range suffice.
ROUNDED = [*list(CASES)[: len(HEADS)], "layer_norm", "large", "tf_pretraining", "tf_layer_norm"]


def recorded(name: str, kind: str) -> dict[str, np.ndarray]:
    with np.load(HERE / "cases" / f"{name}.npz") as arrays:
        return {n.removeprefix(f"{kind}."): arrays[n] for n in arrays if n.startswith(f"{kind}.")}


LOADED = {}  # several cases are calls of one model


def loaded(backend, head: str, path: Path, dtype: str, overrides: dict):
    key = (backend.name, head, path, dtype, json.dumps(overrides, sort_keys=True))
    if key not in LOADED:
        LOADED[key] = backend.load(head, path, dtype=dtype, **overrides)
    return LOADED[key]


def computed(backend, name: str, dtype: str, checkpoints: Path = HERE / "checkpoints") -> dict[str, np.ndarray]:
    """Our outputs for a case, by field name; those of every layer have their number behind the name."""
    case = CASES[name]
    model = loaded(backend, case["head"], checkpoints / case["checkpoint"], dtype, case["overrides"])
    batch = {n: a.astype(dtype) if a.dtype == np.float64 else a for n, a in recorded(name, "input").items()}
    found = {}
    for field, value in backend.call(model, batch, **case["options"]).items():
        parts = {f"{field}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {field: value}
        found |= {part: backend.numpy(v) for part, v in parts.items()}
    return found


def deviations(backend, name: str, dtype: str, checkpoints: Path = HERE / "checkpoints") -> dict[str, float]:
    """How far each output is from the recorded one, as a share of the largest value of its token."""
    expected, found = recorded(name, "output"), computed(backend, name, dtype, checkpoints)
    assert found.keys() == expected.keys()
    assert {n: a.shape for n, a in found.items()} == {n: a.reshape(found[n].shape).shape for n, a in expected.items()}
    assert {a.dtype for a in found.values()} == {np.dtype(dtype)}
    return {n: relative_deviation(a.reshape(found[n].shape), found[n]) for n, a in expected.items()}


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, "float64") for name in CASES] + [(name, "float32") for name in ROUNDED]
)
def test_outputs_are_those_of_transformers(backend, name, dtype):
    found = deviations(backend, name, dtype)
    assert {n: d for n, d in found.items() if not d <= TOLERANCES[dtype]} == {}


def test_every_head_and_both_frameworks_are_recorded():
    assert {case["head"] for case in CASES.values()} == set(HEADS)
    assert {case["framework"] for case in CASES.values()} == {"torch", "tensorflow"}


def test_the_large_case_is_large():
    assert np.abs(recorded("large", "output")["hidden_states.1"]).max() > 1e7


def broken_copy(path: Path, weight: str, change: float) -> None:
    """The checkpoint "model" under `path`, with something added to one number of one weight."""
    shutil.copytree(HERE / "checkpoints" / "model", path / "model")
    arrays = load_file(path / "model" / "model.safetensors")
    arrays[weight] = arrays[weight].astype(np.float32)
    arrays[weight].flat[0] += change
    save_file(arrays, path / "model" / "model.safetensors")


def test_a_broken_weight_is_seen(backend, tmp_path):
    """The comparison can fail: one number changed by a tenth, in a matrix and in a bias."""
    for weight in ("encoder.layer.1.attention.self.value.weight", "encoder.layer.0.output.bottleneck.LayerNorm.bias"):
        broken_copy(tmp_path / weight, weight, 0.1)
        found = deviations(backend, "model", "float32", tmp_path / weight)
        assert found["hidden_states.0"] <= TOLERANCES["float32"] < found["last_hidden_state"]


def test_an_output_that_is_not_finite_is_seen(backend, tmp_path):
    broken_copy(tmp_path, "embeddings.LayerNorm.weight", 3e38)  # finite in the file, but not what is computed with it
    assert deviations(backend, "model", "float32", tmp_path)["last_hidden_state"] == np.inf


def test_the_names_of_tensorflow_are_those_of_the_table():
    names = json.loads((HERE / "tf_weight_names.json").read_text(encoding="utf-8"))
    found = {n.split("/", 1)[1].removesuffix(":0"): tuple(shape) for n, shape in names.items()}
    config = MobileBertConfig.from_pretrained(HERE / "checkpoints" / "pretraining")
    table = weight_table(config, HEADS["PreTraining"])
    assert found == {w.h5: w.shape_in("h5") for w in table if w.h5 is not None}


def test_the_checkpoints_are_those_of_transformers():
    for path in (HERE / "checkpoints").glob("*/config.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["transformers_version"] == "4.37.2"
