"""Time of a step in each stage of a progressive knowledge transfer, beside a full step of both models in the same run.

A full step computes and trains all blocks and the masked words of the student, with all blocks of the teacher: the
strategy "auxiliary". Random weights, float32, AdamW, no dropout, one thread; interleaved repetitions, medians and
spread.

    python -m tests.benchmarks.bench_transfer [--pair 12x256] [--batch 8] [--length 128] [--earlier 0.1]
        [--repetitions 9]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import numpy as np

from conversion.backends import FRAMEWORKS
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.training.knowledge_transfer import TransferSettings, schedule
from mobilebert_core.training.knowledge_transfer_course import TransferCourse
from mobilebert_core.training.knowledge_transfer_start import Pair
from mobilebert_core.training.recipe import Recipe

from .bench_forward import environment, interleaved, rows

HEAD = "MaskedLM"
MASKED = 0.15
FULL = "both models whole"
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def batch_of(config: MobileBertConfig, count: int, length: int) -> dict[str, np.ndarray]:
    """Random rows of whole length, of which a share of the words is asked for."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, config.vocab_size, (count, length))
    labels = np.where(rng.random(ids.shape) < MASKED, ids, -100)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": labels}


def steps_of(
    settings: TransferSettings,
    teacher: object,
    configs: tuple[MobileBertConfig, MobileBertConfig],
    batch: Mapping[str, np.ndarray],
) -> dict[str, Callable[[], float]]:
    """A step of training by stage; each has a student of its own, for another stage makes another optimizer."""
    backend, recipe = FRAMEWORKS["torch"], Recipe()
    blocks = configs[1].num_hidden_layers
    stages = schedule(settings, blocks, 3 * (blocks + 1), recipe, False)
    found: dict[str, Callable[[], float]] = {}
    for stage in stages.stages:
        trainer = backend.trainer("bench").start(HEAD, None, recipe, config=configs[1].copy())
        course = TransferCourse(
            trainer,
            Pair.of(settings, stages, *configs, batch["input_ids"].shape[-1]),
            backend.load("knowledge_transfer", "bench").KnowledgeTransfer,
            teacher,
        )
        course.begin(stage.start)
        found[stage.name] = lambda trainer=trainer: trainer.step([batch], 1e-5)  # type: ignore[misc]
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", default="12x256", help="of presets, ib-bert-PAIR and mobilebert-PAIR")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument(
        "--earlier", type=float, default=TransferSettings.earlier, help="rate of earlier blocks; 0 freezes"
    )
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    environment(options.repetitions)
    teacher, student = (
        MobileBertConfig.from_preset(f"{name}-{options.pair}").copy(sparse_prediction=True, **NO_DROPOUT)
        for name in ("ib-bert", "mobilebert")
    )
    model = FRAMEWORKS["torch"].trainer("bench").create(HEAD, teacher, "float32")
    batch = batch_of(student, options.batch, options.length)
    steps = steps_of(TransferSettings(earlier=options.earlier), model, (teacher, student), batch)
    (full,) = steps_of(TransferSettings(strategy="auxiliary"), model, (teacher, student), batch).values()
    title = f"A step of {options.pair}, batch {options.batch}, length {options.length}"
    rows(title, interleaved({**steps, FULL: full}, options.repetitions))


if __name__ == "__main__":
    main()
