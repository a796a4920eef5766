"""The proof of an export: a file that computes something else than its source is found out and not shown."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch

from conversion.exports import formats
from conversion.exports.export import export
from conversion.exports.torch_program.inference import Runner as TorchProgramRunner
from conversion.parity.sample import random_checkpoint
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import ExportError
from mobilebert_core.heads import HEADS
from mobilebert_torch.export import Exported
from tests.tiny import tiny_config


class TestProof:
    """Here a "file" is the pickled module, which takes no time to make, and spoiled before it is written."""

    @pytest.fixture
    def refused(self, tmp_path, monkeypatch):
        """Exports a model that `spoil` changes, and expects an error."""
        source = random_checkpoint(tiny_config(), HEADS["TokenClassification"], tmp_path / "source")

        def check(spoil, message, precision="fp32", source=source):
            def write(model, spec, path):
                torch.save(spoil(Exported(copy.deepcopy(model), spec)), path)

            def open_file(self, path, threads):
                self.module = torch.load(path, weights_only=False)

            monkeypatch.setattr(formats.ExportFormat, "load_writer", lambda self: write)
            monkeypatch.setattr(TorchProgramRunner, "open", open_file)
            monkeypatch.setattr(formats.ExportFormat, "precision", lambda self, name: formats.Precision("model.pt2"))
            with pytest.raises(ExportError, match=message):
                export(source, tmp_path / "out", format="torch-export", precision=precision)
            assert [path.name for path in tmp_path.iterdir()] == ["source"]

        return check

    def test_the_first_layer_that_differs_is_named(self, refused):
        def spoil(module):
            module.model.mobilebert.encoder.layer[1].output.dense.bias.data += 1e-2
            return module

        refused(spoil, r"logits deviates by .*; the first hidden state that diverges is block.1, by")

    def test_a_file_of_nan_is_refused(self, refused):
        def spoil(module):
            module.model.classifier.bias.data += float("nan")
            return module

        message = "logits holds NaN or infinity; its hidden states agree, so it is the head"
        refused(spoil, message)
        refused(spoil, message, "int8")

    def test_integers_are_not_taken_for_floats(self, refused):
        refused(Rounded, "wanted the output logits as floats, got numbers of type int8")

    def test_padding_that_is_seen_is_refused(self, refused):
        """As where a mask of -10,000 takes all steps of 8 bits, so that no score differs from another."""

        def spoil(module):
            module.model.config.mask_value = -1.0
            return module

        refused(
            spoil, "in rows that are mostly padding, by 0.0e.00 in rows without: the mask has lost", "int8", DEMO_MODEL
        )

    def test_half_precision_that_overflows_is_refused(self, refused, tmp_path):
        large = random_checkpoint(tiny_config(), HEADS["Model"], tmp_path / "large", hidden_scale=1e6)
        shutil.rmtree(tmp_path / "source")
        large = large.rename(tmp_path / "source")
        message = "last_hidden_state holds NaN or infinity; the first hidden state that diverges is embeddings"
        refused(lambda module: module, message, "fp16", large)


def test_half_precision_holds_where_states_are_large(tmp_path):
    """In its own basis, of powers of two, which is what `fold="auto"` takes."""
    large = random_checkpoint(
        tiny_config(num_hidden_layers=1), HEADS["QuestionAnswering"], tmp_path / "source", hidden_scale=1e6
    )
    done = export(large, tmp_path / "out", format="torch-export", precision="fp16", batch=1, length=37)
    assert done.record.folding == "half"
    assert all(each["deviation"] < 1e-2 for each in done.record.proof["outputs"].values())


class Rounded(torch.nn.Module):
    """A model that returns 8 bits."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *inputs):
        return tuple(output.to(torch.int8) for output in self.inner(*inputs))
