"""Names and paths, against a stand-in for the hub (tests/hub_stand_in.py says what it covers and what not)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert_core import MobileBertConfig, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.errors import BackendMissingError, CheckpointError, CheckpointNotFoundError
from mobilebert_core.files import WEIGHT_FILES
from mobilebert_core.hub.resolve import is_repository_name, resolve
from tests.core.tokenizers import VOCABULARY
from tests.hub_stand_in import MEMBER
from tests.tiny import tiny_config

ROOT = Path(__file__).parents[2]
NAME = "google/mobilebert-uncased"
CONFIG = tiny_config(num_labels=3).to_json_string().encode()
VOCAB = "".join(f"{token}\n" for token in VOCABULARY).encode()


def index(*shards: object) -> bytes:
    return json.dumps({"weight_map": {f"weight.{n}": shard for n, shard in enumerate(shards)}}).encode()


def weights(name: str) -> dict[str, bytes]:
    """A file of the list, with two shards if it is an index."""
    if not name.endswith(".index.json"):
        return {name: name.encode()}
    stem, suffix = name.removesuffix(".index.json").rsplit(".", 1)
    shards = [f"{stem}-0000{n}-of-00002.{suffix}" for n in (1, 2)]
    return {name: index(*shards, shards[0]), **{shard: shard.encode() for shard in shards}}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --------------------------------------------------------------------------------------------- paths and names


@pytest.mark.parametrize(
    "path",
    [
        "./mobilebert", "../mobilebert", ".", "/mobilebert", "~/mobilebert", "models\\mobilebert", "a/b/c",
        "mobilebert/", "models/tf_model.h5", "vocab.txt", "models/model.ckpt-28252", Path("mobilebert"),
        Path("google/mobilebert-uncased"),
    ],
)  # fmt: skip
def test_what_has_the_form_of_a_path_is_never_looked_up(path, hub):
    assert resolve(path, config=True, weights=True, tokenizer=True) == Path(path)
    assert resolve(path, config=True, subfolder="part") == Path(path, "part")
    with pytest.raises(CheckpointNotFoundError):
        MobileBertConfig.from_pretrained(Path(path) if path != "." else Path("./nowhere"))
    assert hub.requests == []


def test_what_exists_here_is_itself(tmp_path, monkeypatch, hub):
    hub.publish(NAME, {"config.json": CONFIG})
    (tmp_path / NAME).mkdir(parents=True)
    (tmp_path / "vocabulary").touch()
    (tmp_path / "variables.index").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve(NAME, config=True) == Path(NAME)
    assert resolve("vocabulary", tokenizer=True) == Path("vocabulary")
    assert resolve("variables", weights=True) == Path("variables")
    with pytest.raises(CheckpointNotFoundError, match=r"config\.json: file not found; the directory holds nothing"):
        MobileBertConfig.from_pretrained(NAME)
    assert hub.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "gpt2", NAME, "a/b", "Foo-BAR_foo.bar123", "_a", "a_/b", "1", "a" * 96, "a b", "a:b", "a/", "-a", "a-", ".a",
        "a.", "a--b", "a..b", "a.git", "a" * 97, "", "é", "datasets/a/b", "a/b/c", "a/-b", "a\n", "a/b\n", "C:a",
    ],
)  # fmt: skip
def test_names_are_those_that_the_hub_allows(name):
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
        allowed = True
    except HFValidationError:
        allowed = False
    assert is_repository_name(name) == allowed


@pytest.mark.parametrize("name", ["my model", "a--b", "C:model", "", "é", "x" * 5000, "a\0b"])
def test_neither_path_nor_name(name, hub):
    with pytest.raises(CheckpointNotFoundError, match="no file or directory here, and no name of a repository"):
        MobileBertConfig.from_pretrained(name)
    assert hub.requests == []


DOORS = {
    "config": MobileBertConfig.from_pretrained,
    "tokenizer": MobileBertTokenizer.from_pretrained,
    "fast tokenizer": MobileBertTokenizerFast.from_pretrained,
    "checkpoint": lambda name: resolve(name, config=True, weights=True),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-modle", "Did you mean my-model?"),
        ("elsewhere", "The nearest directory that exists is "),
        ("runs/frist", "Did you mean runs/first?"),
    ],
)
def test_a_mistyped_path_is_said_at_once(door, name, said, tmp_path, monkeypatch, hub):
    for folder in ("my-model", "runs/first"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=re.escape(said)) as refused:
        DOORS[door](name)
    assert "revision='main'" in str(refused.value) and hub.requests == []


@pytest.mark.parametrize("door", ["config", "tokenizer", "fast tokenizer"])
@pytest.mark.parametrize("name", ["./runs/frist", "{here}/runs/frist", "runs/frist/"])
def test_a_path_that_is_not_there_has_its_neighbour_named(door, name, tmp_path, monkeypatch, hub):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="Did you mean .*runs/first"):
        DOORS[door](name.format(here=tmp_path))
    assert hub.requests == []


def test_a_name_without_owner_is_looked_up_where_the_hub_is_meant(hub):
    hub.publish("mobilebert-uncased", {"config.json": CONFIG})
    assert MobileBertConfig.from_pretrained("mobilebert-uncased", revision="main").hidden_size == 48


def test_without_huggingface_hub(tmp_path):
    MobileBertConfig().save_pretrained(tmp_path)
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from mobilebert_core import BackendMissingError, MobileBertConfig\n"
        f"print(MobileBertConfig.from_pretrained({str(tmp_path)!r}).hidden_size)\n"
        f"try: MobileBertConfig.from_pretrained({NAME!r})\n"
        "except BackendMissingError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    size, message = done.stdout.splitlines()
    assert size == "512" and message.startswith(f"{NAME}: no such file or directory here, and looking the name up")
    assert "pip install 'mobilebert[hub]'" in message
    assert issubclass(BackendMissingError, ImportError)


def test_a_path_loads_no_huggingface_hub(tmp_path):
    MobileBertConfig().save_pretrained(tmp_path)
    code = (
        "import sys, mobilebert_core as m; [getattr(m, n) for n in m.__all__]\n"
        f"m.MobileBertConfig.from_pretrained({str(tmp_path)!r}); print('huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"


def test_environment_variables(hub, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE are read by huggingface_hub when it is imported: a process each."""
    hub.publish(NAME, {"config.json": CONFIG})
    code = f"from mobilebert_core import MobileBertConfig as C; print(C.from_pretrained({NAME!r}).num_labels)"

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), **variables}
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)

    assert "HF_HUB_OFFLINE forbids asking it" in run(HF_HUB_OFFLINE="1").stderr
    assert run(HF_HUB_OFFLINE="0", HF_ENDPOINT=hub.endpoint, HF_TOKEN=MEMBER).stdout == "3\n"
    assert {request.token for request in hub.requests} == {MEMBER}
    assert (tmp_path / "home" / "hub" / "models--google--mobilebert-uncased").is_dir()
    hub.requests.clear()
    assert run(HF_HUB_OFFLINE="1").stdout == "3\n"
    assert hub.requests == []


# ------------------------------------------------------------------------------------------- what is downloaded


BEST_FIRST = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
    "tf_model.h5", "tf_model.h5.index.json",
)  # fmt: skip


@pytest.mark.parametrize("first", range(len(BEST_FIRST)))
def test_the_best_weights_alone_are_fetched(hub, first):
    assert WEIGHT_FILES == BEST_FIRST
    repository = {"config.json": CONFIG, "vocab.txt": VOCAB, "README.md": b"#", "flax_model.msgpack": b"x"}
    for name in BEST_FIRST[first:]:
        repository |= weights(name)
    commit = hub.publish(NAME, repository)
    folder = resolve(NAME, config=True, weights=True)
    wanted = {"config.json", *weights(BEST_FIRST[first])}
    assert folder.name == commit and names(folder) == wanted == set(hub.fetched())
    assert len(hub.fetched()) == len(wanted)  # each once
    assert all((folder / name).read_bytes() == repository[name] for name in wanted)


def test_what_is_needed_alone_is_fetched(hub):
    hub.publish(NAME, {"config.json": CONFIG, "vocab.txt": VOCAB, **weights("model.safetensors")})
    for need, wanted in (("config", "config.json"), ("weights", "model.safetensors"), ("tokenizer", "vocab.txt")):
        hub.requests.clear()
        resolve(NAME, **{need: True})
        assert hub.fetched() == [wanted]
    hub.requests.clear()
    assert resolve(NAME) == Path(NAME)
    assert hub.requests == []


@pytest.mark.parametrize(
    "shard",
    ["../evil.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\b", "C:evil", "a\0b", 3, None],
)
def test_shards_are_files_beside_their_index(hub, shard):
    files = {"config.json": CONFIG, "good.safetensors": b"x", "../evil.safetensors": b"x", "a/b.safetensors": b"x"}
    hub.publish(NAME, {**files, "model.safetensors.index.json": index("good.safetensors", shard)})
    with pytest.raises(
        CheckpointError, match=r"weight\.1 is said to be in .*wanted the name of a file beside the index"
    ):
        resolve(NAME, weights=True)
    assert hub.fetched() == ["model.safetensors.index.json"]


@pytest.mark.parametrize("content", [b"{}", b'{"weight_map": {}}', b'{"weight_map": ["a"]}', b"[", b"[]"])
def test_an_index_that_is_none(hub, content):
    hub.publish(NAME, {"model.safetensors.index.json": content})
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json: wanted"):
        resolve(NAME, weights=True)


def test_a_shard_that_is_not_there(hub):
    hub.publish(
        NAME, {"model.safetensors.index.json": index("one.safetensors", "two.safetensors"), "one.safetensors": b""}
    )
    with pytest.raises(
        CheckpointNotFoundError, match=r"wanted two\.safetensors, which model\.safetensors\.index\.json"
    ):
        resolve(NAME, weights=True)


@pytest.mark.parametrize("stem", ["mobilebert_variables.ckpt", "model.ckpt-28252"])
def test_checkpoints_of_tensorflow_1_come_last(hub, stem):
    files = {f"{stem}.{end}": end.encode() for end in ("index", "meta", "data-00000-of-00002", "data-00001-of-00002")}
    hub.publish(NAME, {"config.json": CONFIG, **files, "other.txt": b"x"})
    folder = resolve(NAME, weights=True)
    assert names(folder) == files.keys() - {f"{stem}.meta"}
    hub.publish(NAME, {**files, "other.ckpt.index": b"x"})
    with pytest.raises(CheckpointError, match=rf"wanted one checkpoint, the repository has {stem}, other\.ckpt"):
        resolve(NAME, weights=True)
    hub.publish(NAME, {**files, **weights("tf_model.h5")})
    assert names(resolve(NAME, weights=True)) == {"tf_model.h5"}


def test_a_checkpoint_of_tensorflow_1_comes_with_google_s_json(hub):
    files = {"uncased.json": b"{}", "model.ckpt.index": b"i", "model.ckpt.data-00000-of-00001": b"d"}
    hub.publish(NAME, {**files, "vocab.txt": VOCAB, "tokenizer.json": b"{}", "other/config.json": b"{}"})
    assert names(resolve(NAME, config=True, weights=True)) == files.keys()
    with pytest.raises(CheckpointNotFoundError, match=r"wanted config\.json, the repository has model\.ckpt"):
        resolve(NAME, config=True)
    hub.publish(NAME, {**files, **weights("tf_model.h5")})
    with pytest.raises(CheckpointNotFoundError, match=r"wanted config\.json, the repository has model\.ckpt"):
        resolve(NAME, config=True, weights=True)


def test_subfolders(hub):
    commit = hub.publish(NAME, {"config.json": b"no", "a/b/config.json": CONFIG, "a/b/tf_model.h5": b"x"})
    for subfolder in ("a/b", "a/b/", Path("a/b")):
        folder = resolve(NAME, config=True, weights=True, subfolder=subfolder)
        assert folder.parts[-3:] == (commit, "a", "b") and names(folder) == {"config.json", "tf_model.h5"}
    assert MobileBertConfig.from_pretrained(NAME, subfolder="a/b").num_labels == 3
    with pytest.raises(
        CheckpointNotFoundError, match=r"\(subfolder a\): wanted config\.json, the repository has b/config"
    ):
        MobileBertConfig.from_pretrained(NAME, subfolder="a")


def test_revisions(hub):
    old = hub.publish(NAME, {"config.json": CONFIG}, branch="v1")
    new = hub.publish(NAME, {"config.json": tiny_config(num_labels=7).to_json_string().encode()})
    labels = {
        passed: MobileBertConfig.from_pretrained(NAME, revision=passed).num_labels for passed in ("v1", old, new, None)
    }
    assert list(labels.values()) == [3, 3, 7, 7]
    with pytest.raises(CheckpointNotFoundError, match=r"the repository is at .* but it has no revision 'v2'"):
        MobileBertConfig.from_pretrained(NAME, revision="v2")


def test_files_are_of_one_commit_though_the_branch_moves(hub, monkeypatch):
    """A commit that is pushed between two downloads must not mix with the one before."""
    from mobilebert_core.hub.repository import Repository

    old = hub.publish(NAME, {"config.json": CONFIG, **weights("tf_model.h5")})
    find = Repository.find

    def find_and_push(self, file):
        found = find(self, file)
        hub.publish(NAME, {"config.json": b"new", "model.safetensors": b"new"})
        return found

    monkeypatch.setattr(Repository, "find", find_and_push)
    folder = resolve(NAME, config=True, weights=True)
    assert folder.name == old and names(folder) == {"config.json", "tf_model.h5"}
