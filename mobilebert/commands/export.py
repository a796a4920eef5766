"""`mobilebert export`: a checkpoint as a file for ONNX Runtime, LiteRT and others, proved before it is written."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from tqdm import tqdm

from conversion.exports.export import FOLDS, Exported
from conversion.exports.formats import EXPORT_FORMATS
from conversion.exports.layouts import LAYOUTS
from mobilebert_core.exports import CALIBRATED, INPUT_DTYPES, PRECISIONS
from mobilebert_core.heads import HEADS
from mobilebert_core.processes import check_one_process

from .arguments import HEAD_HELP, SOURCE_HELP, add_padding_invariant, output_path


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    formats = "\n".join(
        f"  {each.name:14} {each.about}\n  {'':14} precisions: {', '.join(each.precisions)}"
        for each in EXPORT_FORMATS.values()
    )
    parser = commands.add_parser(
        "export",
        help="write a model as a file for ONNX Runtime, LiteRT or another runtime, and prove it there",
        description=(
            "Loads a checkpoint in any format, folds its norms into the weights, writes it for another runtime, runs "
            "the file there on real sentences and compares it with the source. Nothing is written unless it agrees. "
            "The directory is a model for `mobilebert predict`."
        ),
        epilog=f"formats:\n{formats}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="MODEL", help=SOURCE_HELP)
    parser.add_argument("directory", type=output_path, metavar="OUTPUT_DIR", help="the directory to make")
    parser.add_argument("--format", choices=list(EXPORT_FORMATS), required=True, help="see below")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default fp32")
    parser.add_argument("--head", choices=list(HEADS), help=HEAD_HELP)
    parser.add_argument("--length", metavar="N|dynamic", help="tokens of every row (default dynamic: any)")
    parser.add_argument("--batch", metavar="N|dynamic", help="rows at once (default dynamic: any)")
    parser.add_argument(
        "--calibrate", metavar="FILE",
        help=f"texts like those of use, for {' and '.join(CALIBRATED)}; int8 in onnx is better with them",
    )  # fmt: skip
    parser.add_argument("--evaluate", metavar="FILE", help="labelled examples: source and export are scored on them")
    parser.add_argument(
        "--fold", choices=FOLDS, default="auto", help="norms into the weights (default: best of format and precision)"
    )
    parser.add_argument(
        "--mlperf", action="store_true", help="the shape and names of MLPerf Mobile: 1 x 384, for question answering"
    )
    parser.add_argument(
        "--input-dtype", choices=INPUT_DTYPES, default="int32", help="of the inputs; transformers.js wants int64 (onnx)"
    )
    parser.add_argument(
        "--layout", choices=list(LAYOUTS),
        help="with the settings of a server: "
        + ", ".join(f"{name} ({each.format})" for name, each in LAYOUTS.items()),
    )  # fmt: skip
    add_padding_invariant(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the export at OUTPUT_DIR")
    parser.add_argument("--json", action="store_true", help="print the record instead of the table")
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> int:
    """Returns 0; whatever does not hold is an error."""
    from conversion.exports.export import export

    check_one_process("export")
    with tqdm(disable=None, file=sys.stderr, leave=False, bar_format="{desc:.70}") as bar:
        done = export(
            options.source,
            options.directory,
            format=options.format,
            precision=options.precision,
            head=options.head,
            length=options.length,
            batch=options.batch,
            calibrate=options.calibrate,
            evaluate=options.evaluate,
            fold=options.fold,
            mlperf=options.mlperf,
            input_dtype=options.input_dtype,
            layout=options.layout,
            padding_invariant=options.padding_invariant,
            overwrite=options.overwrite,
            progress=bar.set_description_str,
        )
    if options.json:
        print(json.dumps(asdict(done.record), indent=2))
    else:
        _show(done)
    return 0


def _show(done: Exported) -> None:
    """What was written, and how well it agrees with its source."""
    record = done.record
    axes = ", ".join(
        f"{name} {size or 'dynamic'}" for name, size in (("batch", record.batch), ("length", record.length))
    )
    print(f"{record.head_row.class_name} as {record.format}, {record.precision}, {axes}")
    for note in record.notes:
        print(f"note     {note}")
    print(f"\nproved on {record.proof['rows']} rows")
    for name, each in record.proof["outputs"].items():
        print(f"  {name:24} deviation {each['deviation']:.1e}   equal decisions {each['equal']:.1%}")
    scores = record.proof.get("scores")
    if scores is not None:
        for name, value in scores["export"].items():
            print(f"  {name:24} {value:.4f} (source {scores['source'][name]:.4f})")
    print()
    for file, size in done.files.items():
        print(f"wrote    {done.directory / file} ({size:,} bytes)")
