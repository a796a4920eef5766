"""`mobilebert inspect`: what a checkpoint is, without loading a framework."""

from __future__ import annotations

import argparse
from typing import Any

from ..streams import check_stdout
from .arguments import SOURCE_HELP, config_of


def add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "inspect",
        help="say what a checkpoint is: format, architecture, heads, size, dtype, ties, and anything odd",
        description="Reads a checkpoint of any format from its bytes; no framework is loaded.",
    )
    parser.add_argument("checkpoint", metavar="PATH", help=SOURCE_HELP)
    parser.add_argument("--config", metavar="FILE|PRESET", help="configuration of a checkpoint that has none")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_inspect)


def run_inspect(options: argparse.Namespace) -> int:
    """Returns 0, or 1 when something is odd about the checkpoint."""
    from conversion.inspection import inspect_checkpoint

    check_stdout("inspect")
    found = inspect_checkpoint(options.checkpoint, config_of(options.config))
    if options.json:
        print(found.to_json(), end="")
        return 1 if found.odd else 0
    size = sum(size or 0 for size in found.files.values())
    shape = found.architecture
    print(f"{found.path}: {found.format}, {size:,} bytes in {', '.join(found.files)}")
    differences = ", ".join(f"{name} {value}" for name, value in found.differences.items())
    print(f"  architecture  {found.preset}{' but for ' if differences else ''}{differences}")
    print(f"                {_sizes(shape)}")
    print(f"  configuration {found.config_source}")
    print(f"  heads         {', '.join(found.heads)}")
    print(f"  parameters    {found.parameters:,}, of them {found.encoder_parameters:,} in embeddings and encoder")
    print(f"  dtypes        {', '.join(f'{count:,} {dtype}' for dtype, count in found.dtypes.items())}")
    for tie in found.ties:
        print(f"  tied          {tie}")
    for reason, count in found.dropped.items():
        print(f"  not a weight  {count:,} x {reason}")
    for odd in found.odd:
        print(f"  odd           {odd}")
    return 1 if found.odd else 0


def _sizes(shape: dict[str, Any]) -> str:
    bottleneck = f"bottleneck {shape['intra_bottleneck_size']}" if shape["use_bottleneck"] else "no bottleneck"
    return (
        f"{shape['num_hidden_layers']} blocks of {shape['hidden_size']}, {bottleneck}, {shape['num_attention_heads']} "
        f"attention heads, {shape['num_feedforward_networks']} x {shape['intermediate_size']} feed-forward, "
        f"{shape['vocab_size']:,} words of {shape['embedding_size']}, {shape['max_position_embeddings']} positions"
    )
