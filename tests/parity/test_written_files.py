"""transformers 5 loads the safetensors checkpoints that core writes, in one file and in several.

What only transformers 4 can load is proved by hand, see tests/golden/check_written_files.py.
"""

from __future__ import annotations

import pytest
import transformers

from conversion.parity.deviation import compare
from mobilebert_core.checkpoints.containers.safetensors import SafetensorsFile
from mobilebert_core.checkpoints.containers.shards import write_sharded
from mobilebert_core.heads import HEADS
from tests.backends.backend import TorchBackend
from tests.tiny import tiny_batch

# What transformers warns of inside itself is not ours to mend.
pytestmark = pytest.mark.filterwarnings(r"ignore::Warning:transformers(\.|$)")


@pytest.mark.parametrize("limit", [None, "40KB"])
@pytest.mark.parametrize(
    ("head", "tied"), [*((head, True) for head in HEADS), ("PreTraining", False), ("MaskedLM", False)]
)
def test_transformers_loads_what_we_write(checkpoint, tmp_path, head, tied, limit):
    ours = TorchBackend().load(head, checkpoint(head, tie_word_embeddings=tied), dtype="float32")
    ours.save_pretrained(tmp_path / "whole")
    file = SafetensorsFile(tmp_path / "whole" / "model.safetensors")
    path = tmp_path / "written"
    write_sharded(path / "model.safetensors", file.stored, file.read, limit)
    ours.config.save_pretrained(path)
    assert (path / "model.safetensors").exists() == (limit is None)
    assert (limit is None) or len(list(path.glob("model-*.safetensors"))) > 3
    cls = getattr(transformers, HEADS[head].class_name)
    theirs, info = cls.from_pretrained(path, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    report = compare(theirs.eval(), ours, tiny_batch(ours.config, head, labels=False), gradients=False)
    assert report.ok, report.first_divergence
