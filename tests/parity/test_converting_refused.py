"""`mobilebert convert` when something is amiss: nothing is lost, nothing half-written, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conversion.converting import convert
from conversion.parity.deviation import ParityError
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.errors import CheckpointError, SaveError
from tests.parity.test_converting import WORDS, edit, place, values


def test_a_result_that_computes_something_else_is_not_published(checkpoint, tmp_path, monkeypatch):
    from conversion.verification import Verifier

    def worse(self):
        report = measured(self)
        report.rows[-1] = type(report.rows[-1])("loss", "loss", 0.5, 1.0, False)
        return report

    measured = Verifier.report
    monkeypatch.setattr(Verifier, "report", worse)
    with pytest.raises(ParityError, match=r"loss deviates by 5.0e-01 .* nothing was written"):
        convert(checkpoint("MaskedLM"), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".converting-*"))


def test_a_process_that_fails_says_so(checkpoint, tmp_path, monkeypatch):
    from conversion.verification import Verifier

    monkeypatch.setattr(Verifier, "_say", lambda self, message: print("no JSON", file=self._process.stdin, flush=True))
    with pytest.raises(ParityError, match="out.*: the process that compares .* failed: .*JSONDecodeError"):
        convert(checkpoint("MaskedLM"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("from_file", [True, False], ids=["file", "standard input"])
def test_a_script_without_a_guard_runs_once(checkpoint, tmp_path, from_file):
    """A process that ran the main script again, as multiprocessing's spawn does, would convert a second time."""
    code = (
        "import sys\nfrom conversion.converting import convert\nprint('runs')\n"
        f"print(convert({str(checkpoint('MaskedLM'))!r}, {str(tmp_path / 'out')!r}).report.ok)\n"
        "print([name for name in ('torch', 'tensorflow', 'keras') if name in sys.modules])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script) if from_file else "-"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    done = subprocess.run(command, input=code, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["runs", "True", "[]"], done.stderr


def test_nothing_runs_on_after_an_error(checkpoint, tmp_path, monkeypatch):
    """The process is killed, not waited for, whatever it does when the conversion fails."""
    from conversion import verification

    started, run_source = [], verification.Verifier.run_source

    def interrupted(self, source, model, drop):
        started.append(self._process)
        run_source(self, source, model, drop)
        raise KeyboardInterrupt

    monkeypatch.setattr(verification.Verifier, "run_source", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint("MaskedLM"), tmp_path / "out")
    assert [process.returncode for process in started] == [-signal.SIGKILL] and not (tmp_path / "out").exists()


def test_what_does_not_read_back_is_not_published(checkpoint, tmp_path, monkeypatch):
    from mobilebert_core.checkpoints import targets

    def careless(path, stored, read, size):
        return sharded(path, stored, lambda name: np.zeros_like(read(name)), size)

    sharded = targets.write_sharded
    monkeypatch.setattr(targets, "write_sharded", careless)
    with pytest.raises(CheckpointError, match="does not read back"):
        convert(checkpoint("MaskedLM"), tmp_path / "out", parity="none")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".converting-*"))


def test_nothing_is_replaced_unasked(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    convert(source, tmp_path / "out", parity="none")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    other = checkpoint("MaskedLM", seed=1, name="other")
    for to in ("pytorch", "pytorch-bin", "tensorflow"):
        with pytest.raises(CheckpointError, match=r"out: (there is|holds)"):
            convert(other, tmp_path / "out", to=to, parity="none")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    convert(other, tmp_path / "out", overwrite=True, max_shard_size="20KB", parity="none")
    assert not (tmp_path / "out/model.safetensors").exists()
    first, second = values(other), values(tmp_path / "out")
    assert all(np.array_equal(first[n], second[n]) for n in first)
    convert(source, tmp_path / "out", overwrite=True, parity="none")
    assert not list((tmp_path / "out").glob("*-of-*")) and not list((tmp_path / "out").glob("*.index.json"))
    with pytest.raises(CheckpointError, match="which is read before tf_model.h5"):
        convert(other, tmp_path / "out", to="tensorflow", overwrite=True, parity="none")
    for destination in (source, source / "model.safetensors"):
        with pytest.raises(CheckpointError, match="is the source itself|no format is written to such a file"):
            convert(source, destination, overwrite=True, parity="none")


def test_a_prefix_is_not_its_own_destination(checkpoint, tmp_path):
    made = convert(checkpoint("MaskedLM"), tmp_path / "g/m.ckpt", parity="none").destination
    before = {p.name: p.read_bytes() for p in made.parent.iterdir()}
    for source in (made, made.parent, tmp_path / "g/m.ckpt.index"):
        with pytest.raises(CheckpointError, match="is the source itself"):
            convert(source, made, overwrite=True, dtype="float16", parity="none")
    assert {p.name: p.read_bytes() for p in made.parent.iterdir()} == before


def test_an_interrupted_overwriting_leaves_no_mixture(checkpoint, tmp_path, monkeypatch):
    convert(checkpoint("MaskedLM"), tmp_path / "out", max_shard_size="20KB", parity="none")
    other = checkpoint("MaskedLM", seed=1, name="other")
    replace, done = os.replace, []

    def cut_off(source, target):
        if "out/model" in str(target) and not Path(target).name.startswith("."):
            done.append(target)
            if len(done) == 2:
                raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", cut_off)
    with pytest.raises(SaveError, match="was saved, but not every file could take its place .Input/output error"):
        convert(other, tmp_path / "out", max_shard_size="20KB", overwrite=True, parity="none")
    first, second = values(other), values(tmp_path / "out")
    assert first.keys() == second.keys() and all(np.array_equal(first[n], second[n]) for n in first)


def test_a_tokenizer_is_not_mixed_with_the_one_that_is_there(checkpoint, tmp_path):
    source, out = checkpoint("MaskedLM"), tmp_path / "out"
    (source / "vocab.txt").write_text("new")
    (source / "tokenizer_config.json").write_text("{}")
    out.mkdir()
    (out / "vocab.txt").write_text("old")
    with pytest.raises(CheckpointError, match=r"out: vocab\.txt would be replaced"):
        convert(source, out / "a.keras", parity="none")
    assert [path.name for path in out.iterdir()] == ["vocab.txt"] and (out / "vocab.txt").read_text() == "old"


def test_overwriting_takes_the_tokenizer_along(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    convert(source, tmp_path / "out", parity="none")
    (tmp_path / "out/vocab.txt").write_text("old")
    (tmp_path / "out/added_tokens.json").write_text("{}")
    (source / "vocab.txt").write_text("new")
    convert(source, tmp_path / "out", overwrite=True, parity="none")
    assert (tmp_path / "out/vocab.txt").read_text() == "new" and not (tmp_path / "out/added_tokens.json").exists()


def test_overwriting_a_file_leaves_its_neighbours_whole(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    convert(source, source / "x.weights.h5", parity="none")
    other = checkpoint("MaskedLM", name="other", num_hidden_layers=1)
    with pytest.raises(CheckpointError, match="config.json would be replaced, on which model.safetensors relies"):
        convert(other, source / "x.weights.h5", overwrite=True, parity="none")
    values(source)
    convert(source, tmp_path / "tf" / "m.ckpt", parity="none")
    for path in [*(tmp_path / "tf").glob("m.ckpt.*")]:
        path.rename(path.with_name(path.name.replace("m.ckpt", "m.ckpt-1000")))
    with pytest.raises(CheckpointError, match=r"would be replaced, on which m.ckpt-1000.index relies"):
        convert(other, tmp_path / "tf" / "m.ckpt", overwrite=True, parity="none")


def test_nothing_runs_that_lies_in_the_working_directory(checkpoint, tmp_path, monkeypatch):
    source = checkpoint("MaskedLM")
    (tmp_path / "random.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    assert convert(source, tmp_path / "out").report.ok and not (tmp_path / "ran").exists()


def test_a_disk_without_room(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(CheckpointError, match=r"out: about .* bytes are needed, the disk has 1,000"):
        convert(checkpoint("MaskedLM"), tmp_path / "out", to="tensorflow", parity="none")


@pytest.mark.parametrize("name", ["m.h5", "m.safetensors", "m.bin", "m.ckpt.index"])
def test_files_that_no_format_is_written_to(checkpoint, tmp_path, name):
    with pytest.raises(CheckpointError, match="no format is written to such a file. pytorch, .*see --to"):
        convert(checkpoint("MaskedLM"), tmp_path / name, parity="none")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/m.ckpt: this format is one file"):
        convert(checkpoint("MaskedLM"), tmp_path / "m.ckpt", max_shard_size=5, parity="none")


def test_parents_made_for_nothing_go(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    edit(source, lambda a: a[WORDS].__setitem__((3, 4), np.nan))
    with pytest.raises(CheckpointError, match="NaN"):
        convert(source, tmp_path / "p/q/out", parity="none")
    assert not (tmp_path / "p").exists()


def test_a_file_does_not_take_its_neighbours_configuration(checkpoint, tmp_path):
    convert(checkpoint("MaskedLM"), tmp_path / "a.weights.h5", parity="none")
    other = checkpoint("MaskedLM", name="other", num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"config.json would be replaced"):
        convert(other, tmp_path / "b.weights.h5", parity="none")
    assert not (tmp_path / "b.weights.h5").exists()


@pytest.mark.parametrize("target", OUTPUT_FORMATS)
def test_a_full_disk_leaves_nothing(checkpoint, tmp_path, target, monkeypatch):
    source = checkpoint("MaskedLM")

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        convert(source, place(tmp_path / "out", target), to=target, parity="none")
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_source_that_is_replaced_meanwhile_is_not_converted(checkpoint, tmp_path):
    """Its record said the digests of the new files, and its tokenizer was theirs, beside the old weights."""
    source = checkpoint("MaskedLM")

    def save(step):
        if step == "read back":
            edit(source, lambda arrays: None)  # the same bytes in another file

    with pytest.raises(
        CheckpointError, match=r"wanted the same files from beginning to end, .* .model\.safetensors.: some"
    ):
        convert(source, tmp_path / "out", parity="none", progress=save)
    assert not (tmp_path / "out").exists()
