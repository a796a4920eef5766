"""What is in the cache of the hub already: not fetched again, and found where nothing can be asked."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from mobilebert_core.errors import CheckpointNotFoundError
from mobilebert_core.files import WEIGHT_FILES
from mobilebert_core.hub.resolve import resolve
from tests.core.test_hub import CONFIG, NAME, VOCAB, names, weights


def test_the_cache_saves_downloads(hub, tmp_path, monkeypatch):
    hub.publish(NAME, {"config.json": CONFIG, **weights("tf_model.h5")})
    first = resolve(NAME, config=True, weights=True)
    hub.requests.clear()
    assert resolve(NAME, config=True, weights=True) == first
    assert [request.method for request in hub.requests] == ["HEAD"]  # whether the branch has moved
    assert resolve(NAME, config=True, weights=True, revision=first.name) == first
    assert len(hub.requests) == 1
    resolve(NAME, config=True, weights=True, force_download=True)
    assert hub.fetched() == ["config.json", "tf_model.h5"]
    other = resolve(NAME, config=True, weights=True, cache_dir=tmp_path / "other")
    assert other.is_relative_to(tmp_path / "other") and other.name == first.name
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolve(NAME, config=True, cache_dir="~/hub").is_relative_to(tmp_path / "home" / "hub")


@pytest.mark.parametrize("how", ["server gone", "local_files_only", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("marked", [True, False])
def test_the_cache_serves_without_the_hub(hub, monkeypatch, caplog, how, marked):
    hub.publish(NAME, {"config.json": CONFIG, "vocab.txt": VOCAB, **weights("tf_model.h5.index.json")})
    first = resolve(NAME, config=True, weights=True, tokenizer=True)
    if not marked:  # as when another program fetched these files, and left no note of those that are not there
        shutil.rmtree(first.parents[1] / ".no_exist")
    hub.requests.clear()
    options = {}
    if how == "server gone":
        hub.close()
    elif how == "local_files_only":
        options = {how: True}
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with caplog.at_level(logging.WARNING, logger="mobilebert"):
        assert resolve(NAME, config=True, weights=True, tokenizer=True, **options) == first
    warned = [record.message for record in caplog.records if record.name == "mobilebert"]
    if how == "server gone" and not marked:
        assert len(warned) == 1 and "cannot be reached (ConnectError" in warned[0]
    else:
        assert warned == []
    assert hub.requests == []


def test_a_hub_that_is_away_is_asked_in_vain_once(hub, monkeypatch):
    """huggingface_hub tries for half a minute: once a load, not once a file."""
    from mobilebert_core.hub import repository as hub_repository

    hub.publish(NAME, {"config.json": CONFIG, **weights("tf_model.h5")})
    first = resolve(NAME, config=True, weights=True)
    shutil.rmtree(first.parents[1] / ".no_exist")
    hub.close()
    download, asked = hub_repository.hf_hub_download, []

    def recorded(name, path, **options):
        asked.append((path, options["local_files_only"]))
        return download(name, path, **options)

    monkeypatch.setattr(hub_repository, "hf_hub_download", recorded)
    resolve(NAME, config=True, weights=True)
    assert asked[:2] == [("config.json", False), ("model.safetensors", False)]
    assert len(asked) == 6 and all(local for _, local in asked[2:])


@pytest.mark.parametrize("how", ["local_files_only", "HF_HUB_OFFLINE"])
def test_offline_and_not_in_the_cache(hub, monkeypatch, how):
    commit = hub.publish(NAME, {"config.json": CONFIG, "vocab.txt": VOCAB, **weights("model.safetensors")})
    options = {how: True} if how == "local_files_only" else {}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", how == "HF_HUB_OFFLINE")
    reason = "local_files_only=True" if options else "HF_HUB_OFFLINE"
    with pytest.raises(
        CheckpointNotFoundError, match=rf"{reason} forbids asking it.*holds nothing of it.*Fetch it once"
    ):
        resolve(NAME, config=True, **options)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    resolve(NAME, config=True, tokenizer=True)
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", how == "HF_HUB_OFFLINE")
    with pytest.raises(
        CheckpointNotFoundError, match=rf"wanted weights .*holds config\.json, vocab\.txt of commit {commit}"
    ):
        resolve(NAME, config=True, weights=True, **options)
    with pytest.raises(CheckpointNotFoundError, match="holds config.json, vocab.txt of commit"):
        resolve(NAME, config=True, revision="v1", **options)
    said = (
        "force_download=True' and 'local_files_only=True' at the same"
        if options
        else "which force_download=True leaves"
    )
    with pytest.raises(CheckpointNotFoundError, match=said):
        resolve(NAME, config=True, force_download=True, **options)
    assert hub.requests == []


def test_what_snapshot_download_cannot_do(hub):
    """Why `Repository` fetches file by file; where this fails, a release of huggingface_hub has made it simpler."""
    from huggingface_hub import snapshot_download

    every = {**weights("model.safetensors"), **weights("pytorch_model.bin"), **weights("tf_model.h5")}
    hub.publish(NAME, {"config.json": CONFIG, **every})
    resolve(NAME, config=True)
    folder = snapshot_download(NAME, allow_patterns=["config.json", *WEIGHT_FILES], local_files_only=True)
    assert names(Path(folder)) == {"config.json"}  # no error, though there are no weights
    snapshot_download(NAME, allow_patterns=list(WEIGHT_FILES))
    assert set(hub.fetched()) == {"config.json", *every}  # every format, not the first
