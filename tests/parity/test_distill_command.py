"""`mobilebert distill`: from text and a teacher to a student that fills masks."""

from __future__ import annotations

import json
import signal
from types import SimpleNamespace

import pytest

from mobilebert import pipeline
from mobilebert.cli import main
from mobilebert.distillation import Distillation
from mobilebert.distillation_report import transfer_card
from mobilebert_core import CheckpointError, ConfigError, MobileBertConfig, MobileBertTokenizerFast
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.demo_model import DEMO_VOCABULARY
from mobilebert_core.training.knowledge_transfer import TransferSettings
from mobilebert_core.training.knowledge_transfer_course import TransferCourse
from mobilebert_core.training.loop import TrainingLoop
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_checks import read_curves
from tests.parity.train_tasks import signalled
from tests.tiny import BRANCHES, TINY

SIZES = {**TINY, "vocab_size": 8000, "max_position_embeddings": 37, "num_feedforward_networks": 1}
SENTENCES = [
    "The bees were kept by Mary.", "She sold honey at the market.", "It rained all day.", "Nobody came to buy any.",
    "The old house stood on a hill.", "Its windows looked over the sea.", "Ships passed in the night.",
    "Their lights went slowly by.",
]  # fmt: skip


@pytest.fixture
def places(checkpoint, tmp_path):
    """A teacher of random weights with its tokenizer, a student's configuration, and text in two files."""
    teacher = {**SIZES, **BRANCHES["teacher"], "num_hidden_layers": 4}
    path = checkpoint("PreTraining", name="teacher", **teacher)
    MobileBertTokenizerFast(str(DEMO_VOCABULARY)).save_pretrained(path)
    student = tmp_path / "student.json"
    MobileBertConfig(**{**SIZES, "classifier_activation": True}).to_json_file(student)
    for name, turns in (("one", 3), ("two", 2), ("dev", 1)):
        lines = "\n\n".join("\n".join(SENTENCES[i : i + 4]) for i in (0, 4)) + "\n\n"
        (tmp_path / f"{name}.txt").write_text(lines * turns)
    return {"teacher": str(path), "student": str(student), "data": [tmp_path / "one.txt", tmp_path / "two.txt"]}


def made(places, output, **changes):
    steps = sum(changes["settings"].stage_steps or ()) if "settings" in changes else 0
    recipe = {"batch_size": 4, "max_steps": steps or 9, "epochs": 9}
    return Distillation(**{**places, "output": output, "changes": recipe, **changes})


def test_the_command_teaches_a_student(places, tmp_path, capsys):
    output = tmp_path / "out"
    words = [
        "--teacher", places["teacher"], "--student", places["student"], "--data", *map(str, places["data"]),
        "--dev", str(tmp_path / "dev.txt"), "--output", str(output), "--batch-size", "4", "--stages", "2", "3", "4",
        "--max-length", "24",
    ]  # fmt: skip
    assert main(["distill", *words]) == 0
    said = capsys.readouterr()
    assert "dev       loss" in said.out and "follow these of the teacher's 4: 2 4" in said.err
    curves = read_curves(output / "curves.csv")
    assert [row["stage"] for row in curves] == ["1.0"] * 2 + ["2.0"] * 3 + ["3.0"] * 4
    assert (
        [bool(row["attention"]) for row in curves]
        == [bool(row["feature"]) for row in curves]
        == [True] * 5 + [False] * 4
    )
    assert (
        [bool(row["soft"]) for row in curves]
        == [bool(row["next_sentence"]) for row in curves]
        == [False] * 5 + [True] * 4
    )
    total = [
        sum(float(v) for n, v in row.items() if v and n not in ("step", "epoch", "learning_rate", "loss", "stage"))
        for row in curves
    ]
    assert total == pytest.approx([float(row["loss"]) for row in curves], rel=1e-5)
    assert [int(row["step"]) for row in read_curves(output / "scores.csv")][:2] == [2, 5]
    results = json.loads((output / "training.json").read_text())
    assert results["finished"] and [s["steps"] for s in results["stages"]] == [2, 3, 4] and results["dev"]["step"] > 5
    card = (output / "README.md").read_text()
    assert "progressive: block by block" in card and "| block 2 of 2 | 3 |" in card
    saved = MobileBertConfig.from_pretrained(output)
    assert saved.attention_probs_dropout_prob == 0.1 and not saved.sparse_prediction
    assert len(pipeline("fill-mask", str(output))("the [MASK] were kept.")) == 5


def test_the_card_names_a_preset_and_the_sizes_that_the_student_has(tmp_path):
    sizes = MobileBertConfig.from_preset("mobilebert-6x192").copy(num_hidden_layers=3)
    asked = SimpleNamespace(student="mobilebert-6x192", teacher="teacher", data=tmp_path, output=tmp_path,
                            settings=TransferSettings(), backend="torch", precision="float32")  # fmt: skip
    results = {"rows": {"train": 9}, "notes": [], "stages": [], "dev": {}}
    said = transfer_card(asked, Recipe(), SimpleNamespace(student=sizes, teacher=sizes), results)
    assert "**Student:** `mobilebert-6x192` (a small MobileBERT): 3 blocks, 192 between and 64 inside them, voc" in said


@pytest.mark.parametrize("strategy", ["auxiliary", "distilbert", "minilm"])
def test_other_strategies_end(places, tmp_path, strategy):
    results = made(places, tmp_path / "out", settings=TransferSettings(strategy=strategy), task="fill-mask").run()
    assert results["finished"] and sum(stage["steps"] for stage in results["stages"]) == 9


@pytest.mark.parametrize(
    ("backend", "strategy", "stages", "stops"),
    [
        ("torch", "progressive", (3, 3, 3), (4, 5, 8)),  # behind the end of a stage, and in the middle of two
        ("torch", "tinybert", (5, 4), (4,)),  # with weights of the objective itself
        pytest.param("keras", "progressive", (3, 3), (6,), marks=pytest.mark.slow),
    ],
)
def test_a_transfer_goes_on_where_it_was_killed(places, tmp_path, monkeypatch, backend, strategy, stages, stops):
    """Curves and weights are those of a training that was not killed."""
    settings = TransferSettings(strategy=strategy, stage_steps=stages)
    common = {"backend": backend, "save_every": 2, "settings": settings}
    whole = tmp_path / "whole"
    made(places, whole, **common).run()
    cut, original = tmp_path / "cut", TrainingLoop._show
    for stop in stops:

        def show(self, bar, loss, rate, cells, stop=stop):
            original(self, bar, loss, rate, cells)
            if len(read_curves_of(self)) == stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(TrainingLoop, "_show", show)
        with pytest.raises(KeyboardInterrupt):
            made(places, cut, **common, resume=cut.exists()).run()
    monkeypatch.setattr(TrainingLoop, "_show", original)
    made(places, cut, **common, resume=True).run()
    assert (cut / "curves.csv").read_text() == (whole / "curves.csv").read_text()
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_transfer_that_was_told_to_end_goes_on_in_the_middle_of_a_stage(places, tmp_path, monkeypatch):
    settings = TransferSettings(stage_steps=(2, 2, 2))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    made(places, whole, settings=settings).run()
    with monkeypatch.context() as patched:
        signalled(patched, TrainingLoop, "_batch", signal.SIGINT, at=3)
        with pytest.raises(KeyboardInterrupt) as error:
            made(places, cut, settings=settings).run()
    assert error.value.__notes__ == ["step 3 of 6 is saved"]
    made(places, cut, settings=settings, resume=True).run()
    assert (cut / "curves.csv").read_text() == (whole / "curves.csv").read_text()
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def read_curves_of(loop):
    loop.run_directory._curves.flush()
    return read_curves(loop.run_directory.output / "curves.csv")


def test_rows_to_learn_from_are_left(places, tmp_path):
    with pytest.raises(ConfigError, match="held_out must be 0 or at least 2, got 1"):
        made(places, tmp_path / "out", held_out=1).run()


def test_a_student_of_another_vocabulary(places, tmp_path, checkpoint):
    student = checkpoint("PreTraining", name="student", **{**SIZES, "vocab_size": 97})
    (tmp_path / "words.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "honey"]))
    MobileBertTokenizerFast(str(tmp_path / "words.txt")).save_pretrained(student)
    with pytest.raises(ConfigError, match="has other words than the teacher"):
        made({**places, "student": str(student)}, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_other_settings_are_not_gone_on_with(places, tmp_path):
    made(places, tmp_path / "out", changes={"batch_size": 4, "max_steps": 6}).run()
    with pytest.raises(ConfigError, match="transfer earlier was 0.1, now 0.0"):
        made(places, tmp_path / "out", changes={"batch_size": 4, "max_steps": 6}, resume=True,
             settings=TransferSettings(earlier=0.0)).run()  # fmt: skip


def test_masked_words_alone_take_no_look_at_the_teacher(places, tmp_path, monkeypatch):
    from mobilebert_torch import knowledge_transfer

    seen = []
    original = knowledge_transfer.watch
    monkeypatch.setattr(knowledge_transfer, "watch", lambda model, *rest: seen.append(model) or original(model, *rest))
    made(places, tmp_path / "out", settings=TransferSettings(strategy="none", hard_share=1.0)).run()
    assert len({id(model) for model in seen}) == 1


def test_the_rows_of_a_pretraining_serve_the_student_too(places, tmp_path):
    """Rows made from vocab.txt alone are those of the teacher's own directory; some of them are held out."""
    shards = tmp_path / "rows"
    words = ["pretrain", "--data", *map(str, places["data"]), "--config", places["student"], "--output",
             str(tmp_path / "first"), "--rows", "packed", "--vocab", str(DEMO_VOCABULARY), "--shards", str(shards),
             "--max-steps", "1", "--max-length", "24"]  # fmt: skip
    assert main(words) == 0
    before = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    words = ["distill", "--teacher", places["teacher"], "--student", places["student"], "--data",
             *map(str, places["data"]), "--rows", "packed", "--shards", str(shards), "--held-out", "3", "--stages", "1",
             "1", "2", "--max-length", "24", "--output", str(tmp_path / "out")]  # fmt: skip
    assert main(words) == 0
    assert {path.name: path.stat().st_mtime_ns for path in shards.iterdir()} == before
    results = json.loads((tmp_path / "out" / "training.json").read_text())
    assert results["rows"]["dev"] == sum(results["rows"].values()) // 3 and results["dev"]["loss"] > 0
    assert not (tmp_path / "out.shards").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--blocks 1 5", "wanted for each of 2 blocks one of the teacher's 4, rising, got 1 5, counted from 1"),
        ("--strategy minilm --relation-heads 7", "--relation-heads must divide the widths"),
        ("--device tpu:3", "device: wanted one that PyTorch has here"),
        ("--dev gone.txt", "gone.txt: wanted a file ending in .txt"),
        ("--dev .", "got a directory"),
        ("--shards one.txt", "one.txt: wanted a directory, got a file. Choose another --shards"),
        ("--shards out/rows", "out/rows: wanted a directory for rows that is not in out"),
        ("--output one.txt/out", "one.txt/out: wanted a directory, got a file in the place of one.txt. Choose another"),
        ("--text-column 3", "no column"),
    ],
)
def test_what_does_not_fit_is_said_before_text_is_tokenized(places, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.csv").write_text("text\n" + "\n".join(SENTENCES) + "\n")
    data = "one.csv" if "column" in words else "one.txt"
    common = f"--student {places['student']} --data {data} --output out --rows packed --max-length 24 --max-steps 9"
    before = sorted(tmp_path.iterdir())
    assert main(["distill", "--teacher", places["teacher"], *common.split(), *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_one_file_as_text_into_this_directory(places, tmp_path, monkeypatch):
    """No path of the machine is written, whatever was left out; the output has a name though it is passed as a dot."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = tmp_path / "one.txt"
    text.write_bytes(text.read_bytes() + b"\xff\n")
    options = {
        "data": str(text),
        "read": ReadOptions(skip_bad_rows=True),
        "settings": TransferSettings(strategy="none"),
    }
    results = made(places, ".", changes={"batch_size": 4, "max_steps": 1}, **options).run()
    assert results["skipped"] and results["skipped"][0].startswith("one.txt:")
    assert "- **Data:** `one.txt`: " in (tmp_path / "here" / "README.md").read_text()
    assert (tmp_path / "here.shards" / "shards.json").exists()


def test_a_teacher_of_no_use_is_refused_before_text_is_read(places, tmp_path, checkpoint):
    teacher = checkpoint("Model", name="no head", **SIZES)
    MobileBertTokenizerFast(str(DEMO_VOCABULARY)).save_pretrained(teacher)
    with pytest.raises(CheckpointError, match="no head"):
        made({**places, "teacher": str(teacher)}, tmp_path / "out").run()
    assert not (tmp_path / "out.shards").exists() and not (tmp_path / "out").exists()


def test_one_of_several_processes_speaks(capsys, monkeypatch):
    monkeypatch.setattr(Distillation, "run", lambda self: {"notes": ["said"], "skipped": []})
    command = ["distill", "--teacher", "t", "--student", "s", "--data", "x", "--output", "y"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(command) == 0
        assert ("said" in capsys.readouterr().out) == said


def test_without_a_copy_the_embeddings_are_trained_in_every_stage(places, tmp_path, monkeypatch):
    """Nothing else would train them before the last stage, and the blocks would learn to read random numbers."""
    seen = []
    original = TransferCourse.begin

    def begin(self, step):
        original(self, step)
        seen.append(self.trainer._factors["mobilebert.embeddings.word_embeddings.weight"])

    monkeypatch.setattr(TransferCourse, "begin", begin)
    results = made(places, tmp_path / "out", copy=False, settings=TransferSettings(stage_steps=(1, 1, 1))).run()
    assert seen == [1, 1, 1] and "nothing is the teacher's" in results["notes"][0]


def test_a_student_whose_embeddings_do_not_fit_trains_them_in_every_stage(places, tmp_path, checkpoint, monkeypatch):
    """A checkpoint that lacks a weight has it drawn at random; resumed, it is still known which it was."""
    seen, original = [], TransferCourse.begin
    name = "mobilebert.embeddings.embedding_transformation.weight"

    def begin(self, step):
        original(self, step)
        seen.append([self.trainer._factors[n] for n in (name, "mobilebert.embeddings.word_embeddings.weight")])

    monkeypatch.setattr(TransferCourse, "begin", begin)
    student = checkpoint("PreTraining", name="student", **SIZES)
    MobileBertTokenizerFast(str(DEMO_VOCABULARY)).save_pretrained(student)
    common = {
        "fields": {"trigram_input": False, "sparse_prediction": True},
        "settings": TransferSettings(stage_steps=(2, 2, 2)),
    }
    common["changes"] = {"batch_size": 4, "epochs": 9}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        signalled(patched, TrainingLoop, "_batch", signal.SIGINT, at=3)
        made({**places, "student": str(student)}, tmp_path / "out", **common).run()
    results = made({**places, "student": str(student)}, tmp_path / "out", **common, resume=True).run()
    assert set(map(tuple, seen[:-2])) == {(1, 0)} and seen[-2:] == [[1, 1]] * 2
    assert any("newly initialized" in note and name in note for note in results["notes"])
    assert MobileBertConfig.from_pretrained(tmp_path / "out").sparse_prediction  # as it was asked for


@pytest.mark.parametrize("head", ["MaskedLM", "Model"])
def test_a_teacher_is_scored_only_by_heads_that_it_has(places, tmp_path, checkpoint, head):
    """Pairs of sentences, and a teacher that knows masked words alone, or no words where none are asked of it."""
    teacher = checkpoint(head, name="other", **{**SIZES, **BRANCHES["teacher"], "num_hidden_layers": 4})
    MobileBertTokenizerFast(str(DEMO_VOCABULARY)).save_pretrained(teacher)
    settings = TransferSettings(strategy="minilm", hard_share=1.0 if head == "Model" else 0.5)
    results = made({**places, "teacher": str(teacher)}, tmp_path / "out", settings=settings, held_out=3).run()
    said = [note for note in results["notes"] if note.startswith("the teacher on the dev rows: ")]
    assert len(said) == (head == "MaskedLM") and "next_sentence_accuracy" in results["dev"]
    assert not said or ("masked_accuracy" in said[0] and "next_sentence" not in said[0])


def test_steps_of_stages_and_of_the_whole_are_not_two_numbers(places, tmp_path):
    with pytest.raises(ConfigError, match="the stages have 6 steps together, so wanted no max_steps of 9"):
        made(places, tmp_path / "out", settings=TransferSettings(stage_steps=(2, 2, 2)), changes={"max_steps": 9}).run()
