"""Time and memory of a training step, side by side with peers in one run.

Forward, backward, AdamW and zero_grad of the full-size model in float32, dropout as released, batch 8, length 128, one
thread; interleaved repetitions, medians and spread. Masked language models get labels for 15% of the tokens. Both sides
use the same optimizer: in PyTorch AdamW with `fused=True` or, with `--optimizer default`, without; in Keras the AdamW
of each side's own Keras.

Memory is measured in a process for each side and above what weights and optimizer state take, in two ways: the
largest sum of all that PyTorch had allocated at a time during a step, and the peak of the resident memory of the
process, which also holds what the allocator keeps for later. Peers and `--peer-python` are as in bench_forward.py.

    python -m tests.benchmarks.bench_training [--peer-python PYTHON] [--repetitions 15] [--head MaskedLM ...]
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .bench_forward import ask_in_turn, environment, interleaved, rows, start_sides

BATCH, LENGTH, VOCABULARY = 8, 128, 30522
HEADS = ("SequenceClassification", "MaskedLM")


def examples(head: str, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, VOCABULARY, (count, LENGTH))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    if head == "MaskedLM":
        return inputs, np.where(rng.random(ids.shape) < 0.15, ids, -100)
    return inputs, rng.integers(0, 2, count)


def torch_model(side: str, head: str) -> Any:
    """In training mode; "sparse" is ours with `sparse_prediction`, others than ours are peers by their attention."""
    import transformers

    import mobilebert_torch

    if side in ("ours", "sparse"):
        config = mobilebert_torch.MobileBertConfig.from_preset("mobilebert", sparse_prediction=side == "sparse")
        return getattr(mobilebert_torch, f"MobileBertFor{head}")(config).train()
    peer = transformers.MobileBertConfig(classifier_activation=False, attn_implementation=side)
    return getattr(transformers, f"MobileBertFor{head}")(peer).train()


def torch_step(side: str, head: str, fused: bool) -> Callable[[], None]:
    """A step of training, of which the optimizer's state is already there."""
    import torch

    model = torch_model(side, head)
    inputs, labels = examples(head, BATCH)
    batch = {name: torch.from_numpy(array) for name, array in {**inputs, "labels": labels}.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=fused or None)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()

    def step() -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def sides_of(head: str) -> dict[str, str]:
    peer = f"transformers {version('transformers')}"
    ours = {"mobilebert_torch": "ours"}
    if head == "MaskedLM":
        ours["mobilebert_torch, sparse_prediction"] = "sparse"
    return {**ours, f"{peer} eager": "eager", f"{peer} sdpa": "sdpa"}


def bench_torch(head: str, repetitions: int, fused: bool) -> None:
    import torch

    torch.set_num_threads(1)
    runs = {name: torch_step(side, head, fused) for name, side in sides_of(head).items()}
    rows(f"PyTorch training step, {head}, batch {BATCH}, length {LENGTH}", interleaved(runs, repetitions))


def resident_memory(field: str) -> float:
    """MiB of this process by Linux: VmRSS now, VmHWM at most (getrusage would count the process that started it)."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


def print_memory(side: str, head: str) -> None:
    """Runs in a process of its own: MiB allocated at most in a step, and resident at most, above the start."""
    import torch

    torch.set_num_threads(1)
    step = torch_step(side, head, fused=True)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    start = resident_memory("VmRSS")
    for _ in range(3):
        step()
    resident = resident_memory("VmHWM") - start
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    changes = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    sums = np.cumsum([change.nbytes() for change in sorted(changes, key=lambda e: e.start_ns())])
    print(sums.max() / 2**20, resident)


def bench_memory(head: str) -> None:
    found = {}
    for name, side in sides_of(head).items():
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.bench_training", "--memory-of", side, head]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        found[name] = [float(word) for word in done.stdout.split()]
    print(f"PyTorch memory of a training step, {head}, batch {BATCH}, length {LENGTH}")
    *_, peer = found.values()
    for name, (allocated, resident) in found.items():
        print(
            f"  {name:<36}allocated {allocated:7.0f} MiB  ratio {allocated / peer[0]:.3f}"
            f"   resident {resident:7.0f} MiB  ratio {resident / peer[1]:.3f}"
        )


KERAS_SIDE = """
import os, statistics, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
side, head, data, batch = sys.argv[1], sys.argv[2], np.load(sys.argv[3]), int(sys.argv[4])
if side == "ours":
    import keras, mobilebert_tf
    config = mobilebert_tf.MobileBertConfig.from_preset("mobilebert", sparse_prediction=True)
    model = mobilebert_tf.MODEL_CLASSES[head](config)
else:
    import transformers
    keras = tf.keras
    model = getattr(transformers, "TFMobileBertFor" + head)(transformers.MobileBertConfig(classifier_activation=False))
class Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []
    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()
    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)
model.compile(keras.optimizers.AdamW(1e-5))
x = {name: data[name].astype("int32") for name in data.files if name != "labels"}
def fit():
    clock = Clock()
    model.fit(x, data["labels"].astype("int32"), batch_size=batch, verbose=0, callbacks=[clock])
    return statistics.median(clock.seconds[1:])  # the first waits for the input pipeline
fit()
print("ready", flush=True)
for line in sys.stdin:
    print(fit(), flush=True)
"""


def bench_keras(head: str, repetitions: int, peer_python: str, file: str) -> None:
    inputs, labels = examples(head, 4 * BATCH)
    np.savez(file, **inputs, labels=labels)
    processes = start_sides(KERAS_SIDE, peer_python, head, file, str(BATCH))
    rows(f"Keras step of fit, {head}, batch {BATCH}, length {LENGTH}", ask_in_turn(processes, "fit", repetitions))
    for process in processes.values():
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--optimizer", choices=("fused", "default"), default="fused", help="PyTorch's AdamW")
    parser.add_argument("--peer-python", help="Python of an environment with transformers 4.37.2 and TensorFlow 2.15")
    parser.add_argument("--memory-of", nargs=2, metavar=("SIDE", "HEAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print_memory(*options.memory_of)
        return
    environment(options.repetitions)
    print(f"AdamW of PyTorch: {options.optimizer}, on both sides")
    for head in options.head:
        bench_torch(head, options.repetitions, options.optimizer == "fused")
        bench_memory(head)
        if options.peer_python:
            with tempfile.TemporaryDirectory() as folder:
                bench_keras(head, options.repetitions, options.peer_python, f"{folder}/examples.npz")


if __name__ == "__main__":
    main()
