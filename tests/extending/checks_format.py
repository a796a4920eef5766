"""What holds after a checkpoint format was added."""

from __future__ import annotations

from conversion import inspect_checkpoint
from mobilebert.cli import main


def test_it_is_written_read_and_recognized(checkpoint, tmp_path):
    source, there, back = checkpoint("MaskedLM"), tmp_path / "out" / "m.lines", tmp_path / "back"
    assert main(["convert", str(source), str(there)]) == 0
    assert main(["convert", str(there), str(back), "--parity", "cross"]) == 0
    assert inspect_checkpoint(there.parent).format.startswith("lines, PyTorch's names")
