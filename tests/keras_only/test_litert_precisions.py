"""The demo model in LiteRT's lower precisions: what is stored, and what it decides. One conversion serves all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import interpreter
from ai_edge_quantizer import quantizer, recipe

from conversion.exports.litert.inference import Runner
from conversion.exports.proof import compare_outputs
from conversion.exports.record import ExportRecord
from conversion.exports.texts import sample_batches
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import ExportError, InputError
from mobilebert_core.exports import STATE, ExportSpec
from mobilebert_core.heads import HEADS
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast
from mobilebert_tf import MODEL_CLASSES
from mobilebert_tf.calibration import calibrate, migrate
from mobilebert_tf.export import write_litert
from mobilebert_tf.folding import fold
from mobilebert_tf.litert_files import operations, read_flatbuffer
from mobilebert_tf.litert_quantization import _quiet, quantized_file

HEAD = HEADS["SequenceClassification"]
FLOAT32, INT32, INT8 = 0, 2, 9  # of LiteRT's schema


def outputs(content, batches):
    """The logits of each batch as floats, whatever they are in the file."""
    opened = interpreter.Interpreter(model_content=content, num_threads=1)
    (output,) = opened.get_output_details()
    scale, zero = output["quantization"]
    found = []
    for batch in batches:
        for each in opened.get_input_details():
            opened.resize_tensor_input(each["index"], batch[each["name"]].shape)
        opened.allocate_tensors()
        for each in opened.get_input_details():
            opened.set_tensor(each["index"], batch[each["name"]])
        opened.invoke()
        array = opened.get_tensor(output["index"])
        found.append({"logits": (array.astype(np.float32) - zero) * scale if scale else array})
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The file in float32, the facts of it with calibration, other texts, and the answers of the source to them."""
    source = MODEL_CLASSES[HEAD.name].from_pretrained(DEMO_MODEL)
    tokenizer = MobileBertTokenizerFast.from_pretrained(DEMO_MODEL)
    texts = sample_batches(tokenizer, source.config, HEAD, None)
    folded = fold(source, "block")
    calibration = calibrate(folded, texts[::2])
    model = migrate(folded, calibration)
    model.config.mask_value = calibration.mask_constant
    spec = ExportSpec(HEAD, source.config, calibration=tuple(texts[::2]))
    path = tmp_path_factory.mktemp("demo") / "model.tflite"
    write_litert(model, spec, path)
    others = texts[1::2]
    expected = [{"logits": source(batch, training=False).logits.numpy()} for batch in others]
    return path.read_bytes(), spec, others, expected


@pytest.fixture(scope="module")
def made(demo):
    """The file of a precision, made once."""
    plain, spec, _, _ = demo
    files = {}

    def make(precision):
        if precision not in files:
            files[precision] = quantized_file(plain, replace(spec, precision=precision))
        return files[precision]

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "share", "allowed"), [("fp16", 0.51, 1e-3), ("int8", 0.29, 3e-2), ("int8-static", 0.3, 0.2),
                                        ("int8x16", 0.3, 0.1)]
)  # fmt: skip
def test_lower_precisions_decide_as_their_source(demo, made, precision, share, allowed):
    plain, spec, batches, expected = demo
    content = made(precision)
    assert len(content) < share * len(plain)
    proof = compare_outputs(spec.config, HEAD, precision, ["logits"], batches, expected, outputs(content, batches))
    (found,) = proof.outputs
    assert proof.within(found) and found.deviation < allowed
    opened = interpreter.Interpreter(model_content=content)
    types = [each["dtype"] for each in (*opened.get_input_details(), *opened.get_output_details())]
    assert types == [np.int32] * 3 + [np.float32]


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_weights_are_symmetric_with_a_scale_for_each_output_feature(made, precision):
    model = read_flatbuffer(made(precision))
    tensors = model.subgraphs[0].tensors
    dense = [each for name, each in operations(model) if name == "FULLY_CONNECTED"]
    tables = [tensors[each.inputs[1]] for name, each in operations(model) if name == "EMBEDDING_LOOKUP"]
    weights = [tensors[each.inputs[1]] for each in dense]
    assert [each.type for each in weights[:-1]] == [INT8] * (len(weights) - 1)
    assert weights[-1].type == FLOAT32  # the classifier
    assert len(tables) == 2 and all(each.type == INT8 for each in tables)
    for each in (*weights[:-1], *tables):
        assert len(each.quantization.scale) == each.shape[0]
        assert not np.any(each.quantization.zeroPoint)
    if precision == "int8-static":
        biases = [tensors[each.inputs[2]] for each in dense[:-1] if each.inputs[2] >= 0]
        assert biases and all(each.type == INT32 for each in biases)


class TestProof:
    """Files as the converter's own defaults make them."""

    @staticmethod
    def by_default(plain, calibration):
        made = quantizer.Quantizer(bytearray(plain), recipe.static_wi8_ai8())
        with _quiet():
            ranges = made.calibrate({"serving_default": calibration}, num_threads=1)
            return bytes(made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)

    def test_integers_are_not_taken_for_floats(self, demo, tmp_path):
        plain, spec, batches, _ = demo
        (tmp_path / "model.tflite").write_bytes(self.by_default(plain, spec.calibration[:2]))
        spec.config.save_pretrained(tmp_path)
        ExportRecord.of(spec, "litert", "model.tflite").write(tmp_path)
        with pytest.raises(InputError, match="wanted the output logits as floats, got numbers of type int8"):
            Runner(tmp_path).run(batches[0])

    @pytest.mark.slow
    def test_a_mask_that_takes_all_steps_of_8_bits_is_found(self, demo, tmp_path):
        _, spec, batches, expected = demo
        model = MODEL_CLASSES[HEAD.name].from_pretrained(DEMO_MODEL, mask_value=-1e4)
        write_litert(model, spec, tmp_path / "model.tflite")
        content = self.by_default((tmp_path / "model.tflite").read_bytes(), spec.calibration)
        names = ["logits"]
        found = outputs(content, batches)
        proof = compare_outputs(spec.config, HEAD, "int8-static", names, batches, expected, found)
        assert proof.first_divergence is not None


@pytest.mark.slow
def test_states_that_were_integers_have_their_names(demo, tmp_path):
    """By them the search says which layer of a refused file differs."""
    _, spec, batches, _ = demo
    shown = replace(spec, precision="int8-static", with_states=True, mask_value=-100.0)
    model = MODEL_CLASSES[HEAD.name].from_pretrained(DEMO_MODEL, mask_value=-100.0)
    write_litert(model, shown, tmp_path / "model.tflite")
    spec.config.save_pretrained(tmp_path)
    ExportRecord.of(shown, "litert", "model.tflite").write(tmp_path)
    found = Runner(tmp_path).run(batches[0])
    assert [name for name in found if name.startswith(STATE)] == [f"{STATE}.{i}" for i in range(4)]


@pytest.mark.slow
def test_the_first_token_of_states_that_are_outputs_is_read_as_floats(demo, tmp_path):
    """The bare model's last states are an output, which is floats, and its pooled output a slice of them."""
    _, spec, batches, _ = demo
    bare = replace(spec, head=HEADS["Model"], precision="int8-static", mask_value=-100.0)
    model = MODEL_CLASSES["Model"].from_pretrained(DEMO_MODEL, mask_value=-100.0)
    write_litert(model, bare, tmp_path / "model.tflite")
    spec.config.save_pretrained(tmp_path)
    ExportRecord.of(bare, "litert", "model.tflite").write(tmp_path)
    found = Runner(tmp_path).run(batches[0])
    assert found["pooler_output"].dtype == np.float32
    np.testing.assert_array_equal(found["pooler_output"], found["last_hidden_state"][:, 0])


def test_integer_scores_want_a_mask_of_their_size(demo, tmp_path):
    """The lowest float has no place among integers: LiteRT's own kernels abort the process."""
    _, spec, _, _ = demo
    model = MODEL_CLASSES[HEAD.name].from_pretrained(DEMO_MODEL)
    with pytest.raises(ExportError, match="int8-static: wanted a model whose config.mask_value is set, got None"):
        write_litert(model, replace(spec, precision="int8-static"), tmp_path / "model.tflite")
