"""`mobilebert vocab train`: a WordPiece vocabulary from text files."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from mobilebert_core.processes import check_one_process
from mobilebert_core.text.vocabulary import lines_of, train_vocabulary
from mobilebert_core.text.word_lists import lost_signs

from ..streams import say
from .arguments import input_path, output_path
from .termination import ended_by_signals

_LOOKED_AT = 10_000  # lines, for what is lost of them
_MANY = 0.01  # of the letters


def add_vocab(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command, whose one action is `train`."""
    parser = commands.add_parser(
        "vocab",
        help="train a WordPiece vocabulary",
        description="Makes vocabularies. See `mobilebert vocab train --help`.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    train = actions.add_parser(
        "train",
        help="learn word pieces from text files, one text a line",
        description="Learns word pieces from text files and writes them one a line, as `mobilebert pretrain --vocab` "
        "takes them.",
    )
    train.add_argument(
        "files", nargs="+", type=input_path, metavar="FILE", help="UTF-8 text, one text a line, also .gz or .xz"
    )
    train.add_argument("--size", type=int, required=True, help="number of tokens, special ones included")
    train.add_argument(
        "--output", type=output_path, default=Path("vocab.txt"), help="where to write (default vocab.txt)"
    )
    train.add_argument("--overwrite", action="store_true", help="replace what is at --output")
    case = train.add_mutually_exclusive_group()
    case.add_argument("--cased", action="store_true", help="keep upper case, accents and vowel signs")
    case.add_argument("--keep-accents", action="store_true", help="lower case, but keep accents and vowel signs")
    train.set_defaults(run=run_vocab)


def run_vocab(options: argparse.Namespace) -> int:
    """Writes the vocabulary and prints its size; returns 0."""
    check_one_process("vocab train")
    with ended_by_signals():  # the library computes for minutes without a look at them; the file is written in the end
        count = train_vocabulary(
            options.files, options.size, options.output, lowercase=not options.cased, overwrite=options.overwrite,
            strip_accents=False if options.keep_accents else None,
        )  # fmt: skip
    print(f"{options.output}: {count} tokens")
    if not options.cased and not options.keep_accents:
        again = [path for path in options.files if path.is_file()]  # a pipe is read once
        share, signs = lost_signs(islice(lines_of(again), _LOOKED_AT))
        if share > _MANY:
            say(
                f"{share:.0%} of the letters lose an accent or a vowel sign, or are taken apart ({' '.join(signs)}). "
                "Where these tell words apart, learn the vocabulary again with --keep-accents"
            )
    return 0
