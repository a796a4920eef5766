"""Classifies the texts of Parquet files with Ray Data: each worker holds the model, and who is free takes rows.

    python examples/predict_ray.py MODEL INPUT OUTPUT_DIRECTORY [WORKERS]

MODEL is a checkpoint, or a directory that `mobilebert export` wrote. A worker gets the rows that `mobilebert predict`
sorts into batches together, so the answers are the same on any number of workers. The files of the output, sorted by
their names, hold the rows in their order. Every machine has the same paths. Needs `pip install 'ray[data]'`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from mobilebert import pipeline
from mobilebert.pipelines import BATCHES_AT_ONCE

BATCH = 16
ROWS = BATCH * BATCHES_AT_ONCE  # that are sorted by length together
MOST = 32 * ROWS  # of a block


class Classifier:
    def __init__(self, model: str) -> None:
        self.classify = pipeline("text-classification", model, top_k=1, batch_size=BATCH)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        answers = self.classify([str(text) for text in rows["text"]])
        return {**rows, **{name: [answer[name] for answer in answers] for name in ("label", "score")}}


def everywhere(path: str) -> str:
    """A path that means the same in every worker, which may run in another directory; a URL or a name stays."""
    return path if "://" in path else str(Path(path).resolve())


def main(model: str, source: str, output: str, workers: str = "2") -> None:
    model = everywhere(model) if Path(model).exists() else model
    source, output = everywhere(source), everywhere(output)
    ray.init()
    DataContext.get_current().execution_options.preserve_order = True
    size, has = int(workers), ray.cluster_resources()
    # Reading needs a processor too: workers that took them all would wait for rows for ever.
    room = {"num_gpus": 1} if has.get("GPU", 0) >= size else {"num_cpus": min(1, (has["CPU"] - 1) / size)}
    rows = ray.data.read_parquet(source)
    # Each block costs some tasks and becomes a file; of a few for each worker none waits long for the last one.
    block = min(MOST, max(ROWS, rows.count() // (4 * size) // ROWS * ROWS))
    answers = rows.repartition(target_num_rows_per_block=block, strict=True).map_batches(
        Classifier, fn_constructor_args=(model,), batch_size=None, compute=ActorPoolStrategy(size=size), **room
    )
    answers.write_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
