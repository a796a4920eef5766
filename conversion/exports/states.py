"""Where the numbers of an exported file leave those of its source: the first hidden state beyond what is allowed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.exports import STATE
from mobilebert_core.tasks.runner import Runner

from ..parity.deviation import TOLERANCES, relative_deviation
from ..parity.traces import trace

_ALLOWED = 0.1  # in lower precisions: a state that is further away is no rounding


def diverging_layer(
    model: Any, with_states: Callable[[Path], Runner], batches: Sequence[Mapping[str, np.ndarray]], precision: str
) -> str:
    """What an error adds about the first state that diverges, such as "; the first state that does is block.3 ...".

    Args:
        model: the source.
        with_states: writes the file once more with its states into a directory, and opens it.
    """
    allowed = TOLERANCES["float32"] if precision == "fp32" else _ALLOWED
    try:
        with tempfile.TemporaryDirectory() as scratch:
            runner = with_states(Path(scratch) / "states")
            for batch in batches:
                arrays = trace(model, batch, gradients=False).arrays
                names = [name for name in arrays if name == "embeddings" or name.startswith("block.")]
                found = runner.run(batch)
                for index, name in enumerate(names):
                    deviation = relative_deviation(arrays[name], _as(found[f"{STATE}.{index}"], arrays[name]))
                    if not deviation <= allowed:
                        return f"; the first hidden state that diverges is {name}, by {deviation:.1e}"
    except Exception as e:  # the search is a courtesy: it must not hide what was found
        return f"; its hidden states could not be looked at ({type(e).__name__})"
    return "; its hidden states agree, so it is the head"


def _as(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """A state in the shape of the source's: choices may be rows."""
    return found.reshape(expected.shape) if found.size == expected.size else np.full(expected.shape, np.nan)
