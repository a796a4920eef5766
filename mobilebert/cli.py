"""The `mobilebert` command. Frameworks are imported inside the subcommand that needs them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from mobilebert_core.errors import MobileBertError, is_out_of_memory, what_to_do
from mobilebert_core.processes import is_another

from . import __version__
from .command_parser import command_parser
from .commands.convert import add_convert
from .commands.distill import add_distill
from .commands.evaluate import add_evaluate
from .commands.export import add_export
from .commands.inspect import add_inspect
from .commands.parity import add_parity
from .commands.predict import add_predict
from .commands.pretrain import add_pretrain
from .commands.termination import Terminated, raised_at_sigterm
from .commands.train import add_train
from .commands.vocab import add_vocab
from .option_names import as_options
from .streams import discard_output, flush_output, open_missing, say, say_after_the_first, show_every_name


def main(arguments: Sequence[str] | None = None, prog: str = "mobilebert") -> int:
    """Runs a subcommand. Returns 0, 1 when what was checked does not hold, 2 when it could not be done.

    After Ctrl-C it is 130 and after SIGTERM 143, as shells say them. `prog` is the command that usage lines show.
    """
    open_missing()
    show_every_name()
    parser = command_parser(prog=prog, description="MobileBERT in PyTorch and Keras 3.")
    parser.add_argument("--version", action="version", version=f"mobilebert {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        add_predict,
        add_train,
        add_pretrain,
        add_distill,
        add_evaluate,
        add_parity,
        add_convert,
        add_export,
        add_inspect,
        add_vocab,
    ):
        add(commands)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on stderr otherwise
    try:
        with raised_at_sigterm():
            code = options.run(options)
            flush_output()
        return int(code)
    except MobileBertError as e:
        say_after_the_first(as_options(str(e), options))
        return 2
    except BrokenPipeError:  # the reader of the output has had enough
        discard_output()
        return 141
    except OSError as e:  # a full disk, a place without permission
        discard_output()
        say_after_the_first(f"{e.filename or _nameless_place()}: {e.strerror or e}. {what_to_do(e)}")
        return 2
    except (MemoryError, RuntimeError) as e:
        if not is_out_of_memory(e):
            raise
        discard_output()
        say(f"there is not enough memory ({str(e).splitlines()[0] if str(e) else 'none is left'}). Take less at once, "
            "such as by --batch-size or --max-length, or a smaller model.")  # fmt: skip
        return 2
    except KeyboardInterrupt as e:
        terminated = isinstance(e, Terminated)
        said = ["terminated" if terminated else "interrupted", *getattr(e, "__notes__", [])]
        if not is_another():
            say("; ".join(said) + getattr(options, "after_interruption", ""))
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)


def _nameless_place() -> str:
    """What an error of the operating system that names no file is about."""
    try:
        os.getcwd()
    except OSError:
        return "the current directory, which was removed"
    return "standard output or the file system"


if __name__ == "__main__":
    sys.exit(main())
