"""From a path to a checkpoint: what is taken for what, and that whatever is damaged or crafted is one typed error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from conversion.converting import convert
from conversion.inspection import inspect_checkpoint
from conversion.parity.sample import random_checkpoint
from mobilebert_core.checkpoints import tensor_info
from mobilebert_core.checkpoints.containers import hdf5
from mobilebert_core.checkpoints.detect_heads import natural_head
from mobilebert_core.checkpoints.formats import ENDINGS, OUTPUT_FORMATS
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from mobilebert_core.files import INDEX_SUFFIX
from mobilebert_core.heads import HEADS
from tests.tiny import tiny_config

SMALL = {"vocab_size": 11, "max_position_embeddings": 7, "num_hidden_layers": 1}


def loaded(path) -> dict[str, np.ndarray]:
    """All that a load does before a framework comes in."""
    checkpoint = open_checkpoint(path)
    config = checkpoint.config()
    file = checkpoint.weights(config)
    plan = plan_loading(file, config, natural_head(file, config))
    return {weight.full_name: file.read(name) for weight, name in plan.sources.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """One model in every format, each in a directory of its own, sharded ones too."""
    folder = tmp_path_factory.mktemp("written")
    source = random_checkpoint(tiny_config(**SMALL), HEADS["PreTraining"], folder / "source")
    found = {}
    for name, each in OUTPUT_FORMATS.items():
        target = each.written
        place = folder / name / f"m{target.ending}" if target.ending else folder / name
        convert(source, place, to=name, parity="none")
        found[name] = folder / name
    for name in ("pytorch", "tensorflow"):
        convert(source, folder / f"{name}-sharded", to=name, max_shard_size="10KB", parity="none")
        found[f"{name}-sharded"] = folder / f"{name}-sharded"
    return found


FORMATS = [*OUTPUT_FORMATS, "pytorch-sharded", "tensorflow-sharded"]


def weights_in(folder: Path) -> list[Path]:
    """The files that hold numbers or say where they are."""
    known = (*ENDINGS, INDEX_SUFFIX, ".data-00000-of-00001")
    return [path for path in sorted(folder.iterdir()) if path.name.endswith(known)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_directory_and_its_file_mean_the_same(written, name):
    expected = loaded(written["pytorch"])
    folder = written[name]
    paths = [folder, next(p for p in weights_in(folder) if "-of-" not in p.name)]
    for found in map(loaded, paths):
        assert found.keys() == expected.keys() and all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize("name", FORMATS)
def test_the_name_of_a_file_does_not_say_what_it_is(written, name, tmp_path):
    if "sharded" in name or name == "google":
        return  # an index is known by its name, and so are the files of a TensorFlow checkpoint
    (file,) = weights_in(written[name])
    (tmp_path / "weights.dat").write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_bytes((written["pytorch"] / "config.json").read_bytes())
    expected, found = loaded(written["pytorch"]), loaded(tmp_path / "weights.dat")
    assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.97])
def test_a_file_that_breaks_off(written, name, share, tmp_path):
    for broken in weights_in(written[name]):
        folder = tmp_path / broken.name
        folder.mkdir()
        for path in written[name].iterdir():
            content = path.read_bytes()
            (folder / path.name).write_bytes(
                content[: int(len(content) * share)] if path.name == broken.name else content
            )
        with pytest.raises(CheckpointError, match=r".") as caught:
            loaded(folder)
        assert broken.name in str(caught.value) or broken.name.removesuffix(".index") in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_part_is_named(written, name, tmp_path):
    for gone in weights_in(written[name]):
        folder = tmp_path / gone.name
        folder.mkdir()
        for path in written[name].iterdir():
            if path.name != gone.name:
                (folder / path.name).write_bytes(path.read_bytes())
        with pytest.raises(CheckpointNotFoundError):
            loaded(folder)


@settings(max_examples=300, deadline=None)
@example(name="tensorflow", which=0, flips=[(-81, 128)], end=None)  # a name that is not UTF-8
@given(
    name=st.sampled_from(FORMATS),
    which=st.integers(0, 9),
    flips=st.lists(
        st.tuples(st.one_of(st.integers(0, 3000), st.integers(-600, -1), st.integers(0, 10**6)), st.integers(0, 255)),
        max_size=5,
    ),
    end=st.one_of(st.none(), st.none(), st.integers(0, 10**6)),
)
@pytest.mark.slow
def test_whatever_is_damaged_is_one_error_or_reads(written, name, which, flips, end):
    files = weights_in(written[name])
    damaged = files[which % len(files)]
    content = bytearray(damaged.read_bytes())
    for at, byte in flips:
        content[at % len(content)] = byte
    with tempfile.TemporaryDirectory() as folder:
        for path in written[name].iterdir():
            (Path(folder) / path.name).write_bytes(content[:end] if path == damaged else path.read_bytes())
        try:
            found = loaded(Path(folder))
            assert all(array.dtype.kind == "f" and np.isfinite(array).all() for array in found.values())
        except (CheckpointError, ConfigError) as e:
            assert folder in str(e)


@pytest.mark.parametrize(
    "shard", ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "a\\b", None, 3, "c:x"]
)
def test_an_index_that_points_elsewhere(written, shard, tmp_path, backend):
    index = json.loads((written["pytorch-sharded"] / "model.safetensors.index.json").read_text())
    name = next(iter(index["weight_map"]))
    index["weight_map"][name] = shard
    for path in written["pytorch-sharded"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="model.safetensors.index.json: "):
        backend.load("PreTraining", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop(sorted(m)[0]), "the shards hold 1 weights the index does not name"),
        (lambda m: m.__setitem__("more.weight", sorted(m.values())[0]), "more.weight is said to be in .* in no shard"),
        (lambda m: m.__setitem__(sorted(m)[0], sorted(m.values())[-1]), "is said to be in .*, but it is in"),
        (lambda m: m.clear(), "wanted an index with a weight_map"),
    ],
)
def test_an_index_that_does_not_fit(written, change, message, tmp_path):
    for path in written["pytorch-sharded"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    change(index["weight_map"])
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path)


def test_one_weight_in_two_shards(written, tmp_path):
    for path in written["pytorch-sharded"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    first, second = sorted(tmp_path.glob("*-of-*"))[:2]
    with safe_open(second, "numpy") as shard:
        metadata = shard.metadata()
    save_file({**load_file(second), **load_file(first)}, second, metadata)
    with pytest.raises(CheckpointError, match="stands in two shards"):
        loaded(tmp_path)


def test_one_weight_under_two_names(checkpoint):
    path = checkpoint("MaskedLM")
    arrays = load_file(path / "model.safetensors")
    name = "mobilebert.embeddings.LayerNorm.weight"
    save_file({**arrays, "module.mobilebert.embeddings.LayerNorm.gamma": arrays[name]}, path / "model.safetensors")
    with pytest.raises(CheckpointError, match="are both mobilebert.embeddings.LayerNorm.weight"):
        loaded(path)


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool"])
def test_weights_that_are_no_floats(checkpoint, backend, dtype):
    path = checkpoint("MaskedLM")
    arrays = load_file(path / "model.safetensors")
    name = "mobilebert.embeddings.LayerNorm.weight"
    save_file({**arrays, name: arrays[name].astype(dtype)}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"1 weights are no floating-point numbers, the first {name} .* {dtype}"):
        backend.load("MaskedLM", path)


def test_paths_that_no_file_can_have(backend):
    with pytest.raises(CheckpointNotFoundError, match="cannot be read"):
        backend.load("MaskedLM", "/" + "x" * 300)


def test_a_name_like_that_of_a_tensorflow_shard(checkpoint, backend):
    path = checkpoint("MaskedLM")
    (path / "model.safetensors").rename(path / "model.data-2024.safetensors")
    backend.load("MaskedLM", path)


def test_old_names_and_wrappers(checkpoint, backend):
    path = checkpoint("MaskedLM")
    expected = backend.parameters(backend.load("MaskedLM", path))
    arrays = load_file(path / "model.safetensors")
    renamed = {}
    for name, array in arrays.items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        renamed["model.module._orig_mod." + old.replace("mobilebert.", "bert.", 1)] = array
    save_file(renamed, path / "model.safetensors", {"format": "pt"})
    found = backend.parameters(backend.load("MaskedLM", path))
    assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize("name", FORMATS)
def test_more_arrays_than_any_model_has(written, name, monkeypatch):
    monkeypatch.setattr(tensor_info, "MOST_ARRAYS", 3)
    monkeypatch.setattr(hdf5, "MOST_ARRAYS", 3)
    for read in (open_checkpoint, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"at most 3 arrays, got .*, the first \S+, \S+, \S+\. Nothing"):
            read(written[name])


def test_a_configuration_of_a_million_layers_takes_no_memory(checkpoint):
    path = checkpoint("MaskedLM")
    values = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**values, "num_hidden_layers": 10**6}))
    with pytest.raises(CheckpointError, match=r"holds 81 arrays, but the configuration has 1,000,000 layers"):
        loaded(path)


def test_another_models_checkpoint(tmp_path, backend):
    tiny_config().save_pretrained(tmp_path)
    save_file({"bert.encoder.layer.0.crossattention.self.query.weight": np.zeros((2, 2), np.float32)},
              tmp_path / "model.safetensors", {"format": "pt"})  # fmt: skip
    with pytest.raises(CheckpointError, match="this looks like the checkpoint of another model"):
        backend.load("MaskedLM", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="config.json.*model_type is 'bert'|model_type is 'bert'"):
        backend.load("MaskedLM", tmp_path)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x00" * 64, b"<html></html>", b"version https://git-lfs"])
def test_files_that_are_no_checkpoint(tmp_path, content):
    tiny_config().save_pretrained(tmp_path)
    for name in ("weights.dat", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "m.keras"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            open_checkpoint(tmp_path / name)


def test_directories_without_and_with_several(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="weights not found; the directory holds nothing"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="model.safetensors: no such file or directory"):
        open_checkpoint(tmp_path / "gone" / "model.safetensors")
    for name in ("one.keras", "two.keras"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointNotFoundError, match=r"wanted one checkpoint, got one.keras, two.keras"):
        open_checkpoint(tmp_path)


def test_two_kinds_of_checkpoint_in_one_directory(written, tmp_path):
    for name in ("keras", "keras-weights"):
        for path in written[name].iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointNotFoundError, match=r"wanted one checkpoint, got m.keras, m.weights.h5"):
        open_checkpoint(tmp_path)


def test_the_latest_of_a_training_directory(written, tmp_path):
    for step in (1000, 2000):
        for path in written["google"].glob("m.ckpt.*"):
            (tmp_path / path.name.replace("m.ckpt", f"m.ckpt-{step}")).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_bytes((written["google"] / "config.json").read_bytes())
    with pytest.raises(CheckpointNotFoundError, match="got m.ckpt-1000.index, m.ckpt-2000.index"):
        open_checkpoint(tmp_path)
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "/elsewhere/m.ckpt-1000"\nall_model_checkpoint_paths: "x"'
    )
    assert open_checkpoint(tmp_path).path.name == "m.ckpt-1000.index"
    loaded(tmp_path)


# -------------------------------------------------------------------------------------------------- inspection


@pytest.mark.parametrize("name", FORMATS)
def test_inspection_says_the_same_of_every_format(written, name):
    found = inspect_checkpoint(written[name])
    first = inspect_checkpoint(written["pytorch"])
    assert not found.odd and found.heads[0] == "PreTraining" and found.architecture == first.architecture
    assert found.parameters == first.parameters and list(found.dtypes) == ["float32"]
    assert json.loads(found.to_json())["heads"] == found.heads


@pytest.mark.parametrize("name", ["pytorch-bin", "tensorflow", "keras-weights", "pytorch"])
@pytest.mark.parametrize(
    "fields", [{}, {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}, {"use_bottleneck": False},
               {"trigram_input": False}, {"num_feedforward_networks": 1}, {"classifier_activation": False}]
)  # fmt: skip
def test_sizes_are_read_off_the_shapes(tmp_path, name, fields):
    config = tiny_config(num_hidden_layers=3, **fields)
    source = random_checkpoint(config, HEADS["PreTraining"], tmp_path / "source")
    target = OUTPUT_FORMATS[name].written
    place = tmp_path / "out" / f"m{target.ending}" if target.ending else tmp_path / "out"
    convert(source, place, to=name, parity="none")
    (tmp_path / "out/config.json").unlink()
    found = inspect_checkpoint(tmp_path / "out")
    unknowable = {"hidden_act", "num_attention_heads", "normalization_type", "intra_bottleneck_size", "layer_norm_eps"}
    expected = {n: getattr(config, n) for n in found.architecture if n not in unknowable}
    assert {n: v for n, v in found.architecture.items() if n in expected} == expected
    assert "read off the shapes" in found.config_source


def test_what_is_odd_is_listed(checkpoint):
    path = checkpoint("MaskedLM")
    arrays = load_file(path / "model.safetensors")
    arrays["mobilebert.embeddings.LayerNorm.weight"][0] = np.nan
    arrays["extra.scale"] = np.ones(2, np.float32)
    arrays["cls.predictions.decoder.weight"] = arrays["mobilebert.embeddings.word_embeddings.weight"] + 1
    arrays["mobilebert.encoder.layer.0.output.dense.weight"][:] = 0
    arrays["cls.predictions.bias"][0] = 1e6
    del arrays["mobilebert.encoder.layer.1.output.dense.bias"]
    save_file(arrays, path / "model.safetensors", {"format": "pt"})
    odd = "\n".join(inspect_checkpoint(path).odd)
    for expected in (
        "1 hold NaN or infinity: mobilebert.embeddings.LayerNorm.weight", "1 weights unknown: extra.scale",
        "decoder and word embeddings differ, but the configuration ties them", "1 matrices are all 0",
        "1 hold values beyond float16: cls.predictions.bias",
        "1 weights missing: mobilebert.encoder.layer.1.output.dense.bias",
    ):  # fmt: skip
        assert expected in odd, odd


def test_a_header_whose_length_reads_as_letters(written, tmp_path):
    """19,280 bytes of header begin a safetensors file with "PK", as a zip archive begins."""
    content = (written["pytorch"] / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].rstrip().ljust(0x4B50)  # spaces may follow the header
    assert len(header) == 0x4B50
    padded = (0x4B50).to_bytes(8, "little") + header + content[8 + size :]
    assert padded.startswith(b"PK")
    (tmp_path / "model.safetensors").write_bytes(padded)
    (tmp_path / "config.json").write_bytes((written["pytorch"] / "config.json").read_bytes())
    expected, found = loaded(written["pytorch"]), loaded(tmp_path)
    assert all(np.array_equal(found[n], expected[n]) for n in expected)
