"""`mobilebert pretrain`: text of any size in, a model that knows the language out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from conversion.backends import FRAMEWORKS
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.training.tasks.masked_language import FillMaskTraining, PretrainingTraining
from mobilebert_core.training.tasks.training_task import TrainingTask

from .arguments import add_backend, input_name, input_path, one_of_so_many, output_path
from .reading_options import kinds_of_files
from .recipe_options import add_resume
from .train import add_data_options, add_recipe_options, run_training, training_of

# What a row is: the task that makes it, and its options.
ROWS: dict[str, tuple[type[TrainingTask], dict[str, Any]]] = {
    "pairs": (PretrainingTraining, {}),
    "packed": (FillMaskTraining, {"pack": True}),
    "lines": (FillMaskTraining, {"pack": False}),
}
ROWS_HELP = (
    "pairs of texts, of which the second follows the first or does not (default), as many texts of a document as a row "
    "holds, or a text in each"
)
_HELD_OUT = 200


def add_pretrain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command; its options are those of `mobilebert train pretraining`, with data of any size."""
    parser = commands.add_parser(
        "pretrain",
        help="teach a model from text: masked words, next sentences, in either framework",
        usage="%(prog)s --data FILE|DIR|GLOB ... --config PRESET|JSON --output DIR [options]",
        description="Teaches a model from text, a sentence on each line and a blank line between documents. Text is "
        "tokenized once, by all cores, into files that are mapped into memory, so that it may be larger than that. "
        "Some rows are held out to evaluate on. What was interrupted goes on with --resume.",
    )
    parser.add_argument("--data", type=input_name, nargs="+", required=True, metavar="FILE|DIR|GLOB",
                        help=kinds_of_files(PretrainingTraining.reader.endings))  # fmt: skip
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--config", dest="model", metavar="PRESET|JSON",
                       help=f"of a new model: a config.json or {', '.join(PRESETS)}")  # fmt: skip
    start.add_argument("--model", metavar="PATH", help="a checkpoint or a name on the Hugging Face hub to go on from")
    parser.add_argument("--tokenizer", "--vocab", metavar="PATH",
                        help="a directory, or vocab.txt (default: the model's; of presets, the package's)")  # fmt: skip
    parser.add_argument(
        "--output", type=output_path, required=True, metavar="DIR", help="a new directory for the model"
    )
    add_resume(parser)
    add_backend(parser, FRAMEWORKS, default="torch", help="default torch")
    parser.add_argument("--rows", choices=list(ROWS), default="pairs", help=ROWS_HELP)
    parser.add_argument("--shards", type=Path, metavar="DIR",
                        help="where rows are kept, for other trainings as well (default: OUTPUT.shards)")  # fmt: skip
    parser.add_argument("--dev", type=input_path, metavar="FILE", help="text to evaluate on, in place of rows held out")
    parser.add_argument("--held-out", type=one_of_so_many, default=_HELD_OUT, metavar="N",
                        help=f"hold out one of so many rows; 0 holds out none (default {_HELD_OUT})")  # fmt: skip
    add_data_options(parser, PretrainingTraining)
    add_recipe_options(parser, PretrainingTraining)
    parser.set_defaults(run=run_pretrain)


def run_pretrain(options: argparse.Namespace) -> int:
    """Trains; returns 0.

    Raises:
        MobileBertError: as `Training.run`.
    """
    options.task, more = ROWS[options.rows]
    return run_training(training_of(options, more, held_out=options.held_out, command="pretrain"))
