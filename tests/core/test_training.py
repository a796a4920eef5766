"""The parts of a training that no framework computes: initial weights, order, learning rates, files on disk."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from mobilebert_core import CheckpointError, ConfigError
from mobilebert_core.errors import MobileBertError
from mobilebert_core.files import sha256
from mobilebert_core.heads import HEADS
from mobilebert_core.tasks.zero_shot import entailment_classes
from mobilebert_core.training.following import run_directory as opened
from mobilebert_core.training.initialization import initial_arrays
from mobilebert_core.training.order import epoch_batches
from mobilebert_core.training.ranks import Ranks
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_directory import RunDirectory, read_curves
from mobilebert_core.training.soft_labels import order_of_labels
from mobilebert_core.training.tasks.labelled_task import NoneOfUseError
from mobilebert_core.training.trainer import TrainerBase
from mobilebert_core.weights import weight_table
from tests.tiny import tiny_config


def test_fresh_weights_depend_on_seed_and_name_alone():
    config = tiny_config()
    table = [w for w in weight_table(config, HEADS["PreTraining"]) if w.tied_to is None]
    whole, some, other = (
        initial_arrays(table, config, 3),
        initial_arrays(table[5:9], config, 3),
        initial_arrays(table, config, 4),
    )
    assert all(np.array_equal(some[name], whole[name]) for name in some)
    matrix = "mobilebert.embeddings.embedding_transformation.weight"
    assert not np.array_equal(whole[matrix], other[matrix])
    assert np.abs(whole[matrix]).max() <= 2 * config.initializer_range < 2.2 * np.abs(whole[matrix]).max()
    assert whole[matrix].std() == pytest.approx(0.88 * config.initializer_range, rel=0.05)  # a normal cut at 2
    assert not whole["mobilebert.embeddings.word_embeddings.weight"][0].any()
    assert (whole["mobilebert.embeddings.LayerNorm.weight"] == 1).all()
    assert {w.name for w in table} == whole.keys() and all(whole[w.name].shape == w.shape for w in table)


def test_every_row_comes_once_an_epoch_in_batches_of_like_length():
    lengths = np.random.default_rng(0).integers(3, 60, 1003)
    batches = epoch_batches(lengths, 8, 1, 0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1003)) and len(batches) == 126
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 5 < np.mean([np.ptp(lengths[i : i + 8]) for i in range(0, 1000, 8)])
    again, next_epoch = epoch_batches(lengths, 8, 1, 0), epoch_batches(lengths, 8, 1, 1)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(batches, next_epoch, strict=True))


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(learning_rate=1.0, warmup=0.1)
    rates = [recipe.learning_rate_at(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10) and max(rates) == 1.0
    assert np.all(np.diff(rates[10:]) < 0) and 0 < rates[-1] < 0.02
    assert Recipe(warmup=0.0).learning_rate_at(0, 1) == np.float32(8e-5)


def test_steps_of_a_recipe():
    assert Recipe(batch_size=8, epochs=3).steps(20) == 9
    assert Recipe(batch_size=8, accumulate=2, epochs=3).steps(20) == 6
    assert Recipe(batch_size=8, epochs=3, max_steps=4).steps(20) == 4


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learning_rate", 0, "learning_rate must be a number above 0"),
        ("learning_rate", float("nan"), "learning_rate must be a number above 0"),
        ("batch_size", 2.5, "batch_size must be a whole number of at least 1"),
        ("epochs", 0, "epochs must be a whole number of at least 1"),
        ("warmup", 1.0, "warmup must be a number from 0 to below 1"),
        ("seed", -1, "seed must be a whole number of at least 0"),
        ("seed", 2**32, "seed must be a whole number below"),
        ("batch_size", 10**400, "batch_size must be a whole number below"),
        ("learning_rate", 10**400, "learning_rate must be a number above 0"),
        ("weight_decay", -0.1, "weight_decay must be a number of at least 0"),
        ("clip_norm", 0, "clip_norm must be a number above 0"),
    ],
)
def test_recipes_that_cannot_be(field, value, message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**{field: value})


class FakeTrainer:
    def __init__(self, value):
        self.value = value

    def save(self, directory):
        (directory / "model").write_text(str(self.value))

    def state(self):
        return {"steps": np.array([self.value])}


def run_directory(tmp_path, resume=False):
    return RunDirectory(tmp_path / "out", {"recipe": {"seed": 1}}, resume)


def test_curves_are_cut_back_to_the_saved_state(tmp_path):
    first = run_directory(tmp_path)
    first.begin(0)
    for step in range(1, 6):
        first.line(step, step / 10, 0.1, 1 / 3)
        if step == 3:
            first.save(FakeTrainer(3), {"step": 3, "best": {}})
            first.scored(3, 0.3, {"f1": 0.5})
    assert len({path.stat().st_mode for path in (tmp_path / "out" / "resume").iterdir()}) == 1  # all read alike
    first.close()
    with (tmp_path / "out" / "curves.csv").open("a") as curves:
        curves.write("6,0.6")  # a line that a kill cut short
    second = run_directory(tmp_path, resume=True)
    state, progress = second.load()
    assert state["steps"].tolist() == [3] and progress == {"step": 3, "best": {}}
    second.begin(3)
    second.line(4, 0.4, 0.1, 2.0)
    second.close()
    assert [row["step"] for row in read_curves(tmp_path / "out" / "curves.csv")] == ["1", "2", "3", "4"]
    assert b"\r" not in (tmp_path / "out" / "curves.csv").read_bytes()
    assert read_curves(tmp_path / "out" / "curves.csv")[0]["loss"] == repr(1 / 3)
    assert read_curves(tmp_path / "out" / "scores.csv") == [{"step": "3", "epoch": "0.3", "f1": "0.5"}]


@pytest.mark.parametrize(("nth", "step"), [(1, 1), (2, 2)])
def test_an_interruption_between_the_renames_leaves_a_whole_state(tmp_path, monkeypatch, nth, step):
    first = run_directory(tmp_path)
    first.begin(0)
    first.save(FakeTrainer(1), {"step": 1, "best": {}})
    replace, calls = os.replace, []

    def interrupted(source, target):
        if "resume" in str(target):
            calls.append(source)
            if len(calls) == nth:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.save(FakeTrainer(2), {"step": 2, "best": {}})
    first.close()
    monkeypatch.undo()
    state, progress = run_directory(tmp_path, resume=True).load()
    assert state["steps"].tolist() == [step] and progress["step"] == step
    assert not list((tmp_path / "out").glob(".*"))


def test_a_damaged_state_is_told(tmp_path):
    first = run_directory(tmp_path)
    first.begin(0)
    first.save(FakeTrainer(1), {"step": 1, "best": {}})
    first.close()
    (tmp_path / "out" / "resume" / "state.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(CheckpointError, match="the saved state cannot be read"):
        run_directory(tmp_path, resume=True).load()


def test_a_directory_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="wanted a new or empty directory"):
        run_directory(tmp_path)


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_without_a_training_loses_nothing(tmp_path, resume):
    kept = [tmp_path / "out" / name / "mine" for name in (".resume-drafts", ".mobilebert-save-1")]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_text("x")
    with pytest.raises(ConfigError, match="wanted a new or empty directory"):
        run_directory(tmp_path, resume)
    assert all(path.read_text() == "x" for path in kept)


def test_a_kill_before_the_settings_are_written_is_no_hindrance(tmp_path):
    (tmp_path / "out" / ".mobilebert-save-1").mkdir(parents=True)
    again = run_directory(tmp_path)
    again.begin(0)
    again.close()
    assert not list((tmp_path / "out").glob(".mobilebert-save-*"))


class OtherDisk(Ranks):
    """The first of two ranks; what the second one sees is `theirs`."""

    def __init__(self, theirs):
        self.theirs = theirs

    def gather(self, value):
        return [value, self.theirs]


def test_ranks_that_see_no_saved_state_are_told(tmp_path):
    first = run_directory(tmp_path)
    first.begin(0)
    first.save(FakeTrainer(1), {"step": 1, "best": {}})
    first.close()
    settings = {"recipe": {"seed": 1}}
    digest = sha256(tmp_path / "out" / "resume" / "progress.json")
    for theirs in (None, "0" * 64):
        with pytest.raises(ConfigError, match=r"that every process sees, got another saved state.* process 1\. Take"):
            opened(OtherDisk(theirs), tmp_path / "out", settings, resume=True)
    assert opened(OtherDisk(digest), tmp_path / "out", settings, resume=True).saved
    assert opened(OtherDisk(None), tmp_path / "new", settings, resume=True).saved is None


def test_a_training_that_saved_nothing_is_no_hindrance(tmp_path):
    first = run_directory(tmp_path)
    first.begin(0)
    first.line(1, 0.1, 0.1, float("nan"))
    first.close()
    again = RunDirectory(tmp_path / "out", {"recipe": {"seed": 2}}, resume=False)
    assert again.saved is None
    again.begin(0)
    again.close()
    assert read_curves(tmp_path / "out" / "curves.csv") == []


def test_weights_of_a_folded_model_start_as_their_modules_do():
    config = tiny_config(folding="half")
    table = [w for w in weight_table(config, HEADS["Model"]) if w.kind in ("gain", "exponents")]
    arrays = initial_arrays(table, config, 0)
    assert {w.kind: set(arrays[w.name].tolist()) for w in table} == {"gain": {1.0}, "exponents": {0.0}}


def test_a_trainer_needs_something_to_start_from():
    with pytest.raises(ConfigError, match="wanted a checkpoint or a config, got neither"):
        TrainerBase.start("Model", None, Recipe())


def every_error(kind=MobileBertError):
    return [kind, *(each for under in kind.__subclasses__() for each in every_error(under))]


def test_errors_reach_another_process_as_they_are():
    """Ranks send theirs to each other."""
    assert NoneOfUseError in every_error()
    for kind in every_error():
        found = pickle.loads(pickle.dumps(kind("what was wrong")))
        assert type(found) is kind and str(found) == "what was wrong"
    assert pickle.loads(pickle.dumps(NoneOfUseError("none", ["why"]))).skipped == ["why"]


def test_labels_may_be_numbers():
    theirs, ours = (tiny_config(id2label=dict(enumerate(names))) for names in ((1, 2.5), (2.5, 1)))
    assert order_of_labels(theirs, ours, "SequenceClassification") == [1, 0]
    assert order_of_labels(tiny_config(id2label={0: 3, 1: 4}), tiny_config(num_labels=2), "SequenceClassification") == [
        0,
        1,
    ]
    assert entailment_classes({0: 7, 1: "entailment"}) == (1, 0)
