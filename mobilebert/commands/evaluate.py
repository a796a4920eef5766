"""`mobilebert evaluate`: a data file and a model in, scores out."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from conversion.backends import BACKENDS
from mobilebert_core.processes import check_one_process
from mobilebert_core.training.evaluation import EVALUATION_BATCH
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.tasks.labelled_task import LabelledTask
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from mobilebert_core.training.tasks.training_task import TrainingTask

from ..streams import check_stdout
from .arguments import MODEL_HELP, add_backend, add_computation, at_least_one, input_path
from .reading_options import read_options
from .train import add_data_options, report_rows, task_options


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command with one subcommand a task."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model, or an exported one, on a file of examples",
        description="Scores a model on a file, with the scores that training prints; where the output is a file or a "
        "pipe, as JSON. See `mobilebert evaluate TASK --help`.",
    )
    tasks = parser.add_subparsers(metavar="TASK", required=True, title="tasks")
    for task in TRAINING_TASKS.values():
        _add_task(tasks, task)


def _add_task(tasks: argparse._SubParsersAction[argparse.ArgumentParser], task: type[TrainingTask]) -> None:
    parser = tasks.add_parser(
        task.name,
        aliases=list(task.aliases),
        help=task.about,
        usage="%(prog)s FILE --model PATH [options]",
        description=f"Scores a model on {task.about}. The file is read as `mobilebert train {task.name}` reads it.",
    )
    parser.add_argument("data", type=input_path, metavar="FILE", help="of examples, with what is right")
    parser.add_argument("--model", required=True, metavar="PATH", help=MODEL_HELP)
    parser.add_argument("--tokenizer", metavar="PATH", help="default: the model's")
    add_backend(parser, BACKENDS, help="default torch, whose scores are those of keras; or what an export runs in")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal as well")
    add_data_options(parser, task)
    group = parser.add_argument_group("computation")
    hides = not issubclass(task, LabelledTask)
    group.add_argument("--batch-size", type=at_least_one, default=EVALUATION_BATCH, metavar="N",
                       help=f"rows at once (default {EVALUATION_BATCH}"
                       f"{', as in training; another number hides other words' if hides else ''})")  # fmt: skip
    if hides:
        group.add_argument("--seed", type=int, default=Recipe.seed, metavar="N",
                           help=f"of the hidden words, as in training (default {Recipe.seed})")  # fmt: skip
    add_computation(group)
    parser.set_defaults(run=run_evaluate, task=task)


def run_evaluate(options: argparse.Namespace) -> int:
    """Prints the scores; returns 0.

    Raises:
        MobileBertError: as `mobilebert.evaluate`.
    """
    from ..evaluation import evaluate

    check_one_process("evaluate")
    check_stdout("evaluate")
    found = evaluate(
        options.task.name,
        options.data,
        options.model,
        backend=options.backend,
        tokenizer=options.tokenizer,
        read=read_options(options, options.skip_bad_rows),
        options=task_options(options),
        max_length=options.max_length,
        seed=getattr(options, "seed", Recipe.seed),
        batch_size=options.batch_size,
        dtype=options.dtype,
        device=options.device,
        threads=options.threads,
    )
    if options.json or not sys.stdout.isatty():
        print(json.dumps(asdict(found), indent=2))
        return 0
    print(f"{found.model} on {found.backend}, {found.data['file']}, {found.rows:,} rows")
    report_rows(found.notes, found.skipped)
    width = max(map(len, found.scores))
    for name, value in found.scores.items():
        print(f"{name:<{width}}  {value:.4f}")
    return 0
