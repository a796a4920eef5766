"""The record of a conversion: what became of every weight, and how well source and destination agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mobilebert_core.checkpoints.formats import Format
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import Head

from .parity.deviation import Report


@dataclass
class Conversion:
    """What a conversion did, weight by weight.

    Attributes:
        source, destination: paths; `source_format` and `output_format` say how each is laid out.
        config, head, dtype: of the model.
        mapped: (name in the source, name in the destination) of every weight written.
        tied: (name in the source, the weight it shares) of what is stored once in the destination.
        dropped: name in the source -> why it is not in the destination.
        notes: what else is worth knowing, such as a decoder that had to be untied.
        report: the measured parity, or None when it was left out.
        files: what was written.
    """

    source: Path
    source_format: str
    destination: Path
    output_format: Format
    config: MobileBertConfig
    head: Head
    dtype: str
    mapped: list[tuple[str, str]] = field(default_factory=list)
    tied: list[tuple[str, str]] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parameters: int = 0
    report: Report | None = None
    files: list[Path] = field(default_factory=list)
