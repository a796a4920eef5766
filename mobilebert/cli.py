"""The `mobilebert` command. Frameworks are imported inside the subcommand that needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.errors import MobileBertError
from mobilebert_core.heads import HEADS

from .commands.convert import add_convert
from .commands.inspect import add_inspect
from .commands.predict import add_predict
from .commands.train import add_train


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand. Returns 0, 1 when what was checked does not hold, 2 when it could not be done."""
    parser = argparse.ArgumentParser(prog="mobilebert", description="MobileBERT in PyTorch and Keras 3.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_parity(commands)
    _add_vocab(commands)
    add_train(commands)
    add_predict(commands)
    add_convert(commands)
    add_inspect(commands)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on stderr otherwise
    try:
        return options.run(options)
    except MobileBertError as e:
        print(f"mobilebert: {e}", file=sys.stderr)
        return 2
    except OSError as e:  # a full disk, a place without permission
        print(f"mobilebert: {e.filename or 'file system'}: {e.strerror or e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mobilebert: interrupted{getattr(options, 'after_interruption', '')}", file=sys.stderr)
        return 130


def _add_parity(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "parity",
        help="measure whether PyTorch and Keras compute the same numbers from a checkpoint",
        description=(
            "Loads a checkpoint into PyTorch and Keras, runs both on the same texts and compares every state, "
            "attention, score, loss and gradient. A deviation is relative to the largest value of its token. "
            "Exits with 1 when one is beyond the tolerance."
        ),
    )
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT",
        help="directory of config.json and weights, a name on the Hugging Face hub, or a preset such as mobilebert for "
        "seeded random weights (default: the demo model that ships with the package)",
    )  # fmt: skip
    parser.add_argument("--text", nargs="+", metavar="TEXT", help="texts to run on (default: four sentences)")
    parser.add_argument("--head", choices=list(HEADS), help="model class (default: what the checkpoint holds)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="default float32")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest deviation allowed (default 1e-10 in float64, 1e-5 in float32; "
        "gradients of relu in float32 1e-2, since rounding decides on which side of 0 an input lies)",
    )
    parser.add_argument("--no-gradients", action="store_true", help="compare the forward pass only")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights and labels")
    parser.add_argument(
        "--hidden-scale", type=float, default=1.0, metavar="S",
        help="size of the random model's hidden states (the released one reaches 2.5e7)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurement as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw deviation against depth (.png, .svg, .pdf)")
    parser.set_defaults(run=_parity)


def _parity(options: argparse.Namespace) -> int:
    from .commands.parity import run_parity

    return run_parity(options)


def _add_vocab(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("vocab", help="train a WordPiece vocabulary")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    train = actions.add_parser("train", help="learn word pieces from text files, one text a line")
    train.add_argument("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text, one text a line")
    train.add_argument("--size", type=int, required=True, help="number of tokens, special ones included")
    train.add_argument("--output", type=Path, default=Path("vocab.txt"), help="where to write (default vocab.txt)")
    train.add_argument("--cased", action="store_true", help="keep upper case")
    train.set_defaults(run=_train_vocabulary)


def _train_vocabulary(options: argparse.Namespace) -> int:
    from mobilebert_core.text.vocabulary import train_vocabulary

    count = train_vocabulary(options.files, options.size, options.output, lowercase=not options.cased)
    print(f"{options.output}: {count} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
