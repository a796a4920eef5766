"""Saves: what is left when they are killed, who may write beside whom, and what readers see meanwhile."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mobilebert_core.checkpoints.containers.safetensors import save_weights
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.checkpoints.opening import as_one, open_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, SaveError
from mobilebert_core.files import is_there, replacing, tokenizer_place, write_text
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.saves import SAVED, STAGE, arriving, current, home, saving
from mobilebert_core.steady_reads import steady
from mobilebert_core.text.tokenization import MobileBertTokenizer
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast
from tests.core.killed_saves import CASES, NEW, NOTHING, OLD, SIGNS, found, save

ROOT = Path(__file__).parents[2]
slow = pytest.mark.slow
FAST = {"google", "new"}


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("case", [c if c in FAST else pytest.param(c, marks=slow) for c in CASES])
def test_a_kill_at_any_moment_leaves_the_old_checkpoint_or_the_new_one(tmp_path, case):
    command = [sys.executable, "-m", "tests.core.killed_saves", case, str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    old = OLD if CASES[case][0] else NOTHING
    assert seen.keys() == {old, NEW, "left"} and seen["left"] == 0, seen
    assert seen[old] >= 4 and seen[NEW] >= 1


BESIDE = {"pytorch": (30, None), "google": (30, None), "shards": (300, slow), "h5-shards": (100, slow)}


@pytest.mark.parametrize(
    ("case", "loads"), [pytest.param(case, loads, marks=mark or ()) for case, (loads, mark) in BESIDE.items()]
)
def test_loads_beside_a_writer_are_whole(tmp_path, case, loads):
    """Old and new are saved in turn all the time: each load is one of the two, or says that it could not be."""
    command = [sys.executable, "-m", "tests.core.killed_saves", case, str(tmp_path / "work"), "in-turn"]
    writer = subprocess.Popen(command, cwd=ROOT)
    try:
        while found(tmp_path / "work") == NOTHING:
            assert writer.poll() is None
        seen = Counter(found_or_said(tmp_path / "work") for _ in range(loads))
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    assert {OLD, NEW} <= seen.keys() <= {OLD, NEW, "said"} and seen["said"] <= loads // 10, seen


def found_or_said(folder):
    """Where processes share few cores a reader may come too late each time; then it says so, and loads nothing."""
    try:
        return found(folder)
    except CheckpointError as e:
        assert "its files were replaced each time they were read" in str(e)
        return "said"


@pytest.mark.parametrize("case", [*OUTPUT_FORMATS, "shards", "h5-shards"])
def test_a_full_disk_is_an_error_of_ours_and_keeps_the_old_checkpoint(tmp_path, case):
    """In a process of its own: HDF5 used to take the whole process down, at its end."""
    command = [sys.executable, "-m", "tests.core.killed_saves", case, str(tmp_path / "work"), "full"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = r"/work(/\S+)?: cannot be written \(File too large\); what was there before is kept\. Free some space"
    found = json.loads(done.stdout)
    assert len(found) == 3 and all(re.search(wanted, message) for message in found.values())


def test_a_place_that_cannot_be_is_no_full_disk(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out", tmp_path / ("long" * 100)):
        with pytest.raises(SaveError, match=r"kept\. Choose another place\.$"):
            several(place, "new")


def several(folder, text):
    """Two files at once."""
    with saving(folder) as save:
        for name in ("a.json", "b"):
            (save.stage / name).write_text(text)


@pytest.mark.parametrize("case", [*OUTPUT_FORMATS, "shards", "h5-shards"])
def test_an_opened_checkpoint_stays_what_it_was(tmp_path, case):
    _, _, name, size = CASES[case]
    save(tmp_path, OLD, name, size)
    checkpoint = open_checkpoint(tmp_path)
    save(tmp_path, NEW, name, size)
    config = checkpoint.config()
    seen = checkpoint.weights(config)
    values = {config.hidden_dropout_prob, *(float(v) for n in seen.stored for v in np.unique(seen.read(n)))}
    assert values == {SIGNS[OLD]} and found(tmp_path) == NEW


@pytest.mark.parametrize("name", ["pytorch", "pytorch-bin", "keras"])
def test_a_program_that_writes_into_the_open_file_is_found_out(tmp_path, name):
    save(tmp_path / "new", NEW, name, None)
    save(tmp_path / "old", OLD, name, None)
    checkpoint = open_checkpoint(tmp_path / "old")
    seen = checkpoint.weights(checkpoint.config())
    with checkpoint.path.open("r+b") as file:  # whose size stays
        file.write((tmp_path / "new" / checkpoint.path.name).read_bytes())
    with pytest.raises(CheckpointError, match="was written to while it was read|checksum|damaged"):
        for weight in seen.stored:
            seen.read(weight)


def test_a_configuration_and_a_tokenizer_on_their_way(tmp_path, monkeypatch):
    """Of a save that was decided when its process died, every reader takes the new files."""
    vocabularies = [["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", word] for word in ("old", "new")]
    tokenizers = []
    for vocabulary in vocabularies:
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
        tokenizers.append(MobileBertTokenizerFast(str(tmp_path / "vocab.txt")))
    place = tmp_path / "model"
    save(place, OLD, "pytorch", None)
    tokenizers[0].save_pretrained(place)
    replace = os.replace

    def failing(source, target):
        if target.suffix == ".json":
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(SaveError):
        tokenizers[1].save_pretrained(place)
    for tokenizer_class in (MobileBertTokenizer, MobileBertTokenizerFast):
        found = tokenizer_class.from_pretrained(place)
        assert "new" in found.get_vocab() and "old" not in found.get_vocab()
    with pytest.raises(SaveError):
        save(place, NEW, "pytorch", None)  # which finishes the other one first, if it can
    monkeypatch.undo()
    save(place, NEW, "pytorch", None)
    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(SaveError):
        save(place, OLD, "pytorch", None)
    assert not (place / "config.json").exists()
    for path in (place, place / "config.json"):
        assert MobileBertConfig.from_pretrained(path).hidden_dropout_prob == SIGNS[OLD]


def test_what_is_read_as_one_may_lie_beside_a_log(tmp_path):
    """Any JSON file that was written meanwhile counted: a model beside a log of numbers could not be loaded."""
    calls = []

    def read():
        calls.append(0)
        write_text(tmp_path / "numbers.json", str(len(calls)))
        if len(calls) == 1:
            write_text(tmp_path / "config.json", "{}")
        return len(calls)

    assert as_one(tmp_path, read) == 2  # again for the configuration alone


def test_a_checkpoint_known_by_its_prefix_is_there_while_its_index_is_on_its_way(tmp_path, monkeypatch):
    """Its tokenizer was not found, and a relative path was looked for on the hub."""
    prefix, replace = tmp_path / f"m{OUTPUT_FORMATS['google'].written.ending}", os.replace
    save(tmp_path, OLD, "google", None)

    def failing(source, target):
        if target.suffix == ".index":
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(SaveError):
        save(tmp_path, NEW, "google", None)
    assert not Path(f"{prefix}.index").exists() and found(prefix) == NEW
    assert is_there(prefix) and tokenizer_place(prefix) == tmp_path
    monkeypatch.chdir(tmp_path.parent)
    relative = prefix.relative_to(tmp_path.parent)
    assert resolve(str(relative), weights=True) == relative


@pytest.fixture
def cut_off(tmp_path, monkeypatch):
    """A folder whose last save was decided, but has only one of its files in its place."""
    folder = tmp_path / "folder"
    several(folder, "old")
    replace = os.replace

    def failing(source, target):
        if target == folder / "a.json":
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(SaveError, match="was saved, but not every file could take its place"):
        several(folder, "new")
    monkeypatch.undo()
    assert names(folder) == [SAVED, "b"]
    return folder


def test_files_on_their_way_are_read_where_they_are(cut_off):
    assert current(cut_off / "a.json") == arriving(cut_off) / "a.json" == cut_off / SAVED / "a.json"
    assert current(cut_off / "a.json").read_text() == current(cut_off / "b").read_text() == "new"
    assert home(current(cut_off / "a.json")) == cut_off / "a.json"
    assert current(cut_off / "other") == cut_off / "other"


def test_the_next_save_finishes_the_last(cut_off):
    write_text(cut_off / "c", "")
    assert names(cut_off) == ["a.json", "b", "c"] and (cut_off / "a.json").read_text() == "new"


@pytest.mark.parametrize("name", ["a.json", "b"])
def test_what_another_program_wrote_since_is_newer(cut_off, name):
    (cut_off / "theirs").write_text("newest of all")
    os.replace(cut_off / "theirs", cut_off / name)
    assert arriving(cut_off) is None and current(cut_off / name) == cut_off / name
    write_text(cut_off / "c", "")
    assert (cut_off / name).read_text() == "newest of all" and SAVED not in names(cut_off)


def test_what_is_no_manifest_is_nobodys_save(cut_off):
    for content in (b"", b"\xff", b"[]", b'{"files": 1, "stale": {}}', b'{"files": {"a.json": 3}, "stale": {}}'):
        (cut_off / SAVED / "manifest").write_bytes(content)
        assert arriving(cut_off) is None


def test_a_file_system_without_second_names(tmp_path, monkeypatch):
    def refused(*args):
        raise OSError(1, "Operation not permitted")

    several(tmp_path, "old")
    monkeypatch.setattr("os.link", refused)
    several(tmp_path, "new")
    assert names(tmp_path) == ["a.json", "b"] and (tmp_path / "b").read_text() == "new"


def test_an_equal_text_is_left_alone(tmp_path, monkeypatch):
    """One renaming is left where nothing but the weights has changed: no reader at all sees two saves."""
    several(tmp_path, "same")
    before, replaced, replace = (tmp_path / "a.json").stat(), [], os.replace
    monkeypatch.setattr("os.replace", lambda *paths: (replaced.append(paths[1].name), replace(*paths)))
    several(tmp_path, "same")
    assert replaced == ["b"] and (tmp_path / "a.json").stat() == before


def save_tree(folder, text, *names, stale=()):
    with saving(folder) as save:
        for name in names:
            (save.stage / name).parent.mkdir(parents=True, exist_ok=True)
            (save.stage / name).write_text(text)
        save.stale |= {re.compile(re.escape(name)) for name in stale}


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_files_in_folders_take_their_places_and_the_stale_ones_go(tmp_path):
    save_tree(tmp_path, "old", "a/model", "a/b/part", "config.json")  # the folder is there already, and empty
    assert tree(tmp_path) == dict.fromkeys(("a/model", "a/b/part", "config.json"), "old")
    save_tree(tmp_path, "new", "a/model", "c/model", "config.json", stale=("a/model", "a/b/part"))
    assert tree(tmp_path) == dict.fromkeys(("a/model", "c/model", "config.json"), "new")
    save_tree(tmp_path, "alone", "d/model")
    assert tree(tmp_path)["d/model"] == "alone"


def test_a_file_where_a_folder_is_to_be_is_left(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(CheckpointError, match="a: is a file where a directory is to be"):
        save_tree(tmp_path, "new", "a/model", "b")
    assert tree(tmp_path) == {"a": "mine"}


def test_the_stage_of_a_living_writer_stays_and_that_of_a_dead_one_goes(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "b") as second:
        first.write_text("a")
        second.write_text("b")
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == ["a", "b"]
    (tmp_path / f"{STAGE}dead").mkdir()
    (tmp_path / f"{STAGE}dead" / "half").write_text("")
    write_text(tmp_path / "a", "again")
    assert names(tmp_path) == ["a", "b"]


def test_no_file_takes_the_place_of_a_device_a_pipe_or_a_stream(tmp_path):
    """Renaming would: `--output /dev/null` left a file there for everyone on the machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "stream").symlink_to("/proc/self/fd/1")  # as /dev/stdout, which may be a file
    (tmp_path / "null").symlink_to("/dev/null")
    before = {path.name: (path.lstat().st_ino, path.lstat().st_mode) for path in tmp_path.iterdir()}
    for name, what in (("pipe", "a device, a pipe"), ("stream", "a link to a device"), ("null", "a link to a device")):
        with pytest.raises(CheckpointError, match=rf"{name} is {what}.* where a file is to be.*nothing was written"):
            write_text(tmp_path / name, "text")
        with pytest.raises(CheckpointError, match=f"{name} is {what}"), saving(tmp_path) as save:
            (save.stage / name).write_text("text")
    assert {path.name: (path.lstat().st_ino, path.lstat().st_mode) for path in tmp_path.iterdir()} == before


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(CheckpointError, match="a is a directory where a file is to be"):
        write_text(tmp_path / "a", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="file/a: cannot be written .Not a directory.; what was there before is kept"):
        write_text(tmp_path / "file" / "a", "")
    assert names(tmp_path) == ["a", "file"]


def test_a_link_to_a_directory_that_is_still_to_be_made(tmp_path):
    (tmp_path / "link").symlink_to("elsewhere/model")
    write_text(tmp_path / "link" / "a", "new")
    assert (tmp_path / "elsewhere" / "model" / "a").read_text() == "new" and (tmp_path / "link").is_symlink()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(SaveError, match="round/a: cannot be written"):
        write_text(tmp_path / "round" / "a", "new")
    assert names(tmp_path) == ["elsewhere", "link", "round"]


def test_a_reader_begins_again_when_a_writer_came_in_between(tmp_path):
    several(tmp_path, "old")
    read = []

    def both():
        first = current(tmp_path / "a.json").read_text()
        if not read:
            several(tmp_path, "new")
        read.append((first, current(tmp_path / "b").read_text()))
        return read[-1]

    assert steady(tmp_path, both, lambda name: name in "a.json b") == ("new", "new")
    assert read == [("old", "new"), ("new", "new")]


def test_a_folder_that_does_not_come_to_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    many = iter(range(1000))
    with pytest.raises(CheckpointError, match="its files were replaced each time they were read"):
        steady(tmp_path, lambda: write_text(tmp_path / "a.json", str(next(many))), lambda name: True)


def test_leftovers_of_other_versions_are_no_checkpoints(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from tests.core.killed_saves import *; save(Path(sys.argv[1]), OLD, 'keras', None)",
         str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (tmp_path / f".{'0' * 32}.m.keras").write_bytes(b"PK\x03\x04 half")
    assert found(tmp_path) == OLD


def test_where_one_file_is_written_an_error_names_it(tmp_path):
    """`parity --json`, `vocab train` and answers in Parquet named the directory."""
    for write in (lambda path: write_text(path, "{}"), lambda path: save_weights(path, {"a": np.zeros(1)})):
        (tmp_path / "no").write_text("no directory")
        with pytest.raises(SaveError, match="no/a: cannot be written .Not a directory"):
            write(tmp_path / "no" / "a")
    with pytest.raises(SaveError, match="yes/a: cannot be written .Permission denied.*this user may read and write"):  # noqa: SIM117
        with replacing(tmp_path / "yes" / "a"):
            raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(SaveError, match="yes: cannot be written"), saving(tmp_path / "yes"):
        raise PermissionError(errno.EACCES, "Permission denied")
