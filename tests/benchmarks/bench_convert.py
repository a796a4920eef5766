"""Conversion of the full pretraining model to TensorFlow, side by side with transformers 4.37.2, as whole processes.

Source is a pytorch_model.bin of random weights. The peer is `TFMobileBertForPreTraining.from_pretrained(...,
from_pt=True)` and `save_pretrained`, in an environment with transformers 4.37.2, PyTorch and TensorFlow 2.15. Both
sides in turn; ours with everything it does by default (read back, parity, record) and without parity.

    python -m tests.benchmarks.bench_convert --peer-python PYTHON [--repetitions 5]

Memory is the largest resident set of a process; ours are two, of which the second runs the models.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from conversion.converting import convert
from conversion.parity.sample import random_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import HEADS

PEER = (
    "import sys; from transformers import TFMobileBertForPreTraining as M\n"
    "M.from_pretrained(sys.argv[1], from_pt=True).save_pretrained(sys.argv[2])"
)


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds, and MiB of the largest process."""
    start = time.perf_counter()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="Python of an environment with transformers 4.37.2")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(", ".join(f"{p} {version(p)}" for p in ("numpy", "h5py", "torch")))
    with tempfile.TemporaryDirectory() as folder:
        drawn = random_checkpoint(MobileBertConfig(), HEADS["PreTraining"], Path(folder) / "drawn")
        source, result = Path(folder) / "source", Path(folder) / "result"
        convert(drawn, source, to="pytorch-bin", parity="none")
        ours = [sys.executable, "-m", "mobilebert.cli", "convert", str(source), str(result), "--to", "tensorflow"]
        sides = {
            "mobilebert convert": ours,
            "mobilebert convert --parity none": [*ours, "--parity", "none"],
            "transformers from_pt=True": [options.peer_python, "-c", PEER, str(source), str(result)],
        }
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(options.repetitions + 1):
            for name, command in sides.items():
                shutil.rmtree(result, ignore_errors=True)
                measured[name].append(run(command))
    *_, peer = measured
    for name, runs in measured.items():
        pairs = list(zip(runs[1:], measured[peer][1:], strict=True))  # the first of each warms the disk's cache
        seconds, memory = ([pair[0][i] for pair in pairs] for i in (0, 1))
        faster, smaller = (statistics.median(ours[i] / theirs[i] for ours, theirs in pairs) for i in (0, 1))
        print(
            f"  {name:<34}{statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"{statistics.median(memory):5.0f} MiB; ratios {faster:.3f}, {smaller:.3f}"
        )


if __name__ == "__main__":
    main()
