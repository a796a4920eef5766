"""Speed of the forward pass, side by side with peers in one run: `make bench`.

One thread, full-size model, float32, interleaved repetitions, medians and spread. PyTorch is measured against
transformers in this process. TensorFlow's MobileBERT lives in transformers 4.37.2, which needs TensorFlow 2.15:
give the Python of such an environment with `--peer-python`, and each repetition is timed in its own process,
both sides in turn.

    python -m tests.benchmarks.bench_forward [--peer-python PYTHON] [--batch 1 8] [--length 128] [--repetitions 15]

The models of this package are measured as they are trained and folded, in both bases.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

FOLDINGS = ("block", "all")  # the bases for speed


def rows(title: str, timings: dict[str, list[float]]) -> None:
    """Prints median and spread of each side, and the median of the pairwise ratios to the last."""
    print(title)
    *_, peer = timings
    for name, seconds in timings.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, timings[peer], strict=True))
        low, median, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"  {name:<34}{median * 1e3:9.1f} ms  ({low * 1e3:.1f} to {high * 1e3:.1f})  ratio {ratio:.3f}")


def interleaved(runs: dict[str, Callable[[], object]], repetitions: int, warm_up: int = 3) -> dict[str, list[float]]:
    """Times each run in turn, again and again."""
    timings: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions + warm_up):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repetition >= warm_up:
                timings[name].append(time.perf_counter() - start)
    return timings


def bench_torch(batch: int, length: int, repetitions: int) -> None:
    import torch
    import transformers

    import mobilebert_torch

    torch.set_num_threads(1)
    ours = mobilebert_torch.MobileBertModel(mobilebert_torch.MobileBertConfig.from_preset("mobilebert")).eval()
    models: dict[str, torch.nn.Module] = {"mobilebert_torch": ours}
    models |= {f"mobilebert_torch folded, {basis}": mobilebert_torch.fold(ours, basis) for basis in FOLDINGS}
    for implementation in ("sdpa", "eager"):
        config = transformers.MobileBertConfig(classifier_activation=False, attn_implementation=implementation)
        peer = transformers.MobileBertModel(config).eval()
        peer.load_state_dict(ours.state_dict())
        models[f"transformers {version('transformers')} {implementation}"] = peer
    ids = torch.randint(1, 30522, (batch, length))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    with torch.inference_mode():
        timings = interleaved({n: lambda m=m: m(**inputs) for n, m in models.items()}, repetitions)
    rows(f"PyTorch forward, batch {batch}, length {length}", timings)


KERAS_SIDE = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
side, batch, length, repetitions = sys.argv[1], *map(int, sys.argv[2:5])
if side == "ours":
    import mobilebert_tf
    model = mobilebert_tf.TFMobileBertModel(mobilebert_tf.MobileBertConfig.from_preset("mobilebert"))
elif side in ("block", "all"):
    import mobilebert_tf
    model = mobilebert_tf.TFMobileBertModel(mobilebert_tf.MobileBertConfig.from_preset("mobilebert"))
    model = mobilebert_tf.fold(model, side)
else:
    import transformers
    model = transformers.TFMobileBertModel(transformers.MobileBertConfig(classifier_activation=False))
ids = np.random.default_rng(0).integers(1, 30522, (batch, length)).astype("int32")
x = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
graph = tf.function(lambda x: model(x)[0])
tensors = {n: tf.constant(v) for n, v in x.items()}
runs = {"graph": lambda: graph(tensors).numpy(), "predict": lambda: model.predict(x, verbose=0, batch_size=batch)}
for name in runs:
    for _ in range(3): runs[name]()
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(repetitions): runs[line.strip()]()
    print((time.perf_counter() - start) / repetitions, flush=True)
"""


def start_sides(script: str, peer_python: str, *arguments: str) -> dict[str, subprocess.Popen]:
    """The script once for each side, in a process of its own that has said "ready"."""
    sides = {"mobilebert_tf": (sys.executable, "ours")}
    sides |= {f"mobilebert_tf folded, {basis}": (sys.executable, basis) for basis in FOLDINGS}
    sides["TFMobileBert of the peer"] = (peer_python, "theirs")
    processes = {
        name: subprocess.Popen(
            [python, "-W", "ignore", "-c", script, side, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "TF_USE_LEGACY_KERAS": "0"},
        )
        for name, (python, side) in sides.items()
    }  # fmt: skip
    for process in processes.values():
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
    return processes


def ask_in_turn(processes: dict[str, subprocess.Popen], kind: str, repetitions: int) -> dict[str, list[float]]:
    """What the sides answer to a line of `kind`, again and again: seconds."""
    timings: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(repetitions):
        for name, process in processes.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(kind + "\n")
            process.stdin.flush()
            timings[name].append(float(process.stdout.readline()))
    return timings


def bench_keras(batch: int, length: int, repetitions: int, peer_python: str) -> None:
    processes = start_sides(KERAS_SIDE, peer_python, str(batch), str(length), "3")
    for kind in ("graph", "predict"):
        rows(f"Keras {kind}, batch {batch}, length {length}", ask_in_turn(processes, kind, repetitions))
    for process in processes.values():
        process.communicate()


def machine() -> str:
    """The processor, and how many cores of it there are."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def environment(repetitions: int) -> None:
    """Prints the machine and the versions."""
    packages = ("torch", "tensorflow-cpu", "keras", "transformers", "numpy")
    print(f"{machine()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in packages), f"; {repetitions} repetitions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--length", type=int, nargs="+", default=[128])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--peer-python", help="Python of an environment with transformers 4.37.2 and TensorFlow 2.15")
    options = parser.parse_args()
    environment(options.repetitions)
    for batch, length in itertools.product(options.batch, options.length):
        bench_torch(batch, length, options.repetitions)
        if options.peer_python:
            bench_keras(batch, length, options.repetitions, options.peer_python)


if __name__ == "__main__":
    np.random.seed(0)
    main()
