"""LiteRT files and SavedModels: names, shapes and types, the numbers of the model, and files that compute nothing.

A conversion takes seconds, so files are shared where they can be.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter

import mobilebert
import mobilebert_tf.export
from conversion.exports.export import export
from conversion.exports.formats import EXPORT_FORMATS
from conversion.exports.record import ExportRecord
from conversion.exports.usage import snippet
from conversion.parity.sample import random_checkpoint
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import CheckpointError, ExportError, InputError
from mobilebert_core.exports import ExportSpec
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast
from mobilebert_tf import MODEL_CLASSES
from mobilebert_tf.export import recorded, write_litert, write_saved_model
from mobilebert_tf.litert_files import finished_file
from tests.tiny import tiny_batch, tiny_config

STARTS = ("I love", "Why did you write", "Nobody cares about", "Thank you for")
RESTS = ("this!", "the second one?", "any of it, and I am sad.", "what we saw on the way home :)")
SHAPES = ((3, 11), (1, 5), (2, 37))  # batch and length
OFTEN = ("Model", "PreTraining", "MultipleChoice")  # a bare model, two outputs of several ranks, choices


def model_of(head: str, **overrides):
    keras.utils.set_random_seed(0)
    config = tiny_config(num_hidden_layers=1, initializer_range=0.3, **overrides)
    return MODEL_CLASSES[head](config), ExportSpec(HEADS[head], config)


def runner_of(folder: Path, spec: ExportSpec, name: str):
    """The runner of a file that was written without the rest of its directory."""
    spec.config.save_pretrained(folder)
    ExportRecord.of(spec, name, EXPORT_FORMATS[name].precision("fp32").file).write(folder)
    return EXPORT_FORMATS[name].runtime.runner("test")(folder)


def assert_same(runner, model, batch):
    expected = model(batch, training=False, return_dict=True)
    found = runner.run(batch)
    assert list(found) == list(expected)
    for name, array in found.items():
        want = keras.ops.convert_to_numpy(expected[name])
        assert (array.dtype, array.shape) == (np.float32, want.shape)
        np.testing.assert_allclose(array, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("head", [h if h in OFTEN else pytest.param(h, marks=pytest.mark.slow) for h in HEADS])
def test_a_litert_file_computes_every_head_at_any_batch_and_length(head, tmp_path):
    model, spec = model_of(head)
    write_litert(model, spec, tmp_path / "model.tflite")
    runner = runner_of(tmp_path, spec, "litert")
    for batch, length in SHAPES:
        assert_same(runner, model, tiny_batch(model.config, head, batch, length, labels=False))
    opened = interpreter.Interpreter(model_path=str(tmp_path / "model.tflite"))
    axes = 3 if HEADS[head].per_choice else 2
    details = opened.get_input_details()
    assert [(each["name"], each["dtype"], list(each["shape_signature"])) for each in details] == [
        (name, np.int32, [-1] * axes) for name in TEXT_INPUTS
    ]
    assert opened.get_signature_list() == {  # whose names LiteRT sorts
        "serving_default": {"inputs": sorted(TEXT_INPUTS), "outputs": sorted(spec.outputs)}
    }
    assert [each["name"] for each in opened.get_output_details()] == list(spec.outputs)


def test_a_saved_model_is_run_by_tensorflow_alone(tmp_path):
    model, spec = model_of("QuestionAnswering")
    write_saved_model(model, spec, tmp_path / "saved_model")
    runner = runner_of(tmp_path, spec, "saved-model")
    for batch, length in SHAPES:
        assert_same(runner, model, tiny_batch(model.config, "QuestionAnswering", batch, length, labels=False))
    signature = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    assert {name: each.shape.as_list() for name, each in signature.structured_input_signature[1].items()} == {
        name: [None, None] for name in TEXT_INPUTS
    }
    with pytest.raises(InputError, match="tf.config.threading"):
        EXPORT_FORMATS["saved-model"].runtime.runner("test")(tmp_path, threads=1)


def test_the_file_of_mlperf_mobile_has_its_shape_its_names_and_their_order(tmp_path, monkeypatch, capsys):
    model, _ = model_of("QuestionAnswering", max_position_embeddings=384)
    spec = ExportSpec(HEADS["QuestionAnswering"], model.config, batch=1, length=384, mlperf=True)
    write_litert(model, spec, tmp_path / "model.tflite")
    opened = interpreter.Interpreter(model_path=str(tmp_path / "model.tflite"))
    assert [(each["name"], each["dtype"], list(each["shape"])) for each in opened.get_input_details()] == [
        (name, np.int32, [1, 384]) for name in ("input_ids", "input_mask", "segment_ids")
    ]
    assert [(each["name"], list(each["shape"])) for each in opened.get_output_details()] == [
        (name, [1, 384]) for name in ("end_logits", "start_logits")
    ]
    runner = runner_of(tmp_path, spec, "litert")
    batch = tiny_batch(model.config, "QuestionAnswering", 3, 20, labels=False)
    padded = {name: np.pad(array, [(0, 0), (0, 364)]) for name, array in batch.items()}
    expected = model(padded, training=False, return_dict=True)
    found = runner.run(batch)
    for name in ("start_logits", "end_logits"):
        want = expected[name].numpy()
        np.testing.assert_allclose(found[name], want[:, :20], atol=1e-5 * np.abs(want).max())
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nold\nbridge\nby\n")
    MobileBertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec("\n".join(snippet(ExportRecord.read(tmp_path), model.config)), {})  # the program of its card
    answer = capsys.readouterr().out.strip()
    assert answer and answer in "The old bridge was built by Anna Weber."


@pytest.mark.slow
def test_texts_change_nothing_where_every_token_has_its_scale(tmp_path):
    """In LiteRT's dynamic int8 scales that suit texts would cost the weights more than they gain."""
    source = random_checkpoint(tiny_config(num_hidden_layers=1), HEADS["SequenceClassification"], tmp_path / "source")
    texts = tmp_path / "texts.csv"
    texts.write_text("\n".join(["text", *(f'"{start} {rest}"' for start in STARTS for rest in RESTS)]))
    batch, found = tiny_batch(tiny_config(), "SequenceClassification", 3, 11, labels=False), []
    for name, calibrate in (("plain", None), ("fitted", texts)):
        made = export(source, tmp_path / name, format="litert", precision="int8", calibrate=calibrate)
        assert made.record.mask_value is None
        found.append(EXPORT_FORMATS["litert"].runtime.runner("test")(made.directory).run(batch))
    np.testing.assert_array_equal(found[0]["logits"], found[1]["logits"])


@pytest.mark.slow
def test_static_int8_goes_from_a_checkpoint_to_answers(tmp_path):
    texts = tmp_path / "texts.csv"
    texts.write_text("\n".join(["text", *(f'"{start} {rest}"' for start in STARTS for rest in RESTS)]))
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("text,label\nI love this!,love\nI am so angry.,anger\nThank you.,gratitude\nWhy?,curiosity\n")
    made = export(
        DEMO_MODEL, tmp_path / "out", format="litert", precision="int8-static", calibrate=texts, evaluate=labelled
    )
    assert made.record.folding == "block" and -1000 < made.record.mask_value < -20
    assert made.files["model_int8_static.tflite"] < 2_500_000
    one, other = (mobilebert.pipeline("text-classification", path) for path in (DEMO_MODEL, made.directory))
    sentences = [f"{start} it all." for start in STARTS]
    for wanted, got in zip(one(sentences, top_k=3), other(sentences, top_k=3), strict=True):
        assert wanted[0]["label"] == got[0]["label"] and abs(wanted[0]["score"] - got[0]["score"]) < 0.1
    scored = made.record.proof["scores"]
    for name, model, backend in (("source", DEMO_MODEL, "keras"), ("export", made.directory, "litert")):
        found = mobilebert.evaluate("text-classification", labelled, model, backend=backend)
        assert found.scores == pytest.approx(scored[name]) and found.rows == scored["examples"] == 4
    assert scored["source"]["f1_micro"] > 0.5


@pytest.mark.slow
def test_half_precision_holds_a_model_whose_states_do_not_fit(tmp_path):
    """Weights that write states of 1e6 have no place in float16, but where each feature has a power of two."""
    config = tiny_config(num_hidden_layers=1)
    source = random_checkpoint(config, HEADS["TokenClassification"], tmp_path / "source", hidden_scale=1e6)
    with pytest.raises(ExportError, match="fp16: weights are beyond 65504"):
        export(source, tmp_path / "out", format="litert", precision="fp16", fold="none")
    made = export(source, tmp_path / "out", format="litert", precision="fp16")
    assert made.record.folding == "half"
    assert made.record.proof["outputs"]["logits"]["deviation"] < 5e-2


class TestProof:
    """Files of the real converter that compute something else."""

    @pytest.fixture
    def source(self, tmp_path):
        config = tiny_config(num_hidden_layers=1)
        return random_checkpoint(config, HEADS["SequenceClassification"], tmp_path / "source")

    @pytest.mark.slow
    def test_a_file_without_weights_is_refused(self, source, tmp_path, monkeypatch):
        """What the converter makes of a recorded function and its Keras model, without an error."""

        def write(model, spec, path):
            converter = tf.lite.TFLiteConverter.from_concrete_functions([recorded(model, spec)], model)
            path.write_bytes(finished_file(converter.convert(), TEXT_INPUTS, spec.outputs))

        monkeypatch.setattr(mobilebert_tf.export, "write_litert", write)
        with pytest.raises(ExportError, match="litert in fp32: logits holds NaN.*Nothing was written"):
            export(source, tmp_path / "out", format="litert")
        assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_damaged_file_is_one_clear_error(tmp_path):
    _, spec = model_of("SequenceClassification")
    (tmp_path / "model.tflite").write_bytes(b"not a flatbuffer, though long enough to be read as one" * 9)
    with pytest.raises(CheckpointError, match=r"model.tflite: LiteRT refuses it"):
        runner_of(tmp_path, spec, "litert")
    (tmp_path / "saved_model").mkdir()
    with pytest.raises(CheckpointError, match="saved_model: TensorFlow refuses it"):
        runner_of(tmp_path, spec, "saved-model")


def test_another_backend_of_keras_is_refused(tmp_path, monkeypatch):
    model, spec = model_of("SequenceClassification")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ExportError, match="wanted Keras on TensorFlow, got the backend 'jax'"):
        write_litert(model, spec, tmp_path / "model.tflite")
