"""Does a destination compute what its source computes? Both are loaded as users load them, and run side by side.

That happens in a process of its own: it imports its framework and runs the source while the destination is still being
written, keeps the framework out of the process that converts, and computes on one thread, since threads would wait for
each other longer than two short sentences take.

It is started with `subprocess`, not with `concurrent.futures`: a spawned worker runs the caller's main script again,
which ends in an error where that script has no `if __name__ == "__main__"` guard or is read from standard input. And a
pool waits for its worker until the call has ended, also after an error; this process is killed at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from mobilebert_core.checkpoints.targets import ModelToWrite
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import BackendMissingError, ConfigError, MobileBertError
from mobilebert_core.heads import HEADS, Head
from mobilebert_core.inputs import TEXT_INPUTS

from .backends import FRAMEWORKS
from .parity.deviation import TOLERANCES, ParityError, Report, compare_traces
from .parity.sample import labels_for
from .parity.traces import Trace, trace

MODES = ("same", "cross", "none")


def frameworks_for(mode: str) -> tuple[str, str]:
    """The frameworks of source and destination: one for both, or PyTorch against Keras.

    Raises:
        ConfigError: for another mode.
        BackendMissingError: when what the mode needs is not installed.
    """
    if mode not in MODES:
        raise ConfigError(f"parity must be one of {', '.join(MODES)}, got {mode!r}.")
    here = [backend.name for backend in FRAMEWORKS.values() if backend.installed]
    if mode == "cross" and len(here) < 2:
        raise BackendMissingError(
            f"--parity cross runs the source in PyTorch and the destination in Keras and needs both, got "
            f"{here or 'neither'}. Install them: pip install 'mobilebert[all]'."
        )
    if not here:
        raise BackendMissingError(
            "Parity runs source and destination in a framework and there is none. Install one "
            "(pip install 'mobilebert[torch]' or '[tf]'), or leave the measurement out: --parity none."
        )
    return ("torch", "keras") if mode == "cross" else (here[0], here[0])


class Verifier:
    """A process that imports its framework at once, runs the source when it gets its path, and then the destination.

    `mode` is "same" or "cross"; see `frameworks_for`.
    """

    def __init__(self, mode: str) -> None:
        self._frameworks = frameworks_for(mode)
        self._tolerance = 0.0
        environment = {
            "TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }  # fmt: skip
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would block the process)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, *dict.fromkeys(self._frameworks)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def run_source(self, source: Path, model: ModelToWrite, drop: Sequence[str]) -> None:
        """Runs a checkpoint, read as the configuration of `model` says, without the names in `drop`."""
        self._tolerance = TOLERANCES[model.dtype]
        request = {
            "source": str(source),
            "config": model.config.to_dict(),
            "head": model.head.name,
            "pooler": model.pooler,
            "drop": list(drop),
            "dtype": "float64" if model.dtype == "float64" else "float32",
            "frameworks": self._frameworks,
        }
        self._say(request)

    def run_destination(self, destination: Path, tolerance: float | None = None) -> None:
        """Runs what was written, read with nothing but what stands in it."""
        self._say({"destination": str(destination), "tolerance": self._tolerance if tolerance is None else tolerance})

    def report(self) -> Report:
        """The outputs of both on one seeded batch with padding, state by state.

        Raises:
            ParityError: when one of them does not load, they give other arrays, or the process failed.
        """
        answer, _ = self._process.communicate()
        if not answer:
            self._complaints.seek(0)
            last = (self._complaints.read().decode(errors="replace").strip().splitlines() or ["nothing said"])[-1]
            raise ParityError(f"the process that compares source and destination failed: {last}")
        found = json.loads(answer)
        if "error" in found:
            raise ParityError(found["error"])
        return Report.from_dict(found)

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it has failed, and `report` says how
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()


def seeded_batch(config: MobileBertConfig, head: Head, size: int = 2, length: int = 8) -> dict[str, np.ndarray]:
    """Ids drawn from the whole vocabulary, two segments, one row with padding, and labels."""
    rng = np.random.default_rng(0)
    length = min(length, config.max_position_embeddings)
    shape = (size, 2, length) if head.per_choice else (size, length)
    ids = rng.integers(0, config.vocab_size, shape).astype(np.int32)
    types = rng.integers(0, config.type_vocab_size, shape).astype(np.int32)
    mask = np.ones(shape, np.int32)
    mask[-1, ..., length - length // 4 :] = 0
    inputs = dict(zip(TEXT_INPUTS, (ids, mask, types), strict=True))
    return {**inputs, **labels_for(config, head, shape)}


def measure(request: dict[str, Any], next_request: Callable[[], dict[str, Any]]) -> Report:
    """What the process does: one model is in memory at a time; the destination is asked for when the source has run."""
    head, config = HEADS[request["head"]], MobileBertConfig.from_dict(request["config"])
    batch = seeded_batch(config, head)
    options = {"dtype": request["dtype"]}
    if request["pooler"] is not None:
        options["add_pooling_layer"] = request["pooler"]
    first, second = request["frameworks"]
    source = Path(request["source"])
    reference = _traced(first, head, batch, source, config=config, allow_unknown=request["drop"], **options)
    then = next_request()
    found = _traced(second, head, batch, Path(then["destination"]), **options)
    return compare_traces(reference, found, then["tolerance"])


def _traced(framework: str, head: Head, batch: dict[str, Any], path: Path, **options: Any) -> Trace:
    classes = FRAMEWORKS[framework].model_classes("parity")
    return trace(classes[head.name].from_pretrained(path, **options), batch, gradients=False)


def _main(frameworks: Sequence[str]) -> None:
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    for framework in frameworks:
        FRAMEWORKS[framework].model_classes("parity")
    try:
        answer = measure(json.loads(sys.stdin.readline()), lambda: json.loads(sys.stdin.readline())).to_json()
    except MobileBertError as e:
        answer = json.dumps({"error": str(e)})
    output.write(answer)
    output.flush()
    os._exit(0)  # frameworks take their time to end


if __name__ == "__main__":
    _main(sys.argv[1:])
