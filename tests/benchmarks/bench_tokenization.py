"""Throughput of both tokenizers, one thread, beside the `tokenizers` library and, if asked, an older transformers.

    python tests/benchmarks/bench_tokenization.py --vocab VOCAB.txt --texts TEXTS.txt
        [--slow-python PYTHON]   an interpreter with transformers 4.37.2, whose slow tokenizer is run in turn with ours
        [--repetitions N] [--batch N]

Each line of TEXTS.txt is a text. Everything is measured in one run, one after the other in each repetition; medians
and the spread between the quartiles are printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

# Runs in the other interpreter: says it is ready, then times one pass over the texts for each line it is sent.
WORKER = """
import logging, sys, time
logging.disable(logging.CRITICAL)
import transformers
from transformers import MobileBertTokenizer
vocabulary, texts, batch = sys.argv[1], open(sys.argv[2], encoding="utf-8").read().splitlines(), int(sys.argv[3])
tokenizer = MobileBertTokenizer(vocabulary)
print(transformers.__version__, flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    for at in range(0, len(texts), batch):
        tokenizer(texts[at : at + batch])
    print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def other_slow_tokenizer(python: str, arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], float]]]:
    """Version of transformers in another interpreter, and what times one pass of its slow tokenizer there."""
    command = [python, "-c", WORKER, str(arguments.vocab), str(arguments.texts), str(arguments.batch)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        version = stdout.readline().strip()

        def once() -> float:
            stdin.write("\n")
            stdin.flush()
            return float(stdout.readline())

        yield version, once
        stdin.close()


def timed(run: Callable[[], None]) -> float:
    """Seconds that one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(name: str, times: list[float], base: str, base_times: list[float], tokens: int) -> None:
    """Prints the median with its quartiles, tokens a second, and the share of the time of what it is compared with."""
    low, middle, high = statistics.quantiles(times, n=4)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(times, base_times, strict=True))
    print(
        f"  {name:32} {middle * 1e3:9.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f}), {tokens / middle:12,.0f}"
        f" tokens/s, {ratio:.3f} of the time of {base}"
    )


def measure(runs: dict[str, Callable[[], float]], repetitions: int, tokens: int) -> None:
    """Runs everything in turn and prints it."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            seconds[name].append(run())
    slowest = next((name for name in runs if "transformers" in name), "slow")
    for name, times in seconds.items():
        base = slowest if "slow" in name else "tokenizers encode_batch"
        report(name, times, base, seconds[base], tokens)


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--slow-python")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    return parser.parse_args()


def main() -> None:
    """Measures and prints."""
    arguments = parsed()
    import tokenizers

    from mobilebert_core import MobileBertTokenizer, MobileBertTokenizerFast

    texts = arguments.texts.read_text(encoding="utf-8").splitlines()
    batches = [texts[at : at + arguments.batch] for at in range(0, len(texts), arguments.batch)]
    fast, slow = MobileBertTokenizerFast(arguments.vocab), MobileBertTokenizer(arguments.vocab)
    library = MobileBertTokenizerFast(arguments.vocab).backend_tokenizer

    def over_batches(call: Callable[[list[str]], object]) -> Callable[[], float]:
        return lambda: timed(lambda: [call(batch) for batch in batches] and None)

    runs: dict[str, Callable[[], float]] = {
        "tokenizers encode_batch": over_batches(library.encode_batch),
        "fast": over_batches(fast),
        "fast, with offsets": over_batches(lambda batch: fast(batch, return_offsets_mapping=True)),
        "slow": over_batches(slow),
        "slow, with offsets": over_batches(lambda batch: slow(batch, return_offsets_mapping=True)),
        "slow, words seen first": lambda: over_batches(MobileBertTokenizer(arguments.vocab))(),
    }
    tokens = sum(map(len, fast(texts)["input_ids"]))
    machine = platform.processor() or platform.machine()
    print(f"{platform.platform()}, {machine}, {os.cpu_count()} cores, one thread used")
    print(f"Python {platform.python_version()}, tokenizers {tokenizers.__version__}")
    print(f"{len(texts)} texts, {tokens} tokens, batches of {arguments.batch}, {arguments.repetitions} repetitions")
    if arguments.slow_python is None:
        measure(runs, arguments.repetitions, tokens)
        return
    with other_slow_tokenizer(arguments.slow_python, arguments) as (version, once):
        runs[f"transformers {version} slow"] = once
        measure(runs, arguments.repetitions, tokens)


if __name__ == "__main__":
    sys.exit(main())
