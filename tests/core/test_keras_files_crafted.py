"""Files of Keras 3 that are damaged or crafted: each is one error that names the file; nothing is followed or run."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
import uuid
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints.containers.keras_archive import KerasArchive
from mobilebert_core.checkpoints.containers.keras_writer import write_keras_archive, write_keras_weights
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.errors import CheckpointError, ConfigError
from tests.core.keras_files import (
    HEAD,
    KEY,
    described,
    drawn,
    index_beside,
    open_keras,
    repacked,
)
from tests.tiny import tiny_config

# ------------------------------------------------------------------------------------ crafted HDF5 files


def edited(weights, change):
    """A changed copy under a name of its own: HDF5 shares what it knows of a file that is still open."""
    path, config = weights
    copy = path.with_name(f"{uuid.uuid4().hex}.weights.h5")
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "a") as file:
        change(file)
    return copy, config


def refused(weights, match, head=HEAD):
    """Opening or planning fails with a message that names the file."""
    path, config = weights
    with pytest.raises(CheckpointError, match=match) as caught:
        plan_loading(open_keras(path, config), config, head)
    assert str(path) in str(caught.value)


def put(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


def remove(name):
    return lambda file: file.__delitem__(name)


def test_links_are_not_followed(weights, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.zeros((48, 2), np.float32)
    place = "cls/seq_relationship/vars/0"
    refused(
        edited(weights, put(place, h5py.ExternalLink(str(secret), "/data"))), f"/{place} is a link out of its place"
    )
    refused(edited(weights, put(place, h5py.SoftLink("/elsewhere"))), f"/{place} is a link out of its place")


def test_data_elsewhere_is_not_followed(weights, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(4 * 96))
    place = "cls/seq_relationship/vars/0"

    def external(file):
        del file[place]
        file.create_dataset(place, (48, 2), "f4", external=[(str(tmp_path / "raw"), 0, 4 * 96)])

    def virtual(file):
        del file[place]
        layout = h5py.VirtualLayout((48, 2), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "raw"), "data", (48, 2))
        file.create_virtual_dataset(place, layout)

    for change in (external, virtual):
        refused(edited(weights, change), f"/{place} keeps its data in another file")


def test_groups_that_hold_themselves(weights):
    def loop(file):
        file["cls/again"] = file["cls"]

    refused(edited(weights, loop), "/cls/again is a second name of another object")


def test_datasets_larger_than_what_is_stored(weights):
    def bomb(file):
        del file["cls/seq_relationship/vars/0"]
        file.create_dataset("cls/seq_relationship/vars/0", (10**6, 10**6), "f4", chunks=(1000, 1000), compression=9)

    refused(edited(weights, bomb), "vars/0 is said to hold 4,000,000,000,000 bytes, but 0 are stored")


def test_what_is_no_array(weights):
    refused(edited(weights, put("cls/seq_relationship/vars/0", np.dtype("f4"))), "vars/0 holds no array")
    refused(edited(weights, put("cls/seq_relationship/vars/0", h5py.Empty("f4"))), "vars/0 holds no array")


def test_wrong_shapes_missing_and_additional_groups(weights):
    refused(
        edited(weights, put("cls/seq_relationship/vars/0", np.zeros((2, 48), np.float32))),
        r"cls.seq_relationship.weight wanted \(2, 48\), the file has \(48, 2\)",
    )
    refused(edited(weights, remove("base_model/embeddings")), "7 of .* weights missing, 0 unknown")
    additional = edited(weights, lambda file: file.create_dataset("adapter/vars/0", data=np.zeros(3)))
    refused(additional, r"unknown  adapter/vars/0 \(3,\)")


def test_weights_of_another_configuration(weights):
    path, _ = weights
    with pytest.raises(CheckpointError, match="model.weights.h5: holds .* arrays, but the configuration has 1,000,000"):
        open_keras(path, tiny_config(num_hidden_layers=1_000_000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(f"{KEY}/0", np.zeros((32, 32), np.int8)), "1 variables are of quantized layers, the first .*/0 .int8"),
        (lambda file: file.create_dataset(f"{KEY}/2", data=np.zeros(32, "f4")), r"the first .*/2 \(float32, \(32,\)\)"),
    ],
)
def test_quantized_layers(weights, change, message):
    refused(edited(weights, change), message)


def test_byte_order_does_not_matter(weights):
    expected = drawn(tiny_config())["cls.seq_relationship.weight"]
    path, config = edited(weights, put("cls/seq_relationship/vars/0", expected.T.astype(">f4")))
    names = open_keras(path, config)
    assert names.stored["cls.seq_relationship.weight"].dtype == "float32"
    found = names.read("cls.seq_relationship.weight")
    assert np.array_equal(found, expected) and found.dtype.isnative


# --------------------------------------------------------------------------------------------- archives


def fails(path, match, error=CheckpointError):
    with pytest.raises(error, match=match) as caught:
        open_keras(path)
    assert str(path) in str(caught.value)


def test_members_that_are_missing_or_twice_there(archive):
    for name in ("config.json", "model.weights.h5"):
        fails(repacked(archive, **{name: None}), f"wanted one member {name}, got 0; the archive holds metadata.json")
    assert open_keras(repacked(archive, **{"metadata.json": None})).stored
    twice = repacked(archive)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(twice, "a") as made:
        made.writestr("config.json", "{}")
    fails(twice, "wanted one member config.json, got 2")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "assets/../../evil", "C:evil", "..\\evil"])
def test_members_that_point_out_of_the_archive(archive, name):
    fails(repacked(archive, **{name: b"x"}), "points out of the archive; not read")


def test_other_members_are_named(archive):
    names = open_keras(repacked(archive, **{"assets/words.txt": b"x"}))
    assert names.dropped == {"assets/words.txt": "a member of the archive without weights"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_weights_are_not_expanded(archive, compression):
    bomb = repacked(archive, compression, **{"model.weights.h5": bytes(50_000_000)})
    tracemalloc.start()
    fails(bomb, r"model.weights.h5 is compressed \([\d,]+ bytes for 50,000,000\), wanted it stored.*zip -0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_configuration_that_expands_without_end(archive):
    bomb = repacked(archive, zipfile.ZIP_DEFLATED, **{"config.json": b"[" * 100_000_000})
    tracemalloc.start()
    fails(bomb, "config.json is longer than 16,777,216 bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "config.json: wanted JSON: "),
        (b"\xff", "config.json: wanted JSON: "),
        (b"[" * 100_000, "config.json: wanted JSON: maximum recursion depth"),
        (b"[]", "config.json: wanted a JSON object, got a list"),
        (b"{}", "config.json describes None .* wanted a class of mobilebert_tf: TFMobileBertModel"),
    ],
)
def test_configurations_that_are_none(archive, text, message):
    fails(repacked(archive, **{"config.json": text}), message)


def changed_config(archive, **changes):
    return repacked(archive, **{"config.json": json.dumps({**described(archive), **changes}).encode()})


def test_models_of_other_classes(archive):
    fails(changed_config(archive, class_name="Functional", registered_name=None), "describes 'Functional'")
    fails(changed_config(archive, registered_name="mine>TFMobileBertForPreTraining"), "registered as 'mine>")
    fails(changed_config(archive, class_name={"class_name": "__lambda__"}), "describes {'class_name': '__lambda__'}")
    for config in (None, [], {"config": 3}):
        fails(changed_config(archive, config=config), "wanted the fields of a MobileBertConfig")


def test_fields_that_are_wrong(archive):
    inner = described(archive)["config"]
    wrong = changed_config(archive, config={**inner, "config": {**inner["config"], "hidden_size": -1}})
    fails(wrong, "config.json: MobileBertConfig: hidden_size", ConfigError)
    huge = changed_config(archive, config={**inner, "config": {**inner["config"], "num_hidden_layers": 10**12}})
    fails(huge, "the configuration has 1,000,000,000,000 layers")


def test_code_in_the_configuration_is_not_run(archive):
    """What Keras would deserialize, lambdas and optimizers included, is not even looked at."""
    code = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA", None, None]}}
    inner = {**described(archive)["config"], "dtype": code, "activation": code}
    path = changed_config(archive, config=inner, compile_config={"loss": code}, build_config=code)
    found = KerasArchive(path)
    assert found.policy is None and found.config == tiny_config() and open_keras(found.path).stored


@pytest.mark.parametrize("kind", ["half", "empty", "text", "flipped", "no HDF5"])
def test_damaged_archives(archive, kind):
    whole = archive.read_bytes()
    if kind == "no HDF5":
        fails(repacked(archive, **{"model.weights.h5": b"no HDF5 file"}), "model.weights.h5: not a whole HDF5 file")
        return
    at = whole.index(b"model.weights.h5") + 200_000  # among the numbers
    archive.write_bytes(
        {
            "half": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"hello",
            "flipped": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
        }[kind]
    )
    fails(archive, "not a whole .keras archive .*CRC" if kind == "flipped" else "not a whole .keras archive")


def test_half_a_weights_file(weights):
    path, config = weights
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused((path, config), "not a whole HDF5 file")


# ----------------------------------------------------------------------------------------------- shards


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (None, "wanted a weight_map of groups to file names"),
        ({"/a": 3}, "wanted a weight_map of groups to file names"),
        ({"/a": ["../model.weights.h5"]}, "wanted the names of .weights.h5 files beside it, got '../model.weights.h5'"),
        ({"/a": "..\\x.weights.h5"}, "files beside it"),
        ({"/a": "/etc/passwd"}, "files beside it"),
        ({"/a": "gone.weights.h5"}, "its file gone.weights.h5 is not beside it"),
        ({"/a": "model.weights.h5", "/b": "copy.weights.h5"}, "model.weights.h5 and copy.weights.h5 both hold"),
    ],
)
def test_damaged_and_crafted_indexes(weights, weight_map, message):
    path, config = weights
    path.with_name("copy.weights.h5").write_bytes(path.read_bytes())
    refused((index_beside(path, weight_map), config), message)


# ------------------------------------------------------------------------------------------------- fuzz

SMALL = tiny_config(vocab_size=7, max_position_embeddings=5, num_hidden_layers=1)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_keras_weights(folder / "m.weights.h5", SMALL, HEAD, drawn(SMALL).__getitem__)
    write_keras_archive(folder / "m.keras", SMALL, HEAD, drawn(SMALL).__getitem__)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Damage where structure stands: from the front, from the back, anywhere.
places = st.one_of(st.integers(0, 4000), st.integers(-400, -1), st.integers(0, 10**6))


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(["m.weights.h5", "m.keras"]),
    flips=st.lists(st.tuples(places, st.integers(0, 255)), max_size=6),
    end=st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_damage_is_one_error_or_none(small_files, name, flips, end):
    content = bytearray(small_files[name])
    for at, byte in flips:
        content[at % len(content)] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content[:end])
        try:
            names = open_keras(path, SMALL)
            plan = plan_loading(names, SMALL, HEAD)
            for weight, source in plan.sources.items():
                assert names.read(source).shape == weight.shape
        except (CheckpointError, ConfigError) as e:
            assert name in str(e)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("0"), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_configuration_is_one_error_or_none(small_files, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.keras"
        path.write_bytes(small_files["m.keras"])
        described_ = described(path)
        for node in (described_, described_["config"], described_["config"]["config"]):
            names = st.sampled_from([*node, "pruned_heads", "id2label", "label2id", "num_labels", "torch_dtype"])
            node.update(data.draw(st.dictionaries(names, values, max_size=2)))
        changed = repacked(path, **{"config.json": json.dumps(described_).encode()})
        try:
            KerasArchive(changed)
        except (CheckpointError, ConfigError) as e:
            assert str(changed) in str(e)
