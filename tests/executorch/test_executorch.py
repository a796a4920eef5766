"""ExecuTorch programs: written, proved in ExecuTorch's runtime, and run like a model."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mobilebert
from conversion.backends import BACKENDS
from conversion.exports.export import export
from conversion.parity.sample import random_checkpoint
from mobilebert.cli import main
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import CheckpointError, ExportError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_torch.inference import Runner as TorchRunner
from tests.benchmarks import bench_devices
from tests.tiny import tiny_batch, tiny_config

TEXTS = [
    "What a lovely day!",
    "They never called back, and I am angry.",
    "ok",
    "Why did you write the second one, when nobody had asked for it, and what did you do with the first?",
    "Thank you so much.",
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(DEMO_MODEL, tmp_path_factory.mktemp("demo") / "out", format="executorch")


def test_the_demo_model_answers_as_in_pytorch(exported, capsys):
    assert exported.record.batch == 1 and exported.record.length is None and exported.record.folding == "all"
    assert exported.record.proof["outputs"]["logits"]["deviation"] <= 1e-5
    one, other = (mobilebert.pipeline("text-classification", path) for path in (DEMO_MODEL, exported.directory))
    assert isinstance(other.runner, BACKENDS["executorch"].runner("test"))
    for wanted, got in zip(one(TEXTS, top_k=5), other(TEXTS, top_k=5), strict=True):
        assert [each["label"] for each in wanted] == [each["label"] for each in got]
        np.testing.assert_allclose([e["score"] for e in got], [e["score"] for e in wanted], rtol=1e-4)
    assert main(["predict", "text-classification", TEXTS[0], "--model", str(exported.directory)]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert [each["label"] for each in found] == [each["label"] for each in one(TEXTS[0])]


@pytest.mark.parametrize(("head", "sizes"), [("Model", {}), ("QuestionAnswering", {"batch": 2, "length": 16})])
def test_other_heads_and_sizes(head, sizes, tmp_path):
    config = tiny_config(num_hidden_layers=1)
    source = random_checkpoint(config, HEADS[head], tmp_path / "source")
    made = export(source, tmp_path / "out", format="executorch", **sizes)
    one = TorchRunner.from_pretrained(head, source, device="cpu")
    other = BACKENDS["executorch"].runner("test").from_pretrained(head, made.directory)
    for rows, length in ((1, 16), (3, 16)) if sizes else ((1, 5), (3, 11), (1, 37)):
        batch = tiny_batch(config, head, rows, length, labels=False)
        wanted, got = one.run(batch), other.run(batch)
        for name, array in got.items():
            np.testing.assert_allclose(array, wanted[name], atol=2e-5 * np.abs(wanted[name]).max())


def test_what_it_cannot_do_is_one_error_and_leaves_nothing(exported, tmp_path):
    for more, message in (
        ({"batch": "dynamic"}, "plans its memory for a fixed batch"),
        ({"precision": "int8"}, "executorch is written in fp32, got precision 'int8'"),
    ):
        with pytest.raises(ExportError, match=message):
            export(DEMO_MODEL, tmp_path / "out", format="executorch", **more)
    assert not any(tmp_path.iterdir())
    with pytest.raises(InputError, match="ExecuTorch chooses the number of threads itself"):
        mobilebert.pipeline("text-classification", exported.directory, threads=1)
    runner = BACKENDS["executorch"].runner("test")(exported.directory)
    with pytest.raises(InputError, match=r"executorch does not compute inputs of \(1, 1000\)"):
        runner.run({"input_ids": np.ones((1, 1000), np.int32)})
    program = exported.directory / exported.record.file
    program.write_bytes(b"not a program, but long enough to be read as one" * 9)
    with pytest.raises(CheckpointError, match=r"wanted the files that were exported, but model\.pte is another one"):
        mobilebert.pipeline("text-classification", exported.directory)
    record = json.loads((exported.directory / "export.json").read_text())
    del record["record_sha256"], record["sha256"][program.name]
    (exported.directory / "export.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="ExecuTorch refuses it"):
        mobilebert.pipeline("text-classification", exported.directory)


def test_the_benchmark_times_it(tmp_path):
    form = "executorch fp32"
    bench_devices.prepare(tmp_path, [form], blocks=1)
    assert bench_devices.FORMS[form].make(tmp_path)(bench_devices.inputs(2, 5))
