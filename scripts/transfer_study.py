"""Which way of teaching a small MobileBERT pays: `make transfer-study DATA=DIR TOKENS=N`.

DIR is that of `mini_model.py`. N, the tokens that each student reads, is the whole budget: the teacher reads eight
times as many, so that it knows what a student cannot find out alone, and the tasks take the more steps the larger the
budget is. 5,000,000 take about six hours of two idle cores.

A teacher (ib-bert-4x256) learns masked words from vectors of words. Then students (mobilebert-4x256) learn in each of
`WAYS` for equal steps, and again for the seconds that masked words alone take. The baseline, the paper's way and the
two best of the others are repeated with two more seeds. Every student of equal steps then learns four small tasks.

A run is a directory; one that is done is not done again, one that was interrupted goes on. So the study may be made in
pieces: `--minutes` says of what length. What is done is reported at the end of each piece.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from mobilebert_core.files import read_json, write_text
from mobilebert_core.training.knowledge_transfer import TransferSettings
from mobilebert_core.training.run_checks import read_curves

from .pretraining_text import LENGTH, pretraining, started, taught, tokenizer_of, written_text
from .small_tasks import FOUR, SMALL_TASKS, fine_tuned, prepared
from .transfer_report import write_report

TEACHER, STUDENT = "ib-bert-4x256", "mobilebert-4x256"
WORDS = 8000
BATCH = 16  # rows of 128 tokens
RATE = 1e-3
TEACHER_READS = 8  # budgets
SEEDS = (0, 1, 2)
BASELINE = "masked words"
ALWAYS = (BASELINE, "progressive")  # repeated with all seeds
FULL_TASKS = 25_000_000  # tokens of a budget from which on the tasks take all their steps
LEAST_STEPS = 12  # a third of them is for the blocks, each of which needs one
_TIMES = "seconds.jsonl"  # in the directory beside a run: a line for each piece of it


@dataclass(frozen=True)
class Way:
    """One way of teaching: the settings of the transfer, and whether the student starts with the teacher's embeddings.

    Without them it starts, as the teacher did, with vectors of words.
    """

    settings: TransferSettings
    copy: bool = True


WAYS = {
    BASELINE: Way(TransferSettings(strategy="none", hard_share=1.0), copy=False),
    "masked words, teacher's embeddings": Way(TransferSettings(strategy="none", hard_share=1.0)),
    "distillation": Way(TransferSettings(strategy="none")),
    "auxiliary": Way(TransferSettings(strategy="auxiliary")),
    "joint": Way(TransferSettings(strategy="joint")),
    "progressive": Way(TransferSettings(strategy="progressive")),
    "minilm relations": Way(TransferSettings(strategy="minilm")),
}


@dataclass(frozen=True)
class Study:
    """Where everything is, and how much of it.

    Attributes:
        until: when the piece ends, by `time.time`.
        seeds: of the ways that are `repeated`; the others have the first alone.
    """

    data: Path
    work: Path
    tokens: int
    tasks: tuple[str, ...] = FOUR
    seeds: tuple[int, ...] = SEEDS
    until: float = float("inf")

    @property
    def steps(self) -> int:
        return max(LEAST_STEPS, self.tokens // (BATCH * LENGTH))

    @property
    def share(self) -> float:
        """Of the steps of each task."""
        return min(1.0, (self.tokens / FULL_TASKS) ** 0.5)

    def teacher(self) -> Path:
        return self.work / f"teacher-{self.tokens}"

    def place(self, way: str, kind: str, seed: int) -> Path:
        """The directory of a run: of equal "steps" or of equal "seconds"."""
        return self.work / f"{self.tokens}" / f"{re.sub('[^a-z]+', '-', way)}-{kind}-{seed}"


# ---------------------------------------------------------------------------------------------- what is done


def make_teacher(study: Study) -> None:
    """The text, its rows, and the teacher of all students."""
    train, dev = written_text(study.data / "corpus", study.work)
    tokenizer_of(train, WORDS, study.work)
    start = started(TEACHER, train, dev, study.work)
    for seed in study.seeds:
        started(STUDENT, train, dev, study.work, seed)
    changes = {"learning_rate": RATE, "batch_size": BATCH, "warmup": 0.05, "max_steps": study.steps * TEACHER_READS}
    timed(study.teacher(), lambda: pretraining(train, dev, str(start), study.teacher(), study.work, **changes))


def teach(study: Study, way: str, kind: str, seed: int, steps: int) -> None:
    """One student."""
    chosen, output = WAYS[way], study.place(way, kind, seed)
    train, dev = written_text(study.data / "corpus", study.work)
    student = STUDENT if chosen.copy else str(started(STUDENT, train, dev, study.work, seed))
    changes = {"learning_rate": RATE, "batch_size": BATCH, "max_steps": steps, "seed": seed}
    timed(
        output,
        lambda: taught(train, dev, study.teacher(), student, chosen.settings, output, study.work, **changes),
    )


def learn_task(study: Study, way: str, seed: int, task: str) -> None:
    """One task by one student of equal steps."""
    student, output = study.place(way, "steps", seed), _task_place(study, way, seed, task)
    steps = max(1, round(SMALL_TASKS[task].steps * study.share))
    score = fine_tuned(SMALL_TASKS[task], study.data, study.work, str(student), output, steps=steps, seed=seed)
    write_text(output / "score.json", json.dumps(score))


def timed(output: Path, run: Callable[[], Any]) -> None:
    """Notes the seconds of the processor and the steps of this piece of a run, also of one that is interrupted."""
    before, began = _steps_of(output), time.process_time()
    try:
        run()
    finally:
        place = output.with_name(f"{output.name}-{_TIMES}")
        piece = {"steps": max(0, _steps_of(output) - before), "seconds": time.process_time() - began}
        if output.exists() and piece["steps"]:
            earlier = place.read_text(encoding="utf-8") if place.exists() else ""
            write_text(place, earlier + json.dumps(piece) + "\n")


def _steps_of(output: Path) -> int:
    curves = output / "curves.csv"
    rows = read_curves(curves) if curves.exists() else []
    return int(rows[-1]["step"]) if rows else 0


def seconds_of(output: Path) -> float:
    """Of the processor, for each step, startup included."""
    pieces = [
        json.loads(line)
        for line in output.with_name(f"{output.name}-{_TIMES}").read_text(encoding="utf-8").splitlines()
    ]
    return sum(piece["seconds"] for piece in pieces) / sum(piece["steps"] for piece in pieces)


def is_done(output: Path) -> bool:
    return (output / "training.json").exists() and bool(read_json(output / "training.json").get("finished"))


# ---------------------------------------------------------------------------------------------- in which order


def phases(study: Study) -> Iterable[list[Callable[[], None]]]:
    """What is left to do, in parts; those of one list may be done at the same time."""
    if not is_done(study.teacher()):
        yield [partial(make_teacher, study)]

    def students(ways: Iterable[str], seeds: Iterable[int]) -> list[Callable[[], None]]:
        wanted = [(way, seed) for seed in seeds for way in ways]
        return [
            partial(teach, study, way, "steps", seed, study.steps)
            for way, seed in wanted
            if not is_done(study.place(way, "steps", seed))
        ]

    def tasks(ways: Iterable[str], seeds: Iterable[int]) -> list[Callable[[], None]]:
        wanted = [(way, seed, task) for seed in seeds for way in ways for task in study.tasks]
        for task in study.tasks:
            prepared(SMALL_TASKS[task], study.data, study.work)
        return [
            partial(learn_task, study, way, seed, task)
            for way, seed, task in wanted
            if not (_task_place(study, way, seed, task) / "score.json").exists()
        ]

    first = study.seeds[0]
    yield students(WAYS, [first])
    best = repeated(study)
    yield students(best, study.seeds[1:])
    limit = seconds_of(study.place(BASELINE, "steps", first)) * study.steps
    yield [
        partial(teach, study, way, "seconds", first, max(LEAST_STEPS, round(limit / each)))
        for way in WAYS
        if way != BASELINE and not is_done(study.place(way, "seconds", first))
        for each in [seconds_of(study.place(way, "steps", first))]
    ]
    yield tasks(WAYS, [first])
    yield tasks(best, study.seeds[1:])


def repeated(study: Study) -> list[str]:
    """The baseline, the paper's way, and the two others that found most hidden words with the first seed."""
    others = sorted((way for way in WAYS if way not in ALWAYS), key=lambda way: -masked(study, way, "steps"))
    return [*ALWAYS, *others[:2]]


def masked(study: Study, way: str, kind: str, seed: int | None = None) -> float:
    """The share of hidden words found on the held-out text."""
    place = study.place(way, kind, study.seeds[0] if seed is None else seed)
    return float(read_json(place / "training.json")["dev"]["masked_accuracy"])


def _task_place(study: Study, way: str, seed: int, task: str) -> Path:
    student = study.place(way, "steps", seed)
    return student.with_name(f"{student.name}-{task}")


# ---------------------------------------------------------------------------------------------- the results


def results(study: Study) -> dict[str, Any]:
    """All that is done, in plain values; what is not done is left out."""
    found: dict[str, Any] = {n: getattr(study, n) for n in ("tokens", "steps", "share")}
    found |= {"teacher_reads": TEACHER_READS, "batch": BATCH, "ways": {}}
    if is_done(study.teacher()):
        found["teacher"] = read_json(study.teacher() / "training.json")["dev"]
        found["teacher_seconds"] = seconds_of(study.teacher()) * study.steps * TEACHER_READS
    for way in WAYS:
        own: dict[str, Any] = {"masked": [], "tasks": {}}
        for seed in study.seeds:
            if is_done(study.place(way, "steps", seed)):
                own["masked"].append(masked(study, way, "steps", seed))
            for task in study.tasks:
                score = _task_place(study, way, seed, task) / "score.json"
                if score.exists():
                    own["tasks"].setdefault(task, []).append(json.loads(score.read_text(encoding="utf-8")))
        if is_done(study.place(way, "steps", study.seeds[0])):
            own["seconds_a_step"] = seconds_of(study.place(way, "steps", study.seeds[0]))
        place = study.place(way, "seconds", study.seeds[0])
        if is_done(place):
            own["masked_equal_seconds"] = masked(study, way, "seconds")
            own["steps_equal_seconds"] = _steps_of(place)
        found["ways"][way] = own
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="directory with corpus and tasks")
    parser.add_argument("work", type=Path, help="directory for the runs")
    parser.add_argument("--tokens", type=int, default=5_000_000, help="that each student reads (default 5000000)")
    parser.add_argument("--minutes", type=float, help="of this piece; without it to the end")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one core (default 2)")
    parser.add_argument("--tasks", nargs="*", default=list(FOUR), choices=list(SMALL_TASKS), metavar="TASK")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"(default {len(SEEDS)})")
    parser.add_argument("--report", type=Path, help="where the report goes (default: WORK/report)")
    options = parser.parse_args()
    until = float("inf") if options.minutes is None else time.time() + 60 * options.minutes
    seeds = tuple(range(options.seeds))
    study = Study(options.data, options.work, options.tokens, tuple(options.tasks), seeds, until)
    whole = run(study, options.jobs)
    found = {**results(study), "whole": whole, "jobs": options.jobs}
    report = write_report(found, options.report or options.work / "report")
    print(report.read_text(encoding="utf-8"))
    print("done" if whole else "the same command goes on")


def run(study: Study, jobs: int) -> bool:
    """Does what is left, so many runs at a time; returns whether all is done before the piece ends."""
    for part in phases(study):
        if jobs == 1 or len(part) < 2:
            if not all(_in_time(study.until, each) for each in part):
                return False
            continue
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            if not all(pool.map(partial(_in_time, study.until), part)):
                return False
    return True


class OutOfTimeError(BaseException):
    """The piece has ended. No `Exception`: nothing may take it for a fault of its own."""


def _in_time(until: float, run: Callable[[], None]) -> bool:
    """Whether it was done before the piece ended. What was begun goes on from its last saved state."""
    torch.set_num_threads(1)
    left = until - time.time()
    if left <= 0:
        return False

    def end(*_: Any) -> None:
        raise OutOfTimeError

    if left < float("inf"):
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, left)
    try:
        run()
        return True
    except OutOfTimeError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
