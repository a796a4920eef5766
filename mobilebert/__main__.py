"""`python -m mobilebert` is the `mobilebert` command."""

import sys

from .cli import main

sys.exit(main(prog="python -m mobilebert"))
