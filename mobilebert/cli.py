"""The `mobilebert` command. Frameworks are imported inside the subcommand that needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mobilebert_core.errors import MobileBertError

from . import __version__
from .commands.convert import add_convert
from .commands.inspect import add_inspect
from .commands.parity import add_parity
from .commands.predict import add_predict
from .commands.train import add_train
from .commands.vocab import add_vocab


def main(arguments: Sequence[str] | None = None, prog: str = "mobilebert") -> int:
    """Runs a subcommand. Returns 0, 1 when what was checked does not hold, 2 when it could not be done.

    `prog` is the command that usage lines show.
    """
    parser = argparse.ArgumentParser(prog=prog, description="MobileBERT in PyTorch and Keras 3.")
    parser.add_argument("--version", action="version", version=f"mobilebert {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (add_predict, add_train, add_parity, add_convert, add_inspect, add_vocab):
        add(commands)
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


if __name__ == "__main__":
    sys.exit(main())
