"""What an export is asked for: its specification, and the texts from which ranges are calibrated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conversion.exports.own_texts import OWN_TEXTS
from conversion.exports.texts import LEAST_CALIBRATION, TEXTS, calibration_batches
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import ExportError, InputError
from mobilebert_core.exports import ExportSpec
from mobilebert_core.heads import HEADS
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from tests.tiny import tiny_config


def test_specs_know_their_inputs_and_outputs():
    config = tiny_config(max_position_embeddings=384)
    spec = ExportSpec(HEADS["QuestionAnswering"], config, batch=1, length=384, mlperf=True)
    assert list(spec.inputs.values()) == ["input_ids", "input_mask", "segment_ids"]
    assert spec.outputs == ("end_logits", "start_logits")
    assert replace(spec, mlperf=False, with_states=True).outputs[:3] == (
        "start_logits", "end_logits", "hidden_states.0",
    )  # fmt: skip
    with pytest.raises(ExportError, match="int32 in MLPerf Mobile's file, got 'int64'"):
        replace(spec, input_dtype="int64")
    with pytest.raises(ExportError, match="--calibrate FILE"):
        replace(spec, precision="int8-static")


@pytest.mark.parametrize("head", ["MaskedLM", "PreTraining", "Model"])
def test_plain_texts_calibrate_heads_that_no_label_belongs_to(head, tmp_path):
    """No word of them is masked."""
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"Text number {i}.\n" for i in range(LEAST_CALIBRATION)))
    config, tokenizer = MobileBertConfig.from_pretrained(DEMO_MODEL), AutoTokenizer.from_pretrained(DEMO_MODEL)
    batches = calibration_batches(file, tokenizer, config, HEADS[head])
    assert sum(len(batch["input_ids"]) for batch in batches) == LEAST_CALIBRATION


def test_own_texts_stand_beside_texts_of_like_length():
    """Padding beside a last word stretches the ranges; in the order of writing 31% of the places were padding."""
    config, tokenizer = MobileBertConfig.from_pretrained(DEMO_MODEL), AutoTokenizer.from_pretrained(DEMO_MODEL)
    batches = calibration_batches(None, tokenizer, config, HEADS["SequenceClassification"], own=True)
    masks = [batch["attention_mask"] for batch in batches]
    assert sum(len(mask) for mask in masks) == len(set(OWN_TEXTS)) > 100 and not set(OWN_TEXTS) & set(TEXTS)
    assert sum((mask == 0).sum() for mask in masks) < 0.05 * sum(mask.size for mask in masks)


def test_texts_of_one_field_for_a_head_of_two_are_refused_without_options_of_another_command(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("One.\n" * LEAST_CALIBRATION)
    config, tokenizer = MobileBertConfig.from_pretrained(DEMO_MODEL), AutoTokenizer.from_pretrained(DEMO_MODEL)
    with pytest.raises(
        InputError, match=r"wanted are question and context\. Pass JSON lines or CSV with these columns"
    ):
        calibration_batches(file, tokenizer, config, HEADS["QuestionAnswering"])
