"""`mobilebert train` with data, options and models that do not go together: said before anything is written."""

from __future__ import annotations

import sys

import pytest

from mobilebert import evaluation
from mobilebert.cli import main
from mobilebert_core.demo_model import DEMO_MODEL
from tests.parity.train_tasks import MISSING, train, write_lines, write_task


def test_a_loss_that_is_no_number_ends_the_training(here, capsys):
    assert train(here, "text-classification", "out", "--learning-rate", "1e30", "--clip-norm", "1e30") == 2
    err = capsys.readouterr().err
    assert "the loss of step" in err and "Lower the learning rate" in err
    assert not (here / "out" / "model.safetensors").exists()


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
        ("fill-mask", ["--max-length", "2"], "--max-length must be from 3 to 37"),
        ("fill-mask", ["--max-length", "38"], "--max-length must be from 3 to 37"),
        ("pretraining", ["--max-length", "4"], "--max-length must be from 5 to 37"),
        ("fill-mask", ["--mask-share", "0"], "--mask-share must be above 0 and at most 1, got 0.0"),
        ("fill-mask", ["--mask-share", "nan"], "--mask-share must be above 0 and at most 1, got nan"),
        ("text-classification", ["--device", "foo"], "wanted one that PyTorch has here, such as cpu, got 'foo'"),
        ("text-classification", ["--set", "vocab_size=10"], "the model has 10 words, the tokenizer 82"),
        ("text-classification", ["--set", "dtype=float16"], "dtype is no matter of the configuration here. Pass"),
        ("fill-mask", ["--set", "subfolder=x"], "no field 'subfolder'"),
        ("fill-mask", ["--set", "x=" + "[" * 100_000], "no field 'x'"),
        ("text-classification", ["--set", "foo=1", "--set", "initializer_range=0.2"], "no field 'foo'"),
    ],
)
def test_options_that_cannot_be_are_told_before_anything_is_written(here, task, options, message, capsys):
    assert train(here, task, "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (here / "out").exists()


def test_memory_that_is_not_there(here, capsys, monkeypatch):
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes")):

        def start(*_, error=error, **__):
            raise error

        monkeypatch.setattr("mobilebert_torch.trainer.Trainer.start", start)
        assert train(here, "fill-mask", "out") == 2
        said = capsys.readouterr().err
        assert "mobilebert: there is not enough memory (" in said and "Traceback" not in said


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
    data = write_lines(here / "signs.txt", ["日", "本"])  # [UNK] all
    assert main(["train", "fill-mask", "--data", str(data), "--model", str(here / "random" / "config.json"),
                 "--output", str(here / "out")]) == 2  # fmt: skip
    assert "no words in the" in capsys.readouterr().err


def test_tuned_thresholds_need_scores_before_the_first_step(here, capsys, monkeypatch):
    for module in MISSING:
        monkeypatch.setitem(sys.modules, module, None)
    data = write_lines(
        here / "data.jsonl", ['{"text": "good", "labels": ["x"]}', '{"text": "bad", "labels": ["x", "y"]}']
    )
    assert main(["train", "text-classification", "--data", str(data), "--dev", str(data), "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out"),
                 "--tune-thresholds"]) == 2  # fmt: skip
    assert "scores need scikit-learn" in capsys.readouterr().err and not (here / "out").exists()


def test_scores_need_their_library_before_the_model_is_loaded(here, capsys, monkeypatch):
    for module in MISSING:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(evaluation, "open_runner", None)
    data = write_task(here, "text-classification")
    assert main(["evaluate", "text-classification", str(data), "--model", str(DEMO_MODEL)]) == 2
    assert "scores need scikit-learn" in capsys.readouterr().err


def test_a_command_is_called_by_its_own_name(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mobilebert_torch.trainer", None)
    data = write_lines(here / "data.txt", ["it was a film", "", "it was a book"])
    assert main(["pretrain", "--data", str(data), "--config", str(here / "random" / "config.json"), "--output",
                 str(here / "out")]) == 2  # fmt: skip
    assert "pretrain: backend 'torch' is not installed" in capsys.readouterr().err


def test_a_checkpoint_keeps_its_sizes(here, checkpoint, capsys):
    """Another size would leave weights of the encoder newly_initialized."""
    data = write_task(here, "text-classification")
    start = checkpoint("MaskedLM", vocab_size=8000)
    assert main(["train", "text-classification", "--data", str(data), "--model", str(start), "--tokenizer",
                 str(here / "random"), "--output", str(here / "out"), "--set",
                 "intermediate_size=56"]) == 2  # fmt: skip
    assert "of the encoder's weights have another shape" in capsys.readouterr().err
    assert not (here / "out").exists()
