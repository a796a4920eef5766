"""One directory for both backends: what is written, what is accepted, and that nothing is loaded half-way."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.heads import HEADS
from tests.tiny import BRANCHES, tiny_batch, tiny_config


def scores(backend, model, head):
    batch = tiny_batch(model.config, head, labels=False)
    output = backend.call(model, batch)
    return {n: backend.numpy(v) for n, v in output.items()}


def edit(path, change):
    """Rewrites the weights of a checkpoint."""
    arrays = load_file(path / "model.safetensors")
    change(arrays)
    save_file(arrays, path / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("head", HEADS)
def test_round_trip_is_exact(backend, checkpoint, tmp_path, head):
    model = backend.load(head, checkpoint(head))
    model.save_pretrained(tmp_path / "again")
    first, second = (
        load_file(tmp_path / "checkpoint/model.safetensors"),
        load_file(tmp_path / "again/model.safetensors"),
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[n], second[n]) for n in first)
    config = json.loads((tmp_path / "again/config.json").read_text())
    assert config["architectures"] == [HEADS[head].class_name] and config["torch_dtype"] == "float32"


@pytest.mark.parametrize("branch", ["untied", "pruned", "teacher", "embedding_is_hidden"])
def test_round_trip_of_branches(backend, checkpoint, tmp_path, branch):
    model = backend.load("MaskedLM", checkpoint("MaskedLM", **BRANCHES[branch]))
    model.save_pretrained(tmp_path / "again")
    again = backend.load("MaskedLM", tmp_path / "again")
    first, second = scores(backend, model, "MaskedLM"), scores(backend, again, "MaskedLM")
    assert np.array_equal(first["logits"], second["logits"])


def test_what_one_backend_writes_the_other_reads(checkpoint, tmp_path):
    from tests.backends.backend import KerasBackend, TorchBackend

    torch_backend, keras_backend = TorchBackend(), KerasBackend()
    keras_backend.load("PreTraining", checkpoint("PreTraining")).save_pretrained(tmp_path / "keras")
    torch_backend.load("PreTraining", tmp_path / "keras").save_pretrained(tmp_path / "torch")
    assert (tmp_path / "keras/config.json").read_text() == (tmp_path / "torch/config.json").read_text()
    first, second = load_file(tmp_path / "keras/model.safetensors"), load_file(tmp_path / "torch/model.safetensors")
    assert first.keys() == second.keys() and all(np.array_equal(first[n], second[n]) for n in first)


def test_a_head_is_added_fresh_and_named(backend, checkpoint, caplog):
    path = checkpoint("MaskedLM", classifier_activation=False)
    with caplog.at_level(logging.WARNING, logger="mobilebert"):
        model, info = backend.load("SequenceClassification", path, num_labels=5, output_loading_info=True)
    assert "classifier.weight, classifier.bias" in caplog.text and "are newly initialized" in caplog.text
    assert info["missing_keys"] == ["classifier.weight", "classifier.bias"]
    assert set(info["unexpected_keys"]) and all(n.startswith("cls.predictions") for n in info["unexpected_keys"])
    weight = backend.parameters(model)["classifier.weight"]
    assert weight.shape == (5, 48) and 0 < np.abs(weight).max() <= 0.04 + 1e-6


def test_of_processes_that_work_together_the_first_one_warns(backend, checkpoint, caplog, monkeypatch):
    path = checkpoint("MaskedLM", classifier_activation=False)
    said = {}
    for rank, meeting in (("0", "here"), ("1", "here"), ("1", "")):
        for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_PORT": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MASTER_ADDR", meeting) if meeting else monkeypatch.delenv("MASTER_ADDR")
        with caplog.at_level(logging.INFO, logger="mobilebert"):
            backend.load("SequenceClassification", path)
        said[rank, meeting] = {r.levelname for r in caplog.records if "are newly initialized" in r.getMessage()}
        caplog.clear()
    # Processes that do not meet may each have a model of their own.
    assert said == {("0", "here"): {"WARNING"}, ("1", "here"): {"INFO"}, ("1", ""): {"WARNING"}}


@pytest.mark.parametrize("base_first", [True, False])
def test_the_base_prefix_comes_and_goes(backend, checkpoint, base_first):
    source, target = ("Model", "TokenClassification") if base_first else ("TokenClassification", "Model")
    path = checkpoint(source, classifier_activation=False)
    loaded = backend.load(target, path)
    batch = tiny_batch(loaded.config, "Model", labels=False)
    options = {"output_hidden_states": True}
    states = [backend.call(m, batch, **options).hidden_states[-1] for m in (loaded, backend.load(source, path))]
    assert np.array_equal(*map(backend.numpy, states))


def test_everything_amiss_is_reported_together(backend, checkpoint):
    path = checkpoint("MaskedLM")

    def damage(arrays):
        del arrays["mobilebert.encoder.layer.1.ffn.0.output.dense.bias"]
        arrays["mobilebert.encoder.layer.1.ffn.0.up.weight"] = np.zeros((3, 4), np.float32)
        arrays["mobilebert.embeddings.LayerNorm.bias"] = np.zeros(47, np.float32)

    edit(path, damage)
    with pytest.raises(CheckpointError) as caught:
        backend.load("MaskedLM", path)
    message = str(caught.value)
    assert "1 of" in message and "1 unknown, 1 with another shape; nothing was loaded" in message
    assert "missing  mobilebert.encoder.layer.1.ffn.0.output.dense.bias (32,)" in message
    assert "unknown  mobilebert.encoder.layer.1.ffn.0.up.weight (3, 4)" in message
    assert "shape    mobilebert.embeddings.LayerNorm.bias wanted (48,), the file has (47,)" in message


def test_allow_missing_starts_a_weight_fresh(backend, checkpoint):
    path = checkpoint("MaskedLM")
    name = "mobilebert.encoder.layer.1.ffn.0.output.LayerNorm.weight"
    edit(path, lambda arrays: arrays.pop(name))
    with pytest.raises(CheckpointError, match="1 of"):
        backend.load("MaskedLM", path)
    model = backend.load("MaskedLM", path, allow_missing=[name])
    assert np.array_equal(backend.parameters(model)[name], np.ones(32))


def test_half_a_head_is_an_error(backend, checkpoint):
    path = checkpoint("MaskedLM")
    edit(path, lambda arrays: arrays.pop("cls.predictions.transform.dense.bias"))
    with pytest.raises(CheckpointError, match=r"missing  cls.predictions.transform.dense.bias"):
        backend.load("MaskedLM", path)


def test_half_a_classifier_is_an_error(backend, checkpoint):
    path = checkpoint("TokenClassification")
    edit(path, lambda arrays: arrays.pop("classifier.bias"))
    with pytest.raises(CheckpointError, match=r"missing  classifier.bias \(2,\)"):
        backend.load("TokenClassification", path)


def test_allowing_what_does_not_exist(backend, checkpoint):
    with pytest.raises(CheckpointError, match="allow_missing names \\['nonsense'\\]"):
        backend.load("MaskedLM", checkpoint("MaskedLM"), allow_missing=["nonsense"])


def test_models_of_one_configuration_are_apart(backend, tmp_path):
    config = tiny_config()
    one, other = backend.build("MaskedLM", config), backend.build("MaskedLM", config)
    one.resize_token_embeddings(120)
    one.prune_heads({0: [1]})
    other.save_pretrained(tmp_path)
    assert backend.load("MaskedLM", tmp_path).config.vocab_size == config.vocab_size == 97


def test_a_head_without_decoder_minds_no_decoder(backend, checkpoint):
    path = checkpoint("MaskedLM")
    name = "cls.predictions.decoder.weight"
    edit(path, lambda a: a.__setitem__(name, a["mobilebert.embeddings.word_embeddings.weight"] + 1))
    assert backend.load("QuestionAnswering", path).config.tie_word_embeddings


def test_mismatched_sizes_on_request(backend, checkpoint):
    path = checkpoint("TokenClassification", num_labels=3)
    with pytest.raises(CheckpointError, match=r"shape    classifier.weight wanted \(7, 48\), the file has \(3, 48\)"):
        backend.load("TokenClassification", path, num_labels=7)
    with pytest.raises(RuntimeError):
        backend.load("TokenClassification", path, num_labels=7)
    model, info = backend.load(
        "TokenClassification", path, num_labels=7, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert model.config.num_labels == 7
    assert ("classifier.bias", (3,), (7,)) in info["mismatched_keys"]


def test_another_models_weights(backend, checkpoint):
    path = checkpoint("MaskedLM")
    save_file({"bert.encoder.weight": np.zeros((2, 2), np.float32)}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="checkpoint of another model"):
        backend.load("MaskedLM", path)


@pytest.mark.parametrize("alias", ["cls.predictions.decoder.bias", "cls.predictions.bias"])
def test_either_name_of_the_bias_suffices(backend, checkpoint, alias):
    path = checkpoint("MaskedLM")
    expected = load_file(path / "model.safetensors")["cls.predictions.bias"]
    edit(path, lambda arrays: arrays.__setitem__(alias, arrays.pop("cls.predictions.bias")))
    assert np.array_equal(backend.parameters(backend.load("MaskedLM", path))["cls.predictions.bias"], expected)


def test_a_trained_decoder_is_never_lost(backend, checkpoint):
    path = checkpoint("MaskedLM")
    name = "cls.predictions.decoder.weight"
    words = load_file(path / "model.safetensors")["mobilebert.embeddings.word_embeddings.weight"]
    edit(path, lambda arrays: arrays.__setitem__(name, words + 1))
    with pytest.raises(CheckpointError, match="differs from the word embeddings.*tie_word_embeddings=False"):
        backend.load("MaskedLM", path)
    model = backend.load("MaskedLM", path, tie_word_embeddings=False)
    assert np.array_equal(backend.parameters(model)[name], words + 1)


def test_untying_starts_from_the_word_embeddings(backend, checkpoint):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"), tie_word_embeddings=False)
    found = backend.parameters(model)
    assert np.array_equal(
        found["cls.predictions.decoder.weight"], found["mobilebert.embeddings.word_embeddings.weight"]
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_dtype_is_saved_and_loaded(backend, checkpoint, tmp_path, dtype):
    model = backend.load("SequenceClassification", checkpoint("SequenceClassification"), dtype=dtype)
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again/config.json").read_text())["torch_dtype"] == dtype
    same = backend.load("SequenceClassification", tmp_path / "again", dtype="auto")
    batch = tiny_batch(model.config, "SequenceClassification", labels=False)
    first, second = backend.call(model, batch).logits, backend.call(same, batch).logits
    assert dtype in str(second.dtype)
    assert np.array_equal(backend.numpy(first).astype(np.float64), backend.numpy(second).astype(np.float64))
    plain = backend.load("SequenceClassification", tmp_path / "again", dtype="float32")
    assert "float32" in str(backend.call(plain, batch).logits.dtype)


def test_an_unknown_dtype(backend, checkpoint):
    with pytest.raises(ConfigError, match="dtype must be"):
        backend.load("MaskedLM", checkpoint("MaskedLM"), dtype="float8")


def test_keywords_of_transformers_without_effect(backend, checkpoint):
    backend.load("MaskedLM", checkpoint("MaskedLM"), use_safetensors=True, cache_dir=None, from_pt=True, token=None)


def test_a_file_stands_for_its_directory(backend, checkpoint):
    path = checkpoint("MaskedLM")
    by_file, by_directory = (backend.load("MaskedLM", p) for p in (path / "model.safetensors", path))
    first, second = scores(backend, by_file, "MaskedLM"), scores(backend, by_directory, "MaskedLM")
    assert np.array_equal(first["logits"], second["logits"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(backend, checkpoint, value):
    path = checkpoint("MaskedLM")
    name = "mobilebert.encoder.layer.1.ffn.0.output.dense.weight"
    edit(path, lambda arrays: arrays[name].__setitem__((3, 4), value))
    with pytest.raises(CheckpointError, match=f"model.safetensors: {name} .* holds 1 values that are NaN or infinite"):
        backend.load("MaskedLM", path)


def test_an_unknown_keyword(backend, checkpoint):
    with pytest.raises(ConfigError, match="no such keyword: 'num_label'; did you mean 'num_labels'"):
        backend.load("MaskedLM", checkpoint("MaskedLM"), num_label=3)


def test_an_interrupted_save_leaves_the_old_file(backend, checkpoint, tmp_path, monkeypatch):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"))
    model.save_pretrained(tmp_path / "again")
    before = {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()}

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(tmp_path / "again")
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == before


@pytest.mark.parametrize("place", ["", None, 5, ["out"]])
def test_saving_nowhere(backend, checkpoint, tmp_path, monkeypatch, place):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for saved in (model, model.config):
        with pytest.raises(CheckpointError, match="save_pretrained: wanted the path of a directory, got"):
            saved.save_pretrained(place)
    (tmp_path / "file").write_text("mine")
    for saved in (model, model.config):
        with pytest.raises(CheckpointError, match="file: wanted a directory to save in, got a file"):
            saved.save_pretrained(tmp_path / "file")
    assert list((tmp_path / "empty").iterdir()) == [] and (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_ends_like_a_file(backend, checkpoint, tmp_path):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"))
    for name in ("model.json", "model.keras", "model.bin"):
        model.save_pretrained(tmp_path / name)
        assert type(model.config).from_pretrained(tmp_path / name) == backend.load("MaskedLM", tmp_path / name).config


@pytest.mark.parametrize("state", [5, ["a"], {"a": 5}, {5: None}, "x"])
def test_what_is_no_state_dict(checkpoint, tmp_path, state):
    from tests.backends.backend import TorchBackend

    path = checkpoint("MaskedLM")
    model = TorchBackend().load("MaskedLM", path)
    with pytest.raises(CheckpointError, match="state_dict: wanted (a mapping of )?names to tensors, got"):
        type(model).from_pretrained(path, state_dict=state)
    with pytest.raises(CheckpointError, match="state_dict: wanted (a mapping of )?names to tensors, got"):
        model.save_pretrained(tmp_path / "out", state_dict=state)
    assert not (tmp_path / "out").exists()


def test_a_state_dict_that_is_not_whole_replaces_nothing(checkpoint, tmp_path):
    from tests.backends.backend import TorchBackend

    model = TorchBackend().load("MaskedLM", checkpoint("MaskedLM"))
    model.save_pretrained(tmp_path / "again")
    before = (tmp_path / "again/model.safetensors").read_bytes()
    name = "mobilebert.embeddings.embedding_transformation.weight"
    whole = model.state_dict()
    for broken, message in (
        ({n: t for n, t in whole.items() if n != name}, f"state_dict lacks 1 weights of .*{name}"),
        ({**whole, name: whole[name].T}, rf"{name}: wanted \(48, 60\), got \(60, 48\)"),
        ({**whole, name: whole[name][:5]}, rf"{name}: wanted \(48, 60\), got \(5, 60\)"),
    ):
        with pytest.raises(CheckpointError, match=message):
            model.save_pretrained(tmp_path / "again", state_dict=broken)
        assert (tmp_path / "again/model.safetensors").read_bytes() == before
