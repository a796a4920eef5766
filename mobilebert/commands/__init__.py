"""One module for each subcommand of the `mobilebert` command."""

from __future__ import annotations

from .termination import heard_as_process_1

heard_as_process_1()
