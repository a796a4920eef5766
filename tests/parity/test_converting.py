"""`mobilebert convert`: every format into every other, bit by bit, with every weight accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conversion.converting import convert
from conversion.inspection import inspect_checkpoint
from mobilebert.cli import main
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.heads import HEADS
from tests.parity.verifying_here import VerifierHere
from tests.tiny import BRANCHES

WORDS = "mobilebert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"


@pytest.fixture(autouse=True)
def measured_here(monkeypatch):
    monkeypatch.setattr("conversion.converting.Verifier", VerifierHere)


def place(folder: Path, target: str) -> Path:
    """A destination as the format names it."""
    ending = OUTPUT_FORMATS[target].written.ending
    return folder / target / f"m{ending}" if ending else folder / target


def values(path: Path) -> dict[str, np.ndarray]:
    checkpoint = open_checkpoint(path)
    file = checkpoint.weights(checkpoint.config())
    return {name: file.read(name) for name in file.stored}


def edit(path: Path, change) -> None:
    arrays = load_file(path / "model.safetensors")
    change(arrays)
    save_file(arrays, path / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("target", OUTPUT_FORMATS)
@pytest.mark.parametrize("head", HEADS)
def test_every_head_into_every_format(checkpoint, tmp_path, head, target):
    source = checkpoint(head)
    measured = target == "tensorflow"  # what is stored is compared for all
    done = convert(source, place(tmp_path, target), to=target, parity="same" if measured else "none")
    assert not done.dropped and (not measured or done.report.worst.deviation == 0)
    again = convert(done.destination, tmp_path / "again", parity="none")
    assert again.head.name == head
    first, second = load_file(source / "model.safetensors"), load_file(tmp_path / "again/model.safetensors")
    assert first.keys() == second.keys() and all(np.array_equal(first[n], second[n]) for n in first)
    assert (source / "config.json").read_text() == (tmp_path / "again/config.json").read_text()


@pytest.mark.parametrize("branch", ["teacher", "untied", "pruned", "embedding_is_hidden", "six_ffn", "layer_norm",
                                    "padding_invariant", "folded_all"])  # fmt: skip
@pytest.mark.parametrize("target", OUTPUT_FORMATS)
def test_every_branch_into_every_format(checkpoint, tmp_path, branch, target):
    source = checkpoint("PreTraining", **BRANCHES[branch])
    impossible = {("google", "untied"): "has no place for cls.predictions.decoder.weight",
                  ("google", "pruned"): "Google's TF1 code has no pruned heads",
                  ("google", "folded_all"): "Google's TF1 code has no folding 'all'",
                  ("tensorflow", "folded_all"): "have no folded norms",
                  ("tensorflow", "pruned"): "have no pruned heads"}  # fmt: skip
    if (target, branch) in impossible:
        with pytest.raises(CheckpointError, match=impossible[target, branch]):
            convert(source, place(tmp_path, target), to=target, parity="none")
        assert not any(p.is_file() for p in place(tmp_path, target).parent.rglob("m*") if p.parent != source)
        return
    done = convert(source, place(tmp_path, target), to=target, parity="same" if target == "keras" else "none")
    convert(done.destination, tmp_path / "again", parity="none")
    first, second = load_file(source / "model.safetensors"), load_file(tmp_path / "again/model.safetensors")
    assert first.keys() <= second.keys() and all(np.array_equal(first[n], second[n]) for n in first)


def test_the_long_way_round_is_exact(checkpoint, tmp_path):
    """PyTorch -> Keras -> h5 -> PyTorch -> TF1 -> Keras."""
    source = checkpoint("PreTraining")
    here = source
    for step, target in enumerate(["keras", "keras-weights", "tensorflow", "pytorch", "google", "keras"]):
        here = convert(here, place(tmp_path / str(step), target), to=target, parity="none").destination
    first, last = values(source), values(here)
    assert all(np.array_equal(first[n], last[n]) for n in first)


def test_source_in_pytorch_destination_in_keras(checkpoint, tmp_path):
    done = convert(checkpoint("PreTraining"), tmp_path / "m.keras", parity="cross")
    assert done.report.reference.startswith("PyTorch") and done.report.other.startswith("Keras")
    assert 0 < done.report.worst.deviation < 1e-5


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("target", ["pytorch", "pytorch-bin", "keras-weights"])
def test_other_dtypes(checkpoint, tmp_path, target, dtype):
    source = checkpoint("MaskedLM")
    if (target, dtype) == ("keras-weights", "bfloat16"):
        with pytest.raises(CheckpointError, match="float32 holds bfloat16 exactly"):
            convert(source, place(tmp_path, target), to=target, dtype=dtype)
        return
    done = convert(
        source, place(tmp_path, target), to=target, dtype=dtype, parity="same" if target == "pytorch" else "none"
    )
    found = open_checkpoint(done.destination)
    assert {s.dtype for s in found.file.stored.values()} == {dtype}
    assert found.config().dtype == dtype
    first, second = values(source), values(done.destination)
    digits = {"float64": 0, "float16": 2**-11, "bfloat16": 2**-8}[dtype]
    assert all(np.allclose(first[n], second[n], rtol=digits, atol=1e-7) for n in first)


def test_values_beyond_the_dtype(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    edit(source, lambda a: a[WORDS].__setitem__((3, 4), 1e5))
    with pytest.raises(CheckpointError, match=f"{WORDS} .*float16 cannot hold 1e\\+05"):
        convert(source, tmp_path / "half", dtype="float16")
    assert not (tmp_path / "half").exists()
    convert(source, tmp_path / "half", dtype="bfloat16", parity="none")  # softmax turns such a word into another


@pytest.mark.parametrize("target", ["pytorch", "tensorflow"])
def test_shards_hold_the_same_weights(checkpoint, tmp_path, target, backend):
    source = checkpoint("PreTraining")
    done = convert(source, tmp_path / "split", to=target, max_shard_size="20KB")
    assert len([p for p in done.files if "-of-" in p.name]) > 3
    first, second = values(source), values(done.destination)
    assert all(np.array_equal(first[n], second[n]) for n in first)
    backend.load("PreTraining", done.destination)


def test_a_trained_decoder_is_never_lost(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    edit(source, lambda a: a.__setitem__(DECODER, a[WORDS] + 1))
    for step, target in enumerate(["tensorflow", "keras", "pytorch-bin", "pytorch"]):
        done = convert(source, place(tmp_path / str(step), target), to=target, parity="none")
        assert any("tie_word_embeddings is False" in note for note in done.notes) == (step == 0)
        source = done.destination
    found = load_file(source / "model.safetensors")
    assert np.array_equal(found[DECODER], found[WORDS] + 1)
    with pytest.raises(CheckpointError, match="has no place for cls.predictions.decoder.weight"):
        convert(source, tmp_path / "m.ckpt")


def test_two_biases_that_differ(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    edit(source, lambda a: a.__setitem__("cls.predictions.decoder.bias", a["cls.predictions.bias"] + 1))
    done = convert(source, tmp_path / "out")
    assert done.dropped == {
        "cls.predictions.bias": "differs from cls.predictions.decoder.bias, which the scores are computed with"
    }
    found = load_file(tmp_path / "out/model.safetensors")
    assert np.array_equal(found["cls.predictions.bias"], load_file(source / "model.safetensors")[
        "cls.predictions.decoder.bias"])  # fmt: skip


def test_leaving_weights_behind_must_be_asked_for(checkpoint, tmp_path):
    source = checkpoint("PreTraining")
    edit(source, lambda a: a.__setitem__("classifier.weight", np.zeros((2, 48), np.float32)))
    edit(source, lambda a: a.__setitem__("classifier.bias", np.zeros(2, np.float32)))
    with pytest.raises(CheckpointError, match=r"holds 2 weights that MobileBertForPreTraining has no place for"):
        convert(source, tmp_path / "out")
    done = convert(source, tmp_path / "out", head="MaskedLM")
    assert set(done.dropped) == {"classifier.weight", "classifier.bias", "cls.seq_relationship.weight",
                                 "cls.seq_relationship.bias", "mobilebert.pooler.dense.weight",
                                 "mobilebert.pooler.dense.bias"}  # fmt: skip
    assert set(done.dropped.values()) == {"MobileBertForMaskedLM has no place for it"}


def test_unknown_names(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    edit(source, lambda a: a.__setitem__("extra.scale", np.zeros(3, np.float32)))
    with pytest.raises(CheckpointError, match=r"unknown  extra.scale \(3,\)"):
        convert(source, tmp_path / "out")
    with pytest.raises(CheckpointError, match="'nonsense' cannot be left out"):
        convert(source, tmp_path / "out", drop=["nonsense"])
    assert convert(source, tmp_path / "out", drop=["extra.scale"]).dropped == {"extra.scale": "left out on request"}


def test_a_head_that_is_not_there(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="QuestionAnswering are not all there; it holds MaskedLM, Model"):
        convert(checkpoint("MaskedLM", classifier_activation=False), tmp_path / "out", head="QuestionAnswering")


def test_three_classifiers_cannot_be_told_apart(checkpoint, tmp_path):
    source = checkpoint("TokenClassification", classifier_activation=False)
    config = json.loads((source / "config.json").read_text())
    del config["architectures"]
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="fit SequenceClassification, TokenClassification.*Say which it is"):
        convert(source, tmp_path / "out")
    assert convert(source, tmp_path / "out", head="TokenClassification").head.name == "TokenClassification"


def test_a_bare_model_without_pooler(checkpoint, tmp_path):
    source = checkpoint("QuestionAnswering", classifier_activation=True)
    done = convert(source, tmp_path / "out", head="Model")
    assert "add_pooling_layer=False" in done.notes[0] and done.report.ok


def test_tokenizers_come_along(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    (source / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    convert(source, tmp_path / "out", parity="none")
    assert (tmp_path / "out/vocab.txt").read_text() == "[PAD]\n[UNK]\n"


def test_the_record_says_what_was_measured(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    done = convert(source, tmp_path / "out/m.ckpt")
    record = json.loads((tmp_path / "out/m.ckpt.provenance.json").read_text())
    assert record["parity"]["largest_deviation"] == 0 and record["read_back"] == "bit by bit equal"
    assert record["destination"]["parameters"] == done.parameters
    from conversion.provenance import sha256

    assert record["source"]["sha256"] == {"model.safetensors": sha256(source / "model.safetensors")}
    for name, digest in record["destination"]["sha256"].items():
        assert sha256(tmp_path / "out" / name) == digest


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"to": "onnx"}, CheckpointError, "No format 'onnx' to write; there are pytorch"),
        ({"to": "keras"}, CheckpointError, "keras is a file that ends in .keras"),
        ({"head": "Nonsense"}, CheckpointError, "convert: no head 'Nonsense'"),
        ({"dtype": "int8"}, ConfigError, "dtype must be 'auto' or one of"),
        ({"max_shard_size": "many"}, ConfigError, "max_shard_size: wanted a number of bytes"),
        ({"to": "google"}, CheckpointError, "google is a file that ends in .ckpt"),
        ({"parity": "crosss"}, ConfigError, "parity must be one of same, cross, none"),
    ],
)
def test_options_that_mean_nothing(checkpoint, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        convert(checkpoint("MaskedLM"), tmp_path / "out", **{"parity": "none", **options})
    assert not (tmp_path / "out").exists()


def test_the_command_prints_where_each_weight_went(checkpoint, tmp_path, capsys):
    source = checkpoint("MaskedLM")
    edit(source, lambda a: a.__setitem__("mobilebert.embeddings.position_ids", np.arange(37)[None]))
    assert main(["convert", str(source), str(tmp_path / "out"), "--to", "tensorflow", "--verbose"]) == 0
    printed = capsys.readouterr().out
    assert "positions 0, 1, 2, ..., which need no storing: mobilebert.embeddings.position_ids" in printed
    assert f"{WORDS} -> mobilebert/embeddings/word_embeddings/weight" in printed
    assert "read back bit by bit equal" in printed and "parity   exact" in printed
    with h5py.File(tmp_path / "out/tf_model.h5") as file:
        assert list(file.attrs["layer_names"])
    assert main(["convert", str(tmp_path / "none"), str(tmp_path / "other")]) == 2
    assert "no such file or directory" in capsys.readouterr().err


def test_converting_and_inspecting_load_no_framework(checkpoint, tmp_path):
    source = checkpoint("MaskedLM")
    code = (
        "import sys; from mobilebert.cli import main\n"
        "loaded = lambda: [name for name in ('torch', 'tensorflow', 'keras', 'jax') if name in sys.modules]\n"
    )
    for target in OUTPUT_FORMATS:
        code += (
            f"code = main(['convert', {str(source)!r}, {str(place(tmp_path, target))!r}, '--to', {target!r}, "
            "'--parity', 'none'])\n"
            f"code += main(['inspect', {str(place(tmp_path, target))!r}])\n"
            f"print('end', {target!r}, code, *loaded())\n"
        )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ends = [line for line in done.stdout.splitlines() if line.startswith("end ")]
    assert ends == [f"end {target} 0" for target in OUTPUT_FORMATS], done.stdout


@pytest.mark.parametrize("target", OUTPUT_FORMATS)
def test_a_file_that_was_changed_since_is_named(checkpoint, tmp_path, target):
    made = convert(checkpoint("MaskedLM"), place(tmp_path / "out", target), to=target, parity="none")
    assert inspect_checkpoint(made.destination).odd == []
    assert convert(made.destination, tmp_path / "again", parity="none").notes == []
    part = open_checkpoint(made.destination).parts[-1]
    record = next(p.name for p in made.files if p.name.endswith("provenance.json"))
    config = part.parent / "config.json"
    if config.exists():
        config.write_text(config.read_text().replace("0.02", "0.03"))
        said = [f"config.json was changed since {record} beside it was written"]
        assert inspect_checkpoint(made.destination).odd == said
        assert convert(made.destination, tmp_path / "noted", parity="none").notes == said
    other = checkpoint("MaskedLM", seed=1, name="other")
    other = convert(other, place(tmp_path / "other", target), to=target, parity="none").destination
    for file in part.parent.iterdir():
        if file.name != record:
            file.write_bytes((other / file.name if other.is_dir() else other.parent / file.name).read_bytes())
    assert f"{part.name} was changed since {record} beside it was written" in inspect_checkpoint(made.destination).odd
    with pytest.raises(CheckpointError, match=f": is not the file of which {record} beside it has the digest"):
        convert(made.destination, tmp_path / "refused", parity="none")
    assert not (tmp_path / "refused").exists()


def test_a_save_over_a_conversion_ends_its_record(checkpoint, tmp_path):
    from mobilebert_torch import MobileBertForMaskedLM

    source = checkpoint("MaskedLM")
    convert(source, tmp_path / "out", parity="none")
    MobileBertForMaskedLM.from_pretrained(source).save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out/provenance.json").exists()
    convert(tmp_path / "out", tmp_path / "again", parity="none")
