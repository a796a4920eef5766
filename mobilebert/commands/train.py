"""`mobilebert train`: a data file in, a trained model out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mobilebert_core.configuration.fields import PROBLEM_TYPES
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.errors import ConfigError, DataError
from mobilebert_core.training.recipe import RECIPES, WITH_CLASSIFIER, Recipe
from mobilebert_core.training.state import PRECISIONS

# What each task reads, and how its options are called on the command line.
_ABOUT = {
    "text-classification": "one label, several labels or a number for texts or pairs: CSV, TSV or JSON lines",
    "token-classification": "labels of words: CoNLL columns, or JSON lines with tokens and tags",
    "question-answering": "answers in texts: SQuAD JSON, version 1 or 2",
    "multiple-choice": "the best of several texts: JSON lines or CSV, such as SWAG",
    "fill-mask": "masked words, from plain text, a text on each line",
    "pretraining": "masked words and whether sentences follow each other, from plain text: a sentence on each line, a "
    "blank line between documents",
}
_ALIASES = {  # by the name of the model's class
    "text-classification": "sequence-classification",
    "fill-mask": "masked-lm",
}
_READ_OPTIONS = ("text_column", "pair_column", "label_column", "label_separator", "problem_type")
_TABLES = ("text-classification", "multiple-choice")
_TEXT = ("fill-mask", "pretraining")


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command with one subcommand a task."""
    parser = commands.add_parser(
        "train",
        help="train a model on a data file, in either framework",
        description="Trains a model on a file, evaluates it, keeps the best and writes a model card. See "
        "`mobilebert train TASK --help`.",
    )
    tasks = parser.add_subparsers(metavar="TASK", required=True, title="tasks")
    for name, about in _ABOUT.items():
        _add_task(tasks, name, about)


def _add_task(tasks: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str) -> None:
    parser = tasks.add_parser(
        name,
        aliases=[_ALIASES[name]] if name in _ALIASES else [],
        help=about,
        usage=f"mobilebert train {name} --data FILE|DIR --model PATH|PRESET --output DIR [options]",
        description=f"Trains on {about}. The best model goes to the output directory, with its curves, scores and a "
        "model card. A training that was interrupted goes on with --resume.",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE|DIR",
                        help="a directory holds train.*, and may hold dev.* and test.*")  # fmt: skip
    parser.add_argument(
        "--dev", type=Path, metavar="FILE", help="what to evaluate on, in place of the directory's dev.*"
    )
    parser.add_argument("--model", required=True, metavar="PATH|PRESET",
                        help="a checkpoint or a name on the Hugging Face hub to go on from; for random weights a "
                        f"config.json or a preset: {', '.join(PRESETS)}")  # fmt: skip
    parser.add_argument(
        "--tokenizer", metavar="PATH", help="default: the model's; of presets, the package's vocabulary"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new directory for the model")
    parser.add_argument("--resume", action="store_true", help="go on with the training in the output directory")
    parser.add_argument("--backend", choices=("torch", "keras"), default="torch",
                        help="default torch; the same seed gives the same curve but for dropout")  # fmt: skip
    data = parser.add_argument_group("data")
    if name in (*_TABLES, *_TEXT):
        data.add_argument("--text-column", metavar="NAME", help="of the text; a number from 1 without header")
        data.add_argument("--no-header", dest="header", action="store_false", help="the first row is data")
    if name in _TABLES:
        data.add_argument("--label-column", metavar="NAME", help="of the label")
    if name == "text-classification":
        data.add_argument("--pair-column", metavar="NAME", help="of the second text, for pairs")
        data.add_argument("--label-separator", metavar="TEXT", help="between the labels of a row that has several")
        data.add_argument("--problem-type", choices=PROBLEM_TYPES, help="default: what the labels look like")
        data.add_argument("--tune-thresholds", action="store_true",
                          help="several labels: find each label's best threshold on the dev rows and move the "
                          "classifier's bias, so that it lies at a probability of 0.5")  # fmt: skip
    if name in WITH_CLASSIFIER:
        data.add_argument("--label-names", type=Path, metavar="FILE",
                          help="the labels, one a line, by whose numbers rows may name them")  # fmt: skip
    data.add_argument("--skip-bad-rows", action="store_true", help="leave out and count rows that cannot be used")
    data.add_argument("--max-length", type=int, metavar="N", help="tokens of a row (default: all the model has)")
    for option, kind, help in _task_options(name):
        flag = "--" + option.replace("_", "-")
        if kind is bool:
            data.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help,
                              dest=f"option_{option}")  # fmt: skip
        else:
            data.add_argument(flag, type=kind, default=argparse.SUPPRESS, metavar="N" if kind is int else "X",
                              help=help, dest=f"option_{option}")  # fmt: skip
    _add_recipe(parser, RECIPES[name], name in WITH_CLASSIFIER)
    parser.set_defaults(run=run_train, task=name, after_interruption="; the same command with --resume goes on")


def _task_options(name: str) -> list[tuple[str, type, str]]:
    if name == "question-answering":
        return [
            ("doc_stride", int, "tokens from window to window of a long text (default 128)"),
            ("max_question_length", int, "word pieces of the question that are read (default 64)"),
            ("max_answer_length", int, "word pieces of an answer at most (default 30)"),
        ]
    if name in _TEXT:
        shared: list[tuple[str, type, str]] = [
            ("mask_share", float, "share of the words to predict (default 0.15)"),
            ("whole_words", bool, "hide all pieces of a word together (the default)"),
        ]
        return [*shared, ("pack", bool, "several texts in a row, up to its length")] if name == "fill-mask" else shared
    return []


_HELP = {
    "learning_rate": "the highest, after the warm-up",
    "batch_size": "rows of a batch",
    "accumulate": "batches of a step",
    "epochs": "how often the rows are read",
    "max_steps": "stop after so many steps, if the epochs have more",
    "warmup": "share of the steps during which the learning rate rises",
    "weight_decay": "of matrices and embeddings",
    "clip_norm": "largest norm of all gradients together",
    "classifier_dropout": "share of the classifier's input that is dropped",
    "seed": "of newly initialized weights, order, masks and dropout",
}


def _add_recipe(parser: argparse.ArgumentParser, recipe: Recipe, classifies: bool) -> None:
    group = parser.add_argument_group("recipe")
    for name, help in _HELP.items():
        if name == "classifier_dropout" and not classifies:
            continue
        default = getattr(recipe, name)
        whole = isinstance(default, int) or name == "max_steps"
        shown = "" if default is None else f" (default {default:g})"
        group.add_argument("--" + name.replace("_", "-"), type=int if whole else float, metavar="N" if whole else "X",
                           help=help + shown, dest=f"recipe_{name}")  # fmt: skip
    group.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", dest="fields",
                       help="fields of the configuration, such as attention_probs_dropout_prob=0")  # fmt: skip
    group.add_argument("--precision", choices=PRECISIONS, default="float32", help="default float32")
    group.add_argument("--device", help="where PyTorch computes, such as cpu or cuda:1 (default: the GPU, if any)")
    group.add_argument("--compile", action="store_true", help="compile the step (torch.compile, or XLA in Keras)")
    group.add_argument("--save-every", type=int, default=500, metavar="N", help="steps between states to resume from")


def run_train(options: argparse.Namespace) -> int:
    """Trains; returns 0.

    Raises:
        MobileBertError: as `Training.run`.
    """
    from mobilebert_core.datasets.examples import ReadOptions

    from ..training import Training

    read: dict[str, Any] = {n: getattr(options, n, None) for n in _READ_OPTIONS}
    if (names := getattr(options, "label_names", None)) is not None:
        read["label_names"] = _label_names(names)
    if options.save_every < 1:
        raise ConfigError(f"train: --save-every must be at least 1, got {options.save_every}.")
    changes = {n: getattr(options, f"recipe_{n}", None) for n in _HELP}
    training = Training(
        task=options.task,
        data=options.data,
        model=options.model,
        output=options.output,
        backend=options.backend,
        dev=options.dev,
        tokenizer=options.tokenizer,
        recipe=RECIPES[options.task].replace(**changes),
        read=ReadOptions(header=getattr(options, "header", True), skip_bad_rows=options.skip_bad_rows, **read),
        fields=dict(_field(text) for text in options.fields),
        options={n.removeprefix("option_"): v for n, v in vars(options).items() if n.startswith("option_")},
        max_length=options.max_length,
        precision=options.precision,
        device=options.device,
        compile=options.compile,
        tune_thresholds=getattr(options, "tune_thresholds", False),
        save_every=options.save_every,
        resume=options.resume,
    )
    _report(training.output, training.run())
    return 0


def _label_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: wanted UTF-8 text with a label on each line, cannot read it ({e}).") from None
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: wanted different labels, one on each line; {repeated[0]!r} stands there twice.")
    if not names:
        raise DataError(f"{path}: wanted labels, one on each line, got none.")
    return names


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"train: --set wants FIELD=VALUE, got {text!r}.")
    try:
        return name, json.loads(value.lower() if value in ("True", "False", "None") else value)
    except ValueError:
        return name, value


def _report(output: Path, results: dict[str, Any]) -> None:
    for message in results["skipped"][:5]:
        print(f"left out  {message}")
    if len(results["skipped"]) > 5:
        print(f"left out  {len(results['skipped']) - 5:,} more")
    for note in results["notes"]:
        print(f"note      {note}")
    for split in ("dev", "test"):
        if scores := results.get(split):
            line = ", ".join(f"{n} {v:.4f}" for n, v in scores.items() if n not in ("step", "epoch"))
            print(f"{split:<9} {line}")
    print(f"{output}: the model, with its card in README.md")
