"""`mobilebert predict`: texts in, answers out; as text on a terminal, as JSON lines everywhere else."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from conversion.backends import BACKENDS
from mobilebert_core.checkpoints.digests import model_digests, tokenizer_digests
from mobilebert_core.datasets.inputs import InputFiles, InputRow
from mobilebert_core.demo_model import DEMO_MODEL, DEMO_TASK
from mobilebert_core.errors import InputError, TokenizerError
from mobilebert_core.processes import check_one_process
from mobilebert_core.tasks.table import TASKS, TextTask
from mobilebert_core.tasks.task_text import options_of

from ..cut_inputs import CutInputs
from ..option_names import as_options
from ..pipelines import BATCHES_AT_ONCE, MobileBertPipeline, Prepared
from ..streams import check_stdout, say
from .answer_tables import AnswerTable
from .arguments import MODEL_HELP, add_backend, add_computation, add_padding_invariant, input_name, output_path
from .model_files import model_files
from .parquet_answers import PARQUET, ParquetAnswers
from .prediction_files import STANDARD_INPUT, AnswerFile, ReportedRows, check_output, source_of
from .reading_options import add_read_options, kinds_of_files, passed_read_options, read_options
from .shares import Share, share

Answers = AnswerFile | AnswerTable | ParquetAnswers

_OTHER_FORMATS = (".csv", ".tsv", ".arrow", ".feather", ".xlsx", ".gz", ".xz", ".bz2", ".zip")  # not written here
_POSITIONAL = "text"  # the field that stands on the command line without a name


def add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command with one subcommand a task, whose options are those of the table."""
    parser = commands.add_parser(
        "predict",
        help="answer texts: words for [MASK], labels, entities, answers to questions, embeddings ...",
        description="Runs a model on texts and prints an answer to each; where the output is a file or a pipe, as a "
        "line of JSON. See `mobilebert predict TASK --help`.",
    )
    tasks = parser.add_subparsers(metavar="TASK", required=True, title="tasks")
    for task in TASKS.values():
        _add_task(tasks, task)


def _add_task(tasks: argparse._SubParsersAction[argparse.ArgumentParser], task: TextTask) -> None:
    names = {field.name for field in task.takes}
    text = "[TEXT ...] " if _POSITIONAL in names else ""
    model = "[--model PATH]" if task.name == DEMO_TASK else "--model PATH"
    parser = tasks.add_parser(
        task.name,
        aliases=task.aliases,
        help=task.about,
        usage=f"%(prog)s {text}{model} [options]",
        description=f"{task.about[0].upper()}{task.about[1:]}. {_input_help(task)} Answers are text on a "
        'terminal, else lines of JSON, {"line": its number, "result": the answer}; a line that cannot be read is '
        "reported and left out.",
    )
    options = {each.name for each in options_of(task.text)}
    for field in task.takes:
        if field.name == _POSITIONAL:
            parser.add_argument("text", nargs="*", metavar="TEXT", help=field.help)
        elif field.name not in options:
            count: Any = "+" if field.several else None
            help = field.help + ("; TEXT comes before them" if field.several else "")
            parser.add_argument(_flag(field.name), dest=f"field_{field.name}", nargs=count, metavar="TEXT", help=help)
    for each in options_of(task.text):
        _add_option(parser, each)
    own = task.name == DEMO_TASK
    parser.add_argument("--model", required=not own, default=DEMO_MODEL if own else None, metavar="PATH",
                        help=MODEL_HELP + " (default: the demo model, 28 emotions)" * own)  # fmt: skip
    add_backend(parser, BACKENDS, help="default torch, whose answers are those of keras; or what an export runs in")
    formats = [ending.removeprefix(".") for ending in task.files.endings]
    parser.add_argument("--input", type=input_name, metavar="FILE",
                        help=f"{kinds_of_files(task.files.endings)}; - is standard input")  # fmt: skip
    parser.add_argument("--format", choices=formats, help="of the input (default: by its name; txt for standard input)")
    add_read_options(parser.add_argument_group("columns of the input, as in training"), task.files.options)
    parser.add_argument("--output", type=answers_path, metavar="FILE",
                        help="JSON lines, or .parquet (default: standard output)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="JSON lines on a terminal as well, with all scores")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep what --output holds and go on after it, with the same input, model and options",
    )
    _add_batches(parser)
    add_computation(parser)
    add_padding_invariant(parser)
    parser.set_defaults(run=run_predict, task=task)


def _add_batches(parser: argparse.ArgumentParser) -> None:
    """Adds which inputs are answered, and how many at once."""
    parser.add_argument(
        "--shard",
        type=share,
        default=Share(),
        metavar="I/N",
        help=f"answer only the Ith of N shares of the input, dealt in runs of {BATCHES_AT_ONCE} batches (of standard "
        "input in single ones), which together answer it with the numbers of one; each with an output of its own, "
        "whose lines say which input they answer",
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="rows at once (default 16)")


def _input_help(task: TextTask) -> str:
    needed = [field.name for field in task.takes if not field.optional]
    if len(needed) == 1:
        return "Texts come as arguments, from --input, or a line each on standard input."
    return (
        f"One input comes as arguments; many from --input or standard input, as JSON lines or CSV with "
        f"{' and '.join(needed)}, or, when all but one of them are arguments, as lines of text."
    )


def answers_path(text: str) -> Path:
    """A place for answers, whose name promises nothing else than what is written."""
    path = output_path(text)
    if path.suffix.lower() in _OTHER_FORMATS:
        raise argparse.ArgumentTypeError(
            f"wanted a name that ends in .jsonl or {PARQUET}, which answers are written as, got {text!r}"
        )
    return path


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_option(parser: argparse.ArgumentParser, each: Any) -> None:
    kind, choices = each.metadata["kind"], each.metadata["choices"]
    flags = [flag for flag in (each.metadata["flag"], _flag(each.name)) if flag]
    help, common = each.metadata["help"], dict[str, Any](dest=f"option_{each.name}", default=argparse.SUPPRESS)
    if kind is bool:
        action: Any = argparse.BooleanOptionalAction if each.default else "store_true"
        parser.add_argument(*flags, action=action, help=help + " (default)" * each.default, **common)
        return
    if each.default not in (None, ()):
        shown = " ".join(each.default) if kind is tuple else each.default
        help += f" (default {shown})"
    if kind is tuple:
        help += "; TEXT comes before them"
    nargs: Any = "+" if kind is tuple else None
    metavar = None if choices else {int: "N", float: "X"}.get(kind, "TEXT")
    parser.add_argument(
        *flags, type=str if kind is tuple else kind, nargs=nargs, choices=choices or None, metavar=metavar, help=help,
        **common,
    )  # fmt: skip


def run_predict(options: argparse.Namespace) -> int:
    """Writes the answers; returns 0, or 1 when lines were broken.

    Raises:
        InputError: when there is no input, or it and the options do not fit.
    """
    check_one_process("predict")
    if options.output is None:
        check_stdout("predict")
    task: TextTask = options.task
    if options.resume and options.output is None:
        raise InputError("predict: --resume goes on with the file of --output, which is missing.")
    fields = {name.removeprefix("field_"): v for name, v in vars(options).items() if name.startswith("field_") and v}
    chosen = {n.removeprefix("option_"): v for n, v in vars(options).items() if n.startswith("option_")}
    texts = getattr(options, _POSITIONAL, [])
    path = _source(options, fields, texts)
    rows, bad = _rows(options, fields, texts, path)
    pipeline = MobileBertPipeline.from_pretrained(
        task.name, options.model, backend=options.backend, batch_size=options.batch_size, dtype=options.dtype,
        device=options.device, threads=options.threads, padding_invariant=options.padding_invariant, **chosen,
    )  # fmt: skip
    window = options.batch_size if path == STANDARD_INPUT else pipeline.inputs_at_once
    answers = _answers(options, pipeline, window, with_inputs=path is not None or len(texts) > 1)
    bad.done = answers.done
    rows = options.shard.rows(rows, window)
    with answers:
        return _answer(pipeline, rows, fields, answers, bad, window, options.shard, options.output is not None)


def _answers(options: argparse.Namespace, pipeline: MobileBertPipeline, window: int, with_inputs: bool) -> Answers:
    """Where answers go."""
    if options.output is None and not options.json and sys.stdout.isatty():
        return AnswerTable(options.task.name, pipeline.text, with_inputs)
    if options.output is not None and options.output.suffix.lower() == PARQUET:
        return ParquetAnswers(options.output, options.resume)
    return AnswerFile(options.output, _made_from(options, pipeline, window) if options.output else {}, options.resume)


def _made_from(options: argparse.Namespace, pipeline: MobileBertPipeline, window: int) -> dict[str, Any]:
    """All that decides the answers but the input. The device and the backend do not.

    Nor does the size of a batch, but it says how many inputs in a row are dealt to a job of several.
    """
    text = pipeline.text
    return {
        "task": options.task.name,
        "model": model_digests(options.model),
        "tokenizer": tokenizer_digests(options.model),
        "options": {each.name: getattr(text, each.name) for each in options_of(type(text))},
        "fields": {name: value for name, value in vars(options).items() if name.startswith("field_") and value},
        "dtype": options.dtype,
        "padding_invariant": options.padding_invariant,
        **({} if options.shard.count == 1 else {"shard": str(options.shard), "inputs in a row": window}),
    }


def _source(options: argparse.Namespace, fields: dict[str, Any], texts: list[str]) -> str | None:
    """The file to read, "-" for standard input, or None where the arguments are the input."""
    passed = {*fields, *([_POSITIONAL] if texts else [])}
    missing = [field.name for field in options.task.takes if not field.optional and field.name not in passed]
    named = [name if name == _POSITIONAL else _flag(name) for name in missing]
    if texts and options.input is not None:
        raise InputError(f"{options.task.name}: text was passed as arguments and from --input. Pass one of the two.")
    if options.input is not None:
        return str(options.input)
    if not missing:
        _check_no_file_options(options)
        return None
    if texts or sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            f"{options.task.name}: {' and '.join(named)} missing. Pass texts as arguments, --input FILE, or "
            "--input - for standard input."
        )
    return STANDARD_INPUT


def _check_no_file_options(options: argparse.Namespace) -> None:
    if passed := ["--format"] * (options.format is not None) + passed_read_options(options):
        raise InputError(
            f"{options.task.name}: wanted --input FILE to read with {' and '.join(passed)}, got texts as arguments. "
            "Leave out the one or the other."
        )


def _rows(
    options: argparse.Namespace, fields: dict[str, Any], texts: list[str], path: str | None
) -> tuple[Iterator[InputRow], ReportedRows]:
    """The inputs, and where those of no use are reported."""

    def report(message: str) -> None:
        tqdm.write(as_options(message, options), file=sys.stderr)

    held: list[Path | int] = list(model_files(options.model))
    if path is None:
        check_output(options.output, held)
        found = iter([InputRow(n, {_POSITIONAL: text}) for n, text in enumerate(texts, 1)] or [InputRow(1, {})])
        return found, ReportedRows(Path("argument"), True, report=report)
    files: InputFiles = options.task.files
    missing = [field.name for field in options.task.takes if not field.optional and field.name not in fields]
    source = source_of(path, options.format, files, len(missing))
    check_output(options.output, [*held, _number_of(sys.stdin) if source.stream else source.path])
    bad = ReportedRows(source.path, True, report=report)
    return files.rows(source, read_options(options, skip_bad_rows=False), list(fields), bad), bad


def _number_of(stream: Any) -> int:
    """The number of an open file; -1, which is none, where no file stands behind a stream."""
    try:
        number: int = stream.fileno()
        return number
    except (OSError, ValueError, AttributeError):
        return -1


def _answer(
    pipeline: MobileBertPipeline,
    rows: Iterator[InputRow],
    fields: dict[str, Any],
    answers: Answers,
    bad: ReportedRows,
    window: int,
    share: Share,
    progress: bool,
) -> int:
    waiting: deque[InputRow] = deque()
    cuts = CutInputs()

    def prepared(rows: Iterable[InputRow]) -> Iterator[Prepared]:
        for row in rows:
            try:
                ready = pipeline.prepare(row.values, **fields)
            except (InputError, TokenizerError) as e:
                bad.add(row.line, str(e))
                continue
            waiting.append(row)
            cuts.add(ready.text, ready.rows)
            yield ready

    try:
        with tqdm(disable=None if progress else True, unit=" lines") as bar:
            for _, some in itertools.groupby(answers.unanswered(rows), key=lambda row: row.window):
                for answer in pipeline.answers(prepared(some), window):
                    answers.write(waiting.popleft(), answer)
                    bar.update()
    except KeyboardInterrupt as e:
        e.add_note(answers.interrupted())
        raise
    answers.finished = True
    for note in cuts.notes():
        say(note.replace("on_long", "--on-long").replace("max_question_length", "--max-question-length"))
    if not (cuts.total or bad.count or answers.done):
        say(f"{bad.path}: 0 rows{'' if share.count == 1 else f' for --shard {share}'}, nothing to answer")
    if bad.count:
        say(f"{bad.count} broken line{'s' * (bad.count != 1)}, {answers.written} answered")
    return 1 if bad.count else 0
