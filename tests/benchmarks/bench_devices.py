"""Speed of every form of one model on this machine: `python -m tests.benchmarks.bench_devices`.

Full-size encoder with random weights, one thread, each form in a process of its own that is pinned to one core and
asked in turn. Beside our forms stand transformers in PyTorch, its graph in ONNX Runtime, the shapes of MiniLM-L6 and
BERT-base there, and the floor: the matrix products of the encoder alone, in PyTorch. What passes it in float32 does not
multiply less, it starts its products more cheaply, which shows where they are small.

    python -m tests.benchmarks.bench_devices [--only litert onnx] [--shapes 1x16 8x128] [--rounds 9] [--blocks 24]
        [--json FILE] [--plot FILE] [--keep DIR] [--environments DIR]

ExecuTorch and OpenVINO run in the environments of `make environments`; what is not there is named and left out.

Medians of rounds and their spread; the ratio is the median of the ratios to `--base` within a round. Seconds are of CPU
time, which other programs on the machine lengthen less than they do the time on the wall; the load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from conversion.parity.sample import random_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from tests.benchmarks.bench_forward import environment, machine
from tests.benchmarks.device_forms import BASE, FLOOR, FORMS, inputs

OTHERS = ("transformers", "MiniLM", "BERT")  # how the names of what is not ours begin
ROOT = Path(__file__).parents[2]
SHAPES = ("1x16", "1x128", "1x384", "8x128")  # batch x tokens


# -------------------------------------------------------------------------------------------------- preparation


def prepare(folder: Path, forms: list[str], blocks: int | None = None, environments: Path = ROOT) -> None:
    """Writes what the forms read, unless it is there; `blocks` of the encoder in place of its own number."""
    if not (folder / "ours").exists():
        config = MobileBertConfig.from_preset("mobilebert", **({} if blocks is None else {"num_hidden_layers": blocks}))
        random_checkpoint(config, HEADS["Model"], folder / "ours")
    for form in sorted((FORMS[name] for name in forms), key=lambda form: form.reads):
        read = form.reads
        if (folder / read).exists():
            continue
        print(f"writes {read}", flush=True)
        if read.endswith(".onnx"):
            write_peer(folder, read.removesuffix(".onnx").removesuffix("-int8"))
        else:
            format, _, precision = read.partition("-")
            # OpenVINO's environment cannot write what it reads; ExecuTorch's alone can.
            python = form.python(environments) if format == form.environment else sys.executable
            options = ["--format", format, "--precision", precision]
            subprocess.run([python, "-m", "mobilebert", "export", folder / "ours", folder / read, *options], check=True)


def peer(name: str, folder: Path) -> Any:
    import transformers

    bert = {"attn_implementation": "eager"}
    if name == "transformers":
        return transformers.MobileBertModel.from_pretrained(folder / "ours", **bert)
    small = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return transformers.BertModel(transformers.BertConfig(**(small if name == "minilm" else {}), **bert))


def write_peer(folder: Path, name: str) -> None:
    """transformers' graph, in float32 and through ONNX Runtime's own dynamic quantization."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    example = {n: torch.from_numpy(array.astype(np.int64)) for n, array in inputs(2, 8).items()}
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    plain = folder / f"{name}.onnx"
    torch.onnx.export(
        peer(name, folder).eval(), (), plain, kwargs=example, input_names=list(example),
        dynamic_shapes=dict.fromkeys(example, axes), dynamo=True, opset_version=21, verbose=False,
    )  # fmt: skip
    quantize_dynamic(plain, folder / f"{name}-int8.onnx", per_channel=True, weight_type=QuantType.QInt8)


# ------------------------------------------------------------------------------------------------------ timing


def serve(form: str, folder: Path) -> None:
    """A form's process: a line "batch length repeats" in, the shortest of the repeats in seconds out."""
    run = FORMS[form].make(folder)
    print("ready", flush=True)
    warm: set[tuple[int, int]] = set()
    for line in sys.stdin:
        batch, length, repeats = map(int, line.split())
        fed = inputs(batch, length)
        for _ in range(0 if (batch, length) in warm else 2):
            run(fed)
        warm.add((batch, length))
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            run(fed)
            seconds.append(time.process_time() - start)
        print(min(seconds), flush=True)


def started(forms: list[str], folder: Path, core: int, environments: Path = ROOT) -> dict[str, subprocess.Popen[str]]:
    """The processes of the forms, each of which has said "ready", on one core."""
    pin = ["taskset", "-c", str(core)] if sys.platform == "linux" else []
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    processes = {}
    for form in forms:
        python = str(FORMS[form].python(environments))
        command = [*pin, python, "-W", "ignore", "-m", __spec__.name, "--serve", form, "--keep", str(folder)]
        processes[form] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )
        said = ask(processes[form])
        assert said == "ready", f"{form}: {said}"
    return processes


def ask(process: subprocess.Popen[str], line: str = "") -> str:
    assert process.stdin is not None and process.stdout is not None
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def measured(
    processes: dict[str, subprocess.Popen[str]], shapes: list[tuple[int, int]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds by shape and form, a number a round; the forms take turns within a round."""
    found: dict[str, dict[str, list[float]]] = {}
    for batch, length in shapes:
        line = f"{batch} {length} {8 if batch * length < 100 else 3}"
        rows: dict[str, list[float]] = {form: [] for form in processes}
        for _ in range(rounds):
            for form, process in processes.items():
                rows[form].append(float(ask(process, line)))
        found[f"{batch}x{length}"] = rows
    return found


def report(found: dict[str, dict[str, list[float]]], base: str) -> dict[str, dict[str, dict[str, float]]]:
    """Prints a table for each shape, and gives its numbers."""
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    for shape, rows in found.items():
        print(f"\n{shape:<36}{'median ms':>10}{'low':>9}{'high':>9}{'ratio':>8}")
        numbers[shape] = {}
        for form, seconds in rows.items():
            ratio = statistics.median(a / b for a, b in zip(seconds, rows[base], strict=True))
            each = {"median": statistics.median(seconds), "low": min(seconds), "high": max(seconds), "ratio": ratio}
            numbers[shape][form] = each
            shown = "".join(
                f"{each[key] * 1e3:>{width}.1f}" for key, width in (("median", 10), ("low", 9), ("high", 9))
            )
            print(f"{form:<36}{shown}{ratio:8.3f}")
    return numbers


def plot(numbers: dict[str, dict[str, dict[str, float]]], base: str, path: Path) -> None:
    """Bars with their spread, ours dark, the floor as a line. What takes over four times the base is cut."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(numbers), figsize=(3.4 * len(numbers) + 2, 5), sharey=True, squeeze=False)
    for panel, (shape, forms) in zip(panels[0], numbers.items(), strict=True):
        bars = {name: each for name, each in forms.items() if name != FLOOR}
        limit = 1.25 * max(each["median"] for each in bars.values() if each["median"] <= 4 * forms[base]["median"])
        for place, (name, each) in enumerate(bars.items()):
            whole, ours = each["median"] <= limit, not name.startswith(OTHERS)
            spread = [[each["median"] - each["low"]], [each["high"] - each["median"]]] if whole else None
            color = "#1f5fa8" if ours else "#b8c4d0"
            panel.barh(place, min(each["median"], limit) * 1e3, color=color, xerr=spread and np.multiply(spread, 1e3))
            panel.text(limit * 1.15e3, place, f"{each['median'] * 1e3:.0f}", ha="right", va="center", fontsize=8)
        if FLOOR in forms:
            panel.axvline(forms[FLOOR]["median"] * 1e3, color="#a8321f", linewidth=1, linestyle="--", label=FLOOR)
        panel.set(title=f"batch {shape.replace('x', ', ')} tokens", xlabel="ms", xlim=(0, limit * 1.17e3))
        panel.set_yticks(range(len(bars)), list(bars), fontsize=8)
    panels[0][0].invert_yaxis()
    if any(FLOOR in forms for forms in numbers.values()):
        panels[0][0].legend(loc="lower right", fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def shape(text: str) -> tuple[int, int]:
    batch, length = text.split("x")
    return int(batch), int(length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="forms whose name begins with one of these, and the base"
    )
    parser.add_argument("--base", default=BASE, choices=list(FORMS), help=f"of the ratios (default {BASE})")
    parser.add_argument("--shapes", nargs="+", type=shape, default=[shape(each) for each in SHAPES], metavar="BxS")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--blocks", type=int, metavar="N", help="of the encoder (default 24)")
    parser.add_argument("--core", type=int, default=(os.cpu_count() or 1) - 1, help="to which all are pinned")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the models are kept for the next time")
    parser.add_argument(
        "--environments", type=Path, default=ROOT, metavar="DIR", help="where .venv-NAME are (default: this project)"
    )
    parser.add_argument("--serve", choices=list(FORMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.keep)
    forms = [f for f in FORMS if f == options.base or not options.only or f.startswith(tuple(options.only))]
    environment(options.rounds)
    for form in [f for f in forms if not FORMS[f].python(options.environments).exists()]:
        print(f"{form} is left out: no {FORMS[form].python(options.environments)} (make environments)")
        forms.remove(form)
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, forms, options.blocks, options.environments)
        processes = started(forms, folder, options.core, options.environments)
        before = os.getloadavg()[0]
        numbers = report(measured(processes, options.shapes, options.rounds), options.base)
        load = (before, os.getloadavg()[0])
        for process in processes.values():
            process.communicate()
    print(f"\nload of the machine {load[0]:.1f} before, {load[1]:.1f} after; the run itself makes 1")
    if options.json:
        about = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "rounds": options.rounds, "load": load}
        options.json.write_text(json.dumps({**about, "base": options.base, "seconds": numbers}, indent=2) + "\n")
    if options.plot:
        plot(numbers, options.base, options.plot)


if __name__ == "__main__":
    main()
