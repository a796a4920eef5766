"""`mobilebert train` as a user calls it: every task, both backends, killed and resumed, and bad data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mobilebert import MobileBertPipeline
from mobilebert.cli import main
from mobilebert_core.training.run_directory import read_curves
from tests.tiny import TINY, tiny_config

NO_DROPOUT = ("hidden_dropout_prob=0", "attention_probs_dropout_prob=0", "classifier_dropout=0")
WORDS = (
    "good", "bad", "fine", "awful", "lovely", "a", "the", "film", "book", "is", "was", "it", "this", "that", "very",
    "not", "who", "when", "where", "bees", "honey", "rain",
)  # fmt: skip


@pytest.fixture
def here(tmp_path):
    """A directory with a configuration and its vocabulary, from which fresh models start."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz.?!,",
                  *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]  # fmt: skip
    folder = tmp_path / "random"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = tiny_config(vocab_size=len(vocabulary), initializer_range=0.1)
    (folder / "config.json").write_text(config.to_json_string())
    return tmp_path


def sentence(rng, label):
    words = [str(w) for w in rng.choice(WORDS[5:], 6)]
    words[int(rng.integers(6))] = ("awful", "lovely")[label]
    return " ".join(words)


def write_task(folder: Path, task: str) -> Path:
    """Learnable rows for a task."""
    rng = np.random.default_rng(0)
    labels = [int(i) for i in rng.integers(0, 2, 40)]
    texts = [sentence(rng, label) for label in labels]
    if task == "text-classification":
        lines = ["text,label", *(f"{t},{('bad', 'good')[y]}" for t, y in zip(texts, labels, strict=True))]
        return _write(folder / "data.csv", lines)
    if task == "token-classification":
        tagged = [
            "\n".join(f"{w} {'B-X' if w in ('awful', 'lovely') else 'O'}" for w in t.split()) + "\n" for t in texts
        ]
        return _write(folder / "data.conll", tagged)
    if task == "question-answering":
        questions = [
            {"id": str(i), "question": "who is it", "answers": [{"text": w, "answer_start": t.index(w)}]}
            for i, t in enumerate(texts)
            for w in ("awful", "lovely")
            if w in t.split()
        ]
        paragraphs = [{"context": texts[int(q["id"])], "qas": [q]} for q in questions]
        return _write(folder / "data.json", [json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]})])
    if task == "multiple-choice":
        rows = [{"text": "it was", "choices": [t, sentence(rng, 1 - y)], "label": 1 - y} for t, y in zip(texts, labels,
                strict=True)]  # fmt: skip
        return _write(folder / "data.jsonl", [json.dumps(row) for row in rows])
    return _write(folder / "data.txt", [line for i, t in enumerate(texts) for line in ([t, ""] if i % 4 == 3 else [t])])


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


TASKS = ("text-classification", "token-classification", "question-answering", "multiple-choice", "fill-mask",
         "pretraining")  # fmt: skip


def train(here: Path, task: str, output: str, *options: str) -> int:
    data = write_task(here, task)
    return main(["train", task, "--data", str(data), "--dev", str(data), "--model",
                 str(here / "random" / "config.json"), "--output", str(here / output), "--batch-size", "8", "--set",
                 *NO_DROPOUT, *options])  # fmt: skip


def curve(output: Path) -> np.ndarray:
    return np.array([float(row["loss"]) for row in read_curves(output / "curves.csv")])


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns_in_both_backends_alike(here, task, capsys):
    options = ("--epochs", "4", "--learning-rate", "3e-3", "--precision", "float64")
    curves = []
    for backend in ("torch", "keras"):
        assert train(here, task, backend, "--backend", backend, *options) == 0
        curves.append(curve(here / backend))
        results = json.loads((here / backend / "training.json").read_text())
        assert results["finished"] and results["dev"] and not (here / backend / "resume").exists()
        assert "Scores on" in (here / backend / "README.md").read_text()
        assert (here / backend / "curves.png").stat().st_size and "dev  " in capsys.readouterr().out
    assert np.abs(curves[1] / curves[0] - 1).max() < 1e-8
    assert curves[0][-4:].mean() < curves[0][:4].mean()


def test_the_model_answers_with_its_labels(here):
    assert train(here, "text-classification", "out", "--epochs", "12", "--learning-rate", "5e-3") == 0
    for backend in ("torch", "keras"):
        classify = MobileBertPipeline.from_pretrained("text-classification", here / "out", backend=backend)
        assert [answer["label"] for answer in classify(["awful", "lovely"])] == ["bad", "good"]


def test_a_killed_training_goes_on_where_it_saved(here):
    options = ["--epochs", "30", "--learning-rate", "1e-3", "--save-every", "7", "--set", "hidden_dropout_prob=0.1",
               "attention_probs_dropout_prob=0.1"]  # fmt: skip
    assert train(here, "text-classification", "whole", *options) == 0
    command = [sys.executable, "-c",
               "import sys, tests.parity.test_train_command as t; from pathlib import Path;"
               "sys.exit(t.train(Path(sys.argv[1]), 'text-classification', 'killed', *sys.argv[2:]))",
               str(here), *options]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    while len(curve(here / "killed")) < 20 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = len(curve(here / "killed"))
    saved = json.loads((here / "killed" / "resume" / "progress.json").read_text())["step"]
    assert 0 < saved < len(curve(here / "whole")) and before - saved < 7 + 1
    assert train(here, "text-classification", "killed", *options, "--resume") == 0
    assert np.array_equal(curve(here / "killed"), curve(here / "whole"))
    ours, theirs = (json.loads((here / name / "training.json").read_text()) for name in ("killed", "whole"))
    assert ours["dev"] == theirs["dev"] and ours["newly_initialized"] == theirs["newly_initialized"] != []
    ours, theirs = (load_file(here / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_resuming_wants_the_same_settings(here, capsys):
    assert train(here, "fill-mask", "out", "--epochs", "1") == 0
    assert train(here, "fill-mask", "out", "--epochs", "1") == 2
    assert "holds a training already. Pass --resume" in capsys.readouterr().err
    assert train(here, "fill-mask", "out", "--epochs", "2", "--resume") == 2
    assert "was trained with other settings (recipe was" in capsys.readouterr().err
    assert train(here, "fill-mask", "out", "--epochs", "1", "--resume") == 0  # finished: told again


CHANGES = {
    "vocabulary": ("vocab.txt", "tokenizer: vocab.txt has changed"),
    "tokenizer": ("tokenizer_config.json", "tokenizer: tokenizer_config.json is new"),
    "configuration": ("config.json", "model: config.json has changed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resuming_wants_the_same_files(here, change, capsys):
    assert train(here, "text-classification", "out", "--max-steps", "1") == 0
    name, message = CHANGES[change]
    with (here / "random" / name).open("a") as file:
        file.write({"vocab.txt": "newword\n", "config.json": "\n"}.get(name, "{}"))
    before = (here / "out" / "training.json").read_bytes()
    assert train(here, "text-classification", "out", "--max-steps", "1", "--resume") == 2
    assert f"was trained with other settings ({message})" in capsys.readouterr().err
    assert (here / "out" / "training.json").read_bytes() == before


def test_resuming_wants_the_same_weights_wherever_they_are(here, checkpoint, capsys):
    data = write_task(here, "text-classification")
    start = checkpoint("MaskedLM", vocab_size=8000)

    def run(*options):
        return main(["train", "text-classification", "--data", str(data), "--model", str(start), "--tokenizer",
                     str(here / "random"), "--output", str(here / "out"), "--max-steps", "2", *options])  # fmt: skip

    assert run() == 0
    (here / "moved").mkdir()
    start = start.rename(here / "moved" / start.name)
    assert run("--resume") == 0
    weights = start / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert run("--resume") == 2
    assert "model: model.safetensors has changed" in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_training(here, capsys):
    assert train(here, "text-classification", "out", "--learning-rate", "1e30", "--clip-norm", "1e30") == 2
    err = capsys.readouterr().err
    assert "the loss of step" in err and "Lower the learning rate" in err
    assert not (here / "out" / "model.safetensors").exists()


def test_a_full_disk_leaves_the_last_state(here, capsys, monkeypatch):
    from mobilebert_core.training import run_directory

    written, save_file = [], run_directory.save_file

    def full_disk(arrays, path):
        written.append(path)
        if len(written) > 2:
            raise run_directory.SafetensorError("IoError(No space left on device)")
        save_file(arrays, path)

    monkeypatch.setattr(run_directory, "save_file", full_disk)
    options = ("--epochs", "2", "--save-every", "2")
    assert train(here, "text-classification", "out", *options) == 2
    assert "the state cannot be saved (IoError(No space left on device)); the one before" in capsys.readouterr().err
    assert json.loads((here / "out" / "resume" / "progress.json").read_text())["step"] == 4
    assert not list((here / "out").glob(".resume*"))
    monkeypatch.undo()
    assert train(here, "text-classification", "out", *options, "--resume") == 0
    assert len(curve(here / "out")) == 10


@pytest.mark.parametrize("task", ["question-answering", "multiple-choice", "pretraining"])
def test_pairs_need_a_model_that_tells_them_apart(here, task, capsys):
    assert train(here, task, "out", "--set", "type_vocab_size=1") == 2
    assert "the rows hold pairs of texts, wanted a model with type_vocab_size of at least 2" in capsys.readouterr().err
    assert not (here / "out").exists()


BAD = {
    "empty": ("", "the file is empty"),
    "no such column": ("words,label\na,b\n", "no column text"),
    "malformed": ("text,label\na film,good\nbroken\n", "data.csv:3: wanted 2 columns, got 1"),
    "one label": ("text,label\na film,good\na book,good\n", "wanted at least 2 different labels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_told_before_anything_is_written(here, name, capsys):
    text, message = BAD[name]
    data = here / "data.csv"
    data.write_text(text)
    assert main(["train", "text-classification", "--data", str(data), "--model", str(here / "random" / "config.json"),
                 "--output", str(here / "out")]) == 2  # fmt: skip
    assert message in capsys.readouterr().err
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("fill-mask", ["--max-length", "2"], "max_length must be from 3 to 37"),
        ("fill-mask", ["--max-length", "38"], "max_length must be from 3 to 37"),
        ("pretraining", ["--max-length", "4"], "max_length must be from 5 to 37"),
        ("fill-mask", ["--mask-share", "0"], "mask_share must be above 0 and at most 1, got 0.0"),
        ("fill-mask", ["--mask-share", "nan"], "mask_share must be above 0 and at most 1, got nan"),
        ("text-classification", ["--device", "foo"], "wanted one that PyTorch has here, such as cpu, got 'foo'"),
        ("text-classification", ["--set", "vocab_size=10"], "the model has 10 words, the tokenizer 82"),
        ("text-classification", ["--set", "foo=1", "--set", "initializer_range=0.2"], "no field 'foo'"),
    ],
)
def test_options_that_cannot_be_are_told_before_anything_is_written(here, task, options, message, capsys):
    assert train(here, task, "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_mistyped_model_is_said_at_once(here, capsys):
    data = write_task(here, "text-classification")
    for model, message in (("mobilebrt", "Did you mean mobilebert?"), (str(here / "randm"), f"{here / 'random'}?")):
        assert main(["train", "text-classification", "--data", str(data), "--model", model, "--output",
                     str(here / "out")]) == 2  # fmt: skip
        assert message in capsys.readouterr().err
        assert not (here / "out").exists()


def test_label_names_that_are_none_or_twice(here, capsys):
    for text, message in (("\n", "got none"), ("bad\ngood\nbad\n", "'bad' stands there twice")):
        names = here / "names.txt"
        names.write_text(text)
        assert train(here, "text-classification", "out", "--label-names", str(names)) == 2
        assert message in capsys.readouterr().err


def test_text_without_a_word_to_predict(here, capsys):
    data = _write(here / "signs.txt", ["日", "本"])  # [UNK] all
    assert main(["train", "fill-mask", "--data", str(data), "--model", str(here / "random" / "config.json"),
                 "--output", str(here / "out")]) == 2  # fmt: skip
    assert "no words in the" in capsys.readouterr().err


def test_a_swept_learning_rate_is_kept_when_resumed(here, capsys, monkeypatch):
    from mobilebert_core.training import defaults

    monkeypatch.setattr(defaults, "RATES", (1e30, 3e-3))  # the first ends in no number
    options = ("--learning-rate", "sweep", "--epochs", "2")
    assert train(here, "text-classification", "out", *options) == 0
    results = json.loads((here / "out" / "training.json").read_text())
    assert results["settings"]["recipe"]["learning_rate"] == 3e-3 and list(results["settings"]["sweep"]) == ["0.003"]
    assert "learning rate 0.003 by a sweep" in capsys.readouterr().out
    assert "by a sweep" in (here / "out" / "README.md").read_text()
    monkeypatch.setattr(defaults, "RATES", ())  # nothing is tried again
    assert train(here, "text-classification", "out", *options, "--resume") == 0
    assert train(here, "text-classification", "out", "--epochs", "2", "--resume") == 2
    assert "was trained with other settings" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(here, "text-classification", "other", "--learning-rate", "fast")


MISSING = ("sklearn", "sklearn.metrics", "scipy", "scipy.stats", "seqeval", "seqeval.metrics",
           "seqeval.metrics.sequence_labeling", "matplotlib", "matplotlib.figure")  # fmt: skip


@pytest.mark.parametrize(
    ("task", "package", "backend"),
    [
        ("text-classification", "scikit-learn", "torch"),
        ("text-classification", "scikit-learn", "keras"),
        ("token-classification", "seqeval", "torch"),
        ("multiple-choice", None, "torch"),
    ],
)
def test_a_model_without_the_optional_packages(here, task, package, backend, capsys, monkeypatch):
    for module in MISSING:
        monkeypatch.setitem(sys.modules, module, None)
    assert train(here, task, "out", "--max-steps", "1", "--backend", backend) == 0
    said, files = capsys.readouterr().err, {path.name for path in (here / "out").iterdir()}
    assert {"model.safetensors", "config.json", "vocab.txt", "README.md", "training.json"} <= files
    assert "pip install 'mobilebert[plot]'" in said and "curves.png" not in files
    card = (here / "out" / "README.md").read_text()
    if package is None:
        assert "scores need" not in said and "Scores on" in card
    else:
        assert f"scores need {package}" in said and "keeps its last model" in said and "Scores on" not in card
        assert "pip install 'mobilebert\\[train\\]'" in card


def test_tuned_thresholds_need_scores_before_the_first_step(here, capsys, monkeypatch):
    for module in MISSING:
        monkeypatch.setitem(sys.modules, module, None)
    data = _write(here / "data.jsonl", ['{"text": "good", "labels": ["x"]}', '{"text": "bad", "labels": ["x", "y"]}'])
    assert main(["train", "text-classification", "--data", str(data), "--dev", str(data), "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out"),
                 "--tune-thresholds"]) == 2  # fmt: skip
    assert "scores need scikit-learn" in capsys.readouterr().err and not (here / "out").exists()


@pytest.mark.parametrize("task", ["token-classification", "multiple-choice"])
def test_the_classifiers_dropout_is_the_recipes(here, task):
    data = write_task(here, task)
    assert main(["train", task, "--data", str(data), "--model", str(here / "random" / "config.json"), "--output",
                 str(here / "out"), "--max-steps", "1", "--classifier-dropout", "0.25"]) == 0  # fmt: skip
    assert json.loads((here / "out" / "config.json").read_text())["classifier_dropout"] == 0.25
    assert "classifier dropout 0.25" in (here / "out" / "README.md").read_text()


def test_an_unknown_label_at_evaluation_is_an_error_or_counted(here, capsys):
    data = write_task(here, "text-classification")
    dev = _write(here / "dev.csv", ["text,label", "a lovely film,good", "a film,great"])
    command = ["train", "text-classification", "--data", str(data), "--dev", str(dev), "--epochs", "1", "--model",
               str(here / "random" / "config.json"), "--output", str(here / "out")]  # fmt: skip
    assert main(command) == 2
    assert "dev.csv:3: label 'great' is not among those of the training data" in capsys.readouterr().err
    assert main([*command, "--skip-bad-rows"]) == 0
    out = capsys.readouterr().out
    assert "left out" in out and "dev.csv:3" in out and "skipped 1" in out
    for path in (here / "out").rglob("*"):
        if path.suffix in (".json", ".md", ".csv"):
            assert str(here) not in path.read_text(), path  # no path of the machine is in what people pass on


def test_long_texts_are_cut_and_counted(here, capsys):
    data = _write(here / "data.csv", ["text,label", f"{'good ' * 200},good", "bad,bad"])
    assert main(["train", "text-classification", "--data", str(data), "--epochs", "1", "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out")]) == 0  # fmt: skip
    assert f"1 of 2 texts longer than {TINY['max_position_embeddings']} tokens were cut" in capsys.readouterr().out


def test_thresholds_are_tuned_and_folded_into_the_bias(here):
    rng = np.random.default_rng(1)
    rows = [{"text": sentence(rng, i % 2), "labels": ["x"] if i % 5 == 0 else ["x", "y"][i % 2 : 2]} for i in range(60)]
    data = _write(here / "data.jsonl", [json.dumps(row) for row in rows])
    assert main(["train", "text-classification", "--data", str(data), "--dev", str(data), "--epochs", "2", "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out"),
                 "--tune-thresholds"]) == 0  # fmt: skip
    results = json.loads((here / "out" / "training.json").read_text())
    classify = MobileBertPipeline.from_pretrained("text-classification", here / "out", top_k=None)
    answers = classify([row["text"] for row in rows])
    right = predicted = gold = 0
    for row, answer in zip(rows, answers, strict=True):
        found = {each["label"] for each in answer if each["score"] > 0.5}
        right, predicted, gold = (
            right + len(found & set(row["labels"])),
            predicted + len(found),
            gold + len(row["labels"]),
        )
    assert 2 * right / (predicted + gold) == pytest.approx(results["dev"]["f1_micro"], abs=0.02)


def test_thresholds_of_labels_that_are_probabilities(here):
    """A label counts from 0.5, for the thresholds as for the scores."""
    rows = [{"text": f"{w} film", "labels": {"x": p, "y": 0.9}} for w, p in (("good", 0.8), ("bad", 0.2)) * 4]
    data = _write(here / "data.jsonl", [json.dumps(row) for row in rows])
    assert main(["train", "text-classification", "--data", str(data), "--dev", str(data), "--epochs", "1", "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out"),
                 "--tune-thresholds"]) == 0  # fmt: skip
    assert json.loads((here / "out" / "training.json").read_text())["dev"]["f1_micro"] >= 0.8


def test_a_checkpoint_keeps_its_sizes(here, checkpoint, capsys):
    """Another size would leave weights of the encoder newly_initialized."""
    data = write_task(here, "text-classification")
    start = checkpoint("MaskedLM", vocab_size=8000)
    assert main(["train", "text-classification", "--data", str(data), "--model", str(start), "--tokenizer",
                 str(here / "random"), "--output", str(here / "out"), "--set",
                 "intermediate_size=56"]) == 2  # fmt: skip
    assert "of the encoder's weights have another shape" in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_preset_and_a_checkpoint_as_start(here, checkpoint):
    data = write_task(here, "text-classification")
    start = checkpoint("MaskedLM", vocab_size=8000)
    assert main(["train", "text-classification", "--data", str(data), "--model", str(start), "--tokenizer",
                 str(here / "random"), "--output", str(here / "out"), "--max-steps", "2"]) == 0  # fmt: skip
    card = (here / "out" / "README.md").read_text()
    assert (
        "newly initialized weights: `mobilebert.pooler.dense.weight`" in card
        and "`classifier.bias`" in card
        and "2 steps" in card
    )
