"""What a backend offers to pipelines: a model that is ready to be run on numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ..configuration.config import MobileBertConfig


class Runner(Protocol):
    """A model of one framework, or an exported file, in inference mode; `config` is the model's."""

    config: MobileBertConfig

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's outputs by name, floats of at least 32 bits, from int32 inputs by name."""
