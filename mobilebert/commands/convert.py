"""`mobilebert convert`: a checkpoint from one format into another, and what became of every weight."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from conversion.record import Conversion
from conversion.verification import MODES
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.heads import HEADS
from mobilebert_core.processes import check_one_process

from .arguments import HEAD_HELP, SOURCE_HELP, config_of, output_path

_SHOWN = 12  # dropped names of one reason that are printed; all of them stand in the record


def add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    formats = "\n".join(f"  {t.name:14} {t.written.description}" for t in OUTPUT_FORMATS.values())
    parser = commands.add_parser(
        "convert",
        help="move a checkpoint from one format into another, and measure that it computes the same",
        description=(
            "Reads a checkpoint in any format (its own bytes say which), writes it in another, reads that back bit by "
            "bit, runs both on the same inputs, and prints what became of every weight. Nothing is written unless all "
            "of it holds; a record of it (provenance.json) lies beside the result."
        ),
        epilog=f"formats to write:\n{formats}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument(
        "destination", type=output_path, metavar="DST", help="directory, or file that ends as its format does"
    )
    parser.add_argument(
        "--to", choices=list(OUTPUT_FORMATS), metavar="FORMAT", help="default: what the ending of DST says"
    )
    parser.add_argument("--dtype", choices=["auto", *DTYPES], default="auto", help="default: that of the source")
    parser.add_argument("--head", choices=list(HEADS), help=HEAD_HELP)
    parser.add_argument(
        "--config",
        metavar="FILE|PRESET",
        help="configuration of a source that has none: a JSON file or a preset's name",
    )
    parser.add_argument(
        "--max-shard-size", type=_size, metavar="SIZE", help="split the weights into files of at most this: 5GB, 200MB"
    )
    parser.add_argument("--drop", nargs="+", default=[], metavar="NAME", help="unknown names that may be left behind")
    parser.add_argument(
        "--parity", choices=MODES, default="same",
        help="same: run source and destination in one framework (default). cross: source in PyTorch, destination in "
        "Keras. none: only compare bit by bit",
    )  # fmt: skip
    parser.add_argument("--tolerance", type=float, help="largest deviation allowed (default: that of the dtype)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at DST")
    parser.add_argument("--verbose", action="store_true", help="print every weight, not only their number")
    parser.add_argument("--json", action="store_true", help="print the record instead of the table")
    parser.set_defaults(run=run_convert)


def run_convert(options: argparse.Namespace) -> int:
    """Returns 0; whatever does not hold is an error."""
    from conversion.converting import convert

    check_one_process("convert")
    with tqdm(disable=None, file=sys.stderr, leave=False, unit=" weights", bar_format="{desc:.70} {n_fmt}") as bar:

        def progress(step: str) -> None:
            bar.set_description_str(step, refresh=False)
            bar.update()

        done = convert(
            options.source,
            options.destination,
            to=options.to,
            dtype=options.dtype,
            head=options.head,
            config=config_of(options.config),
            max_shard_size=options.max_shard_size,
            drop=options.drop,
            parity=options.parity,
            tolerance=options.tolerance,
            overwrite=options.overwrite,
            progress=progress,
        )
    record = next(path for path in done.files if path.name.endswith("provenance.json"))
    if options.json:
        print(record.read_text(encoding="utf-8"), end="")
    else:
        _show(done, record, options.verbose)
    return 0


def _show(done: Conversion, record: Path, verbose: bool) -> None:
    """What became of every weight, and how well the two agree."""
    print(f"{done.source}: {done.source_format}")
    print(f"{done.destination}: {done.output_format.name}")
    print(f"{done.head.class_name}, {done.parameters:,} parameters, {done.dtype}\n")
    print(f"mapped   {len(done.mapped):,} weights")
    if verbose:
        for theirs, ours in done.mapped:
            print(f"  {theirs} -> {ours}")
    print(f"tied     {len(done.tied):,}")
    for alias, original in done.tied:
        print(f"  {alias} is {original}, stored once")
    print(f"dropped  {len(done.dropped):,}")
    for reason, count in Counter(done.dropped.values()).items():
        names = [name for name, why in done.dropped.items() if why == reason]
        shown = names if verbose else names[:_SHOWN]
        more = f", ... and {count - len(shown):,} more (all in {record.name})" if count > len(shown) else ""
        print(f"  {reason}: {', '.join(shown)}{more}")
    for note in done.notes:
        print(f"note     {note}")
    print("\nread back bit by bit equal")
    if done.report is not None:
        worst, report = done.report.worst, done.report
        deviation = "exact" if worst.deviation == 0 else f"{worst.deviation:.1e} at {worst.name}"
        print(f"parity   {deviation} ({report.reference} against {report.other}, allowed {report.tolerance:.0e})")
    for path in done.files:
        print(f"wrote    {path} ({path.stat().st_size:,} bytes)")


def _size(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 20 else text
