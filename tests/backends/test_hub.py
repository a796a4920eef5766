"""Models, pipelines and commands by a name on the hub, of which tests/hub_stand_in.py is a stand-in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mobilebert import MobileBertPipeline
from mobilebert.cli import main
from mobilebert_core import MobileBertConfig, MobileBertTokenizerFast
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from mobilebert_core.hub.resolve import resolve
from tests.backends.test_tensorflow_files import ROOTS, tensorflow_arrays, write_h5
from tests.core.test_tasks import VOCABULARY
from tests.hub_stand_in import MEMBER
from tests.tiny import tiny_config

NAME = "google/mobilebert-uncased"


@pytest.fixture
def published(checkpoint, hub, tmp_path):
    """Publishes a random TINY checkpoint of a head with tokenizer files; returns its folder on this machine."""

    def publish(head, branch="main", access="public", **config):
        path = checkpoint(head, **config)
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
        MobileBertTokenizerFast(tmp_path / "vocab.txt").save_pretrained(path)
        hub.publish(NAME, path, branch, access)
        return path

    return publish


def same(backend, first, second):
    first, second = backend.parameters(first), backend.parameters(second)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_model_by_its_name(backend, hub, published):
    path = published("MaskedLM", branch="v1", access="private")
    model = backend.load("MaskedLM", NAME, revision="v1", token=MEMBER, hidden_dropout_prob=0.25)
    assert hub.fetched() == ["config.json", "model.safetensors"]
    assert model.config.name_or_path == NAME and model.config.hidden_dropout_prob == 0.25
    assert same(backend, model, backend.load("MaskedLM", path))
    hub.close()
    assert same(backend, model, backend.load("MaskedLM", NAME, revision="v1"))
    assert same(backend, model, backend.load("MaskedLM", NAME, revision="v1", local_files_only=True))


def test_a_repository_of_tf_model_h5_alone(backend, hub, published):
    path = published("MaskedLM")
    expected = backend.load("MaskedLM", path)
    write_h5(path, tensorflow_arrays(path, ROOTS["counter"]))
    hub.publish(NAME, path)
    assert same(backend, backend.load("MaskedLM", NAME), expected)
    assert hub.fetched() == ["config.json", "tf_model.h5"]


def test_a_repository_of_pytorch_model_bin_alone(backend, hub, published):
    import torch

    path = published("MaskedLM")
    expected = backend.load("MaskedLM", path)
    arrays = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path / "pytorch_model.bin")
    hub.publish(NAME, path)
    assert same(backend, backend.load("MaskedLM", NAME), expected)
    assert hub.fetched() == ["config.json", "pytorch_model.bin"]


def test_a_sharded_repository(backend, hub, published):
    path = published("MaskedLM")
    expected = backend.load("MaskedLM", path)
    arrays = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    places = {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(arrays)}
    for shard in sorted(set(places.values())):
        save_file({name: arrays[name] for name in arrays if places[name] == shard}, path / shard, {"format": "pt"})
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    hub.publish(NAME, path)
    assert same(backend, backend.load("MaskedLM", NAME), expected)
    assert set(hub.fetched()) == {"config.json", "model.safetensors.index.json", *places.values()}


def test_a_subfolder(backend, hub, published):
    path = published("MaskedLM")
    hub.publish(NAME, {f"tiny/{file.name}": file.read_bytes() for file in path.iterdir()})
    assert same(backend, backend.load("MaskedLM", NAME, subfolder="tiny"), backend.load("MaskedLM", path))
    with pytest.raises(CheckpointNotFoundError, match="wanted config.json, the repository has tiny/"):
        backend.load("MaskedLM", NAME)


def test_a_configuration_in_place_of_the_repositorys(backend, hub, published):
    path = published("MaskedLM")
    hub.publish("someone/config", {"config.json": (path / "config.json").read_bytes()}, access="private")
    (path / "config.json").unlink()
    hub.publish(NAME, path)
    model = backend.load("MaskedLM", NAME, config=tiny_config())
    assert hub.fetched() == ["model.safetensors"]
    assert same(backend, backend.load("MaskedLM", NAME, config="someone/config", token=MEMBER), model)


def test_a_state_dict_in_place_of_the_weights(hub, published):
    from mobilebert_torch import MobileBertForMaskedLM

    state = MobileBertForMaskedLM.from_pretrained(published("MaskedLM")).state_dict()
    MobileBertForMaskedLM.from_pretrained(NAME, state_dict=state)
    assert hub.fetched() == ["config.json"]


def test_a_name_that_leads_nowhere(backend, hub, published):
    with pytest.raises(CheckpointNotFoundError, match="nobody/nothing: no directory here, and"):
        backend.load("MaskedLM", "nobody/nothing")
    with pytest.raises(OSError, match="no file or directory here, and no name of a repository"):
        backend.load("MaskedLM", "no such model")
    published("MaskedLM")
    with pytest.raises(ConfigError, match="did you mean 'num_labels'"):
        backend.load("MaskedLM", NAME, num_label=3)


def test_a_pipeline_by_its_name(backend, hub, published):
    path = published("SequenceClassification", branch="v1", access="private")
    options = {"backend": backend.name, "top_k": 2}
    by_name = MobileBertPipeline.from_pretrained("text-classification", NAME, revision="v1", token=MEMBER, **options)
    by_path = MobileBertPipeline.from_pretrained("text-classification", path, **options)
    assert by_name("zola lives in paris") == by_path("zola lives in paris")
    assert by_name.text.tokenizer.name_or_path == by_name.runner.config.name_or_path == NAME
    assert {request.token for request in hub.requests} == {MEMBER}
    assert set(hub.fetched()) == {file.name for file in path.iterdir()}
    with pytest.raises(CheckpointError, match=rf"{NAME}: wanted a trained MobileBertForQuestionAnswering"):
        MobileBertPipeline.from_pretrained(
            "question-answering", NAME, revision="v1", token=MEMBER, backend=backend.name
        )


def test_the_commands_take_names(hub, published, capsys):
    published("SequenceClassification", vocab_size=8000)
    assert main(["predict", "text-classification", "zola", "--model", NAME]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["label"].startswith("LABEL_")
    assert main(["parity", NAME, "--text", "zola lives", "--no-gradients"]) == 0
    assert f"from {NAME}\ninput_ids (1, 4), 4 tokens" in capsys.readouterr().out
    assert main(["predict", "text-classification", "zola", "--model", "nobody/nothing"]) == 2
    assert "mobilebert: nobody/nothing: no directory here" in capsys.readouterr().err


def test_parity_of_a_repository_without_a_tokenizer(hub, checkpoint, capsys):
    """The vocabulary of the package serves, but not because the hub did not answer."""
    path = checkpoint("Model", vocab_size=8000)
    commit = hub.publish(NAME, path)
    command = ["parity", NAME, "--text", "It rained.", "--no-gradients"]
    assert main(command) == 0
    assert f"from {NAME}\ninput_ids (1, 6), 6 tokens" in capsys.readouterr().out
    (path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
    assert hub.publish(NAME, path) != commit
    resolve(NAME, config=True, weights=True)
    hub.close()
    assert main(command) == 2
    assert "wanted vocab.txt or tokenizer.json from the Hugging Face hub, but" in capsys.readouterr().err


def test_keywords_of_the_hub_change_nothing_for_a_directory(backend, hub, checkpoint):
    path = checkpoint("MaskedLM")
    keywords = {
        "revision": "v1",
        "cache_dir": "nowhere",
        "token": True,
        "local_files_only": True,
        "proxies": {"a": "b"},
    }
    model = backend.load("MaskedLM", path, **keywords, force_download=True, resume_download=True)
    assert model.config.name_or_path == str(path)
    assert MobileBertConfig.from_pretrained(path, **keywords) == MobileBertConfig.from_pretrained(path)
    assert hub.requests == []
