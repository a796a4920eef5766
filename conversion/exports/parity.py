"""An exported directory beside the checkpoint that it was made from, as a parity report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.errors import ExportError
from mobilebert_core.files import sha256
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.inputs import TEXT_INPUTS

from ..parity.deviation import TOLERANCES, Report, check_tolerance, compare_traces
from ..parity.traces import Trace
from .formats import EXPORT_FORMATS
from .record import ExportRecord

# What a precision may deviate, where nobody says: of 8 bits that is for information, as of half precision.
_TOLERANCES = {"fp32": TOLERANCES["float32"], "fp16": TOLERANCES["float16"]}


def compare_exported(
    directory: Path, source: str | Path, batch: Mapping[str, np.ndarray], tolerance: float | None = None
) -> Report:
    """Runs an exported directory in its runtime and its source in its framework, and compares every output.

    Args:
        source: the checkpoint that it was made from.
        batch: model inputs by our names; what else is in it is left out.

    Raises:
        ExportError: for a checkpoint whose bytes are not those that were exported.
    """
    check_tolerance(tolerance)
    record = ExportRecord.read(directory)
    row = EXPORT_FORMATS[record.format]
    checkpoint = open_checkpoint(resolve(source, config=True, weights=True))
    wanted = record.source.get("sha256", {})
    for part in checkpoint.parts:
        if wanted.get(part.name) != sha256(part):
            raise ExportError(
                f"{part}: is not what {directory} was made from ({record.source.get('name')}, by its digest). Pass "
                "that checkpoint: --source."
            )
    reference = row.open_source("parity", record.head, checkpoint.path, checkpoint.config())
    runner = row.runtime.runner("parity").from_pretrained(record.head, directory)
    inputs = runner.at_length({name: batch[name] for name in TEXT_INPUTS})  # padding is seen, so both read as much
    expected, found = reference.run(inputs), runner.run(inputs)

    def traced(name: str, outputs: Mapping[str, np.ndarray]) -> Trace:
        arrays = {f"scores.{each}": outputs[each] for each in record.outputs}
        return Trace(name, "float32", reference.config.hidden_act, arrays)

    one = traced(f"{row.framework.name} {record.source.get('name')}", expected)
    other = traced(f"{record.format} {record.precision}", found)
    allowed = _TOLERANCES.get(record.precision, TOLERANCES["bfloat16"]) if tolerance is None else tolerance
    return compare_traces(one, other, allowed)
