"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path


def output_path(text: str) -> Path:
    """A place to write to. An empty text, as of an unset variable of a shell, is none: it would mean this directory."""
    if not text:
        raise argparse.ArgumentTypeError("wanted a place to write to, got an empty name; this directory is '.'")
    return Path(text)
