"""`mobilebert distill`: text and a teacher in, a student out."""

from __future__ import annotations

import argparse
from pathlib import Path

from conversion.backends import FRAMEWORKS
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.training.knowledge_transfer import STRATEGIES, TransferSettings
from mobilebert_core.training.tasks.masked_language import FillMaskTraining
from mobilebert_core.training.tasks.masking import MASK_SHARE

from .arguments import add_backend, input_name, input_path, one_of_so_many, output_path
from .pretrain import ROWS, ROWS_HELP
from .reading_options import add_data_group, kinds_of_files, read_options
from .recipe_options import add_fields, add_machine, add_recipe, add_resume, recipe_changes
from .train import report

# What its stages say besides of fields of the recipe.
_STAGES = {
    "learning_rate": "of the last stage",
    "epochs": "over all stages",
    "max_steps": "of all stages together",
    "warmup": "of each stage",
    "clip_norm": "of what a stage trains",
}
# Of the transfer: fields with their help.
_TRANSFER = {
    "block_share": "share of the steps for the stages of blocks",
    "earlier": "learning rate of the blocks below the current one, as a share; 0 freezes them",
    "block_rate": "learning rate of the stages of blocks, as a share of the other",
    "feature": "weight of the difference of normalized states",
    "mean": "weight of the difference of their means",
    "variance": "weight of the difference of their variances",
    "attention": "weight of the difference of attention",
    "hard_share": "of the text in the loss of masked words; with 1 the teacher's scores are not used",
    "temperature": "by which scores of words are divided (default 1, for distilbert 2)",
    "relation_heads": "of minilm (default: as many as have 8 features)",
}


def add_distill(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "distill",
        help="train a student from text and a teacher, in either framework",
        usage="%(prog)s --teacher DIR --student PRESET|DIR --data FILE|DIR|GLOB ... --output DIR [options]",
        description="Transfers the knowledge of a teacher to a student in stages. The student goes to the output "
        "directory, with its curves, scores and a model card. Text is tokenized once, into files that are mapped into "
        "memory. What was interrupted goes on with --resume.",
    )
    students = [name for name, preset in PRESETS.items() if preset.teacher is not None]
    parser.add_argument("--teacher", required=True, metavar="DIR",
                        help="a checkpoint with a masked-language head and its tokenizer")  # fmt: skip
    parser.add_argument("--student", required=True, metavar="PRESET|DIR",
                        help=f"a checkpoint, a config.json, or a preset such as {', '.join(students)}")  # fmt: skip
    parser.add_argument("--data", type=input_name, nargs="+", required=True, metavar="FILE|DIR|GLOB",
                        help=f"{kinds_of_files(FillMaskTraining.reader.endings)}: a sentence on each line, a blank "
                        "line between documents")  # fmt: skip
    parser.add_argument("--dev", type=input_path, metavar="FILE", help="text to evaluate on at the end of each stage")
    parser.add_argument("--held-out", type=one_of_so_many, default=0, metavar="N",
                        help="without --dev hold out one of so many rows to evaluate on (default 0: none)")  # fmt: skip
    parser.add_argument("--shards", type=Path, metavar="DIR",
                        help="where rows are kept; those of mobilebert pretrain will do, where its rows are the same "
                        "(default: OUTPUT.shards)")  # fmt: skip
    parser.add_argument("--output", type=output_path, required=True, metavar="DIR", help="a new directory")
    parser.add_argument("--rows", choices=list(ROWS), default="pairs", help=ROWS_HELP)
    add_resume(parser)
    add_backend(parser, FRAMEWORKS, default="torch", help="default torch")
    group = parser.add_argument_group("transfer")
    group.add_argument("--strategy", choices=list(STRATEGIES), default="progressive",
                       help="; ".join(f"{name}: {about}" for name, about in STRATEGIES.items()))  # fmt: skip
    group.add_argument("--stages", type=int, nargs="+", metavar="N", help="steps of each stage, and so of all together")
    group.add_argument("--blocks", type=int, nargs="+", metavar="N",
                       help="the teacher's block that each block of the student follows, from 1")  # fmt: skip
    group.add_argument("--copy", action=argparse.BooleanOptionalAction, default=True,
                       help="start with the teacher's embeddings and heads where shapes are equal")  # fmt: skip
    defaults = TransferSettings()
    for name, about in _TRANSFER.items():
        default, whole = getattr(defaults, name), name == "relation_heads"
        shown = "" if default is None else f" (default {default:.3g})"
        group.add_argument("--" + name.replace("_", "-"), dest=f"transfer_{name}", type=int if whole else float,
                           metavar="N" if whole else "X", help=about + shown)  # fmt: skip
    add_data_group(parser, FillMaskTraining.reader.options)
    group = parser.add_argument_group("recipe")
    add_recipe(group, FillMaskTraining.recipe, _STAGES, without=("classifier_dropout",))
    group.add_argument("--max-length", type=int, metavar="N", help="tokens of a row (default: all the student has)")
    group.add_argument("--mask-share", type=float, metavar="X",
                       help=f"share of the words to predict (default {MASK_SHARE})")  # fmt: skip
    add_fields(group, "the student's")
    add_machine(group)
    parser.set_defaults(run=run_distill)


def run_distill(options: argparse.Namespace) -> int:
    """Transfers; returns 0.

    Raises:
        MobileBertError: as `Distillation.run`.
    """
    from ..distillation import Distillation

    kind, more = ROWS[options.rows]
    if options.mask_share is not None:
        more = {**more, "mask_share": options.mask_share}
    chosen = {name: getattr(options, f"transfer_{name}") for name in _TRANSFER}
    settings = TransferSettings(
        strategy=options.strategy,
        stage_steps=None if options.stages is None else tuple(options.stages),
        blocks=None if options.blocks is None else tuple(block - 1 for block in options.blocks),
        **{name: value for name, value in chosen.items() if value is not None},
    )
    distillation = Distillation(
        teacher=options.teacher,
        student=options.student,
        data=options.data,
        output=options.output,
        dev=options.dev,
        shards=options.shards,
        held_out=options.held_out,
        task=kind.name,
        settings=settings,
        changes=recipe_changes(options),
        read=read_options(options, options.skip_bad_rows),
        fields=dict(options.fields),
        options=more,
        max_length=options.max_length,
        copy=options.copy,
        backend=options.backend,
        precision=options.precision,
        device=options.device,
        save_every=options.save_every,
        resume=options.resume,
    )
    report(distillation.output, distillation.run())
    return 0
