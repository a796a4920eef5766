"""Speed on a GPU, side by side with transformers in one run: `python -m tests.benchmarks.bench_gpu`.

Full-size encoder with random weights, in bfloat16 and float16: transformers and this package eager, folded in the basis
for half precision, compiled, and as a CUDA graph, which removes the cost of starting kernels. Medians of interleaved
rounds and their spread, each call waited for; the ratio is to transformers with sdpa in the same precision.

    python -m tests.benchmarks.bench_gpu [--device cuda] [--shapes 1x128 32x128] [--rounds 15] [--blocks 24] [--json F]

`--device cpu --blocks 1` shows that every part of it works where there is no GPU; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

import mobilebert_torch
from tests.benchmarks.bench_devices import inputs, shape

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
BASE = "transformers sdpa"

Tensors = dict[str, torch.Tensor]
Call = Callable[[], Any]


def batch_of(size: tuple[int, int], device: str) -> Tensors:
    return {name: torch.from_numpy(array).to(device) for name, array in inputs(*size).items()}


def models(blocks: int, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """The models by the name of their row, with one set of weights, in a precision."""
    torch.manual_seed(0)
    config = mobilebert_torch.MobileBertConfig.from_preset("mobilebert", num_hidden_layers=blocks)
    ours = mobilebert_torch.MobileBertModel(config).eval()
    folded = mobilebert_torch.fold(ours, "half", batch_of((8, 32), "cpu"), dtype)
    found = {"ours": ours.to(dtype), "ours folded": folded.to(dtype)}
    for implementation in ("eager", "sdpa"):
        theirs = transformers.MobileBertConfig(
            num_hidden_layers=blocks, classifier_activation=False, attn_implementation=implementation
        )
        model = transformers.MobileBertModel(theirs).eval()
        model.load_state_dict({name: value.float() for name, value in ours.state_dict().items()}, strict=False)
        found[f"transformers {implementation}"] = model.to(dtype)
    return {name: model.to(device) for name, model in found.items()}


def compiled(model: Any, backend: str) -> Any:
    return torch.compile(model, dynamic=False, backend=backend)


def in_graph(model: Any, batch: Tensors) -> Call:
    """The call recorded once as a CUDA graph; each run repeats it on the same memory."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # what is made at the first calls must not be recorded
        for _ in range(3):
            model(**batch)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model(**batch)
    return graph.replay


def calls(made: dict[str, Any], batch: Tensors, backend: str) -> dict[str, Call]:
    """What is timed of one shape, by the name of its row."""
    found: dict[str, Call] = {name: lambda model=model: model(**batch) for name, model in made.items()}
    for name in ("ours", "ours folded", BASE):
        fast = compiled(made[name], backend)
        found[f"{name}, compiled"] = lambda fast=fast: fast(**batch)
    if batch["input_ids"].device.type == "cuda":
        for name in ("ours", "ours folded", BASE):
            found[f"{name}, CUDA graph"] = in_graph(made[name], batch)
    return found


def timed(runs: dict[str, Call], device: str, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of one call, a number a round; the runs take turns."""

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):  # the first warms up, and compiles
        for name, run in runs.items():
            wait()
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            wait()
            if number:
                found[name].append((time.perf_counter() - start) / repeats)
    return found


def table(title: str, found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    print(f"\n{title:<32}{'median ms':>10}{'low':>9}{'high':>9}{'ratio':>8}")
    numbers = {}
    for name, seconds in found.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, found[BASE], strict=True))
        low, median, high = min(seconds), statistics.median(seconds), max(seconds)
        numbers[name] = {"median": median, "low": low, "high": high, "ratio": ratio}
        print(f"{name:<32}{median * 1e3:10.3f}{low * 1e3:9.3f}{high * 1e3:9.3f}{ratio:8.3f}")
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 where the device is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="BxS",
                        default=[(1, 128), (1, 384), (32, 128), (32, 384)])  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=10, help="calls a round")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("bench_gpu: wanted a GPU, PyTorch finds none here. Run it where there is one.", file=sys.stderr)
        return 2
    named = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
    print(f"{named}, torch {torch.__version__}, transformers {transformers.__version__}; {options.rounds} rounds")
    numbers: dict[str, Any] = {}
    with torch.inference_mode():
        for precision in options.precision:
            made = models(options.blocks, PRECISIONS[precision], options.device)
            for size in options.shapes:
                title = f"{precision} {size[0]}x{size[1]}"
                runs = calls(made, batch_of(size, options.device), options.backend)
                numbers[title] = table(title, timed(runs, options.device, options.rounds, options.repeats))
    if options.json:
        options.json.write_text(json.dumps({"device": named, "base": BASE, "seconds": numbers}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
