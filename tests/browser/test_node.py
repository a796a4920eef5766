"""Exported ONNX files in Node: onnxruntime-node at any length and batch, and transformers.js with one line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conversion.exports.onnx.inference import Runner

from .serving import PAGE, ROOT
from .test_page import FLOAT32, INT8, TEXTS

SIZES = [(1, 1), (1, 128), (3, 17), (8, 40), (33, 5)]  # rows and tokens


def in_node(**request: Any) -> Any:
    """What run_in_node.cjs answers, with the packages that `make browser` installed."""
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("run_in_node.cjs"))],
        input=json.dumps(request, default=str),
        env={**os.environ, "NODE_PATH": str(ROOT / "build/npm/node_modules")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def batches(runner: Runner) -> list[dict[str, np.ndarray]]:
    """Rows of every size, the last with padding."""
    rng = np.random.default_rng(0)
    made = []
    for shape in SIZES:
        mask = np.ones(shape, np.int64)
        mask[-1, (shape[1] + 1) // 2 :] = 0
        ids = rng.integers(5, runner.config.vocab_size, shape) * mask
        made.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
    return made


# Of the largest logit. The same kernels on the same machine are exact, other versions may sum in another order.
@pytest.mark.parametrize(("folder", "tolerance"), [("fp32", 1e-5), ("int8", 2e-2)])
def test_onnxruntime_computes_the_same_at_other_lengths_and_batches(folder, tolerance):
    runner = Runner(PAGE / "model" / folder, threads=1)
    given = batches(runner)
    answers = in_node(
        model=PAGE / "model" / folder / runner.record.file,
        batches=[{name: array.tolist() for name, array in batch.items()} for batch in given],
    )
    for batch, answer in zip(given, answers, strict=True):
        expected = runner.run(batch)["logits"]
        found = np.array(answer["numbers"], np.float32).reshape(answer["shape"])
        assert found.shape == expected.shape
        deviation = np.abs(found - expected).max() / np.abs(expected).max()
        assert deviation <= tolerance, (expected.shape, deviation)


@pytest.mark.parametrize(("folder", "dtype", "tolerance"), [("fp32", "fp32", FLOAT32), ("int8", "q8", INT8)])
def test_a_pipeline_of_transformers_js_answers_the_same(python_answers, folder, dtype, tolerance):
    texts = TEXTS[:-1]  # of longer texts its pipelines cut the last token, [SEP], which the page does not
    answers = in_node(folder=PAGE / "model" / folder, dtype=dtype, texts=texts)
    for answer, expected in zip(answers, python_answers(folder, texts), strict=True):
        found = {each["label"]: each["score"] for each in answer}
        assert found == pytest.approx(expected, abs=tolerance)
