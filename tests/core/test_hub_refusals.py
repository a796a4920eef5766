"""What the hub refuses and what goes wrong on the way, against the stand-in of tests/hub_stand_in.py."""

from __future__ import annotations

import errno

import pytest

from mobilebert_core import MobileBertConfig, MobileBertTokenizer
from mobilebert_core.errors import CheckpointNotFoundError, ConfigError
from mobilebert_core.hub.resolve import resolve
from tests.core.test_hub import CONFIG, NAME, weights
from tests.hub_stand_in import MEMBER


def test_a_private_repository_wants_a_token(hub, monkeypatch):
    hub.publish(NAME, {"config.json": CONFIG}, access="private")
    refused = "no directory here, and http.* has no such repository, or gives it to its members only.*pass token"
    with pytest.raises(CheckpointNotFoundError, match=refused):
        MobileBertConfig.from_pretrained(NAME)
    with pytest.raises(CheckpointNotFoundError, match="token=True, but no token is stored here"):
        MobileBertConfig.from_pretrained(NAME, token=True)
    assert {request.token for request in hub.requests} == {None}
    hub.requests.clear()
    assert MobileBertConfig.from_pretrained(NAME, token=MEMBER).num_labels == 3
    assert MobileBertConfig.from_pretrained(NAME, use_auth_token=MEMBER).num_labels == 3
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    assert MobileBertConfig.from_pretrained(NAME).num_labels == 3
    assert MobileBertConfig.from_pretrained(NAME, token=True).num_labels == 3
    assert {request.token for request in hub.requests} == {MEMBER}
    hub.requests.clear()
    MobileBertConfig.from_pretrained(NAME, token=False)  # refused, but in the cache
    assert {request.token for request in hub.requests} == {None}
    with pytest.raises(ConfigError, match="token and use_auth_token are the same"):
        MobileBertConfig.from_pretrained(NAME, token=MEMBER, use_auth_token=MEMBER)
    with pytest.raises(CheckpointNotFoundError, match=r"answered 401 \(Invalid credentials"):
        MobileBertConfig.from_pretrained(NAME, token="hf_stranger", force_download=True)


def test_proxies_are_not_silently_left_out(hub):
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        MobileBertConfig.from_pretrained(NAME, proxies={"https": "http://proxy:3128"})
    assert hub.requests == []


def test_a_gated_repository_says_where_to_ask(hub):
    hub.publish(NAME, {"config.json": CONFIG}, access="gated")
    with pytest.raises(
        CheckpointNotFoundError, match=rf"gated at {hub.endpoint}/{NAME}: .*Ask for access on that page"
    ):
        MobileBertConfig.from_pretrained(NAME)
    assert MobileBertConfig.from_pretrained(NAME, token=MEMBER).num_labels == 3


def test_no_such_repository(hub):
    for token in (None, MEMBER):  # the hub answers a stranger with 401, a member with 404
        with pytest.raises(
            CheckpointNotFoundError, match="nobody/nothing: no directory here, and .* Check the spelling"
        ):
            resolve("nobody/nothing", config=True, token=token)
    with pytest.raises(OSError, match="nobody/nothing"):
        MobileBertTokenizer.from_pretrained("nobody/nothing")


def test_a_repository_without_what_is_wanted(hub):
    hub.publish(NAME, {f"file{n:02}.onnx": b"x" for n in range(25)})
    for need, wanted in (
        ("config", r"config\.json"),
        ("weights", "weights .model"),
        ("tokenizer", r"vocab\.txt or tok"),
    ):
        with pytest.raises(
            CheckpointNotFoundError, match=rf"wanted {wanted}.*, the repository has file00\.onnx, .* and 5 more"
        ):
            resolve(NAME, **{need: True})
    hub.publish(NAME, {"config.json": CONFIG, **weights("model.safetensors")})
    resolve(NAME, config=True, weights=True, tokenizer=True)  # who wants more than a tokenizer can do without
    hub.publish(NAME, {})
    with pytest.raises(CheckpointNotFoundError, match="the repository has nothing"):
        resolve(NAME, config=True)


def test_the_hub_is_down(hub, monkeypatch):
    for status, said in ((503, "answered 503"), (403, "answered 403 .the stand-in was told to")):
        hub.status = status
        with pytest.raises(
            CheckpointNotFoundError, match=rf"{said}.*holds nothing of it.*Check the connection"
        ) as caught:
            resolve(NAME, config=True)
        assert "\n" not in str(caught.value)
    hub.close()
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    for options in ({}, {"force_download": True}):
        with pytest.raises(CheckpointNotFoundError, match=r"cannot be reached \(ConnectError.*holds nothing of it"):
            resolve(NAME, config=True, **options)
    assert waits == []  # nobody is asked again and again where nobody is


def test_a_listing_that_fails(hub, monkeypatch):
    """The hub may go away between the last file and the listing that an error would show."""
    hub.publish(NAME, {"config.json": CONFIG})

    def unreachable(*args, **kwargs):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr("mobilebert_core.hub.repository.HfApi.list_repo_files", unreachable)
    with pytest.raises(
        CheckpointNotFoundError, match=r"the list of its files: did not arrive whole \(ConnectionResetError"
    ):
        resolve(NAME, config=True, weights=True)


@pytest.mark.parametrize(("how", "said"), [("cut", "1000 but has size 500"), ("dropped", "peer closed connection")])
def test_a_file_cut_short(hub, how, said):
    hub.publish(NAME, {"config.json": CONFIG, "model.safetensors": b"x" * 1000})
    getattr(hub, how).add("model.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=rf"model\.safetensors: did not arrive whole .*{said}"):
        resolve(NAME, config=True, weights=True)
    getattr(hub, how).clear()
    assert (resolve(NAME, config=True, weights=True) / "model.safetensors").read_bytes() == b"x" * 1000


def test_the_disk_is_full(hub, monkeypatch):
    hub.publish(NAME, {"config.json": CONFIG})

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)  # it writes as it reads
    with pytest.raises(CheckpointNotFoundError, match=r"config\.json: no space left in the cache .*cache; .*cache_dir"):
        resolve(NAME, config=True)


def test_the_cache_is_not_writable(hub, tmp_path):
    hub.publish(NAME, {"config.json": CONFIG})
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointNotFoundError, match=r"config\.json: cannot be written to the cache .*file"):
        resolve(NAME, config=True, cache_dir=tmp_path / "file" / "cache")


def test_a_path_below_a_file_is_not_looked_up(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.csv").write_text("text,label")
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("words.csv/model", "gone/model"):
        with pytest.raises(CheckpointNotFoundError, match="not looked up on the Hugging Face hub"):
            resolve(name, config=True)
    assert hub.requests == []
