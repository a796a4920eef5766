"""`mobilebert train`: a data file in, a trained model out."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conversion.backends import FRAMEWORKS
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.errors import ConfigError
from mobilebert_core.processes import is_first
from mobilebert_core.quantization.training import QUANTIZATIONS
from mobilebert_core.shipped_models import SHIPPED_MODELS
from mobilebert_core.training.defaults import SWEEP
from mobilebert_core.training.run_directory import scores_in
from mobilebert_core.training.soft_labels import SoftLabels
from mobilebert_core.training.tasks.labelled_task import LabelledTask
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from mobilebert_core.training.tasks.text_classification import TextClassificationTraining
from mobilebert_core.training.tasks.training_task import TrainingTask

from ..training_data import LABELLED_STREAMED_FROM, STREAMED_FROM
from .arguments import add_backend, input_path, output_path
from .reading_options import add_data_group, kinds_of_files, read_options
from .recipe_options import add_fields, add_machine, add_recipe, add_resume, recipe_changes

if TYPE_CHECKING:
    from ..training import Training


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command with one subcommand a task."""
    parser = commands.add_parser(
        "train",
        help="train a model on a data file, in either framework",
        description="Trains a model on a file, evaluates it, keeps the best and writes a model card. See "
        "`mobilebert train TASK --help`.",
    )
    tasks = parser.add_subparsers(metavar="TASK", required=True, title="tasks")
    for task in TRAINING_TASKS.values():
        _add_task(tasks, task)


def _add_task(tasks: argparse._SubParsersAction[argparse.ArgumentParser], task: type[TrainingTask]) -> None:
    parser = tasks.add_parser(
        task.name,
        aliases=list(task.aliases),
        help=task.about,
        usage="%(prog)s --data FILE|DIR --model PATH|PRESET --output DIR [options]",
        description=f"Trains on {task.about}. The best model goes to the output directory, with its curves, scores and "
        "a model card. A training that was interrupted goes on with --resume.",
    )
    parser.add_argument("--data", type=input_path, required=True, metavar="FILE|DIR",
                        help=f"{kinds_of_files(task.reader.endings)}; a directory holds train.*, and may hold dev.* "
                        "and test.*")  # fmt: skip
    parser.add_argument(
        "--dev", type=input_path, metavar="FILE", help="what to evaluate on, in place of the directory's dev.*"
    )
    parser.add_argument("--model", required=True, metavar="PATH|PRESET",
                        help="a checkpoint or a name on the Hugging Face hub to go on from, or "
                        f"{', '.join(SHIPPED_MODELS)}, which ships with the package; for random weights a config.json "
                        f"or a preset: {', '.join(PRESETS)}")  # fmt: skip
    parser.add_argument(
        "--tokenizer", metavar="PATH", help="default: the model's; of presets, the package's vocabulary"
    )
    parser.add_argument(
        "--output", type=output_path, required=True, metavar="DIR", help="a new directory for the model"
    )
    add_resume(parser)
    add_backend(parser, FRAMEWORKS, default="torch",
                help="default torch; the same seed gives the same curve but for dropout")  # fmt: skip
    large = (LABELLED_STREAMED_FROM if task.names_labels else STREAMED_FROM) >> 20
    parser.add_argument("--shards", type=Path, metavar="DIR",
                        help="keep the rows of training there, made once and mapped into memory (default: rows are in "
                        f"memory; of files of {large} MB and more in OUTPUT.shards)")  # fmt: skip
    add_data_options(parser, task)
    if "problem_type" in task.reader.options:
        parser.add_argument("--tune-thresholds", action="store_true",
                            help="several labels: find each label's best threshold on the dev rows and move the "
                            "classifier's bias, so that it lies at a probability of 0.5")  # fmt: skip
    add_recipe_options(parser, task)
    if issubclass(task, LabelledTask):
        _add_teacher(parser, task)
    parser.set_defaults(run=run_train, task=task)


def add_data_options(parser: argparse.ArgumentParser, task: type[TrainingTask]) -> None:
    """How the data are read, and the options of the task."""
    group = add_data_group(parser, task.reader.options)
    group.add_argument("--max-length", type=int, metavar="N", help="tokens of a row (default: all the model has)")
    for each in task.option_fields():
        kind, help = each.metadata["kind"], f"{each.metadata['help']} (default {each.default})"
        settings = {"action": argparse.BooleanOptionalAction} if kind is bool else {
            "type": kind, "metavar": "N" if kind is int else "X"
        }  # fmt: skip
        group.add_argument("--" + each.name.replace("_", "-"), dest=f"option_{each.name}", default=argparse.SUPPRESS,
                           help=help, **settings)  # fmt: skip


def task_options(options: argparse.Namespace) -> dict[str, Any]:
    """Those of the task that were passed."""
    return {n.removeprefix("option_"): v for n, v in vars(options).items() if n.startswith("option_")}


def learning_rate(text: str) -> float | str:
    """A number, or the word that asks for a sweep."""
    return SWEEP if text == SWEEP else float(text)


def add_recipe_options(parser: argparse.ArgumentParser, task: type[TrainingTask]) -> None:
    """The recipe, where it is computed, and what is done to the model meanwhile."""
    group = parser.add_argument_group("recipe")
    more = "; more for small models and random weights" if issubclass(task, LabelledTask) else ""
    add_recipe(
        group,
        task.recipe,
        {"learning_rate": "sweep tries several in short trainings and takes the best"},
        {"learning_rate": more, "epochs": more},
        without=() if task.classifies else ("classifier_dropout",),
        kinds={"learning_rate": learning_rate},
    )
    add_fields(group, "the")
    add_machine(group)
    group.add_argument("--quantize", choices=QUANTIZATIONS,
                       help="train with the rounding of static int8, which `mobilebert export --precision int8-static` "
                       "then writes")  # fmt: skip
    group.add_argument("--compile", action="store_true", help="compile the step (torch.compile, or XLA in Keras)")
    group.add_argument("--shard", action="store_true",
                       help="under a launcher: each process holds a part of the weights (FSDP2); without "
                       "it each holds all of them (DDP)")  # fmt: skip


def _add_teacher(parser: argparse.ArgumentParser, task: type[TrainingTask]) -> None:
    group = parser.add_argument_group("teacher")
    other = ", or one that transformers runs, such as a BERT" if task is TextClassificationTraining else ""
    group.add_argument("--teacher", metavar="DIR",
                       help=f"whose scores are learned too: a checkpoint for the same labels{other}")  # fmt: skip
    group.add_argument("--hard-share", type=float, metavar="X",
                       help=f"of the labels of the file in the loss (default {SoftLabels.hard_share:g})")  # fmt: skip
    group.add_argument("--temperature", type=float, metavar="X",
                       help=f"divides the scores of both sides (default {SoftLabels.temperature:g})")  # fmt: skip
    if task is TextClassificationTraining:
        group.add_argument(
            "--unlabelled", type=input_path, metavar="FILE", help="texts without labels, for the teacher"
        )


def _teaching(options: argparse.Namespace) -> Any:
    """What the options say of a teacher; None without one."""
    passed = {n: getattr(options, n, None) for n in ("hard_share", "temperature", "unlabelled")}
    if getattr(options, "teacher", None) is None:
        if names := [name for name, value in passed.items() if value is not None]:
            raise ConfigError(f"train: --{names[0].replace('_', '-')} is for a teacher, there is none. Add --teacher.")
        return None
    from ..teaching import Teaching

    unlabelled = passed.pop("unlabelled")
    soft_labels = SoftLabels(**{name: value for name, value in passed.items() if value is not None})
    return Teaching(teacher=options.teacher, soft_labels=soft_labels, unlabelled=unlabelled)


def training_of(options: argparse.Namespace, more: Mapping[str, Any], **settings: Any) -> Training:
    """The training that the arguments describe, with `more` options of the task and other settings."""
    from ..training import Training

    return Training(
        task=options.task.name,
        data=options.data,
        model=options.model,
        output=options.output,
        backend=options.backend,
        dev=options.dev,
        tokenizer=options.tokenizer,
        changes=recipe_changes(options),
        read=read_options(options, options.skip_bad_rows),
        fields=dict(options.fields),
        options={**task_options(options), **more},
        max_length=options.max_length,
        precision=options.precision,
        quantize=options.quantize,
        device=options.device,
        compile=options.compile,
        tune_thresholds=getattr(options, "tune_thresholds", False),
        teaching=_teaching(options),
        save_every=options.save_every,
        resume=options.resume,
        shard=options.shard,
        shards=options.shards,
        **settings,
    )


def run_training(training: Training) -> int:
    """Trains and reports."""
    report(training.output, training.run())
    return 0


def run_train(options: argparse.Namespace) -> int:
    """Trains; returns 0.

    Raises:
        MobileBertError: as `Training.run`.
    """
    return run_training(training_of(options, {}))


def report_rows(notes: Sequence[str], skipped: Sequence[str]) -> None:
    """What was done to the rows of a file, and which were left out."""
    for message in skipped[:5]:
        print(f"left out  {message}")
    if len(skipped) > 5:
        print(f"left out  {len(skipped) - 5:,} more")
    for note in notes:
        print(f"note      {note}")


def report(output: Path, results: dict[str, Any]) -> None:
    """Prints what a training ends with; of several processes the first does."""
    if not is_first():
        return
    report_rows(results["notes"], results["skipped"])
    for split in ("dev", "test"):
        if scores := results.get(split):
            line = ", ".join(f"{n} {v:.4f}" for n, v in scores_in(scores).items())
            print(f"{split:<9} {line}")
    print(f"{output}: the model, with its card in README.md")
