"""Keras's own saves on a disk that is full, or killed, in a process of their own: `DIRECTORY`."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from mobilebert_core.errors import SaveError
from mobilebert_tf import TFMobileBertForMaskedLM
from tests.core.killed_saves import calls_of
from tests.tiny import tiny_config


def outcomes(kind: str, place: Path) -> dict[str, object]:
    """After each kill: whose numbers the file has; on a full disk: the error."""
    model = TFMobileBertForMaskedLM(tiny_config())
    model(np.ones((1, 3), np.int32))

    def save(value: float) -> None:
        for variable in model.trainable_variables:
            variable.assign(np.full(variable.shape, value))
        (model.save if kind == ".keras" else model.save_weights)(place / f"m{kind}")

    def found() -> list[float]:
        model.load_weights(place / f"m{kind}")
        return sorted({float(value) for variable in model.trainable_variables for value in np.unique(variable)})

    place.mkdir()
    save(1.0)
    seen, number = [], 0
    # The process that is killed is forked from this one: its threads of TensorFlow are not there, and not needed.
    while calls_of(lambda: save(2.0), number) is None and number < 40:
        seen.append(found())
        number += 3
        save(1.0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
    error = ""
    try:
        save(3.0)
    except SaveError as e:
        error = str(e)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {"seen": seen, "error": error, "kept": found(), "left": sorted(os.listdir(place))}


if __name__ == "__main__":
    print(json.dumps({kind: outcomes(kind, Path(sys.argv[1]) / kind) for kind in (".keras", ".weights.h5")}))
